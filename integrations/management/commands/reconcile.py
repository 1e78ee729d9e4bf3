"""`manage.py reconcile`: read vendors' lists now, and take in what their webhooks did not tell."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations.models import Integration
from integrations.reconcile import Due, due, reconcile
from tenants.context import tenant_context
from tenants.models import Tenant


class Command(BaseCommand):
    help = "Compare vendors' lists with what their webhooks told; all that are due, or those named."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="slug: all of its integrations, due or not")
        parser.add_argument("--integration", help="id or name of one of them")

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
        for one in _named(options["tenant"], options["integration"]):
            if stop.is_set():
                break
            run = reconcile(one.tenant_id, one.integration_id, stop=stop)
            what = (
                f"{run.status}, {run.missing} of {run.seen} were missing {run.error}".rstrip()
                if run
                else "nothing to do now"
            )
            self.stdout.write(f"{one.integration_id}: {what}")


def _named(slug: str | None, integration: str | None) -> list[Due]:
    if not slug:
        if integration:
            raise CommandError("--integration needs --tenant")
        return due()
    tenant = Tenant.objects.filter(slug=slug).first()
    if tenant is None:
        raise CommandError(f"no tenant is called {slug}")
    with tenant_context(tenant.pk):
        found = Integration.objects.filter(enabled=True).order_by("id")
        wanted = [one for one in found if integration in (None, one.pk, one.name)]
    if integration and not wanted:
        raise CommandError(f"{slug} has no integration {integration}")
    return [Due(tenant_id=tenant.pk, integration_id=one.pk) for one in wanted]
