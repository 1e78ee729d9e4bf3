"""What a person or a script must know to use the running demo."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings

from campaigns.demo.cast import COMPANIES, PASSWORD, SUPERUSER, Company
from campaigns.demo.link import webhook_urls
from integrations.models import Integration
from messaging.models import PhoneNumber
from tenants.context import tenant_context
from tenants.models import Tenant

#: The sandbox stands this far above the web server, unless told otherwise.
SANDBOX_PORT_OFFSET = 99


class NoDemo(Exception):
    """There is no demo data yet."""


def sandbox_port() -> int:
    """Port of the sandbox: ``SANDBOX_PORT``, else a little above the web server's."""
    return int(os.environ.get("SANDBOX_PORT") or settings.PORT + SANDBOX_PORT_OFFSET)


def state_folder() -> Path:
    """Where the demo keeps what is not in the database; ``FAIRLEAD_DEMO_DIR`` moves it."""
    return Path(os.environ.get("FAIRLEAD_DEMO_DIR") or settings.DATA_DIR)


def state_file() -> Path:
    """Where the running demo leaves its addresses for ``demo_info``."""
    return state_folder() / "demo.json"


def write_addresses(*, base_url: str, sandbox_url: str) -> None:
    """Leave the addresses for ``demo_info``."""
    state_file().parent.mkdir(parents=True, exist_ok=True)
    state_file().write_text(json.dumps({"base_url": base_url, "sandbox_url": sandbox_url}))


def read_addresses() -> dict[str, str]:
    """Addresses of the last demo started here, or those that it would have."""
    try:
        found: dict[str, str] = json.loads(state_file().read_text())
    except (OSError, ValueError):
        return {"base_url": settings.BASE_URL, "sandbox_url": f"http://127.0.0.1:{sandbox_port()}"}
    return found


def demo_info() -> dict[str, Any]:
    """Addresses, logins, and per tenant its integrations; secrets included, so for the demo only.

    Raises:
        NoDemo: the demo was never started.
    """
    addresses = read_addresses()
    sandbox = addresses["sandbox_url"]
    return {
        **addresses,
        "logins": logins(),
        "tenants": [tenant_info(company, addresses["base_url"]) for company in COMPANIES],
        "control": {
            "inbound": f"{sandbox}/_control/inbound",
            "handsets": f"{sandbox}/_control/handsets",
            "faults": f"{sandbox}/_control/faults",
        },
    }


def logins() -> list[dict[str, str | None]]:
    """Everybody who can log in: ``{username, password, role, tenant}``; the slug of the tenant."""
    found: list[dict[str, str | None]] = [
        {
            "username": login.username,
            "password": PASSWORD,
            "role": login.role,
            "tenant": company.slug,
        }
        for company in COMPANIES
        for login in company.logins
    ]
    platform: dict[str, str | None] = {
        "username": SUPERUSER[0],
        "password": PASSWORD,
        "role": "superuser",
        "tenant": None,
    }
    return [*found, platform]


def tenant_info(company: Company, base_url: str) -> dict[str, Any]:
    """One tenant: ``{slug, id, integrations}``; unsigned URLs are listed with secret None."""
    tenant = Tenant.objects.filter(slug=company.slug).first()
    if tenant is None:
        raise NoDemo("There is no demo data yet: run `python manage.py demo` first.")
    with tenant_context(tenant.pk):
        integrations = []
        for integration in Integration.objects.order_by("id"):
            numbers = PhoneNumber.objects.filter(integration=integration).order_by("number")
            told = list(numbers.values_list("number", flat=True))
            integrations += integration_info(integration, told, base_url)
    return {"slug": company.slug, "id": tenant.pk, "integrations": integrations}


def integration_info(
    integration: Integration, numbers: list[str], base_url: str
) -> list[dict[str, Any]]:
    """One line per webhook URL, the signed one first."""
    lines = []
    for number, url in sorted(webhook_urls(integration).items()):
        name = f"{integration.name}, {number} unsigned" if number else integration.name
        lines.append(
            {
                "provider": integration.provider,
                "name": name,
                "webhook_url": url.replace(settings.BASE_URL, base_url, 1),
                "secret": None if number else str(integration.secret),
                "numbers": [number] if number else numbers,
            }
        )
    return lines
