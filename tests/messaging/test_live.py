"""The follower of live events: order, loss, overflow, restarts; and the catch-up of a browser."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager

import pytest
from django.db import connection

from messaging import live
from messaging.live import GAP_SECONDS, QUEUE_SIZE, Event, Hub, Stream, Window, catch_up
from tenants.context import tenant_context
from tenants.ulids import new_id, new_uuid, to_text, to_uuid

TENANT, OTHER = new_uuid(), new_uuid()
ME, THEM = new_uuid(), new_uuid()


def event(seq: int, **fields: object) -> Event:
    return Event(seq=seq, **{"tenant_id": TENANT, "kind": "inbound", **fields})


# --- which numbers are news -----------------------------------------------------------------------


def test_numbers_in_order_are_news_once():
    window = Window(10)

    assert [window.take(seq, now=0) for seq in (11, 12, 12, 11)] == [True, True, False, False]
    assert window.gaps(now=0) == []


def test_a_number_left_out_is_news_when_it_comes_late_and_only_once():
    window = Window(10)
    window.take(15, now=0)

    assert window.gaps(now=1) == [(11, 14)]
    assert window.take(13, now=1)
    assert window.gaps(now=1) == [(11, 12), (14, 14)]
    assert not window.take(13, now=1)
    assert [window.take(seq, now=1) for seq in (11, 12, 14)] == [True, True, True]
    assert window.gaps(now=1) == []


def test_a_number_left_out_is_given_up_after_a_minute():
    window = Window(10)
    window.take(12, now=0)

    assert window.gaps(now=GAP_SECONDS - 1) == [(11, 11)]
    assert window.gaps(now=GAP_SECONDS + 1) == []
    assert not window.take(11, now=GAP_SECONDS + 1)


# --- one browser's queue --------------------------------------------------------------------------


def test_an_overflowing_stream_is_told_to_reload_and_goes_on_from_there():
    async def scene() -> list[Event]:
        stream = Stream(TENANT, ME)
        for seq in range(1, QUEUE_SIZE + 4):
            stream.put(event(seq))
        return await stream.get(1)

    first, *rest = asyncio.run(scene())

    assert (first.kind, first.seq) == ("reset", QUEUE_SIZE + 1)
    assert [one.seq for one in rest] == [QUEUE_SIZE + 2, QUEUE_SIZE + 3]


def test_what_names_a_person_reaches_only_that_person():
    async def scene() -> list[int]:
        stream = Stream(TENANT, ME)
        stream.put(event(1, kind="bell", actor_id=THEM))
        stream.put(event(2, kind="bell", actor_id=ME))
        stream.put(event(3))
        return [one.seq for one in await stream.get(1)]

    assert asyncio.run(scene()) == [2, 3]


def test_a_hint_carries_ids_and_nothing_else():
    conversation = new_uuid()
    told = event(7, stage="nudger", conversation_id=conversation, actor_id=ME).hint()

    assert told == {"k": "inbound", "s": "nudger", "c": to_text("conv", conversation)}


def test_waiting_for_news_ends_without_any():
    async def scene() -> list[Event]:
        return await Stream(TENANT, ME).get(0.01)

    assert asyncio.run(scene()) == []


# --- following the table --------------------------------------------------------------------------


@asynccontextmanager
async def following(*streams: tuple[uuid.UUID, uuid.UUID]):
    hub = Hub()
    opened = [hub.open(*who) for who in streams]
    try:
        await asyncio.wait_for(hub.ready.wait(), 10)
        yield hub, *opened
    finally:
        await hub.stop()


async def write(raw, *, tenant: uuid.UUID = TENANT, actor: uuid.UUID | None = None) -> int:
    await raw.execute("SELECT set_config('app.tenant_id', %s, false)", [str(tenant)])
    cursor = await raw.execute(
        "INSERT INTO live_events (tenant_id, kind, stage, actor)"
        " VALUES (%s, 'inbound', 'nudger', %s) RETURNING seq",
        [tenant, actor],
    )
    return (await cursor.fetchone())["seq"]


async def received(stream: Stream, count: int) -> list[int]:
    seqs: list[int] = []
    async with asyncio.timeout(10):
        while len(seqs) < count:
            seqs += [one.seq for one in await stream.get(1)]
    return seqs


@pytest.mark.django_db(transaction=True)
def test_an_event_reaches_the_streams_of_its_tenant_alone():
    async def scene():
        async with (
            following((TENANT, ME), (OTHER, ME)) as (_, mine, others),
            await live._connect() as raw,
        ):
            here, there = await write(raw), await write(raw, tenant=OTHER)
            return [here], [there], await received(mine, 1), await received(others, 1)

    here, there, mine, others = asyncio.run(scene())

    assert (mine, others) == (here, there)


@pytest.mark.django_db(transaction=True)
def test_a_notify_wakes_the_follower_at_once():
    async def scene() -> float:
        async with (
            following((TENANT, ME)) as (_, stream),
            await live._connect() as raw,
        ):
            await asyncio.sleep(0.2)
            await write(raw)
            await raw.execute(f"NOTIFY {live.CHANNEL}")
            loop = asyncio.get_running_loop()
            began = loop.time()
            await received(stream, 1)
            return loop.time() - began

    assert asyncio.run(scene()) < 0.7 * live.POLL_SECONDS


@pytest.mark.django_db(transaction=True)
def test_an_event_committed_after_a_later_one_is_not_lost_and_comes_once():
    async def scene():
        async with (
            following((TENANT, ME)) as (_, stream),
            await live._connect() as slow,
            await live._connect() as quick,
        ):
            await slow.execute("BEGIN")
            early = await write(slow)
            late = await write(quick)
            first = await received(stream, 1)
            await slow.execute("COMMIT")
            second = await received(stream, 1)
            nothing = await stream.get(1.5)
            return early, late, first, second, nothing

    early, late, first, second, nothing = asyncio.run(scene())

    assert early < late
    assert (first, second, nothing) == ([late], [early], [])


@pytest.mark.django_db(transaction=True)
def test_the_follower_outlives_its_connection_and_misses_nothing():
    async def scene():
        async with (
            following((TENANT, ME)) as (_, stream),
            await live._connect() as raw,
        ):
            await raw.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE '%%live_events_after%%' AND pid <> pg_backend_pid()"
                " AND datname = current_database()"
            )
            seqs = [await write(raw) for _ in range(3)]
            return seqs, await received(stream, 3)

    seqs, got = asyncio.run(scene())

    assert got == seqs


@pytest.mark.django_db(transaction=True)
def test_a_closed_stream_leaves_nothing_behind():
    async def scene() -> tuple[int, int]:
        async with following((TENANT, ME), (TENANT, THEM)) as (hub, one, two):
            before = len(hub)
            hub.close(one)
            hub.close(two)
            return before, len(hub) + len(hub._streams)

    assert asyncio.run(scene()) == (2, 0)


# --- the catch-up of one browser ------------------------------------------------------------------


@pytest.fixture
def tenant_id(db) -> str:
    return new_id("tenant")


def add(tenant_id: str, count: int = 1, actor: str | None = None, age: str = "0 s") -> list[int]:
    with tenant_context(tenant_id), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO live_events (tenant_id, kind, stage, actor, created_at)"
            " SELECT %s, 'inbound', 'nudger', %s, clock_timestamp() - %s::interval"
            " FROM generate_series(1, %s) RETURNING seq",
            [to_uuid(tenant_id), to_uuid(actor) if actor else None, age, count],
        )
        return [seq for (seq,) in cursor.fetchall()]


def test_a_catch_up_brings_what_came_after_the_cursor(tenant_id):
    me, them = new_id("actor"), new_id("actor")
    (before,) = add(tenant_id, age="1 min")
    (after,) = add(tenant_id)
    add(tenant_id, actor=them)
    (mine,) = add(tenant_id, actor=me)

    missed = catch_up(tenant_id, me, before)

    assert [one.seq for one in missed.events] == [after, mine]
    assert (missed.cursor, missed.reset) == (mine, False)


def test_a_catch_up_repeats_the_last_seconds_for_rows_committed_out_of_order(tenant_id):
    first, second = add(tenant_id, 2)

    missed = catch_up(tenant_id, new_id("actor"), second)

    assert [one.seq for one in missed.events] == [first, second]
    assert missed.cursor == second


def test_a_cursor_older_than_what_is_kept_means_reload(tenant_id):
    me, oldest = new_id("actor"), 1_000_000
    with tenant_context(tenant_id), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO live_events (seq, tenant_id, kind, stage) VALUES (%s, %s, 'inbound', '')",
            [oldest, to_uuid(tenant_id)],
        )

    assert catch_up(tenant_id, me, oldest - 2).reset
    assert not catch_up(tenant_id, me, oldest - 1).reset
    assert not catch_up(tenant_id, me, 0).reset  # the cursor of an empty table


def test_too_much_to_tell_means_reload_from_the_newest(tenant_id):
    (start,) = add(tenant_id)
    *_, newest = add(tenant_id, live.PAGE + 1)

    missed = catch_up(tenant_id, new_id("actor"), start)

    assert (missed.reset, missed.cursor, missed.events) == (True, newest, [])


def test_another_tenants_events_are_never_told(tenant_id):
    (start,) = add(tenant_id)
    add(new_id("tenant"))

    missed = catch_up(tenant_id, new_id("actor"), start)

    assert [one.seq for one in missed.events] == [start]
