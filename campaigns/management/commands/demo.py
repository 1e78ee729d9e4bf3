"""`manage.py demo`: the whole product on one machine, with leads that answer."""

from __future__ import annotations

import time
from typing import Any

import httpx
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from campaigns.demo.build import build_demo
from campaigns.demo.info import logins, sandbox_port, write_addresses
from campaigns.demo.link import link_all
from campaigns.demo.run import (
    STOP_SECONDS,
    DemoFailed,
    demo_children,
    refuse_taken_port,
    say_death,
    wait_for,
)
from config.pg.embedded import server
from tenants.worker import Supervisor


class Command(BaseCommand):
    """Database, demo data, web, worker and sandbox, until Ctrl-C."""

    help = "Run Fairlead with demo data and a sandbox carrier; PORT and SANDBOX_PORT are honored."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("The demo has public passwords: it does not run in production.")
        try:
            self.run(settings.PORT, sandbox_port())
        except DemoFailed as failure:
            raise CommandError(str(failure)) from failure
        except KeyboardInterrupt:  # while the database was being prepared
            self.say("Stopped.")

    def run(self, port: int, phones_port: int) -> None:
        """Start everything in order and stay until stopped."""
        started = time.monotonic()
        refuse_taken_port(port, "PORT")
        refuse_taken_port(phones_port, "SANDBOX_PORT")
        ours = self.raise_database()
        sandbox, web, worker = demo_children(port=port, sandbox_port=phones_port)
        supervisor = Supervisor([sandbox], on_death=say_death(self.say), stop_seconds=STOP_SECONDS)
        supervisor.take_signals()
        try:
            sandbox_url = f"http://127.0.0.1:{phones_port}"
            base_url = settings.BASE_URL
            if not wait_for(supervisor, f"{sandbox_url}/_control/faults"):
                return
            self.prepare(sandbox_url)
            write_addresses(base_url=base_url, sandbox_url=sandbox_url)
            supervisor.children = [sandbox, web, worker]
            if not wait_for(supervisor, f"http://127.0.0.1:{port}/readyz"):
                return
            self.welcome(base_url, sandbox_url, time.monotonic() - started)
            supervisor.watch()
            self.say("Stopped.")
        finally:
            supervisor.stop()
            connection.close()
            if ours:
                server().stop()

    def raise_database(self) -> bool:
        """Bring the database up and migrate it; True when its server was started here."""
        embedded = bool(connection.settings_dict.get("EMBEDDED"))
        ours = embedded and not server().status().running
        self.say("Preparing the database…")
        call_command("migrate", verbosity=0, interactive=False)
        return ours

    def prepare(self, sandbox_url: str) -> None:
        """Make the demo data where it is missing, and tie it to this sandbox."""
        made = build_demo(sandbox_url=sandbox_url)
        if made:
            self.say(f"Made two tenants with {made} leads.")
        try:
            link_all(sandbox_url)
        except httpx.HTTPError as error:
            raise DemoFailed(f"The sandbox does not work with this demo: {error}") from error

    def welcome(self, base_url: str, sandbox_url: str, seconds: float) -> None:
        """Say where to go and how to get in."""
        lines = [
            "",
            f"  Fairlead is running, {seconds:.0f} s after the start.",
            "",
            f"  Agents' desk     {base_url}/",
            f"  Leads' phones    {sandbox_url}/",
            "",
        ]
        for login in logins():
            where = login["tenant"] or "the platform"
            role = str(login["role"]).replace("_", " ")
            lines.append(f"  {login['username']:<18}{role:<14}{where}")
        lines += ["", f"  Password of them all: {logins()[0]['password']}", "  Ctrl-C stops.", ""]
        self.say("\n".join(lines))

    def say(self, line: str) -> None:
        """Print at once, also into a pipe."""
        self.stdout.write(line)
        self.stdout.flush()
