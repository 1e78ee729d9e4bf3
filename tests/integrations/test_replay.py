"""Replays: the exact difference first, a new run linked to the old, and nothing twice."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from integrations.actions_replay import MAX_DRY_RUN, dry_run, newest_runs, replay_work
from integrations.bulk import act_on
from integrations.diffs import MASK, Change, read_changes
from integrations.events import MessageReceived
from integrations.models import Integration, WebhookEvent, WebhookWork, WorkEvent
from integrations.selections import select
from leads.models import ConsentEvent, Lead, LeadEvent
from messaging.models import Conversation, LiveEvent, Message, Notification, OutboundMessage
from tenants.dispatch import _handlers, on
from tenants.models import DryRunChange
from tenants.ulids import to_uuid
from tests.conftest import drain
from tests.raw import at_once, rows

pytestmark = pytest.mark.django_db

COUNTED = [
    *(ConsentEvent, Lead, LeadEvent, Conversation, LiveEvent, Message, Notification),
    *(OutboundMessage, WebhookWork, WorkEvent, DryRunChange),
]


def census(office):
    """How many rows each table has, and the newest version of each."""
    with office.inside():
        return {
            model._meta.db_table: rows(
                f"SELECT count(*), coalesce(max(xmin::text::bigint), 0) FROM {model._meta.db_table}"
            )
            for model in COUNTED
        }


def seqs(office, **which):
    with office.inside():
        return list(
            WebhookWork.objects.filter(**which).order_by("seq").values_list("seq", flat=True)
        )


def rehearse(office, *which):
    with office.inside():
        return dry_run(list(which) or seqs(office))


def written(changes: list[Change]):
    return {(change.operation, change.table) for change in changes}


# --- dry run ------------------------------------------------------------------------------------


def test_a_dry_run_shows_every_row_and_leaves_none(office):
    office.post(office.payload("Maybe. What would you pay?"))
    before = census(office)

    (rehearsal,) = rehearse(office)

    assert census(office) == before
    assert rehearsal.error == ""
    assert rehearsal.outcome.startswith("filed msg_")
    assert {
        ("insert", "messages"),
        ("insert", "conversations"),
        ("insert", "leads"),
        ("insert", "lead_events"),
        ("update", "leads"),
        ("insert", "live_events"),
        ("insert", "notifications"),
    } <= written(rehearsal.changes)


def test_it_shows_what_really_is_written_then(office):
    office.post(office.payload("STOP"))
    shown = rehearse(office)[0].changes
    drain()

    with office.inside():
        message = Message.objects.get(direction="in")
        (insert,) = [one for one in shown if one.table == "messages" and "in" in values(one)]
        assert values(insert)["body"] == message.body == "STOP"
        assert values(insert)["sender"] == message.sender
        suppressed = [one for one in shown if one.table == "leads" and one.operation == "update"]
        assert "suppressed" in {values(one).get("state") for one in suppressed}
        assert Lead.objects.get().state == "suppressed"


def values(change):
    return {column.name: column.after for column in change.columns} | (
        {"in": True} if any(column.after == "in" for column in change.columns) else {}
    )


def test_an_update_says_before_and_after_of_what_changed_only(office):
    office.receive("hello")
    office.post(office.payload("and again"))

    changes = rehearse(office, seqs(office)[-1])[0].changes

    update = next(one for one in changes if one.table == "conversations")
    columns = {column.name: (column.before, column.after) for column in update.columns}
    assert update.operation == "update"
    assert columns["last_snippet"] == ("hello", "and again")
    assert "their_number" not in columns
    assert update.row_id == office.conversation().pk


def test_a_dry_run_of_what_was_done_shows_no_effect(office):
    office.receive("hello")

    (rehearsal,) = rehearse(office)

    assert rehearsal.outcome.startswith("duplicate of msg_")
    assert rehearsal.changes == []


def test_many_run_in_order_each_on_what_the_others_left(office):
    for text in ("one", "two", "STOP"):
        office.post(office.payload(text))

    first, second, third = rehearse(office)

    assert ("insert", "leads") in written(first.changes)
    assert ("insert", "leads") not in written(second.changes)
    states = [c.after for change in third.changes for c in change.columns if c.name == "state"]
    assert "suppressed" in states
    with office.inside():
        assert not Lead.objects.exists()


def test_an_error_is_shown_and_its_writes_are_not(office):
    before = list(_handlers[MessageReceived])

    @on(MessageReceived)
    def boom(event, *, source):
        if event.body == "boom":
            raise RuntimeError("boom it says")

    try:
        office.post(office.payload("boom"))
        office.post(office.payload("fine"))
        bad, good = rehearse(office)
    finally:
        _handlers[MessageReceived][:] = before

    assert (bad.error, bad.changes) == ("RuntimeError: boom it says", [])
    assert ("insert", "leads") in written(good.changes)
    assert seqs(office, attempts=0, state="ready") == seqs(office)


def test_a_dry_run_has_a_bound(office):
    assert MAX_DRY_RUN == 200
    assert rehearse(office) == []


def test_outside_of_a_dry_run_nothing_is_kept(office):
    office.receive("hello")
    with office.inside():
        rehearse(office)
        office_lead = Lead.objects.get()
        office_lead.full_name = "New name"
        office_lead.save()
        assert not DryRunChange.objects.exists()
        assert rows("SELECT coalesce(current_setting('app.dry_run', true), '')") in ([("",)],)


def test_secrets_and_raw_bodies_are_masked(office):
    with office.inside(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('app.dry_run', 'on', true)")
        Integration.objects.create(
            provider="signalhouse", name="Second", secret="s3cret", api_key="k3y"
        )
        Integration.objects.filter(name="Second").update(secret="n3w", name="Third")
        office.post(office.payload("raw text"))
        cursor.execute("SELECT set_config('app.tenant_id', %s, true)", [str(uuid_of(office))])
        told = read_changes()
        cursor.execute("SELECT set_config('app.dry_run', '', true)")

    shown = json.dumps([[vars(column) for column in change.columns] for change in told])
    made, renamed = [one for one in told if one.table == "integrations"][:2]
    assert values(made)["secret"] == values(made)["api_key"] == MASK
    assert ("Second", "Third") in {(c.before, c.after) for c in renamed.columns}
    event = next(one for one in told if one.table == "webhook_events")
    assert values(event)["body"].endswith(" bytes")
    assert "gAAAA" not in shown  # how everything encrypted begins


def uuid_of(office):
    return to_uuid(office.tenant.pk)


# --- replay -------------------------------------------------------------------------------------


def replay(office, *which, **options):
    with office.inside():
        return replay_work(list(which) or seqs(office), actor_id=office.agent.pk, **options)


def test_a_replay_adds_nothing_and_is_linked_both_ways(office):
    office.receive("STOP, and mail me at a@example.com")
    before = census(office)

    assert replay(office, reason="ticket 12") == 1
    drain()

    after = census(office)
    for table in set(before) - {"webhook_work", "work_events", "live_events"}:
        assert after[table] == before[table], table
    with office.inside():
        old, new = WebhookWork.objects.order_by("seq")
        assert (old.event, old.run_no, old.lane) == (new.event, 1, new.lane)
        assert (new.run_no, new.state) == (2, "done")
        assert new.outcome.startswith("duplicate of msg_")
        notes = dict(WorkEvent.objects.filter(what="replay").values_list("work", "reason"))
        assert notes == {
            old.seq: f"run 2 is work {new.seq}: ticket 12",
            new.seq: f"run 2 of work {old.seq}: ticket 12",
        }


def test_a_discarded_event_is_done_by_a_replay(office):
    office.post(office.payload("hello"))
    with office.inside():
        WebhookWork.objects.update(state="discarded")

    replay(office)
    drain()

    with office.inside():
        assert Message.objects.get().body == "hello"


@pytest.mark.parametrize("state", ["ready", "dead", "quarantined"])
def test_what_is_not_finished_is_not_replayed(office, state):
    office.post(office.payload("hello"))
    with office.inside():
        WebhookWork.objects.update(state=state)

    assert replay(office) == 0


def test_an_old_run_is_replayed_once_only(office):
    office.receive("hello")
    (old,) = seqs(office)
    assert replay(office, old) == 1
    assert replay(office, old) == 0  # run 2 is there


@pytest.mark.django_db(transaction=True)
def test_of_two_people_at_once_one_replays(committed_office):
    office = committed_office
    office.receive("hello")

    done = at_once([lambda: replay(office) for _ in range(2)])

    assert sorted(done) == [0, 1]
    assert len(seqs(office)) == 2


def test_a_replay_keeps_the_order_of_the_events(office):
    for n in range(4):
        office.receive(f"n{n}")
    events = [event.pk for event in in_order(office)]

    replay(office, *reversed(seqs(office)))

    with office.inside():
        again = WebhookWork.objects.filter(run_no=2).order_by("seq")
        assert list(again.values_list("event", flat=True)) == events


def in_order(office):
    with office.inside():
        return list(WebhookEvent.objects.order_by("id"))


def test_replaying_all_that_match_is_frozen_to_what_was_shown(office):
    for n in range(3):
        office.receive(f"n{n}")
    since = (timezone.now() - timedelta(hours=1)).isoformat()
    with office.inside():
        shown = select("events", source="signalhouse", state="done", since=since)
    office.receive("late")

    with office.inside():
        outcome = act_on("replay", shown, actor_id=office.agent.pk)

    assert (shown.count, outcome.done) == (3, 3)
    assert len(seqs(office, run_no=2)) == 3


def test_the_newest_runs_of_events_are_found(office):
    office.receive("hello")
    (event,) = in_order(office)
    replay(office)

    with office.inside():
        assert newest_runs([event.pk]) == [seqs(office)[-1]]
