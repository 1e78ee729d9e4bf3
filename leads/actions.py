"""Everything that changes a lead or a consent. Pages, handlers and tasks call these."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from leads.events import LeadMoved
from leads.models import ContactPoint, Label, Lead, LeadEvent, LeadLabel, LeadTimer
from leads.reading import READER_VERSION
from leads.states import LeadState, may_move
from tenants.context import current_tenant_id
from tenants.correlation import correlation_id
from tenants.dispatch import emit
from tenants.ulids import new_id, to_text, to_uuid

#: Days from the first touch at which each silence timer looks at a lead.
SILENCE_DAYS = {"7D": 7, "14D": 14, "30D": 30}


class MoveRefused(Exception):
    """The state machine has no such move."""


class NoTenant(Exception):
    """The action was called outside a tenant's transaction."""


def owner() -> str:
    """Return the running tenant as the uuid that SQL functions take.

    Raises:
        NoTenant: there is none.
    """
    tenant_id = current_tenant_id()
    if tenant_id is None:
        raise NoTenant("enter a tenant first: tenants.context.tenant_context")
    return str(to_uuid(tenant_id))


def sql_id(value: str | None) -> str | None:
    """Return a prefixed id as the uuid that SQL takes; None stays None."""
    return None if value is None else str(to_uuid(value))


@transaction.atomic
def create_lead(
    *,
    phone: str = "",
    email: str = "",
    phone_line_type: str = "unknown",
    actor_id: str | None = None,
    **fields: Any,
) -> Lead:
    """Create a lead with its birth event and, when given, its first phone and e-mail.

    Args:
        phone: E.164.
        email: folded (``leads.reading.fold_email``).
        phone_line_type: ``mobile``, ``landline``, ``voip`` or ``unknown``.
        actor_id: who did it.
        fields: columns of ``Lead``, but for state and stage history.
    """
    lead = Lead.objects.create(**fields)
    LeadEvent.objects.create(
        lead=lead,
        seq=0,
        kind="created",
        to_state=LeadState.NEW,
        payload={"source": lead.source},
        actor_id=actor_id,
        correlation_id=correlation_id(),
    )
    for kind, value in (("phone", phone), ("email", email)):
        if value:
            ContactPoint.objects.create(
                lead=lead,
                kind=kind,
                raw=value,
                normalized=value,
                source=lead.source,
                is_primary=True,
                line_type=phone_line_type if kind == "phone" else "unknown",
            )
    return lead


def record_event(
    lead_id: str,
    *,
    kind: str,
    to: str | None = None,
    cause: str | None = None,
    payload: dict[str, Any] | None = None,
    consent_event_id: str | None = None,
    actor_id: str | None = None,
) -> int | None:
    """Add the next event of a lead, moving it to *to* when given; return its seq.

    Returns None, and changes nothing, when *cause* was seen before in the tenant. The lead stays
    locked until the transaction ends. An illegal move is refused by the database; people's moves
    go through ``move_lead``, which says so in words.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT lead_move(%s, %s, %s, %s, %s, %s::jsonb, %s, %s, %s)",
            [
                owner(),
                sql_id(lead_id),
                kind,
                to,
                cause,
                json.dumps(payload or {}),
                sql_id(consent_event_id),
                sql_id(actor_id),
                correlation_id(),
            ],
        )
        row = cursor.fetchone()
    seq: int | None = row[0] if row else None
    if seq is not None and to is not None:
        emit(LeadMoved(lead_id=lead_id, to=LeadState(to)))
    return seq


@transaction.atomic
def move_lead(
    lead_id: str,
    *,
    to: str,
    cause: str | None = None,
    kind: str = "moved",
    payload: dict[str, Any] | None = None,
    consent_event_id: str | None = None,
    actor_id: str | None = None,
) -> Lead:
    """Move a lead to another state and record why, once per cause.

    Args:
        lead_id: ``lead_…``; its row stays locked until the transaction ends.
        to: The wanted state. A lead already there is left alone.
        cause: What happened, unique in the tenant; one seen before changes nothing.
        kind: Kind of the event.
        payload: Details for the timeline.
        consent_event_id: The opt-in that lifts a suppression; nothing else can.
        actor_id: Who moved it, None for the system.

    Returns:
        The lead as it now is.

    Raises:
        MoveRefused: the machine has no such move; nothing was written.
        Lead.DoesNotExist: no such lead in this tenant.
    """
    lead = Lead.objects.select_for_update(no_key=True).get(pk=lead_id)
    if lead.state == to:
        return lead
    if not may_move(lead.state, to):
        raise MoveRefused(
            f"A lead that is {lead.get_state_display().lower()} "
            f"cannot become {LeadState(to).label.lower()}."
        )
    if lead.state == LeadState.SUPPRESSED and consent_event_id is None:
        raise MoveRefused("Only the person's own opt-in lifts a suppression.")
    record_event(
        lead_id,
        kind=kind,
        to=to,
        cause=cause,
        payload=payload,
        consent_event_id=consent_event_id,
        actor_id=actor_id,
    )
    lead.refresh_from_db()
    return lead


def move_if_legal(lead_id: str, *, to: str, kind: str, cause: str, **details: Any) -> bool:
    """Move a lead where the machine allows it, else only record the event; tell which."""
    state = Lead.objects.select_for_update(no_key=True).values_list("state", flat=True)
    here = state.get(pk=lead_id)
    legal = here != to and may_move(here, to) and here != LeadState.SUPPRESSED
    record_event(lead_id, kind=kind, to=to if legal else None, cause=cause, **details)
    return legal


# --- timers -----------------------------------------------------------------------------------


@transaction.atomic
def arm_timer(lead_id: str, *, kind: str, days: int, since: datetime | None = None) -> LeadTimer:
    """Arm a timer *days* after *since* (now by default).

    A live one of the kind is cancelled and kept as history.
    """
    Lead.objects.select_for_update(no_key=True).only("id").get(pk=lead_id)
    timer_id = new_id("ltm")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE lead_timers SET cancelled_at = clock_timestamp(), cancel_reason = 're-armed'"
            " WHERE tenant_id = %s AND lead_id = %s AND kind = %s"
            " AND fired_at IS NULL AND cancelled_at IS NULL RETURNING id",
            [owner(), sql_id(lead_id), kind],
        )
        replaced = [row[0] for row in cursor.fetchall()]
        cursor.execute(
            "INSERT INTO lead_timers (tenant_id, id, lead_id, kind, armed_at, fire_at,"
            " cancel_reason, attempts, max_attempts, last_error)"
            " VALUES (%s, %s, %s, %s, clock_timestamp(),"
            " coalesce(%s, clock_timestamp()) + make_interval(days => %s), '', 0, 3, '')",
            [owner(), sql_id(timer_id), sql_id(lead_id), kind, since, days],
        )
        cursor.execute(
            "UPDATE lead_timers SET superseded_by_id = %s WHERE id = ANY(%s)",
            [sql_id(timer_id), replaced],
        )
    return LeadTimer.objects.get(pk=timer_id)


def cancel_timers(lead_id: str, *, reason: str, kinds: list[str] | None = None) -> int:
    """Cancel the live timers of a lead, all or those of *kinds*; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT lead_cancel_timers(%s, %s, %s, %s)", [owner(), sql_id(lead_id), kinds, reason]
        )
        return int(cursor.fetchone()[0])


# --- contact points and labels ----------------------------------------------------------------


def add_contact_point(
    lead_id: str, *, kind: str, value: str, raw: str = "", source: str, line_type: str = "unknown"
) -> bool:
    """Add a phone (E.164) or e-mail (folded) to a lead; False when it was known already."""
    _, created = ContactPoint.objects.get_or_create(
        lead_id=lead_id,
        kind=kind,
        normalized=value,
        defaults={
            "raw": raw or value,
            "source": source,
            "line_type": line_type,
            "is_primary": not ContactPoint.objects.filter(
                lead_id=lead_id, kind=kind, is_primary=True
            ).exists(),
        },
    )
    return created


def flag_wrong_number(lead_id: str, *, address: str, wrong: bool = True) -> None:
    """Mark a number of a lead as somebody else's, or take the mark back; texts to it stop."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE contact_points SET wrong_number_at = CASE WHEN %s THEN clock_timestamp() END"
            " WHERE tenant_id = %s AND lead_id = %s AND kind = 'phone' AND normalized = %s",
            [wrong, owner(), sql_id(lead_id), address],
        )


def put_label(lead_id: str, *, key: str, source: str) -> bool:
    """Put a label on a lead; False when it is there already."""
    label, _ = Label.objects.get_or_create(kind="label", key=key.lower(), defaults={"name": key})
    _, created = LeadLabel.objects.get_or_create(
        lead_id=lead_id, label=label, defaults={"source": source}
    )
    return created


# --- consent ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A person's recorded choice, with its evidence.

    ``kind`` is ``opt_out``, ``opt_in``, ``hold`` or ``release``; ``scope`` is empty for everything
    or one of ``Consent``; ``position`` is the place of its webhook in the order of receipts, 0 when
    a person records it; ``received_at`` is when the evidence came, if not in this transaction.
    """

    address: str
    kind: str
    channel: str = "sms"
    scope: str = ""
    source: str = "manual"
    keyword: str = ""
    reason: str = ""
    position: int = 0
    webhook_event: str | None = None
    actor_id: str | None = None
    received_at: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the argument of the SQL function ``consent_apply``."""
        return {
            "address": self.address,
            "kind": self.kind,
            "channel": self.channel,
            "scope": self.scope,
            "source": self.source,
            "keyword": self.keyword,
            "reason": self.reason,
            "position": self.position,
            "webhook_event": sql_id(self.webhook_event),
            "actor": sql_id(self.actor_id),
            "correlation_id": correlation_id(),
            "rule": READER_VERSION if self.source == "texting" else "",
            "received_at": self.received_at.isoformat() if self.received_at else None,
        }


def record_choice(choice: Choice) -> str | None:
    """Write a choice down and return its ``cev_…``; None when this evidence was recorded before.

    The base row of the address stays locked until the transaction ends: sends wait for it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT consent_apply(%s, %s::jsonb)", [owner(), json.dumps(choice.as_json())]
        )
        event_id = cursor.fetchone()[0]
    return None if event_id is None else to_text("cev", event_id)


def consent_address(address: str, channel: str = "sms") -> str:
    """Return the address under which the registry knows somebody: as given, or erased."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT consent_address(%s, %s, %s)", [owner(), channel, address])
        return str(cursor.fetchone()[0])


def base_consent_id(address: str, channel: str = "sms") -> str:
    """Return the ``cns_…`` of the base consent row of an address, made when missing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT consent_base(%s, %s, %s)", [owner(), channel, address])
        return to_text("cns", cursor.fetchone()[0])


def lock_consents(addresses: list[str]) -> None:
    """Lock the base rows of these addresses, in one order, before any lead is locked.

    Missing ones are made: who writes for the first time must be one at a time, too. Of an erased
    address the row is found by its hash.
    """
    wanted = sorted(set(addresses))
    if not wanted:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM consents WHERE tenant_id = %s AND channel = 'sms' AND scope = ''"
            " AND address = ANY(%s) ORDER BY id FOR NO KEY UPDATE",
            [owner(), wanted],
        )
        if cursor.rowcount < len(wanted):
            # Two statements: in one, a plan that finds no row of the tenant first never asks for
            # the missing ones, and so never makes them.
            cursor.execute("SELECT consent_bases(%s, 'sms', %s)", [owner(), wanted])
            ids = [row[0] for row in cursor.fetchall()]
            cursor.execute(
                "SELECT FROM consents WHERE tenant_id = %s AND id = ANY(%s)"
                " ORDER BY id FOR NO KEY UPDATE",
                [owner(), ids],
            )
