"""What the task queue calls of leads."""

from __future__ import annotations

from django_q.tasks import async_task

from leads import duplicates, scoring
from leads.imports.actions import ACTIVE, TASK
from leads.imports.work import due, work
from tenants.context import tenant_context
from tenants.models import Tenant

#: Seconds a task works at most; the next one goes on where it ended. What is left of its time
#: limit is for the piece it is at.
SLICE_S = 25.0
#: Connections that write leads at once.
CONNECTIONS = 2


def rescore() -> dict[str, int]:
    """Go on with the scorings of all leads that are under way; every minute."""
    return {"left": scoring.rescore_slices(seconds=SLICE_S)}


def begin_rescores() -> dict[str, int]:
    """Begin to score everybody's leads anew, since verifications grow too old; once a day."""
    begun = 0
    for tenant_id in Tenant.objects.order_by("id").values_list("pk", flat=True):
        with tenant_context(tenant_id, durable=True):
            begun += scoring.begin_daily()
    return {"begun": begun}


def look_for_duplicates(tenant_id: str) -> str:
    """Go on looking through a tenant's leads for a while; the next task goes on from here."""
    state = duplicates.work(tenant_id)
    if state == "more":
        async_task("leads.tasks.look_for_duplicates", tenant_id)
    return state


def begin_duplicates() -> dict[str, int]:
    """Look through everybody's new leads, and go on with what a process left behind; hourly."""
    tenants = list(Tenant.objects.order_by("id").values_list("pk", flat=True))
    for tenant_id in tenants:
        with tenant_context(tenant_id, durable=True):
            duplicates.begin(whole=False, trigger="schedule")
        async_task("leads.tasks.look_for_duplicates", tenant_id)
    return {"tenants": len(tenants)}


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
