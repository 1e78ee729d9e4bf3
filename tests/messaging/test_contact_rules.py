"""Contact rules: the strictest of all that may apply, in every zone a person may be in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from django.db.utils import IntegrityError
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.actions_tenants import create_tenant
from leads.models import Lead
from leads.zones import STATE_ZONES
from messaging.actions.facts import facts_for
from messaging.actions.sending import verdict_for
from messaging.models import ContactRule, Conversation, OutboundMessage
from messaging.rules import Rule, limit, places_of, window
from messaging.verdict import RULE_VERSION, Facts, decide, is_legal, zones_of
from tenants.context import tenant_context
from tests.carrier import send_due

SUNDAY, SATURDAY = 6, 5
US = Rule("US", None, 8, 21, None)
TEXAS = (Rule("US-TX", None, 9, 21, None), Rule("US-TX", SUNDAY, 12, 21, None))
ALABAMA = (Rule("US-AL", None, 8, 20, None), Rule("US-AL", SUNDAY, 0, 0, None))
FLORIDA = Rule("US-FL", None, 8, 20, 3)


def facts(at, **more):
    values = {
        "purpose": "first_text",
        "is_automated": True,
        "zones": frozenset({"America/New_York"}),
        "rules": (US,),
        **more,
    }
    return Facts(at=at, **values)


def local(zone, *moment):
    return datetime(*moment, tzinfo=ZoneInfo(zone))


# --- windows, purely --------------------------------------------------------------------------


def test_the_row_of_a_weekday_takes_the_place_of_the_row_of_all_days():
    rules = (US, *TEXAS)

    assert window(rules, 0) == (9, 21)
    assert window(rules, SUNDAY) == (12, 21)
    assert window(tuple(reversed(rules)), SUNDAY) == (12, 21)


def test_the_strictest_of_all_counts():
    assert window((US, FLORIDA, *TEXAS), 0) == (9, 20)
    assert limit((US, FLORIDA, Rule("US-OK", None, 8, 20, 2))) == 2
    assert limit((US, *TEXAS)) is None


def test_a_day_without_a_window_allows_nothing_and_holds_until_the_next():
    sunday = local("America/Chicago", 2026, 11, 22, 13)
    verdict = decide(facts(sunday, rules=(US, *ALABAMA), zones=frozenset({"America/Chicago"})))

    assert (verdict.outcome, verdict.reasons) == ("hold", ("quiet_hours",))
    assert verdict.hold_until == local("America/Chicago", 2026, 11, 23, 8)


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ((2026, 3, 8, 1, 30), (2026, 3, 8, 12)),  # Texas, the night clocks go forward, a Sunday
        ((2026, 11, 1, 1, 30), (2026, 11, 1, 12)),  # and back
        ((2026, 11, 2, 8, 59), (2026, 11, 2, 9)),
    ],
)
def test_nights_when_clocks_change(at, until):
    zone = "America/Chicago"
    verdict = decide(facts(local(zone, *at), rules=(US, *TEXAS), zones=frozenset({zone})))

    assert verdict.hold_until == local(zone, *until)


moments = st.datetimes(
    datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC), allow_imaginary=False
)
jurisdictions = st.sampled_from(["US", *(f"US-{state}" for state in sorted(STATE_ZONES))])
hours = st.tuples(st.integers(0, 24), st.integers(0, 24)).map(sorted)
rule = st.builds(
    lambda place, day, span, most: Rule(place, day, span[0], span[1], most),
    jurisdictions, st.none() | st.integers(0, 6), hours, st.none() | st.integers(1, 5),
)  # fmt: skip
zone_sets = st.sets(
    st.sampled_from(sorted({zone for zones in STATE_ZONES.values() for zone in zones})),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(moments, st.lists(rule, max_size=8, unique_by=lambda r: r[:2]), zone_sets)
def test_no_allowed_time_is_outside_any_window(at, rules, zones):
    known = facts(at, rules=tuple(rules), zones=frozenset(zones))
    verdict = decide(known)
    goes = at if verdict.outcome == "allow" else verdict.hold_until
    if verdict.outcome == "hold" and not is_legal(goes, known):
        assert goes == at + timedelta(days=1)  # nothing is legal; it is asked again then
        return
    for zone in zones:
        there = goes.astimezone(ZoneInfo(zone))
        assert 8 <= there.hour < 21
        for place in {r.jurisdiction for r in rules}:
            own = [r for r in rules if r.jurisdiction == place]
            for r in [r for r in own if r.weekday == there.weekday()] or [
                r for r in own if r.weekday is None
            ]:
                assert r.start <= there.hour < r.end


@settings(max_examples=100, deadline=None)
@given(moments, st.lists(st.integers(0, 24 * 60 - 1), max_size=6))
def test_nobody_gets_more_than_the_limit_in_any_24_hours(at, minutes):
    texted = tuple(sorted(at - timedelta(minutes=minute) for minute in minutes))
    verdict = decide(facts(at, rules=(US, FLORIDA), texted_at=texted))
    goes = at if verdict.outcome == "allow" else verdict.hold_until

    assert len([moment for moment in texted if moment > goes - timedelta(hours=24)]) < 3
    assert ("too_many" in verdict.reasons) == (len(texted) >= 3)


def test_an_answer_within_a_day_is_no_text_too_many():
    at = local("America/New_York", 2026, 11, 20, 12)
    texted = (at - timedelta(hours=1),) * 5
    answer = facts(
        at, rules=(US, FLORIDA), texted_at=texted, is_automated=False, purpose="reply",
        last_inbound_at=at - timedelta(hours=2),
    )  # fmt: skip

    assert decide(answer).outcome == "allow"


def test_without_any_zone_the_tenants_fallback_hours_count():
    noon = local("America/New_York", 2026, 11, 20, 12)
    known = facts(noon, zones=frozenset(), fallback_hours=(14, 16))

    assert decide(known).hold_until == local("America/New_York", 2026, 11, 20, 14)


# --- who may be where -------------------------------------------------------------------------


def test_places_are_of_the_address_and_of_the_area_code():
    assert places_of("TX", "+13055550142") == ("US", "US-FL", "US-TX")
    assert places_of("", "+18005550142") == ("US",)
    assert places_of("zz", "+12125550142") == ("US", "US-NY")


def test_candidate_zones_are_those_of_both():
    assert zones_of("", "TX", "+13055550142") == {
        "America/New_York", "America/Chicago", "America/Denver",
    }  # fmt: skip


# --- the table --------------------------------------------------------------------------------


@pytest.mark.django_db
def test_every_new_tenant_has_the_rules(db):
    tenant = create_tenant(slug="fresh", name="Fresh")
    with tenant_context(tenant.pk):
        federal = ContactRule.objects.get(jurisdiction="US")
        assert (federal.start, federal.end, federal.source) == (8, 21, "47 CFR 64.1200(c)(1)")
        assert ContactRule.objects.count() == 24
        assert set(
            ContactRule.objects.filter(max_per_24h=3).values_list("jurisdiction", flat=True)
        ) == {"US-FL", "US-OK"}
        sundays = ContactRule.objects.filter(weekday=SUNDAY).order_by("jurisdiction")
        assert [(r.jurisdiction, r.start, r.end) for r in sundays] == [
            ("US-AL", 0, 0), ("US-LA", 0, 0), ("US-MS", 0, 0), ("US-RI", 10, 17),
            ("US-TX", 12, 21),
        ]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "how"),
    [
        ({"start": 22, "end": 21}, "contact_rules_hours"),
        ({"end": 25}, "contact_rules_hours"),
        ({"jurisdiction": "Texas"}, "contact_rules_jurisdiction_is_one"),
        ({"jurisdiction": "US-TX"}, "ux_contact_rules"),
        ({"max_per_24h": 0}, "contact_rules_limit_is_one"),
        ({"is_active": False}, "contact_rules_federal_stays"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(office, change, how):
    with office.inside(), pytest.raises(IntegrityError, match=how), transaction.atomic():
        ContactRule.objects.filter(jurisdiction="US").update(**change)


@pytest.mark.django_db
def test_rules_are_never_deleted_and_count_their_versions(office):
    with office.inside():
        with pytest.raises(Exception, match="permission denied"), transaction.atomic():
            ContactRule.objects.filter(jurisdiction="US").delete()
        ContactRule.objects.filter(jurisdiction="US").update(end=20)

        assert ContactRule.objects.get(jurisdiction="US").version == 2


@pytest.fixture
def miami(desk, queue):
    """A conversation with somebody whose number is of Florida and whose house in Texas."""
    queue(desk, "hello", theirs="+13055550142")
    with desk.inside():
        Lead.objects.update(region="TX", time_zone="")
        Conversation.objects.update(last_inbound_at=None)
        OutboundMessage.objects.update(state="cancelled")
    return lambda: Conversation.objects.select_related(
        "lead", "tenant", "phone_number__integration"
    ).get()


@pytest.mark.django_db
def test_composer_queue_and_sender_judge_by_the_table(desk, miami):
    with desk.inside():
        known = facts_for(miami(), body="Hi", purpose="first_text", is_automated=True)

        assert {r.jurisdiction for r in known.rules} == {"US", "US-FL", "US-TX"}
        verdict = verdict_for(miami(), body="Hi", purpose="first_text", is_automated=True)
        assert verdict.jurisdictions == ("US", "US-FL", "US-TX")
        before = verdict.rule_version
        assert before.startswith(f"{RULE_VERSION}.")

        ContactRule.objects.filter(jurisdiction="US-FL").update(start=20)  # 20 to 20: never
        verdict = verdict_for(miami(), body="Hi", purpose="first_text", is_automated=True)
        assert (verdict.outcome, verdict.reasons) == ("hold", ("quiet_hours",))
        assert verdict.rule_version != before
        assert verdict.as_json()["rule_version"] == verdict.rule_version


@pytest.mark.django_db
def test_texts_of_a_day_are_counted_over_all_our_numbers(desk, carrier, queue, miami):
    with desk.inside():
        Conversation.objects.update(last_inbound_at=timezone.now())
    for turn in range(3):
        queue(desk, f"n{turn}", theirs="+13055550142")
    send_due(desk)
    with desk.inside():
        Conversation.objects.update(last_inbound_at=None)
        known = facts_for(miami(), body="Hi", purpose="first_text", is_automated=True)
        assert len(known.texted_at) == 3
        verdict = verdict_for(miami(), body="Hi", purpose="first_text", is_automated=True)
        assert "too_many" in verdict.reasons
        assert verdict.outcome == "hold"
        assert verdict.hold_until >= timezone.now() + timedelta(hours=23)
