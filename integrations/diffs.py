"""What a dry run wrote, read back for people: prefixed ids, no secrets, no raw bodies."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.apps import apps
from django.db import connection, models

from leads.actions import owner
from tenants.fields import EncryptedField, UlidField
from tenants.ulids import to_text

#: Longest value that is shown whole.
SHOWN = 400
#: Columns with these in their name are never shown.
SECRET_WORDS = ("secret", "password", "token", "api_key", "authorization", "signature", "cookie")
MASK = "•••"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column that would be written; ``before`` is None for a new row."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class Change:
    """A row that would be inserted, updated or deleted."""

    table: str
    label: str  # what people call such rows
    operation: str  # insert, update or delete
    row_id: str
    columns: list[Column]


def read_changes() -> list[Change]:
    """Return the rows written since the last call, in order, and forget them.

    Only in a transaction in which ``app.dry_run`` is on. Updates that change nothing are left out.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH seen AS (DELETE FROM dry_run_changes WHERE tenant_id = %s"
            "              RETURNING place, table_name, operation, before, after)"
            " SELECT table_name, operation, before::text, after::text FROM seen ORDER BY place",
            [owner()],
        )
        rows = [
            (table, operation, json.loads(before or "null"), json.loads(after or "null"))
            for table, operation, before, after in cursor.fetchall()
        ]
    changes = [_change(*row) for row in rows]
    return [change for change in changes if change.columns]


def _change(
    table: str, operation: str, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> Change:
    old, new = before or {}, after or {}
    fields = _fields(table)
    columns = []
    for name in new or old:
        was, is_now = old.get(name), new.get(name)
        if name == "tenant_id" or was == is_now or name == "place":
            continue
        field = fields.get(name)
        columns.append(
            Column(
                name=name,
                before=None if before is None else _shown(name, field, was),
                after=None if after is None else _shown(name, field, is_now),
            )
        )
    key = _key(table)
    return Change(
        table=table,
        label=_label(table),
        operation=operation,
        row_id=_shown("", fields.get(key), (new or old).get(key)) if key else "",
        columns=columns,
    )


def _shown(name: str, field: models.Field[Any, Any] | None, value: Any) -> str:
    """Write a value as people may see it."""
    if value is None or value == "":
        return ""
    if any(word in name for word in SECRET_WORDS) or isinstance(field, EncryptedField):
        return MASK
    if isinstance(field, models.BinaryField):
        return f"{(len(str(value)) - 2) // 2} bytes"
    if prefix := _prefix(field):
        return to_text(prefix, uuid.UUID(str(value)))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _prefix(field: models.Field[Any, Any] | None) -> str:
    if isinstance(field, models.ForeignKey):
        field = field.target_field
    return field.prefix if isinstance(field, UlidField) else ""


@cache
def _models() -> dict[str, type[models.Model]]:
    return {model._meta.db_table: model for model in apps.get_models()}


def _fields(table: str) -> dict[str, models.Field[Any, Any]]:
    model = _models().get(table)
    return {str(field.column): field for field in model._meta.concrete_fields} if model else {}


def _key(table: str) -> str:
    model = _models().get(table)
    return str(model._meta.pk.column) if model else ""


def _label(table: str) -> str:
    model = _models().get(table)
    return str(model._meta.verbose_name) if model else table
