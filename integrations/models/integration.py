from __future__ import annotations

import hashlib
import secrets

from django.conf import settings
from django.core.validators import URLValidator
from django.db import models
from django.db.models import Q

from integrations.providers import provider_choices
from tenants.constraints import NoDelete
from tenants.fields import EncryptedField, UlidField
from tenants.models import TenantForeignKey, TenantModel


class Integration(TenantModel):
    """One tenant's account with one provider."""

    id = UlidField(prefix="intg", primary_key=True)
    provider = models.CharField(max_length=40, choices=provider_choices)
    name = models.CharField(max_length=80)
    enabled = models.BooleanField(default=True)
    base_url = models.CharField(
        max_length=200,
        validators=[URLValidator(schemes=["http", "https"])],
        blank=True,
        help_text="Address of the provider's API; empty for those that only send to us.",
    )
    account_id = models.CharField(max_length=80, null=True, blank=True)
    api_key = EncryptedField(blank=True, default="")
    secret = EncryptedField(blank=True, default="", help_text="Signs the provider's webhooks.")
    previous_secret = EncryptedField(blank=True, default="")
    previous_valid_until = models.DateTimeField(null=True, blank=True)
    settings = models.JSONField(default=dict, blank=True)
    silence_minutes = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Minutes without a webhook after which something is wrong; empty: never.",
    )
    last_event_at = models.DateTimeField(null=True, editable=False)
    secret_used_at = models.DateTimeField(null=True, editable=False)
    previous_secret_used_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "integrations"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="ux_integrations_name"),
            models.UniqueConstraint(
                fields=["tenant", "provider", "account_id"],
                condition=Q(account_id__isnull=False),
                name="ux_integrations_account",
            ),
            NoDelete(name="integrations_stay"),
        ]

    def __str__(self) -> str:
        return self.name


def hash_token(token: str) -> str:
    """Return how a URL token is stored: 64 hex digits of SHA-256; the token is 256 bits itself."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token() -> str:
    return secrets.token_urlsafe(32)


class WebhookEndpoint(TenantModel):
    """A URL a provider posts to. The token in it finds the tenant; a signature proves the sender.

    ``signed=False`` is for senders that never sign, such as a number's own inbound URL: there
    the token alone is the proof.
    """

    id = UlidField(prefix="wep", primary_key=True)
    integration = TenantForeignKey(Integration, related_name="endpoints")
    token = EncryptedField(default=new_token)
    token_hash = models.CharField(max_length=64, editable=False)
    signed = models.BooleanField(default=True)
    our_number = models.CharField(
        max_length=16, blank=True, help_text="For a number's own URL: that number, E.164."
    )
    retired_at = models.DateTimeField(null=True, blank=True, help_text="From then on: 410 Gone.")
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        db_table = "webhook_endpoints"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "token_hash"], name="ux_webhook_endpoints_token"
            ),
            models.CheckConstraint(
                condition=Q(token_hash__regex="^[0-9a-f]{64}$"), name="webhook_endpoints_hash"
            ),
            NoDelete(name="webhook_endpoints_stay"),
        ]
        indexes = [models.Index(fields=["token_hash"], name="webhook_endpoints_token")]

    def __str__(self) -> str:
        return f"{self.integration.name} webhook"

    @property
    def url(self) -> str:
        """Address to give to the provider; it is a secret."""
        return f"{settings.BASE_URL}/hooks/{self.integration.provider}/{self.token}/"
