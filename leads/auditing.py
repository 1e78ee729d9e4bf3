"""Look for rows that should be one, and supersede those that are too many; nothing is deleted.

Of a schema with an older system's tables every table, column and right may be missing: that is
said, rule by rule, and the others are checked all the same. What is superseded there stands in the
side table ``audit_superseded`` with the row that stays: children keep pointing where they did, and
who follows them finds the way on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, connection, transaction
from psycopg import sql

from leads.audit_rules import LEGACY, OURS, TENANT_COLUMNS, Rule
from tenants.actions import note

EXAMPLES, IDS = 5, 10
SIDE_TABLE = "audit_superseded"


class AuditRefused(Exception):
    """There is nothing to audit, or no right to; nothing was written."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the audit of one rule found.

    ``rows`` are those too many, ``groups`` the keys they share, ``examples`` some of them:
    ``{"key": {...}, "ids": [...], "kept": id}``, the kept one first among the ids. ``skipped`` says
    why a rule could not be checked, ``refused`` why nothing could be superseded.
    """

    rule: str
    table: str
    key: tuple[str, ...] = ()
    groups: int = 0
    rows: int = 0
    superseded: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)
    skipped: str = ""
    refused: str = ""


def audit_ours(*, supersede: bool = False, actor_id: str | None = None) -> list[Found]:
    """Check the running tenant's rows against every rule.

    Args:
        supersede: close the live rows that are too many; only where a table knows superseded rows.
        actor_id: who has it done, for the audit log.
    """
    found = [_check("public", rule, supersede=False) for rule in OURS]
    if not supersede:
        return found
    return [
        _supersede_ours(rule, one, actor_id) if one.rows else one
        for rule, one in zip(OURS, found, strict=True)
    ]


def audit_schema(schema: str, *, supersede: bool = False) -> list[Found]:
    """Check an older system's tables, loaded into *schema*; tenants are its teams.

    Raises:
        AuditRefused: there is no such schema, or this role may not look into it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = %s",
            [schema],
        )
        row = cursor.fetchone()
    if row is None:
        raise AuditRefused(f"There is no schema “{schema}”. Load the tables into one first.")
    if not row[0]:
        raise AuditRefused(
            f"This role may not look into “{schema}”. Its owner can say:"
            f' GRANT USAGE ON SCHEMA "{schema}" TO {_role()}.'
        )
    side = _ensure_side_table(schema) if supersede else ""
    return [_check(schema, rule, supersede=supersede, refused=side) for rule in LEGACY]


def _role() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        return str(cursor.fetchone()[0])


# --- looking ----------------------------------------------------------------------------------


def _check(schema: str, rule: Rule, *, supersede: bool, refused: str = "") -> Found:
    columns = _columns(schema, rule.table)
    key = tuple(name for name in rule.key if name in columns or name not in rule.optional)
    missing = [name for name in ("id", *key, *rule.needs) if name not in columns]
    if not columns:
        return Found(rule=rule.name, table=rule.table, skipped=f"no table {rule.table}")
    if missing:
        return Found(rule=rule.name, table=rule.table, skipped=f"no column {', '.join(missing)}")
    tenant = next((name for name in TENANT_COLUMNS if name in columns), None)
    whole = (tenant, *key) if tenant else key
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_groups(schema, rule, whole))
            groups = cursor.fetchall()
            written = 0
            if supersede and not refused and groups:
                cursor.execute(_insert(schema, rule, whole))
                written = cursor.rowcount
    except DatabaseError as error:
        return Found(rule=rule.name, table=rule.table, skipped=_words(error))
    return Found(
        rule=rule.name,
        table=rule.table,
        key=whole,
        groups=len(groups),
        rows=sum(count - 1 for count, *_ in groups),
        superseded=written,
        examples=[_example(whole, group) for group in groups[:EXAMPLES]],
        refused=refused if groups else "",
    )


def _example(key: Sequence[str], group: tuple[Any, ...]) -> dict[str, Any]:
    _, ids, *values = group
    named = {name: None if value is None else str(value) for name, value in zip(key, values)}  # noqa: B905
    return {"key": named, "kept": ids[0], "ids": ids}


def _columns(schema: str, table: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
            " AND a.attnum > 0 AND NOT a.attisdropped",
            [schema, table],
        )
        return {name for (name,) in cursor.fetchall()}


def _counted(schema: str, rule: Rule, key: Sequence[str]) -> sql.Composed:
    """The rows of a rule that count, with their place among those of one key."""
    named = sql.SQL(", ").join(map(sql.Identifier, key))
    there = [
        sql.SQL("{} IS NOT NULL").format(sql.Identifier(name))
        for name in key
        if name not in rule.nullable and name not in TENANT_COLUMNS
    ]
    conditions = [sql.SQL(f"({rule.where})"), *there]
    if schema != "public" and _columns(schema, SIDE_TABLE):
        conditions.append(
            sql.SQL(
                "NOT EXISTS (SELECT FROM {} AS x WHERE x.table_name = {} AND x.id = t.id::text)"
            ).format(sql.Identifier(schema, SIDE_TABLE), sql.Literal(rule.table))
        )
    return sql.SQL(
        "SELECT t.id::text AS id, {key}, count(*) OVER (PARTITION BY {key}) AS many,"
        " first_value(t.id::text) OVER w AS kept, row_number() OVER w AS place"
        " FROM {table} AS t WHERE {conditions}"
        " WINDOW w AS (PARTITION BY {key} ORDER BY {keep})"
    ).format(
        key=named,
        table=sql.Identifier(schema, rule.table),
        conditions=sql.SQL(" AND ").join(conditions),
        keep=sql.SQL(rule.keep),
    )


def _groups(schema: str, rule: Rule, key: Sequence[str]) -> sql.Composed:
    named = sql.SQL(", ").join(map(sql.Identifier, key))
    return sql.SQL(
        "SELECT count(*), (array_agg(c.id ORDER BY c.place))[1:{ids}], {key}"
        " FROM ({counted}) AS c WHERE c.many > 1 GROUP BY {key} ORDER BY count(*) DESC, min(c.id)"
    ).format(ids=sql.Literal(IDS), key=named, counted=_counted(schema, rule, key))


# --- superseding ------------------------------------------------------------------------------


def _ensure_side_table(schema: str) -> str:
    """Make the side table of a schema; return why it could not be made, or ""."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            if not _columns(schema, SIDE_TABLE):
                cursor.execute(
                    sql.SQL(
                        "CREATE TABLE {} (table_name text NOT NULL, id text NOT NULL,"
                        " superseded_by text NOT NULL, rule text NOT NULL,"
                        " superseded_at timestamptz NOT NULL DEFAULT clock_timestamp(),"
                        " PRIMARY KEY (table_name, id), CHECK (id <> superseded_by))"
                    ).format(sql.Identifier(schema, SIDE_TABLE))
                )
    except DatabaseError as error:
        return (
            f"nothing is superseded: {_words(error)}. The schema's owner can say:"
            f' GRANT CREATE ON SCHEMA "{schema}" TO {_role()}.'
        )
    return ""


def _insert(schema: str, rule: Rule, key: Sequence[str]) -> sql.Composed:
    return sql.SQL(
        "INSERT INTO {side} (table_name, id, superseded_by, rule)"
        " SELECT {table}, c.id, c.kept, {rule} FROM ({counted}) AS c WHERE c.place > 1"
        " ON CONFLICT DO NOTHING"
    ).format(
        side=sql.Identifier(schema, SIDE_TABLE),
        table=sql.Literal(rule.table),
        rule=sql.Literal(rule.name),
        counted=_counted(schema, rule, key),
    )


def _supersede_ours(rule: Rule, found: Found, actor_id: str | None) -> Found:
    """Close the rows too many of one of our tables, and write down which one stands for each."""
    columns = _columns("public", rule.table)
    if "superseded_at" not in columns:
        why = "rows of this table are history and stay; merge what they hang from"
        return Found(**{**vars(found), "refused": why})
    redirect = ", merged_into_id = c.kept::uuid" if rule.table == "leads" else ""
    update = sql.SQL(
        "WITH c AS ({counted}) UPDATE {table} AS t"
        " SET superseded_at = clock_timestamp(){redirect}"
        " FROM c WHERE t.id::text = c.id AND c.place > 1 RETURNING t.id::text, c.kept"
    ).format(
        counted=_counted("public", rule, found.key),
        table=sql.Identifier("public", rule.table),
        redirect=sql.SQL(redirect),
    )
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(update)
        moved = dict(cursor.fetchall())
        note(
            "audit.superseded",
            actor_id=actor_id,
            after={"table": rule.table, "rule": rule.name, "superseded_by": moved},
        )
    return Found(**{**vars(found), "superseded": len(moved)})


def _words(error: DatabaseError) -> str:
    return str(error).strip().splitlines()[0]
