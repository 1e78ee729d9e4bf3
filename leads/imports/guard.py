"""What is suspicious about a list, before anybody is written to: told, and accepted by a person."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from django.db import connection

from leads.actions import owner
from leads.identity.stage import Stage
from leads.imports.actions import columns_of
from leads.imports.transforms import readings_of
from leads.models import Import

#: Numbers in a row, each one higher than the last, that nobody collects by chance.
SEQUENTIAL = 250
#: Percent of the numbers of a list from which each kind is told; lists below FEW have no percents.
LANDLINES, OPTED_OUT, DO_NOT_CALL, LITIGATORS, DUPLICATES = 50, 5, 10, 2, 50
FEW = 20
#: Rows one number may be on.
SAME_PHONE = 20


@dataclass(frozen=True, kw_only=True)
class Warning:
    """Something a person should read before the list is imported."""

    key: str
    text: str
    count: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


_NUMBERS = """
WITH p AS MATERIALIZED (
    SELECT v.phone, bool_or(v.landline) AS landline, bool_or(v.dnc) AS dnc, count(*) AS times
    FROM {raw} AS r CROSS JOIN LATERAL (VALUES {values}) AS v (phone, landline, dnc)
    WHERE v.phone IS NOT NULL GROUP BY v.phone
), known AS MATERIALIZED (
    SELECT c.normalized,
           bool_or(c.dnc IS TRUE) AS dnc, bool_or(c.line_type = 'landline') AS landline,
           bool_or(c.litigator IS TRUE OR c.tcpa IS TRUE) AS litigator
    FROM contact_points AS c JOIN p ON p.phone = c.normalized
    WHERE c.tenant_id = %(owner)s AND c.kind = 'phone'
      AND (c.dnc OR c.litigator OR c.tcpa OR c.line_type = 'landline')
    GROUP BY c.normalized
), runs AS (
    SELECT count(*) AS n FROM (
        SELECT d - row_number() OVER (ORDER BY d) AS island
        FROM (SELECT substr(phone, 2)::bigint AS d FROM p) AS digits) AS islands
    GROUP BY island
)
SELECT (SELECT count(*) FROM p),
       (SELECT coalesce(max(n), 0) FROM runs),
       (SELECT count(*) FROM p LEFT JOIN known ON known.normalized = p.phone
         WHERE p.landline OR known.landline),
       (SELECT count(*) FROM p LEFT JOIN known ON known.normalized = p.phone
         WHERE p.dnc OR known.dnc),
       (SELECT count(*) FROM known WHERE litigator),
       (SELECT count(*) FROM p JOIN consents AS c ON c.tenant_id = %(owner)s
           AND c.channel = 'sms' AND c.scope = '' AND c.address = p.phone
           AND c.state = 'opted_out'),
       (SELECT coalesce(max(times), 0) FROM p)
"""


def warnings_of(one: Import, stage: Stage) -> list[dict[str, Any]]:
    """Return what is suspicious about a checked file, in the running transaction."""
    calls = {reading.target: reading.call for reading in readings_of(columns_of(one))}
    phones = [f"phone{n}" for n in range(1, 6) if f"phone{n}" in calls]
    found = _of_rows(one)
    if phones:
        values = ", ".join(_value(calls, phone) for phone in phones)
        sql = _NUMBERS.format(raw=stage.plan.names()["raw"], values=values)
        with connection.cursor() as cursor:
            cursor.execute(sql, {"owner": owner()})
            found += _of_numbers(*cursor.fetchone())
    return [warning.as_json() for warning in found]


def _value(calls: dict[str, str], phone: str) -> str:
    kind, dnc = calls.get(f"{phone}_type"), calls.get(f"{phone}_dnc")
    is_landline = f"({kind}).value = 'landline'" if kind else "false"
    is_listed = f"({dnc}).value = 'true'" if dnc else "false"
    return f"(({calls[phone]}).value, {is_landline}, {is_listed})"


def _of_rows(one: Import) -> list[Warning]:
    duplicates = one.duplicates
    if one.total < FEW or duplicates * 100 < DUPLICATES * one.total:
        return []
    text = f"{duplicates:,} of {one.total:,} rows repeat another row of the file."
    return [Warning(key="duplicates", text=text, count=duplicates)]


def _of_numbers(
    total: int, run: int, landlines: int, listed: int, litigators: int, out: int, same: int
) -> list[Warning]:
    found = []
    if run >= SEQUENTIAL:
        text = f"{run:,} numbers follow one another without a gap, as made-up lists do."
        found.append(Warning(key="sequential", text=text, count=run))
    if same >= SAME_PHONE:
        text = f"One number is on {same:,} rows."
        found.append(Warning(key="same_phone", text=text, count=same))
    shares = (
        ("landlines", landlines, LANDLINES, "are landlines, which get no text"),
        ("opted_out", out, OPTED_OUT, "opted out before and stay blocked"),
        ("do_not_call", listed, DO_NOT_CALL, "are on a do-not-call list"),
        ("litigators", litigators, LITIGATORS, "are of people who sue callers"),
    )
    for key, number, least, words in shares:
        if total >= FEW and number * 100 >= least * total:
            share = round(100 * number / total)
            text = f"{number:,} of {total:,} numbers ({share}%) {words}."
            found.append(Warning(key=key, text=text, count=number))
    return found
