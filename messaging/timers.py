"""Timers that come due, and snoozed conversations that wake."""

from __future__ import annotations

from typing import Any

import structlog
from django.db import connection, transaction

from leads.actions import (
    SILENCE_DAYS,
    arm_timer,
    lock_consents,
    move_if_legal,
    owner,
    record_event,
    sql_id,
)
from leads.events import TimerFired
from leads.models import Lead, LeadTimer
from leads.states import LeadState
from messaging.actions.live import hint, wake
from messaging.models import Conversation
from tenants.context import is_passing, tenant_context
from tenants.correlation import correlated
from tenants.dispatch import emit
from tenants.faultpoints import hit
from tenants.ulids import to_text

#: Timers looked at in one step.
BATCH = 50

#: Kind of a silence timer → (state it leaves, state it leads to, stage it leads to).
CONSEQUENCES: dict[str, tuple[str | None, str | None, str]] = {
    "7D": (LeadState.TOUCHED, LeadState.RETARGETING, "retarget"),
    "14D": (None, None, "nudger"),
    "30D": (LeadState.RETARGETING, LeadState.CONTENT_NURTURE, "content_nurture"),
}

#: States of a lead that was texted and has not been heard of: only these the silence timers move.
SILENT = (LeadState.TOUCHED, LeadState.RETARGETING)

logger = structlog.get_logger(__name__)


def fire_due() -> int:
    """Fire the timers that are due, each exactly once; return how many were settled."""
    settled = 0
    for tenant_id in _tenants("tenants_with_timers"):
        with tenant_context(tenant_id, durable=True):
            due = _due()
        for timer_id, lead_id in due:
            try:
                with tenant_context(tenant_id, durable=True), correlated():
                    settled += _fire(timer_id, lead_id)
                hit("timers.after_commit")
            except Exception as error:  # one bad timer must not stop the others
                if is_passing(error):
                    raise  # it stays due
                logger.exception("a timer failed", timer=timer_id)
                with tenant_context(tenant_id, durable=True):
                    _note_failure(timer_id, error)
    if settled:
        wake()
    return settled


def wake_snoozed() -> int:
    """Bring back conversations whose snooze is over, in their old place, and ring."""
    woken = 0
    for tenant_id in _tenants("tenants_with_wakes"):
        with tenant_context(tenant_id, durable=True), connection.cursor() as cursor:
            cursor.execute(
                "UPDATE conversations AS c SET status = 'open', snoozed_until = NULL,"
                " updated_at = clock_timestamp()"
                " FROM (SELECT id FROM conversations WHERE tenant_id = %s AND status = 'snoozed'"
                "         AND snoozed_until <= clock_timestamp() FOR UPDATE SKIP LOCKED) AS due"
                " WHERE c.tenant_id = %s AND c.id = due.id"
                " RETURNING c.id, c.stage, ring(c.tenant_id, c.id, c.stage, c.assigned_to_id,"
                "                                NULL)",
                [owner(), owner()],
            )
            for conversation, stage, _ in cursor.fetchall():
                hint("inbound", stage=stage, conversation_id=to_text("conv", conversation))
                woken += 1
    return woken


def _tenants(function: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {function}()")  # noqa: S608  (one of two names above)
        return [to_text("tenant", row[0]) for row in cursor.fetchall()]


def _due() -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, lead_id FROM lead_timers WHERE tenant_id = %s AND fired_at IS NULL"
            " AND cancelled_at IS NULL AND fire_at <= clock_timestamp()"
            " ORDER BY fire_at, id LIMIT %s",
            [owner(), BATCH],
        )
        return [(to_text("ltm", timer), to_text("lead", lead)) for timer, lead in cursor.fetchall()]


def _fire(timer_id: str, lead_id: str) -> int:
    """Settle one timer: lock, look again, and act; return 1 when it did.

    People, conversations, lead, timer: a text that is filed and an opt-out lock in this order.
    """
    threads = Conversation.objects.filter(lead_id=lead_id).order_by("pk")
    lock_consents(list(threads.values_list("their_number", flat=True)))
    list(threads.select_for_update(no_key=True, of=("self",)).values_list("pk"))
    lead = Lead.objects.select_for_update(no_key=True).get(pk=lead_id)
    timer = (
        LeadTimer.objects.select_for_update(no_key=True)
        .filter(pk=timer_id, fired_at=None, cancelled_at=None)
        .first()
    )
    if timer is None:
        return 0  # a reply or another process was faster
    if timer.kind in CONSEQUENCES:
        if moot := _why_moot(timer, lead):
            _settle(timer, "cancelled_at", moot)
            return 1
        _apply(timer, lead)
    else:
        record_event(lead.pk, kind=f"timer_{timer.kind.lower()}", cause=f"{timer.pk}:fired")
    _settle(timer, "fired_at", "")
    emit(TimerFired(lead_id=lead.pk, kind=timer.kind))
    hit("timers.before_commit")
    return 1


def _why_moot(timer: LeadTimer, lead: Lead) -> str:
    """Say why a silence timer has nothing to say any more; "" when the lead is silent still."""
    if lead.last_response_at is not None and lead.last_response_at >= timer.armed_at:
        return "answered meanwhile"
    if lead.state not in SILENT or lead.superseded_at is not None:
        return "moved on"
    return ""


def _apply(timer: LeadTimer, lead: Lead) -> None:
    leaves, to, stage = CONSEQUENCES[timer.kind]
    details: dict[str, Any] = {
        "kind": f"timer_{timer.kind.lower()}",
        "cause": f"{timer.pk}:fired",
        "payload": {"stage": stage},
    }
    if to is not None and lead.state == leaves:
        move_if_legal(lead.pk, to=to, **details)
    else:
        record_event(lead.pk, **details)
    move_stage(lead.pk, stage)
    if timer.kind == "14D":
        arm_timer(lead.pk, kind="30D", days=SILENCE_DAYS["30D"], since=timer.armed_at)


def move_stage(lead_id: str, stage: str) -> None:
    """Move a lead and its conversations to another stage, and tell the pages of both."""
    Lead.objects.filter(pk=lead_id).update(stage=stage)
    for conversation in Conversation.objects.filter(lead_id=lead_id).exclude(stage=stage):
        hint("conv", stage=conversation.stage, conversation_id=conversation.pk)
        Conversation.objects.filter(pk=conversation.pk).update(stage=stage)
        hint("conv", stage=stage, conversation_id=conversation.pk)


def _settle(timer: LeadTimer, column: str, reason: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE lead_timers SET {column} = clock_timestamp(), cancel_reason = %s"  # noqa: S608
            " WHERE tenant_id = %s AND id = %s",
            [reason, owner(), sql_id(timer.pk)],
        )


def _note_failure(timer_id: str, error: Exception) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE lead_timers SET attempts = attempts + 1, last_error = %s,"
            " fire_at = clock_timestamp() + interval '5 minutes' * 2 ^ attempts,"
            " cancelled_at = CASE WHEN attempts + 1 >= max_attempts THEN clock_timestamp() END,"
            " cancel_reason = CASE WHEN attempts + 1 >= max_attempts THEN 'failed' ELSE '' END"
            " WHERE tenant_id = %s AND id = %s AND fired_at IS NULL AND cancelled_at IS NULL",
            [f"{type(error).__name__}: {error}"[:2000], owner(), sql_id(timer_id)],
        )
