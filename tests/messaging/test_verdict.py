"""The verdict: a pure function; quiet hours hold in every zone and on every night of the year."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leads.zones import STATE_ZONES, candidate_zones
from messaging.verdict import (
    FALLBACK_HOURS,
    REASONS,
    REPLY_WINDOW,
    Facts,
    decide,
    is_legal,
    next_legal,
    zones_of,
)

#: Places, not the offsets and aliases that the same database also lists.
ZONES = sorted(z for z in available_timezones() if "/" in z and not z.startswith("Etc/"))
AMERICA = sorted({zone for zones in STATE_ZONES.values() for zone in zones})
NOON = datetime(2026, 11, 20, 17, tzinfo=UTC)  # in New York
NIGHT = datetime(2026, 11, 20, 7, tzinfo=UTC)
QUARTER = timedelta(minutes=15)

moments = st.datetimes(
    datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC), allow_imaginary=False
)


def facts(**more):
    defaults = {
        "at": NOON,
        "purpose": "reply",
        "is_automated": False,
        "zones": frozenset({"America/New_York"}),
    }
    return Facts(**{**defaults, **more})  # fmt: skip


# --- quiet hours ------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(moments, st.sampled_from(ZONES))
def test_a_hold_ends_at_the_first_legal_quarter_in_any_zone(at, zone):
    known = facts(at=at, zones=frozenset({zone}))
    verdict = decide(known)
    local = at.astimezone(ZoneInfo(zone))

    assert (verdict.outcome == "allow") == (8 <= local.hour < 21)
    if verdict.outcome == "hold":
        until = verdict.hold_until
        assert is_legal(until, known)
        assert at < until <= at + timedelta(hours=13)
        assert until.minute % 15 == 0
        moment = until - QUARTER
        while moment > at:  # nothing earlier would have done
            assert not is_legal(moment, known)
            moment -= QUARTER
        # A day has gone by at the recipient's, or it is the morning that the night ends.
        assert until.astimezone(ZoneInfo(zone)).hour == 8


@settings(max_examples=200, deadline=None)
@given(moments, st.sets(st.sampled_from(AMERICA), min_size=1, max_size=5))
def test_a_hold_suits_every_zone_the_person_may_be_in(at, zones):
    known = facts(at=at, zones=frozenset(zones))
    verdict = decide(known)

    if verdict.outcome == "hold":
        for zone in zones:
            assert 8 <= verdict.hold_until.astimezone(ZoneInfo(zone)).hour < 21
    else:
        assert all(8 <= at.astimezone(ZoneInfo(zone)).hour < 21 for zone in zones)


@settings(max_examples=100, deadline=None)
@given(moments, st.sampled_from(["America/New_York", "America/Los_Angeles", "America/Phoenix"]))
def test_without_any_zone_the_fallback_suits_the_whole_country(at, tenant_zone):
    known = facts(at=at, zones=frozenset(), tenant_zone="America/New_York")
    when = decide(known).hold_until or at

    assert FALLBACK_HOURS[0] <= when.astimezone(ZoneInfo("America/New_York")).hour
    for zone in ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"):
        assert 8 <= when.astimezone(ZoneInfo(zone)).hour < 21


@pytest.mark.parametrize(
    ("zone", "at", "until"),
    [
        # The night clocks go forward: 7:59 standard time does not exist, the morning comes sooner.
        ("America/New_York", datetime(2026, 3, 8, 6, 59, tzinfo=UTC), datetime(2026, 3, 8, 12)),
        ("America/New_York", datetime(2026, 11, 1, 5, 30, tzinfo=UTC), datetime(2026, 11, 1, 13)),
        ("America/New_York", datetime(2026, 11, 1, 6, 30, tzinfo=UTC), datetime(2026, 11, 1, 13)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC), datetime(2026, 4, 4, 21, 30)),
        ("Asia/Kathmandu", datetime(2026, 5, 1, 18, tzinfo=UTC), datetime(2026, 5, 2, 2, 15)),
        ("America/Phoenix", datetime(2026, 3, 8, 8, tzinfo=UTC), datetime(2026, 3, 8, 15)),
        ("Pacific/Chatham", datetime(2026, 7, 1, 9, tzinfo=UTC), datetime(2026, 7, 1, 19, 15)),
    ],
)
def test_mornings_on_odd_nights_and_odd_offsets(zone, at, until):
    verdict = decide(facts(at=at, zones=frozenset({zone})))

    assert verdict.hold_until == until.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("hour", "minute", "legal"), [(7, 59, False), (8, 0, True), (20, 59, True), (21, 0, False)]
)
def test_the_edges_of_the_day(hour, minute, legal):
    at = datetime(2026, 11, 20, hour, minute, 30, tzinfo=ZoneInfo("America/New_York"))

    assert (decide(facts(at=at)).outcome == "allow") == legal


def test_zones_without_a_common_hour_are_held_for_a_day_and_never_allowed():
    far = frozenset({"Pacific/Honolulu", "Pacific/Guam"})
    for hour in range(24):
        at = NOON + timedelta(hours=hour)
        known = facts(at=at, zones=far, legal_hours=(9, 11))

        assert decide(known).outcome == "hold"
        assert next_legal(at, known) == at + timedelta(days=1)


# --- answers ----------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(moments, st.integers(0, 48 * 60))
def test_a_persons_answer_within_a_day_goes_at_any_hour(at, minutes):
    known = facts(at=at, last_inbound_at=at - timedelta(minutes=minutes))
    recent = timedelta(minutes=minutes) <= REPLY_WINDOW

    assert decide(known).outcome == ("allow" if recent or is_legal(at, known) else "hold")


@pytest.mark.parametrize("purpose", ["help", "opt_out_confirmation"])
def test_what_was_asked_for_goes_at_night(purpose):
    assert decide(facts(at=NIGHT, purpose=purpose, is_automated=True)).outcome == "allow"


def test_automation_waits_for_the_morning_although_the_person_just_wrote():
    known = facts(at=NIGHT, is_automated=True, last_inbound_at=NIGHT, purpose="first_text")

    assert decide(known).outcome == "hold"


# --- reasons ----------------------------------------------------------------------------------

DENIALS = {
    "opted_out": {"consent_block": "opted_out"},
    "held": {"consent_block": "held", "is_automated": True, "purpose": "first_text"},
    "wrong_number": {"is_wrong_number": True},
    "lead_closed": {"lead_state": "closed", "is_automated": True, "purpose": "first_text"},
    "lead_suppressed": {"lead_state": "suppressed", "is_automated": True, "purpose": "first_text"},
    "household": {"household": "lead_x", "purpose": "first_text"},
    "lead_merged": {"lead_is_merged": True},
    "paused": {
        "paused_until": NOON + timedelta(days=9), "is_automated": True, "purpose": "first_text",
    },
    "number_inactive": {"number_is_active": False},
    "integration_off": {"integration_is_on": False},
    "empty": {"segments": 0},
    "too_long": {"segments": 7},
}  # fmt: skip


@pytest.mark.parametrize("reason", DENIALS)
def test_each_reason_denies_and_has_words(reason):
    verdict = decide(facts(**DENIALS[reason]))

    assert (verdict.outcome, verdict.reasons, verdict.hold_until) == ("deny", (reason,), None)
    assert verdict.words == REASONS[reason]


def test_every_reason_is_tested():
    assert set(DENIALS) | {"quiet_hours", "too_many"} == set(REASONS)


#: Those that one text can have at once: a lead has one state.
TOGETHER = sorted(set(DENIALS) - {"held", "empty", "lead_suppressed"})


@settings(max_examples=200, deadline=None)
@given(st.sets(st.sampled_from(TOGETHER), min_size=1), moments)
def test_all_reasons_are_told_at_once(chosen, at):
    merged = {}
    for reason in chosen:
        merged |= DENIALS[reason]
    if "paused" in chosen:
        merged["paused_until"] = at + timedelta(days=1)
    verdict = decide(facts(**{**merged, "at": at}))

    assert verdict.outcome == "deny"
    assert chosen <= set(verdict.reasons)
    assert set(verdict.reasons) - chosen <= {"quiet_hours"}


@pytest.mark.parametrize("reason", ["held", "lead_closed", "paused"])
def test_people_may_where_automation_may_not(reason):
    values = {**DENIALS[reason], "is_automated": False, "purpose": "reply"}

    assert decide(facts(**values)).outcome == "allow"


def test_only_the_confirmation_passes_an_opt_out():
    for purpose in ("reply", "first_text", "help"):
        known = facts(purpose=purpose, consent_block="opted_out", is_automated=True)
        assert decide(known).outcome == "deny"
    known = facts(purpose="opt_out_confirmation", consent_block="opted_out", is_automated=True)
    assert decide(known).outcome == "allow"


@settings(max_examples=100, deadline=None)
@given(moments, st.sampled_from(ZONES))
def test_the_same_facts_give_the_same_verdict(at, zone):
    known = facts(at=at, zones=frozenset({zone}))

    assert decide(known) == decide(known)
    assert decide(known).as_json()["zones"] == (zone,)


# --- zones ------------------------------------------------------------------------------------


def test_a_known_zone_counts_alone():
    assert zones_of("America/Denver", "NY", "+12025550142") == {"America/Denver"}


def test_an_area_code_and_a_state_both_count():
    zones = zones_of("", "CA", "+12125550142")  # a New York number that lives in California

    assert zones == {"America/New_York", "America/Los_Angeles"}


@pytest.mark.parametrize("address", ["+18005550142", "12345", "Bank", ""])
def test_numbers_that_say_nothing_narrow_nothing_down(address):
    assert candidate_zones(address) == frozenset()


def test_every_state_has_zones_that_exist():
    assert len(STATE_ZONES) == 51  # and the District of Columbia
    assert {zone for zones in STATE_ZONES.values() for zone in zones} <= available_timezones()


# --- households -------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", ["reply", "help", "opt_out_confirmation"])
def test_answers_go_to_whoever_writes_from_a_shared_number(purpose):
    known = facts(household="lead_x", purpose=purpose, is_automated=purpose != "reply")

    assert decide(known).outcome == "allow"


def test_a_person_waves_a_household_through_and_a_machine_does_not():
    waved = frozenset({"household", "opted_out"})
    by_hand = decide(facts(household="lead_x", purpose="first_text", overridden=waved))
    machine = decide(
        facts(household="lead_x", purpose="first_text", overridden=waved, is_automated=True)
    )
    stopped = decide(
        facts(
            household="lead_x",
            purpose="first_text",
            overridden=waved,
            consent_block="opted_out",
        )
    )

    assert (by_hand.outcome, by_hand.overridden) == ("allow", ("household",))
    assert by_hand.as_json()["overridden"] == ("household",)
    assert (machine.outcome, machine.reasons) == ("deny", ("household",))
    assert (stopped.outcome, stopped.reasons) == ("deny", ("opted_out",))


def test_nobody_is_kept_from_nothing_by_a_waved_reason_that_does_not_speak():
    verdict = decide(facts(purpose="first_text", overridden=frozenset({"household"})))

    assert (verdict.outcome, verdict.overridden) == ("allow", ())
