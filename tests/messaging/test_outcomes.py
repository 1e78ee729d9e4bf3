"""Reports of the carrier, by real callbacks: whatever their order, number and moment."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from django.test import Client
from django.utils import timezone

from integrations.endpoints import forget
from integrations.models import WebhookEvent, WebhookRejection, WebhookWork
from integrations.providers import providers
from leads.models import Consent, Lead, LeadTimer
from messaging.actions.sending import send_reply
from messaging.models import LiveEvent, Message, OutboundMessage, SendOutcome
from messaging.outcomes import Outcome, record_outcome
from messaging.sender import attempt_token, claim, send
from tests.carrier import eventually, send_due
from tests.conftest import OURS, THEIRS, drain

pytestmark = pytest.mark.django_db


def seen(office, outbound):
    with office.inside():
        return OutboundMessage.objects.select_related("message").get(pk=outbound.pk)


def kinds(office):
    with office.inside():
        return list(SendOutcome.objects.order_by("id").values_list("kind", "source"))


# --- over HTTP, both ways ---------------------------------------------------------------------


@pytest.fixture
def online(committed_office, carrier, live_server, settings):
    """An office that the carrier can call back: registered there, with the secret it was given."""
    office = committed_office
    settings.BASE_URL = live_server.url
    settings.SEND_DEADLINE = 5.0
    answer = carrier.client.post(
        "/webhook",
        json={
            "name": "Fairlead",
            "url": office.endpoint.url,
            "subscribedEvents": ["MESSAGE_RECEIVED", "MESSAGE_SENT", "MESSAGE_DELIVERED"],
            "authType": "NONE",
        },
        headers={"Authorization": "Bearer key"},
    )
    with office.inside():
        office.integration.base_url = carrier.url
        office.integration.secret = answer.json()["signingSecret"]
        office.integration.save()
    forget()
    yield office
    deliveries(carrier)


def deliveries(carrier):
    """Wait until the carrier has nothing more to deliver, and return what it did."""

    def finished():
        found = carrier.client.get("/_control/deliveries").json()["deliveries"]
        return found if all(one["state"] != "pending" for one in found) else None

    return eventually(finished, 10) or []


def until_delivered(office, carrier, outbound):
    def settled():
        deliveries(carrier)
        drain()
        return seen(office, outbound).state == "delivered"

    assert eventually(settled, 10), seen(office, outbound).state


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fault", [None, "duplicate_callbacks", "reorder_callbacks"])
def test_a_text_is_reported_delivered(online, carrier, queue, fault):
    outbound = queue(online)
    if fault:
        carrier.fault(fault)

    send_due(online)
    until_delivered(online, carrier, outbound)

    assert seen(online, outbound).message.status == "delivered"
    assert {one["state"] for one in deliveries(carrier)} == {"delivered"}
    with online.inside():
        assert set(WebhookEvent.objects.values_list("signature_state", flat=True)) == {"valid"}
        assert not WebhookWork.objects.exclude(state="done").exists()
        assert Lead.objects.get().state == "touched"
        assert LeadTimer.objects.count() == 2
        assert LiveEvent.objects.filter(kind="status").count() >= 2
    assert kinds(online)[0] == ("accepted", "call")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fault", ["500_after_accept", "reset_after_accept"])
def test_a_callback_settles_what_the_answer_left_open(online, carrier, queue, fault):
    outbound = queue(online)
    carrier.fault(fault)

    send_due(online)
    until_delivered(online, carrier, outbound)

    row = seen(online, outbound)
    assert (row.message.status, row.retry_at, row.provider_message_id != "") == (
        "delivered",
        None,
        True,
    )
    assert carrier.received() == ["Hi there"]
    with online.inside():
        assert Lead.objects.get().state == "touched"


@pytest.mark.django_db(transaction=True)
def test_a_text_of_a_lead_over_http_is_answered_and_delivered(online, carrier):
    """The main job, over the wire: a lead writes, an agent answers, the carrier delivers."""
    answer = carrier.client.post(
        "/_control/inbound", json={"from": THEIRS, "to": OURS, "text": "Is it still for sale?"}
    )
    assert answer.status_code == 202
    eventually(lambda: deliveries(carrier)[0]["state"] == "delivered")
    drain()
    with online.inside():
        message = Message.objects.get()
        outbound = send_reply(
            message.conversation_id,
            body="It is.",
            actor_id=online.agent.pk,
            send_key="from-the-composer",
            base_message_id=message.pk,
        )

    send_due(online)
    until_delivered(online, carrier, outbound)

    assert carrier.received() == ["It is."]


# --- reports by hand --------------------------------------------------------------------------


def claimed(office, queue):
    """A text whose call is being made right now."""
    outbound = queue(office)
    [one] = claim(office.tenant.pk, most=1)
    return outbound, one


def callback(office, status, *, outbound, signed=True, external="SM1", token="", **extra):
    body = json.dumps(office.status(external, status, **extra)).encode()
    token = token or attempt_token(outbound.pk, 1)
    headers = {}
    if signed:
        headers = providers["signalhouse"]().sign(
            body, office.integration.secret, datetime.now(UTC), f"{external}-{status}-{token[:5]}"
        )
    return Client(raise_request_exception=False).post(
        f"{office.path}{token}/", body, content_type="application/json", headers=headers
    )


def test_a_callback_that_comes_before_the_answer_is_recorded_finds_its_text(desk, carrier, queue):
    outbound, one = claimed(desk, queue)
    assert callback(desk, "DELIVERED", outbound=outbound).status_code == 202
    drain()
    assert (seen(desk, outbound).state, seen(desk, outbound).message.status) == (
        "delivered",
        "delivered",
    )

    with desk.inside():
        record_outcome(
            one.outbound_id, 1, Outcome(kind="accepted", source="call", provider_id="SM1")
        )

    assert seen(desk, outbound).state == "delivered"
    assert kinds(desk) == [("delivered", "callback"), ("accepted", "call")]
    with desk.inside():
        lead = Lead.objects.get()
        assert (lead.state, lead.attempt_count) == ("touched", 1)
        assert LeadTimer.objects.count() == 2


def test_a_callback_before_the_call_makes_no_call(desk, carrier, queue):
    """A repeat of an attempt that was made by a process nobody heard of again."""
    outbound, one = claimed(desk, queue)
    callback(desk, "SENT", outbound=outbound)
    drain()

    send(one)

    assert (seen(desk, outbound).state, carrier.accepted()) == ("sent", [])


def test_the_attempts_token_vouches_without_a_signature_for_its_attempt_only(desk, queue):
    outbound, _ = claimed(desk, queue)

    assert callback(desk, "SENT", outbound=outbound, signed=False).status_code == 202
    drain()
    assert seen(desk, outbound).state == "sent"

    forged = callback(desk, "DELIVERED", outbound=outbound, signed=False, token="x" * 43)
    assert forged.status_code == 401
    with desk.inside():
        assert WebhookRejection.objects.count() == 1


def test_a_token_vouches_for_no_text_of_a_lead(desk, queue):
    outbound, _ = claimed(desk, queue)
    body = json.dumps(desk.payload("STOP")).encode()

    answer = Client().post(
        f"{desk.path}{attempt_token(outbound.pk, 1)}/", body, content_type="application/json"
    )
    drain()

    assert answer.status_code == 202
    with desk.inside():
        assert not Message.objects.filter(direction="in").exists()
        assert not Consent.objects.filter(state="opted_out").exists()


def test_a_token_of_another_tenant_is_worth_nothing(desk, other_office, queue):
    outbound, _ = claimed(desk, queue)
    body = json.dumps(other_office.status("SM1", "DELIVERED")).encode()

    answer = Client().post(
        f"{other_office.path}{attempt_token(outbound.pk, 1)}/",
        body,
        content_type="application/json",
    )

    assert answer.status_code == 401


def test_a_report_that_is_too_early_without_a_token_waits_for_the_answer(desk, queue):
    outbound, one = claimed(desk, queue)
    desk.post(desk.status("SM1", "DELIVERED"))
    drain()
    with desk.inside():
        work = WebhookWork.objects.get()
        assert (work.state, work.attempts) == ("ready", 1)
        assert "StatusTooEarly" in work.last_error
        record_outcome(
            one.outbound_id, 1, Outcome(kind="accepted", source="call", provider_id="SM1")
        )
        WebhookWork.objects.update(available_at=timezone.now())

    drain()

    assert seen(desk, outbound).state == "delivered"


def test_a_report_about_no_text_of_ours_is_kept_and_changes_nothing(desk):
    desk.receive("hello")
    desk.post(desk.status("SM_unknown", "DELIVERED"))
    drain()

    with desk.inside():
        assert WebhookWork.objects.order_by("-seq").first().outcome == (
            "no text of ours is SM_unknown"
        )


def test_an_opt_out_that_the_carrier_reports_later_counts_at_once(desk, queue):
    outbound, _ = claimed(desk, queue)
    with desk.inside():
        record_outcome(outbound.pk, 1, Outcome(kind="accepted", source="call", provider_id="SM1"))

    callback(desk, "FAILED", outbound=outbound, errorCode="OUT")
    with desk.inside():
        assert Consent.objects.get().state == "opted_out"  # at intake
    drain()

    assert seen(desk, outbound).state == "failed"
    with desk.inside():
        assert Lead.objects.get().state == "suppressed"


def test_a_failure_reported_later_is_shown_with_its_reason(desk, queue):
    outbound, _ = claimed(desk, queue)
    with desk.inside():
        record_outcome(outbound.pk, 1, Outcome(kind="accepted", source="call", provider_id="SM1"))

    callback(
        desk,
        "FAILED",
        outbound=outbound,
        errorCode="30005",
        successOrFailureReason="Unknown or inactive handset",
    )
    drain()

    row = seen(desk, outbound)
    assert (row.state, row.message.status) == ("failed", "failed")
    assert "inactive handset" in row.message.error


def test_an_outcome_of_an_older_attempt_moves_nothing(desk, carrier, queue):
    outbound, one = claimed(desk, queue)
    with desk.inside():
        record_outcome(outbound.pk, 1, Outcome(kind="not_written", source="call"))
        OutboundMessage.objects.update(due_at=timezone.now())
    [second] = claim(desk.tenant.pk, most=1)
    assert (one.attempt, second.attempt) == (1, 2)

    with desk.inside():
        record_outcome(outbound.pk, 1, Outcome(kind="failed", source="call"))

    assert seen(desk, outbound).state == "sending"
    assert len(kinds(desk)) == 2


def test_a_callback_of_an_older_attempt_settles_the_text(desk, carrier, queue):
    """The first attempt was thought unwritten, and yet its report comes: the text is out."""
    outbound, _ = claimed(desk, queue)
    with desk.inside():
        record_outcome(outbound.pk, 1, Outcome(kind="not_written", source="call"))
    callback(desk, "DELIVERED", outbound=outbound)

    drain()
    with desk.inside():
        OutboundMessage.objects.update(due_at=timezone.now())
    send_due(desk)

    assert carrier.accepted() == []
    assert seen(desk, outbound).message.status == "delivered"


def test_attempt_tokens_are_secrets_of_one_attempt(desk, queue):
    outbound, _ = claimed(desk, queue)
    tokens = {attempt_token(outbound.pk, n) for n in range(1, 5)}

    assert len(tokens) == 4
    with desk.inside():
        kept = outbound.attempts.get().token_hash
    assert all(token not in kept and len(token) == 43 for token in tokens)
