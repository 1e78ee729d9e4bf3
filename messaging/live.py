"""Live hints: what happened in a tenant, told to its open browsers as ids only.

``live_events`` is the truth. Each web process follows it with one connection, woken by NOTIFY and
once a second anyway, and hands the news to its streams; a page then fetches what it may see.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
import structlog
from asgiref.sync import sync_to_async
from django.db import connection, connections
from django.db.models import Max, Q
from django.db.models.functions import Now
from psycopg import pq
from psycopg.rows import dict_row

from messaging.models import LiveEvent
from tenants.context import tenant_context
from tenants.ulids import to_text, to_uuid

logger = structlog.get_logger(__name__)

CHANNEL = "fairlead_live"
#: Hints a stream may lag behind before it is told to reload instead.
QUEUE_SIZE = 100
#: Sequence numbers are given out before their rows are committed: a number that was left out is
#: looked for this many seconds, which is longer than any transaction here lives.
GAP_SECONDS = 60.0
#: How far behind its start a follower looks for numbers left out.
START_WINDOW = 200
POLL_SECONDS = 1.0
PAGE = 500
#: A catch-up goes this far back beyond its cursor, for rows committed out of order.
CATCH_UP = timedelta(seconds=30)
CATCH_UP_WINDOW = 200
#: A database that answers no read for this long is taken for gone.
READ_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One row of ``live_events``, or a reset: the news up to ``seq`` were too many to tell."""

    seq: int
    tenant_id: uuid.UUID
    kind: str
    stage: str | None = None
    conversation_id: uuid.UUID | None = None
    actor_id: uuid.UUID | None = None

    def concerns(self, actor_id: uuid.UUID) -> bool:
        """Tell whether *actor_id* hears of it: what names a person is for that person alone."""
        return self.actor_id is None or self.actor_id == actor_id

    def hint(self) -> dict[str, str]:
        """Return what a browser is told: ``{"k": kind, "s": stage, "c": "conv_…"}``."""
        told = {"k": self.kind}
        if self.stage:
            told["s"] = self.stage
        if self.conversation_id:
            told["c"] = to_text("conv", self.conversation_id)
        return told


class Window:
    """Remembers which sequence numbers were seen, and which were left out a moment ago."""

    def __init__(self, last: int) -> None:
        self.last = last
        self._gaps: list[tuple[int, int, float]] = []

    def take(self, seq: int, *, now: float) -> bool:
        """Note *seq*; return whether it is news."""
        if seq > self.last:
            if seq > self.last + 1:
                self._gaps.append((self.last + 1, seq - 1, now))
            self.last = seq
            return True
        for at, (low, high, since) in enumerate(self._gaps):
            if low <= seq <= high:
                parts = [(low, seq - 1, since), (seq + 1, high, since)]
                self._gaps[at : at + 1] = [part for part in parts if part[0] <= part[1]]
                return True
        return False

    def gaps(self, *, now: float) -> list[tuple[int, int]]:
        """Return the ranges still looked for, first and last number of each."""
        self._gaps = [gap for gap in self._gaps if now - gap[2] < GAP_SECONDS]
        return [(low, high) for low, high, _ in self._gaps]


class Stream:
    """One browser's queue of events; when it overflows, all of it becomes one reset."""

    def __init__(self, tenant_id: uuid.UUID, actor_id: uuid.UUID) -> None:
        self.tenant_id = tenant_id
        self.actor_id = actor_id
        self.ended = False
        self._queue: asyncio.Queue[Event] = asyncio.Queue(QUEUE_SIZE)

    def put(self, event: Event) -> None:
        """Queue *event* if it concerns this stream's person; never waits."""
        if not event.concerns(self.actor_id):
            return
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(reset(self.tenant_id, event.seq))

    def end(self) -> None:
        """Wake the reader for the last time."""
        self.ended = True
        self.put(reset(self.tenant_id, 0))

    async def get(self, seconds: float) -> list[Event]:
        """Wait up to *seconds* for news; return all there is, perhaps nothing."""
        try:
            events = [await asyncio.wait_for(self._queue.get(), seconds)]
        except TimeoutError:
            return []
        while not self._queue.empty():
            events.append(self._queue.get_nowait())
        return events


def reset(tenant_id: uuid.UUID, seq: int) -> Event:
    """Return the event that makes a browser load its views anew, and go on from *seq*."""
    return Event(seq=seq, tenant_id=tenant_id, kind="reset")


class Hub:
    """Follows ``live_events`` for one process and hands each event to the tenant's streams."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self._streams: defaultdict[uuid.UUID, set[Stream]] = defaultdict(set)
        self._window: Window | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self, tenant_id: uuid.UUID, actor_id: uuid.UUID) -> Stream:
        """Return a new stream, following the table from now on; ``close`` it after use."""
        stream = Stream(tenant_id, actor_id)
        self._streams[tenant_id].add(stream)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        return stream

    def close(self, stream: Stream) -> None:
        streams = self._streams[stream.tenant_id]
        streams.discard(stream)
        if not streams:
            del self._streams[stream.tenant_id]

    def __len__(self) -> int:
        return sum(map(len, self._streams.values()))

    def hang_up(self) -> None:
        """End every stream; their browsers come again, to another process or a new one."""
        for streams in self._streams.values():
            for stream in streams:
                stream.end()

    async def stop(self) -> None:
        """End the follower and its connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        """Follow for ever; a database that goes away is waited for."""
        delay = 0.25
        while True:
            try:
                async with await _connect() as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    delay = 0.25
                    await self._follow(connection)
            except (psycopg.Error, OSError, TimeoutError) as error:
                logger.warning("live stream lost its database connection", error=str(error))
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)

    async def _follow(self, connection: psycopg.AsyncConnection[dict[str, Any]]) -> None:
        if self._window is None:
            async with asyncio.timeout(READ_SECONDS):
                await self._start(connection)
        self.ready.set()
        while True:
            async with asyncio.timeout(READ_SECONDS):
                more = await self._read(connection)
            if not more:
                async for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                    pass

    async def _start(self, connection: psycopg.AsyncConnection[dict[str, Any]]) -> None:
        """Begin at the newest number; streams themselves read what came before."""
        cursor = await connection.execute("SELECT live_seq() AS newest")
        row = await cursor.fetchone()
        self._window = Window(max(row["newest"] - START_WINDOW, 0) if row else 0)
        now = time.monotonic()
        for event in await _after(connection, self._window.last):
            self._window.take(event.seq, now=now)

    async def _read(self, connection: psycopg.AsyncConnection[dict[str, Any]]) -> bool:
        """Hand out what is new; return whether there may be more at once."""
        assert self._window is not None  # noqa: S101  (set by _start)
        now = time.monotonic()
        fresh = await _after(connection, self._window.last)
        late = await _within(connection, self._window.gaps(now=now))
        for event in [*late, *fresh]:
            if self._window.take(event.seq, now=now):
                for stream in self._streams.get(event.tenant_id, ()):
                    stream.put(event)
        return len(fresh) == PAGE


@dataclass(frozen=True, kw_only=True)
class CatchUp:
    """What a browser missed: hints since its cursor, or ``reset`` when that is too much."""

    cursor: int
    events: list[Event]
    reset: bool = False


def catch_up(tenant_id: str, actor_id: str, after: int) -> CatchUp:
    """Read what happened in ``tenant_…`` after the number *after*, as ``actor_…`` may hear it.

    Goes a little behind *after*, since rows are committed out of order: some events come twice.
    """
    with tenant_context(tenant_id):
        recent = Q(seq__gt=after - CATCH_UP_WINDOW, created_at__gt=Now() - CATCH_UP)
        rows = (
            LiveEvent.objects.filter(Q(seq__gt=after) | recent)
            .filter(Q(actor=None) | Q(actor=actor_id))
            .order_by("seq")[: PAGE + 1]
        )
        events = [_event(row) for row in rows]
        if len(events) > PAGE or _pruned(after):
            newest = LiveEvent.objects.aggregate(newest=Max("seq"))["newest"] or 0
            return CatchUp(cursor=newest, events=[], reset=True)
        return CatchUp(cursor=max([after, *(event.seq for event in events)]), events=events)


def _pruned(after: int) -> bool:
    """Tell whether events after *after* may be gone; 0 is the cursor of an empty table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq FROM live_events_after(0, 1)")
        oldest = cursor.fetchone()
    return after > 0 and oldest is not None and bool(oldest[0] > after + 1)


def _event(row: LiveEvent) -> Event:
    return Event(
        seq=row.seq,
        tenant_id=to_uuid(row.tenant_id),
        kind=row.kind,
        stage=row.stage,
        conversation_id=to_uuid(row.conversation) if row.conversation else None,
        actor_id=to_uuid(row.actor) if row.actor else None,
    )


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """Return the hub of the running event loop: one per web process."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())


def hang_up() -> None:
    """End all streams of this process. May be called from a signal handler."""
    for loop, running in list(_hubs.items()):
        loop.call_soon_threadsafe(running.hang_up)


async def _connect() -> psycopg.AsyncConnection[dict[str, Any]]:
    """Open a connection of our own as the role that Django uses."""
    keys = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    settings = await sync_to_async(_parameters, thread_sensitive=False)()
    parameters = {key: value for key, value in settings.items() if key in keys}
    return await psycopg.AsyncConnection.connect(
        **{**parameters, "connect_timeout": 5, "application_name": "fairlead live"},
        autocommit=True,
        row_factory=dict_row,
    )


def _parameters() -> dict[str, Any]:
    return connections["default"].get_connection_params()


async def _after(connection: psycopg.AsyncConnection[dict[str, Any]], seq: int) -> list[Event]:
    cursor = await connection.execute("SELECT * FROM live_events_after(%s, %s)", [seq, PAGE])
    return _events(await cursor.fetchall())


async def _within(
    connection: psycopg.AsyncConnection[dict[str, Any]], ranges: list[tuple[int, int]]
) -> list[Event]:
    if not ranges:
        return []
    cursor = await connection.execute(
        "SELECT e.* FROM unnest(%s::bigint[], %s::bigint[]) AS gap (low, high)"
        " CROSS JOIN LATERAL"
        " live_events_after(gap.low - 1, least(gap.high - gap.low + 1, %s)::int) AS e"
        " WHERE e.seq <= gap.high ORDER BY e.seq",
        [[low for low, _ in ranges], [high for _, high in ranges], PAGE],
    )
    return _events(await cursor.fetchall())


def _events(rows: Iterable[dict[str, Any]]) -> list[Event]:
    return [Event(**{name: row[name] for name in Event.__slots__}) for row in rows]
