"""Numbers that rest and wake, and texts that move from one that rests to one that does not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection, transaction

from leads.actions import lock_consents, owner, sql_id
from messaging.actions.sending import SendRefused, Text, queue_message
from messaging.health import Limits, limits_of, why_rest
from messaging.models import Conversation, NumberDay, OutboundMessage, PhoneNumber
from tenants.actions import note
from tenants.context import database_now, tenant_context
from tenants.models import Tenant
from tenants.ulids import to_text

#: Texts moved from a resting number in one look.
MOVES = 50


class NumberRefused(Exception):
    """The number stays as it is; nothing was written."""


@transaction.atomic
def rest_number(
    number_id: str, *, reason: str, hours: float, actor_id: str | None = None
) -> PhoneNumber:
    """Let an active number rest for *hours*; its texts wait or move to another one.

    The last active number rests as well: an incident says so (``messaging/checks.py``).

    Raises:
        NumberRefused: it is not active, or no reason was given.
    """
    number = PhoneNumber.objects.select_for_update(no_key=True).get(pk=number_id)
    if number.status != "active":
        raise NumberRefused(f"The number is {number.get_status_display().lower()} already.")
    if not reason.strip():
        raise NumberRefused("Say why it should rest.")
    until = database_now() + timedelta(hours=hours)
    PhoneNumber.objects.filter(pk=number.pk).update(
        status="resting", resting_reason=reason.strip()[:200], resting_until=until
    )
    _note("phone_number.rested", number, "resting", reason=reason, actor_id=actor_id)
    number.refresh_from_db()
    return number


@transaction.atomic
def wake_number(number_id: str, *, reason: str = "", actor_id: str | None = None) -> PhoneNumber:
    """Let a resting number send again, with a clean record.

    Raises:
        NumberRefused: it does not rest.
    """
    number = PhoneNumber.objects.select_for_update(no_key=True).get(pk=number_id)
    if number.status != "resting":
        raise NumberRefused(f"The number is {number.get_status_display().lower()}.")
    PhoneNumber.objects.filter(pk=number.pk).update(status="active")
    _note("phone_number.woken", number, "active", reason=reason, actor_id=actor_id)
    number.refresh_from_db()
    return number


def _note(
    action: str, number: PhoneNumber, status: str, *, reason: str, actor_id: str | None
) -> None:
    before: dict[str, Any] = {"status": number.status}
    after: dict[str, Any] = {"status": status}
    note(action, actor_id=actor_id, subject=number, before=before, after=after, reason=reason)


# --- by itself --------------------------------------------------------------------------------


def tend(tenant_id: str) -> int:
    """Rest what fails, wake what rested long enough, move what waits; return how much changed."""
    with tenant_context(tenant_id, durable=True):
        limits = limits_of(Tenant.objects.get(pk=tenant_id))
        changed = _review(limits) + _wake_due()
        movable = _movable()
    for outbound_id in movable:
        with tenant_context(tenant_id, durable=True):
            changed += move_text(outbound_id)
    return changed


def _review(limits: Limits) -> int:
    """Judge the numbers that something spoke against since the last look."""
    parts = list(
        NumberDay.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
        .filter(needs_review=True)
        .order_by("id")
        .values_list("pk", "phone_number_id")
    )
    if not parts:
        return 0
    NumberDay.objects.filter(pk__in=[pk for pk, _ in parts]).update(needs_review=False)
    rested = 0
    for number_id in sorted({number_id for _, number_id in parts}):
        number = PhoneNumber.objects.select_for_update(no_key=True).get(pk=number_id)
        reason = why_rest(number, limits) if number.status == "active" else ""
        if reason:
            rest_number(number_id, reason=reason, hours=limits.hours)
            rested += 1
    return rested


def _wake_due() -> int:
    due = PhoneNumber.objects.filter(status="resting", resting_until__lte=database_now())
    numbers = list(
        due.select_for_update(no_key=True, skip_locked=True)
        .order_by("id")
        .values_list("pk", flat=True)
    )
    for number_id in numbers:
        wake_number(number_id, reason="It rested long enough.")
    return len(numbers)


_MOVABLE = """
SELECT o.id FROM outbound_messages AS o
JOIN phone_numbers AS n ON n.tenant_id = o.tenant_id AND n.id = o.phone_number_id
WHERE o.tenant_id = %(owner)s AND n.status = 'resting' AND o.state = 'queued' AND o.attempt = 0
  AND (o.is_automated OR o.purpose = 'first_text')
  AND o.purpose NOT IN ('opt_out_confirmation', 'help')
  AND NOT EXISTS (SELECT FROM messages AS m
                  WHERE m.tenant_id = o.tenant_id AND m.conversation_id = o.conversation_id
                    AND m.id <> o.message_id
                    AND m.status NOT IN ('cancelled', 'suppressed', 'failed', 'queued'))
ORDER BY o.due_at, o.id LIMIT %(most)s
"""

#: The healthiest place for a text of a resting number: the same worker's, else the same
#: account's, with room today (its own cap less what is queued, its brand's segments).
_TARGET = """
SELECT n.id FROM phone_numbers AS n
JOIN phone_numbers AS old ON old.tenant_id = n.tenant_id AND old.id = %(old)s
JOIN integrations AS i ON i.tenant_id = n.tenant_id AND i.id = n.integration_id AND i.enabled
JOIN tenants AS t ON t.id = n.tenant_id
LEFT JOIN brands AS b ON b.tenant_id = n.tenant_id AND b.id = n.brand_id
LEFT JOIN brand_days AS d ON d.tenant_id = n.tenant_id AND d.brand_id = n.brand_id
      AND d.day = (clock_timestamp() AT TIME ZONE 'America/Los_Angeles')::date
CROSS JOIN LATERAL (
    SELECT n.daily_cap
           - CASE WHEN n.day = (clock_timestamp() AT TIME ZONE t.time_zone)::date
                  THEN n.sent_today ELSE 0 END
           - (SELECT count(*) FROM outbound_messages AS o
              WHERE o.tenant_id = n.tenant_id AND o.phone_number_id = n.id
                AND o.state = 'queued') AS left_today) AS room
WHERE n.tenant_id = %(owner)s AND n.id <> old.id AND n.status = 'active' AND room.left_today > 0
  AND coalesce(b.daily_segment_cap - coalesce(d.used, 0) >= %(segments)s, true)
  AND (n.worker_id = old.worker_id OR n.integration_id = old.integration_id)
ORDER BY coalesce(n.worker_id = old.worker_id, false) DESC, room.left_today DESC, n.id
LIMIT 1
"""


def _movable() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(_MOVABLE, {"owner": owner(), "most": MOVES})
        return [to_text("obm", row[0]) for row in cursor.fetchall()]


@transaction.atomic
def move_text(outbound_id: str) -> bool:
    """Queue a waiting first or automated text anew on a healthy number; tell whether it moved.

    The old row ends ``cancelled`` in the same transaction, and the new one's send key is made of
    the old one's id: however often this runs, one text is left. A conversation with a history
    keeps its number and waits.
    """
    address = OutboundMessage.objects.values_list("to_address", flat=True).get(pk=outbound_id)
    lock_consents([address])
    old = (
        OutboundMessage.objects.select_for_update(no_key=True, of=("self",))
        .select_related("phone_number", "conversation")
        .get(pk=outbound_id)
    )
    if old.state != "queued" or old.attempt or old.phone_number.status != "resting":
        return False
    target = _target(old)
    if target is None:
        return False
    conversation = _conversation_on(target, old)
    text = Text(
        body=old.body,
        purpose=old.purpose,
        send_key=f"moved:{old.pk}",
        actor_id=old.actor_id,
        is_automated=old.is_automated,
        consent_event_id=old.consent_event_id,
    )
    try:
        new = queue_message(conversation, text)
    except SendRefused:
        return False  # it stays where it is, and a person reads why when it is claimed
    if old.due_at > new.due_at:
        OutboundMessage.objects.filter(pk=new.pk).update(due_at=old.due_at)
    OutboundMessage.objects.filter(pk=old.pk).update(
        state="cancelled", error=f"moved to {target.number}", updated_at=database_now()
    )
    return True


def _target(old: OutboundMessage) -> PhoneNumber | None:
    values = {
        "owner": owner(),
        "old": sql_id(old.phone_number_id),
        "segments": old.segments,
    }
    with connection.cursor() as cursor:
        cursor.execute(_TARGET, values)
        row = cursor.fetchone()
    if row is None:
        return None
    return PhoneNumber.objects.select_related("integration").get(pk=to_text("wphone", row[0]))


def _conversation_on(target: PhoneNumber, old: OutboundMessage) -> Conversation:
    conversation, _ = Conversation.objects.get_or_create(
        our_number=target.number,
        their_number=old.to_address,
        defaults={
            "lead_id": old.lead_id,
            "phone_number": target,
            "stage": old.conversation.stage,
        },
    )
    if conversation.lead_id != old.lead_id:
        Conversation.objects.filter(pk=conversation.pk).update(lead_id=old.lead_id)
    return (
        Conversation.objects.select_for_update(no_key=True, of=("self",))
        .select_related("tenant", "lead", "phone_number__integration")
        .get(pk=conversation.pk)
    )
