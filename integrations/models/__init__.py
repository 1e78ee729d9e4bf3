"""Connections to providers, and the inbox their webhooks land in."""

from integrations.models.integration import Integration, WebhookEndpoint, hash_token, new_token
from integrations.models.mapping import FieldMapping
from integrations.models.pull import (
    UNFINISHED,
    PullBill,
    PullPage,
    PullQuery,
    PullSweep,
    VendorSeen,
)
from integrations.models.quarantine import QuarantineRule
from integrations.models.spool import SpoolHost
from integrations.models.sync import BroadcastStat, ExternalId, ReconcileRun, SyncState
from integrations.models.waterfall import (
    Enrichment,
    ProviderCircuit,
    SpendCounter,
    VendorAnswer,
    VendorCall,
    VendorInput,
    VerificationCode,
    WaterfallStage,
)
from integrations.models.webhook import (
    WebhookEvent,
    WebhookReceipt,
    WebhookRejection,
    WebhookWork,
    WorkEvent,
    WorkFlight,
)

__all__ = [
    "UNFINISHED",
    "BroadcastStat",
    "Enrichment",
    "ExternalId",
    "FieldMapping",
    "Integration",
    "ProviderCircuit",
    "PullBill",
    "PullPage",
    "PullQuery",
    "PullSweep",
    "QuarantineRule",
    "ReconcileRun",
    "SpendCounter",
    "SpoolHost",
    "SyncState",
    "VendorAnswer",
    "VendorCall",
    "VendorInput",
    "VendorSeen",
    "VerificationCode",
    "WaterfallStage",
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
