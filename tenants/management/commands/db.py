"""`manage.py db`: start, stop, look at, back up and restore the database."""

import time
from pathlib import Path
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection

from config.pg.archive import ArchiveRefused, Database, backup, restore
from config.pg.embedded import server
from config.pg.roles import as_owner

NOT_OURS = (
    "DATABASE_URL is set, so the database is a server of your own: it is not started or stopped "
    "from here. Without DATABASE_URL Fairlead brings its own."
)


class Command(BaseCommand):
    help = "Start, stop, look at, back up and restore the database."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("start", help="start the embedded server")
        actions.add_parser("stop", help="stop the embedded server; the next use starts it again")
        actions.add_parser("status", help="say which server is used and whether it runs")
        saving = actions.add_parser("backup", help="write the whole database into a file")
        saving.add_argument("file", type=Path)
        restoring = actions.add_parser("restore", help="put the database of a file in place")
        restoring.add_argument("file", type=Path)
        restoring.add_argument(
            "--force", action="store_true", help="also when the present database has tables"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, options["action"])(options)
        except (ArchiveRefused, psycopg.Error, DatabaseError) as refusal:
            raise CommandError(str(refusal)) from refusal

    def start(self, options: dict[str, Any]) -> None:
        self._refuse_foreign()
        server().start()
        self.status(options)

    def stop(self, options: dict[str, Any]) -> None:
        self._refuse_foreign()
        stopped = server().stop()
        self.stdout.write(
            "The database is stopped." if stopped else "The database was not running."
        )

    def status(self, options: dict[str, Any]) -> None:
        if not self._is_embedded():
            self._describe_foreign()
            return
        state = server().status()
        if state.running:
            self.stdout.write(
                f"PostgreSQL {state.version} is running, pid {state.pid or 'unknown'}, "
                f"as the user {state.account}."
            )
        else:
            self.stdout.write("The embedded database is not running; the first use starts it.")
        self.stdout.write(f"data    {state.data}\nsocket  {state.sock}")

    def backup(self, options: dict[str, Any]) -> None:
        begun = time.monotonic()
        size = backup(self._database(), options["file"].absolute())
        took = time.monotonic() - begun
        self.stdout.write(f"{options['file']}: {size:,} bytes in {took:.1f} s")

    def restore(self, options: dict[str, Any]) -> None:
        database = self._database()
        done = restore(database, options["file"].absolute(), replace=options["force"])
        self.stdout.write(f"{database.name} is restored, with {done.tables} tables.")
        if done.former:
            self.stdout.write(
                f"What was in it before is kept as {done.former} until the next restore."
            )

    def _database(self) -> Database:
        if self._is_embedded():
            server().ensure()
        return Database(connection)

    def _is_embedded(self) -> bool:
        return bool(connection.settings_dict.get("EMBEDDED"))

    def _refuse_foreign(self) -> None:
        if not self._is_embedded():
            raise CommandError(NOT_OURS)

    def _describe_foreign(self) -> None:
        with as_owner(connection), connection.cursor() as cursor:
            cursor.execute("SHOW server_version")
            settings = connection.settings_dict
            self.stdout.write(
                f"PostgreSQL {cursor.fetchone()[0]} at {settings['HOST'] or 'the local socket'}, "
                f"database {settings['NAME']} (DATABASE_URL)."
            )
