"""Connections to providers, and the inbox their webhooks land in."""

from integrations.models.integration import Integration, WebhookEndpoint, hash_token, new_token
from integrations.models.webhook import (
    WebhookEvent,
    WebhookReceipt,
    WebhookRejection,
    WebhookWork,
    WorkEvent,
)

__all__ = [
    "Integration",
    "WebhookEndpoint",
    "WebhookEvent",
    "WebhookReceipt",
    "WebhookRejection",
    "WebhookWork",
    "WorkEvent",
    "hash_token",
    "new_token",
]
