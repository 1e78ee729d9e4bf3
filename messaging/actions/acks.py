"""Which connected systems must be told of an opt-out, and what they answered."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import cast
from zoneinfo import ZoneInfo

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from integrations.models import Integration
from integrations.providers import providers
from integrations.providers.base import TakesOptOuts
from leads.actions import owner, sql_id
from leads.models import ConsentEvent
from messaging.business_days import OPT_OUT_DAYS, add_business_days
from messaging.models import ConsentAck
from tenants.actions import note
from tenants.models import Tenant
from tenants.ulids import to_text

#: Pauses after the nth try, in seconds: 30, 60, 120… and at most six hours.
PAUSE_S, LONGEST_PAUSE_S = 30.0, 6 * 3600.0


def takers() -> list[str]:
    """Return the providers that can be told of an opt-out."""
    return [name for name in providers if issubclass(providers[name], TakesOptOuts)]


def due_at(moment: datetime, zone: str) -> datetime:
    """Return the end of the tenth business day after *moment*, on the clock of *zone*."""
    day = add_business_days(moment.astimezone(ZoneInfo(zone)).date(), OPT_OUT_DAYS)
    return datetime.combine(day + timedelta(days=1), time(), ZoneInfo(zone))


def plan_acks(consent_event_id: str) -> int:
    """Note which systems must be told of an opt-out, once each; return how many are to be told.

    A system that told us of it itself need not know, and is noted as that.
    """
    names = takers()
    if not names:
        return 0
    event = ConsentEvent.objects.get(pk=consent_event_id)
    accounts = list(Integration.objects.filter(provider__in=names, enabled=True))
    teller = _teller_of(event)
    zone = Tenant.objects.values_list("time_zone", flat=True).get(pk=event.tenant_id)
    rows = [
        ConsentAck(
            consent_event=event,
            integration=account,
            due_at=due_at(event.at, zone),
            **({} if account.pk != teller else _NEEDLESS),
        )
        for account in accounts
    ]
    return len(ConsentAck.objects.bulk_create(rows, ignore_conflicts=True))


_NEEDLESS = {"state": "not_applicable", "next_at": None, "last_error": "it told us itself"}


def _teller_of(event: ConsentEvent) -> str | None:
    evidence = cast(str | None, event.webhook_event)
    if evidence is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT integration FROM webhook_events WHERE tenant_id = %s AND id = %s LIMIT 1",
            [owner(), sql_id(evidence)],
        )
        row = cursor.fetchone()
    return to_text("intg", row[0]) if row else None


def sweep(*, days: int = 2) -> int:
    """Plan for opt-outs of the last *days* that no handler has followed; return how many.

    Intake records an opt-out before anything is processed: what is quarantined afterwards, or
    dies, still stops the person in every system.
    """
    if not takers():
        return 0
    loose = ConsentEvent.objects.filter(
        kind="opt_out",
        at__gt=timezone.now() - timedelta(days=days),
        consent__channel="sms",
        consent__scope="",
        acks=None,
    )
    found = list(loose.order_by("at").values_list("pk", flat=True)[:500])
    return sum(bool(plan_acks(event_id)) for event_id in found)


def settle(ack_id: str, *, problem: str = "", needless: bool = False) -> ConsentAck:
    """Write down what came of one try.

    Args:
        ack_id: ``cack_…``.
        problem: why the system did not take it; "" when it did.
        needless: the system cannot know the person, or the person opted in since.
    """
    ack = ConsentAck.objects.select_for_update(no_key=True).get(pk=ack_id)
    if ack.state != "pending":
        return ack
    ack.last_error, ack.updated_at = problem[:2000], timezone.now()
    if needless:
        ack.state, ack.next_at = "not_applicable", None
    elif not problem:
        ack.state, ack.next_at, ack.acked_at = "acknowledged", None, timezone.now()
    else:
        pause = min(PAUSE_S * 2 ** (ack.attempts - 1), LONGEST_PAUSE_S)
        ack.next_at = timezone.now() + timedelta(seconds=pause)
        if timezone.now() >= ack.due_at:
            ack.state, ack.next_at = "failed", None
    ack.save(
        update_fields=["state", "next_at", "acked_at", "last_error", "updated_at"],
    )
    return ack


@transaction.atomic
def try_again(ack_id: str, *, actor_id: str) -> None:
    """Have a system told again at once, although its time is over or its turn is later.

    Raises:
        ConsentAck.DoesNotExist: no such row, or it needs no telling.
    """
    ack = ConsentAck.objects.select_for_update(no_key=True).get(
        pk=ack_id, state__in=["pending", "failed"]
    )
    before = {"state": ack.state, "attempts": ack.attempts}
    ConsentAck.objects.filter(pk=ack_id).update(
        state="pending", next_at=Now(), attempts=F("attempts"), updated_at=Now()
    )
    note("consent_ack.retried", actor_id=actor_id, subject=ack, before=before)
