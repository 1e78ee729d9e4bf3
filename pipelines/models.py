"""Runs of work that has steps: today the schedules, later imports, pulls and automations."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from tenants.constraints import NoDelete
from tenants.fields import UlidField
from tenants.models import TenantModel

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
