"""`manage.py import_suppressions`: a file of addresses that must not be contacted."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.dateparse import parse_date

from leads.models import Consent
from messaging.actions.suppressions import ListRefused, advance, apply_list, check_file, problems_of
from messaging.models import SuppressionList
from messaging.suppression_files import UnreadableFile
from tenants.context import tenant_context
from tenants.models import Tenant

#: Rows with a problem that are printed.
SHOWN = 10


class Command(BaseCommand):
    """The same as the page, for files of any size."""

    help = "Check a suppression list; with --apply, block its addresses as well."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="slug of the tenant")
        parser.add_argument("file", type=Path)
        parser.add_argument("--name", default="", help="how the list is called")
        parser.add_argument("--source", required=True, help="where it is from")
        parser.add_argument("--reason", required=True, help="why they must not be contacted")
        parser.add_argument("--channel", choices=list(Consent.CHANNELS), default="sms")
        parser.add_argument("--last-day", default="", help="YYYY-MM-DD; without it, for ever")
        parser.add_argument("--apply", action="store_true", help="block them, not only check")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            tenant = Tenant.objects.get(slug=options["tenant"])
        except Tenant.DoesNotExist as error:
            raise CommandError(f"There is no tenant {options['tenant']}.") from error
        try:
            made = self._check(tenant, options)
        except (ListRefused, UnreadableFile, OSError) as refused:
            raise CommandError(str(refused)) from refused
        if not options["apply"]:
            self.stdout.write("Nothing was blocked. Say --apply, or confirm it on its page.")
            return
        with tenant_context(tenant.pk, durable=True):
            apply_list(made.pk, actor_id=None)
        while self._state(tenant, made) == "applying":
            advance(tenant.pk)
        self.stdout.write(f"{made.addresses} addresses are blocked.")

    def _check(self, tenant: Tenant, options: dict[str, Any]) -> SuppressionList:
        path: Path = options["file"]
        with path.open("rb") as stream, tenant_context(tenant.pk, durable=True):
            made = check_file(
                stream,
                name=options["name"] or path.name,
                source=options["source"],
                reason=options["reason"],
                channel=options["channel"],
                expires_at=_end_of(options["last_day"], tenant),
                file_name=path.name,
            )
            problems = problems_of(made, most=SHOWN)
        self.stdout.write(
            f"{made.pk}: {made.total} rows, {made.fresh} new, {made.known} blocked already,"
            f" {made.duplicates} duplicates, {made.invalid} invalid ({made.layout})"
        )
        for line, value, problem in problems:
            self.stdout.write(f"  line {line}: {value!r}: {problem}")
        return made

    def _state(self, tenant: Tenant, made: SuppressionList) -> str:
        with tenant_context(tenant.pk):
            return str(SuppressionList.objects.values_list("state", flat=True).get(pk=made.pk))


def _end_of(text: str, tenant: Tenant) -> datetime | None:
    if not text:
        return None
    try:
        day = parse_date(text)
    except ValueError:
        day = None
    if day is None:
        raise ListRefused("--last-day is written YYYY-MM-DD.")
    return datetime.combine(day + timedelta(days=1), time(), ZoneInfo(tenant.time_zone))
