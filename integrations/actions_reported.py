"""What CRMs, dialers and payment services report: messages, calls, money, broadcasts, apps."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.db import connection

from integrations.actions_contacts import (
    cause_of,
    hold_number,
    link_of,
    phones_of,
)
from integrations.contact_matching import Match, find_lead
from integrations.events import (
    AppChanged,
    BroadcastReported,
    CallReported,
    ContactOptedOut,
    CrmMessage,
    PaymentSucceeded,
)
from integrations.models import Integration
from integrations.processing import Source
from leads.actions import owner, record_event, sql_id
from leads.models import Lead, LeadEvent
from leads.reading import read_refusal
from tenants.dispatch import emit
from tenants.models import AuditEntry
from tenants.ulids import new_uuid

#: Characters of a message that the timeline keeps; the webhook has it whole.
MAX_WORDS = 2_000
TEXTS = {"sms", "mms"}
ENDED = {"completed", "failed", "missed"}


# --- messages ---------------------------------------------------------------------------------


def file_crm_message(event: CrmMessage, source: Source) -> str:
    """Tell a message of another system on its lead's timeline; heed a refusal in it."""
    if event.direction == "out" and _is_ours(event.external_id):
        return "echo"
    link = link_of(source.integration_id, event.contact_id)
    theirs = event.sender if event.direction == "in" else event.recipient
    match = find_lead(link, phone=theirs if theirs.startswith("+") else "")
    phones = [theirs] if theirs.startswith("+") else phones_of(link, match.lead)
    heard = _heed(event, phones, source)
    if match.lead is None:
        return f"no lead for contact {event.contact_id}{heard}"
    seq = record_event(
        match.lead.pk,
        kind="crm_message",
        cause=cause_of(source.provider, "message", event.external_id),
        payload={
            "provider": source.provider,
            "message": event.external_id,
            "conversation": event.conversation_id,
            "direction": event.direction,
            "channel": event.channel,
            "text": event.body[:MAX_WORDS],
            "status": event.status,
        },
    )
    return f"duplicate{heard}" if seq is None else f"filed for {match.lead.pk}{heard}"


def _is_ours(external_id: str) -> bool:
    """Tell whether a message that another system sent is one of ours, coming back."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM messages WHERE tenant_id = %s AND external_id = %s LIMIT 1",
            [owner(), external_id],
        )
        return cursor.fetchone() is not None


def _heed(event: CrmMessage, phones: list[str], source: Source) -> str:
    """Write the consent that a refusal heard elsewhere asks for; return it in words."""
    if event.direction != "in" or event.channel not in TEXTS:
        return ""
    reading = read_refusal(event.body)
    if reading is None:
        return ""
    for phone in phones:
        if reading.kind == "opt_out":
            emit(
                ContactOptedOut(
                    external_id=event.external_id,
                    occurred_at=event.occurred_at,
                    address=phone,
                    keyword=reading.keyword,
                    reason=event.body[:500],
                ),
                source=source,
            )
        else:
            hold_number(phone, source=source, keyword=reading.keyword, words=event.body)
    what = "an opt-out" if reading.kind == "opt_out" else "a hold"
    return f"; {what}" if phones else f"; {what}, but no number is known"


# --- calls ------------------------------------------------------------------------------------


def report_call(event: CallReported, source: Source) -> str:
    """Tell a call on its lead's timeline: that it began, how it ended, what was learnt of it.

    However many reports speak of a call, it begins once and ends once, and an end is final.
    """
    link = link_of(source.integration_id, event.contact_id)
    match = find_lead(link, phone=event.theirs)
    if match.lead is None:
        return f"no lead for call {event.external_id}{_candidates(match)}"
    end = cause_of(source.provider, "call", event.external_id, "ended")
    if event.status == "enriched":
        return _describe(event, match.lead, source)
    if event.status in ENDED:
        seq = record_event(
            match.lead.pk, kind="call_ended", cause=end, payload=_call(event, source)
        )
        if seq is not None:
            return f"{event.status}, filed for {match.lead.pk}"
        known = LeadEvent.objects.values_list("payload", flat=True).get(dedupe_key=end)
        restated = not event.disposition or known.get("disposition") == event.disposition
        return "duplicate" if restated else _describe(event, match.lead, source)
    if LeadEvent.objects.filter(dedupe_key=end).exists():
        return "it has ended already"
    start = cause_of(source.provider, "call", event.external_id, "started")
    seq = record_event(
        match.lead.pk, kind="call_started", cause=start, payload=_call(event, source)
    )
    return "duplicate" if seq is None else f"started, filed for {match.lead.pk}"


def _describe(event: CallReported, lead: Lead, source: Source) -> str:
    payload = _call(event, source)
    # One recording, summary or disposition is one fact, however often it is told.
    told = json.dumps(payload, sort_keys=True) + event.recording_url
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    cause = cause_of(source.provider, "call", event.external_id, digest)
    seq = record_event(lead.pk, kind="call_described", cause=cause, payload=payload)
    return "duplicate" if seq is None else f"described, filed for {lead.pk}"


def _call(event: CallReported, source: Source) -> dict[str, Any]:
    """Return the facts of a call. Its recording is only counted: the link needs no login."""
    return {
        "provider": source.provider,
        "call": event.external_id,
        "direction": event.direction,
        "status": event.status,
        "is_attempt": event.direction == "out" and event.was_dialled and event.status in ENDED,
        "duration_s": event.duration_s,
        "disposition": event.disposition,
        "summary": event.summary[:MAX_WORDS],
        "has_recording": bool(event.recording_url),
    }


def _candidates(match: Match) -> str:
    return f"; may be {', '.join(match.others)}" if match.others else ""


# --- money, broadcasts, apps ------------------------------------------------------------------


def note_payment(event: PaymentSucceeded, source: Source) -> str:
    """Tell a payment, once, on the timeline of the lead with that number or address."""
    match = find_lead(None, phone=event.phone, email=event.email)
    if match.lead is None:
        return f"no lead for payment {event.external_id}{_candidates(match)}"
    seq = record_event(
        match.lead.pk,
        kind="payment",
        cause=cause_of(source.provider, "payment", event.external_id),
        payload={
            "provider": source.provider,
            "payment": event.external_id,
            "amount_cents": event.amount_cents,
            "currency": event.currency,
            "description": event.description,
        },
    )
    return "duplicate" if seq is None else f"filed for {match.lead.pk}"


# A report is newer when it has counters and none of a later moment are known.
_KEEP = """
INSERT INTO broadcast_stats AS b (tenant_id, id, integration_id, broadcast_id, name, counters,
                                  is_completed, snapshot_at)
VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s, %s)
ON CONFLICT (tenant_id, integration_id, broadcast_id) DO UPDATE
SET (counters, snapshot_at) = (
        SELECT CASE WHEN newer THEN excluded.counters ELSE b.counters END,
               CASE WHEN newer THEN excluded.snapshot_at ELSE b.snapshot_at END
        FROM (SELECT excluded.counters <> '{}' AND (
                  excluded.snapshot_at >= b.snapshot_at OR b.counters = '{}') AS newer) AS n),
    name = coalesce(nullif(excluded.name, ''), b.name),
    is_completed = b.is_completed OR excluded.is_completed,
    updated_at = clock_timestamp()
WHERE excluded.is_completed AND NOT b.is_completed
   OR excluded.counters <> '{}' AND (
          excluded.snapshot_at >= b.snapshot_at OR b.counters = '{}')
"""


def keep_broadcast(event: BroadcastReported, source: Source) -> str:
    """Keep the newest counters of a broadcast; an older snapshot, or one without any, none.

    That it is over counts whenever it is told: no later report takes it back.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _KEEP,
            [
                owner(),
                new_uuid(),
                sql_id(source.integration_id),
                event.external_id,
                event.name[:200],
                json.dumps(dict(event.counters)),
                event.is_completed,
                event.occurred_at or source.received_at,
            ],
        )
        return "kept" if cursor.rowcount else "older than what is known"


def switch_app(event: AppChanged, source: Source) -> str:
    """Enable or disable the connection of an account that installed or removed our app."""
    found = Integration.objects.select_for_update(no_key=True).filter(
        provider=source.provider, account_id=event.external_id
    )
    integration = found.first()
    if integration is None:
        return f"no connection has the account {event.external_id}"
    if integration.enabled == event.is_installed:
        return "nothing new"
    Integration.objects.filter(pk=integration.pk).update(enabled=event.is_installed)
    AuditEntry.objects.create(
        action="integration.app_installed" if event.is_installed else "integration.app_removed",
        object_kind="integration",
        object_id=integration.pk,
        before={"enabled": not event.is_installed},
        after={"enabled": event.is_installed},
        reason=f"told by {source.provider}: {source.event_id}",
        correlation_id=source.correlation_id,
    )
    return "enabled" if event.is_installed else "disabled"
