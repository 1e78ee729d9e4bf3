"""The state machine holds in the database, by whatever door one comes."""

from __future__ import annotations

from itertools import pairwise

import psycopg
import pytest
from django.db import DatabaseError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leads.actions import (
    Choice,
    MoveRefused,
    create_lead,
    move_if_legal,
    move_lead,
    record_choice,
    record_event,
)
from leads.models import Lead, LeadEvent
from leads.states import MOVES, LeadState, may_move, next_states
from tenants.ulids import new_uuid, to_uuid
from tests import raw
from tests.conftest import THEIRS
from tests.raw import connected

pytestmark = pytest.mark.django_db

LEGAL = [(here, there) for here, moves in MOVES.items() for there in moves]
EVERY = [(here, there) for here in LeadState for there in LeadState if here != there]


def path_to(state):
    """Return the shortest way from new to *state*, without its first step."""
    ways = {LeadState.NEW: []}
    todo = [LeadState.NEW]
    while todo:
        here = todo.pop(0)
        for there in (*MOVES[here], LeadState.SUPPRESSED):
            if there not in ways:
                ways[there] = [*ways[here], there]
                todo.append(there)
    return ways[state]


def lead_in(state):
    lead = create_lead(phone=THEIRS)
    for step in path_to(LeadState(state)):
        move_lead(lead.pk, to=step)
    lead.refresh_from_db()
    return lead


def an_opt_in():
    return record_choice(Choice(address=THEIRS, kind="opt_in", reason="wrote START"))


# --- the eleven refusals ----------------------------------------------------------------------

INSERT_EVENT = (
    "INSERT INTO lead_events (tenant_id, id, lead_id, seq, kind, from_state, to_state, payload,"
    " correlation_id, at) VALUES (%(t)s, ulid_new(), %(l)s, %(seq)s, 'forged', %(from)s, %(to)s,"
    " '{}', '', clock_timestamp())"
)


def refused(sentence, lead, **values):
    """Run one sentence about a lead; return how it was refused."""
    return raw.refused(
        sentence, {"t": str(to_uuid(lead.tenant_id)), "l": str(to_uuid(lead.pk)), **values}
    )


def test_an_illegal_move_is_refused(office):
    with office.inside():
        lead = lead_in("touched")

        assert (
            refused(
                "SELECT lead_move(%(t)s, %(l)s, 'x', 'in_call_queue', NULL, '{}', NULL, NULL, '')",
                lead,
            )
            == "fk_lead_events_move"
        )


def test_a_state_without_an_event_is_refused(office):
    with office.inside():
        lead = lead_in("touched")

        assert refused("UPDATE leads SET state = 'closed' WHERE id = %(l)s", lead) == "LD011"


def test_a_state_with_a_number_but_no_event_is_refused(office):
    sentence = "UPDATE leads SET state = 'closed', event_seq = event_seq + 1 WHERE id = %(l)s"
    with office.inside():
        lead = lead_in("touched")

        assert refused(sentence, lead) == "fk_leads_last_event"


def test_a_rewind_is_refused(office):
    with office.inside():
        lead = lead_in("touched")

        assert (
            refused("UPDATE leads SET state = 'new', event_seq = 0 WHERE id = %(l)s", lead)
            == "LD011"
        )


def test_a_forged_beginning_is_refused(office):
    with office.inside():
        lead = lead_in("touched")

        assert (
            refused(INSERT_EVENT, lead, seq=2, **{"from": "in_call_queue", "to": "closed"})
            == "fk_lead_events_chain"
        )


def test_a_skipped_number_is_refused(office):
    with office.inside():
        lead = lead_in("touched")

        assert (
            refused(INSERT_EVENT, lead, seq=5, **{"from": "touched", "to": "responded"})
            == "fk_lead_events_chain"
        )


def test_a_second_birth_is_refused(office):
    with office.inside():
        lead = lead_in("touched")

        assert (
            refused(INSERT_EVENT, lead, seq=0, **{"from": None, "to": "new"})
            == "ux_lead_events_state"
        )
        assert (
            refused(INSERT_EVENT, lead, seq=2, **{"from": None, "to": "new"})
            == "lead_events_birth_is_new"
        )


@pytest.mark.parametrize("word", ["UPDATE lead_events SET kind = 'x'", "DELETE FROM lead_events"])
def test_events_are_neither_changed_nor_deleted(office, word):
    with office.inside():
        lead = lead_in("touched")

        assert refused(f"{word} WHERE lead_id = %(l)s", lead) == "42501"


def test_events_are_not_truncated(office):
    with office.inside():
        lead = lead_in("touched")

        assert refused("TRUNCATE lead_events CASCADE", lead) == "42501"


def test_a_lead_is_not_deleted(office):
    with office.inside():
        lead = lead_in("touched")

        assert refused("DELETE FROM leads WHERE id = %(l)s", lead) == "42501"


def test_a_lead_without_birth_is_refused(office):
    sentence = (
        "INSERT INTO leads (tenant_id, id, source, first_name, last_name, full_name, company,"
        " title, address_line1, unit, city, region, postal_code, time_zone, state, stage,"
        " event_seq, attempt_count) VALUES (%(t)s, %(new)s, 'x', '', '', '', '', '', '', '', '',"
        " '', '', '', %(state)s, 'initial_message', 0, 0)"
    )
    with office.inside():
        lead = lead_in("touched")

        for state in ("new", "closed"):
            assert refused(sentence, lead, new=new_uuid(), state=state) == "fk_leads_last_event"


def test_the_owner_cannot_rewrite_a_lead_either(committed_office):
    lead = committed_office.lead()
    for sentence in (
        "UPDATE lead_events SET kind = 'x'",
        "DELETE FROM lead_events",
        "TRUNCATE lead_events CASCADE",
    ):
        with connected(as_owner=True) as own, pytest.raises(psycopg.Error) as caught:
            own.execute(sentence)
        assert caught.value.sqlstate == "LD010"
    with connected(as_owner=True) as own, pytest.raises(psycopg.errors.ForeignKeyViolation):
        own.execute("DELETE FROM leads WHERE id = %s", [to_uuid(lead.pk)])


def test_an_event_of_another_tenants_lead_is_refused(office, other_office):
    theirs = other_office.lead()
    with office.inside():
        mine = lead_in("touched")

        assert refused(
            INSERT_EVENT.replace("%(l)s", "%(other)s"),
            mine,
            seq=1,
            other=str(to_uuid(theirs.pk)),
            **{"from": "new", "to": "touched"},
        ) in ("fk_lead_events_chain", "fk_lead_events_lead")


# --- suppression ------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [s for s in LeadState if s != LeadState.SUPPRESSED])
def test_stop_silences_a_lead_in_every_state(office, state):
    with office.inside():
        lead = lead_in(state)

        assert move_lead(lead.pk, to="suppressed").state == "suppressed"


def test_a_suppressed_lead_answers_again_by_consent_only(office):
    with office.inside():
        lead = lead_in("suppressed")
        with pytest.raises(MoveRefused, match="opt-in"):
            move_lead(lead.pk, to="responded")
        assert (
            refused(INSERT_EVENT, lead, seq=2, **{"from": "suppressed", "to": "responded"})
            == "lead_events_only_consent_lifts"
        )
        assert next_states("suppressed") == []

        assert move_lead(lead.pk, to="responded", consent_event_id=an_opt_in()).state == "responded"


@pytest.mark.parametrize("kind", ["opt_out", "hold", "release"])
def test_no_other_choice_lifts_a_suppression(office, kind):
    with office.inside():
        lead = lead_in("suppressed")
        event = record_choice(Choice(address=THEIRS, kind=kind))

        assert (
            refused(
                "SELECT lead_move(%(t)s, %(l)s, 'x', 'responded', NULL, '{}', %(c)s, NULL, '')",
                lead,
                c=str(to_uuid(event)),
            )
            == "fk_lead_events_lift"
        )


def test_an_opt_in_that_came_too_late_lifts_nothing(office):
    with office.inside():
        lead = lead_in("suppressed")
        record_choice(Choice(address=THEIRS, kind="opt_out", position=20))
        event = record_choice(Choice(address=THEIRS, kind="opt_in", position=10))

        assert (
            refused(
                "SELECT lead_move(%(t)s, %(l)s, 'x', 'responded', NULL, '{}', %(c)s, NULL, '')",
                lead,
                c=str(to_uuid(event)),
            )
            == "fk_lead_events_lift"
        )


# --- moves ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("here", "there"), LEGAL)
def test_every_legal_move_works(office, here, there):
    with office.inside():
        lead = lead_in(here)
        consent = an_opt_in() if here == LeadState.SUPPRESSED else None

        moved = move_lead(lead.pk, to=there, consent_event_id=consent)

        assert moved.state == there
        last = LeadEvent.objects.get(lead=lead, seq=moved.event_seq)
        assert (last.from_state, last.to_state) == (here, there)


@pytest.mark.parametrize(("here", "there"), [p for p in EVERY if p not in LEGAL])
def test_every_other_move_is_refused_in_words_and_by_the_database(office, here, there):
    if there == LeadState.SUPPRESSED:
        assert may_move(here, there)
        return
    with office.inside():
        lead = lead_in(here)
        seq = lead.event_seq
        with pytest.raises(MoveRefused):
            move_lead(lead.pk, to=there, consent_event_id=an_opt_in())
        with transaction.atomic(), pytest.raises(DatabaseError), transaction.atomic():
            record_event(lead.pk, kind="x", to=there, consent_event_id=an_opt_in())

        lead.refresh_from_db()
        assert (lead.state, lead.event_seq) == (here, seq)


def test_a_move_to_the_present_state_is_no_event(office):
    with office.inside():
        lead = lead_in("responded")
        seq = lead.event_seq

        assert move_lead(lead.pk, to="responded").event_seq == seq


def test_a_cause_seen_before_changes_nothing(office):
    with office.inside():
        lead = create_lead(phone=THEIRS)

        assert record_event(lead.pk, kind="text_sent", to="touched", cause="c1") == 1
        assert record_event(lead.pk, kind="text_sent", to="responded", cause="c1") is None

        lead.refresh_from_db()
        assert (lead.state, lead.event_seq) == ("touched", 1)


def test_a_cause_is_of_one_tenant(office, other_office):
    with office.inside():
        assert record_event(create_lead().pk, kind="x", cause="c1") == 1
    with other_office.inside():
        assert record_event(create_lead().pk, kind="x", cause="c1") == 1


def test_where_a_move_is_illegal_only_the_event_stays(office):
    with office.inside():
        lead = lead_in("appointment_booked")

        assert not move_if_legal(lead.pk, to="email_captured", kind="email_captured", cause="c1")

        lead.refresh_from_db()
        assert (lead.state, LeadEvent.objects.filter(kind="email_captured").count()) == (
            "appointment_booked",
            1,
        )


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.sampled_from([*LeadState, None]), max_size=12))
def test_any_history_is_a_chain_without_gaps(office, steps):
    with office.inside():
        lead = create_lead()
        for number, there in enumerate(steps):
            try:
                with transaction.atomic():
                    record_event(lead.pk, kind="k", to=there, cause=f"{lead.pk}:{number // 2}")
            except DatabaseError:
                pass
        lead.refresh_from_db()
        chain = list(LeadEvent.objects.filter(lead=lead).order_by("seq"))

        assert [event.seq for event in chain] == list(range(len(chain)))
        assert (lead.event_seq, lead.state) == (chain[-1].seq, chain[-1].to_state)
        for before, after in pairwise(chain):
            assert after.from_state == before.to_state
            assert after.to_state == after.from_state or may_move(after.from_state, after.to_state)
        assert Lead.objects.filter(pk=lead.pk).exists()
