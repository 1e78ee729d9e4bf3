"""Selections of work: a filter, the newest piece that was seen, and how many there were.

A form carries all three, so that an action meets exactly what a person was shown: what arrives
later is not swept in, and where the number has changed nothing is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.core import signing
from django.db import connection

from leads.actions import owner

#: A selection is counted up to this many; a larger one has to be narrowed.
MOST = 50_000
#: Offers are good for an hour.
MAX_AGE_S = 3600

#: What can be selected → (tables, key that grows, number of the work, always true of it).
_SHAPES = {
    "letters": (
        "dead_letters AS d",
        "d.id",
        "d.ref::bigint",
        "d.tenant_id = %(owner)s AND d.stage = 'webhook' AND d.status = 'open'",
    ),
    "withheld": (
        "webhook_work AS w JOIN webhook_events AS e"
        " ON e.tenant_id = w.tenant_id AND e.id = w.event AND e.received_at = w.received_at",
        "w.seq",
        "w.seq",
        "w.tenant_id = %(owner)s AND w.state = 'quarantined'",
    ),
    "events": (
        "webhook_work AS w JOIN webhook_events AS e"
        " ON e.tenant_id = w.tenant_id AND e.id = w.event AND e.received_at = w.received_at",
        "w.event",
        "w.seq",
        "w.tenant_id = %(owner)s AND w.state IN ('done', 'discarded')"
        " AND NOT EXISTS (SELECT FROM webhook_work AS n WHERE n.tenant_id = w.tenant_id"
        "                 AND n.event = w.event AND n.run_no > w.run_no)",
    ),
}
#: Filter → its condition.
_FILTERS = {
    "letters": {"fingerprint": "d.fingerprint = %(fingerprint)s"},
    "withheld": {
        "source": "e.source = %(source)s",
        "event_type": "e.event_type = %(event_type)s",
        "cause": "cause_of(w.last_error) = %(cause)s",
    },
    "events": {
        "source": "e.source = %(source)s",
        "event_type": "e.event_type = %(event_type)s",
        "state": "w.state = %(state)s",
        "since": "w.received_at >= %(since)s::timestamptz AND w.event >= %(first)s::uuid",
        "until": "w.received_at < %(until)s::timestamptz",
        "their_number": "w.their_number = %(their_number)s",
        "correlation": "e.correlation_id = %(correlation)s",
    },
}
_CAST = {"letters": "uuid", "withheld": "bigint", "events": "uuid"}


class SelectionChanged(Exception):
    """There is more or less than a person was shown; nothing was done."""

    def __init__(self, shown: int, now: int) -> None:
        super().__init__(
            f"The list changed: {shown:,} were shown, {now:,} match now. Nothing was done."
            " Look again and repeat."
        )
        self.shown = shown
        self.now = now


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Work that a person was shown. ``newest`` is the last key, as text; "" when there is none."""

    kind: str  # letters, withheld or events
    filters: Mapping[str, str] = field(default_factory=dict)
    newest: str = ""
    count: int = 0

    @property
    def is_too_large(self) -> bool:
        return self.count > MOST

    def sign(self) -> str:
        """Return it as a form carries it."""
        return signing.dumps({"owner": owner(), **asdict(self)}, salt="selection", compress=True)


def read_selection(text: str) -> Selection | None:
    """Return the selection a form carried; None when it is too old, forged or another tenant's."""
    try:
        carried = signing.loads(text, salt="selection", max_age=MAX_AGE_S)
    except signing.BadSignature:
        return None
    return Selection(**carried) if carried.pop("owner") == owner() else None


def select(kind: str, **filters: str) -> Selection:
    """Return all work of a kind that passes *filters* now; empty filters say nothing."""
    given = {name: value for name, value in filters.items() if value}
    key, tables, values = _where(Selection(kind=kind, filters=given))
    # PostgreSQL has no greatest uuid before 18; as text they stand in the same order.
    newest = 'max(key::text COLLATE "C")' if _CAST[kind] == "uuid" else "max(key)::text"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*), {newest} FROM"  # noqa: S608
            f" (SELECT {key} AS key FROM {tables} LIMIT {MOST + 1}) AS few",
            values,
        )
        count, last = cursor.fetchone()
    return Selection(kind=kind, filters=given, newest=last or "", count=count)


def recount(selection: Selection) -> int:
    """Count what of the selection, up to its newest, matches now."""
    if not selection.newest:
        return 0
    key, tables, values = _where(selection)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM (SELECT {key} FROM {tables} LIMIT {MOST + 1}) AS few",  # noqa: S608
            values,
        )
        return int(cursor.fetchone()[0])


def read_part(selection: Selection, *, after: str = "", most: int) -> list[tuple[str, int]]:
    """Return (key, number of the work) of the next *most* pieces behind the key *after*."""
    key, tables, values = _where(selection)
    seq = _SHAPES[selection.kind][2]
    if after:
        tables += f" AND {key} > %(after)s::{_CAST[selection.kind]}"
        values = values | {"after": after}
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {key}::text, {seq} FROM {tables} ORDER BY {key} LIMIT %(most)s",  # noqa: S608
            values | {"most": most},
        )
        return [(text, number) for text, number in cursor.fetchall()]


def _where(selection: Selection) -> tuple[str, str, dict[str, Any]]:
    """Return the key, tables with conditions, and values."""
    tables, key, _, always = _SHAPES[selection.kind]
    values: dict[str, Any] = {"owner": owner()}
    parts = [always]
    for name, value in selection.filters.items():
        parts.append(_FILTERS[selection.kind][name])
        values[name] = value
        if name == "since":
            values["first"] = first_uuid(datetime.fromisoformat(value))
    if selection.newest:
        parts.append(f"{key} <= %(newest)s::{_CAST[selection.kind]}")
        values["newest"] = selection.newest
    return key, f"{tables} WHERE {' AND '.join(parts)}", values


def first_uuid(moment: datetime) -> str:
    """Return the smallest uuid a ULID made a minute before *moment* can have."""
    milliseconds = max(int(moment.timestamp() * 1000) - 60_000, 0)
    return f"{milliseconds << 80:032x}"
