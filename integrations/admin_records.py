"""What is known of other systems, and how intake fares; all of it to look at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from integrations.models import (
    BroadcastStat,
    ExternalId,
    QuarantineRule,
    ReconcileRun,
    SpoolHost,
    SyncState,
    WorkFlight,
)
from tenants.admin import AgeFilter, LogAdmin, chip_column
from tenants.admin.base import tenant_of
from tenants.models import PLATFORM_TENANT_ID


@admin.register(ExternalId)
class ExternalIdAdmin(LogAdmin):
    label = "External ids"
    hint = "Our leads under their names in other systems."
    list_display = ["external_id", "kind", "integration", "lead", "last_remote_at", "deleted_at"]
    list_filter = [AgeFilter]
    list_select_related = ["integration", "lead"]
    list_defer = ["tags", "integration__api_key", "integration__secret"]
    search_fields = ["external_id"]
    search_phones = ["phone"]


@admin.register(SyncState)
class SyncStateAdmin(LogAdmin):
    label = "Sync cursors"
    hint = "How far the lists of other systems were read."
    list_display = ["entity_type", "integration", "direction", "cursor_at", "last_success_at"]
    list_select_related = ["integration"]
    list_defer = ["integration__api_key", "integration__secret"]
    search_fields = ["entity_type"]


@admin.register(ReconcileRun)
class ReconcileRunAdmin(LogAdmin):
    label = "Reconcile runs"
    hint = "Comparisons of what a vendor lists with what its webhooks told."
    list_display = [
        "job_name",
        chip_column("status"),
        "integration",
        "seen",
        "missing",
        "started_at",
        "finished_at",
    ]
    list_filter = ["status", AgeFilter]
    list_select_related = ["integration"]
    list_defer = ["error", "integration__api_key", "integration__secret"]
    search_fields = ["job_name"]


@admin.register(BroadcastStat)
class BroadcastStatAdmin(LogAdmin):
    label = "Broadcasts"
    hint = "The newest counters of each broadcast."
    list_display = ["broadcast_id", "name", "integration", "is_completed", "snapshot_at"]
    list_filter = ["is_completed"]
    list_select_related = ["integration"]
    list_defer = ["counters", "integration__api_key", "integration__secret"]
    search_fields = ["broadcast_id"]


@admin.register(QuarantineRule)
class QuarantineRuleAdmin(LogAdmin):
    label = "Quarantine rules"
    hint = "Which webhooks are withheld; they are made on the page of failures."
    list_display = ["__str__", "reason", "actor", "created_at", "ended_at"]
    list_filter = [AgeFilter]
    list_select_related = ["actor"]
    search_fields = ["sender", "event_type"]


@admin.register(WorkFlight)
class WorkFlightAdmin(LogAdmin):
    label = "Work under way"
    hint = "What drains do right now."
    list_display = ["id", "at"]


@admin.register(SpoolHost)
class SpoolHostAdmin(LogAdmin):
    """The web hosts of the installation, which is the platform's matter."""

    label = "Web hosts"
    hint = "Spools of deliveries that came while the database was away."
    list_display = ["name", "pending", "heard_at", "stopped_at", "retired_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        tenant = tenant_of(request)
        rows = SpoolHost.objects.all()
        return rows if tenant is not None and tenant.pk == PLATFORM_TENANT_ID else rows.none()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request)
