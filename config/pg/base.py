"""Django's PostgreSQL backend, with roles, the embedded server, and tests that run as the app."""

from collections.abc import Iterable
from typing import Any

import psycopg
from django.core.management.color import Style
from django.db.backends.postgresql import base, creation, operations, schema

from config.pg.client import DatabaseClient
from config.pg.embedded import server
from config.pg.roles import as_owner, owner_mode
from tenants.constraints import AtTheEnd

#: Over TCP: give up connecting after 10 s; a silent peer is gone after 30 + 3 * 10 s.
TCP_OPTIONS = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}

#: What Django itself fills after migrations; a flush that took them would break the next test.
KEPT_BY_FLUSH = {"django_migrations", "django_content_type", "auth_permission"}


class DatabaseCreation(creation.DatabaseCreation):
    """Test databases are made, cloned and dropped by the owner; tests then run as the app."""

    def create_test_db(self, *args: Any, **kwargs: Any) -> str:
        with as_owner(self.connection):
            name = super().create_test_db(*args, **kwargs)
        self.connection.ensure_connection()
        return name

    def destroy_test_db(self, *args: Any, **kwargs: Any) -> None:
        with as_owner(self.connection):
            super().destroy_test_db(*args, **kwargs)

    def clone_test_db(self, *args: Any, **kwargs: Any) -> None:
        with as_owner(self.connection):
            super().clone_test_db(*args, **kwargs)


class DatabaseOperations(operations.DatabaseOperations):
    def sql_flush(self, style: Style, tables: Any, **kwargs: Any) -> list[str]:
        """Empty every table of the schema, also those only SQL made, but for the catalogues."""
        kept = KEPT_BY_FLUSH.union(self.connection.settings_dict.get("CATALOGUES", ()))
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                " AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname"
            )
            every = [name for (name,) in cursor.fetchall()]
        return super().sql_flush(style, [name for name in every if name not in kept], **kwargs)

    def execute_sql_flush(self, sql_list: Iterable[str]) -> None:
        with as_owner(self.connection):
            # As a replica: append-only triggers and foreign keys stay silent.
            super().execute_sql_flush(
                [
                    "SET session_replication_role = replica",
                    *sql_list,
                    *self.connection.settings_dict.get("AFTER_FLUSH", ()),
                    "SET session_replication_role = DEFAULT",
                ]
            )


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    """Runs deferred statements in an order in which they can be run."""

    def __exit__(self, *error: Any) -> None:
        # A constraint that wrote its own statement has left None in its place.
        wanted = [sql for sql in self.deferred_sql if sql is not None]
        self.deferred_sql = sorted(wanted, key=lambda sql: isinstance(sql, AtTheEnd))
        super().__exit__(*error)


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = DatabaseSchemaEditor
    client_class = DatabaseClient
    creation_class = DatabaseCreation
    ops_class = DatabaseOperations

    def get_connection_params(self) -> dict[str, Any]:
        params = super().get_connection_params()
        params.setdefault("application_name", "fairlead")
        if self.settings_dict.get("EMBEDDED"):
            params |= server().connection_params()
        if owner_mode.get():
            params |= self.settings_dict.get("OWNER") or {}
        elif role := self.settings_dict.get("ROLE"):
            params["options"] = f"{params.get('options', '')} -c role={role}".strip()
        host = str(params.get("host", ""))
        if host and not host.startswith("/"):
            params = TCP_OPTIONS | params
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect; where the embedded server does not answer, start it and connect again.

        Asking first would cost every connection a second one.
        """
        try:
            return super().get_new_connection(conn_params)
        except psycopg.OperationalError:
            if not self.settings_dict.get("EMBEDDED"):
                raise
        server().start()
        return super().get_new_connection(conn_params)
