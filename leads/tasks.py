"""Tasks of leads for django-q2: ids in, one call."""

from __future__ import annotations

from django_q.tasks import async_task

from leads.imports.actions import ACTIVE, TASK
from leads.imports.work import due, work

#: Seconds of work of one task: what is left of its time limit is for the piece it is at.
SLICE_S = 25.0
#: Connections that write leads at once.
CONNECTIONS = 2


def work_on_import(tenant_id: str, import_id: str) -> str:
    """Go on with an import for a while; the next task goes on where this one ends."""
    state = work(tenant_id, import_id, seconds=SLICE_S, connections=CONNECTIONS)
    if state in ACTIVE and (tenant_id, import_id) in due():
        async_task(TASK, tenant_id, import_id)
    return state


def imports_due() -> dict[str, int]:
    """Start work on imports that no process is at: their worker died, or was never told."""
    waiting = due()
    for tenant_id, import_id in waiting:
        async_task(TASK, tenant_id, import_id)
    return {"due": len(waiting)}
