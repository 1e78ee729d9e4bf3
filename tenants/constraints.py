"""Promises PostgreSQL keeps and Django's constraints cannot say.

Isolation of tenants, references inside one tenant, append-only tables. They are constraints, so
``makemigrations`` records and reverses them like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.db import DEFAULT_DB_ALIAS, models
from django.db.models import BaseConstraint

Quote = Callable[[str], str]

#: The tenant of the running transaction, or NULL: then no row matches.
CURRENT_TENANT = "(SELECT nullif(current_setting('app.tenant_id', true), '')::uuid)"


class SqlConstraint(BaseConstraint):
    """A constraint that is SQL of its own, written when its whole migration is."""

    def __init__(self, *, name: str, **options: Any) -> None:
        self.options = options
        super().__init__(name=name)

    def up(self, model: type[models.Model], q: Quote) -> Iterator[str]:
        raise TypeError(f"{type(self).__name__} must say how it is made")

    def down(self, model: type[models.Model], q: Quote) -> Iterator[str]:
        raise TypeError(f"{type(self).__name__} must say how it is removed")

    def constraint_sql(self, model: type[models.Model], schema_editor: Any) -> None:  # type: ignore[override]
        """Called inside CREATE TABLE, where none of this fits: it comes afterwards."""
        if sql := self.create_sql(model, schema_editor):
            schema_editor.deferred_sql.append(sql)

    def create_sql(self, model: type[models.Model], schema_editor: Any) -> str | None:  # type: ignore[override]
        return "\n".join(self.up(model, schema_editor.quote_name))

    def remove_sql(self, model: type[models.Model], schema_editor: Any) -> str:  # type: ignore[override]
        return "\n".join(self.down(model, schema_editor.quote_name))

    def validate(
        self,
        model: type[models.Model],
        instance: models.Model,
        exclude: Any = None,
        using: str = DEFAULT_DB_ALIAS,
    ) -> None:
        """The database is the judge."""

    def deconstruct(self) -> Any:
        path, args, kwargs = super().deconstruct()
        return path, args, {**kwargs, **self.options}

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SqlConstraint)
            and type(self) is type(other)
            and self.deconstruct() == other.deconstruct()
        )

    __hash__ = BaseConstraint.__hash__


class TenantIsolation(SqlConstraint):
    """Row-level security: a transaction sees and writes the rows of its own tenant only."""

    def up(self, model: type[models.Model], q: Quote) -> Iterator[str]:
        table = q(model._meta.db_table)
        yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
        yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;"
        yield (
            f"CREATE POLICY {q(self.name)} ON {table} USING (tenant_id = {CURRENT_TENANT})"
            f" WITH CHECK (tenant_id = {CURRENT_TENANT});"
        )

    def down(self, model: type[models.Model], q: Quote) -> Iterator[str]:
        table = q(model._meta.db_table)
        yield f"DROP POLICY {q(self.name)} ON {table};"
        yield f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;"
        yield f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;"


class AtTheEnd(str):
    """A deferred statement that needs what the others make: ``config/pg/base.py`` runs it last."""

    __slots__ = ()


class References(SqlConstraint):
    """Foreign key over several columns.

    Args:
        name: of the constraint.
        fields: names of fields here.
        to: label of the model referred to, such as ``"leads.Lead"``.
        to_fields: names of fields there, under one unique key.
        deferred: check at commit instead of at once.
    """

    def __init__(
        self, *, name: str, fields: Any, to: str, to_fields: Any, deferred: bool = False
    ) -> None:
        super().__init__(
            name=name, fields=tuple(fields), to=to, to_fields=tuple(to_fields), deferred=deferred
        )

    def create_sql(self, model: type[models.Model], schema_editor: Any) -> str | None:  # type: ignore[override]
        # At the end of the migration: the target may only be created further down in it.
        schema_editor.deferred_sql.append(AtTheEnd(super().create_sql(model, schema_editor)))
        return None

    def up(self, model: type[models.Model], q: Quote) -> Iterator[str]:
        target = model._meta.apps.get_model(self.options["to"])
        here = _columns(model, self.options["fields"], q)
        there = _columns(target, self.options["to_fields"], q)
        when = " DEFERRABLE INITIALLY DEFERRED" if self.options["deferred"] else ""
        yield (
            f"ALTER TABLE {q(model._meta.db_table)} ADD CONSTRAINT {q(self.name)} FOREIGN KEY"
            f" ({here}) REFERENCES {q(target._meta.db_table)} ({there}){when};"
        )

    def down(self, model: type[models.Model], q: Quote) -> Iterator[str]:
        yield f"ALTER TABLE {q(model._meta.db_table)} DROP CONSTRAINT {q(self.name)};"


def _columns(model: type[models.Model], names: tuple[str, ...], q: Quote) -> str:
    fields: list[Any] = [model._meta.get_field(name) for name in names]
    return ", ".join(q(field.column) for field in fields)


class AppendOnly(SqlConstraint):
    """History: rows are added, never changed, deleted or truncated, by whatever door."""

    def up(self, model: type[models.Model], q: Quote) -> Iterator[str]:
        table = q(model._meta.db_table)
        yield f"REVOKE UPDATE, DELETE ON {table} FROM fairlead_app;"
        yield (
            f"CREATE TRIGGER {q(self.name + '_row')} BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change();"
        )
        yield (
            f"CREATE TRIGGER {q(self.name + '_all')} BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();"
        )

    def down(self, model: type[models.Model], q: Quote) -> Iterator[str]:
        table = q(model._meta.db_table)
        yield f"DROP TRIGGER {q(self.name + '_row')} ON {table};"
        yield f"DROP TRIGGER {q(self.name + '_all')} ON {table};"
        yield f"GRANT UPDATE, DELETE ON {table} TO fairlead_app;"


class NoDelete(SqlConstraint):
    """Rows live on: they are closed, superseded or merged, never deleted."""

    def up(self, model: type[models.Model], q: Quote) -> Iterator[str]:
        yield f"REVOKE DELETE ON {q(model._meta.db_table)} FROM fairlead_app;"

    def down(self, model: type[models.Model], q: Quote) -> Iterator[str]:
        yield f"GRANT DELETE ON {q(model._meta.db_table)} TO fairlead_app;"
