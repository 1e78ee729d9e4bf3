"""Connections to providers, and the inbox their webhooks land in."""

from integrations.models.integration import Integration, WebhookEndpoint, hash_token, new_token
from integrations.models.mapping import FieldMapping
from integrations.models.quarantine import QuarantineRule
from integrations.models.spool import SpoolHost
from integrations.models.sync import BroadcastStat, ExternalId, ReconcileRun, SyncState
from integrations.models.webhook import (
    WebhookEvent,
    WebhookReceipt,
    WebhookRejection,
    WebhookWork,
    WorkEvent,
    WorkFlight,
)

__all__ = [
    "BroadcastStat",
    "ExternalId",
    "FieldMapping",
    "Integration",
    "QuarantineRule",
    "ReconcileRun",
    "SpoolHost",
    "SyncState",
    "WebhookEndpoint",
    "WebhookEvent",
    "WebhookReceipt",
    "WebhookRejection",
    "WebhookWork",
    "WorkEvent",
    "WorkFlight",
    "hash_token",
    "new_token",
]
