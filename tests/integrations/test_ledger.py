"""Paid calls: caps, freshness, what is in flight, the breaker, and money given back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import DatabaseError

from integrations.ledger import (
    Cached,
    Cap,
    Purchase,
    Refused,
    Reserved,
    Settlement,
    fingerprint,
    reserve,
    settle,
    settle_silent,
)
from integrations.models import (
    Integration,
    ProviderCircuit,
    SpendCounter,
    VendorAnswer,
    VendorCall,
    VendorInput,
)
from tenants.context import database_now
from tests.raw import refused, rows

pytestmark = pytest.mark.django_db


def want(office, *asked, **changes) -> Purchase:
    return Purchase(
        **{
            "integration_id": office.integration.pk,
            "provider": "melissa",
            "service": "personator",
            "fingerprint": fingerprint(*asked),
            "price_cents": 5,
            "fresh_days": 90,
            **changes,
        }
    )


def buy(office, *asked, **changes):
    return reserve(office.tenant.pk, want(office, *asked, **changes))


def end(office, bought, result="hit", **told) -> bool:
    with office.inside():
        return settle(bought.call_id, Settlement(result=result, **told))


def cents(office, scope="all", period="day") -> tuple[int, int]:
    with office.inside():
        row = SpendCounter.objects.get(scope=scope, period=period)
    return row.calls, row.cents


def circuit(office) -> ProviderCircuit:
    with office.inside():
        return ProviderCircuit.objects.get(integration=office.integration)


def age(office, call_id: str, **ago) -> None:
    """Let the input of a call have been asked about longer ago."""
    with office.inside():
        VendorInput.objects.filter(call=call_id).update(
            open_since=database_now() - timedelta(**ago)
        )


def test_a_reservation_is_written_down_and_takes_its_price_everywhere(office):
    bought = buy(office, "a", caps=(Cap(scope="stage:x", calls=10),))

    assert isinstance(bought, Reserved)
    with office.inside():
        call = VendorCall.objects.get(pk=bought.call_id)
        counters = set(SpendCounter.objects.values_list("scope", "period", "calls", "cents"))
    assert (call.reserved_cents, sorted(call.scopes)) == (5, ["all", "provider:melissa", "stage:x"])
    assert counters == {
        (scope, period, 1, 5)
        for scope in ("all", "provider:melissa", "stage:x")
        for period in ("day", "month")
    }


def test_what_it_did_not_cost_is_given_back_once(office):
    bought = buy(office, "a", price_cents=15)

    assert end(office, bought, cost_cents=4) is True
    assert end(office, bought, cost_cents=15) is False
    assert end(office, bought, "failed") is False

    assert cents(office) == (1, 4)
    assert cents(office, "provider:melissa", "month") == (1, 4)
    with office.inside():
        assert VendorAnswer.objects.get().cost_cents == 4


def test_a_call_that_was_never_written_is_no_call(office):
    end(office, buy(office, "a"), "failed", was_made=False)

    assert cents(office) == (0, 0)


def test_the_same_is_not_paid_for_twice_while_it_is_fresh(office):
    first = buy(office, "a")
    end(office, first, cost_cents=5, fresh_days=90)

    again = buy(office, "a")
    other = buy(office, "b")

    assert isinstance(again, Cached)
    assert (again.call_id, again.answer.result) == (first.call_id, "hit")
    assert isinstance(other, Reserved)
    assert cents(office) == (2, 10)


def test_a_miss_is_an_answer_too(office):
    end(office, buy(office, "a"), "miss", fresh_days=90)

    assert isinstance(buy(office, "a"), Cached)


@pytest.mark.parametrize("result", ["failed", "refused"])
def test_no_answer_is_no_answer_to_keep(office, result):
    end(office, buy(office, "a"), result, fresh_days=90)

    assert isinstance(buy(office, "a"), Reserved)


def test_an_answer_that_is_too_old_is_asked_for_again(office):
    end(office, buy(office, "a"), fresh_days=90)
    with office.inside():
        VendorInput.objects.update(fresh_until=database_now() - timedelta(seconds=1))

    assert isinstance(buy(office, "a"), Reserved)
    # A stage that wants fresher answers than those that were kept gets them.
    end(office, buy(office, "b"), fresh_days=90)
    assert isinstance(buy(office, "b", fresh_days=0), Reserved)


def test_the_same_in_flight_is_not_asked_a_second_time(office):
    first = buy(office, "a")

    second = buy(office, "a")

    assert isinstance(second, Refused)
    assert (second.reason, second.call_id) == ("in_flight", first.call_id)
    assert second.until > database_now()
    end(office, first, "pending", request_id="r1")
    assert buy(office, "a").reason == "in_flight"
    end(office, first, cost_cents=5, fresh_days=1)
    assert isinstance(buy(office, "a"), Cached)
    assert cents(office) == (1, 5)


def test_an_unknown_keeps_its_cents_and_is_never_bought_again(office):
    first = buy(office, "a")
    end(office, first, "unknown", error="no answer within 15 s")

    refusal = buy(office, "a")

    assert (refusal.reason, refusal.until, refusal.call_id) == ("unknown", None, first.call_id)
    assert cents(office) == (1, 5)
    assert end(office, first, "unknown") is False
    assert end(office, first, "pending") is False
    # A person, or the vendor, finds out after all.
    assert end(office, first, "failed") is True
    assert cents(office) == (1, 0)
    assert isinstance(buy(office, "a"), Reserved)


def test_a_call_whose_process_died_becomes_unknown(office):
    first = buy(office, "a")
    fresh = buy(office, "b")
    age(office, first.call_id, minutes=10)

    assert buy(office, "a").reason == "unknown"
    assert settle_silent(office.tenant.pk) == 1
    assert settle_silent(office.tenant.pk) == 0
    with office.inside():
        answer = VendorAnswer.objects.get()
        assert (answer.call_id, answer.result) == (first.call_id, "unknown")
        assert not VendorAnswer.objects.filter(call=fresh.call_id).exists()


@pytest.mark.parametrize(
    ("cap", "allowed"),
    [
        (Cap(scope="stage:x", calls=3), 3),
        (Cap(scope="stage:x", cents=14), 2),
        (Cap(scope="stage:x", period="month", cents=15), 3),
        (Cap(scope="provider:melissa", calls=1), 1),
        (Cap(scope="stage:x", calls=0), 0),
    ],
)
def test_a_cap_is_not_passed(office, cap, allowed):
    outcomes = [buy(office, n, caps=(cap,)) for n in range(allowed + 2)]

    assert [type(one) for one in outcomes] == [Reserved] * allowed + [Refused] * 2
    last = outcomes[-1]
    assert (last.reason, last.detail) == ("cap", f"{cap.scope} {cap.period}")
    assert last.until > database_now()
    with office.inside():
        assert VendorCall.objects.count() == allowed
        # What the cap refused was taken from no other counter either.
        assert not SpendCounter.objects.exclude(calls=allowed).exists()


def test_the_tenants_own_cap_binds_everybody(office):
    with office.inside():
        office.tenant.settings = {"spend_caps": {"day_cents": 10}}
        office.tenant.save()

    outcomes = [buy(office, n, provider=name) for n, name in enumerate(["a", "b", "c"])]

    assert [type(one) for one in outcomes] == [Reserved, Reserved, Refused]
    assert outcomes[-1].detail == "all day"


def test_a_cap_lowered_below_what_was_spent_refuses_and_raised_allows(office):
    for n in range(3):
        buy(office, n, caps=(Cap(scope="stage:x", calls=5),))

    assert buy(office, "x", caps=(Cap(scope="stage:x", calls=2),)).reason == "cap"
    assert isinstance(buy(office, "y", caps=(Cap(scope="stage:x", calls=4),)), Reserved)
    assert buy(office, "z", caps=(Cap(scope="stage:x", calls=4),)).reason == "cap"


def test_a_vendor_that_takes_more_than_it_said_is_written_down_and_spends_the_cap(office):
    cap = (Cap(scope="stage:x", cents=10),)
    bought = buy(office, "a", caps=cap)

    end(office, bought, cost_cents=12)

    assert cents(office, "stage:x") == (1, 12)
    assert buy(office, "b", caps=cap).reason == "cap"


def test_the_database_refuses_a_counter_past_its_cap(office):
    buy(office, "a", caps=(Cap(scope="stage:x", calls=1, cents=5),))

    with office.inside():
        for column, name in (("calls", "calls"), ("cents", "cents")):
            assert refused(
                f"UPDATE spend_counters SET {column} = {column} + 1 WHERE scope = 'stage:x'"
                " AND period = 'day'"
            ) == (f"spend_counters_{name}_within_cap")


def test_the_day_is_the_tenants(office):
    with office.inside():
        office.tenant.time_zone = "Pacific/Kiritimati"
        office.tenant.save()
    bought = buy(office, "a", caps=(Cap(scope="s", calls=1),))

    refusal = buy(office, "b", caps=(Cap(scope="s", calls=1),))

    with office.inside():
        day = VendorCall.objects.get(pk=bought.call_id).day
        here, midnight = rows(
            "SELECT (clock_timestamp() AT TIME ZONE 'Pacific/Kiritimati')::date,"
            " date_trunc('day', clock_timestamp() AT TIME ZONE 'Pacific/Kiritimati')"
            "  AT TIME ZONE 'Pacific/Kiritimati' + interval '1 day'"
        )[0]
    assert (day, refusal.until) == (here, midnight)


def test_a_lead_is_left_alone_after_a_miss(office):
    lead = office.lead()
    end(office, buy(office, "old address", lead_id=lead.pk), "miss")

    asked = {"lead_id": lead.pk, "cool_down_days": 14}
    refusal = buy(office, "new address", **asked)

    assert refusal.reason == "cool_down"
    assert refusal.until > database_now() + timedelta(days=13)
    assert isinstance(buy(office, "new address", **asked | {"service": "other"}), Reserved)
    assert isinstance(buy(office, "new address", **asked | {"cool_down_days": 0}), Reserved)


def test_what_was_switched_off_is_not_asked(office):
    with office.inside():
        Integration.objects.update(enabled=False)

    assert buy(office, "a").reason == "disabled"


# --- the breaker ------------------------------------------------------------------------------


def fail(office, *asked, **told):
    end(office, buy(office, *asked), **{"result": "failed", "error": "HTTP 500", **told})


def let_probe(office):
    with office.inside():
        ProviderCircuit.objects.update(probe_at=database_now() - timedelta(seconds=1))


def test_twenty_failures_in_a_row_leave_the_account_alone(office):
    for n in range(19):
        fail(office, n, result="unknown" if n % 2 else "failed")
    end(office, buy(office, "good"))
    for n in range(20, 39):
        fail(office, n)
    assert circuit(office).state == "closed"
    assert isinstance(buy(office, "open"), Reserved)

    fail(office, 39)

    refusal = buy(office, "x")
    now = database_now()
    assert (circuit(office).state, refusal.reason) == ("open", "circuit")
    assert now + timedelta(minutes=4) < refusal.until <= now + timedelta(minutes=5)


def test_one_call_tries_and_its_success_closes(office):
    end(office, buy(office, 0), "refused", trips=True, error="Insufficient balance")
    let_probe(office)

    probe = buy(office, "probe")

    assert isinstance(probe, Reserved)
    assert (circuit(office).state, buy(office, "x").reason) == ("half", "circuit")
    end(office, probe, "miss")
    assert (circuit(office).state, circuit(office).failures) == ("closed", 0)
    assert isinstance(buy(office, "x"), Reserved)


def test_each_probe_that_fails_doubles_the_pause(office):
    end(office, buy(office, 0), "refused", trips=True)
    for minutes in (10, 20, 40):
        let_probe(office)
        fail(office, "probe")
        now = database_now()
        left = circuit(office).probe_at - now
        assert timedelta(minutes=minutes) * 0.9 < left <= timedelta(minutes=minutes)


def test_a_probe_whose_process_died_is_made_again(office):
    end(office, buy(office, 0), "refused", trips=True)
    let_probe(office)
    buy(office, "probe")
    let_probe(office)

    assert isinstance(buy(office, "second probe"), Reserved)


def test_a_probe_that_a_cap_refuses_is_no_probe(office):
    end(office, buy(office, 0), "refused", trips=True)
    let_probe(office)

    assert buy(office, "probe", caps=(Cap(scope="s", calls=0),)).reason == "cap"
    assert circuit(office).state == "open"


def test_a_vendor_that_is_busy_has_not_failed(office):
    for n in range(25):
        end(office, buy(office, n), "refused", http_status=429, throttled_s=0.0)
    end(office, buy(office, "x"), "refused", http_status=429, throttled_s=30.0)

    refusal = buy(office, "y")

    now = database_now()
    assert (refusal.reason, circuit(office).state, circuit(office).failures) == (
        "throttled",
        "closed",
        0,
    )
    assert now + timedelta(seconds=20) < refusal.until <= now + timedelta(seconds=30)


def test_another_tenants_calls_are_not_seen(office, other_office):
    first = buy(office, "a")
    end(office, first, fresh_days=90)

    assert isinstance(buy(other_office, "a"), Reserved)
    with pytest.raises(DatabaseError, match="no such paid"), other_office.inside():
        settle(first.call_id, Settlement(result="hit"))
