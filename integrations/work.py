"""Claimed work: which events a process may do now, locked, with what is needed to do them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from integrations.endpoints import config_of
from integrations.events import BadPayload, Event, MessageStatus
from integrations.providers import Provider, providers
from leads.actions import owner
from tenants.ulids import to_text, to_uuid

#: Content type of an event whose body was erased; SQL writes it.
ERASED = "application/x-erased"


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

    @property
    def outcome(self) -> str:
        return "; ".join(self.notes)[:200]


@dataclass(frozen=True, kw_only=True)
class Work:
    """One claimed piece of work with the event it is about."""

    seq: int
    lane: str
    attempts: int
    strikes: int
    their_number: str | None
    event_type: str
    may_be_withheld: bool  # the tenant has quarantine rules
    source: Source
    events: Callable[[], list[Event]]


@dataclass(frozen=True, kw_only=True)
class WorkSettled:
    """Emitted in the transaction that finished, withheld or gave up pieces of work."""

    count: int


_SELECT = """
    SELECT w.seq, w.lane, w.attempts, w.strikes, w.their_number, w.run_no, e.id, e.source,
           e.integration, e.event_type, e.signature_state, e.attempt_token_hash, e.correlation_id,
           e.body, e.received_at, e.headers ->> 'content-type' AS content_type,
           CASE WHEN w.run_no = 1 THEN w.seq ELSE (
               SELECT min(f.seq) FROM webhook_work AS f
               WHERE f.tenant_id = %(owner)s AND f.event = w.event) END AS position,
           EXISTS (SELECT FROM quarantine_rules AS q
                   WHERE q.tenant_id = %(owner)s AND q.ended_at IS NULL) AS may_be_withheld
    FROM {source} AS w
    JOIN webhook_events AS e
      ON e.tenant_id = %(owner)s AND e.id = w.event AND e.received_at = w.received_at
"""
_CLAIM = f"""
    {_SELECT.format(source="claim_work(%(owner)s, %(start)s, %(lanes)s, %(depth)s)")}
    ORDER BY w.seq
"""
_CLAIM_ONE = f"""
    {_SELECT.format(source="webhook_work")}
    WHERE w.tenant_id = %(owner)s AND w.seq = %(seq)s AND w.state = 'ready'
      AND w.available_at <= clock_timestamp()
      AND NOT EXISTS (SELECT FROM webhook_work AS h
                      WHERE h.tenant_id = %(owner)s AND h.lane = w.lane AND h.state = 'ready'
                        AND h.seq < w.seq)
    FOR UPDATE OF w SKIP LOCKED
"""
_SHOW = f"""
    {_SELECT.format(source="webhook_work")}
    WHERE w.tenant_id = %(owner)s AND w.seq = ANY(%(seqs)s)
    ORDER BY w.event
"""


def claim(lanes: int, depth: int) -> list[Work]:
    """Lock free lanes from a random place on, then from the start: drains meet different ones."""
    # Lanes begin with our number, "+1202…": any spread over digits will do.
    start = f"+1{random.randrange(2 * 10**9, 10**10)}" if random.random() < 0.5 else ""  # noqa: S311
    work = _read(_CLAIM, start=start, lanes=lanes, depth=depth)
    if start and not work:
        work = _read(_CLAIM, start="", lanes=lanes, depth=depth)
    return work


def claim_one(seq: int) -> list[Work]:
    """Lock one piece of work if it may be done now and comes first in its lane, else nothing."""
    return _read(_CLAIM_ONE, seq=seq)


def read_work(seqs: list[int]) -> list[Work]:
    """Return work in whatever state, in the order of its events, without a lock."""
    return _read(_SHOW, seqs=seqs)


def _read(sentence: str, **values: Any) -> list[Work]:
    with connection.cursor() as cursor:
        cursor.execute(sentence, {"owner": owner(), **values})
        configured: dict[str, Provider] = {}  # read once for all work of a claim
        return [_work(configured, *row) for row in cursor.fetchall()]


def _work(  # noqa: PLR0913  (one per column)
    configured: dict[str, Provider],
    seq: int,
    lane: str,
    attempts: int,
    strikes: int,
    theirs: str | None,
    run_no: int,
    event: UUID,
    provider: str,
    integration: UUID,
    event_type: str,
    signed: str,
    token: str | None,
    correlation: str,
    body: bytes,
    received_at: datetime,
    content_type: str | None,
    position: int,
    may_be_withheld: bool,
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
        strikes=strikes,
        their_number=theirs,
        event_type=event_type,
        may_be_withheld=may_be_withheld,
        source=source,
        events=lambda: parse_events(source, raw, configured),
    )


def parse_events(
    source: Source, body: bytes, configured: dict[str, Provider] | None = None
) -> list[Event]:
    """Read the stored bytes again, as intake did; of an erased event nothing is left to read.

    Raises:
        BadPayload: the provider's adapter cannot make sense of them.
    """
    if source.content_type == ERASED:
        source.note("erased")
        return []
    known = {} if configured is None else configured
    if source.integration_id not in known:
        known[source.integration_id] = provider_of(source)
    provider = known[source.integration_id]
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
