"""Timers: armed by the first touch, stopped by a reply, fired once, armed again as new rows."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from leads.actions import arm_timer, cancel_timers, create_lead, move_lead
from leads.events import TimerFired
from leads.models import Lead, LeadEvent, LeadTimer
from messaging import timers
from messaging.models import Conversation
from messaging.timers import fire_due
from tenants.dispatch import _handlers, on
from tests.conftest import THEIRS

pytestmark = pytest.mark.django_db


def due(lead, *kinds):
    """Let time pass: the timers of these kinds are due, in their order."""
    found = LeadTimer.objects.filter(lead=lead, kind__in=kinds, fired_at=None, cancelled_at=None)
    assert found.count() == len(kinds)
    found.update(
        fire_at=timezone.now() - timedelta(seconds=1), armed_at=F("armed_at") - timedelta(days=7)
    )


def touched(office):
    """A lead that was texted: its conversation, and its two timers."""
    lead = office.lead()
    with office.inside():
        move_lead(lead.pk, to="touched")
        Conversation.objects.create(
            lead=lead,
            phone_number=office.number,
            our_number=office.number.number,
            their_number=THEIRS,
            stage="initial_message",
        )
        arm_timer(lead.pk, kind="7D", days=7)
        arm_timer(lead.pk, kind="14D", days=14)
    return lead


def test_a_week_of_silence_is_retargeting(office):
    lead = touched(office)
    with office.inside():
        due(lead, "7D")

    assert fire_due() == 1

    with office.inside():
        lead.refresh_from_db()
        assert (lead.state, lead.stage) == ("retargeting", "retarget")
        assert Conversation.objects.get().stage == "retarget"
        assert LeadTimer.objects.get(kind="7D").fired_at is not None
        assert LeadTimer.objects.get(kind="14D").fired_at is None
        assert LeadEvent.objects.get(kind="timer_7d").payload == {"stage": "retarget"}


def test_two_weeks_of_silence_are_nudged_and_a_month_is_counted_from_the_touch(office):
    lead = touched(office)
    with office.inside():
        due(lead, "7D", "14D")
        touch = LeadTimer.objects.get(kind="14D").armed_at

    assert fire_due() == 2

    with office.inside():
        lead.refresh_from_db()
        month = LeadTimer.objects.get(kind="30D")
        assert (lead.state, lead.stage) == ("retargeting", "nudger")
        assert abs(month.fire_at - touch - timedelta(days=30)) < timedelta(seconds=1)


def test_a_month_of_silence_is_content_nurture(office):
    lead = touched(office)
    for kinds in (["7D", "14D"], ["30D"]):
        with office.inside():
            due(lead, *kinds)
        fire_due()

    with office.inside():
        lead.refresh_from_db()
        assert (lead.state, lead.stage) == ("content_nurture", "content_nurture")
        assert not LeadTimer.objects.filter(fired_at=None, cancelled_at=None).exists()


def test_three_days_down_fire_each_once_in_their_order(office):
    lead = touched(office)
    with office.inside():
        due(lead, "7D", "14D")
        LeadTimer.objects.filter(kind="7D").update(fire_at=F("fire_at") - timedelta(days=3))

    assert (fire_due(), fire_due()) == (2, 0)

    with office.inside():
        kinds = LeadEvent.objects.filter(lead=lead, kind__startswith="timer").order_by("seq")
        assert list(kinds.values_list("kind", flat=True)) == ["timer_7d", "timer_14d"]


def test_a_reply_cancels_the_silence_timers_in_its_own_transaction(office):
    lead = touched(office)
    with office.inside():
        arm_timer(lead.pk, kind="30D", days=30)
        arm_timer(lead.pk, kind="CALLBACK", days=1)
        arm_timer(lead.pk, kind="FOLLOW_UP", days=1)

    office.receive("hello")

    with office.inside():
        live = LeadTimer.objects.filter(fired_at=None, cancelled_at=None)
        assert set(live.values_list("kind", flat=True)) == {"CALLBACK", "FOLLOW_UP"}
        gone = LeadTimer.objects.exclude(cancelled_at=None)
        assert set(gone.values_list("cancel_reason", flat=True)) == {"reply"}


@pytest.mark.parametrize("kind", ["7D", "14D", "30D"])
def test_a_timer_that_a_reply_overtook_is_moot(office, kind):
    """The reply came through another door than the one that cancels."""
    lead = touched(office)
    with office.inside():
        LeadTimer.objects.exclude(kind=kind).update(cancelled_at=timezone.now())
        if kind == "30D":
            arm_timer(lead.pk, kind=kind, days=30)
        due(lead, kind)
        Lead.objects.update(last_response_at=timezone.now())

    assert fire_due() == 1

    with office.inside():
        lead.refresh_from_db()
        timer = LeadTimer.objects.get(kind=kind)
        assert (timer.fired_at, timer.cancel_reason) == (None, "answered meanwhile")
        assert (lead.state, lead.stage) == ("touched", "initial_message")


@pytest.mark.parametrize("kind", ["CALLBACK", "FOLLOW_UP"])
def test_a_promise_to_call_is_kept_although_the_person_wrote(office, kind):
    lead = touched(office)
    with office.inside():
        arm_timer(lead.pk, kind=kind, days=1)
        due(lead, kind)
    office.receive("see you tomorrow then")

    fire_due()

    with office.inside():
        assert LeadTimer.objects.get(kind=kind).fired_at is not None
        assert LeadEvent.objects.filter(kind=f"timer_{kind.lower()}").count() == 1


@pytest.mark.parametrize("state", ["responded", "closed", "suppressed", "high_intent"])
@pytest.mark.parametrize("kind", ["7D", "14D"])
def test_a_lead_that_a_person_moved_on_is_left_where_it_is(office, state, kind):
    lead = touched(office)
    with office.inside():
        if state == "high_intent":
            move_lead(lead.pk, to="responded")
        move_lead(lead.pk, to=state)
        Lead.objects.update(stage="book_appointment")
        due(lead, kind)

    fire_due()

    with office.inside():
        lead.refresh_from_db()
        assert (lead.state, lead.stage) == (state, "book_appointment")
        assert LeadTimer.objects.get(kind=kind).cancel_reason == "moved on"


def test_arming_again_keeps_the_old_row_as_history(office):
    lead = touched(office)
    with office.inside():
        first = LeadTimer.objects.get(kind="7D")

        second = arm_timer(lead.pk, kind="7D", days=3)

        first.refresh_from_db()
        assert (first.cancel_reason, first.superseded_by_id) == ("re-armed", second.pk)
        assert LeadTimer.objects.filter(kind="7D", cancelled_at=None).get() == second


def test_a_timer_armed_again_after_it_fired_fires_again(office):
    lead = touched(office)
    with office.inside():
        due(lead, "7D")
    fire_due()
    with office.inside():
        arm_timer(lead.pk, kind="7D", days=7)
        due(lead, "7D")

    assert fire_due() == 1

    with office.inside():
        assert LeadEvent.objects.filter(kind="timer_7d").count() == 2


def test_one_live_timer_per_kind_whatever_the_code_does(office):
    lead = touched(office)
    with (
        office.inside(),
        pytest.raises(IntegrityError, match="ux_lead_timers_live"),
        transaction.atomic(),
    ):
        LeadTimer.objects.create(lead=lead, kind="7D", fire_at=timezone.now())


def test_fired_and_cancelled_exclude_each_other(office):
    touched(office)
    with (
        office.inside(),
        pytest.raises(IntegrityError, match="fired_xor_cancelled"),
        transaction.atomic(),
    ):
        LeadTimer.objects.update(fired_at=timezone.now(), cancelled_at=timezone.now())


def test_timers_are_never_deleted(office):
    touched(office)
    with (
        office.inside(),
        pytest.raises(DatabaseError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("DELETE FROM lead_timers")


def test_cancelling_names_kinds_or_means_all(office):
    lead = touched(office)
    with office.inside():
        assert cancel_timers(lead.pk, reason="x", kinds=["7D"]) == 1
        assert cancel_timers(lead.pk, reason="x") == 1
        assert cancel_timers(lead.pk, reason="x") == 0


def test_a_timer_of_the_future_does_not_fire(office):
    touched(office)

    assert fire_due() == 0


@pytest.fixture
def handler():
    """Register handlers of TimerFired for one test."""
    before = list(_handlers[TimerFired])
    yield on(TimerFired)
    _handlers[TimerFired][:] = before


def test_a_failing_timer_does_not_stop_the_others_and_gives_up_in_the_end(office, handler):
    bad = touched(office)
    with office.inside():
        good = create_lead(phone="+12025550143")
        arm_timer(good.pk, kind="CALLBACK", days=1)
        due(good, "CALLBACK")

    @handler
    def explode(event):
        if event.lead_id == bad.pk:
            raise RuntimeError("no such luck")

    for attempt in range(1, 4):
        with office.inside():
            due(bad, "7D")
        fire_due()
        with office.inside():
            timer = LeadTimer.objects.get(lead=bad, kind="7D")
            assert (timer.attempts, timer.fired_at) == (attempt, None)
            assert timer.last_error == "RuntimeError: no such luck"
            assert (timer.cancelled_at is not None) == (attempt == 3)
            bad.refresh_from_db()
            assert bad.state == "touched"  # its effects were rolled back with it

    with office.inside():
        assert LeadTimer.objects.get(lead=good).fired_at is not None


def test_timers_of_every_tenant_fire(office, other_office):
    for one in (office, other_office):
        lead = touched(one)
        with one.inside():
            due(lead, "7D")

    assert fire_due() == 2


def test_silence_days_are_those_of_the_rules():
    assert timers.SILENCE_DAYS == {"7D": 7, "14D": 14, "30D": 30}
