"""What follows from consent by and by: systems that must be told, and lists that are long."""

from __future__ import annotations

import time

from django.db import connection

from messaging.acks import tell
from messaging.actions.acks import sweep, takers
from messaging.actions.suppressions import advance
from tenants.context import tenant_context
from tenants.models import Tenant
from tenants.ulids import to_text

#: Systems told per step and tenant.
BATCH = 8
#: Seconds between two looks for opt-outs that nothing has followed.
SWEEP_EVERY_S = 60.0


class ConsentLoop:
    """Tells systems and moves lists on; one per drain process."""

    def __init__(self) -> None:
        self._swept: float | None = None

    def step(self) -> int:
        """Do the next bit of everything that is due; return how much was done, 0 when all rests."""
        self._sweep()
        done = 0
        for tenant_id in tenants_with_consent_work():
            done += tell(tenant_id, most=BATCH) + advance(tenant_id)
        return done

    def _sweep(self) -> None:
        if self._swept is not None and time.monotonic() - self._swept < SWEEP_EVERY_S:
            return
        self._swept = time.monotonic()
        if not takers():
            return
        for tenant_id in list(Tenant.objects.values_list("pk", flat=True)):
            with tenant_context(tenant_id, durable=True):
                sweep()


def tenants_with_consent_work() -> list[str]:
    """Return tenants with somebody to tell, or a suppression list on its way."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_consent_work()")
        return [to_text("tenant", row[0]) for row in cursor.fetchall()]
