"""The registry's tables in the admin: rules are edited here, everything else is only shown."""

from __future__ import annotations

from django.contrib import admin

from messaging.models import (
    ConsentAck,
    ConsentEffect,
    ContactRule,
    DossierExport,
    SuppressionList,
)
from tenants.admin import AgeFilter, LogAdmin, TenantAdmin, chip_column


@admin.register(ContactRule)
class ContactRuleAdmin(TenantAdmin):
    label = "Contact rules"
    hint = "Hours and limits by state, with source and review date. Not legal advice."
    add_role = change_role = "configure"
    list_display = [
        "jurisdiction",
        "weekday",
        "start",
        "end",
        "max_per_24h",
        "is_active",
        "reviewed_on",
        "version",
    ]
    list_filter = ["is_active"]
    search_fields = ["jurisdiction"]
    fields = [
        "jurisdiction",
        "weekday",
        "start",
        "end",
        "max_per_24h",
        "source",
        "reviewed_on",
        "is_active",
    ]


@admin.register(ConsentAck)
class ConsentAckAdmin(LogAdmin):
    label = "Opt-out acknowledgements"
    hint = "Which connected system was told of which opt-out."
    list_display = [
        "integration",
        chip_column("state", colors={"acknowledged": "green", "failed": "red"}),
        "attempts",
        "due_at",
        "acked_at",
    ]
    list_filter = ["state", AgeFilter]
    list_select_related = ["integration"]
    list_defer = ["last_error", "integration__secret", "integration__previous_secret"]


@admin.register(ConsentEffect)
class ConsentEffectAdmin(LogAdmin):
    label = "Effects of opt-outs"
    hint = "What each opt-out stopped."
    list_display = [chip_column("kind", colors={}), "subject", "consent_event", "at"]
    list_filter = ["kind", AgeFilter]
    list_select_related = ["consent_event"]
    search_fields = ["subject"]


@admin.register(SuppressionList)
class SuppressionListAdmin(LogAdmin):
    hint = "Files of addresses that must not be contacted."
    list_display = [
        "name",
        chip_column("state", colors={"applied": "red", "applying": "amber", "paused": "amber"}),
        "source",
        "fresh",
        "known",
        "invalid",
        "expires_at",
        "created_at",
    ]
    list_filter = ["state", AgeFilter]
    search_fields = ["name"]


@admin.register(DossierExport)
class DossierExportAdmin(LogAdmin):
    label = "Dossiers handed out"
    hint = "The head of every dossier file."
    list_display = ["address", "head", "records", "actor", "at"]
    list_filter = [AgeFilter]
    list_select_related = ["actor"]
    search_fields = ["head"]
    search_phones = ["address"]
