"""What two systems know of each other: ids, how far a list was read, snapshots."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from integrations.models.integration import Integration
from leads.models import Lead
from tenants.constraints import NoDelete
from tenants.fields import UlidField
from tenants.models import ChildModel, TenantForeignKey

SYNC_DIRECTIONS = {"in": "From there", "out": "To there", "both": "Both ways"}


class ExternalId(ChildModel):
    """One of our leads under its name in another system.

    Two contacts of another system may be one lead of ours; one contact is never two leads.
    """

    DIRECTIONS = SYNC_DIRECTIONS

    id = UlidField(prefix="xid", primary_key=True)
    integration = TenantForeignKey(Integration, related_name="external_ids")
    kind = models.CharField(max_length=20, default="contact")
    external_id = models.CharField(max_length=200)
    lead = TenantForeignKey(Lead, null=True, related_name="external_ids")
    phone = models.CharField(max_length=32, blank=True)
    email = models.CharField(max_length=320, blank=True)
    tags = models.JSONField(default=list)
    sync_direction = models.CharField(max_length=4, choices=DIRECTIONS, default="in")
    pushed_hash = models.CharField(max_length=64, blank=True)
    last_remote_at = models.DateTimeField(null=True, help_text="Of the newest change told.")
    last_synced_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True, help_text="Deleted there; never comes back.")

    class Meta:
        db_table = "external_ids"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "integration", "kind", "external_id"], name="ux_external_ids"
            ),
            models.CheckConstraint(
                condition=Q(sync_direction__in=list(SYNC_DIRECTIONS)),
                name="external_ids_direction_is_known",
            ),
            NoDelete(name="external_ids_stay"),
        ]
        indexes = [
            models.Index(fields=["tenant", "lead"], name="external_ids_lead"),
            models.Index(fields=["tenant", "external_id"], name="external_ids_value"),
        ]

    def __str__(self) -> str:
        return self.external_id


class SyncState(ChildModel):
    """How far a list of another system was read."""

    DIRECTIONS = SYNC_DIRECTIONS

    id = UlidField(prefix="sst", primary_key=True)
    integration = TenantForeignKey(Integration, related_name="sync_states")
    direction = models.CharField(max_length=4, choices=DIRECTIONS, default="in")
    entity_type = models.CharField(max_length=40)
    cursor_id = models.CharField(max_length=500, blank=True, help_text="The vendor's; empty: start")
    cursor_at = models.DateTimeField(null=True, help_text="Everything before this is known.")
    last_run_at = models.DateTimeField(null=True)
    last_success_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "sync_state"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "integration", "direction", "entity_type"], name="ux_sync_state"
            ),
            NoDelete(name="sync_state_stays"),
        ]

    def __str__(self) -> str:
        return self.entity_type


RECONCILE_STATUSES = {"running": "Running", "completed": "Completed", "failed": "Failed"}


class ReconcileRun(ChildModel):
    """One comparison of what a vendor lists with what its webhooks told."""

    STATUSES = RECONCILE_STATUSES

    id = UlidField(prefix="rec", primary_key=True)
    integration = TenantForeignKey(Integration, related_name="reconcile_runs")
    job_name = models.CharField(max_length=40)
    status = models.CharField(max_length=9, choices=STATUSES, default="running")
    started_at = models.DateTimeField(db_default=Now())
    heard_at = models.DateTimeField(db_default=Now(), help_text="Of its newest page: its lease.")
    finished_at = models.DateTimeField(null=True)
    pages = models.PositiveIntegerField(default=0)
    seen = models.PositiveIntegerField(default=0, help_text="Things listed.")
    missing = models.PositiveIntegerField(default=0, help_text="Of them, never told by a webhook.")
    error = models.TextField(blank=True)

    class Meta:
        db_table = "reconcile_runs"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "integration", "job_name"],
                condition=Q(status="running"),
                name="ux_reconcile_runs_running",
            ),
            models.CheckConstraint(
                condition=Q(status__in=list(RECONCILE_STATUSES)),
                name="reconcile_runs_status_is_known",
            ),
            models.CheckConstraint(
                condition=(Q(status="running") & Q(finished_at=None))
                | (~Q(status="running") & Q(finished_at__gte=F("started_at"))),
                name="reconcile_runs_finished_has_time",
            ),
            models.CheckConstraint(
                condition=Q(missing__lte=F("seen")), name="reconcile_runs_missing_were_seen"
            ),
            NoDelete(name="reconcile_runs_stay"),
        ]
        indexes = [models.Index(fields=["tenant", "-id"], name="reconcile_runs_newest")]

    def __str__(self) -> str:
        return self.job_name


class BroadcastStat(ChildModel):
    """The newest counters of a broadcast; a snapshot replaces the one before, never adds to it."""

    id = UlidField(prefix="bcs", primary_key=True)
    integration = TenantForeignKey(Integration, related_name="+")
    broadcast_id = models.CharField(max_length=200)
    name = models.CharField(max_length=200, blank=True)
    counters = models.JSONField(default=dict)
    is_completed = models.BooleanField(default=False)
    snapshot_at = models.DateTimeField()
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "broadcast_stats"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "integration", "broadcast_id"], name="ux_broadcast_stats"
            ),
            NoDelete(name="broadcast_stats_stay"),
        ]

    def __str__(self) -> str:
        return self.name or self.broadcast_id
