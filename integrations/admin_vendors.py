"""Pulls, the waterfall, and what was paid; worked on in their own pages, looked at here."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from integrations.models import (
    Enrichment,
    ProviderCircuit,
    PullBill,
    PullPage,
    PullQuery,
    PullSweep,
    SpendCounter,
    VendorAnswer,
    VendorCall,
    VendorInput,
    VendorSeen,
    VerificationCode,
    WaterfallStage,
)
from tenants.admin import AgeFilter, LogAdmin, chip_column

#: Secrets of the account are never read for a list.
SECRETS = ["integration__api_key", "integration__secret"]


@admin.register(PullQuery)
class PullQueryAdmin(LogAdmin):
    label = "Pull queries"
    hint = "Saved searches at vendors."
    list_display = ["name", "integration", "price_cents", "run_cap_cents", "next_run_at", "enabled"]
    list_filter = ["enabled"]
    list_select_related = ["integration"]
    list_defer = ["params", *SECRETS]
    search_fields = ["name"]


@admin.register(PullSweep)
class PullSweepAdmin(LogAdmin):
    label = "Pull sweeps"
    hint = "Readings of a search from its first page on."
    list_display = [
        "query",
        chip_column("status"),
        "pages",
        "records",
        "created",
        "updated",
        "cost_cents",
        "started_at",
    ]
    list_filter = ["status", AgeFilter]
    list_select_related = ["query"]
    list_defer = ["params"]


@admin.register(PullPage)
class PullPageAdmin(LogAdmin):
    label = "Pulled pages"
    hint = "Pages as the vendor listed them."
    list_display = ["sweep", "page_no", "skip", "results_found", "new_ids", "cost_cents"]
    list_filter = [AgeFilter]
    list_select_related = ["sweep"]
    list_defer = ["ids"]


@admin.register(PullBill)
class PullBillAdmin(LogAdmin):
    label = "Pull bills"
    hint = "What a search was billed for on each of the vendor's days."
    list_display = ["integration", "day", "records", "cents", "updated_at"]
    list_filter = [AgeFilter]
    list_select_related = ["integration"]
    list_defer = SECRETS
    search_fields = ["query_sig"]


@admin.register(VendorSeen)
class VendorSeenAdmin(LogAdmin):
    label = "Records seen"
    hint = "Vendors' records that a query has listed."
    list_display = ["vendor_id", "source", "closed", "created_at"]
    list_filter = ["closed"]
    search_fields = ["vendor_id"]


@admin.register(WaterfallStage)
class WaterfallStageAdmin(LogAdmin):
    label = "Waterfall stages"
    hint = "Priced, gated steps of enrichment, in their order."
    list_display = ["position", "name", "integration", "price_cents", "daily_call_cap", "enabled"]
    list_filter = ["enabled", "kind"]
    list_select_related = ["integration"]
    list_defer = SECRETS
    search_fields = ["name"]


@admin.register(Enrichment)
class EnrichmentAdmin(LogAdmin):
    hint = "Leads on their way down the waterfall."
    list_display = ["lead", chip_column("state"), "position", "cost_cents", "created_at"]
    list_filter = ["state", AgeFilter]
    list_select_related = ["lead"]
    list_defer = ["steps", "error"]


@admin.register(VendorCall)
class VendorCallAdmin(LogAdmin):
    label = "Paid calls"
    hint = "Requests to vendors, written down before they were made."
    list_display = ["provider", "service", "lead", "reserved_cents", "at"]
    list_filter = [AgeFilter]
    list_select_related = ["lead"]
    search_fields = ["fingerprint"]


@admin.register(VendorAnswer)
class VendorAnswerAdmin(LogAdmin):
    label = "Answers to paid calls"
    hint = "What came back, and what it cost."
    list_display = ["call", chip_column("result", colors={}), "cost_cents", "latency_ms", "at"]
    list_filter = ["result", AgeFilter]
    list_select_related = ["call"]
    search_fields = ["request_id"]


@admin.register(VendorInput)
class VendorInputAdmin(LogAdmin):
    label = "Kept answers"
    hint = "Inputs that were paid for, and until when the answer is used again."
    list_display = ["provider", "service", "fingerprint", "fresh_until"]
    search_fields = ["fingerprint"]


@admin.register(SpendCounter)
class SpendCounterAdmin(LogAdmin):
    label = "Spend counters"
    hint = "What a day or month has cost, and may."
    list_display = ["scope", "period", "starts", "calls", "call_cap", "cents", "cents_cap"]
    list_filter = ["period"]
    search_fields = ["scope"]


@admin.register(ProviderCircuit)
class ProviderCircuitAdmin(LogAdmin):
    label = "Circuits"
    hint = "Accounts that are left alone for a while after failures."
    list_display = ["integration", chip_column("state"), "failures", "probe_at", "last_error"]
    list_filter = ["state"]
    list_select_related = ["integration"]
    list_defer = SECRETS


@admin.register(VerificationCode)
class VerificationCodeAdmin(LogAdmin):
    """What vendors' words mean: the same rows for every tenant, changed by migrations only."""

    label = "Vendors' codes"
    hint = "What vendors' words about addresses and numbers mean."
    list_display = ["provider", "channel", "code", "is_verified", "meaning"]
    list_filter = ["is_verified"]
    search_fields = ["code"]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows = VerificationCode.objects.all()
        return rows if self.has_view_permission(request) else rows.none()
