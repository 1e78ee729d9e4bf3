"""Consent: who may be texted, proved by events, in the order in which people wrote."""

from __future__ import annotations

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.models import WebhookWork
from leads.actions import Choice, add_contact_point, base_consent_id, record_choice
from leads.models import Consent, ConsentEvent, Lead
from messaging.actions.consent import (
    ChoiceRefused,
    confirm_hold,
    opt_in,
    opt_out,
    release_hold,
)
from messaging.models import Conversation, OutboundMessage
from tenants.ulids import new_id, to_uuid
from tests import raw
from tests.conftest import OURS, THEIRS, drain
from tests.raw import connected

pytestmark = pytest.mark.django_db


def state(address=THEIRS, scope=""):
    return Consent.objects.get(address=address, scope=scope).state


def record(kind, **more):
    return record_choice(Choice(address=THEIRS, kind=kind, **more))


def refused(sentence, *arguments):
    return raw.refused(sentence, arguments or None)


# --- what follows what ------------------------------------------------------------------------

AFTER = {
    ("unknown", "opt_out"): "opted_out",
    ("unknown", "opt_in"): "opted_in",
    ("unknown", "hold"): "held",
    ("unknown", "release"): "unknown",
    ("opted_in", "opt_out"): "opted_out",
    ("opted_in", "opt_in"): "opted_in",
    ("opted_in", "hold"): "held",
    ("opted_in", "release"): "opted_in",
    ("held", "opt_out"): "opted_out",
    ("held", "opt_in"): "opted_in",
    ("held", "hold"): "held",
    ("held", "release"): "unknown",
    ("opted_out", "opt_out"): "opted_out",
    ("opted_out", "opt_in"): "opted_in",
    ("opted_out", "hold"): "opted_out",
    ("opted_out", "release"): "opted_out",
}
REACH = {"unknown": None, "opted_in": "opt_in", "held": "hold", "opted_out": "opt_out"}


@pytest.mark.parametrize(("before", "kind"), AFTER)
def test_every_choice_in_every_state(office, before, kind):
    with office.inside():
        base_consent_id(THEIRS)
        if REACH[before]:
            record(REACH[before])

        record(kind)

        assert state() == AFTER[before, kind]


def test_an_unknown_kind_is_refused(office):
    with office.inside(), pytest.raises(DatabaseError, match="unknown kind"), transaction.atomic():
        record("maybe")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.sampled_from(["opt_out", "opt_in", "hold", "release"]), st.integers(1, 30)),
        min_size=1,
        max_size=10,
    )
)
def test_any_history_is_proved_and_no_old_start_lifts_a_newer_refusal(office, history):
    address = f"+1202{to_uuid(new_id('x')).int % 10**7:07d}"
    with office.inside():
        newest = 0  # place of the newest refusal so far
        for kind, place in history:
            before = Consent.objects.filter(address=address).values_list("state", flat=True).first()
            record_choice(Choice(address=address, kind=kind, position=place))
            after = state(address)
            if kind == "opt_in" and before in ("opted_out", "held") and place < newest:
                assert after == before
            if kind in ("opt_out", "hold"):
                newest = max(newest, place)
                assert after in ("opted_out", "held")
        consent = Consent.objects.get(address=address)
        chain = list(consent.events.order_by("rev").values_list("rev", "state"))

        assert [rev for rev, _ in chain] == list(range(1, len(history) + 1))
        assert (consent.rev, consent.state) == chain[-1]


# --- positions --------------------------------------------------------------------------------


def test_a_start_older_than_the_stop_does_not_lift_it(office):
    with office.inside():
        record("opt_out", position=20)

        record("opt_in", position=19)
        assert state() == "opted_out"

        record("opt_in", position=21)
        assert state() == "opted_in"


def test_a_start_older_than_the_hold_does_not_lift_it(office):
    with office.inside():
        record("hold", position=20)

        record("opt_in", position=19)

        assert state() == "held"


def test_the_newest_of_two_stops_counts(office):
    with office.inside():
        record("opt_out", position=20)
        record("opt_out", position=10)

        record("opt_in", position=15)

        assert state() == "opted_out"


def test_a_start_that_waits_does_not_lift_what_a_person_recorded_after_it(office):
    office.receive("hello")
    office.post(office.payload("START"))
    with office.inside():
        opt_out(Choice(address=THEIRS, kind="opt_out", actor_id=office.agent.pk, reason="called"))

    drain()

    with office.inside():
        assert state() == "opted_out"
        assert Lead.objects.get().state == "suppressed"


def test_a_start_after_what_a_person_recorded_lifts_it(office):
    office.receive("hello")
    with office.inside():
        opt_out(Choice(address=THEIRS, kind="opt_out", actor_id=office.agent.pk, reason="called"))

    office.receive("START")

    with office.inside():
        assert state() == "opted_in"
        assert Lead.objects.get().state == "responded"


def test_a_replayed_start_keeps_its_place_before_the_stop(office):
    """A replay is a new row of work with a new number, but the text is as old as it is."""
    office.post(office.payload("START", id="in_start"))
    with office.inside():
        WebhookWork.objects.update(state="dead")
    office.receive("STOP")
    with office.inside():
        work = WebhookWork.objects.get(state="dead")
        WebhookWork.objects.create(
            event=work.event,
            received_at=work.received_at,
            lane=work.lane,
            run_no=2,
            their_number=work.their_number,
            is_inbound=True,
            tenant=office.tenant,
        )

    drain()

    with office.inside():
        assert WebhookWork.objects.get(run_no=2).state == "done"
        assert state() == "opted_out"
        assert Lead.objects.get().state == "suppressed"


def test_a_stop_that_is_processed_after_a_newer_start_silences_nobody(office):
    """STOP on one number of ours, then START on another: two lanes, handled the wrong way round."""
    office.receive("hello")
    office.post(office.payload("STOP"))
    with office.inside():
        stop = WebhookWork.objects.get(state="ready").seq
        WebhookWork.objects.filter(seq=stop).update(state="quarantined")
    office.receive("START", ours="+12025550111")
    with office.inside():
        WebhookWork.objects.filter(seq=stop).update(state="ready")

    drain()

    with office.inside():
        assert WebhookWork.objects.get(seq=stop).state == "done"
        assert state() == "opted_in"
        assert set(Lead.objects.values_list("state", flat=True)) == {"responded"}
        assert not OutboundMessage.objects.exists()


# --- evidence ---------------------------------------------------------------------------------


def test_the_same_evidence_counts_once(office):
    evidence = new_id("wh")
    with office.inside():
        assert record("opt_out", webhook_event=evidence, position=1) is not None
        assert record("opt_out", webhook_event=evidence, position=1) is None
        assert record("opt_in", webhook_event=evidence, position=2) is not None

        assert Consent.objects.get().rev == 2


def test_evidence_of_an_intake_opt_out_is_the_webhook(office):
    message = office.receive("Please STOP texting me")

    with office.inside():
        event = ConsentEvent.objects.get(kind="opt_out")
        assert (event.webhook_event, event.source) == (message.webhook_event, "texting")
        assert event.reason == "Please STOP texting me"
        assert event.position == WebhookWork.objects.get().seq
        assert event.correlation_id == message.correlation_id != ""


# --- scopes -----------------------------------------------------------------------------------


def test_a_narrow_opt_out_blocks_that_number_of_ours_only(office):
    with office.inside():
        record("opt_out", scope=f"number:{OURS}")

        assert state() == "unknown"
        assert block(OURS) == "opted_out"
        assert block("+12025550199") is None


def test_a_wide_opt_out_blocks_whatever_a_narrow_opt_in_says(office):
    with office.inside():
        record("opt_in", scope=f"number:{OURS}")
        record("opt_out")

        assert block(OURS) == "opted_out"


def test_a_narrow_choice_locks_the_base_row_first(committed_office):
    office = committed_office
    with office.inside():
        base_consent_id(THEIRS)
    with connected(tenant=office.tenant.pk) as own:
        own.execute("SET LOCAL lock_timeout = '100ms'")
        own.execute("SELECT FROM consents WHERE address = %s FOR UPDATE", [THEIRS])
        with office.inside():
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '100ms'")
            with pytest.raises(DatabaseError, match="lock timeout"), transaction.atomic():
                record("opt_out", scope=f"number:{OURS}")


def block(ours, *, automated=False):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT consent_block(app.t, %s, %s, %s) FROM (SELECT"
            " current_setting('app.tenant_id')::uuid AS t) AS app",
            [THEIRS, ours, automated],
        )
        return cursor.fetchone()[0]


def test_a_hold_stops_automation_and_not_people(office):
    with office.inside():
        record("hold")

        assert (block(OURS), block(OURS, automated=True)) == (None, "held")


def test_consent_is_of_one_tenant(office, other_office):
    with office.inside():
        record("opt_out")
    with other_office.inside():
        assert not Consent.objects.exists()
        record("opt_in")
        assert state() == "opted_in"
    with office.inside():
        assert state() == "opted_out"


# --- ways around it ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "how"),
    [
        ("state = 'opted_in'", "LD014"),
        ("state = 'unknown'", "LD014"),
        ("state = 'opted_in', rev = rev + 1", "fk_consents_proof"),
        ("rev = rev + 1", "fk_consents_proof"),
        ("rev = rev + 2", "LD014"),
        ("rev = rev - 1", "LD014"),
        ("rev = 0, state = 'unknown'", "LD014"),
        ("position = 0", "LD014"),
        ("address = '+12025550199'", "LD014"),
        ("channel = 'email'", "LD014"),
        ("scope = 'number:x'", "LD014"),
    ],
)
def test_consent_changes_by_its_events_only(office, change, how):
    with office.inside():
        record("opt_out", position=5)

        assert refused(f"UPDATE consents SET {change}") == how
        assert state() == "opted_out"


ORM_DOORS = {
    "save": lambda row: row.save(),
    "update": lambda row: Consent.objects.update(state=row.state),
    "bulk_update": lambda row: Consent.objects.bulk_update([row], ["state"]),
}


@pytest.mark.parametrize("door", ORM_DOORS.values(), ids=ORM_DOORS)
def test_the_orm_is_no_way_around(office, door):
    with office.inside():
        record("opt_out")
        consent = Consent.objects.get()
        consent.state = "opted_in"
        with pytest.raises(DatabaseError), transaction.atomic():
            door(consent)


def test_a_choice_without_an_event_is_refused(office):
    with office.inside():
        for rev, word, how in (
            (0, "opted_in", "consents_choice_has_event"),
            (1, "opted_in", "fk_consents_proof"),
        ):
            assert how == refused(
                "INSERT INTO consents (tenant_id, id, channel, address, scope, state, rev,"
                " position) VALUES (current_setting('app.tenant_id')::uuid, ulid_new(), 'sms',"
                " '+12025550188', '', %s, %s, 0)",
                word,
                rev,
            )


def test_consent_is_never_deleted(office):
    with office.inside():
        record("opt_out")

        assert refused("DELETE FROM consents") == "42501"
        assert refused("DELETE FROM consent_events") == "42501"
        assert refused("UPDATE consent_events SET state = 'opted_in'") == "42501"


def test_the_owner_cannot_rewrite_consent_events_either(committed_office):
    with committed_office.inside():
        record("opt_out")
    for sentence in ("UPDATE consent_events SET state = 'opted_in'", "DELETE FROM consent_events"):
        with connected(as_owner=True) as own, pytest.raises(psycopg.Error) as caught:
            own.execute(sentence)
        assert caught.value.sqlstate == "LD010"


# --- by hand ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["", "   "])
def test_an_opt_in_by_hand_needs_a_reason(office, reason):
    with office.inside():
        record("opt_out")
        with pytest.raises(ChoiceRefused):
            opt_in(Choice(address=THEIRS, kind="opt_in", actor_id=office.agent.pk, reason=reason))

        assert state() == "opted_out"


def test_an_opt_in_by_hand_with_a_reason_is_kept_with_its_actor(office):
    with office.inside():
        record("opt_out")

        event = opt_in(
            Choice(address=THEIRS, kind="opt_in", actor_id=office.agent.pk, reason="signed form")
        )

        kept = ConsentEvent.objects.get(pk=event)
        assert (kept.actor_id, kept.reason, kept.state) == (
            office.agent.pk,
            "signed form",
            "opted_in",
        )


def test_a_hold_is_released_or_becomes_an_opt_out(office):
    office.receive("stop by tomorrow?")
    with office.inside():
        assert state() == "held"
        release_hold(THEIRS, actor_id=office.agent.pk, reason="an invitation")
        assert state() == "unknown"
        with pytest.raises(ChoiceRefused):
            release_hold(THEIRS, actor_id=office.agent.pk)

    office.receive("stop by tomorrow, or else?")
    with office.inside():
        assert state() == "held"
        confirm_hold(THEIRS, actor_id=office.agent.pk)
        assert state() == "opted_out"
        assert Lead.objects.get().state == "suppressed"
        assert Conversation.objects.get().status == "done"
        assert list(ConsentEvent.objects.order_by("rev").values_list("kind", flat=True)) == [
            "hold",
            "release",
            "hold",
            "opt_out",
        ]


def test_a_release_never_ends_an_opt_out(office):
    with office.inside():
        record("opt_out")
        with pytest.raises(ChoiceRefused):
            release_hold(THEIRS, actor_id=office.agent.pk, reason="please")

        assert state() == "opted_out"


# --- the confirmation -------------------------------------------------------------------------


def confirmations():
    return OutboundMessage.objects.filter(purpose="opt_out_confirmation").count()


def test_stop_again_and_again_earns_one_confirmation(office):
    """A machine at the other end that answers STOP to our confirmation must not start a loop."""
    for _ in range(3):
        office.receive("STOP")

    with office.inside():
        assert confirmations() == 1
        assert Consent.objects.get().rev == 3


def test_stop_on_two_numbers_of_ours_earns_one_confirmation(office):
    office.receive("STOP")
    office.receive("STOP", ours="+12025550111")

    with office.inside():
        assert confirmations() == 1


def test_stop_after_a_new_start_earns_a_new_confirmation(office):
    for text in ("STOP", "START", "STOP"):
        office.receive(text)

    with office.inside():
        assert confirmations() == 2


def test_stop_of_a_held_number_is_confirmed(office):
    office.receive("stop by tomorrow?")
    office.receive("STOP")

    with office.inside():
        assert confirmations() == 1


# --- what an opt-out ends ---------------------------------------------------------------------


def test_an_opt_out_silences_every_lead_that_lives_by_the_number(office):
    with_other = office.lead(full_name="Has another phone")
    office.lead("+12025550170", full_name="Somebody else")
    only = office.lead(full_name="Only this phone")
    with office.inside():
        add_contact_point(with_other.pk, kind="phone", value="+12025550171", source="test")

        opt_out(Choice(address=THEIRS, kind="opt_out"))

        states = dict(Lead.objects.values_list("full_name", "state"))
        assert states == {
            "Has another phone": "new",
            "Somebody else": "new",
            only.full_name: "suppressed",
        }
