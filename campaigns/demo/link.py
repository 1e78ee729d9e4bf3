"""Ties the demo tenants to the sandbox carrier, as a customer ties an account to a real one."""

from __future__ import annotations

from typing import Any

import httpx

from campaigns.demo.build import carrier_of_tenant
from campaigns.demo.cast import COMPANIES, Company
from campaigns.demo.systems import link_systems
from integrations.actions_accounts import keep_secret, point_to
from integrations.models import Integration, WebhookEndpoint
from leads.models import ContactPoint
from tenants.context import tenant_context
from tenants.models import Tenant

EVENTS = ["MESSAGE_RECEIVED", "MESSAGE_SENT", "MESSAGE_DELIVERED", "MESSAGE_FAILED"]
TIMEOUT_SECONDS = 10.0


def link_all(sandbox_url: str) -> None:
    """Register webhooks, numbers and names with the sandbox; repeatable after any restart.

    Raises:
        httpx.HTTPError: the sandbox does not answer as it should.
    """
    with httpx.Client(base_url=sandbox_url, timeout=TIMEOUT_SECONDS, trust_env=False) as client:
        for company in COMPANIES:
            tenant = Tenant.objects.get(slug=company.slug)
            with tenant_context(tenant.pk):
                _link(client, company, sandbox_url)
        link_systems(client, sandbox_url)


def _link(client: httpx.Client, company: Company, sandbox_url: str) -> None:
    carrier = carrier_of_tenant()
    if carrier.base_url != sandbox_url:
        point_to(carrier, base_url=sandbox_url)
    urls = webhook_urls(carrier)
    _register_webhook(client, carrier, urls[""])
    for number in (number for _, number in company.numbers):
        _post(
            client,
            "/_control/numbers",
            {
                "numbers": [number],
                "api_key": company.api_key,
                "inbound_url": urls.get(number),
            },
        )
    _post(client, "/_control/people", {"people": people()})


def webhook_urls(integration: Integration) -> dict[str, str]:
    """Its live webhook URLs: by number where they are a number's own, else under ``""``."""
    endpoints = WebhookEndpoint.objects.filter(integration=integration, retired_at=None)
    found: dict[str, str] = {}
    for endpoint in endpoints.select_related("integration").order_by("id"):
        found.setdefault(endpoint.our_number, endpoint.url)
    return found


def people() -> list[dict[str, str]]:
    """Names for the handsets of the running tenant's leads."""
    points = ContactPoint.objects.filter(kind="phone", is_primary=True).select_related("lead")
    return [
        {"number": point.normalized, "name": point.lead.display_name}
        for point in points.order_by("id")
        if point.lead.source == "demo"
    ]


def _register_webhook(client: httpx.Client, carrier: Integration, url: str) -> None:
    headers = {"Authorization": f"Bearer {carrier.api_key}"}
    known = client.get("/webhook", headers=headers).raise_for_status().json()["webhooks"]
    for webhook in known:
        if webhook["url"] == url and carrier.secret:
            return
        # Another port, or a secret that was shown to a database that is gone.
        client.delete(f"/webhook/{webhook['_id']}", headers=headers).raise_for_status()
    body = {"name": "Fairlead", "url": url, "subscribedEvents": EVENTS, "authType": "NONE"}
    answer = _post(client, "/webhook", body, headers=headers)
    keep_secret(carrier, secret=answer["signingSecret"])


def _post(client: httpx.Client, path: str, body: Any, **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.post(path, json=body, **options).raise_for_status().json()
    return answer
