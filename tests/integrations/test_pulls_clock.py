"""Pulls by the clock, what the database promises of them, and pages that cannot be filed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection

from integrations import pull_asking, pulls, tasks
from integrations.actions_pulls import PullRefused, cancel_sweep, resume_sweep
from integrations.models import Integration, PullQuery, PullSweep, VendorSeen
from integrations.pull_failures import RetryRefused, retry_letter
from integrations.pulls import due, pull
from leads.actions import owner
from leads.identity import engine
from leads.models import Lead
from pipelines.artifacts import read
from pipelines.models import Artifact, DeadLetter
from tenants.context import database_now, tenant_context
from tenants.ulids import to_uuid
from tests.integrations.pull_world import AT_FIRST, make_pull_world
from tests.messaging.conftest import _carrier, carrier
from tests.raw import refused

__all__ = ["_carrier", "carrier"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(committed_office, carrier, settings, tmp_path, monkeypatch):
    settings.FAIRLEAD_OBJECT_DIR = tmp_path
    monkeypatch.setattr(pull_asking, "PAUSE_S", 0.01)
    return make_pull_world(committed_office, carrier)


def due_here(world):
    return [one.query_id for one in due() if one.tenant_id == world.tenant_id]


def change(world, query, **values):
    with world.inside():
        PullQuery.objects.filter(pk=query.pk).update(**values)
        query.refresh_from_db()


# --- by the clock -----------------------------------------------------------------------------


def test_a_due_query_runs_once_and_is_due_again_in_its_rhythm(world):
    query = world.query(every_minutes=60)
    first = query.next_run_at
    assert due_here(world) == [query.pk]

    sweep = world.read(query)

    assert sweep.status == "closed"
    assert due_here(world) == []
    change(world, query)
    assert query.next_run_at == first + timedelta(hours=1)
    assert pull(world.tenant_id, query.pk) is None


def test_missed_hours_are_not_made_up_for(world):
    query = world.query(every_minutes=60)
    planned = database_now() - timedelta(hours=5, minutes=30)
    change(world, query, next_run_at=planned)

    world.read(query)

    change(world, query)
    assert query.next_run_at == planned + timedelta(hours=6)
    with world.inside():
        assert PullSweep.objects.count() == 1


def test_a_query_that_is_off_or_by_hand_is_never_due(world):
    world.query()
    off = world.query(criteria={"query": "90028"}, every_minutes=60, enabled=False)

    assert due_here(world) == []
    assert pull(world.tenant_id, off.pk) is None


def test_a_turn_that_ran_out_of_time_and_a_dead_one_are_due(world):
    query = world.query(page_size=100)
    sweep = world.start(query)
    assert due_here(world) == [query.pk]

    assert world.read(query, seconds=0).pages == 1
    assert due_here(world) == [query.pk]
    pulls.take(world.tenant_id, query.pk)
    assert due_here(world) == [], "somebody reads it"
    world.drop_lease(sweep)
    assert due_here(world) == [query.pk]


def test_a_sweep_that_waits_is_due_when_its_time_has_come(world):
    query = world.query(every_minutes=60)
    world.fault("429", count=1, retry_after=90)
    sweep = world.read(query)
    change(world, query, next_run_at=database_now())
    assert due_here(world) == [], "it waits, and no other begins beside it"

    with world.inside():
        PullSweep.objects.filter(pk=sweep.pk).update(resume_at=database_now())
    assert due_here(world) == [query.pk]


def test_an_account_that_is_off_is_left_alone(world):
    query = world.query(every_minutes=60)
    with world.inside():
        Integration.objects.filter(pk=world.account.pk).update(enabled=False)

    assert pull(world.tenant_id, query.pk) is None
    with world.inside(), pytest.raises(PullRefused, match="switched off"):
        world.start(query)
    assert world.invoice() == 0


def test_the_clock_gives_every_due_query_a_task_of_its_own(world, monkeypatch):
    first, second = (
        world.query(criteria={"query": zip_code}, every_minutes=60) for zip_code in ("1", "2")
    )
    asked = []
    monkeypatch.setattr(tasks, "async_task", lambda *call: asked.append(call))

    tasks.pulls_due()

    mine = {call[2] for call in asked if call[1] == world.tenant_id}
    assert mine == {first.pk, second.pk}
    assert {call[0] for call in asked} == {"integrations.tasks.pull_one"}
    assert tasks.pull_one(world.tenant_id, first.pk).startswith("closed")


# --- what the database promises ---------------------------------------------------------------


def seen(world, ids, sig):
    with world.inside(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT has_vendor_ids_been_seen(%s, %s, %s, %s)", [owner(), "batchdata", sig, ids]
        )
        return cursor.fetchone()[0]


def test_ids_have_been_seen_only_when_all_are_seen_and_closed(world):
    query = world.query(page_size=50)
    world.start(query)
    world.read(query, seconds=0)
    with world.inside():
        ids = list(VendorSeen.objects.values_list("vendor_id", flat=True))
    assert seen(world, ids, query.query_sig) is False, "seen, and their sweep is not complete"

    world.read(query)

    assert seen(world, ids, query.query_sig) is True
    assert seen(world, [*ids, "another"], query.query_sig) is False
    assert seen(world, [], query.query_sig) is False
    assert seen(world, ids, "0" * 64) is False


def test_another_tenants_ids_have_not_been_seen(world, other_office):
    query = world.query()
    world.sweep(query)
    ids = list(world.closed())
    with tenant_context(other_office.tenant.pk), connection.cursor() as cursor:
        for who in (owner(), str(to_uuid(world.tenant_id))):
            cursor.execute(
                "SELECT has_vendor_ids_been_seen(%s, 'batchdata', %s, %s)",
                [who, query.query_sig, ids],
            )
            assert cursor.fetchone()[0] is False


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("cost_cents = cap_cents + 1", "pull_sweeps_within_cap"),
        ("status = 'closed'", "pull_sweeps_closed_has_time"),
        ("status = 'paused'", "pull_sweeps_paused_has_kind"),
        ("pause_kind = 'cap'", "pull_sweeps_paused_has_kind"),
        ("status = 'lost', closed_at = clock_timestamp()", "pull_sweeps_status_is_known"),
        ("joined_pass = pass_no + 1", "pull_sweeps_joined_was_begun"),
    ],
)
def test_the_database_refuses(world, change, name):
    sweep = world.start(world.query())

    with world.inside():
        told = refused(f"UPDATE pull_sweeps SET {change} WHERE id = %s", [to_uuid(sweep.pk)])

    assert told == name


def test_a_query_has_one_unfinished_sweep(world):
    query = world.query()
    sweep = world.start(query)

    with world.inside(), pytest.raises(PullRefused, match="not finished"):
        world.start(query)
    with world.inside():
        cancel_sweep(sweep.pk, reason="again", actor_id=world.office.agent.pk)
    assert world.start(query).pk != sweep.pk


def test_what_a_cancelled_sweep_saw_is_read_again(world):
    query = world.query(page_size=100)
    sweep = world.start(query)
    world.read(query, seconds=0)
    with world.inside():
        cancel_sweep(sweep.pk, reason="enough", actor_id=world.office.agent.pk)

    assert world.closed() == set()
    assert world.sweep(query).status == "closed"
    assert world.closed() == world.listed()


def test_a_cap_is_never_lowered_below_what_was_spent(world):
    query = world.query(page_size=100)
    sweep = world.start(query)
    world.read(query, seconds=0)
    with world.inside():
        PullSweep.objects.filter(pk=sweep.pk).update(status="paused", pause_kind="person")
        with pytest.raises(PullRefused, match="at least"):
            resume_sweep(sweep.pk, cap_cents=1, actor_id=world.office.agent.pk)


# --- what cannot be filed ---------------------------------------------------------------------


@pytest.fixture
def poison(monkeypatch):
    """The database refuses one record of the list, whatever batch it comes in."""
    chosen = []
    real = engine.resolve

    def resolve(records, **options):
        if chosen and chosen[0] in {one.key for one in records}:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")
        return real(records, **options)

    monkeypatch.setattr("integrations.pull_records.resolve", resolve)
    return chosen


def test_one_poisoned_record_holds_up_no_other_and_is_kept_for_a_person(world, poison):
    query = world.query(page_size=100)
    poison.append(sorted(world.listed())[100])

    sweep = world.sweep(query)

    assert (sweep.status, sweep.errors, sweep.created) == ("closed", 1, AT_FIRST - 1)
    assert world.listed() - world.fetched() == set(poison)
    with world.inside():
        letter = DeadLetter.objects.get(stage="pull")
        assert poison[0] in letter.error
        assert retry_letter(letter.pk, actor_id=world.office.agent.pk) == 1, "still poisoned"
    poison.clear()
    with world.inside():
        assert retry_letter(letter.pk, actor_id=world.office.agent.pk) == 0
        letter.refresh_from_db()
        assert (letter.status, letter.retries) == ("resolved", 2)
        with pytest.raises(RetryRefused):
            retry_letter(letter.pk, actor_id=world.office.agent.pk)
    assert world.fetched() == world.listed()
    assert world.ledger() == world.invoice() == AT_FIRST * 10


def test_a_page_that_cannot_be_filed_is_kept_and_the_sweep_waits(world, monkeypatch):
    query = world.query(page_size=500)
    with monkeypatch.context() as patch:
        patch.setattr("integrations.pull_pages._mark", broken)
        sweep = world.sweep(query)

    assert (sweep.status, sweep.pause_kind, sweep.pages) == ("paused", "failed", 0)
    assert world.ledger() == world.invoice() == AT_FIRST * 10, "it was paid for"
    with world.inside():
        letter = DeadLetter.objects.get(stage="pull")
        assert letter.ref.startswith("strace_")
        assert retry_letter(letter.pk, actor_id=world.office.agent.pk) == 0
        assert Lead.objects.filter(source="batchdata").count() == 500
        resume_sweep(sweep.pk, actor_id=world.office.agent.pk)
    assert world.read(query).status == "closed"
    assert world.fetched() == world.listed()
    assert world.ledger() == world.invoice() == AT_FIRST * 10


def broken(*_):
    raise LookupError("no such thing")


def test_the_answer_is_kept_as_it_came_and_every_lead_says_which(world):
    query = world.query(page_size=500)
    sweep = world.sweep(query)

    page = world.pages(sweep)[0]
    with world.inside():
        artifact = Artifact.objects.get(pk=page.artifact_id)
        body = read(artifact)
        lead = Lead.objects.filter(source="batchdata", artifact=artifact).first()
    assert artifact.storage == "object"
    assert all(one.encode() in body for one in page.ids)
    assert lead.run_id == sweep.run_id
    assert lead.source_id in page.ids
