"""Faults 15 to 27: what a send must survive. Each is named after its row of the list of faults.

The carrier here has no idempotency key and can only be looked up, which is the harder case.
"""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from integrations.events import MessageStatus
from integrations.models import hash_token
from integrations.transport import call
from leads.actions import Choice, record_choice
from messaging.actions.unknowns import DecisionRefused, decide_unknown
from messaging.health import Counts
from messaging.models import OutboundMessage, PhoneNumber, SendAttempt, SendOutcome
from messaging.outcomes import StatusTooEarly, apply_status, give_up_unknown
from messaging.sender import _pass_gate, attempt_token, claim, send
from tenants.context import tenant_context
from tests import raw
from tests.carrier import send_due
from tests.conftest import OURS, THEIRS
from tests.listing import use_listing
from tests.messaging.test_number_health import today
from tests.raw import at_once, rows

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def office(committed_office, carrier, settings, monkeypatch):
    """A committed office whose carrier has no key, and patience for nothing."""
    settings.BASE_URL = "http://127.0.0.1:9"
    settings.SEND_DEADLINE = 5.0
    with committed_office.inside():
        committed_office.integration.base_url = carrier.url
        committed_office.integration.save()
    use_listing(committed_office, monkeypatch)
    return committed_office


def seen(office, outbound):
    with office.inside():
        return OutboundMessage.objects.get(pk=outbound.pk)


def learnt(office):
    with office.inside():
        return list(SendOutcome.objects.order_by("id").values_list("kind", "source"))


def time_passes(office, **ago):
    """The claim is older than any call may last; looks are due."""
    with office.inside():
        OutboundMessage.objects.filter(state__in=["sending", "unknown"]).update(
            claimed_at=Now() - timedelta(**(ago or {"minutes": 5}))
        )
        OutboundMessage.objects.filter(look_at__isnull=False).update(look_at=timezone.now())


def call_and_die(office):
    """Make the calls of what is due, and die before anything is written down."""
    for one in claim(office.tenant.pk, most=10):
        with tenant_context(one.tenant_id):
            _, request, _, _ = _pass_gate(one)
        call(request, deadline_s=5)


def report(office, status, token=None, external_id="SM1"):
    with office.inside():
        return apply_status(
            MessageStatus(
                external_id=external_id, occurred_at=timezone.now(), sender=OURS,
                recipient=THEIRS, status=status,
            ),
            provider="listing",
            attempt_token_hash=token,
        )  # fmt: skip


def test_fault_15_a_death_between_claim_and_call_ends_with_a_person(office, carrier, queue):
    outbound = queue(office)
    claim(office.tenant.pk, most=10)  # and the process is gone

    for _ in range(5):
        time_passes(office)
        send_due(office)
    assert seen(office, outbound).state == "unknown"
    assert learnt(office) == [("ambiguous", "lease"), *[("not_found", "lookup")] * 3]
    time_passes(office, hours=25)
    give_up_unknown(office.tenant.pk)

    assert (seen(office, outbound).state, seen(office, outbound).error) == ("failed", "unknown")
    assert carrier.accepted() == []
    with office.inside():
        decide_unknown(outbound.pk, decision="resend", reason="not there", actor_id=office.agent.pk)
    send_due(office)
    assert (seen(office, outbound).state, carrier.received()) == ("sent", ["Hi there"])


@pytest.mark.parametrize("way", ["look-up", "token"])
def test_fault_16_a_death_between_call_and_record_is_found_out(office, carrier, queue, way):
    outbound = queue(office)
    call_and_die(office)
    assert seen(office, outbound).state == "sending"

    if way == "token":
        report(office, "delivered", hash_token(attempt_token(outbound.pk, 1)))
    for _ in range(2):
        time_passes(office)
        send_due(office)

    assert seen(office, outbound).state in ("sent", "delivered")
    assert carrier.received() == ["Hi there"]
    with office.inside():
        assert SendAttempt.objects.count() == 1


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_fault_17_a_provider_that_drips_or_hangs_costs_one_deadline_of_one_text(
    office, carrier, queue, fault, settings
):
    settings.SEND_DEADLINE = 1.0
    stuck = queue(office, "stuck")
    carrier.fault(fault, match={"to": THEIRS})
    others = [queue(office, "free", theirs=f"+1202555{n:04d}") for n in range(3001, 3006)]
    claims, began = claim(office.tenant.pk, most=10), time.monotonic()

    assert at_once([lambda one=one: send(one) for one in claims]) == [None] * 6

    assert time.monotonic() - began < 4
    assert seen(office, stuck).state == "unknown"
    assert {seen(office, one).state for one in others} == {"sent"}


@pytest.mark.parametrize("fault", ["500_after_accept", "reset_after_accept"])
def test_fault_18_an_error_after_acceptance_is_never_a_second_call(office, carrier, queue, fault):
    outbound = queue(office)
    carrier.fault(fault)
    for _ in range(3):
        send_due(office)
    assert seen(office, outbound).state == "unknown"
    assert len(carrier.accepted()) == 1

    time_passes(office)
    send_due(office)

    assert seen(office, outbound).state in ("sent", "delivered")
    assert carrier.received() == ["Hi there"]


def test_fault_19_a_storm_of_429_halves_the_bucket_and_loses_nothing(office, carrier, queue):
    texts = [queue(office, "Hi", theirs=f"+1202555{n:04d}") for n in range(6)]
    carrier.fault("429", count=4, retry_after=1)
    with office.inside():
        PhoneNumber.objects.update(tokens=4, burst=4, rate_per_second=0.001)

    send_due(office)
    with office.inside():
        assert PhoneNumber.objects.get().tokens < 1  # what was left, halved and halved again
    assert send_due(office) == []  # no busy loop
    for _ in range(3):
        with office.inside():
            PhoneNumber.objects.update(throttled_until=None, tokens=100, burst=100)
            OutboundMessage.objects.filter(state="queued").update(due_at=timezone.now())
        send_due(office)

    assert {seen(office, one).state for one in texts} == {"sent"}
    assert all(carrier.received(one.to_address) == ["Hi"] for one in texts)


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:9", "http://no-such-host.invalid"])
def test_fault_20_a_refused_connection_is_no_doubt_and_sends_once_later(
    office, carrier, queue, base_url
):
    with office.inside():
        office.integration.base_url = base_url
        office.integration.save()
    outbound = queue(office)
    send_due(office)
    assert (seen(office, outbound).state, learnt(office)) == ("queued", [("not_written", "call")])

    with office.inside():
        office.integration.base_url = carrier.url
        office.integration.save()
        OutboundMessage.objects.update(due_at=timezone.now())
    send_due(office)

    assert (seen(office, outbound).state, carrier.received()) == ("sent", ["Hi there"])


def test_fault_21_reports_doubled_and_out_of_order_end_delivered_and_count_once(office, queue):
    outbound = queue(office)
    claim(office.tenant.pk, most=5)
    token = hash_token(attempt_token(outbound.pk, 1))

    for status in ("delivered", "sent", "delivered", "accepted"):
        report(office, status, token)

    assert seen(office, outbound).state == "delivered"
    assert len(learnt(office)) == 4
    assert today(office) == Counts(sent=1, delivered=1)


def test_fault_22_a_report_before_its_send_is_recorded_waits_and_then_is_matched(office, queue):
    outbound = queue(office)
    claim(office.tenant.pk, most=5)
    with pytest.raises(StatusTooEarly):
        report(office, "delivered")  # by an id that nobody knows yet

    report(office, "sent", hash_token(attempt_token(outbound.pk, 1)))
    report(office, "delivered")

    assert seen(office, outbound).state == "delivered"


def test_fault_23_a_stop_races_a_resend(office, carrier, queue):
    """Whichever commits first: nothing goes to who had opted out."""
    people = [f"+1202{n:07d}" for n in range(20)]
    texts = [queue(office, "Hi", theirs=theirs) for theirs in people]
    carrier.fault("500", count=len(people))
    while send_due(office):
        pass
    carrier.client.delete("/_control/faults")

    def stop():
        for theirs in people:
            with office.inside():
                record_choice(Choice(address=theirs, kind="opt_out", position=1))

    def resend():
        for outbound in texts:
            try:
                with office.inside():
                    decide_unknown(
                        outbound.pk, decision="resend", reason="x", actor_id=office.agent.pk
                    )
            except DecisionRefused:
                continue
            send_due(office)

    assert at_once([stop, resend]) == [None, None]

    send_due(office)
    with office.inside():
        assert not rows(
            "SELECT FROM send_attempts AS a JOIN outbound_messages AS o ON o.id = a.outbound_id"
            " JOIN consent_events AS e ON e.consent_id = o.consent_id AND e.kind = 'opt_out'"
            " WHERE a.attempt > 1 AND a.consent_rev >= e.rev"
        )
        states = set(OutboundMessage.objects.values_list("state", flat=True))
        assert states <= {"unknown", "sent", "suppressed"}


@pytest.mark.parametrize("door", ["orm", "raw"])
def test_fault_25_no_door_sends_again_to_who_opted_out(office, carrier, queue, door):
    queue(office)
    carrier.fault("500")
    send_due(office)
    with office.inside():
        record_choice(Choice(address=THEIRS, kind="opt_out"))
        change = {
            "orm": "state = 'queued', resends = 1, resent_by_id = (SELECT id FROM actors"
            " WHERE kind = 'user')",
            "raw": "state = 'sending', attempt = 2",
        }[door]
        assert raw.refused(f"UPDATE outbound_messages SET {change}") in ("LD001", "LD003")


def test_fault_27_ten_clicks_on_send_again_are_one_attempt(office, carrier, queue):
    outbound = queue(office)
    carrier.fault("500")
    send_due(office)

    def click():
        with office.inside():
            decide_unknown(outbound.pk, decision="resend", reason="x", actor_id=office.agent.pk)

    results = at_once([click] * 10)

    refused = [error for error in results if isinstance(error, DecisionRefused)]
    assert (len(refused), results.count(None)) == (9, 1)
    at_once([lambda: send_due(office)] * 4)
    assert carrier.received() == ["Hi there"]
    assert seen(office, outbound).resends == 1
