"""A simulation of a vendor's list that never keeps still: nothing is lost, nothing paid twice."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from integrations import pull_asking, pull_money, pulls
from integrations.actions_pulls import (
    resume_sweep,
)
from integrations.models import PullPage, PullSweep, VendorAnswer
from integrations.pull_pages import Place
from integrations.pulls import due, pull, take
from leads.models import Lead
from pipelines.models import PipelineRun
from tenants.context import database_now
from tests.integrations.pull_world import AT_FIRST, PRICE, make_pull_world
from tests.messaging.conftest import _carrier, carrier
from tests.raw import at_once

__all__ = ["_carrier", "carrier"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(committed_office, carrier, settings, tmp_path, monkeypatch):
    settings.FAIRLEAD_OBJECT_DIR = tmp_path
    monkeypatch.setattr(pull_asking, "PAUSE_S", 0.01)
    return make_pull_world(committed_office, carrier)


# --- the stop rule ----------------------------------------------------------------------------


def test_a_first_sweep_fetches_every_record_and_pays_for_each_once(world):
    query = world.query()

    sweep = world.sweep(query)

    assert (sweep.status, sweep.stop_reason) == ("closed", "the list ends here")
    assert world.fetched() == world.closed() == world.listed()
    assert len(world.fetched()) == AT_FIRST
    assert (sweep.created, sweep.errors, sweep.new_ids) == (AT_FIRST, 0, AT_FIRST)
    assert sweep.cost_cents == world.ledger() == world.invoice() == AT_FIRST * PRICE
    assert [page.cost_cents for page in world.pages(sweep)][1:] == [0] * (sweep.pages - 1)
    with world.inside():
        assert PipelineRun.objects.get(pk=sweep.run_id).status == "completed"


def test_hourly_sweeps_of_a_growing_list_lose_nothing_and_stop_early(world):
    query = world.query()
    world.sweep(query)

    read_pages = []
    for _ in range(25):
        world.insert(3)
        world.insert(2, after=2)  # while it is read: after the count and the first page
        read_pages.append(world.sweep(query).pages)
    last = world.sweep(query)

    assert last.status == "closed"
    assert world.fetched() == world.closed() == world.listed()
    assert len(world.fetched()) == AT_FIRST + 25 * 5
    assert max(read_pages) <= 3
    assert world.ledger() == world.invoice() == (AT_FIRST + 25 * 5) * PRICE


def test_one_known_record_on_a_page_ends_nothing(world):
    query = world.query(page_size=50)
    world.sweep(query)
    world.insert(120)

    sweep = world.sweep(query)

    assert sweep.stop_reason == "all that follows is known"
    assert world.fetched() == world.listed()
    pages = world.pages(sweep)
    assert 0 < pages[2].new_ids < 50, "new and known on one page"
    assert pages[-1].new_ids == 0


def test_many_more_than_a_page_may_come_while_it_is_read(world):
    query = world.query(page_size=50)
    for after in range(2, 12):
        world.insert(60, after=after)

    first = world.sweep(query)
    world.sweep(query)

    assert first.status == "closed"
    assert world.fetched() == world.listed()
    assert world.ledger() == world.invoice()


@pytest.mark.parametrize("gone", [1, 30, 130])
def test_records_that_leave_while_it_is_read_hide_no_others(world, gone):
    """They pull the rest of the list up: without an overlap the next page would begin too late."""
    query = world.query(page_size=50)
    world.start(query)
    stop = Interrupt(3)
    world.read(query, stop=stop)

    world.remove(gone)
    sweep = world.read(query)

    assert sweep.status == "closed"
    assert sweep.steps_back >= 1
    assert world.fetched() >= world.listed()


def test_a_list_that_never_keeps_still_is_shown_to_a_person(world, monkeypatch):
    query = world.query(page_size=50)
    world.start(query)
    monkeypatch.setattr(
        "integrations.pull_pages._place",
        lambda *_: Place(
            is_connected=False, all_closed=False, all_joined=False, leaves_joined=False, new_ids=0
        ),
    )

    sweep = world.read(query)

    assert (sweep.status, sweep.pause_kind) == ("paused", "unsteady")
    assert due() == []


def test_a_full_sweep_reads_what_is_known_too(world):
    query = world.query()
    world.sweep(query)
    short, full = world.sweep(query), world.sweep(query, is_full=True)

    assert (short.pages, full.records >= AT_FIRST, full.created) == (1, True, 0)
    assert world.ledger() == world.invoice() == AT_FIRST * PRICE


# --- dying, and who may go on -----------------------------------------------------------------


class Interrupt(threading.Event):
    """Stops a reader before the page after so many."""

    def __init__(self, pages: int) -> None:
        super().__init__()
        self.left = pages

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_a_turn_that_ends_goes_on_where_it_ended(world):
    query = world.query(page_size=100)
    world.start(query)

    first = world.read(query, stop=Interrupt(2))
    assert (first.status, first.pages, first.lease_until) == ("open", 2, None)
    second = world.read(query)

    assert (second.status, second.epoch) == ("closed", 3)
    assert second.pages == 6
    assert world.fetched() == world.listed()


def test_after_a_death_the_front_is_read_again_and_the_known_is_jumped_over(world, monkeypatch):
    query = world.query(page_size=50)
    sweep = world.start(query)
    with monkeypatch.context() as patch:
        die_after(patch, 7)
        with pytest.raises(Death):
            world.read(query)
    assert pull(world.tenant_id, query.pk) is None, "its lease still holds"
    new = world.insert(4)

    world.drop_lease(sweep)
    done = world.read(query)

    assert done.status == "closed"
    assert set(new) <= world.fetched() == world.listed()
    skips = [page.skip for page in world.pages(done)]
    assert skips[7:10] == [0, 49, 7 * 49 + 50 - 49 - 50], "front, until it is known; then back one"
    assert world.ledger() == world.invoice()


class Death(BaseException):
    """As if by kill -9: nothing after it runs in this reader."""


def die_after(monkeypatch, pages):
    """Let the reader die between pages, without a chance to say so."""
    left = [pages]

    def place(name):
        if name == "pulls.after_commit":
            left[0] -= 1
            if left[0] == 0:
                raise Death

    monkeypatch.setattr("integrations.pull_pages.hit", place)


def test_deaths_one_after_the_other_at_the_front_leave_no_gap(world, monkeypatch):
    """What a dead pass read before it met the rest is not taken for one piece with it."""
    query = world.query(page_size=50)
    sweep = world.start(query)
    for pages in (4, 1, 1, 2, 1):
        with monkeypatch.context() as patch:
            die_after(patch, pages)
            with pytest.raises(Death):
                world.read(query)
        world.drop_lease(sweep)
        world.insert(130)

    done = world.read(query)
    world.insert(1)
    again = world.sweep(query)

    assert done.status == again.status == "closed"
    assert world.fetched() == world.closed() == world.listed()
    assert world.ledger() == world.invoice()


def test_fault_33_two_pullers_on_one_query_are_fenced(world, monkeypatch):
    """The slow one comes back with a page after another took its sweep over."""
    query = world.query(page_size=100)
    sweep = world.start(query)
    slow = take(world.tenant_id, query.pk)
    world.drop_lease(sweep)

    stop = threading.Event()
    found = pull_asking.count(slow, stop)
    with world.inside():
        place = PullSweep.objects.get(pk=sweep.pk)
    bought, *_ = pull_asking.buy(slow, place, found, 0.0, stop)
    quick = take(world.tenant_id, query.pk)
    with pytest.raises(pulls.Fenced):
        pulls._file(slow, bought)
    with world.inside():
        assert not PullPage.objects.exists()
        assert not Lead.objects.filter(source="batchdata").exists()
    pulls._take_turn(quick, stop, None)

    with world.inside():
        done = PullSweep.objects.get(pk=sweep.pk)
        assert {page.epoch for page in PullPage.objects.all()} == {quick.epoch}
    assert done.status == "closed"
    assert world.ledger() == world.invoice() == AT_FIRST * PRICE


def test_of_many_processes_at_once_one_reads(world):
    query = world.query(page_size=250)
    world.start(query)

    results = at_once([lambda: pull(world.tenant_id, query.pk) for _ in range(4)])

    done = [one for one in results if one is not None]
    assert [one.status for one in done] == ["closed"]
    assert world.fetched() == world.listed()
    assert world.ledger() == world.invoice()


# --- money ------------------------------------------------------------------------------------


def test_a_cap_stops_before_the_request_that_would_pass_it(world):
    query = world.query(run_cap_cents=AT_FIRST * PRICE - 1)

    sweep = world.sweep(query)

    assert (sweep.status, sweep.pause_kind, sweep.pages) == ("paused", "cap", 0)
    assert "$50.70" in sweep.stop_reason
    assert world.invoice() == world.ledger() == 0
    assert pull(world.tenant_id, query.pk) is None, "it waits for a person"


def test_a_cap_is_spent_to_the_cent_and_not_passed_when_the_list_grows(world):
    cap = (AT_FIRST + 3) * PRICE
    query = world.query(run_cap_cents=cap, page_size=100)
    world.start(query)
    world.read(query, stop=Interrupt(2))
    world.insert(3)
    world.read(query, stop=Interrupt(1))
    assert world.invoice() == cap
    world.insert(1)

    sweep = world.read(query)

    assert (sweep.status, sweep.pause_kind, sweep.cost_cents) == ("paused", "cap", cap)
    assert world.invoice() == world.ledger() == cap
    with world.inside():
        resume_sweep(sweep.pk, actor_id=world.office.agent.pk, cap_cents=cap + PRICE)
    done = world.read(query)
    assert (done.status, done.cost_cents) == ("closed", cap + PRICE)
    assert world.fetched() == world.listed()


def test_the_tenants_budget_of_a_day_holds_a_sweep_until_tomorrow(world):
    with world.inside():
        world.office.tenant.settings = {"spend_caps": {"day_cents": 100}}
        world.office.tenant.save()
    query = world.query()

    sweep = world.sweep(query)

    assert (sweep.status, sweep.pause_kind) == ("paused", "budget")
    assert timedelta(0) < sweep.resume_at - database_now() <= timedelta(days=1)
    assert world.invoice() == 0


def test_an_empty_balance_is_no_bill_and_waits_for_a_person(world):
    world.set_account(balance_cents=100)
    query = world.query()

    sweep = world.sweep(query)

    assert (sweep.pause_kind, sweep.resume_at) == ("balance", None)
    assert "balance" in sweep.stop_reason
    assert world.invoice() == world.ledger() == 0


def test_an_answer_that_is_lost_is_unknown_and_never_bought_again_by_itself(world):
    query = world.query()
    world.start(query)
    reading = take(world.tenant_id, query.pk)
    found = pull_asking.count(reading)
    world.fault("reset_after_accept", count=1)
    with world.inside():
        place = PullSweep.objects.get(pk=reading.sweep_id)

    with pytest.raises(pulls.Pause) as caught:
        pull_asking.buy(reading, place, found, 0.0, threading.Event())
    pulls._pause(reading, caught.value)

    assert caught.value.kind == "unknown"
    with world.inside():
        assert VendorAnswer.objects.get().result == "unknown"
    assert due() == []
    assert pull(world.tenant_id, query.pk) is None
    with world.inside():
        resume_sweep(reading.sweep_id, actor_id=world.office.agent.pk)
    assert world.read(query).status == "closed"
    assert world.ledger() == world.invoice() == AT_FIRST * PRICE
    with world.inside():
        assert (
            not VendorAnswer.objects.filter(is_final=False)
            .exclude(call__answers__is_final=True)
            .exists()
        ), "the next answer of the day tells what the lost one cost"


def test_a_vendor_that_asks_to_wait_is_left_alone_for_as_long(world):
    query = world.query()
    world.start(query)
    world.fault("429", count=1, retry_after=120)

    sweep = world.read(query)

    assert (sweep.status, sweep.pause_kind) == ("paused", "busy")
    assert sweep.resume_at - database_now() > timedelta(seconds=60)
    assert world.ledger() == world.invoice() == 0


def test_passing_failures_are_asked_again_and_cost_nothing(world):
    query = world.query()
    world.start(query)
    world.fault("500", count=2)

    sweep = world.read(query)

    assert sweep.status == "closed"
    assert world.ledger() == world.invoice()


def test_another_day_of_the_vendor_bills_the_result_set_again(world, monkeypatch):
    query = world.query()
    world.sweep(query)
    world.carrier.client.post("/_control/day", json={"offset": 1})
    tomorrow = (database_now() + timedelta(days=1)).date()
    monkeypatch.setattr(pull_money, "vendor_day", lambda _=None: tomorrow)

    world.insert(1)
    sweep = world.sweep(query)

    assert sweep.cost_cents == (AT_FIRST + 1) * PRICE
    assert world.ledger() == world.invoice() == (2 * AT_FIRST + 1) * PRICE
