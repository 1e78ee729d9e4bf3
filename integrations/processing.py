"""From stored webhooks to effects: claim lanes, hand events to their handlers, commit together.

The row lock of a lane's head is the lease: a process that dies gives its lanes back at once, and
nothing has to be rescued. Effects and "done" are one commit, so a webhook acts exactly once.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import structlog
from django.db import InterfaceError, OperationalError, connection, transaction
from psycopg.errors import DeadlockDetected, SerializationFailure

from integrations.failures import BACKOFF_S as BACKOFF_S
from integrations.failures import MAX_ATTEMPTS as MAX_ATTEMPTS
from integrations.failures import MAX_BACKOFF_S as MAX_BACKOFF_S
from integrations.failures import close_letters, note_failure
from integrations.flights import FlightLog, count_strikes
from integrations.rules import withhold
from integrations.work import Source as Source
from integrations.work import Work, WorkSettled, claim, claim_one
from integrations.work import parse_events as parse_events
from leads.actions import lock_consents, owner
from tenants.context import broken, is_passing, tenant_context
from tenants.correlation import correlated
from tenants.dispatch import emit
from tenants.faultpoints import hit
from tenants.ulids import to_text

#: Lanes per transaction, and events per lane: small slices, so that intake never waits long.
LANES, DEPTH = 20, 5

logger = structlog.get_logger(__name__)


def drain_once(*, lanes: int = LANES, depth: int = DEPTH, flights: FlightLog | None = None) -> int:
    """Process one slice of one tenant with ready work; return how many events were settled.

    0 means that nothing could be claimed right now, not that nothing is left.

    Args:
        lanes: most lanes of one transaction.
        depth: most events of one lane.
        flights: notes what is being done, so that dying over an event counts as a strike.
    """
    tenants = _tenants_with_work()
    random.shuffle(tenants)
    for tenant_id in tenants:
        if settled := _Drain(tenant_id, lanes, depth, flights).step():
            hit("drain.after_commit")
            return settled
    return 0


def _tenants_with_work() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_work()")
        return [to_text("tenant", row[0]) for row in cursor.fetchall()]


class _Drain:
    """One slice of one tenant."""

    def __init__(self, tenant_id: str, lanes: int, depth: int, flights: FlightLog | None) -> None:
        self.tenant_id = tenant_id
        self.lanes = lanes
        self.depth = depth
        self.flights = flights

    def step(self) -> int:
        """Do a slice together; where that fails, find out whose fault it is."""
        try:
            settled, lone = self._together()
        except (OperationalError, InterfaceError) as error:
            if is_passing(error) and not isinstance(
                error.__cause__, DeadlockDetected | SerializationFailure
            ):
                raise
            logger.warning("a batch could not be done", tenant=self.tenant_id, error=str(error))
            return self._carefully()
        except Exception:  # whatever a handler raised
            logger.info("a batch failed; its lanes run one by one", exc_info=True)
            return self._carefully()
        return settled + sum(self._alone(seq) for seq in lone)

    def _together(self) -> tuple[int, list[int]]:
        """Do many lanes in one transaction; return what was settled, and what must run alone."""
        while True:
            with tenant_context(self.tenant_id, durable=True):
                work = claim(self.lanes, self.depth)
                if self._counts_strikes(work):
                    continue  # once that is committed
                rest = withhold(work)
                together, lone = _part(rest)
                with self._flight(together):
                    _process(together)
                settled = len(work) - len(rest) + len(together)
                _tell(settled)
            return settled, lone

    def _carefully(self) -> int:
        """Do one lane a transaction, and one savepoint an event."""
        settled = 0
        for _ in range(self.lanes):
            with tenant_context(self.tenant_id, durable=True):
                work = claim(1, self.depth)
                if not work:
                    break
                settled += self._lane(work)
        return settled

    def _alone(self, seq: int) -> int:
        """Do one piece of work, over which a process died, and nothing else."""
        with tenant_context(self.tenant_id, durable=True):
            return self._lane(claim_one(seq))

    def _lane(self, work: list[Work]) -> int:
        if not work or self._counts_strikes(work):
            return 0
        rest = withhold(work)
        together, lone = _part(rest)
        if not together and lone:
            together = rest[:1]
        with self._flight(together):
            settled = len(work) - len(rest) + _process_lane(together)
        _tell(settled)
        return settled

    def _counts_strikes(self, work: list[Work]) -> bool:
        if self.flights is None or not work:
            return False
        return count_strikes([item.seq for item in work])

    def _flight(self, work: list[Work]) -> AbstractContextManager[None]:
        if self.flights is None or not work:
            return nullcontext()
        return self.flights.flight([item.seq for item in work])


def _part(work: Iterable[Work]) -> tuple[list[Work], list[int]]:
    """Part what may be done together from what must be done alone; a lane waits behind the latter.

    A process died over the latter, or over one of its neighbors then.
    """
    together, lone, waiting = [], [], set()
    for item in work:
        if item.lane in waiting:
            continue
        if item.strikes:
            waiting.add(item.lane)
            lone.append(item.seq)
        else:
            together.append(item)
    return together, lone


def _process(work: list[Work]) -> None:
    """Do claimed work inside the open transaction; any exception fails all of it."""
    hit("drain.after_claim")
    # Consent before leads, in one order: the lock order that keeps drains from deadlocking.
    lock_consents([item.their_number for item in work if item.their_number])
    for item in work:
        handle(item)
    _finish(work)
    hit("drain.before_commit")


def handle(item: Work) -> None:
    """Hand the events of one piece of work to their handlers."""
    with correlated(item.source.correlation_id):
        events = item.events()
        for event in events:
            emit(event, source=item.source)
        if not events and not item.source.notes:
            item.source.note("unmapped")


def _process_lane(work: list[Work]) -> int:
    """Do a lane's events in order until one fails; the failed one backs off, or dies."""
    finished = 0
    for item in work:
        try:
            with transaction.atomic():
                lock_consents([item.their_number] if item.their_number else [])
                handle(item)
                if broken():
                    raise RuntimeError("a handler swallowed a database error")
        except Exception as error:  # whatever a handler raises is noted, never lost
            if is_passing(error):
                raise  # it stays ready
            note_failure(
                item.seq,
                error,
                attempts=item.attempts,
                subject=f"{item.source.provider} {item.event_type}",
                correlation=item.source.correlation_id,
            )
            break
        _finish([item])
        finished += 1
    return finished


def _finish(work: list[Work]) -> None:
    if not work:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE webhook_work AS w SET state = 'done', processed_at = clock_timestamp(),"
            " outcome = d.outcome, last_error = ''"
            " FROM unnest(%s::bigint[], %s::text[]) AS d(seq, outcome)"
            " WHERE w.tenant_id = %s AND w.seq = d.seq",
            [[item.seq for item in work], [item.source.outcome for item in work], owner()],
        )
    if failed_before := [item.seq for item in work if item.attempts]:
        close_letters(failed_before)


def _tell(settled: int) -> None:
    if settled:
        emit(WorkSettled(count=settled))
