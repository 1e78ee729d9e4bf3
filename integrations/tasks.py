"""What the clock has done for integrations: ids in, one call each."""

from __future__ import annotations

from typing import Any

from django_q.tasks import async_task

from integrations.waterfall_work import due, work


def enrich_due() -> dict[str, Any]:
    """Have the waterfalls of all tenants go on, each by a task of its own."""
    tenants = due()
    for tenant_id in tenants:
        async_task("integrations.tasks.enrich_one", tenant_id)
    return {"due": len(tenants)}


def enrich_one(tenant_id: str) -> str:
    """Bring one tenant's leads on, for less time than a task may take."""
    return f"{work(tenant_id)} enrichments taken up"
