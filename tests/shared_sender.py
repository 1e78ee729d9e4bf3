"""A sender with one URL for all tenants, for tests: texts with the account in their payload."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from django.test import Client

from integrations.actions import create_endpoint
from integrations.endpoints import forget
from integrations.models import Integration, WebhookEndpoint
from integrations.providers import providers
from integrations.providers.signalhouse import SignalHouse
from tenants.actions import begin_visit
from tenants.context import tenant_context
from tenants.models import PLATFORM_TENANT_ID, Actor, Tenant
from tests.conftest import SECRET, Office

_serial = count(1)


class Shared(SignalHouse):
    """SignalHouse's format, as one app of all tenants would send it."""

    name = "shared"
    label = "Shared sender"
    is_shared = True

    def route(self, payload: Any) -> str | None:
        return (payload or {}).get("account")


@contextmanager
def registered() -> Iterator[None]:
    providers._plugins["shared"] = Shared
    try:
        yield
    finally:
        del providers._plugins["shared"]
        forget()


@dataclass
class Platform:
    """The platform tenant with the one URL of the shared sender."""

    endpoint: WebhookEndpoint
    integration: Integration

    def inside(self):
        return tenant_context(PLATFORM_TENANT_ID)

    def post(self, office: Office, text: str, account: str | None = "acc-1", **options: Any) -> str:
        """Deliver a text of *account*; return the event's id."""
        body = json.dumps(office.payload(text, **options) | {"account": account}).encode()
        headers = Shared().sign(body, SECRET, datetime.now(UTC), f"shared-{next(_serial)}")
        answer = Client(raise_request_exception=False).post(
            f"/hooks/shared/{self.endpoint.token}/",
            body,
            content_type="application/json",
            headers=headers,
        )
        assert answer.status_code == 202, answer.content
        return str(answer.json()["id"])

    def staff(self, user) -> Actor:
        """Let *user* into the platform tenant, as they would enter."""
        return begin_visit(
            user=user, tenant=Tenant.objects.get(pk=PLATFORM_TENANT_ID), reason="unassigned"
        )


def make_platform() -> Platform:
    with tenant_context(PLATFORM_TENANT_ID):
        integration = Integration.objects.create(provider="shared", name="App", secret=SECRET)
        return Platform(endpoint=create_endpoint(integration), integration=integration)


@pytest.fixture
def platform(db) -> Iterator[Platform]:
    with registered():
        yield make_platform()


def account_of(office: Office, account: str | None = None) -> Integration:
    """The office's own integration with the shared sender."""
    with office.inside():
        return Integration.objects.create(provider="shared", name="Shared", account_id=account)
