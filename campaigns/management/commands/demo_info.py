"""`manage.py demo_info`: addresses, logins and webhook URLs of the demo."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from campaigns.demo.info import NoDemo, demo_info


class Command(BaseCommand):
    """Prints secrets of the demo tenants, and of no others."""

    help = "Print what is needed to use the running demo, for people or as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("There is no demo in production.")
        try:
            info = demo_info()
        except NoDemo as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(json.dumps(info, indent=2) if options["json"] else as_text(info))


def as_text(info: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"Fairlead  {info['base_url']}/", f"Phones    {info['sandbox_url']}/", ""]
    for login in info["logins"]:
        where = login["tenant"] or "platform"
        lines.append(f"{login['username']:<20}{login['password']:<16}{login['role']:<14}{where}")
    for tenant in info["tenants"]:
        lines += ["", f"{tenant['slug']}  {tenant['id']}"]
        for integration in tenant["integrations"]:
            lines.append(f"  {integration['name']}")
            lines.append(f"    url     {integration['webhook_url']}")
            lines.append(f"    secret  {integration['secret'] or 'none: unsigned'}")
            lines.append(f"    numbers {' '.join(integration['numbers'])}")
    return "\n".join(lines)
