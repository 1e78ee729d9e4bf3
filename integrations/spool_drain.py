"""The host's own loop: say that the spool is empty, or empty it.

One process of a host keeps its spool at a time; when it dies, another takes over within a second.
Deliveries are stored in the order in which they came, by the statement that stores all others; one
that was stored before its process died is found to be a duplicate. A segment is removed only once
all of it is in the database, or set aside with the reason why it cannot be.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from integrations.actions import attempt_is_ours, note_use
from integrations.events import BadPayload, MessageReceived
from integrations.intake import DatabaseAway, Intake, Taken, events_of, take
from integrations.spool import (
    REGISTERED,
    UNPROVEN,
    NotASpooledDelivery,
    Spool,
    Waiting,
    waiting,
)
from integrations.spool_files import Found, SpoolBusy, SpoolFull, try_lock, unpack
from integrations.spool_lease import RENEW_S, DatabaseClock, now_s
from leads.reading import read_text
from tenants.context import tenant_context
from tenants.correlation import correlated
from tenants.ulids import to_uuid

#: Seconds until a process that does not keep the spool looks whether it should.
ELECTION_S = 1.0
#: Seconds between two reports of what waits.
REPORT_S = 2.0
#: A last segment of at most so many bytes is drained while nothing can be added to it, for at most
#: so many seconds: else a busy host would never catch up with itself.
CLOSING_BYTES, CLOSING_S = 256 * 1024, 0.5
#: Times the database may fail over one delivery while it answers otherwise.
MOST_TRIES = 20

#: Why an opt-in out of a spool may not speak for itself.
OVERTAKEN = "this opt-in waited in a spool while a later opt-out was stored"

logger = structlog.get_logger(__name__)


class Refused(Exception):
    """The delivery cannot be stored, now or later."""


@dataclass
class _Segment:
    """How far this process has come with a segment."""

    stored: int = 0  # bytes at its beginning that are done with


class Keeper:
    """Keeps a spool: registers it, renews its lease while it is empty, drains it when it is not."""

    def __init__(self, spool: Spool, *, name: str = "") -> None:
        self.spool = spool
        self.files = spool.files
        self.name = name or platform.node() or "web"
        self._clock: DatabaseClock | None = None  # None: not registered on this connection
        self._seat: int | None = None
        self._progress: dict[Path, _Segment] = {}
        self._counts: dict[Path, int] = {}
        self._tries: Counter[str] = Counter()
        self._reported = 0.0
        self._is_down = False

    # --- the loop ---------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Keep the spool until *stop*; nothing that fails ends the loop."""
        while not stop.is_set():
            pause = ELECTION_S
            try:
                if self.is_elected():
                    self.beat()
                    pause = RENEW_S
                self._is_down = False
            except (OperationalError, InterfaceError, DatabaseAway, SpoolBusy) as error:
                self._fail(error)
            except Exception:  # the next try may go better; without this loop nothing is drained
                logger.exception("the spool could not be kept")
                connection.close()
            stop.wait(pause)
        connection.close()

    def is_elected(self) -> bool:
        """Tell whether this process keeps the spool; a dead keeper's seat is free."""
        if self._seat is None:
            seat = self.files.open("keeper")
            if not try_lock(seat):
                os.close(seat)
                return False
            self._seat = seat
        return True

    def beat(self) -> None:
        """Say that the spool is empty until a moment from now; drain it when it is not."""
        if self._clock is None:
            self._register()
        if self.spool.is_behind():
            self._report(at_once=True)  # first of all: whether the database answers
            if self._clock is None:  # retired: senders must wait for it again
                self._register()
            self.drain()
        self._renew()

    def _fail(self, error: Exception) -> None:
        if not self._is_down:
            logger.warning("the spool cannot be kept just now", error=str(error))
        self._is_down = True
        self._clock = None  # it may be another server that answers next
        connection.close()

    # --- the host's row -----------------------------------------------------------------------

    def _register(self) -> None:
        """Make the host's row known to senders; a directory that was retired gets a new one."""
        said = self._ask("SELECT spool_register(%s, %s)", [self.files.identity(), self.name])
        if said is None:
            with self.files.locked(ELECTION_S):
                self.files.remove(REGISTERED)
                host = self.files.identity(anew=True)
            said = self._ask("SELECT spool_register(%s, %s)", [host, self.name])
        if said is None:
            raise DatabaseAway("the spool could not be registered")
        if not self.files.has(REGISTERED):
            with self.files.locked(ELECTION_S):
                self.files.write(REGISTERED, b"")

    def _renew(self) -> None:
        with self.files.locked(ELECTION_S):
            ends = self.spool.lease.grant()
        if ends is None:
            self._report()
            return
        clock = self._known_clock()
        until = clock.at(ends)
        self._ask("SELECT spool_renew(%s, %s)", [self.files.identity(), until])

    def _report(self, *, at_once: bool = False) -> None:
        """Say what waits, so that people see it."""
        now = time.monotonic()
        if not at_once and now - self._reported < REPORT_S:
            return
        self._reported = now
        count, oldest = self.waiting()
        self._ask("SELECT spool_report(%s, %s, %s)", [self.files.identity(), count, oldest])

    def _ask(self, statement: str, values: list[Any]) -> datetime | None:
        """Run a statement that answers with the database's clock.

        NULL says that the host's row is gone, retired or stopped: the next beat registers anew.
        """
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            (said,) = cursor.fetchone()
        self._clock = DatabaseClock(said=said, heard_s=now_s()) if said is not None else None
        return said

    def _known_clock(self) -> DatabaseClock:
        if self._clock is None:
            raise DatabaseAway("the spool is not registered")
        return self._clock

    def waiting(self) -> tuple[int, datetime | None]:
        """Return how many deliveries wait, roughly, and since when the oldest does."""
        segments = self.files.segments()
        if not segments:
            return 0, None
        first = self._first_of(segments)
        begun = {segments[0], segments[-1]}  # drained, and added to: those between stay as they are
        self._counts = {
            segment: self._counts.get(segment) or _count(segment, 0)
            for segment in segments
            if segment not in begun
        }
        count = sum(self._counts.values())
        for segment in begun:
            count += _count(segment, self._progress.get(segment, _Segment()).stored)
        return count, first

    def _first_of(self, segments: list[Path]) -> datetime | None:
        begin = self._progress.get(segments[0], _Segment()).stored
        for found in unpack(_bytes(segments[0], begin, 1024 * 1024)):
            if found.payload is not None:
                try:
                    return waiting(found.payload).spooled_at
                except NotASpooledDelivery:
                    continue
        return None

    # --- draining -----------------------------------------------------------------------------

    def drain(self) -> None:
        """Store all that waits.

        Raises:
            DatabaseAway, OperationalError: it went away; what is left waits for the next beat.
        """
        while (segment := self._next()) is not None:
            self._store(segment)
            with self.files.locked(ELECTION_S):
                self._drop(segment)
        logger.info("the spool is empty")

    def _next(self) -> Path | None:
        """Return a segment to which nothing is added any more; None when all is stored."""
        with self.files.locked(ELECTION_S):
            segments = self.files.segments()
            if not segments:
                return None
            first = segments[0]
            if len(segments) > 1:
                return first
            if first.stat().st_size <= CLOSING_BYTES and self._store(first, seconds=CLOSING_S):
                self._drop(first)
                return None
            try:
                self.files.begin_segment()
            except SpoolFull:  # a full disk: nothing can be added anyway
                self._store(first)
                self._drop(first)
                return None
            return first

    def _drop(self, segment: Path) -> None:
        self.files.drop(segment)
        self._progress.pop(segment, None)

    def _store(self, segment: Path, *, seconds: float | None = None) -> bool:
        """Store a segment's deliveries in order; return whether that was all of it."""
        progress = self._progress.setdefault(segment, _Segment())
        end = None if seconds is None else time.monotonic() + seconds
        begin = progress.stored
        for found in unpack(_bytes(segment, begin)):
            found = replace(found, at=begin + found.at)
            if end is not None and time.monotonic() > end:
                return False
            self._store_one(segment, found)
            progress.stored = found.at + len(found.raw)
            if end is None:
                self._report()
        return True

    def _store_one(self, segment: Path, found: Found) -> None:
        place = f"{segment.stem}-{found.at}"
        try:
            if found.payload is None:
                raise Refused("cut off: its process died over it" if found.is_torn else "damaged")
            store(waiting(found.payload))
        except (Refused, NotASpooledDelivery) as refusal:
            self._set_aside(segment, found, str(refusal))
        except DatabaseAway as error:
            self._tries[place] += 1
            if self._tries[place] < MOST_TRIES:
                raise
            self._set_aside(segment, found, f"tried {MOST_TRIES} times: {error.__cause__}")
        self._tries.pop(place, None)

    def _set_aside(self, segment: Path, found: Found, reason: str) -> None:
        kept = self.files.set_aside(segment, found, reason)
        logger.error("a spooled record is set aside", file=kept.name, why=reason)


def store(item: Waiting) -> Taken:
    """Store one delivery out of the spool.

    Raises:
        DatabaseAway: not now.
        Refused: never; the text says why.
    """
    intake = item.intake
    with correlated(item.correlation):
        try:
            taken = _take(intake, item.spooled_at)
        except (OperationalError, InterfaceError) as error:
            raise DatabaseAway(str(error)) from error
        except DatabaseError as error:
            raise Refused(f"{type(error).__name__}: {error}") from error
        if taken.outcome != "duplicate":
            note_use(intake.endpoint, secret_no=item.secret_no, destination=taken.destination)
        return taken


def _take(intake: Intake, spooled_at: datetime) -> Taken:
    if intake.signature_state == UNPROVEN:
        if not attempt_is_ours(intake.endpoint, intake.attempt_token_hash or ""):
            raise Refused("nothing vouches for it: no attempt of ours has this token")
        intake = replace(intake, signature_state="token")
    if _is_overtaken(intake, spooled_at):
        intake = replace(intake, withhold=OVERTAKEN)
    taken = take(intake, hold_s=0.0)
    if taken.outcome == "retired":
        # Retired after it was accepted: a promise is a promise. Without an endpoint none is asked.
        taken = take(replace(intake, endpoint=replace(intake.endpoint, id="")), hold_s=0.0)
    return taken


def _is_overtaken(intake: Intake, spooled_at: datetime) -> bool:
    """Tell whether a later opt-out was stored before this opt-in, through another host.

    Event ids are made when a delivery arrives, so they tell which came first.
    """
    try:
        texts = [one for one in events_of(intake) if isinstance(one, MessageReceived)]
    except BadPayload:
        return False
    people = [
        one.sender for one in texts if read_text(one.body, sender=one.sender).kind == "opt_in"
    ]
    if not people:
        return False
    with tenant_context(intake.endpoint.tenant_id), connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM consent_events AS e"
            " JOIN consents AS c ON c.tenant_id = e.tenant_id AND c.id = e.consent_id"
            " WHERE c.tenant_id = %s AND c.address = ANY(%s) AND e.kind IN ('opt_out', 'hold')"
            "   AND coalesce(e.webhook_event > %s, e.at > %s) LIMIT 1",
            [to_uuid(intake.endpoint.tenant_id), people, to_uuid(intake.event_id), spooled_at],
        )
        return cursor.fetchone() is not None


def _is_opt_in(text: MessageReceived) -> bool:
    return (text.carrier_keyword or read_text(text.body, sender=text.sender).kind) == "opt_in"


def start_keeper(spool: Spool) -> threading.Event:
    """Keep *spool* in a thread of this process; set the event that is returned to end it."""
    stop = threading.Event()
    keeper = Keeper(spool)
    threading.Thread(target=keeper.run, args=(stop,), name="spool", daemon=True).start()
    return stop


def end_in_order(spool: Spool) -> bool:
    """Tell the database that this host ended with nothing left; see ``Spool.end``."""
    host: UUID = spool.files.identity()

    def mark() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT spool_stop(%s)", [host])

    # No lease of this host may be granted after the mark, and none is: every keeper is gone.
    return spool.end(mark)


def _bytes(segment: Path, begin: int, most: int = -1) -> bytes:
    with segment.open("rb") as file:
        file.seek(begin)
        return file.read(most)


def _count(segment: Path, begin: int) -> int:
    return sum(found.payload is not None for found in unpack(_bytes(segment, begin)))
