"""The main job: a text arrives, becomes a message, moves the lead, stops timers, rings the bell."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from django.utils import timezone

from campaigns.models import CallItem
from integrations.actions import create_endpoint
from integrations.models import Integration, WebhookWork
from integrations.providers import providers
from leads.actions import arm_timer, move_lead
from leads.models import Consent, ContactPoint, Lead, LeadEvent, LeadTimer
from messaging.models import Conversation, LiveEvent, Message, Notification, OutboundMessage
from tests.conftest import OURS, THEIRS, drain


def test_text_of_a_known_lead_does_everything_in_one_step(office):
    lead = office.lead(full_name="Marisol Ortega")
    with office.inside():
        move_lead(lead.pk, to="touched")
        arm_timer(lead.pk, kind="7D", days=7)
        arm_timer(lead.pk, kind="CALLBACK", days=1)

    message = office.receive("Maybe. What would you pay?")

    with office.inside():
        lead.refresh_from_db()
        assert message.lead_id == lead.pk
        assert (message.direction, message.status, message.reading) == (
            "in",
            "received",
            "question",
        )
        assert (lead.state, lead.last_response_at is not None) == ("responded", True)
        assert LeadTimer.objects.get(kind="7D").cancel_reason == "reply"
        assert LeadTimer.objects.get(kind="CALLBACK").cancelled_at is None
        note = Notification.objects.get()
        assert (note.actor_id, note.stage, note.count) == (office.agent.pk, "initial_message", 1)
        conversation = Conversation.objects.get()
        assert conversation.waiting_since is not None
        assert conversation.last_snippet == "Maybe. What would you pay?"
        assert set(LiveEvent.objects.values_list("kind", "stage")) >= {
            ("inbound", "initial_message")
        }
        assert WebhookWork.objects.get().outcome.startswith(f"filed {message.pk}")


def test_unknown_sender_becomes_a_lead(office):
    message = office.receive("who is this?")

    with office.inside():
        assert message.lead.source == "inbound"
        assert message.lead.state == "responded"
        assert ContactPoint.objects.get(lead=message.lead).normalized == THEIRS
        kinds = LeadEvent.objects.order_by("seq").values_list("kind", flat=True)
        assert list(kinds)[:2] == ["created", "message_received"]


def test_burst_is_one_unread_with_a_count(office):
    for text in ("hello", "are you there?", "?"):
        office.receive(text)

    with office.inside():
        assert Notification.objects.get().count == 3
        assert Conversation.objects.count() == 1


def test_same_text_through_two_urls_is_one_message(office):
    with office.inside():
        second = create_endpoint(office.integration, signed=False, our_number=OURS)
    payload = office.payload("Yes", id="in_1")
    office.post(payload)
    office.post(payload, path=f"/hooks/signalhouse/{second.token}/", headers={})

    drain()

    with office.inside():
        message = Message.objects.get()
        outcomes = list(WebhookWork.objects.order_by("seq").values_list("outcome", flat=True))
    assert outcomes[1] == f"duplicate of {message.pk}"


def test_stop_ends_it_all(office):
    office.receive("hi")
    with office.inside():
        lead = Lead.objects.get()
        arm_timer(lead.pk, kind="CALLBACK", days=1)

    message = office.receive("STOP")

    with office.inside():
        lead.refresh_from_db()
        conversation = Conversation.objects.get()
        assert lead.state == "suppressed"
        assert Consent.objects.get(address=THEIRS).state == "opted_out"
        assert LeadTimer.objects.get(kind="CALLBACK").cancel_reason == "opted out"
        assert (conversation.status, conversation.waiting_since) == ("done", None)
        confirmation = OutboundMessage.objects.get()
        assert confirmation.purpose == "opt_out_confirmation"
        assert Notification.objects.get().count == 1  # the STOP itself rang nobody
        assert message.reading == "opt_out"


def test_start_lifts_an_opt_out_of_the_person(office):
    office.receive("STOP")

    office.receive("START")

    with office.inside():
        lead = Lead.objects.get()
        assert Consent.objects.get(address=THEIRS).state == "opted_in"
        assert lead.state == "responded"
        assert LeadEvent.objects.get(kind="opted_in").consent_event.kind == "opt_in"


def test_wrong_number_flags_the_point_and_rings_nobody(office):
    office.receive("wrong number")

    with office.inside():
        assert ContactPoint.objects.get(normalized=THEIRS).wrong_number_at is not None
        assert not Notification.objects.exists()


def test_email_alone_is_captured_and_queued_at_its_priority(office):
    office.receive("sure, jane.doe@example.com")

    with office.inside():
        lead = Lead.objects.get()
        assert lead.state == "email_captured"
        assert ContactPoint.objects.get(kind="email").normalized == "jane.doe@example.com"
        item = CallItem.objects.get()
        assert (item.priority, item.reason) == (75, "email")


def test_email_and_mobile_make_a_lead_gold(office):
    office.receive("Sure, use Jane.Doe@Example.com and my cell 202-555-0166")

    with office.inside():
        lead = Lead.objects.get()
        assert list(lead.labels.values_list("label__name", flat=True)) == ["GOLD"]
        item = CallItem.objects.get()
        assert (item.priority, item.reason) == (office.tenant.gold_label_priority, "gold")
        assert Conversation.objects.get().band == 0
        assert ContactPoint.objects.filter(kind="phone", line_type="mobile").exists()


def test_call_me_is_high_intent_and_queued(office):
    office.receive("call me tomorrow")

    with office.inside():
        assert Lead.objects.get().state == "high_intent"
        assert CallItem.objects.get().reason == "wants_call"


def test_not_interested_pauses_without_suppressing(office):
    office.receive("not interested")

    with office.inside():
        lead = Lead.objects.get()
        assert lead.paused_until > timezone.now()
        assert lead.state == "responded"
        assert not Consent.objects.filter(state="opted_out").exists()


def test_help_gets_one_automatic_text(office):
    office.receive("HELP")

    with office.inside():
        assert OutboundMessage.objects.get().purpose == "help"


def test_opt_out_event_of_a_provider_silences(office):
    office.receive("hello")
    with office.inside():
        generic = Integration.objects.create(
            provider="standard_webhooks", name="Generic", secret="whsec_" + "MDEy" * 11
        )
        endpoint = create_endpoint(generic)
    body = json.dumps(
        {
            "type": "contact.opted_out",
            "timestamp": "2026-11-20T18:40:00Z",
            "data": {"message_id": "x1", "from": THEIRS, "to": OURS, "keyword": "STOP"},
        }
    ).encode()
    headers = providers["standard_webhooks"]().sign(
        body, generic.secret, datetime.now(UTC), "msg_1"
    )

    answer = office.post(body, path=f"/hooks/standard_webhooks/{endpoint.token}/", headers=headers)
    drain()

    assert answer.status_code == 202
    with office.inside():
        assert Consent.objects.get(address=THEIRS).state == "opted_out"
        assert Lead.objects.get().state == "suppressed"


@pytest.mark.parametrize("first", ["STOP", "hello"])
def test_replaying_a_text_adds_nothing(office, first):
    message = office.receive(first)
    with office.inside():
        work = WebhookWork.objects.get()
        before = LeadEvent.objects.count(), OutboundMessage.objects.count()
        WebhookWork.objects.create(
            event=work.event,
            received_at=work.received_at,
            lane=work.lane,
            run_no=2,
            their_number=work.their_number,
            is_inbound=True,
            tenant=office.tenant,
        )

    drain()

    with office.inside():
        assert WebhookWork.objects.get(run_no=2).outcome == f"duplicate of {message.pk}"
        assert (LeadEvent.objects.count(), OutboundMessage.objects.count()) == before
