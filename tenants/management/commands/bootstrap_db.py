"""`manage.py bootstrap_db`: prepare a PostgreSQL server of one's own for Fairlead."""

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.pg.provision import UNCHANGED, ProvisionRefused, provision


class Command(BaseCommand):
    help = (
        "Make Fairlead's two database logins and its database on a PostgreSQL server of your own, "
        "and print the lines to put into the environment. Safe to repeat."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--admin-url",
            default=os.environ.get("DATABASE_ADMIN_URL"),
            help="postgres://admin:password@host/postgres, of a role that may create roles and "
            "databases; default: the variable DATABASE_ADMIN_URL, which no process list shows",
        )
        parser.add_argument("--database", default="fairlead", help="default: fairlead")
        parser.add_argument(
            "--app-password",
            default=os.environ.get("FAIRLEAD_APP_PASSWORD"),
            help="default: the variable FAIRLEAD_APP_PASSWORD, else one is made up",
        )
        parser.add_argument(
            "--owner-password",
            default=os.environ.get("FAIRLEAD_OWNER_PASSWORD"),
            help="default: the variable FAIRLEAD_OWNER_PASSWORD, else one is made up",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["admin_url"]:
            raise CommandError("give --admin-url or set DATABASE_ADMIN_URL")
        try:
            done = provision(
                options["admin_url"],
                database=options["database"],
                owner_password=options["owner_password"],
                app_password=options["app_password"],
            )
        except ProvisionRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"DATABASE_URL={done.database_url}")
        self.stdout.write(f"DATABASE_OWNER_URL={done.owner_url}")
        for note in done.notes:
            self.stderr.write(f"Note: {note}")
        if UNCHANGED in done.database_url + done.owner_url:
            self.stderr.write(
                f"Note: {UNCHANGED} stands for the password of a role that existed; "
                "--app-password and --owner-password set new ones."
            )
        self.stderr.write("Next: set both variables and run `python manage.py migrate`.")
