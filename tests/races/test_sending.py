"""Claims against STOPs, caps against senders, and people who click twice."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest
from django.db import connection
from django.utils import timezone

from campaigns.models import CallItem
from leads.actions import Choice, record_choice
from leads.events import CallWanted
from leads.models import Consent, ConsentEvent, Lead
from messaging.actions.consent import opt_out, silence
from messaging.actions.sending import SendRefused, send_reply, start_conversation
from messaging.models import (
    Conversation,
    DailySend,
    Message,
    OutboundMessage,
    PhoneNumber,
    SendAttempt,
)
from messaging.sender import _give_up_on_silent, claim, send
from tenants.dispatch import emit
from tenants.ulids import to_uuid
from tests.carrier import send_due
from tests.conftest import THEIRS, drain
from tests.raw import at_once, rows, until_somebody_waits

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 200

#: A text in flight that its STOP should have stopped: claimed with a revision the STOP had made.
VIOLATIONS = """
    SELECT o.id FROM outbound_messages AS o JOIN send_attempts AS a
      ON a.tenant_id = o.tenant_id AND a.outbound_id = o.id
    JOIN consents AS c ON c.tenant_id = o.tenant_id AND c.id = o.consent_id
    JOIN consent_events AS e
      ON e.tenant_id = c.tenant_id AND e.consent_id = c.id AND e.kind = 'opt_out'
    WHERE a.consent_rev >= e.rev AND o.purpose <> 'opt_out_confirmation'
"""


def fill(office, queue, many):
    return [queue(office, f"n{n}", theirs=f"+1202{n:07d}") for n in range(many)]


def test_a_stop_that_comes_first_always_wins(committed_office, queue):
    """Rounds of one claim against one STOP: whichever commits first, the rest must agree."""
    office = committed_office
    fill(office, queue, ROUNDS)
    with office.inside():
        OutboundMessage.objects.update(due_at=timezone.now())
        PhoneNumber.objects.update(tokens=1000, burst=1000)
    people = [f"+1202{n:07d}" for n in range(ROUNDS)]
    barrier = threading.Barrier(2)

    def stop():
        for theirs in people:
            barrier.wait(30)
            with office.inside():
                record_choice(Choice(address=theirs, kind="opt_out", position=1))

    def go():
        claimed = []
        for _ in people:
            barrier.wait(30)
            claimed += claim(office.tenant.pk, most=1)
        return claimed

    _, claimed = at_once([stop, go])

    assert isinstance(claimed, list), claimed
    with office.inside():
        assert rows(VIOLATIONS) == []
        assert SendAttempt.objects.count() == len(claimed)
        states = set(OutboundMessage.objects.values_list("state", flat=True))
        assert states <= {"sending", "suppressed", "queued"}
    # Whatever is still queued is suppressed by the next claims, and nothing more is sent.
    assert claim(office.tenant.pk, most=ROUNDS) == []
    with office.inside():
        assert Consent.objects.filter(state="opted_out").count() == ROUNDS


def test_stops_by_webhook_against_senders_and_drains(committed_office, queue, carrier):
    """The whole of it at once: intake, drains and senders; nothing reaches who stopped first."""
    office = committed_office
    with office.inside():
        office.integration.base_url = carrier.url
        office.integration.save()
    outbounds = fill(office, queue, 30)
    stops = [office.payload("STOP", theirs=f"+1202{n:07d}") for n in range(0, 30, 2)]

    def post_stops():
        for payload in stops:
            assert office.post(payload).status_code == 202

    def send_all():
        for _ in range(12):
            for one in claim(office.tenant.pk, most=3):
                send(one)

    results = at_once([post_stops, send_all, send_all, lambda: [drain() for _ in range(4)]])

    assert not [error for error in results if isinstance(error, BaseException)], results
    drain()
    for _ in range(3):
        send_due(office)
    with office.inside():
        assert rows(VIOLATIONS) == []
        for outbound in outbounds:
            outbound.refresh_from_db()
            got = carrier.accepted(outbound.to_address).count(outbound.body)
            assert got == (1 if outbound.state == "sent" else 0)
            assert outbound.state in ("sent", "suppressed")
        assert Lead.objects.filter(state="suppressed").count() == 15


@pytest.mark.parametrize("limit", ["number", "tenant"])
def test_senders_at_a_cap_send_exactly_the_cap(committed_office, queue, limit):
    office = committed_office
    fill(office, queue, 40)
    with office.inside():
        if limit == "number":
            PhoneNumber.objects.update(daily_cap=17)
        else:
            # A second number of the same tenant: the limit is common to both.
            second = PhoneNumber.objects.create(
                number="+12025550101",
                integration=office.integration,
                rate_per_second=1000,
                burst=1000,
                tokens=1000,
                daily_cap=1000,
            )
            OutboundMessage.objects.filter(body__endswith="1").update(phone_number=second)
            office.tenant.daily_send_limit = 17
            office.tenant.save()

    def go():
        return sum(len(claim(office.tenant.pk, most=3)) for _ in range(8))

    got = at_once([go] * 6)
    rest = sum(len(claim(office.tenant.pk, most=50)) for _ in range(3))

    assert sum(got) + rest == 17
    with office.inside():
        assert SendAttempt.objects.count() == DailySend.objects.get().sent == 17
        assert sum(PhoneNumber.objects.values_list("sent_today", flat=True)) == 17


def test_many_senders_make_one_call_per_text(committed_office, queue, carrier):
    office = committed_office
    with office.inside():
        office.integration.base_url = carrier.url
        office.integration.save()
    outbounds = fill(office, queue, 24)

    at_once([lambda: [send_due(office, most=4) for _ in range(6)]] * 4)
    send_due(office)

    with office.inside():
        assert SendAttempt.objects.count() == 24
    for outbound in outbounds:
        assert carrier.accepted(outbound.to_address) == [outbound.body]


@pytest.mark.parametrize("way", ["reply", "first text"])
def test_ten_clicks_are_one_text(committed_office, way):
    office = committed_office
    conversation = office.receive("hello").conversation
    point, number = None, office.number.pk
    with office.inside():
        point = conversation.lead.contact_points.get().pk

    def click():
        with office.inside():
            if way == "reply":
                return send_reply(
                    conversation.pk, body="Hi", actor_id=office.agent.pk, send_key="click-0001"
                ).pk
            return start_conversation(
                conversation.lead_id,
                contact_point_id=point,
                phone_number_id=number,
                body="Hi",
                actor_id=office.agent.pk,
                send_key="click-0001",
            ).pk

    results = at_once([click] * 10)

    assert len(set(results)) == 1, results
    with office.inside():
        assert OutboundMessage.objects.count() == 1
        assert Message.objects.filter(direction="out").count() == 1


def test_ten_first_texts_to_a_new_person_make_one_conversation(committed_office):
    office = committed_office
    lead = office.lead()
    with office.inside():
        point = lead.contact_points.get().pk

    def click(n):
        with office.inside():
            return start_conversation(
                lead.pk,
                contact_point_id=point,
                phone_number_id=office.number.pk,
                body="Hi",
                actor_id=office.agent.pk,
                send_key=f"click-{n:04d}",
            ).pk

    results = at_once([lambda n=n: click(n) for n in range(10)])

    assert len(set(results)) == 10, results
    with office.inside():
        assert Conversation.objects.count() == 1


def test_a_reply_against_a_stop_is_refused_or_suppressed(committed_office):
    office = committed_office
    people = [f"+1202555{n:04d}" for n in range(12)]
    threads = [office.receive("hello", theirs=theirs).conversation_id for theirs in people]

    def reply():
        for n, thread in enumerate(threads):
            with suppress(SendRefused), office.inside():
                send_reply(thread, body="Hi", actor_id=office.agent.pk, send_key=f"click-{n:04d}")

    def stop():
        for theirs in people:
            with office.inside():
                opt_out(Choice(address=theirs, kind="opt_out", source="carrier"))

    results = at_once([reply, stop])

    assert results == [None, None]
    assert claim(office.tenant.pk, most=50) == []
    with office.inside():
        assert not OutboundMessage.objects.exclude(state="suppressed").exists()
        assert Lead.objects.filter(state="suppressed").count() == 12


def test_two_wishes_for_a_call_are_one_item(committed_office):
    office = committed_office
    lead = office.lead()

    def want(reason):
        with office.inside():
            emit(CallWanted(lead_id=lead.pk, reason=reason))

    results = at_once([lambda r=r: want(r) for r in ("email", "wants_call", "gold", "email")])

    assert results == [None] * 4
    with office.inside():
        assert CallItem.objects.get().priority == 100


def test_two_drains_keep_the_order_of_every_lane(committed_office):
    office = committed_office
    for n in range(60):
        office.post(office.payload(f"{n:03d}", theirs=f"+1202555{n % 5:04d}"))

    results = at_once([drain] * 4)

    assert not [error for error in results if isinstance(error, BaseException)], results
    drain()
    with office.inside():
        for conversation in Conversation.objects.all():
            done = rows(
                "SELECT m.body FROM messages AS m JOIN lead_events AS e"
                "  ON e.tenant_id = m.tenant_id AND e.dedupe_key = 'signalhouse:' || m.external_id"
                "     || ':received'"
                " WHERE m.conversation_id = %s::uuid ORDER BY e.seq",
                str(to_uuid(conversation.pk)),
            )
            said = [body for (body,) in done]
            assert said == sorted(said)
            assert len(said) == 12
    assert connection.in_atomic_block is False


def test_threads_of_one_person_do_not_lock_each_other_out(committed_office):
    """An opt-out by hand, a text and a timer, all about one lead with two numbers of ours."""
    office = committed_office
    for _ in range(3):
        office.receive("hello", theirs=THEIRS)
        office.receive("hello", theirs=THEIRS, ours="+12025559001")
        office.post(office.payload("STOP"))
        office.post(office.payload("START", ours="+12025559001"))
        results = at_once([drain, drain, lambda: opt_out_by_hand(office)])
        assert not [error for error in results if isinstance(error, BaseException)], results
        drain()
    with office.inside():
        assert not rows("SELECT seq FROM webhook_work WHERE state <> 'done'")


def opt_out_by_hand(office):
    with office.inside():
        opt_out(Choice(address=THEIRS, kind="opt_out", actor_id=office.agent.pk, reason="x"))


def test_silence_waits_for_a_stop_that_is_being_processed(committed_office, queue, settings):
    """A STOP locks the person, then their texts; giving up on a text must do the same."""
    office = committed_office
    queue(office)
    claim(office.tenant.pk, most=5)
    settings.SEND_DEADLINE = settings.SEND_LEASE = 0.0
    holding = threading.Event()

    def stop():
        with office.inside():
            record_choice(Choice(address=THEIRS, kind="opt_out", position=1))
            holding.set()
            until_somebody_waits()
            silence(THEIRS, cause=ConsentEvent.objects.get().pk)

    def give_up():
        holding.wait(5)
        _give_up_on_silent(office.tenant.pk)

    assert at_once([stop, give_up]) == [None, None]
    with office.inside():
        outbound = OutboundMessage.objects.get()
        assert (outbound.state, outbound.sent_before_stop) == ("unknown", True)
