"""Two leads become one and two again: nothing is lost, and nobody becomes easier to text."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from campaigns.actions import queue_call
from campaigns.models import CallItem
from integrations.models import Enrichment, ExternalId, VendorCall
from leads.actions import (
    Choice,
    add_contact_point,
    arm_timer,
    create_lead,
    flag_wrong_number,
    move_lead,
    put_label,
    record_choice,
)
from leads.merge_fields import FIELDS
from leads.mergeable import children, kept
from leads.merging import MergeRefused, family_of, merge, plan, root_of
from leads.models import (
    Business,
    Contact,
    ContactPoint,
    Import,
    ImportRow,
    Lead,
    LeadActivity,
    LeadCard,
    LeadEvent,
    LeadLabel,
    LeadTimer,
    Merge,
    MergeReview,
    Property,
    Verification,
)
from leads.pairs import propose, settle
from leads.states import LeadState
from leads.unmerging import unmerge
from messaging.actions.consent import opt_in, opt_out
from messaging.actions.facts import facts_for
from messaging.actions.sending import open_thread
from messaging.models import Conversation, Message, OutboundMessage
from messaging.verdict import decide
from pipelines.models import PipelineRun
from tenants.ulids import to_uuid
from tests.conftest import OURS
from tests.leads.test_state_machine import path_to

pytestmark = pytest.mark.django_db

A_PHONE, B_PHONE, SHARED, LATER = "+12025550142", "+12025550143", "+12025550144", "+12025550145"


def lead(phone="", **fields):
    return create_lead(phone=phone, **fields)


def thread(one, phone, office):
    point = ContactPoint.objects.get(lead=one, normalized=phone)
    return open_thread(one.pk, contact_point_id=point.pk, phone_number_id=office.number.pk)


def referring_columns():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.conrelid::regclass::text, a.attname FROM pg_constraint AS c"
            " CROSS JOIN LATERAL unnest(c.conkey, c.confkey) AS k(here, there)"
            " JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.here"
            " JOIN pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = k.there"
            " WHERE c.contype = 'f' AND c.confrelid = 'leads'::regclass AND b.attname = 'id'"
        )
        return set(cursor.fetchall())


# --- everything that belongs to a lead --------------------------------------------------------


def test_every_column_that_refers_to_a_lead_follows_it_or_says_why_not():
    named = {(child.table, child.column) for child in children()} | set(kept())

    assert referring_columns() == named
    assert all(kept().values())


def fill(one, office, number, *, at=1):
    """Put a row into every table that belongs to a lead; return the thread."""
    contact = Contact.objects.create(lead=one, full_name=f"Ann {number}")
    LeadCard.objects.create(contact=contact, lead=one)
    Business.objects.create(lead=one, name=f"Biz {number}")
    Property.objects.create(lead=one, source=f"list{number}")
    put_label(one.pk, key=f"L{number}", source="manual")
    put_label(one.pk, key="both", source="manual")
    arm_timer(one.pk, kind="7D" if at == 1 else "CALLBACK", days=7)
    arm_timer(one.pk, kind="FOLLOW_UP", days=at)
    queue_call(one.pk, reason="manual")
    ExternalId.objects.create(integration=office.integration, external_id=number, lead=one)
    imported = Import.objects.create(name="list.csv")
    ImportRow.objects.create(imported=imported, row_no=1, outcome="error", lead=one)
    run = PipelineRun.objects.create(pipeline_name="waterfall")
    state = "queued" if at == 1 else "done"
    Enrichment.objects.create(
        lead=one, run=run, state=state, finished_at=None if at == 1 else Now()
    )
    conversation = thread(one, number, office)
    message = Message.objects.create(
        conversation=conversation,
        lead=one,
        direction="out",
        sender=OURS,
        recipient=number,
        body="Hi",
        provider="signalhouse",
        status="queued",
    )
    OutboundMessage.objects.create(
        send_key=f"k{number}",
        message=message,
        conversation=conversation,
        lead=one,
        consent_id=consent_of(number),
        phone_number=office.number,
        to_address=number,
        body="Hi",
        purpose="first_text",
        verdict={},
    )
    return conversation


def consent_of(number):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT consent_base(tenant_id, 'sms', %s) FROM phone_numbers LIMIT 1", [number]
        )
        return cursor.fetchone()[0]


def rows_of(*leads):
    """Return everything that belongs to these leads and to nobody's history, row by row."""
    found = {}
    ids = [str(to_uuid(one)) for one in leads]
    with connection.cursor() as cursor:
        for table, column in sorted({(c.table, c.column) for c in children()}):
            cursor.execute(
                f"SELECT t.id::text, to_jsonb(t)::text FROM {table} AS t"
                f" WHERE {column} = ANY(%s::uuid[]) ORDER BY 1",
                [ids],
            )
            for key, row in cursor.fetchall():
                found[table, key] = json.loads(row)
        cursor.execute(
            "SELECT id::text, to_jsonb(l)::text FROM leads AS l WHERE id = ANY(%s::uuid[])", [ids]
        )
        for key, row in cursor.fetchall():
            found["leads", key] = json.loads(row)
    for row in found.values():
        for name in ("updated_at", "event_seq"):
            row.pop(name, None)
    return found


def test_golden_every_child_follows_and_comes_back(office):
    with office.inside():
        first, second = lead(A_PHONE, full_name="Ann Lee"), lead(B_PHONE, full_name="Ann Lee")
        fill(first, office, A_PHONE)
        fill(second, office, B_PHONE, at=2)
        before = rows_of(first.pk, second.pk)
        tables = {table for table, _ in before}

        one = merge(first.pk, second.pk, reason="the same person")

        moved = {place.split(".")[0] for place in one.moved["rows"]}
        after = rows_of(first.pk, second.pk)
        left = {
            (table, row.get("lead_id"))
            for (table, _), row in after.items()
            if row.get("lead_id") == str(to_uuid(second.pk))
        }
        back = unmerge(one.pk, actor_id=None)

        assert tables == {child.table for child in children()} | {"leads"}
        # What clashes stays behind: the label both had, and the timer and call of both.
        assert moved == tables - {"leads", "call_queue"}
        assert {table for table, _ in left} == {"lead_labels", "lead_timers", "call_queue"}
        assert rows_of(first.pk, second.pk) == before
        assert back.kept == {}


def test_the_survivor_has_one_live_timer_per_kind_and_one_open_call(office):
    with office.inside():
        first, second = lead(A_PHONE), lead(B_PHONE)
        for one in (first, second):
            arm_timer(one.pk, kind="14D", days=14)
            queue_call(one.pk, reason="manual")
        merge(first.pk, second.pk)

        live = LeadTimer.objects.filter(fired_at=None, cancelled_at=None)
        assert [timer.lead_id for timer in live] == [first.pk]
        assert CallItem.objects.get(status="pending").lead_id == first.pk


def test_one_number_is_kept_once_with_all_that_is_known_of_it(office):
    with office.inside():
        first, second = lead(SHARED), lead(SHARED, phone_line_type="mobile")
        add_contact_point(second.pk, kind="email", value="a@example.com", source="upload")
        ContactPoint.objects.filter(lead=second, kind="phone").update(dnc=True, carrier="ACME")
        one = merge(first.pk, second.pk)

        point = ContactPoint.objects.get(lead=first, kind="phone")
        emails = ContactPoint.objects.filter(lead=first, kind="email")
        assert (point.dnc, point.carrier, point.line_type) == (True, "ACME", "mobile")
        assert [email.normalized for email in emails] == ["a@example.com"]

        unmerge(one.pk, actor_id=None)
        point.refresh_from_db()
        assert (point.dnc, point.carrier, point.line_type) == (None, "", "unknown")
        assert ContactPoint.objects.get(kind="email").lead_id == second.pk


def test_a_verified_point_moves_with_its_proof(office):
    with office.inside():
        first, second = lead(A_PHONE), lead(B_PHONE)
        point = ContactPoint.objects.get(lead=second)
        proof = Verification.objects.create(
            point=point, provider="twilio", code="ok", verdict="verified"
        )
        ContactPoint.objects.filter(pk=point.pk).update(
            verified_at=Now(), verified_by="twilio", verification=proof
        )
        merge(first.pk, second.pk)

        point.refresh_from_db()
        assert (point.lead_id, point.verification_id, point.is_primary) == (
            first.pk,
            proof.pk,
            False,
        )


# --- fields -----------------------------------------------------------------------------------


def test_a_known_value_beats_an_empty_one_and_a_better_source_a_worse_one(office):
    with office.inside():
        first = lead(source="upload", full_name="A Lee", last_name="Lee", title="Owner", age=70)
        second = lead(source="melissa", full_name="Ann Lee", company="Lee LLC", age=71)
        one = merge(first.pk, second.pk)
        first.refresh_from_db()

        assert (first.full_name, first.title, first.company, first.age) == (
            "Ann Lee",
            "Owner",
            "Lee LLC",
            71,
        )
        assert first.provenance["age"]["source"] == "melissa"
        assert first.provenance["age"]["lead"] == second.pk
        assert first.last_name == ""  # a name is chosen whole
        unmerge(one.pk, actor_id=None)
        first.refresh_from_db()
        assert (first.full_name, first.last_name, first.company, first.age, first.provenance) == (
            "A Lee",
            "Lee",
            "",
            70,
            {},
        )


def test_a_person_chooses_field_by_field(office):
    with office.inside():
        first, second = lead(age=70, company="One"), lead(age=71, company="Two")
        merge(first.pk, second.pk, choices={"company": second.pk, "age": first.pk})
        first.refresh_from_db()

        assert (first.age, first.company) == (70, "Two")


@pytest.mark.parametrize(
    ("choices", "words"),
    [({"sheep": "first"}, "no field"), ({"age": "third"}, "one of the two")],
)
def test_a_choice_that_is_none_is_refused(office, choices, words):
    with office.inside():
        first, second, third = lead(), lead(), lead()
        ids = {"first": first.pk, "third": third.pk}
        wanted = {field: ids[name] for field, name in choices.items()}
        with pytest.raises(MergeRefused, match=words):
            merge(first.pk, second.pk, choices=wanted)

        assert not Merge.objects.exists()


def test_every_column_of_a_field_exists_once():
    columns = [column for columns in FIELDS.values() for column in columns]

    assert len(columns) == len(set(columns))
    assert {column.removesuffix("_id") for column in columns} <= {
        field.name for field in Lead._meta.fields
    }


def test_the_keys_of_the_merged_lead_may_be_taken_and_are_given_back(office):
    with office.inside():
        first = lead(mak="111")
        second = lead(mak="222", county_fips="06001", apn="12-3")
        one = merge(first.pk, second.pk, choices={"mak": second.pk})
        first.refresh_from_db()
        assert (first.mak, first.apn) == ("222", "12-3")

        unmerge(one.pk, actor_id=None)
        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.mak, second.mak, first.apn, second.apn) == ("111", "222", "", "12-3")


def test_what_another_lead_took_meanwhile_keeps_them_together(office):
    with office.inside():
        first, second = lead(mak="111"), lead(mak="222")
        one = merge(first.pk, second.pk)
        lead(mak="222")
        with pytest.raises(MergeRefused, match="Another lead has the address"):
            unmerge(one.pk, actor_id=None)
        one.refresh_from_db()

        assert one.undone_at is None
        assert root_of(second.pk) == first.pk


def test_an_edit_since_stays_with_the_survivor_and_is_told(office):
    with office.inside():
        first, second = lead(age=70), lead(company="Two")
        one = merge(first.pk, second.pk)
        Lead.objects.filter(pk=first.pk).update(company="Edited")
        add_contact_point(first.pk, kind="email", value="new@example.com", source="manual")
        back = unmerge(one.pk, actor_id=None)
        first.refresh_from_db()

        assert first.company == "Edited"
        assert back.kept == {"fields": ["company"], "contact points": ["1 new"]}
        assert "company" in back.words


# --- states -----------------------------------------------------------------------------------


def in_state(state, phone, **fields):
    one = lead(phone, **fields)
    for step in path_to(LeadState(state)):
        move_lead(one.pk, to=step)
    one.refresh_from_db()
    return one


@pytest.mark.parametrize("mine", list(LeadState))
@pytest.mark.parametrize("theirs", ["new", "responded", "closed", "suppressed"])
def test_the_state_that_restricts_more_stays_and_ends_with_the_merge(office, mine, theirs):
    with office.inside():
        first, second = in_state(mine, A_PHONE), in_state(theirs, B_PHONE)
        one = merge(first.pk, second.pk)
        first.refresh_from_db()
        if "suppressed" in (mine, theirs):
            assert first.state == "suppressed"
        elif "closed" in (mine, theirs):
            assert first.state == "closed"
        else:
            assert first.state in (mine, theirs)

        unmerge(one.pk, actor_id=None)
        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.state, second.state) == (mine, theirs)


def test_an_opt_out_cannot_be_chosen_away(office):
    with office.inside():
        first, second = in_state("responded", A_PHONE), in_state("suppressed", B_PHONE)
        merge(first.pk, second.pk, choices={"state": first.pk})
        first.refresh_from_db()

        assert first.state == "suppressed"


def test_a_closed_double_need_not_close_the_survivor(office):
    with office.inside():
        first, second = in_state("responded", A_PHONE), in_state("closed", B_PHONE)
        merge(first.pk, second.pk, choices={"state": first.pk})
        first.refresh_from_db()

        assert first.state == "responded"


def test_nothing_but_a_merge_leaves_the_machine(office):
    with office.inside():
        one = in_state("closed", A_PHONE)
        for values in ({"machine": None}, {"machine": 1}):
            with pytest.raises(Exception, match=r"jump|fk_lead_events_move"), transaction.atomic():
                LeadEvent.objects.create(
                    lead=one,
                    seq=one.event_seq + 1,
                    kind="unmerged",
                    from_state="closed",
                    to_state="touched",
                    **values,
                )


def test_a_suppressed_survivor_has_no_timers_and_no_calls(office):
    with office.inside():
        first, second = lead(A_PHONE), in_state("suppressed", B_PHONE)
        timer = arm_timer(first.pk, kind="7D", days=7)
        call = queue_call(first.pk, reason="manual")
        one = merge(first.pk, second.pk)
        timer.refresh_from_db()
        call.refresh_from_db()
        assert (timer.cancel_reason, call.status) == ("opted out", "cancelled")

        unmerge(one.pk, actor_id=None)
        timer.refresh_from_db()
        call.refresh_from_db()
        assert (timer.cancelled_at, call.status, call.closed_at) == (None, "pending", None)


# --- the gate ---------------------------------------------------------------------------------

blocks = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["new", "touched", "responded", "closed", "suppressed"]),
        "paused": st.booleans(),
        "wrong": st.booleans(),
        "choice": st.sampled_from(["", "opt_out", "hold", "opt_in"]),
    }
)


def build(office, phone, given):
    one = in_state(given["state"], phone)
    conversation = thread(one, phone, office)
    if given["paused"]:
        Lead.objects.filter(pk=one.pk).update(paused_until=datetime(2100, 1, 1, tzinfo=UTC))
    if given["wrong"]:
        flag_wrong_number(one.pk, address=phone)
    if given["choice"]:
        record_choice(Choice(address=phone, kind=given["choice"]))
    return one, conversation.pk


def refusals(conversation_id):
    """What speaks against a text there for good, by hand and by machine."""
    conversation = Conversation.objects.select_related(
        "lead", "tenant", "phone_number__integration"
    ).get(pk=conversation_id)
    return {
        (automated, reason)
        for automated in (False, True)
        for reason in decide(
            facts_for(conversation, body="Hi", purpose="first_text", is_automated=automated)
        ).reasons
        if reason not in ("quiet_hours", "too_many")
    }


@settings(
    max_examples=40,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(blocks, blocks, st.booleans())
def test_a_merge_never_makes_a_blocked_number_sendable(office, left, right, the_other_way):
    with transaction.atomic(), office.inside():
        first, one = build(office, A_PHONE, left)
        second, two = build(office, B_PHONE, right)
        before = {pk: refusals(pk) for pk in (one, two)}
        pair = (second.pk, first.pk) if the_other_way else (first.pk, second.pk)
        merge(*pair)

        for pk in (one, two):
            denied = {automated for automated, _ in refusals(pk)}
            assert denied >= {automated for automated, _ in before[pk]}
        assert Conversation.objects.filter(lead=pair[0]).count() == 2
        transaction.set_rollback(True)


def test_a_number_that_is_wrong_for_one_is_wrong_for_both(office):
    with office.inside():
        first, second = lead(SHARED), lead(SHARED)
        flag_wrong_number(second.pk, address=SHARED)
        conversation = thread(first, SHARED, office)
        one = merge(first.pk, second.pk)
        assert (False, "wrong_number") in refusals(conversation.pk)

        unmerge(one.pk, actor_id=None)
        assert refusals(conversation.pk) == set()


# --- what comes later -------------------------------------------------------------------------


def test_three_texts_after_a_merge_follow_their_phones_back(office):
    with office.inside():
        first, second = in_state("touched", A_PHONE), in_state("touched", B_PHONE)
        arm_timer(first.pk, kind="7D", days=7)
        arm_timer(second.pk, kind="14D", days=14)
        add_contact_point(second.pk, kind="phone", value=LATER, source="upload")
        old = thread(second, B_PHONE, office).pk
        before = rows_of(first.pk, second.pk)
        one = merge(first.pk, second.pk)
    office.receive("who is this", theirs=B_PHONE)
    office.receive("tell me more", theirs=B_PHONE)
    new = office.receive("and from here", theirs=LATER)
    with office.inside():
        assert set(Message.objects.values_list("lead_id", flat=True)) == {first.pk}
        assert Lead.objects.get(pk=first.pk).state == "responded"

        unmerge(one.pk, actor_id=None)

        first.refresh_from_db()
        second.refresh_from_db()
        assert set(Message.objects.values_list("lead_id", flat=True)) == {second.pk}
        assert {c.lead_id for c in Conversation.objects.all()} == {second.pk}
        assert {old, new.conversation_id} == set(Conversation.objects.values_list("pk", flat=True))
        assert (first.state, second.state) == ("touched", "responded")
        assert (first.last_response_at, second.last_response_at is None) == (None, False)
        silent = {timer.lead_id: timer.cancel_reason for timer in LeadTimer.objects.all()}
        assert silent == {first.pk: "", second.pk: "reply"}
        # The first lead never noticed.
        mine = {key: row for key, row in before.items() if row.get("lead_id") != uuid_of(second)}
        now = rows_of(first.pk)
        assert {k: v for k, v in mine.items() if k[1] != uuid_of(second)} == now


def uuid_of(one):
    return str(to_uuid(one.pk))


def test_a_text_to_the_survivors_own_number_stays(office):
    with office.inside():
        first, second = in_state("touched", A_PHONE), in_state("touched", B_PHONE)
        thread(first, A_PHONE, office)
        one = merge(first.pk, second.pk)
    message = office.receive("hello", theirs=A_PHONE)
    with office.inside():
        unmerge(one.pk, actor_id=None)

        message.refresh_from_db()
        states = dict(Lead.objects.values_list("pk", "state"))
        assert message.lead_id == first.pk
        assert states == {first.pk: "responded", second.pk: "touched"}


def test_a_stop_after_the_merge_silences_whose_number_it_is(office):
    with office.inside():
        first, second = in_state("touched", A_PHONE), in_state("touched", B_PHONE)
        thread(second, B_PHONE, office)
        one = merge(first.pk, second.pk)
        arm_timer(first.pk, kind="30D", days=30)
    office.receive("STOP", theirs=B_PHONE)
    with office.inside():
        assert Lead.objects.get(pk=first.pk).state == "suppressed"
        unmerge(one.pk, actor_id=None)

        states = dict(Lead.objects.values_list("pk", "state"))
        assert states == {first.pk: "touched", second.pk: "suppressed"}


def test_a_stop_by_hand_of_a_number_of_both_silences_both(office):
    with office.inside():
        first, second = lead(SHARED), lead(SHARED)
        one = merge(first.pk, second.pk)
        opt_out(Choice(address=SHARED, kind="opt_out", reason="asked"))
        unmerge(one.pk, actor_id=None)

        assert set(Lead.objects.values_list("state", flat=True)) == {"suppressed"}
        opt_in(Choice(address=SHARED, kind="opt_in", reason="wrote START"))
        assert set(Lead.objects.values_list("state", flat=True)) == {"responded"}


def test_a_text_that_waited_for_the_merge_goes_to_the_survivor(office):
    with office.inside():
        first, second = lead(A_PHONE), lead(B_PHONE)
        conversation = thread(second, B_PHONE, office)
        merge(first.pk, second.pk)
        Conversation.objects.filter(pk=conversation.pk).update(
            lead=second
        )  # as a late lane sees it
    message = office.receive("hello", theirs=B_PHONE)

    assert message.lead_id == first.pk
    assert office.conversation(B_PHONE).lead_id == first.pk


# --- any order --------------------------------------------------------------------------------

details = st.fixed_dictionaries(
    {
        "state": st.sampled_from(list(LeadState)),
        "company": st.sampled_from(["", "One", "Two"]),
        "age": st.sampled_from([None, 40, 50]),
        "source": st.sampled_from(["upload", "melissa", "manual"]),
        "phones": st.sets(st.sampled_from([A_PHONE, B_PHONE, SHARED]), max_size=3),
        "labels": st.sets(st.sampled_from(["x", "y"])),
        "timers": st.sets(st.sampled_from(["7D", "14D", "CALLBACK"])),
        "contacts": st.sets(st.sampled_from(["Ann", "Bob"])),
        "business": st.sampled_from(["", "Biz", "Other"]),
        "called": st.booleans(),
        "paused": st.booleans(),
        "flags": st.lists(st.sampled_from(["vip", "bad"]), unique=True),
    }
)


def live(given):
    one = in_state(given["state"], "", source=given["source"])
    Lead.objects.filter(pk=one.pk).update(
        company=given["company"],
        age=given["age"],
        flags=given["flags"],
        attempt_count=len(given["phones"]),
        paused_until=datetime(2100, 1, 1, tzinfo=UTC) if given["paused"] else None,
    )
    for phone in sorted(given["phones"]):
        add_contact_point(one.pk, kind="phone", value=phone, source=given["source"])
    for label in given["labels"]:
        put_label(one.pk, key=label, source="manual")
    for kind in given["timers"]:
        arm_timer(one.pk, kind=kind, days=3)
    for name in given["contacts"]:
        contact = Contact.objects.create(lead=one, full_name=name, title=given["company"])
        LeadCard.objects.create(contact=contact, lead=one)
    if given["business"]:
        Business.objects.create(lead=one, name=given["business"])
    if given["called"]:
        queue_call(one.pk, reason="manual")
    return one


@settings(
    max_examples=60,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(details, min_size=2, max_size=3), st.data())
def test_merge_and_unmerge_equals_never_merged(office, leads, data):
    with transaction.atomic(), office.inside():
        made = [live(given).pk for given in leads]
        before = rows_of(*made)
        order = data.draw(st.permutations(made))
        done = [merge(order[0], other) for other in order[1:]]
        assert set(family_of(order[0])) == set(made)
        for one in reversed(done):
            unmerge(one.pk, actor_id=None)

        assert rows_of(*made) == before
        transaction.set_rollback(True)


def test_chains_come_apart_in_order_only(office):
    with office.inside():
        a, b, c = lead(A_PHONE), lead(B_PHONE), lead(LATER)
        before = rows_of(a.pk, b.pk, c.pk)
        inner = merge(a.pk, b.pk)
        outer = merge(c.pk, a.pk)
        assert set(family_of(c.pk)) == {a.pk, b.pk, c.pk}
        assert root_of(b.pk) == c.pk
        with pytest.raises(MergeRefused, match="merged into another lead since"):
            unmerge(inner.pk, actor_id=None)
        unmerge(outer.pk, actor_id=None)
        second = merge(a.pk, c.pk)
        with pytest.raises(MergeRefused, match=r"later\. Take that back first"):
            unmerge(inner.pk, actor_id=None)
        unmerge(second.pk, actor_id=None)
        unmerge(inner.pk, actor_id=None)
        with pytest.raises(MergeRefused, match="taken back already"):
            unmerge(inner.pk, actor_id=None)

        assert rows_of(a.pk, b.pk, c.pk) == before


def test_a_merged_lead_merges_no_further(office):
    with office.inside():
        a, b, c = lead(A_PHONE), lead(B_PHONE), lead(LATER)
        merge(a.pk, b.pk)
        for pair in ((a.pk, a.pk), (b.pk, c.pk), (c.pk, b.pk)):
            with pytest.raises(MergeRefused):
                merge(*pair)
        with pytest.raises(Lead.DoesNotExist):
            merge(a.pk, "lead_01ARZ3NDEKTSV4RRFFQ69G5FAV")

        assert plan(a.pk, c.pk).choices["age"] == a.pk


def test_two_that_are_being_enriched_wait(office):
    with office.inside():
        first, second = lead(A_PHONE), lead(B_PHONE)
        run = PipelineRun.objects.create(pipeline_name="waterfall")
        for one in (first, second):
            Enrichment.objects.create(lead=one, run=run, state="queued")
        with pytest.raises(MergeRefused, match="Both are being enriched"):
            merge(first.pk, second.pk)

        Enrichment.objects.filter(lead=second).update(state="done", finished_at=Now())
        merge(first.pk, second.pk)
        assert Enrichment.objects.filter(lead=first).count() == 2


def test_history_stays_and_is_found_through_the_family(office):
    with office.inside():
        first, second = lead(A_PHONE), lead(B_PHONE)
        LeadActivity.objects.create(lead=second, kind="call")
        VendorCall.objects.create(
            provider="melissa",
            service="x",
            integration=office.integration,
            lead=second,
            fingerprint="0" * 64,
            reserved_cents=1,
            day="2026-11-25",
        )
        one = merge(first.pk, second.pk)

        activity = LeadActivity.objects.filter(lead__in=family_of(first.pk))
        assert activity.count() == 1
        kinds = LeadEvent.objects.filter(merge=one.pk).values_list("lead_id", "kind")
        assert set(kinds) == {(first.pk, "merged_in"), (second.pk, "merged")}


def test_reviews_follow_their_lead_and_come_back(office):
    with office.inside():
        a, b, c, d = (lead() for _ in range(4))
        own = propose(a.pk, b.pk, score=90, reasons=[], source="finder")
        third = propose(b.pk, c.pk, score=70, reasons=[], source="finder")
        settled = propose(d.pk, b.pk, score=70, reasons=[], source="finder")
        settle(MergeReview.objects.get(pk=settled), status="not_duplicate", actor_id=None)
        before = set(MergeReview.objects.values_list("pk", "left", "right", "status"))
        one = merge(a.pk, b.pk)

        statuses = dict(MergeReview.objects.values_list("pk", "status"))
        moved = MergeReview.objects.get(pk=third)
        assert statuses[own] == "merged"
        assert {moved.left_id, moved.right_id} == {a.pk, c.pk}
        assert propose(a.pk, d.pk, score=99, reasons=[], source="finder") is None

        unmerge(one.pk, actor_id=None)
        after = set(MergeReview.objects.values_list("pk", "left", "right", "status"))
        assert before <= after
        assert {status for *_, status in after - before} == {"dropped"}
        assert propose(a.pk, d.pk, score=99, reasons=[], source="finder")


def test_leads_of_another_tenant_do_not_merge(office, other_office):
    foreign = other_office.lead(B_PHONE)
    with office.inside():
        first = lead(A_PHONE)
        with pytest.raises(Lead.DoesNotExist):
            merge(first.pk, foreign.pk)


def test_labels_of_both_are_the_survivors(office):
    with office.inside():
        first, second = lead(), lead()
        put_label(first.pk, key="x", source="manual")
        put_label(second.pk, key="x", source="manual")
        put_label(second.pk, key="y", source="manual")
        merge(first.pk, second.pk)

        labels = LeadLabel.objects.filter(lead=first).values_list("label__key", flat=True)
        assert set(labels) == {"x", "y"}


def test_time_passes_between_merge_and_unmerge(office):
    with office.inside():
        first, second = lead(A_PHONE), lead(B_PHONE)
        Lead.objects.filter(pk=first.pk).update(attempt_count=2)
        Lead.objects.filter(pk=second.pk).update(
            attempt_count=3, first_seen_at=datetime(2026, 1, 1, tzinfo=UTC)
        )
        one = merge(first.pk, second.pk)
        assert Lead.objects.get(pk=first.pk).attempt_count == 5
        Lead.objects.filter(pk=first.pk).update(attempt_count=6)
        back = unmerge(one.pk, actor_id=None)

        counts = dict(Lead.objects.values_list("pk", "attempt_count"))
        assert counts == {first.pk: 3, second.pk: 3}
        assert back.kept == {}
        assert one.at + timedelta(0) <= back.merge.undone_at
