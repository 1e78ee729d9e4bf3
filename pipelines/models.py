"""Runs of work that has steps, work that ran out of attempts, and problems that are there now."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from tenants.constraints import AppendOnly, NoDelete
from tenants.fields import UlidField
from tenants.models import Actor, ChildModel, TenantForeignKey, TenantModel

PIPELINE_RUN_STATUSES = {
    "running": "Running",
    "completed": "Completed",
    "failed": "Failed",
    "cancelled": "Cancelled",
}


class PipelineRun(TenantModel):
    """One execution of a named pipeline: what ran, why, how long, and what came of it."""

    STATUSES = PIPELINE_RUN_STATUSES

    id = UlidField(prefix="run", primary_key=True)
    pipeline_name = models.CharField(max_length=60)
    trigger_type = models.CharField(max_length=20, default="schedule")
    status = models.CharField(max_length=10, choices=STATUSES, default="running")
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    stats = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    correlation_id = models.CharField(max_length=40, blank=True)

    class Meta:
        db_table = "pipeline_runs"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=list(PIPELINE_RUN_STATUSES)),
                name="pipeline_runs_status_is_known",
            ),
            models.CheckConstraint(
                condition=(Q(status="running") & Q(finished_at=None))
                | (~Q(status="running") & Q(finished_at__gte=F("started_at"))),
                name="pipeline_runs_finished_has_time",
            ),
            models.CheckConstraint(
                condition=Q(status="failed") | Q(error=""), name="pipeline_runs_only_failed_err"
            ),
            NoDelete(name="pipeline_runs_stay"),
        ]

    def __str__(self) -> str:
        return self.pipeline_name


DEAD_LETTER_STAGES = {
    "webhook": "Webhook",
    "send": "Send",
    "sync": "Sync",
    "pull": "Pull",
    "enrich": "Enrichment",
    "verify": "Verification",
    "campaign": "Campaign",
}
DEAD_LETTER_STATUSES = {
    "open": "Open",
    "retrying": "Retrying",
    "resolved": "Resolved",
    "discarded": "Discarded",
}


class DeadLetter(TenantModel):
    """Work that ran out of attempts, and what is done about it. Its history is its work's own.

    ``ref`` names the work within its stage: for a webhook the ``seq`` of its work row. Letters with
    one ``fingerprint`` died of the same cause. ``retry_after`` is when the machine tries again by
    itself; NULL: only a person does.
    """

    STAGES = DEAD_LETTER_STAGES
    STATUSES = DEAD_LETTER_STATUSES

    id = UlidField(prefix="dlq", primary_key=True)
    stage = models.CharField(max_length=10, choices=STAGES)
    ref = models.CharField(max_length=80)
    subject = models.CharField(max_length=120, help_text="What it was: provider and event type.")
    error_class = models.CharField(max_length=80)
    error = models.TextField()
    fingerprint = models.CharField(max_length=16)
    status = models.CharField(max_length=9, choices=STATUSES, default="open")
    retries = models.PositiveSmallIntegerField(default=0, help_text="Since it died.")
    retry_after = models.DateTimeField(null=True)
    reason = models.TextField(blank=True, help_text="Why it was discarded.")
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    closed_at = models.DateTimeField(null=True)
    correlation_id = models.CharField(max_length=40, blank=True)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "dead_letters"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "stage", "ref"],
                condition=Q(status__in=["open", "retrying"]),
                name="ux_dead_letters_open",
            ),
            models.CheckConstraint(
                condition=Q(stage__in=list(DEAD_LETTER_STAGES)), name="dead_letters_stage_is_known"
            ),
            models.CheckConstraint(
                condition=(Q(status__in=["open", "retrying"]) & Q(closed_at=None))
                | (Q(status__in=["resolved", "discarded"]) & Q(closed_at__isnull=False)),
                name="dead_letters_closed_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(status="discarded") | ~Q(reason=""),
                name="dead_letters_discard_has_reason",
            ),
            NoDelete(name="dead_letters_stay"),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "stage", "fingerprint", "id"],
                condition=Q(status__in=["open", "retrying"]),
                name="dead_letters_groups",
            ),
            models.Index(
                fields=["tenant", "retry_after"],
                condition=Q(status="open", retry_after__isnull=False),
                name="dead_letters_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subject}: {self.error_class}"


INCIDENT_SEVERITIES = {"warning": "Warning", "critical": "Critical"}


class Incident(TenantModel):
    """A problem that is there now, or was: one open row each, opened and closed by its own check.

    Problems of the installation (hosts, partitions, the database) belong to the platform tenant.
    """

    SEVERITIES = INCIDENT_SEVERITIES

    id = UlidField(prefix="inc", primary_key=True)
    kind = models.CharField(max_length=40)
    subject = models.CharField(max_length=120, blank=True, help_text="Which one, where several.")
    severity = models.CharField(max_length=8, choices=SEVERITIES)
    title = models.CharField(max_length=200)
    advice = models.TextField(blank=True, help_text="What to do about it.")
    path = models.CharField(max_length=200, blank=True, help_text="Page under /t/<slug>/.")
    opened_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now(), help_text="Newest look that found it.")
    closed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "incidents"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "kind", "subject"],
                condition=Q(closed_at=None),
                name="ux_incidents_open",
            ),
            models.CheckConstraint(
                condition=Q(severity__in=list(INCIDENT_SEVERITIES)),
                name="incidents_severity_is_known",
            ),
            models.CheckConstraint(
                condition=Q(closed_at=None) | Q(closed_at__gte=F("opened_at")),
                name="incidents_end_after_they_begin",
            ),
            NoDelete(name="incidents_stay"),
        ]
        indexes = [models.Index(fields=["tenant", "-id"], name="incidents_newest")]

    def __str__(self) -> str:
        return self.title


ARTIFACT_STORAGES = {"inline": "In the database", "object": "In the object store"}
#: Bytes up to which an artifact's content stands in its row.
INLINE_LIMIT = 100_000


class Artifact(TenantModel):
    """An immutable output: a vendor's answer, an uploaded file, a report; with its checksum.

    A newer version points back at the one it supersedes; ``ArtifactParent`` says what it was made
    from.
    """

    STORAGES = ARTIFACT_STORAGES

    id = UlidField(prefix="art", primary_key=True)
    run = TenantForeignKey(PipelineRun, null=True, related_name="artifacts")
    artifact_type = models.CharField(max_length=40)
    mime_type = models.CharField(max_length=100, default="application/json")
    storage = models.CharField(max_length=6, choices=ARTIFACT_STORAGES, default="inline")
    content = models.BinaryField(null=True, help_text="When it is inline.")
    path = models.CharField(max_length=200, blank=True, help_text="In the object store.")
    size = models.PositiveBigIntegerField(help_text="Bytes.")
    checksum = models.CharField(max_length=64, help_text="SHA-256, hexadecimal.")
    version = models.PositiveIntegerField(default=1)
    supersedes = TenantForeignKey("self", null=True, related_name="superseded_by")
    correlation_id = models.CharField(max_length=40, blank=True)

    class Meta:
        db_table = "artifacts"
        constraints = [
            models.CheckConstraint(
                condition=Q(storage__in=list(ARTIFACT_STORAGES)),
                name="artifacts_storage_is_known",
            ),
            models.CheckConstraint(
                condition=(
                    Q(storage="inline", content__isnull=False, path="", size__lt=INLINE_LIMIT)
                )
                | (Q(storage="object", content=None) & ~Q(path="")),
                name="artifacts_small_ones_are_inline",
            ),
            models.CheckConstraint(
                condition=Q(checksum__regex="^[0-9a-f]{64}$"), name="artifacts_checksum_is_sha256"
            ),
            models.UniqueConstraint(
                fields=["tenant", "supersedes"],
                condition=Q(supersedes__isnull=False),
                name="ux_artifacts_supersedes",
            ),
            AppendOnly(name="artifacts_append_only"),
        ]
        indexes = [models.Index(fields=["tenant", "run"], name="artifacts_run")]

    def __str__(self) -> str:
        return self.artifact_type


class ArtifactParent(ChildModel):
    """Lineage: *artifact* was made from *parent*."""

    id = UlidField(prefix="apt", primary_key=True)
    artifact = TenantForeignKey(Artifact, related_name="parents")
    parent = TenantForeignKey(Artifact, related_name="children")

    class Meta:
        db_table = "artifact_parents"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "artifact", "parent"], name="ux_artifact_parents"
            ),
            models.CheckConstraint(
                condition=~Q(artifact=F("parent")), name="artifact_parents_no_loop"
            ),
            AppendOnly(name="artifact_parents_append_only"),
        ]
        indexes = [models.Index(fields=["tenant", "parent"], name="artifact_parents_parent")]
