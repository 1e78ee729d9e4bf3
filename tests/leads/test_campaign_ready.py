"""The views of scores: who may be taken by a campaign, and how leads are spread over bands."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from leads.actions import Choice, create_lead, move_lead, owner, record_choice
from leads.models import Consent, ContactPoint, Lead, LeadScore, Worker
from leads.scoring import score_leads
from messaging.actions.erasure import erase_address
from tenants.context import tenant_context
from tests.leads.test_scoring import WHOLE, point, proved
from tests.raw import rows

pytestmark = pytest.mark.django_db
NUMBER = "+12025550111"
COLUMNS = (
    "tenant_id id first_name last_name property_city property_state quality_score number phones"
    " emails assigned_persona microsite_url first_seen_at"
)


@pytest.fixture
def inside(office):
    with office.inside():
        yield office


def good_lead(number: str = NUMBER, *, email: str = "", **fields) -> Lead:
    """A lead in the band contactable: e-mail 40 and phone 30."""
    made = create_lead(**fields)
    proved(point(made, "email", value=email or f"x{made.pk[-6:].lower()}@example.com"))
    if number:
        proved(point(made, "phone", value=number, line_type="mobile", is_primary=True))
    else:
        Lead.objects.filter(pk=made.pk).update(**_unique(made))
    score_leads([made.pk])
    assert LeadScore.objects.get(lead=made).band == "contactable"
    return made


def _unique(lead: Lead) -> dict:
    return WHOLE | {"mak": lead.pk[-12:], "apn": lead.pk[-12:]}


def ready() -> list[tuple]:
    return rows("SELECT id, number FROM vw_campaign_ready_leads")


def opt_out(address: str, kind: str = "opt_out", **fields) -> None:
    record_choice(Choice(address=address, kind=kind, **fields))


def test_the_view_has_the_columns_it_promises(inside):
    worker = Worker.objects.first()
    lead = good_lead(first_name="Ada", city="Reno", region="NV", assigned_persona=worker)
    found = rows(f"SELECT {COLUMNS.replace(' ', ', ')} FROM vw_campaign_ready_leads")

    (row,) = [dict(zip(COLUMNS.split(), values, strict=True)) for values in found]
    assert row["first_name"] == "Ada"
    assert (row["property_city"], row["property_state"]) == ("Reno", "NV")
    assert (row["quality_score"], row["number"]) == (70, NUMBER)
    assert row["assigned_persona"] == worker.name
    assert row["first_seen_at"] == Lead.objects.get(pk=lead.pk).created_at
    assert '"verified": true' in str(row["phones"])
    assert '"type": "mobile"' in str(row["phones"])


@pytest.mark.parametrize("missing", ["email", "phone"])
def test_held_and_low_leads_never_appear(inside, missing):
    lead = create_lead(owner_occupied=True)
    for kind in {"email", "phone"} - {missing}:
        proved(point(lead, kind, line_type="mobile" if kind == "phone" else "unknown"))
    score_leads([lead.pk])

    assert LeadScore.objects.get(lead=lead).score in (40, 50)
    assert ready() == []


@pytest.mark.parametrize("kind", ["opt_out", "hold"])
def test_whoever_opted_out_or_is_held_never_appears(inside, kind):
    good_lead()
    assert len(ready()) == 1
    opt_out(NUMBER, kind)

    assert ready() == []


def test_an_opt_out_by_another_number_of_theirs_counts(inside):
    lead = good_lead()
    point(lead, "phone", value="+12025550177")
    opt_out("+12025550177")

    assert ready() == []


@pytest.mark.parametrize(("days", "appear"), [(None, 0), (1, 0), (-1, 1)])
def test_a_suppression_list_counts_until_it_ends(inside, days, appear):
    good_lead()
    ends = None if days is None else timezone.now() + timedelta(days=days)
    choice = Choice(address=NUMBER, kind="opt_out", scope="list:sup_1").as_json()
    rows(
        "SELECT consent_apply(%s, %s::jsonb)",
        owner(),
        json.dumps(choice | {"expires_at": ends.isoformat() if ends else None}),
    )

    assert len(ready()) == appear


def test_an_opt_out_of_mail_or_of_one_campaign_does_not_stop_texts(inside):
    good_lead(email="ada@example.com")
    opt_out("ada@example.com", channel="email")
    opt_out(NUMBER, scope="campaign:x")

    assert [number for _, number in ready()] == [NUMBER]


def test_an_erased_number_that_somebody_brings_again_stays_out(inside):
    good_lead()
    opt_out(NUMBER)
    erase_address(NUMBER, reason="asked for it", actor_id=inside.agent.pk)
    assert not Consent.objects.filter(address=NUMBER).exists()

    good_lead()
    good_lead("+12025550188")

    assert [number for _, number in ready()] == ["+12025550188"]


def test_a_suppressed_lead_never_appears(inside):
    lead = good_lead()
    move_lead(lead.pk, to="suppressed")

    assert ready() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"added_to_campaign_at": timezone.now()},
        {"superseded_at": timezone.now()},
        {"paused_until": timezone.now() + timedelta(days=1)},
    ],
    ids=["in a campaign", "merged", "paused"],
)
def test_leads_that_are_taken_merged_or_paused_do_not_appear(inside, fields):
    lead = good_lead()
    Lead.objects.filter(pk=lead.pk).update(**fields)

    assert ready() == []


def test_a_pause_that_is_over_does_not_count(inside):
    lead = good_lead()
    Lead.objects.filter(pk=lead.pk).update(paused_until=timezone.now() - timedelta(days=1))

    assert len(ready()) == 1


def test_a_household_is_texted_once_the_best_lead_stands_for_it(inside):
    good_lead()
    best = good_lead(owner_occupied=True)
    good_lead()
    alone = good_lead("+12025550199")

    assert {number for _, number in ready()} == {NUMBER, "+12025550199"}
    assert len(ready()) == 2
    names = {row[0] for row in rows("SELECT ulid_text('lead', id) FROM vw_campaign_ready_leads")}
    assert names == {best.pk, alone.pk}


@pytest.mark.parametrize(
    "bad", [{"dnc": True}, {"litigator": True}, {"tcpa": True}, {"line_type": "landline"}]
)
def test_a_number_that_must_not_be_texted_is_never_the_one_used(inside, bad):
    lead = good_lead()
    point(lead, "phone", value="+12025550100", **bad)
    other = good_lead("")
    point(other, "phone", value="+12025550101", **bad)

    assert sorted(number or "" for _, number in ready()) == ["", NUMBER]


def test_without_a_number_a_verified_mail_is_enough_and_its_opt_out_counts(inside):
    good_lead("", email="ada@example.com")
    assert [number for _, number in ready()] == [None]
    opt_out("ada@example.com", channel="email")

    assert ready() == []


def test_the_best_come_first(inside):
    good_lead("+12025550001")
    good_lead("+12025550002", owner_occupied=True)

    scores = [row[0] for row in rows("SELECT quality_score FROM vw_campaign_ready_leads LIMIT 9")]
    assert scores == [80, 70]


def test_views_show_a_tenant_its_own_leads_only(office, other_office):
    with office.inside():
        good_lead()
    with other_office.inside():
        assert ready() == []
        assert rows("SELECT * FROM vw_lead_quality_summary") == []
    with tenant_context(office.tenant.pk):
        assert len(ready()) == 1


def test_the_summary_counts_bands_by_state_and_source(inside):
    good_lead(source="batchdata")
    low = create_lead(source="batchdata")
    score_leads([low.pk])
    create_lead(source="upload")

    found = rows(
        "SELECT status, source, count, avg_quality_score, contactable_count, enriched_count,"
        " low_quality_count FROM vw_lead_quality_summary ORDER BY source"
    )

    assert [(*row[:3], row[3] and float(row[3]), *row[4:]) for row in found] == [
        ("new", "batchdata", 2, 35.0, 1, 0, 1),
        ("new", "upload", 1, None, 0, 0, 0),
    ]


def test_wrong_numbers_are_not_used(inside):
    lead = good_lead()
    ContactPoint.objects.filter(lead=lead, kind="phone").update(wrong_number_at=timezone.now())

    assert [number for _, number in ready()] == [None]  # scored before; its mail is still good
