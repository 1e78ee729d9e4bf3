"""`manage.py spool`: what this host's spool holds, and which hosts sends wait for."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error

from integrations.pauses import words
from integrations.spool import Spool, open_spool
from integrations.spool_drain import Keeper, end_in_order


class Command(BaseCommand):
    help = "Show this host's spool, and whether sends wait for any host's."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--drain", action="store_true", help="drain it now")
        what.add_argument("--end", action="store_true", help="end in order (the web process does)")

    def handle(self, *args: Any, **options: Any) -> None:
        spool = open_spool(joins=not options["end"])
        if spool is None:
            if not options["end"]:
                self.stdout.write("There is no spool on this host.")
            return
        try:
            self._act(spool, options)
        except Error as error:
            self.stderr.write(f"The database does not answer: {error}".strip())

    def _act(self, spool: Spool, options: dict[str, Any]) -> None:
        if options["end"]:
            end_in_order(spool)
            return
        keeper = Keeper(spool)
        if options["drain"] and keeper.is_elected():
            keeper.beat()
        count, oldest = keeper.waiting()
        since = f", the oldest since {oldest:%Y-%m-%d %H:%M:%S} UTC" if oldest else ""
        self.stdout.write(f"{spool.files.folder}: {count} deliveries wait{since}.")
        for path in sorted(spool.files.aside.glob("*.txt")):
            self.stdout.write(f"set aside {path.stem}: {path.read_text()}")
        self.stdout.write(words() or "Sends wait for no host.")
