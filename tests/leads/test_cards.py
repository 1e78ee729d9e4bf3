"""Cards, distress, activities and words on leads."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.utils import timezone

from leads import cards
from leads.actions import create_lead
from leads.activities import WordRefused, put_word, record_activity, take_word
from leads.cards import Component, score_card, total_of
from leads.distress import Facts, facts_of, record_distress, signs_of
from leads.models import (
    Business,
    Contact,
    Lead,
    LeadActivity,
    LeadCard,
    LeadLabel,
    Ownership,
    Property,
    PropertyDistressScore,
)
from leads.scoring import score_leads
from tests.leads.test_scoring import point, proved
from tests.raw import at_once, refused, rows

pytestmark = pytest.mark.django_db
TODAY = date(2026, 11, 25)


@pytest.fixture
def inside(office):
    with office.inside():
        yield office


# --- cards ------------------------------------------------------------------------------------


def test_the_weights_are_a_whole():
    assert sum(cards.WEIGHTS.values()) == 100
    whole = {name: Component(points=100, why="") for name in cards.WEIGHTS}
    assert total_of(whole) == 100
    assert total_of({name: Component(points=None, why="") for name in cards.WEIGHTS}) == 0


def test_a_card_says_what_it_counted(inside):
    lead = create_lead(owner_occupied=True)
    contact = Contact.objects.create(lead=lead, full_name="Ada Owner")
    proved(point(lead, "phone", line_type="mobile"))
    proved(point(lead, "email"))
    home = Property.objects.create(
        lead=lead, source="x", value=300_000, equity=5, owner_occupied=True
    )
    firm = Business.objects.create(lead=lead, name="Ada Ltd", employee_count=3)
    Ownership.objects.create(contact=contact, business=firm, role="ceo", is_decision_maker=True)
    score_leads([lead.pk])

    card = score_card(contact.pk)

    found = (
        card.data_quality, card.reachability, card.role_score, card.property_score,
        card.business_score,
    )  # fmt: skip
    assert found == (80, 100, 100, 100, 60)
    assert card.total_score == 20 + 25 + 20 + 15 + 9
    assert (card.property, card.business, card.lead) == (home, firm, lead)
    total = sum(part["weight"] * part["points"] for part in card.breakdown.values())
    assert round(total / 100) == card.total_score
    assert card.breakdown["role_score"]["why"] == "CEO, decides"


def test_of_an_unknown_person_only_the_role_counts_a_little(inside):
    contact = Contact.objects.create(lead=create_lead(), full_name="Nobody")

    card = score_card(contact.pk)

    assert card.total_score == 2
    assert (card.data_quality, card.reachability, card.property_score) == (None, None, None)


def test_a_contact_has_one_card_however_often_it_is_scored(inside):
    contact = Contact.objects.create(lead=create_lead(), full_name="Ada")
    first, again = score_card(contact.pk), score_card(contact.pk)

    assert first.pk == again.pk
    assert LeadCard.objects.count() == 1


def test_barred_phones_reach_nobody(inside):
    lead = create_lead()
    contact = Contact.objects.create(lead=lead, full_name="Ada")
    proved(point(lead, "phone", line_type="mobile", litigator=True))

    assert score_card(contact.pk).reachability == 0


def test_phones_of_another_person_do_not_count(inside):
    lead = create_lead()
    ada = Contact.objects.create(lead=lead, full_name="Ada")
    bob = Contact.objects.create(lead=lead, full_name="Bob", position=2)
    proved(point(lead, "phone", line_type="mobile", contact=bob))

    assert score_card(ada.pk).reachability is None
    assert score_card(bob.pk).reachability == 70


def test_ended_roles_and_replaced_properties_do_not_count(inside):
    lead = create_lead()
    contact = Contact.objects.create(lead=lead, full_name="Ada")
    gone = Property.objects.create(source="x", external_id="1", superseded_at=timezone.now())
    Ownership.objects.create(contact=contact, property=gone, role="owner")
    firm = Business.objects.create(name="Old Ltd")
    Ownership.objects.create(contact=contact, business=firm, role="ceo", ended_at=timezone.now())

    card = score_card(contact.pk)

    assert (card.property, card.business) == (None, None)
    assert card.role_score == 100


@pytest.mark.parametrize("role", cards.ROLE_POINTS)
def test_every_role_of_the_model_has_points(inside, role):
    assert role in Ownership.ROLES
    assert set(cards.ROLE_POINTS) == set(Ownership.ROLES)


# --- distress ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "signs"),
    [
        ({}, []),
        ({"preforeclosure": True, "reverse_loan": True, "vacant": True},
         ["preforeclosure", "reverse_loan", "vacant"]),
        ({"vacant": False}, []),
        ({"value": 100, "equity": 81}, ["high_equity"]),
        ({"value": 100, "equity": 80}, []),
        ({"value": 100, "equity": 31}, []),
        ({"value": 100, "equity": 30}, ["low_equity"]),
        ({"value": 100, "equity": 0}, ["low_equity"]),
        ({"value": 100, "equity": -1}, ["negative_equity"]),
        ({"equity": -1}, ["negative_equity"]),
        ({"equity": 10}, []),
        ({"value": 0, "equity": 10}, []),
        ({"loan_ends_on": TODAY}, ["loan_ends"]),
        ({"loan_ends_on": TODAY + timedelta(days=365)}, ["loan_ends"]),
        ({"loan_ends_on": TODAY + timedelta(days=366)}, []),
        ({"loan_ends_on": TODAY - timedelta(days=1)}, []),
        ({"loan_ends_on": date(1990, 1, 1)}, []),
    ],
)  # fmt: skip
def test_signs_are_counted_as_said(facts, signs):
    assert signs_of(Facts(**facts), today=TODAY) == signs


def test_one_score_per_provider_and_id_the_newest_stands(inside):
    home = Property.objects.create(source="x", flags={"vacant": True}, value=10, equity=9)
    made = record_distress(home.pk, provider="batchdata", external_id="7", today=TODAY)
    again = record_distress(
        home.pk, provider="batchdata", external_id="7", today=TODAY, facts=Facts(vacant=True)
    )

    assert (made.pk, made.score) == (again.pk, 20)
    assert (again.score, again.signs) == (10, ["vacant"])
    assert PropertyDistressScore.objects.count() == 1


@pytest.mark.parametrize(
    "flags", [[], "x", {"vacant": "yes"}, {"loan_ends_on": "soon"}, {"loan_ends_on": 3}]
)
def test_odd_flags_are_no_sign(inside, flags):
    home = Property.objects.create(source="x", flags=flags)

    assert signs_of(facts_of(home), today=TODAY) == []


# --- activities -------------------------------------------------------------------------------


def test_an_activity_told_twice_is_one(inside):
    lead, other = create_lead(), create_lead()
    first, is_new = record_activity(lead.pk, kind="call", external_id="ghl:1", subject="Hello")
    again, is_new_again = record_activity(other.pk, kind="note", external_id="ghl:1")

    assert (is_new, is_new_again) == (True, False)
    assert (first.pk, again.subject, again.lead) == (again.pk, "Hello", lead)
    assert refused("DELETE FROM lead_activities") == "42501"


def test_activities_without_an_id_elsewhere_are_each_their_own(inside):
    lead = create_lead()
    record_activity(lead.pk, kind="note")
    record_activity(lead.pk, kind="note")

    assert LeadActivity.objects.count() == 2


def test_an_activity_hangs_from_the_best_card(inside):
    lead = create_lead()
    card = score_card(Contact.objects.create(lead=lead, full_name="Ada").pk)

    assert record_activity(lead.pk, kind="note")[0].card == card


def test_an_activity_of_a_lead_of_strangers_is_refused(office, other_office):
    lead = office.lead()
    with other_office.inside(), pytest.raises(Lead.DoesNotExist):
        record_activity(lead.pk, kind="note")


@pytest.mark.django_db(transaction=True)
def test_sixteen_who_tell_the_same_write_one(committed_office):
    office = committed_office
    lead = office.lead()

    def job():
        with office.inside():
            return record_activity(lead.pk, kind="call", external_id="ghl:1")[1]

    results = at_once([job] * 16)

    assert sorted(map(str, results)) == ["False"] * 15 + ["True"]


# --- words ------------------------------------------------------------------------------------


def test_flags_stand_on_the_lead_and_go_with_it(inside):
    lead = create_lead()
    assert put_word(lead.pk, kind="flag", key="Do not  mail", source="manual", actor_id=None)
    assert not put_word(lead.pk, kind="flag", key="do not mail", source="manual", actor_id=None)
    put_word(lead.pk, kind="flag", key="bankrupt", source="manual", actor_id=None)
    put_word(lead.pk, kind="tag", key="spring", source="manual", actor_id=None)
    lead.refresh_from_db()
    assert lead.flags == ["bankrupt", "do not mail"]

    assert take_word(lead.pk, kind="flag", key="Bankrupt", actor_id=None)
    assert not take_word(lead.pk, kind="flag", key="bankrupt", actor_id=None)
    lead.refresh_from_db()
    assert lead.flags == ["do not mail"]
    assert LeadLabel.objects.filter(lead=lead).count() == 2


def test_flags_follow_their_rows_to_another_lead(inside):
    lead, survivor = create_lead(), create_lead()
    put_word(lead.pk, kind="flag", key="a", source="x", actor_id=None)

    LeadLabel.objects.filter(lead=lead).update(lead=survivor)

    lead.refresh_from_db()
    survivor.refresh_from_db()
    assert (lead.flags, survivor.flags) == ([], ["a"])


@pytest.mark.parametrize(
    ("kind", "key"), [("flag", " "), ("flag", "x" * 41), ("flag", "a\0b"), ("mood", "x")]
)
def test_words_that_are_none_are_refused(inside, kind, key):
    with pytest.raises(WordRefused):
        put_word(create_lead().pk, kind=kind, key=key, source="x", actor_id=None)


def test_whoever_puts_a_word_is_written_down(inside):
    lead = create_lead()
    put_word(lead.pk, kind="tag", key="spring", source="manual", actor_id=inside.agent.pk)
    take_word(lead.pk, kind="tag", key="spring", actor_id=inside.agent.pk)

    found = rows("SELECT action FROM audit_log WHERE action LIKE 'lead.tag%%' ORDER BY id")
    assert found == [("lead.tag_put",), ("lead.tag_taken",)]
