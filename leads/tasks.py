"""What the task queue calls of leads."""

from __future__ import annotations

from leads import duplicates, scoring
from tenants.context import tenant_context
from tenants.models import Tenant

#: Seconds a task works at most; the next one goes on where it ended.
SLICE_S = 40.0


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
    """Go on looking through a tenant's leads, for less time than a task may take."""
    return duplicates.work(tenant_id)
