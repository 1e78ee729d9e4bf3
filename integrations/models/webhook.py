"""Inbound webhooks. These tables are made by SQL: partitions, slim rows, partial indexes."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.functions import Now

from tenants.constraints import AppendOnly
from tenants.fields import UlidField
from tenants.models import Actor, ChildModel, TenantForeignKey, TenantModel


class _IntakeModel(models.Model):
    """Base of tables that migrations write in SQL; there RLS and keys are the same."""

    tenant: Any = models.ForeignKey(
        "tenants.Tenant", models.DO_NOTHING, db_constraint=False, related_name="+", editable=False
    )

    class Meta:
        abstract = True


class WebhookReceipt(_IntakeModel):
    """Proof that a delivery was taken, kept for ever: the defence against repeats and replays."""

    event = UlidField(prefix="wh", primary_key=True)
    source = UlidField(prefix="intg", help_text="The integration.")
    idem_key = models.BinaryField()
    body_hash = models.BinaryField()
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        managed = False
        db_table = "webhook_receipts"


class WebhookEvent(_IntakeModel):
    """A webhook as it arrived. Never changed; what became of it is its work row."""

    PARSE_STATES = {
        "clean": "Clean",
        "unstorable": "Kept as bytes only",
        "malformed": "Malformed",
    }

    id = UlidField(prefix="wh", primary_key=True)
    received_at = models.DateTimeField(db_default=Now())
    integration = UlidField(prefix="intg")
    endpoint = UlidField(prefix="wep", null=True)
    source = models.CharField(max_length=40, help_text="The provider.")
    event_type = models.CharField(max_length=80)
    lane = models.CharField(max_length=200)
    occurred_at = models.DateTimeField(null=True)
    body = models.BinaryField(help_text="The raw bytes.")
    payload = models.JSONField(
        null=True, help_text="NULL where PostgreSQL would read it otherwise."
    )
    headers = models.JSONField(default=dict)
    attempt_token_hash = models.CharField(max_length=64, null=True)
    signature_state = models.CharField(max_length=10)
    parse_state = models.CharField(max_length=10, choices=PARSE_STATES)
    correlation_id = models.CharField(max_length=40)

    class Meta:
        managed = False
        db_table = "webhook_events"

    def __str__(self) -> str:
        return f"{self.source} {self.event_type}"


class WebhookWork(_IntakeModel):
    """What is to be done with a webhook event; its row lock is the lease."""

    STATES = {
        "ready": "Ready",
        "done": "Done",
        "dead": "Dead letter",
        "quarantined": "Quarantined",
        "discarded": "Discarded",
    }

    seq = models.BigAutoField(primary_key=True)
    event = UlidField(prefix="wh")
    received_at = models.DateTimeField(help_text="Of the event; finds its partition.")
    lane = models.CharField(max_length=200)
    their_number = models.CharField(max_length=32, null=True)
    is_inbound = models.BooleanField(default=False)
    state = models.CharField(max_length=11, choices=STATES, default="ready")
    attempts = models.PositiveSmallIntegerField(default=0)
    strikes = models.PositiveSmallIntegerField(default=0)
    available_at = models.DateTimeField(db_default=Now())
    last_error = models.TextField(blank=True)
    run_no = models.PositiveSmallIntegerField(default=1)
    fingerprint = models.CharField(max_length=16, blank=True, help_text="Of the newest error.")
    outcome = models.CharField(max_length=200, blank=True)
    processed_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "webhook_work"

    def __str__(self) -> str:
        return f"work {self.seq} ({self.state})"


class WorkFlight(_IntakeModel):
    """Which work a process does right now; one left over is that of a process that died."""

    id = models.UUIDField(primary_key=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        managed = False
        db_table = "work_flights"


WORK_EVENT_KINDS = {
    "failed": "Failed, tried again later",
    "dead": "Given up",
    "struck": "Its process died",
    "quarantine": "Quarantined",
    "release": "Released",
    "retry": "Retried",
    "discard": "Discarded",
    "replay": "Replayed",
    "assign": "Assigned to a tenant",
}


class WorkEvent(TenantModel):
    """What happened to a piece of work besides being done: failures, and people's decisions."""

    KINDS = WORK_EVENT_KINDS

    id = UlidField(prefix="wke", primary_key=True)
    work = models.BigIntegerField()
    what = models.CharField(max_length=20, choices=KINDS)
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    reason = models.TextField(blank=True)
    correlation_id = models.CharField(max_length=40, blank=True)

    class Meta:
        db_table = "work_events"
        constraints = [AppendOnly(name="work_events_append_only")]
        indexes = [models.Index(fields=["tenant", "work"], name="work_events_work")]

    def __str__(self) -> str:
        return f"{self.what} of work {self.work}"


class WebhookRejection(ChildModel):
    """A bounded sample of what was refused: at most 50 an hour and endpoint, first 8 kB each."""

    id = UlidField(prefix="wrj", primary_key=True)
    endpoint = TenantForeignKey("integrations.WebhookEndpoint", related_name="+")
    reason = models.CharField(max_length=40)
    body = models.BinaryField()
    headers = models.JSONField(default=dict)
    hour = models.DateTimeField()
    slot = models.PositiveSmallIntegerField(help_text="1 to 50, within the hour.")

    class Meta:
        db_table = "webhook_rejections"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "endpoint", "hour", "slot"], name="ux_webhook_rejections_slot"
            ),
            models.CheckConstraint(
                condition=models.Q(slot__range=(1, 50)), name="webhook_rejections_bounded"
            ),
            AppendOnly(name="webhook_rejections_append_only"),
        ]

    def __str__(self) -> str:
        return self.reason
