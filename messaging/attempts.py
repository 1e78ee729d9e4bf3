"""One attempt at a text: who may make it, at whose account, and by what it is known."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import cast

from django.conf import settings

from integrations.models import Integration, WebhookEndpoint
from integrations.providers import Account, Carrier, OutboundText, providers
from messaging.models import OutboundMessage


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One attempt that this process may make, or ask about."""

    tenant_id: str
    outbound_id: str
    attempt: int
    repeats: bool = False  # asks again about an unknown, with the same idempotency key
    looks: bool = False  # asks the provider's list about an unknown; sends nothing


def attempt_token(outbound_id: str, attempt: int) -> str:
    """Return the secret part of an attempt's callback URL: it vouches for this attempt alone.

    Derived, not stored: a repeat after a crash knows it again.
    """
    message = f"attempt:{outbound_id}.{attempt}".encode()
    digest = hmac.new(settings.SECRET_KEY.encode(), message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def account_of(integration: Integration) -> Account:
    """Return what a provider needs of an integration to call its API."""
    return Account(
        base_url=integration.base_url,
        api_key=integration.api_key,
        account_id=integration.account_id or "",
        settings=integration.settings,
    )


def carrier_of(outbound: OutboundMessage) -> Carrier:
    """Return the carrier that a text goes through."""
    return cast(Carrier, providers[outbound.phone_number.integration.provider]())


def text_of(outbound: OutboundMessage, attempt: int) -> OutboundText:
    """Return what the carrier is given for an attempt; the same for every repeat of it."""
    return OutboundText(
        sender=outbound.phone_number.number,
        recipient=outbound.to_address,
        body=outbound.body,
        idempotency_key=f"{outbound.pk}.{attempt}",
        status_callback_url=_callback_url(outbound, attempt),
    )


def _callback_url(outbound: OutboundMessage, attempt: int) -> str:
    integration = outbound.phone_number.integration
    endpoint = (
        WebhookEndpoint.objects.filter(integration=integration, signed=True, retired_at=None)
        .order_by("id")
        .first()
    )
    if endpoint is None:
        return ""
    endpoint.integration = integration  # spares a row whose secrets would be decrypted again
    return f"{endpoint.url}{attempt_token(outbound.pk, attempt)}/"
