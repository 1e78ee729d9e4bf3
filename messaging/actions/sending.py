"""Putting texts into the outbox. Nothing else in the project makes an outbound message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import Q

from leads.actions import base_consent_id, lock_consents, owner, sql_id
from leads.models import ContactPoint, Lead, Stage
from messaging.actions.facts import facts_for
from messaging.actions.live import hint
from messaging.models import (
    Conversation,
    Draft,
    Message,
    OutboundMessage,
    PhoneNumber,
)
from messaging.segments import count
from messaging.verdict import Verdict, decide
from tenants.actions import note
from tenants.correlation import correlation_id
from tenants.models import Actor


class SendRefused(Exception):
    """The text was not queued; ``verdict`` says why where a rule decided."""

    def __init__(self, words: str, verdict: Verdict | None = None) -> None:
        super().__init__(words)
        self.verdict = verdict


class NewerInbound(SendRefused):
    """The lead wrote again after what the agent saw."""


class AnsweredAlready(SendRefused):
    """Another person answered after what the agent saw."""


class ClaimedByAnother(SendRefused):
    """Another person is replying right now; ``who`` they are."""

    def __init__(self, who: Actor) -> None:
        super().__init__(f"{who.name} is replying.")
        self.who = who


@dataclass(frozen=True, kw_only=True)
class Text:
    """What to send and why, before it has a row."""

    body: str
    purpose: str
    send_key: str
    actor_id: str | None = None
    is_automated: bool = False
    consent_event_id: str | None = None
    overridden: tuple[str, ...] = ()  # of ``verdict.OVERRIDABLE``


def send_key_of(kind: str, actor_id: str, given: str) -> str:
    """Return the unique key of a person's text from the one their form carried.

    Raises:
        SendRefused: the form carried none, so that a repeat could not be told from a second text.
    """
    if not 8 <= len(given) <= 64 or not given.isascii() or not given.isprintable():
        raise SendRefused("This page is out of date. Reload it, then send.")
    return f"{kind}:{actor_id}:{given}"


def clean_body(body: str) -> str:
    """Return a typed text as it can be stored and sent: without outer blanks and NUL."""
    return body.replace("\x00", "").replace("\r\n", "\n").strip()


def verdict_for(
    conversation: Conversation, *, body: str, purpose: str, is_automated: bool = False
) -> Verdict:
    """Judge a text in a conversation, as the composer shows it and the sender asks again."""
    return decide(facts_for(conversation, body=body, purpose=purpose, is_automated=is_automated))


@transaction.atomic(savepoint=False)
def queue_message(conversation: Conversation, text: Text) -> OutboundMessage:
    """Queue one text, once per send key, with the verdict that let it.

    Returns:
        The outbox row: ``queued``, due now or, held by quiet hours, at the next legal time. The
        row of an earlier call with the same send key is returned unchanged.

    Raises:
        SendRefused: the verdict is no; nothing was written.
    """
    known = OutboundMessage.objects.filter(send_key=text.send_key).first()
    return known or _queue_new(conversation, text)


def _queue_new(conversation: Conversation, text: Text) -> OutboundMessage:
    verdict = decide(
        facts_for(
            conversation,
            body=text.body,
            purpose=text.purpose,
            is_automated=text.is_automated,
            overridden=text.overridden,
        )
    )
    if verdict.outcome == "deny" or conversation.phone_number is None:
        raise SendRefused(verdict.words or "No number of ours belongs to it.", verdict)
    segments = count(text.body)
    message = Message.objects.create(
        conversation=conversation,
        lead_id=conversation.lead_id,
        direction="out",
        sender=conversation.our_number,
        recipient=conversation.their_number,
        body=text.body,
        provider=conversation.phone_number.integration.provider,
        status="queued",
        segments=segments.segments,
        is_automated=text.is_automated,
        actor_id=text.actor_id,
        correlation_id=correlation_id(),
    )
    due: dict[str, Any] = {"due_at": verdict.hold_until} if verdict.hold_until else {}
    outbound = OutboundMessage.objects.create(
        send_key=text.send_key,
        message=message,
        conversation=conversation,
        lead_id=conversation.lead_id,
        consent_id=base_consent_id(conversation.their_number),
        phone_number=conversation.phone_number,
        to_address=conversation.their_number,
        body=text.body,
        purpose=text.purpose,
        is_automated=text.is_automated,
        actor_id=text.actor_id,
        consent_event_id=text.consent_event_id,
        segments=segments.segments,
        verdict=verdict.as_json(),
        correlation_id=correlation_id(),
        **due,
    )
    if verdict.overridden:
        note(
            "text.overridden",
            actor_id=text.actor_id,
            subject=outbound,
            after={"reasons": list(verdict.overridden), "lead": conversation.lead_id},
        )
    _touch(conversation, text)
    hint("outbound", stage=conversation.stage, conversation_id=conversation.pk)
    return outbound


def _touch(conversation: Conversation, text: Text) -> None:
    """Note the text on its conversation; who answers by hand first has it from then on."""
    answers = text.purpose == "reply" and not text.is_automated
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE conversations SET last_message_at = clock_timestamp(), last_snippet = %s,"
            " updated_at = clock_timestamp(),"
            " claimed_by_id = CASE WHEN %s THEN NULL ELSE claimed_by_id END,"
            " claimed_until = CASE WHEN %s THEN NULL ELSE claimed_until END,"
            " assigned_to_id = CASE WHEN %s THEN coalesce(assigned_to_id, %s)"
            "                       ELSE assigned_to_id END"
            " WHERE tenant_id = %s AND id = %s",
            [
                text.body[:160],
                answers,
                answers,
                answers,
                sql_id(text.actor_id),
                owner(),
                sql_id(conversation.pk),
            ],
        )


def lock_conversation(conversation_id: str) -> Conversation:
    """Lock a conversation for writing in it: consent first, then the row.

    Raises:
        Conversation.DoesNotExist: there is no such conversation in this tenant.
    """
    theirs = Conversation.objects.values_list("their_number", flat=True).get(pk=conversation_id)
    lock_consents([theirs])
    return (
        Conversation.objects.select_for_update(no_key=True, of=("self",))
        .select_related("tenant", "lead", "phone_number__integration", "claimed_by")
        .get(pk=conversation_id)
    )


@transaction.atomic
def send_reply(
    conversation_id: str,
    *,
    body: str,
    actor_id: str,
    send_key: str,
    base_message_id: str | None = None,
    take_over: bool = False,
) -> OutboundMessage:
    """Queue a person's reply.

    Args:
        conversation_id: ``conv_…``.
        body: the text, as typed.
        actor_id: who writes.
        send_key: minted by the server for this composer; a double click repeats it.
        base_message_id: newest message the writer saw.
        take_over: send although another person holds the claim.

    Raises:
        NewerInbound, AnsweredAlready, ClaimedByAnother: look again, then send.
        SendRefused: a rule forbids it.
        Conversation.DoesNotExist: no such conversation.
    """
    conversation = lock_conversation(conversation_id)
    key = send_key_of("reply", actor_id, send_key)
    known = OutboundMessage.objects.filter(send_key=key).first()
    if known is not None:
        return known
    if not take_over:
        _refuse_foreign_claim(conversation, actor_id)
    if base_message_id:
        _refuse_stale_view(conversation, base_message_id, actor_id)
    text = Text(body=clean_body(body), purpose="reply", send_key=key, actor_id=actor_id)
    outbound = _queue_new(conversation, text)
    _clear_desk(conversation, actor_id)
    return outbound


def _refuse_foreign_claim(conversation: Conversation, actor_id: str) -> None:
    holder = conversation.claimed_by
    if holder is None or holder.pk == actor_id:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s > clock_timestamp()", [conversation.claimed_until])
        if cursor.fetchone()[0]:
            raise ClaimedByAnother(holder)


def _refuse_stale_view(conversation: Conversation, base_id: str, actor_id: str) -> None:
    """The writer must have read what they answer: nothing newer by the lead or a colleague."""
    by_lead = Q(direction="in")
    by_colleague = Q(direction="out", is_automated=False) & ~Q(actor_id=actor_id)
    newer = (
        Message.objects.filter(by_lead | by_colleague, conversation=conversation, pk__gt=base_id)
        .select_related("actor")
        .order_by("direction", "pk")
        .first()
    )
    if newer is None:
        return
    if newer.direction == "in":
        name = conversation.lead.display_name
        raise NewerInbound(f"{name} wrote again. Read it, then send.")
    who = newer.actor.name if newer.actor else "Somebody"
    raise AnsweredAlready(f"{who} answered meanwhile. Read it, then send.")


def _clear_desk(conversation: Conversation, actor_id: str) -> None:
    """Forget the draft that was sent, and what its writer had unread here."""
    Draft.objects.filter(conversation=conversation, actor_id=actor_id).delete()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE notifications SET read_at = clock_timestamp()"
            " WHERE tenant_id = %s AND conversation_id = %s AND actor_id = %s AND read_at IS NULL",
            [owner(), sql_id(conversation.pk), sql_id(actor_id)],
        )
        if cursor.rowcount:
            hint("bell", stage=conversation.stage, actor_id=actor_id)


@transaction.atomic
def open_thread(lead_id: str, *, contact_point_id: str, phone_number_id: str) -> Conversation:
    """Return the conversation between a number of ours and a phone of a lead, made when missing.

    A conversation is about the lead that was texted last, so it becomes this lead's.

    Raises:
        SendRefused: the contact point is no phone of the lead.
        PhoneNumber.DoesNotExist, Lead.DoesNotExist: no such row.
    """
    point = ContactPoint.objects.filter(pk=contact_point_id, lead_id=lead_id, kind="phone").first()
    if point is None:
        raise SendRefused("That is not a phone number of this lead.")
    lock_consents([point.normalized])
    line = PhoneNumber.objects.get(pk=phone_number_id)
    lead = Lead.objects.select_for_update(no_key=True).get(pk=lead_id)
    conversation, _ = Conversation.objects.get_or_create(
        our_number=line.number,
        their_number=point.normalized,
        defaults={"lead": lead, "phone_number": line, "stage": _first_stage(line, lead)},
    )
    if conversation.lead_id != lead.pk:
        conversation.lead = lead
        conversation.save(update_fields=["lead"])
    return lock_conversation(conversation.pk)


def _first_stage(line: PhoneNumber, lead: Lead) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT stage_of_sender(%s, %s, %s)", [owner(), sql_id(line.worker_id), lead.state]
        )
        stage = cursor.fetchone()[0]
    return str(stage or Stage.objects.order_by("position").values_list("key", flat=True)[0])


@transaction.atomic
def start_conversation(
    lead_id: str,
    *,
    contact_point_id: str,
    phone_number_id: str,
    body: str,
    actor_id: str,
    send_key: str,
    overridden: tuple[str, ...] = (),
) -> OutboundMessage:
    """Text a lead from its page: the first text between two numbers, through the same gate.

    *overridden*: reasons the person has read and waves through; that is written down.

    Raises:
        SendRefused: a rule forbids it; nothing was written.
    """
    conversation = open_thread(
        lead_id, contact_point_id=contact_point_id, phone_number_id=phone_number_id
    )
    purpose = "reply" if conversation.last_inbound_at else "first_text"
    return queue_message(
        conversation,
        Text(
            body=clean_body(body),
            purpose=purpose,
            send_key=send_key_of("first", actor_id, send_key),
            actor_id=actor_id,
            overridden=overridden,
        ),
    )
