"""Writes to integrations and their webhook URLs: connect, give out a URL, keep a secret."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from integrations.models import Integration, WebhookEndpoint, hash_token, new_token
from integrations.providers import kind_of
from tenants.models import AuditEntry


@transaction.atomic
def connect_integration(
    *,
    provider: str,
    name: str,
    base_url: str = "",
    account_id: str | None = None,
    api_key: str = "",
    secret: str = "",
    settings: dict[str, Any] | None = None,
) -> Integration:
    """Connect the running tenant's account with a provider, with a webhook URL if it sends any.

    The URL is signed, unless the vendor never signs.
    """
    integration = Integration.objects.create(
        provider=provider,
        name=name,
        base_url=base_url,
        account_id=account_id,
        api_key=api_key,
        secret=secret,
        settings=settings or {},
    )
    kind = kind_of(provider)
    if kind.has_webhooks:
        add_endpoint(integration, signed=kind.signs)
    AuditEntry.objects.create(
        action="integration.connected",
        object_kind="integration",
        object_id=integration.pk,
        after={"provider": provider, "name": name},
    )
    return integration


def add_endpoint(
    integration: Integration, *, signed: bool = True, our_number: str = ""
) -> WebhookEndpoint:
    """Make another webhook URL; an unsigned one is for the inbound address of *our_number*."""
    token = new_token()
    return WebhookEndpoint.objects.create(
        integration=integration,
        token=token,
        token_hash=hash_token(token),
        signed=signed,
        our_number=our_number,
    )


@transaction.atomic
def keep_secret(integration: Integration, *, secret: str, grace: Any = None) -> None:
    """Store the secret a provider signs with; the one before stays good for *grace*, if given.

    Args:
        integration: of the running tenant.
        secret: as the provider showed it.
        grace: a ``timedelta``; None when the old secret is worth nothing any more.
    """
    now = timezone.now()
    Integration.objects.filter(pk=integration.pk).update(
        secret=secret,
        previous_secret=integration.secret if grace else "",
        previous_valid_until=now + grace if grace else None,
    )
    AuditEntry.objects.create(
        action="integration.secret_kept", object_kind="integration", object_id=integration.pk
    )
    integration.refresh_from_db()


def point_to(integration: Integration, *, base_url: str) -> None:
    """Change the address of the provider's API."""
    Integration.objects.filter(pk=integration.pk).update(base_url=base_url)
    integration.base_url = base_url
