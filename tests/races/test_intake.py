"""Deliveries that arrive at once, or die half way."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test import Client

from integrations.endpoints import find_endpoint
from integrations.intake import _TAKE, Intake, _arguments
from integrations.models import WebhookEvent, WebhookReceipt, WebhookWork
from integrations.processing import drain_once
from integrations.providers import Delivery, providers
from integrations.tolerant import parse_json
from leads.models import Consent, ConsentEvent, Lead
from messaging.models import Conversation, Message, OutboundMessage
from tests.conftest import SECRET, THEIRS, drain
from tests.raw import at_once, connected

pytestmark = pytest.mark.django_db(transaction=True)


def deliver(office, body, delivery, client=None):
    headers = providers["signalhouse"]().sign(body, SECRET, datetime.now(UTC), delivery)
    answer = (client or Client(raise_request_exception=False)).post(
        office.path, body, content_type="application/json", headers=headers
    )
    return answer.status_code, answer.json().get("id")


@pytest.mark.parametrize("text", ["hello", "STOP"])
def test_fifty_identical_deliveries_are_one_event(committed_office, text):
    office = committed_office
    body = json.dumps(office.payload(text)).encode()

    answers = at_once([lambda: deliver(office, body, "d-1")] * 50)

    statuses = sorted(status for status, _ in answers)
    assert statuses == [200] * 49 + [202]
    assert len({event for _, event in answers}) == 1
    with office.inside():
        counts = [m.objects.count() for m in (WebhookReceipt, WebhookEvent, WebhookWork)]
        assert counts == [1, 1, 1]
        assert ConsentEvent.objects.count() == (1 if text == "STOP" else 0)
    drain()
    with office.inside():
        assert Message.objects.filter(direction="in").count() == 1


def test_one_key_with_many_bodies_keeps_every_body_once(committed_office):
    office = committed_office
    bodies = [json.dumps(office.payload(f"n{n}", id="in_1")).encode() for n in range(5)]

    answers = at_once([lambda body=body: deliver(office, body, "d-1") for body in bodies * 4])

    assert {status for status, _ in answers} <= {200, 202}
    with office.inside():
        assert WebhookEvent.objects.count() == 5
        states = sorted(WebhookWork.objects.values_list("state", flat=True))
        assert states == ["quarantined"] * 4 + ["ready"]


def test_when_the_first_of_two_dies_the_second_wins(committed_office):
    office = committed_office
    body = json.dumps(office.payload("STOP")).encode()
    with connected(tenant=office.tenant.pk) as own:
        # A first delivery, not committed: the same receipt, held open by a process that will die.
        headers = providers["signalhouse"]().sign(body, SECRET, datetime.now(UTC), "d-1")
        intake = Intake(
            endpoint=find_endpoint(office.endpoint.token),
            provider=providers["signalhouse"](),
            delivery=Delivery(body=body, headers=headers, content_type="application/json"),
            parsed=parse_json(body),
            signature_state="valid",
        )
        assert own.execute(_TAKE, _arguments(intake)).fetchone()[0] == "new"

        def die_meanwhile():
            own.execute("SELECT pg_sleep(0.2)")
            own.rollback()

        answers = at_once([lambda: deliver(office, body, "d-1"), die_meanwhile])

    assert answers[0][0] == 202
    with office.inside():
        assert WebhookEvent.objects.count() == ConsentEvent.objects.count() == 1


def test_a_lost_connection_is_no_reason_to_refuse(committed_office):
    """The session ends between two requests: intake connects again and stores once."""
    office, client = committed_office, Client(raise_request_exception=False)
    body = json.dumps(office.payload("one")).encode()
    assert deliver(office, body, "d-1", client)[0] == 202
    with connected() as own:
        own.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])

    body = json.dumps(office.payload("two")).encode()
    status, _ = deliver(office, body, "d-2", client)

    assert status == 202
    with office.inside():
        assert WebhookEvent.objects.count() == 2


def test_texts_of_one_stranger_to_many_of_our_numbers_make_one_lead(committed_office):
    """Other lanes, so other drains at once; the person is the same."""
    office = committed_office
    for round_no in range(4):
        theirs = f"+1202555{round_no:04d}"
        for n in range(4):
            office.post(office.payload("hello", theirs=theirs, ours=f"+1202555{9000 + n}"))

    def drain_lane_by_lane():
        while drain_once(lanes=1, depth=1):
            pass

    results = at_once([drain_lane_by_lane] * 4)

    assert results == [None] * 4
    drain()
    with office.inside():
        assert Message.objects.count() == 16
        assert Conversation.objects.count() == 16
        assert Lead.objects.count() == 4


def test_two_stops_at_once_on_two_numbers_are_confirmed_once(committed_office):
    office = committed_office
    office.receive("hello")
    office.receive("hello", ours="+12025559001")
    for ours in ("", "+12025559001"):
        office.post(office.payload("STOP", ours=ours))

    at_once([drain] * 3)
    drain()

    with office.inside():
        assert OutboundMessage.objects.count() == 1
        assert Consent.objects.get(address=THEIRS).state == "opted_out"
