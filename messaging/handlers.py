"""What happens when a provider tells us about a message. A new event means a new function here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from integrations.events import ContactOptedOut, MessageReceived, MessageStatus
from integrations.known import Comparison
from integrations.work import Source, WorkSettled
from leads.actions import (
    Choice,
    add_contact_point,
    flag_wrong_number,
    move_if_legal,
    owner,
    put_label,
    record_event,
)
from leads.events import CallWanted, LeadsMeet, LeadsUnmerged
from leads.mergeable import Child, follows
from leads.models import ContactPoint, Lead
from leads.reading import Reading, read_text
from leads.states import LeadState
from messaging.actions import consent, merges
from messaging.actions.live import hint
from messaging.models import Conversation, Message
from messaging.outcomes import apply_status
from tenants.dispatch import emit, on
from tenants.ulids import new_uuid, to_text, to_uuid

# What of this app follows a lead into a merge. A conversation is unique by its two numbers.
for _table in ("conversations", "messages", "outbound_messages"):
    follows(Child(table=_table))

#: Somebody who says no is left alone by automation this long; they are not suppressed.
PAUSE = timedelta(days=90)


@dataclass(frozen=True, kw_only=True)
class Filed:
    """An inbound text in its place."""

    outcome: str  # filed or duplicate
    message_id: str
    conversation_id: str
    lead_id: str
    cause: str  # provider:external id, the root of every effect's key


@on(MessageReceived)
def file_text(event: MessageReceived, *, source: Source) -> None:
    """Keep the text, move its lead, stop its timers, ring its stage; then act on what it says.

    Everything hangs on the message's own key: the same text delivered through two of our URLs,
    or replayed, is one message, and the second one ends here.
    """
    reading = _read(event)
    filed = _file(event, reading, source)
    if filed.outcome == "duplicate":
        source.note(f"duplicate of {filed.message_id}")
        return
    source.note(f"filed {filed.message_id}, read as {reading.kind}")
    _capture(reading, filed, event)
    _act_on(reading, filed, event, source)


def _act_on(reading: Reading, filed: Filed, event: MessageReceived, source: Source) -> None:
    match reading.kind:
        case "opt_out":
            _stop(event, filed, source)
        case "opt_in":
            _start(event, reading, filed, source)
        case "help":
            consent.answer_help(_conversation(filed), cause=filed.cause)
        case "wrong_number":
            _wrong_number(event, filed)
        case "not_interested":
            _pause(filed)
        case "hold":
            _event(filed, "held", keyword=reading.keyword)
        case _ if reading.high_intent or reading.kind == "wants_call":
            _wants_call(filed)


def _read(event: MessageReceived) -> Reading:
    if event.carrier_keyword:  # the carrier has already acted on it
        return Reading(kind=event.carrier_keyword, keyword=event.carrier_keyword)
    return read_text(event.body, sender=event.sender)


def _file(event: MessageReceived, reading: Reading, source: Source) -> Filed:
    message = new_uuid()
    hot = reading.high_intent or reading.kind == "wants_call"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT outcome, message, conversation, lead FROM file_inbound(%s, %s::jsonb)",
            [
                owner(),
                json.dumps(
                    {
                        "message": str(message),
                        "event": str(to_uuid(source.event_id)),
                        "provider": source.provider,
                        "external_id": event.external_id,
                        "ours": event.recipient,
                        "theirs": event.sender,
                        "body": event.body,
                        "media": list(event.media),
                        "channel": event.channel,
                        "reading": reading.kind,
                        "rings": reading.kind not in ("opt_out", "wrong_number"),
                        "moves": reading.kind not in ("opt_out", "wrong_number"),
                        "band": 0 if hot else 1,
                        "at": (event.occurred_at or source.received_at).isoformat(),
                        "correlation_id": source.correlation_id,
                    }
                ),
            ],
        )
        outcome, message_id, conversation, lead = cursor.fetchone()
    return Filed(
        outcome=outcome,
        message_id=to_text("msg", message_id),
        conversation_id=to_text("conv", conversation),
        lead_id=to_text("lead", lead),
        cause=f"{source.provider}:{event.external_id}",
    )


def _conversation(filed: Filed) -> Conversation:
    return Conversation.objects.select_related("tenant", "lead", "phone_number__integration").get(
        pk=filed.conversation_id
    )


def _event(filed: Filed, kind: str, **payload: Any) -> None:
    record_event(
        filed.lead_id,
        kind=kind,
        cause=f"{filed.cause}:{kind}",
        payload={"message": filed.message_id, **payload},
    )


# --- what people say --------------------------------------------------------------------------


def _stop(event: MessageReceived, filed: Filed, source: Source) -> None:
    event_id = consent.find_consent_event(event.sender, source.event_id, "opt_out")
    if event_id is None:  # a replay, or words that a newer rule reads as an opt-out
        event_id = consent.opt_out(
            Choice(
                address=event.sender,
                kind="opt_out",
                source="texting",
                reason=event.body[:500],
                position=source.position,
                webhook_event=source.event_id,
                received_at=source.received_at,
            )
        )
    elif not consent.follow_opt_out(event.sender, consent_event_id=event_id):
        source.note("opted in since")
        return
    if event_id is not None and not event.carrier_keyword and source.run_no == 1:
        consent.confirm_opt_out(_conversation(filed), consent_event_id=event_id)


def _start(event: MessageReceived, reading: Reading, filed: Filed, source: Source) -> None:
    consent.opt_in(
        Choice(
            address=event.sender,
            kind="opt_in",
            source="carrier" if event.carrier_keyword else "texting",
            keyword=reading.keyword,
            reason=event.body[:500],
            position=source.position,
            webhook_event=source.event_id,
            received_at=source.received_at,
        )
    )


def _wrong_number(event: MessageReceived, filed: Filed) -> None:
    flag_wrong_number(filed.lead_id, address=event.sender)
    with connection.cursor() as cursor:
        cursor.execute("SELECT suppress_queued(%s, %s, 'wrong number')", [owner(), event.sender])
    _event(filed, "wrong_number", address=event.sender)


def _pause(filed: Filed) -> None:
    Lead.objects.filter(pk=filed.lead_id).update(paused_until=timezone.now() + PAUSE)
    _event(filed, "not_interested")


def _wants_call(filed: Filed) -> None:
    move_if_legal(
        filed.lead_id,
        to=LeadState.HIGH_INTENT,
        kind="high_intent",
        cause=f"{filed.cause}:high_intent",
        payload={"message": filed.message_id},
    )
    emit(CallWanted(lead_id=filed.lead_id, reason="wants_call"))


def _capture(reading: Reading, filed: Filed, event: MessageReceived) -> None:
    """Keep an e-mail address or a second number; both together make a lead GOLD."""
    if not reading.email and not reading.mobile:
        return
    if reading.mobile:
        add_contact_point(
            filed.lead_id,
            kind="phone",
            value=reading.mobile,
            raw=reading.mobile_raw,
            source="texting",
            line_type="mobile",
        )
        _event(filed, "mobile_captured", mobile=reading.mobile)
    if reading.email:
        add_contact_point(
            filed.lead_id,
            kind="email",
            value=reading.email,
            raw=reading.email_raw,
            source="texting",
        )
        if reading.kind != "opt_out":
            move_if_legal(
                filed.lead_id,
                to=LeadState.EMAIL_CAPTURED,
                kind="email_captured",
                cause=f"{filed.cause}:email_captured",
                payload={"message": filed.message_id, "email": reading.email},
            )
    if reading.kind != "opt_out":
        _rate(filed, event.sender)


def _rate(filed: Filed, sender: str) -> None:
    points = ContactPoint.objects.filter(lead_id=filed.lead_id)
    if not points.filter(kind="email").exists():
        return
    phones = points.filter(kind="phone")
    second = phones.exclude(normalized=sender).filter(source="texting").exists()
    verified = phones.filter(line_type="mobile", verified_at__isnull=False).exists()
    if not (second or verified):
        emit(CallWanted(lead_id=filed.lead_id, reason="email"))
        return
    if put_label(filed.lead_id, key="GOLD", source=filed.message_id):
        _event(filed, "gold")
    Conversation.objects.filter(pk=filed.conversation_id).update(band=0)
    emit(CallWanted(lead_id=filed.lead_id, reason="gold"))


# --- what carriers say ------------------------------------------------------------------------


@on(MessageStatus)
def report_status(event: MessageStatus, *, source: Source) -> None:
    """Move a text of ours as far as its report says; late and repeated reports change nothing."""
    source.note(
        apply_status(event, provider=source.provider, attempt_token_hash=source.attempt_token_hash)
    )


@on(ContactOptedOut)
def honor_opt_out(event: ContactOptedOut, *, source: Source) -> None:
    """Silence an address whose opt-out a provider reported; intake wrote the consent already."""
    if event.channel != "sms":
        source.note(f"opted out {event.address}: {event.channel}")
        return
    event_id = consent.find_consent_event(event.address, source.event_id, "opt_out")
    if event_id is None:
        event_id = consent.opt_out(
            Choice(
                address=event.address,
                kind="opt_out",
                source="carrier",
                keyword=event.keyword,
                reason=event.reason,
                position=source.position,
                webhook_event=source.event_id,
                received_at=source.received_at,
            )
        )
    elif not consent.follow_opt_out(event.address, consent_event_id=event_id):
        source.note("opted in since")
        return
    source.note(f"opted out {event.address}")


#: How far a report brings a message: ranks of ``Message.RANKS``.
_RANK_OF_STATUS = {"accepted": 2, "sent": 2, "delivered": 3, "undelivered": 3, "failed": 3}


@on(Comparison)
def know_texts(comparison: Comparison) -> None:
    """Say which listed texts are in a thread, and which reports tell nothing new.

    A report about a text that we did not send, or do not know by that id, is none of our business:
    nothing could be done with it.
    """
    wanted = {item.external_id for item in comparison.items}
    ranks = {
        text: Message.RANKS[status]
        for text, status in Message.objects.filter(
            provider=comparison.provider, external_id__in=wanted
        ).values_list("external_id", "status")
    }
    for item in comparison.items:
        rank = ranks.get(item.external_id)
        if item.is_status is None:
            is_known = rank is not None
        else:
            is_known = rank is None or rank >= _RANK_OF_STATUS[item.is_status]
        if is_known:
            comparison.known.add(item.key)


# --- what operators watch ---------------------------------------------------------------------


@on(WorkSettled)
def tell_webhook_pages(event: WorkSettled) -> None:
    """Tell open pages that webhooks were settled: one hint for all of a transaction."""
    hint("webhook")


# --- leads that become one --------------------------------------------------------------------


@on(LeadsMeet)
def name_numbers(event: LeadsMeet) -> None:
    merges.numbers_of(event)


@on(LeadsUnmerged)
def follow_numbers(event: LeadsUnmerged) -> None:
    merges.give_back(event)
    merges.keep_silent(event)
