"""Opt-outs, opt-ins and holds, with everything that follows from them."""

from __future__ import annotations

from dataclasses import replace

from django.db import connection, transaction

from integrations.actions import next_position
from leads.actions import (
    Choice,
    cancel_timers,
    consent_address,
    lock_consents,
    move_lead,
    owner,
    record_choice,
    record_event,
    sql_id,
)
from leads.events import AddressSuppressed
from leads.models import Consent, ConsentEvent, Lead
from leads.states import LeadState
from messaging.actions.acks import plan_acks
from messaging.actions.effects import note_effects
from messaging.actions.live import hint
from messaging.actions.sending import SendRefused, Text, queue_message
from messaging.models import Conversation
from tenants.dispatch import emit
from tenants.models import Tenant
from tenants.ulids import to_text


class ChoiceRefused(Exception):
    """The choice was not recorded; nothing was written."""


@transaction.atomic
def opt_out(choice: Choice) -> str | None:
    """Record an opt-out and stop everything planned for the address; return its ``cev_…``.

    One that no webhook brought counts as received now: a START that waits already is older.
    """
    if not choice.position:
        choice = replace(choice, position=next_position())
    event_id = record_choice(choice)
    if event_id is not None and _is_about_texts(choice):
        silence(choice.address, cause=event_id, actor_id=choice.actor_id)
    return event_id


def _is_about_texts(choice: Choice) -> bool:
    """Tell whether a choice is about all texts: one about calls or e-mail leaves them alone."""
    return choice.channel == "sms" and not choice.scope


def follow_opt_out(address: str, *, consent_event_id: str) -> bool:
    """Silence an address whose opt-out intake recorded, unless a newer opt-in lifted it since."""
    lock_consents([address])
    if not _is_in(address, "opted_out"):
        return False
    silence(address, cause=consent_event_id)
    return True


@transaction.atomic
def opt_in(choice: Choice) -> str | None:
    """Record an opt-in; leads that the opt-out suppressed answer again. Return its ``cev_…``.

    By hand it needs a reason: whoever lifts an opt-out must say what proves the person's wish.

    Raises:
        ChoiceRefused: no reason was given.
    """
    if choice.actor_id is not None and not choice.reason.strip():
        raise ChoiceRefused("Say what proves that the person wants texts again.")
    event_id = record_choice(choice)
    if event_id is None:
        return None
    lifted = ConsentEvent.objects.get(pk=event_id).state == "opted_in"
    if lifted and _is_about_texts(choice):
        for lead_id in leads_of(choice.address):
            state = Lead.objects.values_list("state", flat=True).get(pk=lead_id)
            if state == LeadState.SUPPRESSED:
                move_lead(
                    lead_id,
                    to=LeadState.RESPONDED,
                    kind="opted_in",
                    cause=f"{event_id}:{lead_id}",
                    consent_event_id=event_id,
                    actor_id=choice.actor_id,
                )
        _tell_pages(choice.address)
    return event_id


@transaction.atomic
def release_hold(address: str, *, actor_id: str, reason: str = "") -> None:
    """An agent read the text and says that it was no refusal.

    Raises:
        ChoiceRefused: the number is not on hold.
    """
    lock_consents([address])
    if not _is_in(address, "held"):
        raise ChoiceRefused("This number is not on hold.")
    record_choice(Choice(address=address, kind="release", actor_id=actor_id, reason=reason))
    _tell_pages(address)


def _is_in(address: str, state: str) -> bool:
    base = Consent.objects.filter(channel="sms", address=consent_address(address), scope="")
    return base.filter(state=state).exists()


@transaction.atomic
def confirm_hold(address: str, *, actor_id: str, reason: str = "") -> None:
    """An agent read the text and says that it was a refusal: the hold becomes an opt-out."""
    opt_out(
        Choice(
            address=address,
            kind="opt_out",
            actor_id=actor_id,
            reason=reason or "An agent read the held text as a refusal.",
        )
    )


def silence(address: str, *, cause: str, actor_id: str | None = None) -> list[str]:
    """Stop everything planned for an address that has opted out; return the leads it concerns.

    In one transaction: leads are suppressed, timers and queued texts cancelled, conversations
    done, and the apps above told. The caller has written the consent. What was stopped is kept
    with the choice, and connected systems are to be told of it.
    """
    lock_consents([address])
    lead_ids = leads_of(address)
    note_effects(cause, address=address, lead_ids=lead_ids)
    plan_acks(cause)
    for lead_id in lead_ids:
        state = Lead.objects.select_for_update(no_key=True).values_list("state", flat=True)
        if state.get(pk=lead_id) != LeadState.SUPPRESSED:
            record_event(
                lead_id,
                kind="opted_out",
                to=LeadState.SUPPRESSED,
                cause=f"{cause}:{lead_id}",
                payload={"address": address},
                consent_event_id=cause,
                actor_id=actor_id,
            )
        cancel_timers(lead_id, reason="opted out")
    with connection.cursor() as cursor:
        cursor.execute("SELECT suppress_queued(%s, %s, 'opted out')", [owner(), address])
        cursor.execute(
            "UPDATE conversations SET status = 'done', waiting_since = NULL,"
            " snoozed_until = NULL, updated_at = clock_timestamp()"
            " WHERE tenant_id = %s AND their_number = %s",
            [owner(), address],
        )
    _tell_pages(address)
    emit(AddressSuppressed(address=address, lead_ids=tuple(lead_ids)))
    return lead_ids


def leads_of(address: str) -> list[str]:
    """Leads that live by this address: texted at it, or reachable at no other number."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT lead_id FROM conversations"
            " WHERE tenant_id = %(t)s AND their_number = %(a)s"
            " UNION"
            " SELECT p.lead_id FROM contact_points AS p"
            " WHERE p.tenant_id = %(t)s AND p.normalized = %(a)s AND p.kind = 'phone'"
            "   AND NOT EXISTS (SELECT FROM contact_points AS q"
            "                   WHERE q.tenant_id = %(t)s AND q.lead_id = p.lead_id"
            "                     AND q.kind = 'phone' AND q.normalized <> %(a)s)"
            " ORDER BY lead_id",
            {"t": owner(), "a": address},
        )
        return [to_text("lead", row[0]) for row in cursor.fetchall()]


def _tell_pages(address: str) -> None:
    for conversation in Conversation.objects.filter(their_number=address).only("id", "stage"):
        hint("conv", stage=conversation.stage, conversation_id=conversation.pk)


def confirm_opt_out(conversation: Conversation, *, consent_event_id: str) -> None:
    """Queue the one text that confirms an opt-out; it names no offer.

    The database lets it pass for five minutes after the opt-out, and once. Who was opted out
    before gets none: a machine that answers STOP to everything would get them for ever.
    """
    if _was_opted_out(consent_event_id):
        return
    tenant = Tenant.objects.get(pk=conversation.tenant_id)
    words = tenant.settings.get("opt_out_text") or (
        f"You have opted out of texts from {tenant.name} and will get no more. "
        "Reply START to hear from us again."
    )
    _queue_automatic(
        conversation,
        Text(
            body=words,
            purpose="opt_out_confirmation",
            send_key=f"opt-out:{consent_event_id}",
            is_automated=True,
            consent_event_id=consent_event_id,
        ),
    )


def _was_opted_out(consent_event_id: str) -> bool:
    """Tell whether the address was opted out already when this choice was recorded."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM consent_events AS e JOIN consent_events AS before"
            "   ON before.tenant_id = e.tenant_id AND before.consent_id = e.consent_id"
            "  AND before.rev = e.rev - 1"
            " WHERE e.tenant_id = %s AND e.id = %s AND before.state = 'opted_out'",
            [owner(), sql_id(consent_event_id)],
        )
        return cursor.fetchone() is not None


def answer_help(conversation: Conversation, *, cause: str) -> None:
    """Queue the help text: who we are and how to stop. One for each HELP."""
    tenant = Tenant.objects.get(pk=conversation.tenant_id)
    words = tenant.settings.get("help_text") or (
        f"{tenant.name}: we text about your inquiry. Reply to reach a person, "
        "or STOP to get no more texts."
    )
    _queue_automatic(
        conversation,
        Text(body=words, purpose="help", send_key=f"help:{cause}", is_automated=True),
    )


def _queue_automatic(conversation: Conversation, text: Text) -> None:
    """Queue a text nobody typed; where a rule forbids it, the timeline says so instead."""
    try:
        with transaction.atomic():
            queue_message(conversation, text)
    except SendRefused as refusal:
        record_event(
            conversation.lead_id,
            kind="text_refused",
            cause=f"{text.send_key}:refused",
            payload={"purpose": text.purpose, "why": str(refusal)},
        )


def find_consent_event(address: str, webhook_event_id: str, kind: str) -> str | None:
    """Return the ``cev_…`` that a webhook event left at intake for texts to an address."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT e.id FROM consent_events AS e"
            " JOIN consents AS c ON c.tenant_id = e.tenant_id AND c.id = e.consent_id"
            " WHERE e.tenant_id = %s AND c.channel = 'sms' AND c.address = %s"
            "   AND e.webhook_event = %s AND e.kind = %s",
            [owner(), consent_address(address), sql_id(webhook_event_id), kind],
        )
        row = cursor.fetchone()
    return to_text("cev", row[0]) if row else None
