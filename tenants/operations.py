"""Migration operations for tables that are in use: none of them waits, or makes others wait."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.operations import NotInTransactionMixin
from django.db.migrations.operations import AddConstraint
from django.db.models import UniqueConstraint

from tenants.constraints import SqlConstraint


class AddUniqueConcurrently(NotInTransactionMixin, AddConstraint):
    """Add a conditional unique constraint, which is an index, while rows are being written."""

    atomic = False
    constraint: UniqueConstraint

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        self._ensure_not_in_transaction(schema_editor)
        model = to_state.apps.get_model(app_label, self.model_name)
        sql = str(self.constraint.create_sql(model, schema_editor))
        schema_editor.execute(
            sql.replace("CREATE UNIQUE INDEX", "CREATE UNIQUE INDEX CONCURRENTLY", 1), params=None
        )


class AddNotValid(AddConstraint):
    """Add a check or a reference that new rows keep; a later ValidateConstraint looks at the old.

    Adding it whole would lock the table for as long as all its rows are read.
    """

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if isinstance(self.constraint, SqlConstraint):
            sql = "\n".join(self.constraint.up(model, schema_editor.quote_name))
        else:
            sql = str(self.constraint.create_sql(model, schema_editor))
        schema_editor.execute(f"{sql.rstrip(';')} NOT VALID", params=None)
