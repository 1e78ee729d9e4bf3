"""What the task queue runs for integrations: ids in, one call."""

from __future__ import annotations

from typing import Any

from django_q.tasks import async_task

from integrations.pull_estimates import count_query
from integrations.pulls import SLICE_S, pull
from integrations.pulls import due as queries_due
from integrations.waterfall_work import due as tenants_due
from integrations.waterfall_work import work


def enrich_due() -> dict[str, Any]:
    """Have the waterfalls of all tenants go on, each by a task of its own."""
    tenants = tenants_due()
    for tenant_id in tenants:
        async_task("integrations.tasks.enrich_one", tenant_id)
    return {"due": len(tenants)}


def enrich_one(tenant_id: str) -> str:
    """Bring one tenant's leads on, for less time than a task may take."""
    return f"{work(tenant_id)} enrichments taken up"


def pulls_due() -> dict[str, Any]:
    """Have the saved queries read whose time has come, each by a task of its own."""
    queries = queries_due()
    for one in queries:
        async_task("integrations.tasks.pull_one", one.tenant_id, one.query_id)
    return {"due": len(queries)}


def pull_one(tenant_id: str, query_id: str) -> str:
    """Read one query's sweep, for less time than a task may take."""
    sweep = pull(tenant_id, query_id, seconds=SLICE_S)
    return f"{sweep.status}: {sweep.pages} pages, {sweep.new_ids} new" if sweep else "not now"


def count_one(tenant_id: str, query_id: str) -> str:
    """Ask a vendor how many records a query has."""
    return count_query(tenant_id, query_id)


def pull_soon(tenant_id: str, query_id: str) -> None:
    """Have a query read without waiting for the clock."""
    async_task("integrations.tasks.pull_one", tenant_id, query_id)


def count_soon(tenant_id: str, query_id: str) -> None:
    """Have a query counted; the answer is on its page a moment later."""
    async_task("integrations.tasks.count_one", tenant_id, query_id)
