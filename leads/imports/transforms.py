"""How the text of a cell becomes a value: one SQL function per kind, for preview and import."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.db import connection

from leads.identity.stage import StageColumn
from leads.identity.targets import Target, find
from leads.imports.columns import Column

#: Kind of a target → the function that reads it.
FUNCTIONS = {
    "text": "import_text({c}, {width})",
    "key": "import_text({c}, {width})",
    "whole": "import_money({c})",
    "small": "import_integer({c}, {most})",
    "percent": "import_integer({c}, 100)",
    "age": "import_integer({c}, 130)",
    "year": "import_integer({c}, 2200)",
    "flag": "import_yes_no({c})",
    "number": "import_percent({c}, {most})",
    "day": "import_date({c})",
    "phone": "import_phone({c})",
    "email": "import_email({c})",
    "line_type": "import_line_type({c})",
    "fips": "import_fips({c})",
    "region": "import_region({c})",
    "zip": "import_zip({c})",
}
#: Targets that are read in a way of their own.
SPECIAL = {"time_zone": "import_zone({c})"}
#: Ways to read a column that are not the usual one, for the targets they are for, in words.
TRANSFORMS: dict[str, tuple[str, str]] = {
    "mobile": ("phone", "These are mobiles"),
    "landline": ("phone", "These are landlines"),
    "list": ("phone email", "Several in one cell"),
    "name": ("text", "First and last name in one cell"),
    "plain": ("text", "As it is written"),
}
#: Largest value of numbers that the database bounds.
MOST = {"small": 2_000_000_000, "number": 999}
#: Characters of a value that goes to no column of its own.
DETAIL = 500
#: Values a list in one cell may have, and numbered targets there are.
LIST = {"phone": 5, "email": 4}
DETAIL_NAME = re.compile(r"raw\.[a-z0-9_]{1,60}")


#: A problem that does not make a row an error: lists are full of numbers nobody ever had.
HARMLESS = "is a number that nobody has"


class BadMapping(ValueError):
    """The columns cannot be read this way; the text says which and why."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A target and the SQL of its value and problem over ``c1`` … ``cn``."""

    target: str
    label: str
    call: str
    cell: str = "''"

    def column(self, *, drops: bool) -> StageColumn:
        """Return it for the engine; with *drops* a value that cannot be read is left out."""
        label = self.label.replace("'", "''")
        problem = "" if drops or not self.label else f"'{label} ' || {self._told}"
        # What is left out is still told: the engine says of the text why it is no number.
        rest = self.cell if self.call.startswith("import_phone(") else "''"
        return StageColumn(
            target=self.target,
            value_sql=f"coalesce(({self.call}).value, {rest})",
            problem_sql=problem,
        )

    @property
    def _told(self) -> str:
        return f"nullif(({self.call}).problem, '{HARMLESS}')"


def check_mapping(columns: Sequence[Column]) -> None:
    """Refuse a mapping that nobody can have meant.

    Raises:
        BadMapping: an unknown field or way to read, a field twice, or nothing that tells a lead.
    """
    seen: dict[str, str] = {}
    for column in columns:
        if not column.target:
            continue
        target = _target(column.target)
        if target is None:
            raise BadMapping(f"{column.header}: there is no field “{column.target[:60]}”.")
        if column.transform and not _fits(column.transform, target):
            raise BadMapping(f"{column.header}: {target.label} is not read that way.")
        if column.target in seen:
            raise BadMapping(f"{seen[column.target]} and {column.header} are both {target.label}.")
        seen[column.target] = column.header
    if not any(name for name in seen if not name.startswith("raw.")):
        raise BadMapping("Choose a field for at least one column.")
    if not any(_identifies(name) for name in seen):
        raise BadMapping(
            "No column says who a lead is: a phone, an e-mail, an address, a name or an id."
        )


def _identifies(name: str) -> bool:
    return name.startswith(("phone", "email")) or name in {
        "full_name", "first_name", "last_name", "company", "address_line1", "source_id", "mak",
        "apn",
    }  # fmt: skip


def _target(name: str) -> Target | None:
    if name.startswith("raw.") and not DETAIL_NAME.fullmatch(name):
        return None
    return find(name)


def _fits(transform: str, target: Target) -> bool:
    kinds, _ = TRANSFORMS.get(transform, ("", ""))
    if transform == "name":
        return target.name == "full_name"
    return target.kind in kinds.split()


def options_for(target_name: str) -> list[tuple[str, str]]:
    """Return the ways a column with this target may be read besides the usual one."""
    target = _target(target_name)
    if target is None:
        return []
    return [(key, words) for key, (_, words) in TRANSFORMS.items() if _fits(key, target)]


def readings_of(columns: Sequence[Column]) -> list[Reading]:
    """Return what is read from which column; one column may give several targets."""
    mapped = {column.target for column in columns if column.target}
    found: dict[str, Reading] = {}
    for place, column in enumerate(columns, 1):
        if column.target:
            for one in _readings(column, f"c{place}", mapped):
                found.setdefault(one.target, one)
    return list(found.values())


def _readings(column: Column, cell: str, mapped: set[str]) -> Iterator[Reading]:
    target = _target(column.target)
    if target is None:
        return
    if target.name == "full_name" and column.transform != "plain":
        for part, name in (("full", "full_name"), ("first", "first_name"), ("last", "last_name")):
            if name == "full_name" or name not in mapped:
                label = "Name" if name == "full_name" else ""
                yield Reading(target=name, label=label, call=f"import_name({cell}, '{part}')")
        return
    if column.transform == "list":
        yield from _list(target, cell, mapped)
        return
    yield Reading(target=target.name, label=label_of(target), call=_call(target, cell), cell=cell)
    if column.transform in ("mobile", "landline") and f"{target.name}_type" not in mapped:
        call = f"import_line_type(CASE WHEN {cell} <> '' THEN '{column.transform}' ELSE '' END)"
        yield Reading(target=f"{target.name}_type", label="", call=call)


def _list(target: Target, cell: str, mapped: set[str]) -> Iterator[Reading]:
    names = [f"{target.kind}{number}" for number in range(1, LIST[target.kind] + 1)]
    free = [target.name, *(name for name in names if name not in mapped)]
    for nth, name in enumerate(free, 1):
        call = f"import_{target.kind}(coalesce(import_item({cell}, {nth}), ''))"
        yield Reading(target=name, label=target.label, call=call)


def _call(target: Target, cell: str) -> str:
    template = SPECIAL.get(target.name) or FUNCTIONS[target.kind]
    most = MOST.get(target.kind, 0)
    return template.format(c=cell, width=target.width or DETAIL, most=most)


def label_of(target: Target) -> str:
    """Return the words for a target, of things beside the lead with their group."""
    return f"{target.group}: {target.label.lower()}" if "." in target.name else target.label


def stage_columns(columns: Sequence[Column], drops: frozenset[str]) -> list[StageColumn]:
    """Return what the engine needs.

    Args:
        columns: one per column of the file, checked.
        drops: targets of which a value that cannot be read is dropped, and the row kept.
    """
    return [one.column(drops=one.target in drops) for one in readings_of(columns)]


def targets_of_problem(problem: str, columns: Sequence[Column]) -> list[str]:
    """Return the targets whose value was the *problem* of a row, for a rule that drops it."""
    return [
        one.target
        for one in readings_of(columns)
        if one.label and any(part.startswith(f"{one.label} ") for part in problem.split("; "))
    ]


def preview(
    columns: Sequence[Column], samples: Sequence[Sequence[str]]
) -> list[dict[str, tuple[str, str]]]:
    """Return, per sample row, target → (value, problem), by the very functions of the import."""
    readings = readings_of(columns)
    if not readings or not samples:
        return []
    cells = ", ".join(f"coalesce(r.v ->> {n}, '') AS c{n + 1}" for n in range(len(columns)))
    values = ", ".join(f"({one.call}).value, ({one.call}).problem" for one in readings)
    sql = (
        f"SELECT {values} FROM (SELECT {cells}, r.n FROM jsonb_array_elements(%s::jsonb)"  # noqa: S608
        " WITH ORDINALITY AS r(v, n)) AS r ORDER BY r.n"
    )
    with connection.cursor() as cursor:
        # No parameters inside the calls: psycopg must not look for placeholders in them.
        cursor.execute(sql, [json.dumps(samples)])
        rows = cursor.fetchall()
    return [_paired(readings, row) for row in rows]


def _paired(readings: Sequence[Reading], row: Sequence[str | None]) -> dict[str, tuple[str, str]]:
    told: Mapping[str, tuple[str, str]] = {
        one.target: (row[2 * place] or "", row[2 * place + 1] or "")
        for place, one in enumerate(readings)
    }
    return dict(told)
