"""What the webhook pages read: lists by key and within bounds, and one event with its effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from integrations.rules import BODY_HAS, body_has
from integrations.selections import first_uuid
from leads.actions import owner, sql_id
from tenants.ulids import decode, to_text

PAGE = 50
#: Where a filter has no index of its own, so many of the newest events are looked through.
SCAN = 5000
#: Status on the page → states of the work.
STATUSES = {
    "ready": "Ready",
    "done": "Done",
    "dead": "Failed",
    "quarantined": "Quarantined",
    "discarded": "Discarded",
}
#: States that few rows are in; an index leads to them.
RARE = ("dead", "quarantined", "discarded", "ready")


@dataclass(frozen=True, kw_only=True)
class Query:
    """Which events somebody asked for. Empty strings ask for anything."""

    since: datetime
    until: datetime | None = None
    source: str = ""
    event_type: str = ""
    status: str = ""
    their_number: str = ""
    correlation: str = ""
    contains: str = ""

    @property
    def is_filtered(self) -> bool:
        """Tell whether a row can be left out for anything but its time and state."""
        return any(
            (self.source, self.event_type, self.their_number, self.correlation, self.contains)
        )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One event with its newest run."""

    seq: int
    event_id: str
    received_at: datetime
    source: str
    event_type: str
    status: str
    run_no: int
    attempts: int
    strikes: int
    processed_at: datetime | None
    outcome: str
    error: str
    correlation_id: str
    their_number: str | None
    signature_state: str
    available_at: datetime

    @property
    def tries(self) -> int:
        return self.attempts + (self.status == "done")

    @property
    def took(self) -> timedelta | None:
        """How long it was from receipt to effect."""
        return self.processed_at - self.received_at if self.processed_at else None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A page of events. ``after`` leads to older ones; ``looked_at`` is 0 where all were."""

    rows: list[Row] = field(default_factory=list)
    after: str = ""
    looked_at: int = 0


_ROW = """
    w.seq, e.id, e.received_at, e.source, e.event_type, w.state, w.run_no, w.attempts, w.strikes,
    w.processed_at, w.outcome, w.last_error, e.correlation_id, w.their_number, e.signature_state,
    w.available_at
"""
_NEWEST = """
    NOT EXISTS (SELECT FROM webhook_work AS n WHERE n.tenant_id = w.tenant_id
                AND n.event = w.event AND n.run_no > w.run_no)
"""


def list_events(query: Query, after: str = "") -> Listing:
    """Return a page of events, newest first, behind the key *after*."""
    rare = query.status in RARE
    key = "seq" if rare else "event"
    parts, values = _bounds(query, rare=rare, after=after)
    filters, more = _filters(query)
    most = SCAN if query.is_filtered else PAGE + 1
    values |= more | {"owner": owner(), "scan": most}
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH some_work AS MATERIALIZED (
                SELECT w.* FROM webhook_work AS w WHERE {" AND ".join(parts)}
                ORDER BY w.{key} DESC LIMIT %(scan)s
            ), found AS MATERIALIZED (
                SELECT {_ROW} FROM some_work AS w JOIN webhook_events AS e
                  ON e.tenant_id = %(owner)s AND e.id = w.event AND e.received_at = w.received_at
                WHERE {" AND ".join(filters) or "true"}
                ORDER BY w.{key} DESC LIMIT {PAGE + 1}
            )
            SELECT f.*, s.looked_at, s.last
            FROM (SELECT count(*) AS looked_at,
                         (SELECT {key}::text FROM some_work ORDER BY {key} LIMIT 1) AS last
                  FROM some_work) AS s
            LEFT JOIN found AS f ON true
            ORDER BY f.{"seq" if rare else "id"} DESC
            """,  # noqa: S608  (our own sentences; values are parameters)
            values,
        )
        answer = cursor.fetchall()
    return _listing(answer, key, bounded=query.is_filtered)


def _listing(answer: list[tuple[Any, ...]], key: str, *, bounded: bool) -> Listing:
    looked_at, last = answer[0][-2:]
    rows = [_row(*row[:-2]) for row in answer if row[0] is not None]
    after = ""
    if len(rows) > PAGE:
        end = rows[PAGE - 1]
        after = str(end.seq) if key == "seq" else end.event_id
    elif bounded and looked_at == SCAN:
        after = last if key == "seq" else to_text("wh", UUID(last))
    return Listing(
        rows=rows[:PAGE], after=after, looked_at=looked_at if bounded and looked_at == SCAN else 0
    )


def _row(  # noqa: PLR0913  (one per column)
    seq: int,
    event: Any,
    received_at: datetime,
    source: str,
    event_type: str,
    status: str,
    run_no: int,
    attempts: int,
    strikes: int,
    processed_at: datetime | None,
    outcome: str,
    error: str,
    correlation_id: str,
    their_number: str | None,
    signature_state: str,
    available_at: datetime,
) -> Row:
    return Row(
        seq=seq,
        event_id=to_text("wh", event),
        received_at=received_at,
        source=source,
        event_type=event_type,
        status=status,
        run_no=run_no,
        attempts=attempts,
        strikes=strikes,
        processed_at=processed_at,
        outcome=outcome,
        error=error,
        correlation_id=correlation_id,
        their_number=their_number,
        signature_state=signature_state,
        available_at=available_at,
    )


def _bounds(query: Query, *, rare: bool, after: str) -> tuple[list[str], dict[str, Any]]:
    """Return what an index finds: state, time and key."""
    parts = ["w.tenant_id = %(owner)s", "w.received_at >= %(since)s", _NEWEST]
    values: dict[str, Any] = {"since": query.since}
    if query.status:
        parts.append("w.state = %(status)s")
        values["status"] = query.status
    if query.until:
        parts.append("w.received_at < %(until)s")
        values["until"] = query.until
    if not rare:
        parts.append("w.event >= %(first)s::uuid")
        values["first"] = first_uuid(query.since)
    if after and rare and after.isdecimal() and len(after) < 19:
        parts.append("w.seq < %(after)s")
        values["after"] = int(after)
    elif after and not rare and _is_event(after):
        parts.append("w.event < %(after)s::uuid")
        values["after"] = sql_id(after)
    return parts, values


def _is_event(text: str) -> bool:
    try:
        decode(text.removeprefix("wh_"))
    except ValueError:
        return False
    return True


def _filters(query: Query) -> tuple[list[str], dict[str, Any]]:
    """Return what is looked at row by row."""
    parts, values = [], {}
    for name, column in (
        ("source", "e.source"),
        ("event_type", "e.event_type"),
        ("their_number", "w.their_number"),
        ("correlation", "e.correlation_id"),
    ):
        if value := getattr(query, name):
            parts.append(f"{column} = %({name})s")
            values[name] = value
    if query.contains:
        parts.append(BODY_HAS.format(name="contains"))
        values |= body_has("contains", query.contains)
    return parts, values


def moment_of(correlation: str) -> tuple[datetime, datetime] | None:
    """Return the time around which a correlation id was made, which its events were received in."""
    try:
        made = datetime.fromtimestamp((decode(correlation.removeprefix("corr_")) >> 80) / 1000, UTC)
        around = made - timedelta(minutes=5), made + timedelta(hours=1)
    except (ValueError, OverflowError, OSError):
        return None
    return around if correlation.startswith("corr_") else None


def known_types(since: datetime) -> list[tuple[str, str]]:
    """Return (provider, event type) of the newest events, for the filters."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT source, event_type FROM (SELECT e.source, e.event_type FROM webhook_events AS e"
            "  WHERE e.tenant_id = %s AND e.received_at >= %s AND e.id >= %s::uuid"
            "  ORDER BY e.id DESC LIMIT 500) AS newest GROUP BY 1, 2 ORDER BY 1, 2",
            [owner(), since, first_uuid(since)],
        )
        return [(source, kind) for source, kind in cursor.fetchall()]


def newest_event() -> datetime | None:
    """Return when the newest event arrived, whenever that was."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT received_at FROM webhook_work WHERE tenant_id = %s ORDER BY event DESC LIMIT 1",
            [owner()],
        )
        row = cursor.fetchone()
    return row[0] if row else None


def per_hour(since: datetime, hours: int) -> list[tuple[datetime, int]]:
    """Count the events received in each of *hours* hours from *since* on.

    An index counts them; at most 100,000 are counted.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT floor(extract(epoch FROM received_at - %(since)s) / 3600)::int, count(*)"
            " FROM (SELECT received_at FROM webhook_work WHERE tenant_id = %(owner)s"
            "       AND event >= %(first)s::uuid AND received_at >= %(since)s AND run_no = 1"
            "       LIMIT 100000) AS some_work GROUP BY 1",
            {"owner": owner(), "since": since, "first": first_uuid(since)},
        )
        counted: Mapping[int, int] = dict(cursor.fetchall())
    return [(since + timedelta(hours=n), counted.get(n, 0)) for n in range(hours)]
