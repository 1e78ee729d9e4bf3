"""`migrate`, as the owner of the tables."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration

from config.pg.owner import blind_tables, give_owner_policies
from config.pg.roles import as_owner

BLIND = """\
The owner of the tables, {owner}, does not see all rows of {tables}: forced row-level security
binds it, so data migrations would change nothing and foreign keys would not be checked. Either
    ALTER ROLE {owner} BYPASSRLS;
as an administrator of the server, or, where it does not allow that, run
    python manage.py migrate --owner-policies
which gives the owner a policy of its own on each of these tables."""

#: How long a statement of a migration waits for a lock. Everybody else queues up behind it
#: meanwhile: better it fails, and is run again in a quieter moment.
LOCK_TIMEOUT = "3s"


class Command(migrate.Command):
    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--owner-policies",
            action="store_true",
            help="For an owner without BYPASSRLS: let it see all rows by policies of its own.",
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run as the owner, system checks included: they ask the server for its version."""
        self.owned: BaseDatabaseWrapper = connections[options["database"]]
        with as_owner(self.owned):
            with self.owned.cursor() as cursor:  # for this session, which ends with the command
                cursor.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
            if options["owner_policies"]:
                self._cover()
            self._refuse_blind_owner()
            said = super().execute(*args, **options)
            self._watch()
            return said

    def migration_progress_callback(
        self, action: str, migration: Migration | None = None, fake: bool = False
    ) -> None:
        super().migration_progress_callback(action, migration, fake)
        if action == "apply_success":
            self._cover()  # before the next migration meets the tables that this one made

    def _refuse_blind_owner(self) -> None:
        with self.owned.cursor() as cursor:
            if tables := blind_tables(cursor):
                cursor.execute("SELECT quote_ident(current_user)")
                shown = ", ".join(tables[:5]) + (" …" if len(tables) > 5 else "")
                owner = cursor.fetchone()[0]
                raise CommandError(BLIND.format(owner=owner, tables=shown))

    def _watch(self) -> None:
        """Put the triggers of dry runs on every table of a tenant that lacks them."""
        with self.owned.cursor() as cursor:
            cursor.execute("SELECT to_regprocedure('watch_dry_runs()') IS NOT NULL")
            if cursor.fetchone()[0]:  # it comes with a migration, too
                cursor.execute("SELECT watch_dry_runs()")

    def _cover(self) -> None:
        with self.owned.cursor() as cursor:
            give_owner_policies(cursor)
