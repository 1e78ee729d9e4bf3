"""Leads down the waterfall, against vendors that the sandbox plays over HTTP."""

from __future__ import annotations

from datetime import timedelta

import pytest

from integrations.models import Enrichment, VendorAnswer, VendorCall, VerificationCode
from integrations.providers.data import Enriched, Point
from integrations.waterfall_effects import Found, apply_enriched
from integrations.waterfall_plan import Step, forecast, stages, stop_at, what_if
from leads.models import Consent, ConsentEvent, Contact, ContactPoint, LeadScore, Verification
from pipelines.artifacts import keep, read
from tenants.context import database_now
from tests.integrations.waterfall_world import LAND, MOBILE, VENDORS

pytestmark = pytest.mark.django_db


def points(world, lead, kind="phone") -> dict[str, ContactPoint]:
    with world.inside():
        return {p.normalized: p for p in ContactPoint.objects.filter(lead=lead, kind=kind)}


def score(world, lead) -> LeadScore:
    with world.inside():
        return LeadScore.objects.get(lead=lead)


def test_a_lead_goes_down_the_stages_and_each_cent_is_on_the_invoice(world):
    lead = world.lead(world.house(phones=[MOBILE]))

    [enrichment] = world.enrich(lead)

    assert enrichment.state == "done"
    assert world.spent() == world.invoice() == enrichment.cost_cents > 0
    with world.inside():
        lead.refresh_from_db()
        assert (lead.enrichment_status, bool(lead.last_enriched_at)) == ("done", True)
        answers = list(VendorAnswer.objects.select_related("artifact"))
        assert all(answer.is_final for answer in answers)
        assert all(read(answer.artifact) for answer in answers)


def test_the_second_run_calls_nobody(world):
    leads = [world.lead() for _ in range(3)]
    world.enrich(*leads)
    calls, billed = world.calls(), world.invoice()

    again = world.enrich(*leads)

    assert (world.calls(), world.invoice()) == (calls, billed)
    assert {one.state for one in again} == {"done"}
    assert sum(one.cost_cents for one in again) == 0
    assert all(one.saved_cents > 0 for one in again)


def test_the_second_stage_is_not_asked_when_the_first_met_the_bar(world):
    enough = world.lead(world.house(phones=[MOBILE], emails=["a1@example.com"]))
    # Melissa appends a phone without saying on what line: that is no mobile yet.
    with world.inside():
        ContactPoint.objects.create(
            lead=enough, kind="phone", normalized="+19165550101", line_type="mobile"
        )
        ContactPoint.objects.create(lead=enough, kind="email", normalized="a1@example.com")

    world.enrich(enough)

    assert world.did(enough)["BatchData skip trace"] == "without"
    assert world.calls("batchdata") == 0


def test_a_score_at_the_bar_ends_it(world):
    lead = world.lead(owner_occupied=True, mak="8000000001", apn="1-2", county_fips="06067")
    with world.inside():
        point = ContactPoint.objects.create(lead=lead, kind="email", normalized="ok@example.com")
        world.verify(point)
    world.rescore(lead)
    assert score(world, lead).score >= 60

    [enrichment] = world.enrich(lead)

    assert set(world.did(lead).values()) == {"stop"}
    assert (world.calls(), enrichment.state) == (0, "done")


def test_a_landline_is_no_hit_where_a_mobile_is_wanted(world):
    world.only("batchdata", "apollo")
    world.change("apollo", gate={"without": ["mobile"]})
    landline = world.lead(world.house(phones=[LAND], emails=[]), company="Acme")
    mobile = world.lead(world.house(phones=[MOBILE], emails=[]), company="Acme")

    world.enrich(landline, mobile)

    assert world.did(landline)["BatchData skip trace"] == "miss"
    assert world.did(landline)["Apollo"] != "without"
    assert world.did(mobile) == {"BatchData skip trace": "hit", "Apollo": "without"}
    # It is billed, and known, all the same.
    assert world.spent() == world.invoice() >= 30
    assert points(world, landline)["+19165550102"].line_type == "landline"


@pytest.mark.parametrize("mark", ["dnc", "tcpa"])
def test_a_number_that_must_not_be_called_is_no_hit(world, mark):
    world.only("batchdata")
    lead = world.lead(world.house(phones=[MOBILE | {mark: True}], emails=[]))

    world.enrich(lead)

    assert world.did(lead)["BatchData skip trace"] == "miss"
    assert getattr(points(world, lead)["+19165550101"], mark) is True


def test_a_litigator_is_held_and_not_opted_out(world):
    world.only("batchdata")
    lead = world.lead(world.house(phones=[MOBILE], litigator=True))

    world.enrich(lead)

    with world.inside():
        assert Consent.objects.get(address="+19165550101", channel="sms", scope="").state == "held"
        assert not ConsentEvent.objects.filter(kind="opt_out").exists()
        assert Contact.objects.filter(lead=lead, is_litigator=True).exists()


def test_what_a_vendor_does_not_say_stays_unknown(world):
    world.only("melissa")
    lead = world.lead(world.house(phones=[MOBILE]))

    world.enrich(lead)

    [point] = points(world, lead).values()
    assert (point.dnc, point.litigator, point.tcpa) == (None, None, None)


def test_a_poor_score_opts_nobody_out(world):
    lead = world.lead(world.house(phones=[LAND], emails=[]))

    world.enrich(lead)

    assert score(world, lead).band == "low"
    with world.inside():
        assert not Consent.objects.exclude(state="unknown").exists()


def test_the_same_phone_from_three_vendors_is_one_row_with_three_sources(world):
    world.change("batchdata", gate={})
    lead = world.lead(world.house(phones=[MOBILE], emails=[]))

    world.enrich(lead)

    [point] = points(world, lead).values()
    assert set(point.sources) >= {"melissa", "batchdata", "twilio"}


# --- verifying --------------------------------------------------------------------------------


def test_only_a_record_of_a_verification_verifies(world):
    lead = world.lead(world.house(phones=[MOBILE], emails=["real@example.com"]))
    world.control("facts", email="real@example.com", verdict="verified")

    world.enrich(lead)

    [email] = points(world, lead, "email").values()
    with world.inside():
        record = Verification.objects.get(point=email)
    assert (email.verification_id, email.verified_by) == (record.pk, "instantly")
    assert record.expires_at > database_now()
    assert score(world, lead).email == 40


@pytest.mark.parametrize("verdict", ["catch_all", "unknown"])
def test_a_catch_all_earns_nothing(world, verdict):
    lead = world.lead(world.house(phones=[], emails=["any@example.com"]))
    world.control("facts", email="any@example.com", verdict=verdict)

    world.enrich(lead)

    [email] = points(world, lead, "email").values()
    with world.inside():
        assert Verification.objects.get(point=email).verdict == verdict
    assert (email.verified_at, score(world, lead).email) == (None, None)


def test_unverified_leads_do_not_loop_through_the_paid_stages(world):
    """Nothing is ever verified and the bar is never met: each stage once, all the same."""
    leads = [world.lead(world.house(phones=[LAND], emails=[f"bad{n}@example.com"])) for n in "ab"]
    for n in "ab":
        world.control("facts", email=f"bad{n}@example.com", verdict="invalid")

    enrichments = world.enrich(*leads)

    assert {one.state for one in enrichments} == {"done"}
    with world.inside():
        for lead in leads:
            asked = VendorCall.objects.filter(lead=lead).values_list("stage", "point")
            assert len(asked) == len(set(asked))
    assert (world.calls("melissa"), world.calls("batchdata")) == (2, 2)


def test_a_verification_that_expired_is_looked_up_again(world):
    world.only("instantly")
    world.change("instantly", fresh_days=0)
    lead = world.lead(world.house())
    with world.inside():
        ContactPoint.objects.create(lead=lead, kind="email", normalized="real@example.com")
    world.control("facts", email="real@example.com", verdict="verified")
    world.enrich(lead)
    assert world.calls() == 1

    world.enrich(lead)

    assert world.calls() == 2
    with world.inside():
        assert Verification.objects.count() == 2


def test_a_pending_verdict_is_waited_for(world):
    world.only("instantly")
    lead = world.lead(world.house())
    with world.inside():
        ContactPoint.objects.create(lead=lead, kind="email", normalized="slow@example.com")
    world.control("facts", email="slow@example.com", verdict="verified", pending=True)
    world.control("hold", vendor="instantly", enabled=True)

    [parked] = world.enrich(lead)
    assert (parked.state, world.calls()) == ("parked", 1)
    world.let_pass()
    world.work()
    assert world.enrichment(lead).state == "parked"
    world.control("hold", vendor="instantly", enabled=False)
    world.let_pass()
    world.work()

    assert (world.enrichment(lead).state, world.calls()) == ("done", 1)
    assert points(world, lead, "email")["slow@example.com"].verified_at is not None
    assert world.spent() == world.invoice() == 1


# --- money ------------------------------------------------------------------------------------


def test_a_price_that_changes_midway_holds_for_what_is_asked_later(world):
    world.only("melissa")
    first, second = world.lead(), world.lead()
    world.enrich(first)

    world.change("melissa", price_cents=7)
    key = world.accounts["melissa"].api_key
    world.control("account", vendor="melissa", api_key=key, prices={"personator": 7})
    world.enrich(second)

    with world.inside():
        costs = list(VendorAnswer.objects.order_by("id").values_list("cost_cents", flat=True))
    assert costs == [5, 7]
    assert world.spent() == world.invoice() == 12


def test_a_miss_costs_what_the_vendor_bills_for_it(world):
    world.only("melissa", "batchdata")
    world.change("batchdata", gate={})
    lead = world.lead(world.house(melissa=False, batchdata=False))

    world.enrich(lead)

    assert set(world.did(lead).values()) == {"miss"}
    assert world.spent() == world.invoice() == 0


def test_a_daily_cap_holds_the_rest_for_tomorrow(world):
    world.only("melissa")
    world.change("melissa", daily_call_cap=2)
    leads = [world.lead() for _ in range(4)]

    enrichments = world.enrich(*leads)

    assert sorted(one.state for one in enrichments) == ["done", "done", "held", "held"]
    held = next(one for one in enrichments if one.state == "held")
    assert "cap" in held.error
    assert held.available_at > database_now()
    assert world.calls() == len(world.billed("melissa")) == 2
    world.change("melissa", daily_call_cap=None)
    world.let_pass()
    world.work()
    assert {world.enrichment(lead).state for lead in leads} == {"done"}


def test_a_forecast_is_what_then_happens(world):
    world.only("melissa")
    world.change("melissa", gate={"without": ["mobile"]})
    known = [world.lead() for _ in range(2)]
    with world.inside():
        for n, lead in enumerate(known):
            ContactPoint.objects.create(
                lead=lead, kind="phone", normalized=f"+1916555020{n}", line_type="mobile"
            )
    leads = known + [world.lead() for _ in range(3)]
    with world.inside():
        plan = [Step.of(stage) for stage in stages()]
        [told] = forecast([lead.pk for lead in leads], plan, stop_at())

    world.enrich(*leads)

    assert (told.runs, told.calls, told.most_cents, told.saved_cents) == (3, 3, 15, 10)
    assert world.calls("melissa") == told.calls
    assert world.spent() <= told.most_cents


def test_a_what_if_without_a_change_is_what_happened(world):
    world.change("batchdata", gate={"without": ["mobile"]})
    leads = [
        world.lead(world.house(phones=phones, emails=emails, melissa=known))
        for phones in ([MOBILE], [LAND], [])
        for emails in (["w@example.com"], [])
        for known in (True, False)
    ]
    world.enrich(*leads)
    with world.inside():
        plan = [Step.of(stage) for stage in stages()]
        many, same = what_if(plan, stop_at())
        free = [step for step in plan if step.provider != "batchdata"]
        _, without = what_if(free, stop_at())

    ran = dict.fromkeys(VENDORS, 0)
    cents = dict(ran)
    for lead in leads:
        for step in world.enrichment(lead).steps[:-1]:
            vendor = next(s.provider for s in plan if s.stage_id == step["stage"])
            ran[vendor] += step["did"] != "gate"
            cents[vendor] += step["cents"]
    assert many == len(leads)
    assert {one.step.provider: one.runs for one in same}.items() <= ran.items()
    assert {one.step.provider: one.cents for one in same}.items() <= cents.items()
    assert ran["batchdata"] > 0
    # Without the dear stage its finds are not there to be verified.
    assert sum(one.cents for one in without) <= sum(one.cents for one in same) - cents["batchdata"]


def test_a_lead_is_on_its_way_once(world):
    lead = world.lead()
    world.start(lead)

    with pytest.raises(Exception, match="on their way already"):
        world.start(lead)
    world.work()

    with world.inside():
        assert Enrichment.objects.count() == 1


def test_a_miss_is_not_repeated_within_its_cool_down(world):
    world.only("melissa")
    lead = world.lead(world.house(melissa=False))
    world.enrich(lead)
    with world.inside():
        type(lead).objects.filter(pk=lead.pk).update(address_line1="77 Other Way")

    world.enrich(lead)

    assert (world.did(lead), world.calls()) == ({"Melissa Personator": "cool_down"}, 1)
    with world.inside():
        call = VendorCall.objects.get()
        assert call.at > database_now() - timedelta(minutes=5)


def test_what_a_vendor_only_names_is_still_looked_up(world):
    lead = world.lead(world.house(phones=[MOBILE], emails=["named@example.com"]))
    with world.inside():
        codes = VerificationCode.objects.filter(provider="melissa", channel="email")
        assert codes.filter(code="DA40", is_verified=False).exists()  # what Melissa says of it

    world.enrich(lead)

    assert world.did(lead)["Verify e-mail"] in ("hit", "miss")
    with world.inside():
        by = set(Verification.objects.filter(point__lead=lead).values_list("provider", flat=True))
    assert by == {"instantly", "twilio"}


def test_a_vendors_own_proof_verifies(world):
    world.only("melissa")
    lead = world.lead(world.house(phones=[MOBILE], emails=["named@example.com"]))
    with world.inside():
        kept = keep(b"{}", artifact_type="vendor_answer")
    effects = Found(provider="melissa", run_id=None, artifact_id=kept.pk, fresh_days=30)
    told = Point(kind="email", value="named@example.com", codes=("DA40", "ES01"))

    with world.inside():
        apply_enriched(lead, Enriched(kind="hit", points=(told,)), effects)

    assert points(world, lead, "email")["named@example.com"].verified_by == "melissa"
    assert score(world, lead).email == 40
