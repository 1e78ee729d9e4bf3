"""The engine for batches in memory: vendor pages, answers, API calls."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import count
from typing import Any

from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models

from leads.actions import owner, sql_id
from leads.identity import writing
from leads.identity.matching import match
from leads.identity.plan import EVENT_KINDS, SOURCE_KINDS, Plan
from leads.identity.records import Incoming, Point, Resolved
from leads.identity.stage import _OUTCOMES, TABLES, StageColumn, read_rows
from leads.identity.targets import FIELDS
from leads.models import Business, Contact, Property
from tenants.correlation import correlation_id
from tenants.ulids import to_text, to_uuid

#: Most records of one call.
MOST = 5_000
#: Most phones, and most e-mails, of one record; the rest is left out.
MOST_POINTS = 20
#: Stands for an id that is none, so that the record is an error and not the batch.
NO_LEAD = "00000000-0000-0000-0000-000000000000"
_serial = count(1)
_DETAILS = ("dnc", "litigator", "tcpa", "reachable", "score", "carrier")


class TooMany(ValueError):
    """More records than one call takes, or two with one key."""


def resolve(
    records: Sequence[Incoming],
    *,
    source: str,
    kind: str = "",
    run_id: str | None = None,
    artifact_id: str | None = None,
    actor_id: str | None = None,
) -> list[Resolved]:
    """Find the lead of every record and bring it up to date, or make one, or ask a person.

    Runs in the caller's transaction, which must be a tenant's; until it ends, other batches of the
    tenant wait.

    Args:
        records: at most ``MOST``.
        source: who says it, such as ``batchdata``; decides which values win (``source_ranks``).
        kind: import, pull, enrichment, crm or manual, which names the lead event (imported, pulled,
            enriched, …); empty: what the source usually is.
        run_id: ``run_…`` they come from.
        artifact_id: ``art_…`` that keeps the answer.
        actor_id: ``actor_…`` of the person who did it.

    Returns:
        One result per record, in their order.

    Raises:
        TooMany: over ``MOST`` records, or two with one key.
        ValueError: a field that no lead has, or an unknown kind.
        leads.actions.NoTenant: outside a tenant's transaction.
    """
    plan = _plan(source, kind)
    plan.run, plan.artifact, plan.actor = sql_id(run_id), sql_id(artifact_id), sql_id(actor_id)
    return _run(plan, records, writes=True)


def check(records: Sequence[Incoming], *, source: str, kind: str = "") -> list[Resolved]:
    """Return what ``resolve`` would do, and write nothing. Every lead it finds is "updated"."""
    return _run(_plan(source, kind), records, writes=False)


def _plan(source: str, kind: str) -> Plan:
    kind = kind or SOURCE_KINDS.get(source, "import")
    if kind not in EVENT_KINDS:
        raise ValueError(f"no kind of source: {kind}")
    return Plan(
        prefix=f"pg_temp.i{next(_serial)}",
        tenant=owner(),
        source=source,
        kind=kind,
        correlation=correlation_id(),
    )


def _run(plan: Plan, records: Sequence[Incoming], *, writes: bool) -> list[Resolved]:
    if not records:
        return []
    if len(records) > MOST or len({record.key for record in records}) < len(records):
        raise TooMany(f"a batch has at most {MOST:,} records, each with a key of its own")
    rows = [_row(record) for record in records]
    targets = sorted({target for row in rows for target in row})
    columns = [
        StageColumn(target=target, value_sql=f"c{place}") for place, target in enumerate(targets, 1)
    ]
    with connection.cursor() as cursor:
        try:
            _load(plan, targets, rows, cursor)
            read_rows(plan, columns, cursor)
            match(plan)
            if writes:
                writing.write(plan, 1, len(rows), again=False)
            else:
                writing.check(plan)
            cursor.execute(_OUTCOMES.format(**plan.names()) + " ORDER BY 1")
            return list(_results(records, cursor.fetchall()))
        finally:
            if not connection.needs_rollback:
                for table in TABLES:
                    cursor.execute(f"DROP TABLE IF EXISTS {plan.prefix}_{table}")


def _load(plan: Plan, targets: list[str], rows: list[dict[str, str]], cursor: Any) -> None:
    texts = "".join(f", c{place} text NOT NULL" for place in range(1, len(targets) + 1))
    cursor.execute(f"CREATE TEMP TABLE {plan.prefix}_raw (row_no integer{texts}) ON COMMIT DROP")
    with cursor.copy(f"COPY {plan.prefix}_raw FROM STDIN") as copy:
        for row_no, row in enumerate(rows, 1):
            copy.write_row((row_no, *(row.get(target, "") for target in targets)))


def _results(records: Sequence[Incoming], rows: Iterable[tuple[Any, ...]]) -> Iterable[Resolved]:
    for record, (_, outcome, lead, by, problem, repeats, review) in zip(records, rows, strict=True):
        yield Resolved(
            key=record.key,
            outcome=outcome,
            lead_id=to_text("lead", lead) if lead else None,
            by=by or "",
            problem=problem or "",
            review_id=to_text("mrv", review) if review else None,
            duplicate_of=records[repeats - 1].key if repeats else None,
        )


def _row(record: Incoming) -> dict[str, str]:
    """Return a record as texts by target."""
    row: dict[str, str] = {}
    for name, value in record.fields.items():
        if name not in FIELDS:
            raise ValueError(f"no field of a lead: {name}")
        row[name] = _text(value)
    row["source_id"] = _text(record.source_id)
    if record.lead_id is not None:
        row["given"] = _lead(record.lead_id)
    row |= _points(record)
    if record.property:
        row["property"] = _json(_fit(Property, record.property))
    people = [_fit(Contact, person) for person in record.contacts]
    if people := [person for person in people if not _NAMES.isdisjoint(person)]:
        row["contacts"] = _json(people)
    if "name" in (business := _fit(Business, record.business or {})):
        row["business"] = _json(business)
    if record.raw:
        row["raw"] = _json(record.raw)
    return {target: text for target, text in row.items() if text}


def _points(record: Incoming) -> dict[str, str]:
    row: dict[str, str] = {}
    for kind in ("phone", "email"):
        points = [point for point in record.points if point.kind == kind]
        points.sort(key=lambda point: not point.is_primary)
        for place, point in enumerate(points[:MOST_POINTS], 1):
            row[f"{kind}{place}"] = _text(point.value)
            if details := _details(point):
                row[f"{kind}{place}_more"] = _json(details)
    return row


_NAMES = frozenset({"full_name", "first_name", "last_name"})


def _lead(lead_id: str) -> str:
    try:
        return str(to_uuid(lead_id))
    except ValueError:
        return NO_LEAD


def _details(point: Point) -> dict[str, Any]:
    told = {name: getattr(point, name) for name in _DETAILS}
    told["line_type"] = "" if point.line_type == "unknown" else point.line_type
    if point.score is not None:
        told["score"] = min(100, max(0, round(point.score)))
    return {name: value for name, value in told.items() if value not in (None, "")}


def _fit(model: type[models.Model], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as the columns of a table can hold them; what they cannot hold is left out."""
    fitting = {}
    for name, value in values.items():
        field: Any = model._meta.get_field(name)
        if value in (None, ""):
            continue
        try:
            value = field.to_python(_clean(value) if isinstance(value, str) else value)
        except (ValidationError, ValueError, TypeError):
            continue
        if isinstance(value, str) and field.max_length:
            value = value[: field.max_length]
        fitting[name] = value
    return fitting


def _json(value: Any) -> str:
    return _clean(json.dumps(value, cls=DjangoJSONEncoder).replace("\\u0000", ""))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _clean(value.isoformat() if isinstance(value, date) else str(value))


def _clean(text: str) -> str:
    """Leave out what PostgreSQL cannot store: NUL, and halves of characters."""
    return text.replace("\x00", "").encode("utf-8", "ignore").decode()
