"""Quarantine rules: which webhooks an operator withholds, and what a rule would have met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from integrations.models import QuarantineRule, WorkEvent
from integrations.work import Work
from leads.actions import owner
from tenants.ulids import to_text

#: What a preview looks at: the newest events of so many days, at most so many of them.
PREVIEW_DAYS, PREVIEW_SCAN, PREVIEW_ROWS = 7, 20_000, 20


@dataclass(frozen=True, kw_only=True)
class Match:
    """A webhook that a rule meets."""

    event_id: str
    received_at: datetime
    source: str
    event_type: str
    state: str
    their_number: str | None


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a rule would have met of late, and what of it waits to be done right now."""

    matches: list[Match]  # the newest few
    count: int
    ready: int
    looked_at: int  # events; at PREVIEW_SCAN there may be more


def withhold(work: list[Work]) -> list[Work]:
    """Quarantine what a rule meets among claimed work; return the rest."""
    if not work or not work[0].may_be_withheld:
        return work
    met: dict[int, str] = {}
    for rule in QuarantineRule.objects.filter(ended_at=None).order_by("id"):
        for seq in _met_by(rule, [item.seq for item in work if item.seq not in met]):
            met[seq] = withheld_by(rule)
    if met:
        # What a person released goes, whatever rule may meet it.
        let_go = WorkEvent.objects.filter(work__in=list(met), what="release")
        for seq in let_go.values_list("work", flat=True):
            met.pop(seq, None)
        quarantine_rows(met)
    return [item for item in work if item.seq not in met]


def withheld_by(rule: QuarantineRule) -> str:
    """Return the reason that stands at what *rule* withheld."""
    return f"rule {rule.pk}: {rule.reason}"[:2000]


def quarantine_rows(reasons: dict[int, str], *, actor_id: str | None = None) -> None:
    """Withhold locked rows, each for its reason."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE webhook_work AS w SET state = 'quarantined', last_error = d.reason"
            " FROM unnest(%s::bigint[], %s::text[]) AS d(seq, reason)"
            " WHERE w.tenant_id = %s AND w.seq = d.seq",
            [list(reasons), list(reasons.values()), owner()],
        )
    WorkEvent.objects.bulk_create(
        WorkEvent(work=seq, what="quarantine", reason=reason, actor_id=actor_id)
        for seq, reason in reasons.items()
    )


def preview(rule: QuarantineRule) -> Preview:
    """Say what *rule*, saved or not, would have met in the last days."""
    where, values = _conditions(rule)
    values |= {"owner": owner(), "days": PREVIEW_DAYS, "scan": PREVIEW_SCAN}
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH recent AS MATERIALIZED (
                SELECT w.event, w.received_at, w.state, w.their_number FROM webhook_work AS w
                WHERE w.tenant_id = %(owner)s AND w.run_no = 1
                  AND w.received_at > clock_timestamp() - make_interval(days => %(days)s)
                ORDER BY w.event DESC LIMIT %(scan)s
            ), met AS MATERIALIZED (
                SELECT e.id, e.received_at, e.source, e.event_type, w.state, w.their_number
                FROM recent AS w JOIN webhook_events AS e
                  ON e.tenant_id = %(owner)s AND e.id = w.event AND e.received_at = w.received_at
                WHERE {where}
            )
            SELECT m.*, (SELECT count(*) FROM met), (SELECT count(*) FROM met WHERE state = 'ready'),
                   (SELECT count(*) FROM recent)
            FROM (SELECT) AS one LEFT JOIN (SELECT * FROM met ORDER BY id DESC LIMIT {PREVIEW_ROWS})
                 AS m ON true
            """,  # noqa: E501, S608
            values,
        )
        rows = cursor.fetchall()
    count, ready, looked_at = rows[0][-3:]
    matches = [
        Match(
            event_id=to_text("wh", event),
            received_at=at,
            source=source,
            event_type=kind,
            state=state,
            their_number=theirs,
        )
        for event, at, source, kind, state, theirs, *_ in rows
        if event is not None
    ]
    return Preview(matches=matches, count=count, ready=ready, looked_at=looked_at)


def _met_by(rule: QuarantineRule, seqs: Sequence[int]) -> list[int]:
    where, values = _conditions(rule)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT w.seq FROM webhook_work AS w JOIN webhook_events AS e"  # noqa: S608
            "  ON e.tenant_id = w.tenant_id AND e.id = w.event AND e.received_at = w.received_at"
            f" WHERE w.tenant_id = %(owner)s AND w.seq = ANY(%(seqs)s) AND {where}",
            values | {"owner": owner(), "seqs": list(seqs)},
        )
        return [seq for (seq,) in cursor.fetchall()]


def _conditions(rule: QuarantineRule) -> tuple[str, dict[str, Any]]:
    """Return a condition on ``e`` and ``w`` with its values; every criterion given must hold."""
    parts, values = [], {}
    if rule.source:
        parts.append("e.source = %(source)s")
        values["source"] = rule.source
    if rule.event_type:
        parts.append("e.event_type ILIKE %(kind)s")
        values["kind"] = glob(rule.event_type)
    if rule.sender:
        parts.append("w.their_number ILIKE %(sender)s")
        values["sender"] = glob(rule.sender)
    if rule.contains:
        parts.append(BODY_HAS.format(name="contains"))
        values |= body_has("contains", rule.contains)
    return " AND ".join(parts) or "false", values


#: A body that has a text in it; read as JSON where it is, else byte by byte.
BODY_HAS = (
    "(e.payload::text ILIKE %({name})s"
    " OR e.payload IS NULL AND position(%({name}_raw)s::bytea IN e.body) > 0)"
)


def body_has(name: str, text: str) -> dict[str, Any]:
    """Return the values of ``BODY_HAS`` for *text*."""
    return {name: f"%{_escaped(text)}%", f"{name}_raw": text.encode()}


def glob(pattern: str) -> str:
    """Return a LIKE pattern: * stands for anything, all else for itself."""
    return _escaped(pattern).replace("*", "%")


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
