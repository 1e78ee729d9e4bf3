"""CRMs, dialers and payment services, from their webhooks over HTTP to what leads know then."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from integrations.actions import create_endpoint
from integrations.events import BroadcastReported
from integrations.models import (
    BroadcastStat,
    ExternalId,
    Integration,
    WebhookEndpoint,
    WebhookEvent,
    WebhookWork,
)
from integrations.processing import Source, parse_events
from integrations.providers import providers
from leads.actions import add_contact_point, put_label
from leads.identity.provenance import remember
from leads.models import (
    Consent,
    ConsentEvent,
    ContactPoint,
    Lead,
    LeadEvent,
    LeadLabel,
    MergeReview,
)
from messaging.models import Message
from tenants.context import tenant_context
from tenants.dispatch import emit
from tenants.models import PLATFORM_TENANT_ID, AuditEntry
from tenants.ulids import new_id
from tests.conftest import THEIRS, Office, drain
from tests.integrations.test_providers import GHL_PRIVATE_KEY, GHL_PUBLIC_KEY

SECRETS = {"ghl": GHL_PRIVATE_KEY, "aloware": "user:pass", "stripe": "whsec_test"}
OTHER = "+12025550143"
_serial = count(1)


@dataclass
class Desk:
    """An office that is connected to another system."""

    office: Office
    integration: Integration
    endpoint: WebhookEndpoint

    @property
    def provider(self) -> str:
        return self.integration.provider

    def post(self, payload: dict) -> None:
        """Post a webhook as the other system would, and process it."""
        self.send(payload)
        drain()

    def send(self, payload: dict) -> None:
        body = json.dumps(payload).encode()
        headers = providers[self.provider]().sign(
            body, SECRETS[self.provider], datetime.now(UTC), ""
        )
        answer = self.office.client.post(
            f"/hooks/{self.provider}/{self.endpoint.token}/",
            body,
            content_type="application/json",
            headers=headers,
        )
        assert answer.status_code == 202, answer.content

    def contact(self, kind: str = "ContactUpdate", *, ago: float = 0, **fields) -> dict:
        at = datetime.now(UTC) - timedelta(seconds=ago)
        return {
            "type": kind,
            "timestamp": at.isoformat(),
            "webhookId": f"hook-{next(_serial)}",
            "locationId": "loc1",
            "id": "con1",
            **fields,
        }

    def message(self, text: str, kind: str = "InboundMessage", **fields) -> dict:
        return {
            "type": kind,
            "webhookId": f"hook-{next(_serial)}",
            "locationId": "loc1",
            "contactId": "con1",
            "messageId": f"msg-{next(_serial)}",
            "conversationId": "cv1",
            "messageType": "SMS",
            "body": text,
            "dateAdded": datetime.now(UTC).isoformat(),
            **fields,
        }

    def call(self, event: str, id: int = 1, **fields) -> dict:
        return {
            "event": event,
            "body": {
                "id": id,
                "direction": 2,
                "type": 1,
                "contact_id": 7,
                "lead_number": THEIRS,
                "incoming_number": "+12025550100",
                "created_at": "2026-11-20 18:38:49",
                **fields,
            },
        }

    def outcomes(self) -> list[str]:
        with self.office.inside():
            work = WebhookWork.objects.order_by("seq")
            assert set(work.values_list("state", flat=True)) == {"done"}
            return list(work.values_list("outcome", flat=True))

    def lead(self) -> Lead:
        with self.office.inside():
            return Lead.objects.get()

    def facts(self, *kinds: str) -> list[dict]:
        with self.office.inside():
            events = LeadEvent.objects.filter(kind__in=kinds).order_by("lead", "seq")
            return list(events.values_list("payload", flat=True))

    def labels(self) -> set[str]:
        with self.office.inside():
            return set(LeadLabel.objects.values_list("label__key", flat=True))

    def consent(self, channel: str = "sms", address: str = THEIRS) -> str:
        with self.office.inside():
            found = Consent.objects.filter(channel=channel, address=address, scope="")
            return found.values_list("state", flat=True).first() or "none"


def connect(office: Office, provider: str, **fields) -> Desk:
    with office.inside():
        integration = Integration.objects.create(
            provider=provider,
            name=provider,
            secret="" if provider == "ghl" else SECRETS[provider],
            settings={"public_keys": [GHL_PUBLIC_KEY]} if provider == "ghl" else {},
            **fields,
        )
        return Desk(office=office, integration=integration, endpoint=create_endpoint(integration))


@pytest.fixture
def crm(office) -> Desk:
    return connect(office, "ghl", account_id="loc1")


@pytest.fixture
def dialer(office) -> Desk:
    return connect(office, "aloware")


@pytest.fixture
def bank(office) -> Desk:
    return connect(office, "stripe")


# --- contacts ---------------------------------------------------------------------------------


def test_a_new_contact_becomes_a_lead(crm):
    crm.post(
        crm.contact(
            "ContactCreate",
            firstName="Jordan",
            lastName="Sample",
            phone=THEIRS,
            email="Jordan@Example.com",
            state="il",
            tags=["hot"],
            assignedTo=crm.office.agent.user.email,
        )
    )

    lead = crm.lead()
    assert (lead.source, lead.first_name, lead.region) == ("ghl", "Jordan", "IL")
    assert (lead.state, lead.assigned_agent_id) == ("new", crm.office.agent.pk)
    with crm.office.inside():
        points = set(ContactPoint.objects.values_list("normalized", flat=True))
        link = ExternalId.objects.get()
    assert points == {THEIRS, "jordan@example.com"}
    assert (link.external_id, link.lead_id, link.phone) == ("con1", lead.pk, THEIRS)
    assert crm.labels() == {"hot"}
    [told] = crm.facts("contact_created")
    assert told["contact"] == "con1"
    assert crm.outcomes() == [f"made {lead.pk}"]


def test_an_update_of_an_unknown_contact_makes_its_lead_too(crm):
    crm.post(crm.contact(firstName="Jordan", phone=THEIRS))

    assert crm.lead().first_name == "Jordan"


def test_a_contact_with_a_known_number_is_that_lead(crm):
    lead = crm.office.lead(first_name="Jo")

    crm.post(crm.contact(firstName="Jordan", phone="(202) 555-0142", email="j@example.com"))

    assert crm.lead().pk == lead.pk
    assert crm.lead().first_name == "Jordan"
    [told] = crm.facts("contact_updated")
    assert told["fields"] == {"first_name": ["Jo", "Jordan"]}
    assert told["contact_points"] == ["j@example.com"]


def test_without_a_number_the_address_finds_the_lead(crm):
    lead = crm.office.lead(phone="", email="j@example.com")

    crm.post(crm.contact(firstName="Jordan", email="J@example.com"))

    assert crm.lead().pk == lead.pk


def test_once_linked_a_contact_stays_with_its_lead_whatever_its_number(crm):
    crm.post(crm.contact("ContactCreate", ago=10, phone=THEIRS))

    crm.post(crm.contact(phone=OTHER, city="Springfield"))

    assert crm.lead().city == "Springfield"
    with crm.office.inside():
        points = set(ContactPoint.objects.values_list("normalized", flat=True))
        assert ExternalId.objects.get().phone == OTHER
    assert points == {THEIRS, OTHER}


def test_several_candidates_decide_nothing_and_a_person_is_asked(crm):
    first, second = crm.office.lead(), crm.office.lead()

    crm.post(crm.contact(firstName="Jordan", phone=THEIRS, tags=["hot"]))

    with crm.office.inside():
        assert Lead.objects.count() == 2
        review = MergeReview.objects.get()
    assert (review.left_id, review.right_id) == (first.pk, second.pk)
    assert review.incoming["fields"] == {"first_name": "Jordan"}
    assert review.incoming["points"] == [{"kind": "phone", "value": THEIRS}]
    assert review.incoming["raw"] == {"contact": "con1", "tags": ["hot"]}
    assert crm.outcomes() == [f"could be {first.pk}, {second.pk}: a person is asked"]


def test_what_a_person_wrote_is_not_overwritten(crm):
    crm.post(crm.contact(ago=9, firstName="Jordan", city="Reno", phone=THEIRS))
    with crm.office.inside():
        Lead.objects.update(first_name="Jo")
        remember(crm.lead().pk, ["first_name"], actor_id=crm.office.agent.pk)

    crm.post(crm.contact(firstName="Jordan", city="Sparks"))

    lead = crm.lead()
    assert (lead.first_name, lead.city) == ("Jo", "Sparks")
    assert lead.provenance["city"]["source"] == "ghl"


def test_an_address_decides_where_a_number_cannot(crm):
    first, second = crm.office.lead(), crm.office.lead()
    with crm.office.inside():
        add_contact_point(second.pk, kind="email", value="j@example.com", source="manual")

    crm.post(crm.contact(firstName="Jordan", phone=THEIRS, email="j@example.com"))

    with crm.office.inside():
        assert Lead.objects.count() == 2
        assert ExternalId.objects.get().lead_id == second.pk
        assert MergeReview.objects.get().incoming is None
    assert crm.facts("contact_updated")[0]["others"] == [first.pk]


def test_a_second_contact_with_the_same_number_is_the_same_lead(crm):
    crm.post(crm.contact("ContactCreate", phone=THEIRS))

    crm.post(crm.contact("ContactCreate", id="con2", phone=THEIRS))

    with crm.office.inside():
        links = set(ExternalId.objects.values_list("external_id", "lead_id"))
    assert links == {("con1", crm.lead().pk), ("con2", crm.lead().pk)}


def test_the_same_contact_in_two_connections_is_known_by_each(crm, dialer):
    crm.post(crm.contact("ContactCreate", phone=THEIRS))
    dialer.post(
        {"event": "Contact Created", "body": {"contact": {"id": "con1", "phone_number": THEIRS}}}
    )

    with crm.office.inside():
        assert ExternalId.objects.count() == 2
    assert crm.lead().source == "ghl"


def test_an_older_update_does_not_undo_a_newer_one(crm):
    crm.post(crm.contact(ago=10, firstName="Newest", phone=THEIRS))

    crm.post(crm.contact(ago=60, firstName="Older", phone=THEIRS))

    assert crm.lead().first_name == "Newest"
    assert crm.outcomes()[1] == "older than what is known"


def test_updates_without_a_time_count_in_the_order_of_their_receipts(crm):
    for name in ("One", "Two"):
        crm.post({"contact_id": "con1", "first_name": name, "phone": THEIRS})

    assert crm.lead().first_name == "Two"


def test_an_update_without_a_time_does_not_make_dated_ones_look_old(crm):
    crm.post({"contact_id": "con1", "first_name": "One", "phone": THEIRS})

    crm.post(crm.contact(ago=5, firstName="Two", phone=THEIRS))

    assert crm.lead().first_name == "Two"


def test_an_undated_update_that_is_processed_again_does_not_undo_later_ones(crm):
    for name in ("One", "Two"):
        crm.post({"contact_id": "con1", "first_name": name, "phone": THEIRS})
    with crm.office.inside():
        first = WebhookEvent.objects.order_by("received_at").first()
        source = source_of(crm, event_id=first.pk, received_at=first.received_at)
        [event] = parse_events(source, bytes(first.body))

        emit(event, source=source)

    assert crm.lead().first_name == "Two"
    assert source.notes == ["older than what is known"]


def test_a_clock_that_runs_ahead_does_not_silence_a_contact(crm):
    crm.post(crm.contact(ago=-3600, firstName="One", phone=THEIRS))

    crm.post(crm.contact(firstName="Two", phone=THEIRS))

    assert crm.lead().first_name == "Two"


def test_a_deleted_contact_does_not_come_back(crm):
    crm.post(crm.contact("ContactCreate", ago=60, firstName="Jordan", phone=THEIRS))
    crm.post(crm.contact("ContactDelete", ago=30))

    crm.post(crm.contact(ago=45, firstName="Late", phone=THEIRS))

    assert crm.lead().first_name == "Jordan"
    with crm.office.inside():
        assert ExternalId.objects.get().deleted_at is not None
    assert len(crm.facts("contact_deleted")) == 1
    assert crm.outcomes()[2] == "the contact is deleted there"


def test_a_contact_deleted_before_it_was_known_makes_no_lead(crm):
    crm.post(crm.contact("ContactDelete"))

    crm.post(crm.contact("ContactCreate", ago=60, phone=THEIRS))

    with crm.office.inside():
        assert not Lead.objects.exists()
    assert crm.outcomes() == ["deleted before it was known", "the contact is deleted there"]


def test_an_update_that_says_nothing_new_leaves_no_trace_on_the_timeline(crm):
    for _ in range(3):
        crm.post(crm.contact(firstName="Jordan", phone=THEIRS, dnd=False, tags=["hot"]))

    assert len(crm.facts("contact_created", "contact_updated")) == 1
    assert crm.outcomes()[1] == f"nothing new for {crm.lead().pk}"


def test_an_update_that_says_nothing_new_costs_a_look_and_a_note(
    crm, django_assert_max_num_queries
):
    contact = {"firstName": "Jordan", "phone": THEIRS, "email": "j@example.com", "tags": ["hot"]}
    crm.post(crm.contact(ago=5, **contact))

    crm.send(crm.contact(**contact))

    with django_assert_max_num_queries(13):  # ten are the batch's own, at most
        drain()


def test_a_field_that_was_emptied_there_is_emptied_here_and_one_not_told_is_not(crm):
    crm.post(crm.contact(ago=9, firstName="Jordan", lastName="Sample", city="Reno", phone=THEIRS))

    crm.post(crm.contact(city="", lastName=None))

    lead = crm.lead()
    assert (lead.first_name, lead.last_name, lead.city) == ("Jordan", "Sample", "")


def test_an_empty_field_of_a_contact_just_met_empties_nothing(crm):
    crm.office.lead(company="Harbor Homes")

    crm.post(crm.contact("ContactCreate", companyName="", phone=THEIRS))

    assert crm.lead().company == "Harbor Homes"


def test_a_contact_never_moves_its_lead(crm):
    crm.office.receive("hello")

    crm.post(crm.contact(firstName="Jordan", phone=THEIRS))

    assert crm.lead().state == "responded"


def test_tags_come_and_go_and_leave_the_labels_of_others_alone(crm):
    crm.post(crm.contact(ago=9, phone=THEIRS, tags=["hot", "vip"]))
    with crm.office.inside():
        put_label(crm.lead().pk, key="ours", source="manual")

    crm.post(crm.contact("ContactTagUpdate", ago=5, tags=["vip", "ours", "GOLD"]))
    assert crm.labels() == {"vip", "ours"}

    crm.post({"event": "contact.tag.added", "contactId": "con1", "tag": "CALL_NOW"})
    crm.post({"event": "contact.tag.removed", "contactId": "con1", "tag": "vip"})
    assert crm.labels() == {"ours", "call_now"}

    crm.post(crm.contact("ContactTagUpdate", tags=[]))
    assert crm.labels() == {"ours"}
    assert crm.facts("contact_updated")[-1]["tags_taken"] == ["CALL_NOW"]


def test_two_tenants_with_the_same_contact_know_nothing_of_each_other(crm, other_office):
    other = connect(other_office, "ghl", account_id="loc2")
    crm.post(crm.contact("ContactCreate", firstName="Here", phone=THEIRS))

    other.post(other.contact("ContactCreate", firstName="There", phone=THEIRS))

    assert (crm.lead().first_name, other.lead().first_name) == ("Here", "There")


def test_the_url_of_all_tenants_brings_each_its_own(crm, other_office):
    other = connect(other_office, "ghl", account_id="loc2")
    with tenant_context(PLATFORM_TENANT_ID):
        app = Integration.objects.create(
            provider="ghl", name="app", settings={"public_keys": [GHL_PUBLIC_KEY]}
        )
        shared = Desk(office=crm.office, integration=app, endpoint=create_endpoint(app))

    shared.post(crm.contact("ContactCreate", firstName="Here", phone=THEIRS))
    shared.post(crm.contact("ContactCreate", locationId="loc2", firstName="There", phone=THEIRS))

    assert (crm.lead().first_name, other.lead().first_name) == ("Here", "There")
    with other_office.inside():
        assert ExternalId.objects.get().integration_id == other.integration.pk


# --- do not disturb ---------------------------------------------------------------------------


def test_do_not_disturb_is_an_opt_out_before_anything_is_processed(crm):
    crm.office.receive("hello")

    crm.post(
        crm.contact("ContactDndUpdate", phone=THEIRS, dndSettings={"SMS": {"status": "active"}})
    )

    assert crm.consent() == "opted_out"
    assert crm.consent("call") == "none"
    assert crm.lead().state == "suppressed"
    with crm.office.inside():
        evidence = ConsentEvent.objects.get().webhook_event
        assert evidence == WebhookEvent.objects.get(source="ghl").pk
    assert crm.facts("contact_updated")[0]["do_not"] == ["sms"]


def test_do_not_disturb_everywhere_names_each_channel(crm):
    crm.post(crm.contact("ContactDndUpdate", phone=THEIRS, email="j@example.com", dnd=True))

    assert [crm.consent(channel) for channel in ("sms", "call")] == ["opted_out"] * 2
    assert crm.consent("email", "j@example.com") == "opted_out"


def test_an_end_of_do_not_disturb_is_no_opt_in(crm):
    crm.post(
        crm.contact(
            "ContactDndUpdate", ago=9, phone=THEIRS, dndSettings={"SMS": {"status": "permanent"}}
        )
    )

    crm.post(crm.contact("ContactDndUpdate", phone=THEIRS, dnd=False))

    assert crm.consent() == "opted_out"


def test_an_opt_out_tag_without_a_number_silences_the_contact_by_its_known_one(crm):
    crm.post(crm.contact("ContactCreate", ago=9, phone=THEIRS))

    crm.post({"event": "contact.tag.added", "contactId": "con1", "tag": "SMS Opted Out"})

    assert crm.consent() == "opted_out"
    assert crm.lead().state == "suppressed"


def test_an_opt_out_tag_on_a_contact_without_a_number_silences_all_of_its_lead(crm):
    lead = crm.office.lead(email="j@example.com")
    with crm.office.inside():
        add_contact_point(lead.pk, kind="phone", value=OTHER, source="manual")
    crm.post(crm.contact("ContactCreate", ago=9, email="j@example.com"))

    crm.post(crm.contact("ContactTagUpdate", tags=["DNC"]))

    assert [crm.consent(address=phone) for phone in (THEIRS, OTHER)] == ["opted_out"] * 2


def test_a_do_not_contact_of_the_dialer_is_for_calls_and_texts(dialer):
    contact = {"id": 7, "phone_number": THEIRS, "is_dnc": True}

    dialer.post({"event": "Contact DNC Updated", "body": {"contact": contact}})

    assert [dialer.consent(channel) for channel in ("sms", "call")] == ["opted_out"] * 2


def test_a_do_not_contact_taken_back_lifts_nothing(dialer):
    for is_dnc in (True, False):
        contact = {"id": 7, "phone_number": THEIRS, "is_dnc": is_dnc}
        dialer.post({"event": "Contact DNC Updated", "body": {"contact": contact}})

    assert dialer.consent() == "opted_out"


# --- messages ---------------------------------------------------------------------------------


def test_a_message_in_the_crm_stands_on_its_leads_timeline_once(crm):
    crm.post(crm.contact("ContactCreate", phone=THEIRS))
    message = crm.message("Yes, call me")

    crm.post(message)
    crm.post(message | {"webhookId": "another"})

    [told] = crm.facts("crm_message")
    assert (told["text"], told["direction"], told["channel"]) == ("Yes, call me", "in", "sms")
    assert crm.outcomes()[1:] == [f"filed for {crm.lead().pk}", "duplicate"]


def test_a_stop_heard_in_the_crm_silences_the_number_of_its_contact(crm):
    crm.post(crm.contact("ContactCreate", phone=THEIRS))

    crm.post(crm.message("STOP"))

    assert crm.consent() == "opted_out"
    assert crm.lead().state == "suppressed"
    with crm.office.inside():
        evidence = ConsentEvent.objects.get(kind="opt_out")
    assert (evidence.keyword, evidence.reason) == ("stop", "STOP")


def test_what_looks_like_a_refusal_in_the_crm_is_held(crm):
    crm.post(crm.contact("ContactCreate", phone=THEIRS))

    crm.post(crm.message("please take me off your list"))

    assert crm.consent() == "held"


def test_a_stop_in_an_email_or_from_us_is_no_opt_out_of_texts(crm):
    crm.post(crm.contact("ContactCreate", phone=THEIRS))

    crm.post(crm.message("STOP", messageType="Email"))
    crm.post(crm.message("STOP", kind="OutboundMessage"))

    assert crm.consent() == "unknown"


def test_a_stop_of_somebody_unknown_counts_by_its_number(crm):
    crm.post(crm.message("STOP", **{"from": THEIRS}))

    assert crm.consent() == "opted_out"
    assert crm.outcomes() == [f"opted out {THEIRS}; no lead for contact con1; an opt-out"]


def test_our_own_text_coming_back_is_an_echo(crm):
    received = crm.office.receive("hello")
    with crm.office.inside():
        external_id = Message.objects.get(pk=received.pk).external_id

    crm.post(crm.message("Hi", kind="OutboundMessage", messageId=external_id))

    assert crm.outcomes()[-1] == "echo"
    assert crm.facts("crm_message") == []


# --- calls ------------------------------------------------------------------------------------


def test_one_call_begins_once_and_ends_once_however_often_it_is_told(dialer):
    dialer.office.lead()

    dialer.post(dialer.call("OutboundPhoneCall"))
    dialer.post(dialer.call("OutboundPhoneCall-DispositionCompleted", duration=66))
    dialer.post(dialer.call("Call-Disposed", disposition_status2=4, duration=66))
    dialer.post(dialer.call("Call-Disposed", disposition_status2=4, notes="other bytes"))

    assert len(dialer.facts("call_started")) == 1
    [ended] = dialer.facts("call_ended")
    assert (ended["status"], ended["is_attempt"], ended["duration_s"]) == ("completed", True, 66)
    assert dialer.outcomes()[2:] == ["duplicate", "duplicate"]


def test_a_beginning_that_comes_late_changes_nothing(dialer):
    dialer.office.lead()
    dialer.post(dialer.call("OutboundPhoneCall-DispositionCompleted"))

    dialer.post(dialer.call("OutboundPhoneCall"))

    assert dialer.facts("call_started") == []
    assert dialer.outcomes()[1] == "it has ended already"


def test_a_call_that_never_rang_the_person_is_no_attempt(dialer):
    dialer.office.lead()

    dialer.post(dialer.call("OutboundPhoneCall-DispositionFailed", customer_leg_status=None))

    [ended] = dialer.facts("call_ended")
    assert (ended["status"], ended["is_attempt"]) == ("failed", False)


def test_a_recording_is_told_without_its_link(dialer):
    dialer.office.lead()
    link = "https://recordings.example.com/secret"

    for notes in ("", "again"):
        dialer.post(dialer.call("Recording-Saved", direct_recording_url=link, notes=notes))

    [told] = dialer.facts("call_described")
    assert told["has_recording"] is True
    assert link not in json.dumps(told)


def test_a_disposition_chosen_after_the_call_is_told_beside_its_end(dialer):
    dialer.office.lead()
    dialer.post(dialer.call("OutboundPhoneCall-DispositionCompleted"))

    dialer.post(dialer.call("Call-Disposed", call_disposition={"name": "No Answer"}))

    assert dialer.facts("call_described")[0]["disposition"] == "No Answer"
    assert len(dialer.facts("call_ended")) == 1


def test_a_call_of_a_contact_is_told_to_its_lead_without_any_number(dialer):
    dialer.post({"event": "Contact Created", "body": {"id": "c1", "phone_number": THEIRS}})

    dialer.post(
        {"event": "Call Summarized", "body": {"id": "x", "contact_id": "c1", "summary": "S"}}
    )

    assert dialer.facts("call_described")[0]["summary"] == "S"


def test_a_call_of_nobody_we_know_is_kept_and_says_so(dialer):
    dialer.post(dialer.call("OutboundPhoneCall"))

    assert dialer.outcomes() == ["no lead for call 1"]


def test_a_text_through_the_dialer_is_a_text(dialer):
    dialer.post(dialer.call("InboundSMS-DispositionCompleted", direction=1, type=2, body="Yes!"))

    with dialer.office.inside():
        message = Message.objects.get()
    assert (message.body, message.direction) == ("Yes!", "in")


# --- money, broadcasts, apps ------------------------------------------------------------------


def pay(event_id: str, kind: str, **fields) -> dict:
    record = {"payment_intent": "pi_1", "currency": "usd", **fields}
    created = int(datetime.now(UTC).timestamp())
    return {"id": event_id, "type": kind, "created": created, "data": {"object": record}}


def test_one_payment_told_three_ways_is_one_payment(bank):
    bank.office.lead(email="j@example.com")

    bank.post(
        pay(
            "evt_1",
            "checkout.session.completed",
            payment_status="paid",
            amount_total=4900,
            customer_details={"email": "J@example.com"},
        )
    )
    bank.post(pay("evt_2", "invoice.paid", amount_paid=4900, customer_email="j@example.com"))
    bank.post(
        pay("evt_3", "charge.succeeded", amount=4900, billing_details={"email": "j@example.com"})
    )

    [told] = bank.facts("payment")
    assert (told["payment"], told["amount_cents"], told["currency"]) == ("pi_1", 4900, "usd")


def test_a_payment_of_nobody_we_know_waits_for_one_that_says_whose_it_is(bank):
    bank.office.lead(email="j@example.com")
    bank.post(
        pay("evt_1", "payment_intent.succeeded", object="payment_intent", id="pi_1", amount=5)
    )

    bank.post(pay("evt_2", "invoice.paid", amount_paid=5, customer_email="j@example.com"))

    assert bank.outcomes()[0] == "no lead for payment pi_1"
    assert len(bank.facts("payment")) == 1


def source_of(desk: Desk, **fields) -> Source:
    known = {"event_id": new_id("wh"), "received_at": datetime.now(UTC), **fields}
    return Source(
        provider=desk.provider,
        integration_id=desk.integration.pk,
        position=1,
        signature_state="valid",
        attempt_token_hash=None,
        correlation_id="c",
        run_no=1,
        **known,
    )


def test_the_newest_counters_of_a_broadcast_replace_the_older(crm):
    now = datetime.now(UTC)
    source = source_of(crm)

    def report(seconds: int, sent: int, **fields):
        at = now + timedelta(seconds=seconds)
        emit(
            BroadcastReported(external_id="b1", occurred_at=at, counters={"sent": sent}, **fields),
            source=source,
        )

    with crm.office.inside():
        report(0, 5, name="Spring")
        report(60, 9, is_completed=True)
        report(30, 7)
        stat = BroadcastStat.objects.get()

    assert (stat.counters, stat.name, stat.is_completed) == ({"sent": 9}, "Spring", True)
    assert source.notes == ["kept", "kept", "older than what is known"]


def test_removing_the_app_disables_the_connection_and_says_who_told(crm):
    app = {"timestamp": datetime.now(UTC).isoformat(), "locationId": "loc1"}

    crm.post({"type": "UNINSTALL", "webhookId": "h1", **app})
    with crm.office.inside():
        assert not Integration.objects.get(pk=crm.integration.pk).enabled
    crm.post({"type": "INSTALL", "webhookId": "h2", **app})

    with crm.office.inside():
        assert Integration.objects.get(pk=crm.integration.pk).enabled
        entries = AuditEntry.objects.filter(object_id=crm.integration.pk).order_by("id")
        actions = list(entries.values_list("action", flat=True))
    assert actions == ["integration.app_removed", "integration.app_installed"]


def test_the_app_of_an_account_that_is_not_connected_changes_nothing(crm):
    crm.post({"type": "UNINSTALL", "webhookId": "h1", "locationId": "elsewhere"})

    assert crm.outcomes() == ["no connection has the account elsewhere"]
    with crm.office.inside():
        assert Integration.objects.get(pk=crm.integration.pk).enabled


# --- trust ------------------------------------------------------------------------------------


def test_the_test_button_of_the_dialer_creates_nothing(dialer):
    dialer.post({"test_payload": True})

    with dialer.office.inside():
        assert not Lead.objects.exists()
    assert dialer.outcomes() == ["unmapped"]


@pytest.mark.parametrize("header", ["", "Basic dXNlcjpvdGhlcg==", "Bearer user:pass"])
def test_a_dialer_that_does_not_know_the_password_is_refused(dialer, header):
    answer = dialer.office.client.post(
        f"/hooks/aloware/{dialer.endpoint.token}/",
        b'{"test_payload": true}',
        content_type="application/json",
        headers={"Authorization": header},
    )

    assert answer.status_code == 401


def test_a_crm_that_cannot_sign_is_refused(crm):
    answer = crm.office.client.post(
        f"/hooks/ghl/{crm.endpoint.token}/",
        json.dumps(crm.contact(phone=THEIRS)).encode(),
        content_type="application/json",
        headers={"X-GHL-Signature": "N/A"},
    )

    assert answer.status_code == 401
