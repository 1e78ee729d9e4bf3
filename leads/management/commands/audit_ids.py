"""``manage.py audit_ids``: rows that should be one, here or in an older system's tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection

from leads.auditing import AuditRefused, Found, audit_ours, audit_schema
from tenants.context import tenant_context
from tenants.models import Tenant
from tenants.owner import as_owner


class Command(BaseCommand):
    help = "Check every uniqueness rule and report duplicates. Ends with 1 where some are left."

    def add_arguments(self, parser: CommandParser) -> None:
        where = parser.add_mutually_exclusive_group()
        where.add_argument("--tenant", metavar="SLUG", help="this tenant only")
        where.add_argument("--tables", metavar="SCHEMA", help="an older system's tables")
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument(
            "--supersede", action="store_true", help="supersede, never delete, what is too many"
        )
        parser.add_argument(
            "--as-app", action="store_true", help="look into --tables with the application's rights"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            reports = dict(self._reports(options))
        except (AuditRefused, DatabaseError) as error:
            raise CommandError(str(error).strip()) from error
        if options["json"]:
            found = {where: [asdict(one) for one in report] for where, report in reports.items()}
            self.stdout.write(json.dumps(found, indent=2))
        else:
            for where, report in reports.items():
                self._print(where, report)
        flat = [one for report in reports.values() for one in report]
        if any(one.rows > one.superseded for one in flat):
            raise SystemExit(1)

    def _reports(self, options: dict[str, Any]) -> Iterator[tuple[str, list[Found]]]:
        supersede = options["supersede"]
        if options["tables"] is not None:
            with _nobody() if options["as_app"] else as_owner(connection):
                yield options["tables"], audit_schema(options["tables"], supersede=supersede)
            return
        tenants = Tenant.objects.order_by("slug")
        if options["tenant"] is not None:
            tenants = tenants.filter(slug=options["tenant"])
            if not tenants.exists():
                raise CommandError(f"There is no tenant {options['tenant']}.")
        for tenant_id, slug in list(tenants.values_list("pk", "slug")):
            with tenant_context(tenant_id):
                yield slug, audit_ours(supersede=supersede)

    def _print(self, where: str, report: list[Found]) -> None:
        self.stdout.write(f"{where}:")
        for one in report:
            if one.skipped:
                self.stdout.write(f"  ?  {one.rule}: not checked, {one.skipped}")
                continue
            done = f", {one.superseded} superseded" if one.superseded else ""
            mark = "ok" if not one.rows else "!!"
            self.stdout.write(
                f"  {mark} {one.rule}: {one.rows} too many of {one.groups} keys"
                f" ({', '.join(one.key)}){done}"
            )
            if one.refused:
                self.stdout.write(f"       {one.refused}")
            for example in one.examples:
                key = ", ".join(f"{name}={value}" for name, value in example["key"].items())
                self.stdout.write(f"       {key}: keeps {example['kept']} of {example['ids']}")


@contextmanager
def _nobody() -> Iterator[None]:
    yield
