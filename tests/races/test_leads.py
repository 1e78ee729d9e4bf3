"""Two hands on one lead."""

from __future__ import annotations

import random
import threading
from datetime import timedelta

import pytest
from django.utils import timezone

from leads.actions import (
    Choice,
    MoveRefused,
    arm_timer,
    create_lead,
    lock_consents,
    move_lead,
    record_choice,
)
from leads.models import Lead, LeadEvent, LeadTimer
from leads.states import LeadState, may_move
from messaging.actions.consent import silence
from messaging.models import Conversation
from messaging.timers import fire_due
from tests.conftest import THEIRS, drain
from tests.raw import at_once, rows, until_somebody_waits

pytestmark = pytest.mark.django_db(transaction=True)

UNSOUND = """
    SELECT l.id FROM leads AS l JOIN LATERAL (
        SELECT to_state, seq, (SELECT count(*) FROM lead_events AS n
                               WHERE n.tenant_id = l.tenant_id AND n.lead_id = l.id) AS many
        FROM lead_events AS e WHERE e.tenant_id = l.tenant_id AND e.lead_id = l.id
        ORDER BY seq DESC LIMIT 1) AS last ON true
    WHERE last.to_state <> l.state OR last.seq <> l.event_seq OR last.many <> last.seq + 1
"""


def test_two_operators_move_one_lead(committed_office):
    office = committed_office
    lead = office.lead()
    with office.inside():
        move_lead(lead.pk, to="responded")

    def move(to):
        with office.inside():
            return move_lead(lead.pk, to=to, actor_id=office.agent.pk).state

    results = at_once([lambda: move("appointment_booked"), lambda: move("email_captured")])

    # Either order: booked first forbids the second; captured first allows both.
    refused = [r for r in results if isinstance(r, MoveRefused)]
    assert all(isinstance(r, MoveRefused | str) for r in results)
    with office.inside():
        lead.refresh_from_db()
        chain = list(LeadEvent.objects.filter(lead=lead).order_by("seq").values_list("to_state"))
        assert lead.state == "appointment_booked"
        assert len(chain) == (3 if refused else 4)
        assert rows(UNSOUND) == []


def test_many_hands_leave_every_chain_whole(committed_office):
    office = committed_office
    with office.inside():
        leads = [create_lead().pk for _ in range(5)]

    def push(seed):
        chance, done = random.Random(seed), 0
        for _ in range(25):
            lead, to = chance.choice(leads), chance.choice(list(LeadState)[:-1])
            try:
                with office.inside():
                    move_lead(lead, to=to)
                    done += 1
            except MoveRefused:
                pass
        return done

    results = at_once([lambda seed=seed: push(seed) for seed in range(6)])

    assert all(isinstance(done, int) and done for done in results), results
    with office.inside():
        assert rows(UNSOUND) == []
        for before, after in LeadEvent.objects.exclude(from_state=None).values_list(
            "from_state", "to_state"
        ):
            assert before == after or may_move(before, after)


def test_a_timer_fires_or_is_cancelled_by_a_reply_and_never_both(committed_office):
    office = committed_office
    people = [f"+1202555{n:04d}" for n in range(24)]
    for theirs in people:
        lead = office.lead(theirs)
        with office.inside():
            move_lead(lead.pk, to="touched")
            Conversation.objects.create(
                lead=lead,
                phone_number=office.number,
                our_number=office.number.number,
                their_number=theirs,
                stage="initial_message",
            )
            arm_timer(lead.pk, kind="7D", days=7)
        office.post(office.payload("hello", theirs=theirs))
    with office.inside():
        LeadTimer.objects.update(fire_at=timezone.now() - timedelta(seconds=1))

    results = at_once([drain, fire_due, drain, fire_due])

    assert not [error for error in results if isinstance(error, BaseException)], results
    drain()
    fire_due()
    with office.inside():
        assert not LeadTimer.objects.filter(fired_at=None, cancelled_at=None).exists()
        fired = set(LeadTimer.objects.exclude(fired_at=None).values_list("lead_id", flat=True))
        effects = list(LeadEvent.objects.filter(kind="timer_7d").values_list("lead_id", flat=True))
        assert sorted(effects) == sorted(fired)
        assert LeadTimer.objects.filter(attempts__gt=0).count() == 0  # no deadlock was its fault
        for lead in Lead.objects.all():
            assert lead.state == "responded"
            kinds = list(lead.events.order_by("seq").values_list("kind", flat=True))
            if lead.pk in fired:
                assert kinds.index("timer_7d") < kinds.index("message_received")
        assert rows(UNSOUND) == []


def test_two_timer_loops_fire_each_timer_once(committed_office):
    office = committed_office
    for n in range(15):
        lead = office.lead(f"+1202555{n:04d}")
        with office.inside():
            move_lead(lead.pk, to="touched")
            arm_timer(lead.pk, kind="7D", days=7)
    with office.inside():
        LeadTimer.objects.update(fire_at=timezone.now() - timedelta(seconds=1))

    settled = at_once([fire_due] * 3)

    assert sum(settled) == 15
    with office.inside():
        assert LeadEvent.objects.filter(kind="timer_7d").count() == 15


def a_due_timer(office):
    """Return a touched lead with a conversation and a silence timer that is due."""
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
        LeadTimer.objects.update(fire_at=timezone.now() - timedelta(seconds=1))
    return lead


def test_a_timer_waits_for_a_text_that_is_being_filed(committed_office):
    """Filing locks person, conversation, lead. Against that order there would be a deadlock."""
    office = committed_office
    lead, holding = a_due_timer(office), threading.Event()

    def file():
        with office.inside():
            lock_consents([THEIRS])
            Conversation.objects.select_for_update(no_key=True).get()
            holding.set()
            until_somebody_waits()
            Lead.objects.select_for_update(no_key=True).get(pk=lead.pk)

    def fire():
        holding.wait(5)
        return fire_due()

    assert at_once([file, fire]) == [None, 1]
    with office.inside():
        assert LeadTimer.objects.get().attempts == 0


def test_a_timer_waits_for_an_opt_out_by_hand(committed_office):
    """An opt-out locks the person, all leads, then their conversations."""
    office = committed_office
    lead, holding = a_due_timer(office), threading.Event()

    def stop():
        with office.inside():
            event = record_choice(Choice(address=THEIRS, kind="opt_out"))
            Lead.objects.select_for_update(no_key=True).get(pk=lead.pk)
            holding.set()
            until_somebody_waits()
            silence(THEIRS, cause=event)

    def fire():
        holding.wait(5)
        return fire_due()

    assert at_once([stop, fire]) == [None, 0]
    with office.inside():
        assert LeadTimer.objects.get().cancel_reason == "opted out"
        assert Lead.objects.get().state == "suppressed"
