"""From stored webhooks to effects: claim lanes, hand events to their handlers, commit together.

The row lock of a lane's head is the lease: a process that dies gives its lanes back at once, and
nothing has to be rescued. Effects and "done" are one commit, so a webhook acts exactly once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError, connection, transaction
from psycopg.errors import DeadlockDetected, SerializationFailure

from integrations.endpoints import config_of
from integrations.events import BadPayload, Event, MessageStatus
from integrations.models import WorkEvent
from integrations.providers import Provider, providers
from leads.actions import lock_consents, owner
from tenants.context import broken, is_passing, tenant_context
from tenants.correlation import correlated
from tenants.dispatch import emit
from tenants.faultpoints import hit
from tenants.ulids import to_text, to_uuid

#: Lanes per transaction, and events per lane: small slices, so that intake never waits long.
LANES, DEPTH = 20, 5
#: Tries before an event is a dead letter and its lane goes on.
MAX_ATTEMPTS = 5
#: Back-off after the nth failure: 2^n x 2 s, at most 10 minutes, x 0.5 to 1.5.
BACKOFF_S, MAX_BACKOFF_S = 2.0, 600.0

logger = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class Source:
    """Where an event came from, and what its handlers have to say about it."""

    event_id: str  # wh_…
    provider: str
    integration_id: str
    position: int  # in the order of receipts; a replay keeps that of its text
    signature_state: str
    attempt_token_hash: str | None
    correlation_id: str
    run_no: int
    received_at: datetime
    content_type: str = ""
    notes: list[str] = field(default_factory=list)

    def note(self, outcome: str) -> None:
        """Say what became of it; operators read this beside the event."""
        self.notes.append(outcome)


@dataclass(frozen=True, kw_only=True)
class Work:
    """One claimed piece of work with the event it is about."""

    seq: int
    lane: str
    attempts: int
    their_number: str | None
    source: Source
    events: Callable[[], list[Event]]


_CLAIM = """
    SELECT w.seq, w.lane, w.attempts, w.their_number, w.run_no, e.id, e.source, e.integration,
           e.signature_state, e.attempt_token_hash, e.correlation_id, e.body, e.received_at,
           e.headers ->> 'content-type' AS content_type,
           CASE WHEN w.run_no = 1 THEN w.seq ELSE (
               SELECT min(f.seq) FROM webhook_work AS f
               WHERE f.tenant_id = %(owner)s AND f.event = w.event) END AS position
    FROM claim_work(%(owner)s, %(start)s, %(lanes)s, %(depth)s) AS w
    JOIN webhook_events AS e
      ON e.tenant_id = %(owner)s AND e.id = w.event AND e.received_at = w.received_at
    ORDER BY w.seq
"""


def drain_once(*, lanes: int = LANES, depth: int = DEPTH) -> int:
    """Process one slice of one tenant with ready work; return how many events were finished.

    0 means that nothing could be claimed right now, not that nothing is left.
    """
    tenants = _tenants_with_work()
    random.shuffle(tenants)
    for tenant_id in tenants:
        if finished := _drain_tenant(tenant_id, lanes, depth):
            hit("drain.after_commit")
            return finished
    return 0


def _tenants_with_work() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_work()")
        return [to_text("tenant", row[0]) for row in cursor.fetchall()]


def _drain_tenant(tenant_id: str, lanes: int, depth: int) -> int:
    try:
        with tenant_context(tenant_id, durable=True):
            work = _claim(lanes, depth)
            return _process(work)
    except (OperationalError, InterfaceError) as error:
        if is_passing(error) and not isinstance(
            error.__cause__, DeadlockDetected | SerializationFailure
        ):
            raise
        logger.warning("a batch could not be done", tenant=tenant_id, error=str(error))
    except Exception:  # whatever a handler raised: find out whose fault it is
        logger.info("a batch failed; its lanes run one by one", tenant=tenant_id, exc_info=True)
    return _drain_carefully(tenant_id, lanes, depth)


def _claim(lanes: int, depth: int) -> list[Work]:
    """Lock free lanes from a random place on, then from the start: drains meet different ones."""
    # Lanes begin with our number, "+1202…": any spread over digits will do.
    start = f"+1{random.randrange(2 * 10**9, 10**10)}" if random.random() < 0.5 else ""  # noqa: S311
    work = _claim_from(start, lanes, depth)
    if start and not work:
        work = _claim_from("", lanes, depth)
    return work


def _claim_from(start: str, lanes: int, depth: int) -> list[Work]:
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"owner": owner(), "start": start, "lanes": lanes, "depth": depth})
        return [_work(*row) for row in cursor.fetchall()]


def _work(  # noqa: PLR0913  (one per column)
    seq: int,
    lane: str,
    attempts: int,
    theirs: str | None,
    run_no: int,
    event: UUID,
    provider: str,
    integration: UUID,
    signed: str,
    token: str | None,
    correlation: str,
    body: bytes,
    received_at: datetime,
    content_type: str | None,
    position: int,
) -> Work:
    """Make a claimed row, in the order of its columns, into work."""
    source = Source(
        event_id=to_text("wh", event),
        provider=provider,
        integration_id=to_text("intg", integration),
        position=position,
        signature_state=signed,
        attempt_token_hash=token,
        correlation_id=correlation,
        run_no=run_no,
        received_at=received_at,
        content_type=content_type or "",
    )
    raw = bytes(body)
    return Work(
        seq=seq,
        lane=lane,
        attempts=attempts,
        their_number=theirs,
        source=source,
        events=lambda: parse_events(source, raw),
    )


def parse_events(source: Source, body: bytes) -> list[Event]:
    """Read the stored bytes again, as intake did.

    Raises:
        BadPayload: the provider's adapter cannot make sense of them.
    """
    provider = provider_of(source)
    parsed = provider.read(body, source.content_type)
    if parsed.payload is None:
        raise BadPayload(parsed.reason)
    events = [
        event if event.occurred_at else replace(event, occurred_at=source.received_at)
        for event in provider.parse(parsed.payload)
    ]
    if source.signature_state == "token":
        return [event for event in events if isinstance(event, MessageStatus)]
    return events


def provider_of(source: Source) -> Provider:
    """Return the provider of an event, configured as its integration is now."""
    kind = providers[source.provider]
    if not kind.is_configured:
        return kind()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT i.settings, mappings_of(i.tenant_id, i.id) FROM integrations AS i"
            " WHERE i.tenant_id = %s AND i.id = %s",
            [owner(), to_uuid(source.integration_id)],
        )
        row = cursor.fetchone()
    return kind(config_of(*row) if row else None)


def _process(work: Iterable[Work]) -> int:
    """Do claimed work inside the open transaction; any exception fails all of it."""
    work = list(work)
    if not work:
        return 0
    hit("drain.after_claim")
    # Consent before leads, in one order: the lock order that keeps drains from deadlocking.
    lock_consents([item.their_number for item in work if item.their_number])
    for item in work:
        _handle(item)
    _finish(work)
    return len(work)


def _handle(item: Work) -> None:
    with correlated(item.source.correlation_id):
        events = item.events()
        for event in events:
            emit(event, source=item.source)
        if not events:
            item.source.note("unmapped")


def _finish(work: list[Work]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE webhook_work AS w SET state = 'done', processed_at = clock_timestamp(),"
            " outcome = d.outcome, last_error = ''"
            " FROM unnest(%s::bigint[], %s::text[]) AS d(seq, outcome)"
            " WHERE w.tenant_id = %s AND w.seq = d.seq",
            [
                [item.seq for item in work],
                ["; ".join(item.source.notes)[:200] for item in work],
                owner(),
            ],
        )
    hit("drain.before_commit")


# --- the careful way: one lane a transaction, one savepoint an event --------------------------


def _drain_carefully(tenant_id: str, lanes: int, depth: int) -> int:
    finished = 0
    for _ in range(lanes):
        with tenant_context(tenant_id, durable=True):
            work = _claim(1, depth)
            if not work:
                break
            finished += _process_lane(work)
    return finished


def _process_lane(work: list[Work]) -> int:
    """Do a lane's events in order until one fails; the failed one backs off, or dies."""
    finished = 0
    for item in work:
        try:
            with transaction.atomic():
                lock_consents([item.their_number] if item.their_number else [])
                _handle(item)
                if broken():
                    raise RuntimeError("a handler swallowed a database error")
        except Exception as error:  # whatever a handler raises is noted, never lost
            if is_passing(error):
                raise  # it stays ready
            _note_failure(item, error)
            break
        _finish([item])
        finished += 1
    return finished


def _note_failure(item: Work, error: Exception) -> None:
    reason = f"{type(error).__name__}: {error}"[:2000]
    attempts = item.attempts + 1
    # Bytes that make no sense now will make none later.
    dead = attempts >= MAX_ATTEMPTS or isinstance(error, BadPayload)
    delay = min(BACKOFF_S * 2**attempts, MAX_BACKOFF_S) * random.uniform(0.5, 1.5)  # noqa: S311
    logger.warning(
        "an event failed", event_id=item.source.event_id, attempts=attempts, dead=dead, error=reason
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE webhook_work SET attempts = %s, last_error = %s, state = %s,"
            " available_at = clock_timestamp() + make_interval(secs => %s)"
            " WHERE tenant_id = %s AND seq = %s",
            [attempts, reason, "dead" if dead else "ready", delay, owner(), item.seq],
        )
    if dead:
        WorkEvent.objects.create(
            work=item.seq,
            what="dead",
            reason=reason,
            correlation_id=item.source.correlation_id,
        )
