"""Pairs are found by what two leads share, weighed by what they do not, and asked about once."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from leads import duplicates
from leads.actions import add_contact_point, create_lead
from leads.duplicates import CHUNK, LEAST, Thresholds, ThresholdsRefused
from leads.households import sharing
from leads.likeness import HOUSEHOLD_WORDS, Person, compare, fold
from leads.merging import MergeRefused
from leads.models import ContactPoint, Lead, Merge, MergeReview
from leads.nicknames import may_be_one
from leads.pairs import propose
from leads.reviews import DecisionRefused, decide, waiting
from leads.tasks import look_for_duplicates
from leads.unmerging import unmerge
from messaging.actions.sending import SendRefused, open_thread, start_conversation
from messaging.models import Message, OutboundMessage
from messaging.sender import claim, send
from pipelines.models import PipelineRun
from tenants.models import AuditEntry, Tenant
from tenants.ulids import to_uuid

pytestmark = pytest.mark.django_db

PHONE, OTHER = "+12025550142", "+12025550143"


def person(**values):
    for name in ("phones", "emails"):
        values[name] = frozenset(values.get(name, ()))
    return Person(**values)


BOB = {"first_name": "Bob", "last_name": "Smith"}
ROBERT = {"first_name": "Robert", "last_name": "Smith"}
HOME = {"address_line1": "12 Main St", "postal_code": "27601"}
AWAY = {"address_line1": "99 Elm Ave", "postal_code": "27601"}


# --- likeness ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "least", "most"),
    [
        # all, or nearly all, in common
        ({**BOB, **HOME, "phones": [PHONE], "emails": ["b@x.com"]},) * 2 + (100, 100),
        ({**BOB, "phones": [PHONE], "emails": ["b@x.com"]},) * 2 + (85, 100),
        ({**BOB, "phones": [PHONE]}, {**ROBERT, "phones": [PHONE]}, 65, 84),
        ({**BOB, "emails": ["b@x.com"]}, {**BOB, "emails": ["b@x.com"]}, 65, 84),
        ({**BOB, **HOME}, {**ROBERT, **HOME}, 60, 84),
        # what disagrees counts against
        ({**BOB, **HOME, "phones": [PHONE]}, {**BOB, **AWAY, "phones": [PHONE]}, 40, 64),
        # one thing is not enough, and a name is nothing
        ({"phones": [PHONE]}, {"phones": [PHONE]}, LEAST, 50),
        ({**BOB, "phones": [PHONE]}, {"first_name": "Jo", "last_name": "Ray", "phones": [PHONE]},
         LEAST, 50),
        ({**BOB}, {**BOB}, 0, 0),
        ({**BOB, "phones": [PHONE], "emails": ["b@x.com"]},
         {**BOB, "phones": [OTHER], "emails": ["c@x.com"]}, 0, 0),
        ({}, {}, 0, 0),
    ],
)  # fmt: skip
def test_a_score_says_how_sure_it_is(one, other, least, most):
    here, there = person(**one), person(**other)

    assert least <= compare(here, there).score <= most
    assert compare(here, there).score == compare(there, here).score


people = st.builds(
    person,
    first_name=st.sampled_from(["", "Bob", "Robert", "Jane"]),
    last_name=st.sampled_from(["", "Smith", "Smyth", "Ray"]),
    company=st.sampled_from(["", "Acme"]),
    address_line1=st.sampled_from(["", "12 Main St", "12 Main Street", "9 Elm"]),
    postal_code=st.sampled_from(["", "27601"]),
    phones=st.sets(st.sampled_from([PHONE, OTHER])),
    emails=st.sets(st.sampled_from(["a.b@gmail.com", "ab+x@gmail.com", "z@x.com"])),
)


@settings(max_examples=300, deadline=None)
@given(people, people)
def test_likeness_is_fair_bounded_and_never_of_a_name_alone(one, other):
    here, there = compare(one, other), compare(other, one)
    agree = {reason["field"] for reason in here.reasons if reason["agrees"]}

    assert here.score == there.score
    assert 0 <= here.score <= 100
    assert (here.score == 0) == (agree <= {"name"})
    assert len(agree) > 1 or here.score < Thresholds().review


@settings(max_examples=300, deadline=None)
@given(people, people)
def test_conflicting_evidence_never_raises_a_score(one, other):
    if not (one.emails and other.emails) or frozenset(map(fold, one.emails)) & frozenset(
        map(fold, other.emails)
    ):
        return
    blank = Person(**{n: getattr(one, n) for n in Person.__slots__} | {"emails": frozenset()})

    assert compare(one, other).score <= compare(blank, other).score


def test_a_household_phone_is_called_so():
    found = compare(person(**BOB, phones=[PHONE]), person(first_name="Jane", phones=[PHONE]))

    assert HOUSEHOLD_WORDS in found.reasons[0]["text"]


def test_nicknames_and_gmail():
    assert may_be_one("bob", "robert")
    assert may_be_one("ted", "edward")
    assert not may_be_one("bob", "john")
    assert fold("j.o.e+list@googlemail.com") == fold("joe@gmail.com") == "joe@gmail.com"
    assert fold("j.o.e@x.com") == "j.o.e@x.com"


# --- finding ----------------------------------------------------------------------------------


def run_whole(office, *, whole=True):
    with office.inside():
        duplicates.begin(whole=whole)
    state = "more"
    while state == "more":
        state = look_for_duplicates(office.tenant.pk)
    assert state == "done"


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ({"phone": PHONE}, {"phone": PHONE}, True),
        ({"email": "a.b@gmail.com", **BOB}, {"email": "ab+x@gmail.com", **ROBERT}, True),
        ({"email": "a.b@x.com", **BOB}, {"email": "ab@x.com", **ROBERT}, False),
        ({**BOB, **HOME, "unit": "1"}, {**ROBERT, **HOME, "unit": "1"}, True),
        ({**BOB, **HOME, "unit": "1"}, {**BOB, **HOME, "unit": "2"}, False),
        ({**BOB, **HOME}, {**BOB, **HOME, "address_line1": "12 Maine St"}, True),
        ({"company": "Acme", **HOME}, {"company": "ACME", **HOME, "address_line1": "12 Mein St"},
         True),
        ({**BOB, "postal_code": "27601"}, {**BOB, "postal_code": "27601"}, False),
        ({**BOB, **HOME}, {**BOB, **AWAY}, False),
    ],
)  # fmt: skip
@pytest.mark.django_db(transaction=True)
def test_blocks_find_what_is_alike(committed_office, one, other, found):
    office = committed_office
    with office.inside():
        pair = {create_lead(**one).pk, create_lead(**other).pk}
        MergeReview.objects.all().update(status="dropped", decided_at="2026-01-01T00:00:00Z")
    run_whole(office)

    with office.inside():
        reviews = MergeReview.objects.filter(status="open")
        assert [{r.left_id, r.right_id} for r in reviews] == ([pair] if found else [])


@pytest.fixture
def twins(committed_office):
    office = committed_office
    with office.inside():
        pair = [
            create_lead(phone=PHONE, email="bob@x.com", full_name=name).pk
            for name in ("Bob Smith", "Robert Smith")
        ]
    return office, pair


@pytest.mark.django_db(transaction=True)
def test_not_a_duplicate_is_remembered_for_ever(twins):
    office, pair = twins
    run_whole(office)
    with office.inside():
        review = MergeReview.objects.get()
        decide(review.pk, "not_duplicate", actor_id=office.agent.pk)
        Lead.objects.filter(pk=pair[0]).update(full_name="Robert Smith")  # an import says more
    run_whole(office)
    with office.inside():
        assert propose(*pair, score=99, reasons=[], source="import") is None
        assert [r.status for r in MergeReview.objects.all()] == ["not_duplicate"]
        with pytest.raises(DecisionRefused, match="decided already"):
            decide(review.pk, "merge", actor_id=office.agent.pk)
        with pytest.raises(IntegrityError), transaction.atomic():
            MergeReview.objects.create(
                left_id=pair[0], right_id=pair[1], score=1, source="finder",
                status="not_duplicate", decided_at="2026-01-01T00:00:00Z",
            )  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_a_second_look_finds_nothing_new_and_brings_scores_up_to_date(twins):
    office, pair = twins
    run_whole(office)
    with office.inside():
        before = MergeReview.objects.get()
        ContactPoint.objects.create(
            lead_id=pair[0], kind="email", raw="", normalized="other@x.com", source="x"
        )
        Lead.objects.filter(pk=pair[1]).update(full_name="Zoe Miller")
    run_whole(office)
    with office.inside():
        after = MergeReview.objects.get()
        assert after.pk == before.pk
        assert after.score < before.score
        assert PipelineRun.objects.latest("pk").stats["found"] == 0


@pytest.mark.django_db(transaction=True)
def test_a_run_of_what_is_new_looks_at_young_leads_and_points_only(twins):
    office, pair = twins
    with office.inside():
        old = create_lead(phone=OTHER, full_name="Ann Lee").pk
    run_whole(office)
    with office.inside():
        assert duplicates._next("2100-01-01", None) == []
        young = duplicates._next("2020-01-01", None)
        assert young == sorted(str(to_uuid(one)) for one in [*pair, old])
        add_contact_point(old, kind="phone", value=PHONE, source="x")
    run_whole(office, whole=False)
    with office.inside():
        assert PipelineRun.objects.latest("pk").stats["since"]


@pytest.mark.django_db(transaction=True)
def test_a_run_goes_on_after_its_process_died(twins, monkeypatch):
    office, _ = twins
    monkeypatch.setattr(duplicates, "CHUNK", 1)
    with office.inside():
        run = duplicates.begin(whole=True)
        assert duplicates.begin(whole=True).pk == run.pk  # one at a time
    monkeypatch.setattr(duplicates, "_merge_some", lambda: 1 / 0)  # dies after the last chunk
    with pytest.raises(ZeroDivisionError):
        look_for_duplicates(office.tenant.pk)
    with office.inside():
        run.refresh_from_db()
        assert (run.status, run.stats["done"], run.stats["found"]) == ("running", 2, 1)
    monkeypatch.undo()
    assert look_for_duplicates(office.tenant.pk) == "done"
    assert look_for_duplicates(office.tenant.pk) == "idle"
    with office.inside():
        run.refresh_from_db()
        assert (run.status, run.stats["done"]) == ("completed", 2)
        assert not duplicates.cancel(run.pk)


@pytest.mark.django_db(transaction=True)
def test_nothing_merges_by_itself_unless_the_tenant_says_so(twins):
    office, pair = twins
    run_whole(office)
    with office.inside():
        assert not Merge.objects.exists()
        duplicates.set_thresholds(
            Thresholds(review=65, automatic=85, merges=True), actor_id=office.agent.pk
        )
    run_whole(office)
    with office.inside():
        one = Merge.objects.get()
        assert (one.survivor_id, one.merged_id, one.actor_id) == (pair[0], pair[1], None)
        assert one.evidence["reasons"]
        assert MergeReview.objects.get().status == "merged"


def test_thresholds_are_checked_and_the_change_written_down(office):
    with office.inside():
        for review, automatic in ((80, 70), (5, 90), (60, 101)):
            with pytest.raises(ThresholdsRefused):
                duplicates.set_thresholds(
                    Thresholds(review=review, automatic=automatic), actor_id=office.agent.pk
                )
        duplicates.set_thresholds(Thresholds(review=70, automatic=90), actor_id=office.agent.pk)

        assert duplicates.thresholds() == Thresholds(review=70, automatic=90)
        assert AuditEntry.objects.get(action="duplicates.thresholds").after["review"] == 70
        for odd in ({"duplicates": 3}, {"duplicates": {"review": "x", "automatic": 10**9}}):
            Tenant.objects.filter(pk=office.tenant.pk).update(settings=odd)
            assert duplicates.thresholds() == Thresholds()


def test_an_office_number_does_not_make_every_pair(office):
    with office.inside():
        ids = [create_lead(phone=PHONE, full_name=f"P{n} Q{n}").pk for n in range(40)]
        duplicates.find_among(ids)

        assert 40 <= MergeReview.objects.count() <= 40 * 20
        assert CHUNK > 40


# --- proposals and decisions ------------------------------------------------------------------


def record(**more):
    return {
        "source": "upload",
        "kind": "import",
        "fields": {"company": "Acme"},
        "points": [{"kind": "email", "value": "new@x.com"}],
        **more,
    }


def a_review(**more):
    pair = [create_lead(phone=PHONE).pk, create_lead(phone=OTHER).pk]
    given = {"score": 70, "reasons": [], "source": "import", **more}
    return MergeReview.objects.get(pk=propose(*pair, **given)), pair


def test_a_pair_is_proposed_once_and_learns(office):
    with office.inside():
        review, pair = a_review()
        again = propose(*reversed(pair), score=80, reasons=[{"field": "x"}], source="pull")
        lower = propose(*pair, score=10, reasons=[], source="crm", incoming=record())
        review.refresh_from_db()

        assert again == lower == review.pk
        assert (review.score, review.reasons) == (80, [{"field": "x"}])
        assert review.incoming["fields"] == {"company": "Acme"}
        assert propose(pair[0], pair[0], score=99, reasons=[], source="x") is None


def test_a_waiting_record_becomes_the_survivors(office):
    with office.inside():
        review, pair = a_review(incoming=record())
        propose(
            *pair, score=70, reasons=[], source="import", incoming=record(fields={"title": "CEO"})
        )
        review.refresh_from_db()
        assert len(list(waiting(review))) == 2
        decide(review.pk, "merge", actor_id=office.agent.pk, survivor_id=pair[1])

        lead = Lead.objects.get(pk=pair[1])
        emails = ContactPoint.objects.filter(kind="email").values_list("lead_id", "normalized")
        review.refresh_from_db()
        assert (lead.company, lead.title) == ("Acme", "CEO")
        assert list(emails) == [(pair[1], "new@x.com")]
        assert (review.status, review.incoming_done_at is None) == ("merged", False)


@pytest.mark.parametrize("whose", ["left", "new"])
def test_of_two_that_stay_two_somebody_says_whose_the_record_is(office, whose):
    with office.inside():
        review, pair = a_review(incoming=record())
        with pytest.raises(DecisionRefused, match="A record waits"):
            decide(review.pk, "not_duplicate", actor_id=office.agent.pk)
        give_to = pair[0] if whose == "left" else "new"
        decide(review.pk, "not_duplicate", actor_id=office.agent.pk, give_to=give_to)

        owner = Lead.objects.get(company="Acme")
        assert (owner.pk == pair[0]) == (whose == "left")
        assert Lead.objects.count() == (2 if whose == "left" else 3)


def test_a_dropped_review_keeps_its_record(office):
    with office.inside():
        review, _ = a_review(incoming=record())
        decide(review.pk, "drop", actor_id=office.agent.pk)
        review.refresh_from_db()

        assert (review.status, review.incoming_done_at) == ("dropped", None)
        assert review.incoming["points"]
        assert not Lead.objects.filter(company="Acme").exists()


@pytest.mark.parametrize(
    ("decision", "survivor", "error"),
    [("perhaps", None, DecisionRefused), ("merge", "third", MergeRefused)],
)
def test_a_decision_that_is_none_changes_nothing(office, decision, survivor, error):
    with office.inside():
        review, _ = a_review()
        third = create_lead().pk
        with pytest.raises(error), transaction.atomic():
            decide(
                review.pk,
                decision,
                actor_id=office.agent.pk,
                survivor_id=third if survivor else None,
            )
        review.refresh_from_db()

        assert review.status == "open"
        assert not Merge.objects.exists()


def test_a_review_of_merged_leads_is_about_their_survivors(office):
    with office.inside():
        review, pair = a_review()
        other = propose(pair[1], create_lead().pk, score=50, reasons=[], source="x")
        decide(review.pk, "merge", actor_id=office.agent.pk)
        made = decide(other, "merge", actor_id=office.agent.pk)

        assert made.survivor_id == pair[0]
        unmerge(made.pk, actor_id=None)


@pytest.mark.django_db
def test_a_text_from_a_number_of_several_leads_asks_whether_they_are_one(office):
    first, second = office.lead(PHONE), office.lead(PHONE)
    office.receive("hello", theirs=PHONE)
    office.receive("again", theirs=PHONE)

    with office.inside():
        review = MergeReview.objects.get()
        assert {review.left_id, review.right_id} == {first.pk, second.pk}
        assert (review.source, review.status) == ("inbound", "open")
        assert review.score < Thresholds().review


# --- households -------------------------------------------------------------------------------


def first_text(office, lead, **more):
    point = ContactPoint.objects.get(lead=lead, normalized=PHONE)
    return start_conversation(
        lead.pk,
        contact_point_id=point.pk,
        phone_number_id=office.number.pk,
        body="Hi",
        actor_id=office.agent.pk,
        send_key=f"key-{lead.pk}",
        **more,
    )


def household(office):
    return [office.lead(PHONE, full_name=name) for name in ("Jane Ray", "Bob Ray", "Sue Ray")]


def test_three_people_with_one_number_get_one_first_text(office):
    jane, bob, sue = household(office)
    with office.inside():
        first_text(office, jane)
        for other in (bob, sue):
            with pytest.raises(SendRefused, match="Somebody else with this number"):
                first_text(office, other)

        assert OutboundMessage.objects.count() == 1
        assert [one.full_name for one in sharing([PHONE], but=bob.pk)[PHONE]] == [
            "Jane Ray",
            "Sue Ray",
        ]


def test_a_person_may_text_a_household_again_and_it_is_written_down(office):
    jane, bob, _ = household(office)
    with office.inside():
        first_text(office, jane)
        sent = first_text(office, bob, overridden=("household",))

        sent.refresh_from_db()
        assert sent.verdict["overridden"] == ["household"]
        entry = AuditEntry.objects.get(action="text.overridden")
        assert (entry.actor_id, entry.after["lead"]) == (office.agent.pk, bob.pk)


def test_the_same_lead_again_and_after_a_day_are_no_household(office):
    jane, bob, _ = household(office)
    with office.inside(), connection.cursor() as cursor:
        first_text(office, jane)
        cursor.execute(
            "UPDATE outbound_messages SET state = 'cancelled', claimed_at = now() - interval '25 h'"
        )
        first_text(office, bob)

        assert OutboundMessage.objects.count() == 2


def test_merged_leads_are_no_household(office):
    jane, bob, _ = household(office)
    with office.inside():
        first_text(office, jane)
        decide(
            propose(jane.pk, bob.pk, score=90, reasons=[], source="finder"),
            "merge",
            actor_id=office.agent.pk,
            survivor_id=bob.pk,
        )
        point = ContactPoint.objects.get(lead=bob)
        conversation = open_thread(
            bob.pk, contact_point_id=point.pk, phone_number_id=office.number.pk
        )

        assert conversation.lead_id == bob.pk
        assert {m.lead_id for m in Message.objects.all()} == {bob.pk}
        first_text(office, bob)


@pytest.mark.django_db(transaction=True)
def test_two_that_were_queued_side_by_side_are_one_text_at_the_carrier(committed_office):
    """The gate before the call asks again: the older text goes, the younger one does not."""
    office = committed_office
    jane, bob, _ = household(office)
    with office.inside():
        Tenant.objects.filter(pk=office.tenant.pk).update(legal_start=0, legal_end=24)
        first = first_text(office, jane)
        second = first_text(office, bob, overridden=("household",))
        OutboundMessage.objects.filter(pk=second.pk).update(verdict={}, due_at="2026-01-01T00:00Z")
        OutboundMessage.objects.filter(pk=first.pk).update(due_at="2100-01-01T00:00Z")
    for one in claim(office.tenant.pk, most=5):
        send(one)
    with office.inside():
        second.refresh_from_db()
        assert second.state in ("suppressed", "cancelled")
        assert "Somebody else with this number" in second.error


def test_one_lead_per_number(office):
    jane, bob, sue = household(office)
    with office.inside(), connection.cursor() as cursor:
        Lead.objects.filter(pk=bob.pk).update(last_attempt_at="2026-01-01T00:00Z")
        cursor.execute(
            "SELECT number, lead_id, leads FROM lead_per_number(%s)",
            [str(to_uuid(office.tenant.pk))],
        )
        assert cursor.fetchall() == [(PHONE, to_uuid(bob.pk), 3)]
        assert {jane.pk, sue.pk}
