"""Runs, to look at."""

from __future__ import annotations

from django.contrib import admin

from pipelines.models import PipelineRun
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
