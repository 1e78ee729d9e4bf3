"""Leads as CSV: by COPY, with the filters of a list, in columns that an import reads back.

No spreadsheet takes a cell for a formula: a quote goes before what begins with ``=``, ``+``, ``-``,
``@``, tab or return, and the import takes it away again. A phone number in E.164, a plus and digits
alone, stays as it is: as a formula it would be the same number, and other systems read the column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from leads.models import Lead
from tenants.actions import note
from tenants.context import tenant_context

_RISKY = re.compile(r"'*[=+\-@\t\r]")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")

#: Numbered columns of phones and e-mails.
PHONES, EMAILS = 5, 4


def plain(text: str) -> str:
    """Return *text* as no spreadsheet takes it for a formula."""
    return f"'{text}" if _RISKY.match(text) and not _E164.fullmatch(text) else text


def _safe(expression: str) -> str:
    """Return SQL that does to a text what ``plain`` does."""
    return (
        rf"CASE WHEN {expression} ~ E'^''*[=+@\t\r-]' AND {expression} !~ '^\+[1-9][0-9]{{6,14}}$'"
        f" THEN '''' || {expression} ELSE {expression} END"
    )


def _flag(expression: str) -> str:
    return f"CASE {expression} WHEN true THEN 'yes' WHEN false THEN 'no' END"


def _texts(*names: str) -> dict[str, str]:
    return {name.replace("_", " "): _safe(f"l.{name}") for name in names}


#: Header → SQL over ``l``, a lead with its phones and e-mails.
COLUMNS: dict[str, str] = {
    **_texts("first_name", "last_name", "full_name", "company", "title"),
    **{
        name: sql
        for n in range(1, PHONES + 1)
        for name, sql in (
            (f"phone {n}", f"l.phones[{n}]"),
            (f"phone {n} type", f"nullif(l.line_types[{n}], 'unknown')"),
            (f"phone {n} dnc", _flag(f"l.dncs[{n}]")),
        )
    },
    **{f"email {n}": _safe(f"l.emails[{n}]") for n in range(1, EMAILS + 1)},
    "address": _safe("l.address_line1"),
    "address 2": _safe("l.address_line2"),
    "unit": _safe("l.unit"),
    "city": _safe("l.city"),
    "state": "l.region",
    "zip": _safe("l.postal_code"),
    **_texts("county", "county_fips", "apn", "mak", "owner_company", "sector", "sic_code"),
    **_texts("sic_description"),
    "employees": "l.employee_count",
    "annual revenue": "l.annual_revenue",
    "website": _safe("l.website"),
    "age": "l.age",
    "owner occupied": _flag("l.owner_occupied"),
    "property value": "l.property_value",
    "estimated equity": "l.estimated_equity",
    "decision maker": _flag("l.is_decision_maker"),
    "time zone": "l.time_zone",
    # An import leaves these out: they are ours to know.
    "lead state": "l.state",
    "lead stage": _safe("l.stage"),
    "lead source": _safe("l.source"),
    "lead since": "to_char(l.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')",
}

_POINTS = (
    "ARRAY(SELECT {value} FROM contact_points AS p WHERE p.tenant_id = x.tenant_id"
    " AND p.lead_id = x.id AND p.kind = '{kind}' ORDER BY p.is_primary DESC, p.id) AS {name}"
)


def export_leads(
    rows: QuerySet[Lead], *, tenant_id: str, actor_id: str | None, what: str = ""
) -> Iterator[bytes]:
    """Return leads as CSV, piece by piece, and note in the audit log that somebody took them.

    The pieces are read in a transaction of their own, so that they may be streamed when the
    request's own is over; the note is part of the running one.

    Args:
        rows: leads of the tenant, filtered as wanted; read in their order, or by id.
        tenant_id: ``tenant_…``.
        actor_id: ``actor_…`` who takes them.
        what: the filters in words, for the audit log.
    """
    note("leads.exported", actor_id=actor_id, after={"filters": what[:500]})
    return _pieces(rows, tenant_id)


def _pieces(rows: QuerySet[Lead], tenant_id: str) -> Iterator[bytes]:
    with tenant_context(tenant_id), connection.cursor() as cursor:
        # As long as it takes: a million leads are more than a statement of a page may be.
        cursor.execute("SET LOCAL statement_timeout = 0")
        yield (",".join(COLUMNS) + "\r\n").encode()
        with cursor.copy(f"COPY ({_sql(rows)}) TO STDOUT WITH (FORMAT csv)") as copy:
            for block in copy:
                yield bytes(block)


def _sql(rows: QuerySet[Lead]) -> str:
    ordered = rows if rows.ordered else rows.order_by("id")
    query = ordered.values("id").query
    compose: Any = connection.ops
    wanted = compose.compose_sql(*query.sql_with_params())
    points = ", ".join(
        _POINTS.format(value=f"p.{value}", kind=kind, name=name)
        for value, kind, name in (
            ("normalized", "phone", "phones"),
            ("line_type", "phone", "line_types"),
            ("dnc", "phone", "dncs"),
            ("normalized", "email", "emails"),
        )
    )
    return (
        f"WITH wanted AS (SELECT q.id, row_number() OVER () AS place FROM ({wanted}) AS q)"  # noqa: S608
        f" SELECT {', '.join(COLUMNS.values())} FROM ("
        f"SELECT x.*, wanted.place, {points} FROM wanted JOIN leads AS x ON x.id = wanted.id"
        ") AS l ORDER BY l.place"
    )
