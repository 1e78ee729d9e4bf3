"""Sixteen workers that buy at once: caps to the call and the cent, and nothing bought twice."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest

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
)
from integrations.models import SpendCounter, VendorCall
from integrations.sandbox.server import running
from integrations.waterfall_work import work
from tests.integrations.waterfall_world import make_world
from tests.raw import at_once

pytestmark = pytest.mark.django_db(transaction=True)

WORKERS = 16


def want(office, asked, **changes) -> Purchase:
    return Purchase(
        **{
            "integration_id": office.integration.pk,
            "provider": "batchdata",
            "service": "skip_trace",
            "fingerprint": fingerprint(asked),
            "price_cents": 15,
            "fresh_days": 90,
            **changes,
        }
    )


def test_a_cap_of_a_thousand_calls_is_a_thousand_calls(committed_office):
    office, cap = committed_office, (Cap(scope="stage:x", calls=1000),)

    def work(worker):
        def buy():
            got = 0
            for n in range(70):  # 1,120 in all
                bought = reserve(office.tenant.pk, want(office, (worker, n), caps=cap))
                got += isinstance(bought, Reserved)
            return got

        return buy

    got = at_once([work(worker) for worker in range(WORKERS)])

    assert sum(got) == 1000, got
    with office.inside():
        assert VendorCall.objects.count() == 1000
        assert set(SpendCounter.objects.values_list("calls", "cents")) == {(1000, 15_000)}


def test_caps_in_cents_hold_while_others_give_money_back(committed_office):
    """Half of the calls cost nothing, so their cents may be spent again, and never twice."""
    office, cap = committed_office, (Cap(scope="stage:x", cents=15 * 20),)

    def work(worker):
        def buy():
            paid = 0
            for n in range(40):
                bought = reserve(office.tenant.pk, want(office, (worker, n), caps=cap))
                if isinstance(bought, Reserved):
                    cost = 15 if n % 2 else 0
                    with office.inside():
                        settle(bought.call_id, Settlement(result="hit", cost_cents=cost))
                    paid += cost
            return paid

        return buy

    paid = at_once([work(worker) for worker in range(8)])

    assert sum(paid) <= 300
    with office.inside():
        counter = SpendCounter.objects.get(scope="stage:x", period="day")
    assert counter.cents == sum(paid) == 300


def test_many_who_ask_the_same_pay_once(committed_office):
    office = committed_office

    def ask():
        outcomes = []
        for n in range(20):
            bought = reserve(office.tenant.pk, want(office, n))
            if isinstance(bought, Reserved):
                with office.inside():
                    settle(bought.call_id, Settlement(result="hit", cost_cents=15, fresh_days=90))
            outcomes.append(bought)
        return outcomes

    results = at_once([ask] * WORKERS)

    flat = [one for outcomes in results for one in outcomes]
    assert sum(isinstance(one, Reserved) for one in flat) == 20
    assert {one.reason for one in flat if isinstance(one, Refused)} <= {"in_flight"}
    assert any(isinstance(one, Cached) for one in flat)
    with office.inside():
        assert VendorCall.objects.count() == 20


def test_leads_of_many_workers_stop_at_the_cap(committed_office):
    """The whole of it: sixteen enrichments at once, over HTTP, and a cap that lets eleven buy."""
    with running() as url, httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        world = make_world(committed_office, client)
        world.only("melissa")
        world.change("melissa", daily_call_cap=11)
        leads = [world.lead() for _ in range(24)]
        world.start(*leads)

        taken = at_once([lambda: work(world.tenant_id, at_once=8)] * 2)

        assert sum(taken) >= 24, taken
        states = Counter(world.enrichment(lead).state for lead in leads)
        assert states == {"done": 11, "held": 13}
        assert world.calls() == len(world.billed("melissa")) == 11
        assert world.spent() == world.invoice() == 55


def test_one_answer_told_by_many_counts_once(committed_office):
    office = committed_office
    bought = reserve(office.tenant.pk, want(office, "a"))

    def tell(cost):
        def settle_it():
            with office.inside():
                return settle(bought.call_id, Settlement(result="hit", cost_cents=cost))

        return settle_it

    told = at_once([tell(cost) for cost in range(8)])

    assert sorted(told) == [False] * 7 + [True]
    with office.inside():
        assert SpendCounter.objects.get(scope="all", period="day").cents == told.index(True)
