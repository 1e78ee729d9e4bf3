"""`manage.py worker`: drain loops and the task cluster, kept alive."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import ProgrammingError, connection
from django.utils.module_loading import import_string

from config.pg.bootcheck import refuse_unsafe_role
from tenants.cluster import run_cluster
from tenants.worker import Child, Supervisor

#: By name: the platform must not import what stands above it.
ENSURE_SCHEDULES = "config.schedules.ensure_schedules"


class Command(BaseCommand):
    """Second of Fairlead's two process kinds; the first is the web server."""

    help = "Process events, sends, timers and scheduled tasks until stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--drains", type=int, default=1, help="number of drain processes")
        parser.add_argument("--only", choices=["drain", "tasks"], help="run one half of the work")
        parser.add_argument("--quiet", action="store_true", help="only warnings")
        parser.add_argument("--child", action="store_true", help="be the task cluster (internal)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["child"]:
            run_cluster()
        if options["drains"] < 0:
            raise CommandError("--drains is a number of processes")
        try:
            refuse_unsafe_role(connection)
            children = self.children(options)
        except ImproperlyConfigured as refusal:
            raise CommandError(str(refusal)) from refusal
        except ProgrammingError as error:
            raise CommandError(f"{error}Run `python manage.py migrate` first.") from error
        # Children open their own connections; this one would only idle.
        connection.close()
        if not options["quiet"]:
            self.stdout.write(f"worker: {', '.join(child.name for child in children)}")
        Supervisor(children).run()

    def children(self, options: dict[str, Any]) -> list[Child]:
        """The processes asked for."""
        manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
        children = []
        if options["only"] != "tasks":
            for place in range(options["drains"]):
                children.append(Child(name=f"drain {place + 1}", command=[*manage, "drain"]))
        if options["only"] != "drain":
            import_string(ENSURE_SCHEDULES)()
            children.append(Child(name="tasks", command=[*manage, "worker", "--child"]))
        return children
