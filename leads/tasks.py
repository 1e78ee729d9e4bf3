"""What the task processes do with leads: ids in, one call."""

from __future__ import annotations

from leads import duplicates


def look_for_duplicates(tenant_id: str) -> str:
    """Go on looking through a tenant's leads, for less time than a task may take."""
    return duplicates.work(tenant_id)
