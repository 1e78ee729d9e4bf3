"""Runs, dead letters and incidents, to look at."""

from __future__ import annotations

from django.contrib import admin

from pipelines.models import Artifact, ArtifactParent, DeadLetter, Incident, PipelineRun
from tenants.admin import AgeFilter, LogAdmin, chip_column


@admin.register(PipelineRun)
class PipelineRunAdmin(LogAdmin):
    hint = "Schedules and other work that has steps."
    list_display = [
        "pipeline_name",
        chip_column("status"),
        "trigger_type",
        "started_at",
        "finished_at",
        "correlation_id",
    ]
    list_filter = ["status", AgeFilter]
    list_defer = ["stats", "error"]
    search_fields = ["pipeline_name"]


@admin.register(DeadLetter)
class DeadLetterAdmin(LogAdmin):
    label = "Dead letters"
    hint = "Work that ran out of attempts; it is decided about on the page of failures."
    list_display = [
        "subject",
        chip_column("stage", colors={}),
        chip_column("status"),
        "error_class",
        "retries",
        "retry_after",
        "created_at",
    ]
    list_filter = ["status", "stage", AgeFilter]
    list_defer = ["error", "reason"]
    search_fields = ["ref", "fingerprint"]


@admin.register(Incident)
class IncidentAdmin(LogAdmin):
    hint = "Problems, opened and closed by the checks that found them."
    list_display = ["title", chip_column("severity"), "kind", "opened_at", "closed_at"]
    list_filter = ["severity", AgeFilter]
    list_defer = ["advice"]
    search_fields = ["kind"]


@admin.register(Artifact)
class ArtifactAdmin(LogAdmin):
    hint = "Immutable outputs: vendors' answers, files, reports."
    list_display = ["artifact_type", "mime_type", "size", "storage", "run", "created_at"]
    list_filter = [AgeFilter]
    list_select_related = ["run"]
    list_defer = ["content"]
    search_fields = ["checksum"]
    replaced = {"content": None}


@admin.register(ArtifactParent)
class ArtifactParentAdmin(LogAdmin):
    label = "Lineage"
    hint = "Which artifact was made from which."
    list_display = ["artifact", "parent", "created_at"]
    list_select_related = ["artifact", "parent"]
    list_defer = ["artifact__content", "parent__content"]
