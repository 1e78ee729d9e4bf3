"""Scores: what each part knows, versions of the rule, previews, scoring all anew."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from datetime import timedelta

import pytest
from django.utils import timezone

from leads import scoring
from leads.actions import create_lead
from leads.models import (
    Consent,
    ContactPoint,
    Lead,
    LeadScore,
    QualityScore,
    ScoreRule,
    Verification,
)
from leads.models.score import PARTS
from leads.scoring import Draft, RuleRefused, score_leads
from leads.tasks import begin_rescores, rescore
from pipelines.models import PipelineRun
from tenants.context import tenant_context
from tenants.models import Tenant
from tenants.ulids import to_uuid
from tests.raw import at_once, refused, rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def inside(office):
    with office.inside():
        yield office


def proved(point: ContactPoint, verdict: str = "verified", **fields) -> ContactPoint:
    """Record what a check said of *point*, as a vendor's answer does."""
    ends = fields.pop("ends", None)
    record = Verification.objects.create(
        point=point, provider="instantly", code="x", verdict=verdict, expires_at=ends
    )
    if verdict == "verified":
        fields |= {"verified_at": timezone.now(), "verified_by": "instantly"}
        fields["verification_id"] = record.pk
    ContactPoint.objects.filter(pk=point.pk).update(**fields)
    return point


def point(lead: Lead, kind: str, **fields) -> ContactPoint:
    value = "ada@example.com" if kind == "email" else "+12025550111"
    value = fields.pop("value", value)
    return ContactPoint.objects.create(lead=lead, kind=kind, normalized=value, raw=value, **fields)


def scored(lead: Lead) -> LeadScore:
    score_leads([lead.pk])
    return LeadScore.objects.get(lead=lead)


def parts(lead: Lead) -> dict[str, int | None]:
    row = scored(lead)
    return {part: getattr(row, part) for part in PARTS if getattr(row, part) is not None}


WHOLE = {
    "mak": "1", "apn": "1", "county_fips": "06037", "owner_occupied": True, "age": 62,
    "property_value": 100_000, "estimated_equity": 1,
}  # fmt: skip


# --- parts ------------------------------------------------------------------------------------


def test_a_lead_of_whom_all_is_proved_has_a_hundred_points(inside):
    lead = create_lead(**WHOLE)
    proved(point(lead, "email"))
    proved(point(lead, "phone", line_type="mobile"))

    row = scored(lead)

    assert (row.score, row.band, row.rule_version) == (100, "contactable", 1)
    assert scoring.compute_quality_score(lead.pk) == 100


def test_of_an_unknown_person_nothing_is_known(inside):
    assert parts(create_lead(phone="+12025550122", email="a@b.example")) == {}


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [("verified", {"email": 40}), ("invalid", {"email": 0}), ("catch_all", {}), ("unknown", {})],
)
def test_an_email_earns_by_verification_only(inside, verdict, expected):
    lead = create_lead()
    proved(point(lead, "email"), verdict)

    assert parts(lead) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"line_type": "mobile"}, 30),
        ({"line_type": "voip"}, 30),
        ({"line_type": "landline"}, 0),
        ({"line_type": "unknown"}, 0),
        ({"line_type": "mobile", "dnc": True}, 0),
        ({"line_type": "mobile", "dnc": False}, 30),
        ({"line_type": "mobile", "litigator": True}, 0),
        ({"line_type": "mobile", "tcpa": True}, 0),
    ],
)
def test_a_phone_earns_as_a_clean_mobile_or_voip(inside, fields, expected):
    lead = create_lead()
    proved(point(lead, "phone", **fields))

    assert parts(lead) == {"phone": expected}


def test_a_wrong_number_earns_nothing(inside):
    lead = create_lead()
    proved(point(lead, "phone", line_type="mobile"), wrong_number_at=timezone.now())

    assert parts(lead) == {"phone": 0}


def test_one_good_point_is_enough(inside):
    lead = create_lead()
    proved(point(lead, "phone", line_type="landline"))
    proved(point(lead, "phone", line_type="mobile", value="+12025550112"))
    proved(point(lead, "email"), "invalid")

    assert parts(lead) == {"phone": 30, "email": 0}


@pytest.mark.parametrize("where", ["record", "point", "refusal"])
def test_what_is_too_old_is_unknown(inside, where):
    lead, past = create_lead(), timezone.now() - timedelta(seconds=1)
    match where:
        case "record":
            proved(point(lead, "email"), ends=past)
        case "point":
            proved(point(lead, "email"), expires_at=past)
        case "refusal":
            proved(point(lead, "email"), "invalid", ends=past)

    assert parts(lead) == {}


def test_an_expired_verification_is_lost_by_the_next_scoring(inside):
    lead = create_lead()
    email = proved(point(lead, "email"))
    assert scored(lead).score == 40

    ContactPoint.objects.filter(pk=email.pk).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )

    assert (scored(lead).score, scored(lead).email) == (0, None)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"mak": "1", "apn": "1", "county_fips": "06037"}, 10),
        ({"mak": "1", "apn": "1"}, 0),
        ({"mak": "1"}, 0),
        ({"apn": "1"}, 0),
        ({"county_fips": "06037"}, None),
    ],
)
def test_the_parcel_needs_address_key_and_parcel_with_county(inside, fields, expected):
    assert scored(create_lead(**fields)).parcel == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"age": 62, "property_value": 100_000, "estimated_equity": 1}, 10),
        ({"age": 61, "property_value": 100_000, "estimated_equity": 1}, 0),
        ({"age": 62, "property_value": 99_999, "estimated_equity": 1}, 0),
        ({"age": 62, "property_value": 100_000, "estimated_equity": 0}, 0),
        ({"age": 62, "property_value": 100_000, "estimated_equity": -5}, 0),
        ({"age": 62, "property_value": 100_000}, None),
        ({"property_value": 100_000, "estimated_equity": 1}, None),
        ({"age": 61}, 0),  # whatever the rest is
        ({}, None),
    ],
)
def test_demographics_are_unknown_only_while_they_may_hold(inside, fields, expected):
    assert scored(create_lead(**fields)).demographics == expected


@pytest.mark.parametrize(("occupied", "expected"), [(True, 10), (False, 0), (None, None)])
def test_occupied_is_as_said(inside, occupied, expected):
    assert scored(create_lead(owner_occupied=occupied)).occupied == expected


@pytest.mark.parametrize(
    ("proofs", "fields", "score", "band"),
    [
        (["email"], {"owner_occupied": True, "mak": "1", "apn": "1", "county_fips": "06037"},
         60, "contactable"),
        (["email"], {"owner_occupied": True}, 50, "enriched"),
        (["email"], {}, 40, "enriched"),
        (["phone"], {}, 30, "low"),
        ([], {}, 0, "low"),
    ],
)  # fmt: skip
def test_bands_begin_where_the_rule_says(inside, proofs, fields, score, band):
    lead = create_lead(**fields)
    for kind in proofs:
        proved(point(lead, kind, line_type="mobile" if kind == "phone" else "unknown"))

    row = scored(lead)

    assert (row.score, row.band) == (score, band)


# --- storing ----------------------------------------------------------------------------------


def test_a_score_that_is_the_same_leaves_no_trace(inside):
    lead = create_lead(owner_occupied=True)
    first = scored(lead)

    again = score_leads([lead.pk])

    assert (again.seen, again.changed) == (1, 0)
    assert LeadScore.objects.get(lead=lead).updated_at == first.updated_at
    assert QualityScore.objects.filter(lead=lead).count() == 1


def test_history_keeps_each_change(inside):
    lead = create_lead(owner_occupied=True)
    score_leads([lead.pk])
    Lead.objects.filter(pk=lead.pk).update(owner_occupied=False)
    score_leads([lead.pk])
    Lead.objects.filter(pk=lead.pk).update(owner_occupied=None)
    score_leads([lead.pk])

    kept = QualityScore.objects.filter(lead=lead).order_by("id")

    assert list(kept.values_list("score", "occupied")) == [(10, 10), (0, 0), (0, None)]


def test_many_leads_get_ids_of_their_own(inside):
    leads = [create_lead(owner_occupied=True) for _ in range(300)]

    assert score_leads([lead.pk for lead in leads] * 2).seen == 300
    assert LeadScore.objects.count() == 300
    assert QualityScore.objects.values("id").distinct().count() == 300


def test_leads_of_strangers_are_passed_over(office, other_office):
    lead = office.lead(owner_occupied=True)
    with other_office.inside():
        assert score_leads([lead.pk]) == scoring.Scored(seen=0, changed=0)
        assert scoring.compute_quality_score(lead.pk) is None
        assert rows("SELECT update_lead_status_from_score(%s::uuid)", _uuid(lead)) == [(None,)]
    with office.inside():
        assert not LeadScore.objects.exists()


def _uuid(lead: Lead) -> str:
    return str(to_uuid(lead.pk))


def test_the_seeds_function_returns_the_band_and_touches_neither_state_nor_consent(inside):
    lead = create_lead(phone="+12025550133")
    Consent.objects.create(address="+12025550133")
    before = (
        list(Lead.objects.filter(pk=lead.pk).values("state", "stage", "event_seq", "updated_at")),
        list(Consent.objects.values()),
    )

    assert rows("SELECT update_lead_status_from_score(%s::uuid)", _uuid(lead)) == [("low",)]

    assert before == (
        list(Lead.objects.filter(pk=lead.pk).values("state", "stage", "event_seq", "updated_at")),
        list(Consent.objects.values()),
    )
    assert LeadScore.objects.get(lead=lead).band == "low"


def test_a_score_that_is_not_the_sum_of_its_parts_is_refused(inside):
    lead = create_lead()
    score_leads([lead.pk])

    assert refused("UPDATE lead_scores SET score = 5") == "lead_scores_sum_of_parts"
    assert refused("UPDATE quality_scores SET score = 5") == "42501"


def test_a_run_is_scored_as_a_whole_and_in_pieces(inside):
    run = PipelineRun.objects.create(pipeline_name="import")
    leads = [create_lead(owner_occupied=True, run=run) for _ in range(5)]
    create_lead(owner_occupied=True)

    first = scoring.score_run(run.pk, most=2)
    rest = scoring.score_run(run.pk, after=first.after)

    assert (first.seen, rest.seen) == (2, 3)
    assert set(LeadScore.objects.values_list("lead", flat=True)) == {lead.pk for lead in leads}


@pytest.mark.django_db(transaction=True)
def test_scorings_at_once_end_in_one_history(committed_office):
    office = committed_office
    leads = [office.lead(f"+1202555{n:04d}", owner_occupied=True).pk for n in range(20)]

    def job():
        with tenant_context(office.tenant.pk):
            chosen = random.Random().sample(leads, 15)
            return score_leads(chosen)

    results = at_once([job] * 6)

    assert all(isinstance(result, scoring.Scored) for result in results), results
    with office.inside():
        assert QualityScore.objects.count() == LeadScore.objects.count()


# --- the rule ---------------------------------------------------------------------------------


def test_every_tenant_begins_with_version_one(inside):
    rule = ScoreRule.objects.get()

    assert rule.version == 1
    assert asdict(Draft.of(rule)) == asdict(Draft()) == asdict(Draft.of(ScoreRule(version=1)))


def test_without_a_rule_nobody_is_scored_and_asking_makes_one(db):
    tenant = Tenant.objects.create(slug="bare", name="Bare")
    with tenant_context(tenant.pk):
        assert refused("SELECT score_leads(%s, '{}')", [str(to_uuid(tenant.pk))]) == "LD030"
        assert scoring.rule_in_force().version == 1


@pytest.mark.parametrize(
    "change",
    [
        {"email": 41},
        {"email": -1},
        {"email": 101},
        {"enriched_from": 60},
        {"contactable_from": 101},
        {"age_min": 131},
        {"value_min": -1},
        {"value_min": 10**12},
        {"equity_above": -(10**12)},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(change):
    with pytest.raises(RuleRefused):
        replace(Draft(), **change)


def test_a_rule_is_saved_once_with_a_reason_by_who_saw_the_last(inside):
    draft = replace(Draft(), email=30, phone=40)
    with pytest.raises(RuleRefused, match="why"):
        scoring.save_rule(draft, reason=" ", based_on=1, actor_id=None)
    with pytest.raises(RuleRefused, match="already"):
        scoring.save_rule(Draft(), reason="x", based_on=1, actor_id=None)
    made = scoring.save_rule(draft, reason="Phones answer", based_on=1, actor_id=inside.agent.pk)
    with pytest.raises(RuleRefused, match="meanwhile"):
        scoring.save_rule(Draft(), reason="x", based_on=1, actor_id=None)

    assert (made.version, ScoreRule.objects.count()) == (2, 2)
    assert refused("UPDATE score_rules SET email = 1") == "42501"


def crowd(office, seed: int) -> None:
    """Sixty leads of all sorts."""
    chance = random.Random(seed)
    for n in range(60):
        lead = create_lead(
            mak=f"{seed}-{n}" if chance.random() < 0.6 else "",
            apn=f"{seed}-{n}" if chance.random() < 0.6 else "",
            county_fips="06037",
            owner_occupied=chance.choice([True, False, None]),
            age=chance.choice([40, 62, 70, None]),
            property_value=chance.choice([50_000, 400_000, None]),
            estimated_equity=chance.choice([-10, 20_000, None]),
        )
        if chance.random() < 0.6:
            proved(point(lead, "email"), chance.choice(["verified", "invalid", "unknown"]))
        if chance.random() < 0.6:
            kind = chance.choice(["mobile", "landline", "voip"])
            proved(point(lead, "phone", line_type=kind, dnc=chance.choice([None, True, False])))
        if chance.random() < 0.8:
            score_leads([lead.pk])


def moved(before: dict[str, str]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for lead, band in LeadScore.objects.values_list("lead", "band"):
        key = (before.get(lead, ""), band)
        counts[key] = counts.get(key, 0) + 1
    return counts


@pytest.mark.parametrize("seed", range(4))
def test_a_preview_says_what_saving_does(office, seed):
    chance = random.Random(seed + 100)
    with office.inside():
        crowd(office, seed)
        before = dict(LeadScore.objects.values_list("lead", "band"))
        draft = replace(
            Draft(),
            email=chance.randint(0, 40), phone=chance.randint(0, 30),
            age_min=chance.choice([50, 66]), contactable_from=chance.randint(30, 70),
            enriched_from=chance.randint(5, 29),
        )  # fmt: skip
        preview = {(m.was, m.becomes): m.leads for m in scoring.preview_rule(draft)}
        assert dict(LeadScore.objects.values_list("lead", "band")) == before
        scoring.save_rule(draft, reason="try", based_on=1, actor_id=None)
        while score_some():
            pass

        assert sum(preview.values()) == 60
        assert moved(before) == preview
        assert set(LeadScore.objects.values_list("rule_version", flat=True)) == {2}


def score_some() -> bool:
    """One small chunk of the run that goes on, in the test's own transaction."""
    run = PipelineRun.objects.filter(pipeline_name="rescore", status="running").first()
    return run is not None and scoring._chunk(run, 7)


def test_a_new_version_alone_is_no_change_of_a_score(inside):
    lead = create_lead(owner_occupied=True)
    score_leads([lead.pk])
    scoring.save_rule(replace(Draft(), email=39), reason="x", based_on=1, actor_id=None)

    assert scored(lead).rule_version == 2
    assert QualityScore.objects.filter(lead=lead).count() == 1


# --- all leads anew ---------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_scoring_all_goes_on_where_it_stopped(committed_office):
    office = committed_office
    for n in range(25):
        office.lead(f"+1202555{n:04d}", owner_occupied=True)
    with office.inside():
        run = scoring.begin_rescore()

    assert scoring.rescore_all(office.tenant.pk, seconds=0, chunk=10)
    with office.inside():
        run.refresh_from_db()
        assert (run.stats["seen"], run.stats["of"], run.status) == (10, 25, "running")
        assert LeadScore.objects.count() == 10
    assert not scoring.rescore_all(office.tenant.pk, chunk=10)
    with office.inside():
        run.refresh_from_db()
        assert (run.stats["seen"], run.stats["changed"]) == (25, 25)
        assert run.status == "completed"
        assert run.finished_at >= run.started_at


@pytest.mark.django_db(transaction=True)
def test_a_scoring_of_all_gives_way_to_the_next_and_can_be_stopped(committed_office):
    office = committed_office
    office.lead(owner_occupied=True)
    with office.inside():
        first = scoring.begin_rescore()
        second = scoring.begin_rescore()
        first.refresh_from_db()
        assert (first.status, second.status) == ("cancelled", "running")
        assert scoring.stop_rescore(actor_id=None)
        assert not scoring.stop_rescore(actor_id=None)

    assert not scoring.rescore_all(office.tenant.pk)
    with office.inside():
        assert not LeadScore.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_scoring_of_all_that_breaks_says_why(committed_office):
    office = committed_office
    office.lead(owner_occupied=True)
    with office.inside():
        run = scoring.begin_rescore()
        PipelineRun.objects.filter(pk=run.pk).update(stats=run.stats | {"after": "lead_nonsense"})

    assert not scoring.rescore_all(office.tenant.pk)
    with office.inside():
        run.refresh_from_db()
        assert run.status == "failed"
        assert run.error


@pytest.mark.django_db(transaction=True)
def test_the_task_finds_the_tenants_that_wait(committed_office):
    office = committed_office
    lead = office.lead(owner_occupied=True)
    assert begin_rescores() == {"begun": 0}  # nobody was ever scored
    with office.inside():
        score_leads([lead.pk])

    assert begin_rescores() == {"begun": 1}
    assert begin_rescores() == {"begun": 0}
    assert rescore() == {"left": 0}
    with office.inside():
        assert PipelineRun.objects.get(pipeline_name="rescore").status == "completed"


def test_merged_leads_are_not_scored_with_the_others(inside):
    lead = create_lead(owner_occupied=True)
    Lead.objects.filter(pk=lead.pk).update(superseded_at=timezone.now())

    assert [move.leads for move in scoring.preview_rule(Draft())] == []
    scoring.begin_rescore()
    assert not score_some()
    assert not LeadScore.objects.exists()
