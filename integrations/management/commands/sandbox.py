"""`manage.py sandbox`: a carrier to develop against, on a port of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations.sandbox.app import Sandbox
from integrations.sandbox.server import serve


class Command(BaseCommand):
    """Plays SignalHouse v2, Twilio, SignalWire: sends, webhooks, handsets. Needs no database."""

    help = "Serve the provider sandbox (SignalHouse, Twilio over HTTP, handsets, faults on demand)."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8099)
        parser.add_argument("--journal", type=Path, help="file that keeps the state over restarts")
        parser.add_argument("--pace", type=float, default=1.0, help="scales delays; 0 is at once")
        parser.add_argument("--no-scripts", action="store_true", help="handsets never answer")
        parser.add_argument("--quiet", action="store_true", help="only errors")
        parser.add_argument("--seed", type=int, default=0, help="varies how long people take")

    def handle(self, *args: Any, **options: Any) -> None:
        sandbox = Sandbox(
            journal=options["journal"],
            pace=options["pace"],
            answers=not options["no_scripts"],
            seed=options["seed"],
        )
        address = f"http://{options['host']}:{options['port']}/"
        if not options["quiet"]:
            self.stdout.write(f"Sandbox carrier on {address}")
        try:
            serve(sandbox, host=options["host"], port=options["port"])
        except OSError as error:
            raise CommandError(f"Cannot listen on {address}: {error.strerror}") from error
