"""The private systems, texting and Verity's broadcasts, over the generic format: all they send."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from integrations.actions import create_endpoint
from integrations.models import BroadcastStat, Integration, WebhookEvent, WebhookWork
from integrations.providers import providers
from leads.models import Consent, ContactPoint, Lead
from messaging.models import Message, PhoneNumber
from tests.conftest import drain
from tests.integrations.test_providers import FIXTURES

pytestmark = pytest.mark.django_db

#: Every sample of the two systems, and what becomes of its work.
SAMPLES = {
    "message_received": "",
    "message_status": "",
    "contact_opted_out": "",
    "contact_created": "",
    "broadcast_analytics_updated": "",
    "flat_message_received": "",
    "flat_message_sent": "",
    "flat_message_delivered": "",
    "flat_message_failed": "",
    "flat_optout_stop": "",
    "flat_optout_help": "",
    "flat_conversation_created": "unmapped",
    "flat_analytics_updated": "",
    "flat_broadcast_completed": "",
    "broadcast_record_alone": "",
    "flat_analytics_with_record": "",
}


class Sender:
    """A system that speaks Standard Webhooks, and signs with its secret."""

    def __init__(self, office) -> None:
        self.office = office
        self.sent = 0
        with office.inside():
            self.integration = Integration.objects.create(
                provider="standard_webhooks", name="Private", secret="whsec_c2VjcmV0"
            )
            self.endpoint = create_endpoint(self.integration)
            PhoneNumber.objects.create(
                number="+12025550199",
                worker=office.number.worker,
                integration=office.integration,
            )

    def post(self, body: dict):
        self.sent += 1
        raw = json.dumps(body).encode()
        headers = providers["standard_webhooks"]().sign(
            raw, "whsec_c2VjcmV0", datetime.now(UTC), f"msg_{self.sent}"
        )
        return self.office.client.post(
            f"/hooks/standard_webhooks/{self.endpoint.token}/",
            raw,
            content_type="application/json",
            headers=headers,
        )


@pytest.fixture
def sender(office):
    return Sender(office)


def sample(name: str) -> dict:
    return json.loads((FIXTURES / f"standard_webhooks/{name}.json").read_text())["body"]


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_taken_and_done(office, sender, name):
    answer = sender.post(sample(name))
    drain()

    assert answer.status_code == 202, answer.content
    with office.inside():
        work = WebhookWork.objects.get()
    assert (work.state, work.last_error) == ("done", "")
    assert ("unmapped" in work.outcome) is (SAMPLES[name] == "unmapped"), work.outcome


def test_their_texts_and_opt_outs_count_like_any_other(office, sender):
    for name in ("message_received", "flat_optout_stop"):
        sender.post(sample(name))
    drain()

    with office.inside():
        assert set(Message.objects.values_list("body", flat=True)) == {"Yes", "STOP"}
        consent = Consent.objects.get(address="+12025550143", channel="sms", scope="")
    assert consent.state == "opted_out"


@pytest.mark.parametrize(
    ("name", "address", "channel"),
    [
        ("contact_opted_out_email", "jordan.sample@example.com", "email"),
        ("contact_opted_out_call", "+12025550142", "call"),
    ],
)
def test_an_opt_out_of_one_channel_closes_that_channel_alone(
    office, sender, name, address, channel
):
    sender.post(sample(name))

    with office.inside():  # at intake already
        states = dict(Consent.objects.filter(address=address).values_list("channel", "state"))
    assert states[channel] == "opted_out"
    assert states.get("sms") in (None, "unknown")


def test_a_contact_becomes_a_lead_with_what_was_told(office, sender):
    sender.post(sample("contact_created"))
    drain()

    with office.inside():
        lead = Lead.objects.get(full_name="Jordan Sample")
        point = ContactPoint.objects.get(lead=lead, kind="phone")
    assert point.normalized == "+12025550142"


def test_counters_of_a_broadcast_are_snapshots_of_whole_numbers(office, sender):
    newest = sample("broadcast_analytics_updated")
    older = {**newest, "timestamp": "2026-11-20T18:00:00Z"}
    older["data"] = {**newest["data"], "counts": {"targeted": 1000, "sent": 10, "rate": 1.5}}
    done = sample("flat_broadcast_completed") | {"broadcastId": "bc_0001"}
    done["timestamp"] = "2026-11-20T19:40:00Z"
    for body in (newest, older, done):
        assert sender.post(body).status_code == 202
    drain()

    with office.inside():
        stat = BroadcastStat.objects.get(broadcast_id="bc_0001")
    assert stat.counters == newest["data"]["counts"]
    assert all(isinstance(count, int) for count in stat.counters.values())
    assert (stat.name, stat.is_completed) == ("November re-engage", True)


def test_what_is_unknown_is_stored_and_shown_not_an_error(office, sender):
    answer = sender.post(sample("unknown_event"))
    drain()

    assert answer.status_code == 202
    with office.inside():
        event, work = WebhookEvent.objects.get(), WebhookWork.objects.get()
    assert (event.event_type, work.state, work.outcome) == ("invoice.paid", "done", "unmapped")


def test_that_a_broadcast_is_over_counts_though_newer_numbers_came_first(office, sender):
    newest, done = sample("broadcast_analytics_updated"), sample("broadcast_completed")
    done["timestamp"] = "2026-11-20T18:00:00Z"
    empty = sample("flat_analytics_updated") | {"broadcastId": "bc_0002"}
    late = {**newest, "timestamp": "2026-11-20T10:00:00Z"}
    late["data"] = {**newest["data"], "broadcast_id": "bc_0002"}
    for body in (newest, done, empty, late):
        sender.post(body)
    drain()

    with office.inside():
        one, two = BroadcastStat.objects.order_by("broadcast_id")
    assert (one.is_completed, one.counters) == (True, newest["data"]["counts"])
    assert (two.is_completed, two.counters) == (False, newest["data"]["counts"])
