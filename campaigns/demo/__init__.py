"""Demo data made by the project itself: two tenants, their people, leads and some history."""
