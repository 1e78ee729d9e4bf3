"""Texts through Twilio and SignalWire, over HTTP both ways: sent, reported, answered, refused."""

from __future__ import annotations

import pytest

from integrations.endpoints import forget
from integrations.models import WebhookEvent, WebhookRejection, WebhookWork
from integrations.providers import providers
from leads.models import Consent, ConsentEvent, Lead, LeadTimer
from messaging.models import Message, OutboundMessage, SendOutcome
from tests.carrier import eventually, send_due
from tests.conftest import OURS, THEIRS, drain
from tests.messaging.test_unknowns import look_now

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "token-one"
ACCOUNTS = {
    "twilio": "AC00000000000000000000000000000001",
    "signalwire": "00000000-0000-4000-8000-0000000000b0",
}


@pytest.fixture(params=["twilio", "signalwire"])
def vendor(request):
    return request.param


@pytest.fixture
def online(committed_office, carrier, live_server, settings, vendor):
    """An office whose number is rented from the vendor, which calls back over HTTP."""
    office = committed_office
    settings.BASE_URL = live_server.url
    settings.SEND_DEADLINE = 5.0
    with office.inside():
        office.integration.provider = vendor
        office.integration.name = vendor
        office.integration.base_url = carrier.url
        office.integration.account_id = ACCOUNTS[vendor]
        office.integration.api_key = office.integration.secret = TOKEN
        office.integration.save()
        office.endpoint.integration = office.integration
    forget()
    body = {
        "numbers": [OURS],
        "vendor": vendor,
        "account_id": ACCOUNTS[vendor],
        "api_key": TOKEN,
        "inbound_url": office.endpoint.url,
    }
    assert carrier.client.post("/_control/numbers", json=body).status_code == 201
    yield office
    deliveries(carrier)


def deliveries(carrier):
    """Wait until the carrier has nothing more to deliver, and return what it did."""

    def finished():
        found = carrier.client.get("/_control/deliveries").json()["deliveries"]
        return found if all(one["state"] != "pending" for one in found) else None

    return eventually(finished, 10) or []


def seen(office, outbound):
    with office.inside():
        return OutboundMessage.objects.select_related("message").get(pk=outbound.pk)


def until(state, office, carrier, outbound):
    def settled():
        deliveries(carrier)
        drain()
        return seen(office, outbound).state == state

    assert eventually(settled, 10), seen(office, outbound).state


def say(carrier, text, **options):
    body = {"from": THEIRS, "to": OURS, "text": text, **options}
    answer = carrier.client.post("/_control/inbound", json=body)
    assert answer.json()["deliveries"] >= 1
    assert {one["state"] for one in deliveries(carrier)} == {"delivered"}
    drain()


@pytest.mark.parametrize("fault", [None, "duplicate_callbacks", "reorder_callbacks"])
def test_a_text_is_reported_delivered(online, carrier, queue, fault):
    outbound = queue(online)
    if fault:
        carrier.fault(fault)

    send_due(online)
    until("delivered", online, carrier, outbound)
    eventually(lambda: len(deliveries(carrier)) >= 2)
    drain()

    row = seen(online, outbound)
    assert (row.message.status, row.provider_message_id != "") == ("delivered", True)
    assert {one["state"] for one in deliveries(carrier)} == {"delivered"}
    with online.inside():
        assert set(WebhookEvent.objects.values_list("signature_state", flat=True)) == {"valid"}
        assert not WebhookWork.objects.exclude(state="done").exists()
        assert not WebhookRejection.objects.exists()
        assert WebhookEvent.objects.count() == 2  # each status once, however often it came
        assert Lead.objects.get().state == "touched"
        assert LeadTimer.objects.count() == 2


@pytest.mark.parametrize("fault", ["500_after_accept", "reset_after_accept"])
def test_a_callback_settles_what_the_answer_left_open(online, carrier, queue, fault):
    outbound = queue(online)
    carrier.fault(fault)

    send_due(online)
    until("delivered", online, carrier, outbound)

    assert seen(online, outbound).provider_message_id
    assert carrier.received() == ["Hi there"]


def test_an_unknown_is_never_sent_anew(online, carrier, queue):
    outbound = queue(online)
    carrier.fault("500_after_accept")
    carrier.fault("no_callbacks")

    send_due(online)
    send_due(online)

    row = seen(online, outbound)
    assert (row.state, row.retry_at) == ("unknown", None)
    assert carrier.received() == ["Hi there"]


def test_a_text_that_the_network_drops_is_reported_with_its_code(online, carrier, queue):
    outbound = queue(online)
    carrier.fault("undelivered", error_code="30006")

    send_due(online)
    until("undelivered", online, carrier, outbound)

    with online.inside():
        assert SendOutcome.objects.get(kind="undelivered").error_code == "30006"


def test_an_opt_out_that_only_the_carrier_knew_becomes_ours(online, carrier, queue):
    outbound = queue(online)
    carrier.fault("dnc")

    send_due(online)

    assert seen(online, outbound).state == "suppressed"
    with online.inside():
        assert Consent.objects.get(address=THEIRS).state == "opted_out"


def test_a_text_of_a_lead_is_filed(online, carrier):
    say(carrier, "100% yes & \u201ccall me\u201d \U0001f600", media=["https://m.example/1.jpg"])

    with online.inside():
        message = Message.objects.get()
        assert message.body == "100% yes & \u201ccall me\u201d \U0001f600"
        assert (message.channel, message.provider) == ("mms", online.integration.provider)
        assert WebhookEvent.objects.get().signature_state == "valid"


def test_one_text_delivered_often_is_one_message(online, carrier):
    say(carrier, "Yes", repeat=5)

    with online.inside():
        assert (Message.objects.count(), WebhookEvent.objects.count()) == (1, 1)


def test_a_stop_on_which_the_carrier_acted_is_not_confirmed_again(online, carrier, queue):
    queue(online)
    send_due(online)

    say(carrier, "STOP", opt_out_type="STOP")

    with online.inside():
        assert Consent.objects.get(address=THEIRS).state == "opted_out"
        assert not OutboundMessage.objects.filter(purpose="opt_out_confirmation").exists()


TEXT = b"MessageSid=SM1&SmsStatus=received&From=%2B12025550142&To=%2B12025550100&Body=Hi"


def post(office, body, *, token=TOKEN, path="", content_type="application/x-www-form-urlencoded"):
    url = office.endpoint.url + path
    headers = providers[office.integration.provider]().sign(body, token, None, "", url=url)
    path = f"/hooks/{office.integration.provider}/{office.endpoint.token}/{path}"
    return office.client.post(path, body, content_type=content_type, headers=headers)


def test_the_answer_is_an_empty_response_in_xml(online):
    answers = [post(online, TEXT) for _ in range(2)]

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.content for answer in answers} == {b"<Response/>"}
    assert {answer["Content-Type"].partition(";")[0] for answer in answers} == {"text/xml"}


def test_a_signature_of_another_url_or_token_is_refused(online):
    other = providers[online.integration.provider]().sign(TEXT, TOKEN, None, "", url="https://x/")
    path = f"/hooks/{online.integration.provider}/{online.endpoint.token}/"

    assert post(online, TEXT, token="another").status_code == 401
    answer = online.client.post(
        path, TEXT, content_type="application/x-www-form-urlencoded", headers=other
    )
    assert answer.status_code == 401
    assert post(online, TEXT, content_type="text/plain").status_code == 415
    with online.inside():
        assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize(
    ("body", "parse", "kept"),
    [
        (TEXT + b"%00!", "unstorable", ["Hi!"]),
        (TEXT + b"%ff", "malformed", []),
        (TEXT.replace(b"%2B12025550142", b"nobody@example.com"), "clean", []),
    ],
)
def test_what_makes_no_sense_is_kept_and_never_lost(online, body, parse, kept):
    assert post(online, body).status_code == 200
    drain()

    with online.inside():
        event = WebhookEvent.objects.get()
        assert (event.parse_state, bytes(event.body)) == (parse, body)
        assert list(Message.objects.values_list("body", flat=True)) == kept


def test_a_text_taken_without_an_answer_is_looked_up_and_never_sent_again(online, carrier, queue):
    carrier.fault("500_after_accept")
    carrier.fault("no_callbacks", count=0)
    outbound = queue(online, "Hi there")
    send_due(online)
    assert seen(online, outbound).state == "unknown"

    look_now(online)

    row = seen(online, outbound)
    assert row.state in ("sent", "delivered")
    assert row.provider_message_id
    assert carrier.accepted() == ["Hi there"]
    with online.inside():
        sources = list(SendOutcome.objects.order_by("id").values_list("source", flat=True))
    assert sources == ["call", "lookup"]


def test_a_carrier_that_stops_our_confirmation_tells_of_no_second_opt_out(online, carrier):
    say(carrier, "STOP")
    deliveries(carrier)
    drain()
    send_due(online)

    with online.inside():
        kinds = list(ConsentEvent.objects.values_list("kind", "keyword"))
        confirmation = OutboundMessage.objects.get(purpose="opt_out_confirmation")
    assert kinds == [("opt_out", "stop")]
    assert confirmation.state in ("suppressed", "failed")
