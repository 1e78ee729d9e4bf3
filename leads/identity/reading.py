"""The statement that reads every raw row once: values, points, keys, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from leads.identity.plan import Plan, quote
from leads.identity.targets import FIELDS, Target, find_any

#: Values of a target by the text of it, {v}; NULL or '' is: not told, or not readable.
VALUES = {
    "text": "{v}",
    "key": "CASE WHEN length({v}) <= {width} THEN {v} ELSE '' END",
    "region": "CASE WHEN length({v}) = 2 THEN {v} ELSE '' END",
    "zip": "{v}",
    "fips": "CASE WHEN {v} ~ '^[0-9]{{4,5}}$' THEN lpad({v}, 5, '0') ELSE '' END",
    "whole": "read_whole({v})",
    "small": "read_within({v}, 0, 2147483647)",
    "percent": "read_within({v}, 0, 100)",
    "age": "read_within({v}, 0, 130)",
    "year": "read_within({v}, 1600, 2200)",
    "flag": "read_flag({v})",
    "number": "CASE WHEN abs(read_number({v})) < 1000 THEN read_number({v}) END",
    "day": "read_day({v})",
    "line_type": (
        "CASE WHEN lower({v}) IN ('mobile', 'cell', 'cellular', 'wireless', 'm') THEN 'mobile'"
        " WHEN lower({v}) IN ('landline', 'land line', 'land', 'residential', 'l') THEN 'landline'"
        " WHEN lower({v}) IN ('voip', 'v') THEN 'voip' END"
    ),
}
#: Kinds whose unreadable values are NULL; of the others they are ''.
TYPED = {"whole", "small", "percent", "age", "year", "flag", "number", "day"}
#: Pairs per call of jsonb_build_object, which takes a hundred arguments.
PAIRS = 45
NOTHING = "nothing to find it by: no phone, e-mail, whole address or id"


class Column(Protocol):
    """A column of the file and where it goes, as ``stage.StageColumn``."""

    @property
    def target(self) -> str: ...
    @property
    def value_sql(self) -> str: ...
    @property
    def problem_sql(self) -> str: ...


class UnknownTarget(LookupError):
    """A column is mapped to something that does not exist, or two columns to one thing."""


@dataclass(frozen=True, kw_only=True)
class _Read:
    """A column, with the name of its text inside the statement."""

    target: Target
    text: str
    value_sql: str
    problem_sql: str

    @property
    def value(self) -> str:
        """The value, by the name of the text: on the upper floors."""
        return VALUES[self.target.kind].format(v=self.text, width=self.target.width)

    @property
    def value_below(self) -> str:
        """The value on the ground floor, where the text has no name yet."""
        return VALUES[self.target.kind].format(v=f"({_text(self)})", width=self.target.width)


def read_columns(columns: Sequence[Column], plan: Plan) -> str:
    """Return the CREATE TABLE AS of the rows, and say in *plan* what they have.

    Raises:
        UnknownTarget: a target does not exist, or is named twice.
    """
    reads = [
        _Read(
            target=_find(column.target),
            text=f"v{place}",
            value_sql=column.value_sql,
            problem_sql=column.problem_sql,
        )
        for place, column in enumerate(columns, 1)
    ]
    by_name = {read.target.name: read for read in reads}
    if len(by_name) < len(reads):
        raise UnknownTarget("two columns go to one place")
    _describe(by_name, plan)
    return _statement(by_name, plan)


def _find(name: str) -> Target:
    target = find_any(name)
    if target is None:
        raise UnknownTarget(f"there is no {name!r} to put a column into")
    return target


def _describe(reads: dict[str, _Read], plan: Plan) -> None:
    plan.fields = [name for name in FIELDS if name in reads]
    plan.phones = max((_place(name, "phone") for name in reads), default=0)
    plan.emails = max((_place(name, "email") for name in reads), default=0)
    details = ("_type", "_dnc", "_more")
    plan.more = [
        point
        for point in [*plan.phone_columns, *plan.email_columns]
        if any(f"{point}{detail}" in reads for detail in details)
    ]
    groups = {"property": "property", "mailing": "property", "contact2": "contacts"}
    groups |= {"contacts": "contacts", "business": "business", "raw": "raw"}
    heads = {name.partition(".")[0] for name in reads if name not in FIELDS}
    plan.parts = sorted({groups[head] for head in heads if head in groups})
    plan.keys = [
        key for key, name in (("given", "given"), ("vendor", "source_id")) if name in reads
    ]


def _place(name: str, kind: str) -> int:
    rest = name.removeprefix(kind).partition("_")[0]
    return int(rest) if name.startswith(kind) and rest.isdigit() else 0


def _statement(reads: dict[str, _Read], plan: Plan) -> str:
    """On the ground floor what costs: texts, and what is read once and used often; then the row.

    OFFSET 0 keeps the planner from reading a value once per use. Only the floor that stands on the
    table itself is run in parallel, so all of it is there, even where a text is trimmed twice.
    """
    texts = ", ".join(f"{_text(read)} AS {read.text}" for read in reads.values())
    problems = [f"({read.problem_sql})" for read in reads.values() if read.problem_sql]
    told = f"concat_ws('; ', {', '.join(problems)})" if problems else "''"
    return f"""
        CREATE {plan.names()["made"]} TABLE {plan.prefix}_rows AS
        SELECT b.*,
               CASE WHEN b.told <> '' THEN b.told
                    {"WHEN b.no_lead THEN 'no such lead'" if plan.has_given else ""}
                    WHEN {_is_lost(plan)} THEN concat_ws('; ', nullif(b.note, ''), {quote(NOTHING)})
                    END AS err
        FROM (
            SELECT a.row_no, left(a.told, 200) AS told, {", ".join(_outputs(reads, plan))},
                   left(concat_ws('; ', {", ".join(_notes(reads, plan))}), 200) AS note
            FROM (
                SELECT row_no, {told} AS told, {texts}, {", ".join(_used_often(reads, plan))}
                FROM {plan.prefix}_raw
                OFFSET 0
            ) AS a
            OFFSET 0
        ) AS b
    """


def _text(read: _Read) -> str:
    trimmed = f"btrim({read.value_sql}, E' \\t\\r\\n\\u00a0')"
    target = read.target
    if target.kind == "zip":
        # A spreadsheet drops the zero in front.
        return (
            f"CASE WHEN length({trimmed}) BETWEEN 3 AND 4 AND {trimmed} ~ '^[0-9]+$'"
            f" THEN lpad({trimmed}, 5, '0') ELSE left({trimmed}, 10) END"
        )
    if target.kind == "region":
        return f"normalize_state({trimmed})"
    if target.kind in ("text", "phone", "email") and target.width:
        return f"left({trimmed}, {target.width})"
    return read.value_sql if target.kind == "json" else trimmed


def _used_often(reads: dict[str, _Read], plan: Plan) -> list[str]:
    def text(name: str) -> str:
        return f"({_text(reads[name])})" if name in reads else "''"

    def stored(name: str) -> str:
        return reads[name].value_below if name in reads else "''"

    often = []
    for point in plan.phone_columns:
        often.append(f"phone_read({text(point)}) AS q_{point}")
    for point in plan.email_columns:
        often.append(f"normalize_email({text(point)}) AS q_{point}")
    for name in plan.fields:
        if FIELDS[name].kind in TYPED:
            often.append(f"{reads[name].value_below} AS q_{name}")
    places = ("address_line1", "city", "region", "postal_code", "unit", "address_line2")
    names = ("full_name", "first_name", "last_name", "company", "owner_company")
    often.append(f"compute_addr_hash({', '.join(map(stored, places))}) AS hash")
    often.append(f"addr_owner_of({', '.join(map(stored, names))}) AS owner")
    if plan.has_given:
        often.append(
            f"CASE WHEN {text('given')} <> ''"
            f" THEN lead_living({quote(plan.tenant)}::uuid, {text('given')}::uuid) END AS given"
        )
    return often


def _outputs(reads: dict[str, _Read], plan: Plan) -> Iterable[str]:
    yield "a.hash, a.owner"
    yield (
        f"nullif({reads['source_id'].value}, '') AS vendor"
        if "vendor" in plan.keys
        else ("NULL::text AS vendor")
    )
    yield "a.given" if plan.has_given else "NULL::uuid AS given"
    if plan.has_given:
        yield f"a.given IS NULL AND a.{reads['given'].text} <> '' AS no_lead"
    for name in plan.fields:
        value = f"a.q_{name}" if FIELDS[name].kind in TYPED else reads[name].value
        yield f"{value} AS f_{name}"
    for kind, columns in (("phone", plan.phone_columns), ("email", plan.email_columns)):
        for place, point in enumerate(columns):
            good = f"left(a.q_{point}, 1) <> '?'" if kind == "phone" else "true"
            fresh = [f"a.q_{point} IS DISTINCT FROM a.q_{other}" for other in columns[:place]]
            raw = reads[point].text if point in reads else "''"
            yield f"CASE WHEN {' AND '.join([good, *fresh])} THEN a.q_{point} END AS {point}"
            yield f"{raw} AS {point}_raw"
            if point in plan.more:
                yield f"{_details(point, reads)} AS {point}_more"
    yield from _objects(reads, plan)


def _details(point: str, reads: dict[str, _Read]) -> str:
    if f"{point}_more" in reads:
        return f"nullif(a.{reads[f'{point}_more'].text}, '')::jsonb"
    pairs = [
        f"'{key}', {reads[f'{point}{suffix}'].value}"
        for key, suffix in (("line_type", "_type"), ("dnc", "_dnc"))
        if f"{point}{suffix}" in reads
    ]
    return f"nullif(jsonb_strip_nulls(jsonb_build_object({', '.join(pairs)})), '{{}}')"


def _objects(reads: dict[str, _Read], plan: Plan) -> Iterable[str]:
    """Yield the JSON of what goes to other tables; NULL where a row tells nothing of it."""
    for part in plan.parts:
        if part in reads:
            yield f"nullif(a.{reads[part].text}, '')::jsonb AS {part}"
        elif part == "property":
            mailing = _object(reads, "mailing.")
            value = _object(reads, "property.")
            with_mail = (
                f" || CASE WHEN {mailing} = '{{}}' THEN '{{}}'"
                f" ELSE jsonb_build_object('mailing_address', {mailing}) END"
            )
            yield f"nullif({value}{with_mail if mailing != EMPTY else ''}, '{{}}') AS property"
        elif part == "contacts":
            value = _object(reads, "contact2.")
            yield (
                f"CASE WHEN {value} ?| '{{full_name,first_name,last_name}}'"
                f" THEN jsonb_build_array({value}) END AS contacts"
            )
        elif part == "business":
            value = _object(reads, "business.")
            yield f"CASE WHEN {value} ? 'name' THEN {value} END AS business"
        else:
            yield f"nullif({_object(reads, 'raw.')}, '{{}}') AS raw"


EMPTY = "'{}'::jsonb"


def _object(reads: dict[str, _Read], prefix: str) -> str:
    pairs = [
        f"{quote(name.removeprefix(prefix))}, {_json_value(read)}"
        for name, read in reads.items()
        if name.startswith(prefix)
    ]
    pieces = [
        f"jsonb_build_object({', '.join(pairs[start : start + PAIRS])})"
        for start in range(0, len(pairs), PAIRS)
    ]
    return f"jsonb_strip_nulls({' || '.join(pieces)})" if pieces else EMPTY


def _json_value(read: _Read) -> str:
    return read.value if read.target.kind in TYPED else f"nullif({read.value}, '')"


def _notes(reads: dict[str, _Read], plan: Plan) -> Iterable[str]:
    """Yield expressions of what could not be read, NULL where nothing is wrong."""
    yield "NULL"
    for point in plan.phone_columns:
        yield (
            f"CASE WHEN left(a.q_{point}, 1) = '?'"
            f" THEN {quote(f'{point}: ')} || substr(a.q_{point}, 2) END"
        )
    for point in plan.email_columns:
        if point in reads:
            yield (
                f"CASE WHEN a.q_{point} IS NULL AND {reads[point].text} <> ''"
                f" THEN {quote(f'{point}: not an e-mail address')} END"
            )
    for name, read in reads.items():
        kind = read.target.kind
        if kind in TYPED and name in plan.fields:
            bad = f"a.q_{name} IS NULL AND {read.text} <> ''"
        elif kind in ("key", "region", "fips"):
            bad = f"{read.text} <> '' AND ({read.value}) = ''"
        else:
            continue
        trouble = quote(f"{name}: {TROUBLE.get(kind, 'cannot be read')}")
        yield f"CASE WHEN {bad} THEN {trouble} END"


TROUBLE = {"key": "too long", "region": "no state of two letters", "fips": "not five digits"}


def _is_lost(plan: Plan) -> str:
    """Return the condition of rows that no later one could ever meet again."""
    points = [f"b.{point} IS NULL" for point in [*plan.phone_columns, *plan.email_columns]]
    keys = [f"coalesce(b.f_{name}, '') = ''" for name in ("mak",) if name in plan.fields]
    if {"apn", "county_fips"} <= set(plan.fields):
        keys.append("(b.f_apn = '' OR b.f_county_fips = '')")
    nothing = ["b.hash IS NULL", "b.vendor IS NULL", "b.given IS NULL", *points, *keys]
    return " AND ".join(nothing)
