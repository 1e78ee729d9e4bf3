"""The demo's other systems: a second carrier, CRM, dialer, data vendors, landing pages."""

from __future__ import annotations

from typing import Any

import httpx

from campaigns.demo.cast import COMPANIES, Company
from integrations.actions_accounts import add_endpoint, connect_integration, point_to
from integrations.actions_mappings import save_mappings, version_of
from integrations.mapping import Row
from integrations.models import Integration
from integrations.sandbox.crm import TEST_PUBLIC_KEY
from leads.models import Worker
from messaging.models import PhoneNumber
from tenants.context import tenant_context
from tenants.models import PLATFORM_TENANT_ID, Tenant

SECOND_CARRIER = "Twilio (sandbox)"
CRM, DIALER, PAGES = "GoHighLevel (sandbox)", "Aloware (sandbox)", "Landing pages"
#: Vendors of data, by the name of their account here.
DATA_VENDORS = {
    "BatchData (sandbox)": "batchdata",
    "Melissa (sandbox)": "melissa",
    "Instantly (sandbox)": "instantly",
    "Apollo (sandbox)": "apollo",
}
#: The platform's: one URL of GoHighLevel serves all tenants.
CRM_APP = "GoHighLevel app (sandbox)"
#: A location that is nobody's: its events wait in the unassigned queue.
STRAY_LOCATION = "loc-of-nobody"


#: How the landing pages name things, and what becomes of it.
LANDING_PAGES = {
    "event_path": "form",
    "events": {"seller": "contact.created"},
    "id_path": "submission",
}
LANDING_ROWS = [
    Row(target="external_id", source="submission", required=True),
    Row(target="first_name", source="answers.first|answers.name", transform="strip_blank"),
    Row(target="last_name", source="answers.last", transform="strip_blank"),
    Row(target="phone", source="answers.mobile|answers.phone", transform="e164", required=True),
    Row(target="email", source="answers.email", transform="lower"),
    Row(target="occurred_at", source="sent", transform="iso"),
]


def connect_systems(company: Company, *, sandbox_url: str, rate: float, burst: float) -> None:
    """Connect what stands beside the first carrier; in the running tenant."""
    second = connect_integration(
        provider="twilio",
        name=SECOND_CARRIER,
        base_url=sandbox_url,
        account_id=company.twilio_account,
        api_key=company.twilio_token,
        secret=company.twilio_token,
        settings={"lookup_url": sandbox_url},
    )
    PhoneNumber.objects.create(
        number=company.twilio_number,
        label="Second carrier",
        worker=Worker.objects.get(key="cathy"),
        integration=second,
        rate_per_second=rate,
        burst=burst,
        tokens=burst,
    )
    connect_integration(
        provider="ghl",
        name=CRM,
        base_url=sandbox_url,
        account_id=company.location,
        api_key=f"token-of-{company.slug}",
    )
    connect_integration(
        provider="aloware",
        name=DIALER,
        base_url=sandbox_url,
        api_key=f"token-of-{company.slug}",
        secret=f"dialer:{company.slug}",
    )
    connect_data_vendors(company, sandbox_url=sandbox_url)
    pages = connect_integration(
        provider="custom", name=PAGES, secret=company.pages_secret, settings=LANDING_PAGES
    )
    save_mappings(
        pages.pk,
        module="contact.created",
        rows=LANDING_ROWS,
        base=version_of(pages),
        actor_id=None,
    )


def connect_data_vendors(company: Company, *, sandbox_url: str) -> None:
    """Connect those data vendors that are not there yet; in the running tenant."""
    there = set(Integration.objects.filter(name__in=DATA_VENDORS).values_list("name", flat=True))
    for name, provider in DATA_VENDORS.items():
        if name not in there:
            connect_integration(
                provider=provider,
                name=name,
                base_url=sandbox_url,
                api_key=f"{provider}-of-{company.slug}",
            )


def connect_platform() -> None:
    """Give the platform the one URL of GoHighLevel, which finds the tenant by its location."""
    with tenant_context(PLATFORM_TENANT_ID):
        if Integration.objects.filter(name=CRM_APP).exists():
            return
        connect_integration(
            provider="ghl", name=CRM_APP, settings={"public_keys": [TEST_PUBLIC_KEY]}
        )


def link_systems(client: httpx.Client, sandbox_url: str) -> None:
    """Tell the sandbox where the webhooks of these systems go; repeatable after any restart."""
    with tenant_context(PLATFORM_TENANT_ID):
        _post(client, "/_control/ghl/hook", {"url": _url(Integration.objects.get(name=CRM_APP))})
    for company in COMPANIES:
        tenant = Tenant.objects.get(slug=company.slug)
        with tenant_context(tenant.pk):
            connect_data_vendors(company, sandbox_url=sandbox_url)
            for name in (SECOND_CARRIER, CRM, DIALER, *DATA_VENDORS):
                _point(name, sandbox_url)
            second = Integration.objects.get(name=SECOND_CARRIER)
            _post(
                client,
                "/_control/numbers",
                {
                    "numbers": [company.twilio_number],
                    "vendor": "twilio",
                    "account_id": company.twilio_account,
                    "api_key": company.twilio_token,
                    "inbound_url": _url(second),
                },
            )
    with tenant_context(Tenant.objects.get(slug=COMPANIES[0].slug).pk):
        dialer = Integration.objects.get(name=DIALER)
        hook = {"url": _url(dialer), "secret": str(dialer.secret)}
    _post(client, "/_control/aloware/hook", hook)


def _point(name: str, sandbox_url: str) -> None:
    integration = Integration.objects.get(name=name)
    if integration.base_url != sandbox_url:
        point_to(integration, base_url=sandbox_url)
    if integration.settings.get("lookup_url", sandbox_url) != sandbox_url:
        settings = integration.settings | {"lookup_url": sandbox_url}
        Integration.objects.filter(pk=integration.pk).update(settings=settings)


def _url(integration: Integration) -> str:
    endpoint = integration.endpoints.filter(retired_at=None).order_by("id").first()
    return (endpoint or add_endpoint(integration)).url


def _post(client: httpx.Client, path: str, body: Any) -> None:
    client.post(path, json=body).raise_for_status()
