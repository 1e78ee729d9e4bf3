"""What belongs to a lead, and what becomes of it when two leads become one.

Each app names its own tables here; ``tests/leads/test_merging.py`` asks the catalog for every
column that refers to a lead and demands that it is named.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from django.db import connection

from leads.actions import owner, sql_id

Change = dict[str, dict[str, Any]]  # id of a row → {"was": columns, "is": columns}


@dataclass(frozen=True, kw_only=True)
class Child:
    """A table whose rows follow their lead into a merge.

    In the SQL, ``m`` is a row of the merged lead and ``s`` one of the survivor; parts that are
    empty do not happen.

    Attributes:
        table: its name.
        column: the column that refers to the lead.
        stays: condition on m and s under which both say the same: m stays where it is.
        moves: condition on m alone without which it stays, too.
        yields: assignments to an m that moves, where ``yields_if`` (on m and s) holds.
        ends: assignments to an m that stays, where ``ends_if`` (on m alone) holds.
        folds: assignments to the s of an m that stays: what m knows besides.
        stops: assignments to the rows of both where ``stops_if`` holds, when the merge suppresses
            the survivor.
        refuses: words; while two rows say the same, nothing is merged.
    """

    table: str
    column: str = "lead_id"
    stays: str = ""
    moves: str = ""
    yields: str = ""
    yields_if: str = ""
    ends: str = ""
    ends_if: str = ""
    folds: str = ""
    stops: str = ""
    stops_if: str = ""
    refuses: str = ""


_children: dict[tuple[str, str], Child] = {}
_kept: dict[tuple[str, str], str] = {}


def follows(child: Child) -> None:
    """Have the rows of a table follow their lead, after those of the tables named before it."""
    _children[child.table, child.column] = child


def keeps(table: str, column: str, why: str) -> None:
    """Have the rows of a table stay with the lead they were written for."""
    _kept[table, column] = why


def children() -> list[Child]:
    """Return the tables that follow, in the order in which they do."""
    return list(_children.values())


def kept() -> dict[tuple[str, str], str]:
    """Return the columns that do not follow, and why."""
    return dict(_kept)


# --- moving -----------------------------------------------------------------------------------


def refusals(survivor: str, merged: str) -> list[str]:
    """Return, in words, what keeps two leads from becoming one now."""
    return [
        child.refuses
        for child in children()
        if child.refuses and _ask(child, f"EXISTS ({_clash(child)})", survivor, merged)
    ]


def move(child: Child, survivor: str, merged: str, *, suppresses: bool) -> tuple[list[str], Change]:
    """Move the rows of *merged* to *survivor*; return their ids, and what else changed."""
    changed: Change = {}
    staying = _ids(child, f"EXISTS ({_clash(child)})", survivor, merged) if child.stays else []
    if child.folds:
        changed |= _fold(child, survivor, merged)
    if child.ends and staying:
        changed |= change(child.table, _where(child, staying, child.ends_if), child.ends)
    if child.yields:
        yielding = _ids(child, f"EXISTS ({_pair(child, child.yields_if)})", survivor, merged)
        changed |= change(child.table, [i for i in yielding if i not in staying], child.yields)
    moving = _ids(child, child.moves or "true", survivor, merged)
    moved = put(
        child.table, child.column, [i for i in moving if i not in staying], merged, survivor
    )
    if suppresses and child.stops:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT m.id::text FROM {child.table} AS m WHERE m.tenant_id = %s"  # noqa: S608
                f" AND m.{child.column} = %s AND {child.stops_if}",
                [owner(), sql_id(survivor)],
            )
            live = [row[0] for row in cursor.fetchall()]
        changed = _joined(changed, change(child.table, live, child.stops))
    return moved, changed


def put(table: str, column: str, ids: Iterable[str], source: str, target: str) -> list[str]:
    """Give those rows among *ids* that are of lead *source* to *target*; return which."""
    wanted = list(ids)
    if not wanted:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET {column} = %s"  # noqa: S608  (names of tables, from code)
            f" WHERE tenant_id = %s AND {column} = %s AND id = ANY(%s::uuid[])"
            " RETURNING id::text",
            [sql_id(target), owner(), sql_id(source), wanted],
        )
        return sorted(row[0] for row in cursor.fetchall())


def change(table: str, ids: Iterable[str], assignments: str) -> Change:
    """Make *assignments* to rows and return, per row, the columns as they were and are."""
    wanted = list(ids)
    if not wanted:
        return {}
    before = as_they_are(table, wanted)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} AS m SET {assignments}"  # noqa: S608
            " WHERE m.tenant_id = %s AND m.id = ANY(%s::uuid[])",
            [owner(), wanted],
        )
    return differences(before, as_they_are(table, wanted))


def as_they_are(table: str, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return rows as PostgreSQL writes them in JSON, locked until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT t.id::text, to_jsonb(t)::text FROM {table} AS t"  # noqa: S608
            " WHERE t.tenant_id = %s AND t.id = ANY(%s::uuid[]) ORDER BY t.id FOR NO KEY UPDATE",
            [owner(), list(ids)],
        )
        return {row[0]: json.loads(row[1]) for row in cursor.fetchall()}


def differences(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> Change:
    """Return the columns that differ, per row; ``updated_at`` is nobody's."""
    found: Change = {}
    for row_id, was in before.items():
        now = after[row_id]
        columns = [name for name in was if was[name] != now[name] and name != "updated_at"]
        if columns:
            found[row_id] = {
                "was": {name: was[name] for name in columns},
                "is": {name: now[name] for name in columns},
            }
    return found


def put_back(table: str, row_id: str, one: dict[str, Any]) -> list[str]:
    """Give a row its columns back where nobody changed them since; return those that were."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT put_back(%s, %s::regclass, %s, %s::jsonb, %s::jsonb)",
            [owner(), table, row_id, json.dumps(one["was"]), json.dumps(one["is"])],
        )
        return cast("list[str]", cursor.fetchone()[0])


def _pair(child: Child, condition: str) -> str:
    return (
        f"SELECT FROM {child.table} AS s WHERE s.tenant_id = m.tenant_id"
        f" AND s.{child.column} = %(survivor)s AND {condition}"
    )


def _clash(child: Child) -> str:
    return _pair(child, child.stays)


def _ids(child: Child, condition: str, survivor: str, merged: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT m.id::text FROM {child.table} AS m WHERE m.tenant_id = %(owner)s"  # noqa: S608
            f" AND m.{child.column} = %(merged)s AND {condition}",
            _names(survivor, merged),
        )
        return [row[0] for row in cursor.fetchall()]


def _where(child: Child, ids: list[str], condition: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT m.id::text FROM {child.table} AS m WHERE m.tenant_id = %s"  # noqa: S608
            f" AND m.id = ANY(%s::uuid[]) AND {condition or 'true'}",
            [owner(), ids],
        )
        return [row[0] for row in cursor.fetchall()]


def _ask(child: Child, condition: str, survivor: str, merged: str) -> bool:
    return bool(_ids(child, condition, survivor, merged))


def _fold(child: Child, survivor: str, merged: str) -> Change:
    """Tell the rows that stay on the survivor what their doubles know besides."""
    pairs = (
        f"FROM {child.table} AS m WHERE m.tenant_id = s.tenant_id"
        f" AND m.{child.column} = %(merged)s AND {child.stays}"
    )
    names = _names(survivor, merged)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT s.id::text FROM {child.table} AS s WHERE s.tenant_id = %(owner)s"  # noqa: S608
            f" AND s.{child.column} = %(survivor)s AND EXISTS (SELECT {pairs})",
            names,
        )
        ids = [row[0] for row in cursor.fetchall()]
        before = as_they_are(child.table, ids)
        cursor.execute(
            f"UPDATE {child.table} AS s SET {child.folds} {pairs}"  # noqa: S608
            " AND s.tenant_id = %(owner)s AND s.id = ANY(%(ids)s::uuid[])",
            {**names, "ids": ids},
        )
    return differences(before, as_they_are(child.table, ids))


def _names(survivor: str, merged: str) -> dict[str, Any]:
    return {"owner": owner(), "survivor": sql_id(survivor), "merged": sql_id(merged)}


def _joined(first: Change, second: Change) -> Change:
    """Return two changes made one after the other as one."""
    joined = dict(first)
    for row_id, one in second.items():
        known = joined.get(row_id, {"was": {}, "is": {}})
        joined[row_id] = {
            "was": {**one["was"], **known["was"]},
            "is": {**known["is"], **one["is"]},
        }
    return joined
