"""Sending over real HTTP, with everything that goes wrong: at most one text on any handset."""

from __future__ import annotations

import socket
import threading
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from integrations.models import Integration
from leads.actions import Choice, move_lead
from leads.models import Consent, ConsentEvent, Lead, LeadEvent, LeadTimer
from messaging.actions.consent import opt_out
from messaging.actions.sending import SendRefused
from messaging.models import (
    ContactRule,
    Conversation,
    Message,
    OutboundMessage,
    PhoneNumber,
    SendAttempt,
    SendOutcome,
)
from messaging.outcomes import REPEATS_S
from messaging.sender import claim, send
from tests.carrier import send_due
from tests.conftest import THEIRS

pytestmark = pytest.mark.django_db


def outcome_kinds(outbound):
    return list(
        SendOutcome.objects.filter(attempt__outbound=outbound)
        .order_by("id")
        .values_list("kind", flat=True)
    )


def seen(office, outbound):
    """Return the text as the database has it now."""
    with office.inside():
        return OutboundMessage.objects.select_related("message").get(pk=outbound.pk)


def later(office, **columns):
    """Let the time come for what waits: retries, repeats, silence."""
    with office.inside():
        OutboundMessage.objects.filter(state="queued").update(due_at=timezone.now())
        OutboundMessage.objects.filter(state="unknown", retry_at__isnull=False).update(
            retry_at=timezone.now()
        )
        PhoneNumber.objects.update(throttled_until=None, tokens=100)


# --- all is well ------------------------------------------------------------------------------


def test_a_text_is_sent_and_its_lead_touched(desk, carrier, queue):
    outbound = queue(desk, "Good morning, Marisol")

    send_due(desk)

    assert carrier.received() == ["Good morning, Marisol"]
    outbound = seen(desk, outbound)
    assert (outbound.state, outbound.message.status, outbound.attempt) == ("sent", "sent", 1)
    assert outbound.message.external_id == outbound.provider_message_id != ""
    with desk.inside():
        lead = Lead.objects.get()
        assert (lead.state, lead.attempt_count) == ("touched", 1)
        timers = LeadTimer.objects.filter(fired_at=None, cancelled_at=None)
        assert sorted(timers.values_list("kind", flat=True)) == ["14D", "7D"]
        event = LeadEvent.objects.get(kind="text_sent")
        assert (event.from_state, event.to_state) == ("new", "touched")
        assert event.correlation_id == outbound.correlation_id != ""
        assert outcome_kinds(outbound) == ["accepted"]
        assert Conversation.objects.get().last_outbound_at is not None


def test_a_second_text_arms_nothing_again(desk, carrier, queue):
    for text in ("one", "two"):
        queue(desk, text)
        send_due(desk)

    with desk.inside():
        assert LeadTimer.objects.count() == 2
        assert Lead.objects.get().attempt_count == 2
    assert carrier.received() == ["one", "two"]


def test_texts_of_one_number_go_in_their_order(desk, carrier, queue):
    for n in range(5):
        queue(desk, f"part {n}")

    send_due(desk)

    assert carrier.received() == [f"part {n}" for n in range(5)]


def test_the_answer_clears_who_waits_but_not_for_what_came_after_it(desk, carrier, queue):
    desk.receive("question one?")
    queue(desk, "answer one")
    desk.receive("question two?")

    send_due(desk)

    with desk.inside():
        assert Conversation.objects.get().waiting_since is not None


def test_nothing_is_claimed_for_a_retired_number_or_a_switched_off_integration(desk, queue):
    queue(desk)
    with desk.inside():
        PhoneNumber.objects.update(status="retired")
    assert send_due(desk) == []
    with desk.inside():
        PhoneNumber.objects.update(status="active")
        Integration.objects.update(enabled=False)
    assert send_due(desk) == []


def test_a_provider_that_cannot_send_refuses_at_once(desk, queue):
    with desk.inside():
        Integration.objects.update(provider="standard_webhooks")
        desk.number.refresh_from_db()

    with pytest.raises(SendRefused):
        queue(desk)


def test_the_same_send_key_is_the_same_text(desk, carrier, queue):
    first = queue(desk, "Hello", send_key="k")
    again = queue(desk, "Hello, again", send_key="k")

    send_due(desk)

    assert first == again
    assert carrier.received() == ["Hello"]


# --- not certain ------------------------------------------------------------------------------


def impatiently(office, settings, fault):
    """Make the calls that are due; where no answer will come, wait half a second for it."""
    patience = settings.SEND_DEADLINE
    if fault.startswith(("hang", "drip")):
        settings.SEND_DEADLINE = 0.5
    send_due(office)
    settings.SEND_DEADLINE = patience


DOUBTS = ["500_after_accept", "hang_after_accept", "reset_after_accept", "drip"]


@pytest.mark.parametrize("fault", DOUBTS)
def test_what_may_have_gone_out_is_asked_about_and_never_sent_anew(
    desk, carrier, queue, settings, fault
):
    outbound = queue(desk)
    carrier.fault(fault)

    impatiently(desk, settings, fault)

    assert (seen(desk, outbound).state, seen(desk, outbound).message.status) == (
        "unknown",
        "unknown",
    )
    assert send_due(desk) == []  # not before its time

    later(desk)
    claims = send_due(desk)

    assert [(c.attempt, c.repeats) for c in claims] == [(1, True)]
    assert (seen(desk, outbound).state, carrier.received()) == ("sent", ["Hi there"])
    with desk.inside():
        assert SendAttempt.objects.count() == 1
        assert outcome_kinds(outbound) == ["ambiguous", "accepted"]
        assert LeadEvent.objects.filter(kind="text_sent").count() == 1


@pytest.mark.parametrize("fault", ["hang", "reset", "500"])
def test_what_never_arrived_is_sent_once_by_the_repeat(desk, carrier, queue, settings, fault):
    outbound = queue(desk)
    carrier.fault(fault)
    impatiently(desk, settings, fault)
    assert (seen(desk, outbound).state, carrier.accepted()) == ("unknown", [])

    later(desk)
    send_due(desk)

    assert (seen(desk, outbound).state, carrier.received()) == ("sent", ["Hi there"])


def test_doubt_that_lasts_is_asked_about_at_growing_pauses_and_then_left_to_a_person(
    desk, carrier, queue
):
    outbound = queue(desk)
    carrier.fault("500_after_accept", count=0)
    pauses = []
    for _ in range(len(REPEATS_S) + 3):
        send_due(desk)
        if (retry_at := seen(desk, outbound).retry_at) is not None:
            pauses.append(round((retry_at - timezone.now()).total_seconds()))
        later(desk)

    assert pauses == list(REPEATS_S)
    assert (seen(desk, outbound).state, seen(desk, outbound).retry_at) == ("unknown", None)
    assert carrier.received() == ["Hi there"]
    with desk.inside():
        assert SendAttempt.objects.count() == 1


def test_other_texts_go_on_while_one_hangs(desk, carrier, queue, settings):
    stuck = queue(desk, "stuck")
    carrier.fault("hang", match={"to": THEIRS})
    impatiently(desk, settings, "hang")
    free = queue(desk, "free", theirs="+12025550143")

    send_due(desk)

    assert (seen(desk, stuck).state, seen(desk, free).state) == ("unknown", "sent")


# --- certainly not ----------------------------------------------------------------------------


def test_a_refused_connection_is_tried_again_and_sends_once(desk, carrier, queue):
    with desk.inside():
        Integration.objects.update(base_url="http://127.0.0.1:9")
    outbound = queue(desk)

    send_due(desk)

    row = seen(desk, outbound)
    assert (row.state, row.message.status) == ("queued", "queued")
    assert timedelta(seconds=2) < row.due_at - timezone.now() < timedelta(seconds=6)

    with desk.inside():
        Integration.objects.update(base_url=carrier.url)
    later(desk)
    send_due(desk)

    assert (seen(desk, outbound).state, carrier.received()) == ("sent", ["Hi there"])
    with desk.inside():
        assert list(SendAttempt.objects.order_by("attempt").values_list("attempt", flat=True)) == [
            1,
            2,
        ]


@pytest.mark.parametrize(
    ("base_url", "api_key"),
    [
        ("http://no-such-host.invalid", "key"),
        ("ftp://127.0.0.1", "key"),
        ("", "key"),
        ("http://[broken", "key"),
        ("http://127.0.0.1:99999", "key"),
        (None, "clé"),
        (None, "a\r\nX-Evil: 1"),
    ],
)
def test_what_cannot_even_be_written_gives_up_in_words(desk, carrier, queue, base_url, api_key):
    with desk.inside():
        integration = Integration.objects.get()
        integration.base_url = carrier.url if base_url is None else base_url
        integration.api_key = api_key
        integration.save()
    outbound = queue(desk)
    with desk.inside():
        OutboundMessage.objects.update(attempt=8)
    for _ in range(2):
        send_due(desk)
        later(desk)

    row = seen(desk, outbound)
    assert (row.state, row.attempt) == ("failed", 10)
    assert row.error.startswith("gave up after 10 tries")
    assert carrier.accepted() == []
    with desk.inside():
        assert set(outcome_kinds(outbound)) == {"not_written"}
        assert Lead.objects.get().state == "new"


def test_a_server_that_closes_at_once_is_doubt(desk, queue):
    """The connection stood: what was read of the request nobody knows."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        with desk.inside():
            Integration.objects.update(base_url=f"http://127.0.0.1:{server.getsockname()[1]}")
        outbound = queue(desk)

        def close_at_once():
            server.accept()[0].close()

        thread = threading.Thread(target=close_at_once, daemon=True)
        thread.start()
        send_due(desk)
        thread.join(5)

    assert seen(desk, outbound).state == "unknown"


@pytest.mark.parametrize("retry_after", [7, 0, None])
def test_a_throttled_number_waits_as_long_as_it_is_told(desk, carrier, queue, retry_after):
    with desk.inside():
        PhoneNumber.objects.update(tokens=8, burst=8, rate_per_second=0.001)
    outbound = queue(desk)
    carrier.fault("429", **({} if retry_after is None else {"retry_after": retry_after}))

    send_due(desk)

    row, wait = seen(desk, outbound), 1 if retry_after is None else retry_after
    assert row.state == "queued"
    with desk.inside():
        number = PhoneNumber.objects.get()
        assert number.tokens == pytest.approx(3.5, abs=0.1)  # half of what was left
        until = (number.throttled_until - timezone.now()).total_seconds()
        assert wait - 1 < until <= wait
        assert row.due_at - timezone.now() <= timedelta(seconds=wait * 1.25)

    later(desk)
    send_due(desk)

    assert (seen(desk, outbound).state, carrier.received()) == ("sent", ["Hi there"])


def test_a_storm_of_429_loses_nothing_and_calls_rarely(desk, carrier, queue):
    texts = [queue(desk, f"n{n}", theirs=f"+1202555{n:04d}") for n in range(6)]
    carrier.fault("429", count=6, retry_after=30)

    calls = sum(len(send_due(desk)) for _ in range(5))

    assert calls == 6  # all were claimed at once; afterwards the number rests
    later(desk)
    send_due(desk)
    assert {seen(desk, text).state for text in texts} == {"sent"}


def test_a_long_storm_of_429_costs_time_and_no_text(desk, carrier, queue):
    outbound = queue(desk)
    carrier.fault("429", count=15, retry_after=1)
    for _ in range(15):
        send_due(desk)
        row = seen(desk, outbound)
        assert row.state == "queued"
        if row.attempt > 10:  # no use to ask every second
            assert row.due_at - timezone.now() > timedelta(seconds=20)
        later(desk)

    send_due(desk)

    assert (seen(desk, outbound).state, carrier.received()) == ("sent", ["Hi there"])


def test_a_text_that_was_throttled_for_a_day_is_given_up(desk, carrier, queue):
    outbound = queue(desk)
    with desk.inside():
        OutboundMessage.objects.update(created_at=timezone.now() - timedelta(hours=25))
    carrier.fault("429", retry_after=1)

    send_due(desk)

    assert seen(desk, outbound).state == "failed"


def test_a_201_that_accepted_nothing_is_a_failure(desk, carrier, queue):
    outbound = queue(desk)
    carrier.fault("not_accepted")

    send_due(desk)

    row = seen(desk, outbound)
    assert (row.state, row.message.status) == ("failed", "failed")
    assert row.error != ""
    later(desk)
    assert send_due(desk) == []
    assert carrier.received() == []
    with desk.inside():
        assert Lead.objects.get().state == "new"


def test_a_text_that_is_refused_stays_refused(desk, carrier, queue):
    with desk.inside():
        integration = Integration.objects.get()
        integration.api_key = "expired"
        integration.save()
    outbound = queue(desk)

    send_due(desk)

    assert seen(desk, outbound).state == "failed"
    assert "expired" in seen(desk, outbound).error


def test_the_carriers_own_opt_out_becomes_ours(desk, carrier, queue):
    carrier.client.post("/_control/dnc", json={"number": THEIRS, "api_key": "key"})
    waiting = queue(desk, "later")
    outbound = queue(desk)
    with desk.inside():
        OutboundMessage.objects.filter(pk=waiting.pk).update(
            due_at=timezone.now() + timedelta(hours=1)
        )

    send_due(desk)

    assert seen(desk, outbound).state == "suppressed"
    assert seen(desk, waiting).state == "suppressed"
    with desk.inside():
        assert Consent.objects.get().state == "opted_out"
        assert ConsentEvent.objects.get().source == "carrier"
        assert Lead.objects.get().state == "suppressed"
    assert carrier.received() == []
    with pytest.raises(SendRefused, match="opted out"):
        queue(desk, "and another")


# --- STOP -------------------------------------------------------------------------------------


def test_stop_blocks_what_is_queued(desk, carrier, queue):
    outbound = queue(desk)
    desk.post(desk.payload("STOP"))  # not processed yet: consent alone stops it

    assert send_due(desk) == []

    assert (seen(desk, outbound).state, carrier.received()) == ("suppressed", [])


def test_stop_between_claim_and_call_blocks_the_call(desk, carrier, queue):
    outbound = queue(desk)
    claims = claim(desk.tenant.pk, most=10)
    desk.post(desk.payload("STOP"))

    for one in claims:
        send(one)

    row = seen(desk, outbound)
    assert (row.state, row.message.status) == ("suppressed", "suppressed")
    assert carrier.accepted() == []
    with desk.inside():
        assert outcome_kinds(outbound) == ["stopped"]


def test_stop_while_unknown_ends_the_asking(desk, carrier, queue):
    outbound = queue(desk)
    carrier.fault("500")
    send_due(desk)
    desk.receive("STOP")
    with desk.inside():
        assert seen(desk, outbound).sent_before_stop

    later(desk)
    send_due(desk)
    later(desk)
    send_due(desk)

    assert (seen(desk, outbound).state, seen(desk, outbound).retry_at) == ("unknown", None)
    assert not any("Hi there" in text for text in carrier.accepted())


def test_a_stop_after_delivery_changes_no_history(desk, carrier, queue):
    outbound = queue(desk)
    send_due(desk)
    desk.receive("STOP")

    assert (seen(desk, outbound).state, seen(desk, outbound).sent_before_stop) == ("sent", False)


def test_the_confirmation_goes_out_once_although_the_number_is_opted_out(desk, carrier):
    desk.receive("STOP")

    send_due(desk)
    later(desk)
    send_due(desk)

    [text] = carrier.received()
    assert text.startswith("You have opted out")
    with desk.inside():
        lead = Lead.objects.get()
        assert (lead.state, lead.attempt_count) == ("suppressed", 0)
        assert not LeadTimer.objects.exists()


def test_help_is_answered_even_at_night(desk, carrier):
    desk.receive("HELP")

    send_due(desk)

    assert len(carrier.received()) == 1


def test_nothing_is_sent_to_a_wrong_number(desk, carrier, queue):
    outbound = queue(desk)
    desk.receive("wrong number")

    send_due(desk)

    assert (seen(desk, outbound).state, carrier.accepted()) == ("suppressed", [])


def test_quiet_hours_hold_a_first_text_until_morning(desk, carrier, queue):
    outbound = queue(desk)
    with desk.inside():
        Conversation.objects.update(last_inbound_at=None)
        desk.tenant.legal_start, desk.tenant.legal_end = (
            (0, 1) if 5 <= timezone.now().hour < 12 else (6, 7)
        )
        Lead.objects.update(time_zone="UTC")
        ContactRule.objects.update(start=0, end=24)
        if desk.tenant.legal_start <= timezone.now().hour < desk.tenant.legal_end:
            pytest.skip("the clock is in the hour of the test")
        desk.tenant.save()

    send_due(desk)

    row = seen(desk, outbound)
    assert (row.state, row.message.status) == ("queued", "queued")
    assert row.due_at > timezone.now()
    assert row.due_at.hour == desk.tenant.legal_start
    assert row.verdict["reasons"] == ["quiet_hours"]
    assert carrier.accepted() == []
    with desk.inside():
        assert outcome_kinds(outbound) == ["stopped"]


# --- silence ----------------------------------------------------------------------------------


def test_a_process_that_died_before_the_call_leaves_an_unknown_that_is_sent_once(
    desk, carrier, queue, settings
):
    outbound = queue(desk)
    claim(desk.tenant.pk, most=10)  # and nobody makes the call
    settings.SEND_DEADLINE = settings.SEND_LEASE = 0.0

    assert send_due(desk) == []

    assert seen(desk, outbound).state == "unknown"
    settings.SEND_DEADLINE, settings.SEND_LEASE = 5.0, 60.0
    later(desk)
    send_due(desk)
    assert (seen(desk, outbound).state, carrier.received()) == ("sent", ["Hi there"])


def test_a_thawed_process_is_too_late(desk, carrier, queue, settings):
    outbound = queue(desk)
    frozen = claim(desk.tenant.pk, most=10)
    settings.SEND_DEADLINE = settings.SEND_LEASE = 0.0
    send_due(desk)
    settings.SEND_DEADLINE, settings.SEND_LEASE = 5.0, 60.0

    for one in frozen:
        send(one)

    assert (seen(desk, outbound).state, carrier.accepted()) == ("unknown", [])


def test_a_living_process_is_not_given_up_on(desk, queue):
    outbound = queue(desk)
    claim(desk.tenant.pk, most=10)

    send_due(desk)

    assert seen(desk, outbound).state == "sending"


def test_silence_is_noted_once(desk, queue, settings):
    outbound = queue(desk)
    claim(desk.tenant.pk, most=10)
    settings.SEND_DEADLINE = settings.SEND_LEASE = 0.0

    send_due(desk)
    send_due(desk)

    with desk.inside():
        assert outcome_kinds(outbound) == ["ambiguous"]


# --- caps -------------------------------------------------------------------------------------


def test_a_number_sends_no_more_than_its_daily_cap(desk, queue):
    with desk.inside():
        PhoneNumber.objects.update(daily_cap=2)
    for n in range(4):
        queue(desk, theirs=f"+1202555{n:04d}")

    assert [len(send_due(desk)) for _ in range(2)] == [2, 0]


def test_the_day_begins_anew_in_the_tenants_zone(desk, queue):
    with desk.inside():
        PhoneNumber.objects.update(
            daily_cap=2, sent_today=2, day=timezone.now().date() - timedelta(days=3)
        )
    queue(desk)

    assert len(send_due(desk)) == 1
    with desk.inside():
        assert PhoneNumber.objects.get().sent_today == 1


def test_a_tenant_sends_no_more_than_its_daily_limit(desk, queue):
    with desk.inside():
        desk.tenant.daily_send_limit = 3
        desk.tenant.save()
    for n in range(5):
        queue(desk, theirs=f"+1202555{n:04d}")

    assert [len(send_due(desk)) for _ in range(2)] == [3, 0]


def test_a_bucket_lets_a_burst_through_and_then_its_rate(desk, queue):
    with desk.inside():
        PhoneNumber.objects.update(
            tokens=2, burst=3, rate_per_second=0.001, refilled_at=timezone.now()
        )
    for n in range(4):
        queue(desk, theirs=f"+1202555{n:04d}")

    assert [len(send_due(desk)) for _ in range(2)] == [2, 0]
    with desk.inside():
        PhoneNumber.objects.update(refilled_at=F("refilled_at") - timedelta(seconds=1500))
    assert len(send_due(desk)) == 1


# --- leads that changed -----------------------------------------------------------------------


def test_a_text_accepted_for_a_lead_that_moved_on_moves_it_nowhere(desk, queue):
    queue(desk)
    with desk.inside():
        move_lead(Lead.objects.get().pk, to="responded")

    send_due(desk)

    with desk.inside():
        assert Lead.objects.get().state == "responded"
        assert not LeadTimer.objects.exists()


def test_an_opt_out_by_hand_stops_what_is_queued(desk, carrier, queue):
    outbound = queue(desk)
    with desk.inside():
        opt_out(
            Choice(address=THEIRS, kind="opt_out", actor_id=desk.agent.pk, reason="on the phone")
        )

    send_due(desk)

    assert (seen(desk, outbound).state, carrier.accepted()) == ("suppressed", [])
    with desk.inside():
        assert Message.objects.get().status == "suppressed"
