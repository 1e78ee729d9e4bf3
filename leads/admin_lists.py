"""Files that became leads, scores, merges and saved lists."""

from __future__ import annotations

from django.contrib import admin

from leads.models import (
    IdentityTurn,
    Import,
    ImportChange,
    ImportPart,
    ImportPreset,
    ImportRow,
    LeadScore,
    Merge,
    MergeReview,
    QualityScore,
    SavedView,
    ScoreRule,
)
from tenants.admin import AgeFilter, LogAdmin, chip_column


@admin.register(Import)
class ImportAdmin(LogAdmin):
    hint = "Files on their way to leads; they are worked on in the import wizard."
    list_display = [
        "name",
        chip_column("state"),
        "total",
        "created",
        "updated",
        "errors",
        "actor",
        "created_at",
    ]
    list_filter = ["state", AgeFilter]
    list_select_related = ["actor"]
    list_defer = ["header", "samples", "mapping", "options", "error"]
    search_fields = ["name"]


@admin.register(ImportPart)
class ImportPartAdmin(LogAdmin):
    label = "Pieces of files"
    hint = "Uploaded files, compressed, until they are no longer needed."
    list_display = ["imported", "number", "created_at"]
    list_select_related = ["imported"]
    list_defer = ["content"]
    replaced = {"content": None}


@admin.register(ImportRow)
class ImportRowAdmin(LogAdmin):
    label = "Rows set aside"
    hint = "Rows of files that did not simply become a lead, and why."
    list_display = ["imported", "row_no", chip_column("outcome"), "problem", "lead"]
    list_filter = ["outcome", AgeFilter]
    list_select_related = ["imported", "lead"]
    list_defer = ["raw"]


@admin.register(ImportChange)
class ImportChangeAdmin(LogAdmin):
    label = "Changes by files"
    hint = "What files changed of leads that were there before; an undo puts it back."
    list_display = ["imported", "lead", "row_no", "undone_at"]
    list_filter = [AgeFilter]
    list_select_related = ["imported", "lead"]
    list_defer = ["before", "after"]


@admin.register(ImportPreset)
class ImportPresetAdmin(LogAdmin):
    hint = "How columns of known files are read."
    list_display = ["name", "is_builtin", "used_at", "updated_at"]
    list_defer = ["mapping", "options"]
    search_fields = ["name"]


@admin.register(SavedView)
class SavedViewAdmin(LogAdmin):
    hint = "Filters of the leads list that somebody gave a name."
    list_display = ["name", "actor", "created_at"]
    list_select_related = ["actor"]
    search_fields = ["name"]


@admin.register(ScoreRule)
class ScoreRuleAdmin(LogAdmin):
    label = "Score rules"
    hint = "Versions of the formula; the newest is in force."
    list_display = [
        "version",
        "email",
        "phone",
        "parcel",
        "occupied",
        "demographics",
        "contactable_from",
        "enriched_from",
        "actor",
        "created_at",
    ]
    list_select_related = ["actor"]


@admin.register(IdentityTurn)
class IdentityTurnAdmin(LogAdmin):
    label = "Turns"
    hint = "Who writes leads in batches right now: one at a time."
    list_display = ["runner", "number", "created_at"]


@admin.register(LeadScore)
class LeadScoreAdmin(LogAdmin):
    label = "Scores"
    hint = "The score of each lead now, with its parts."
    list_display = ["lead", "score", chip_column("band", colors={}), "rule_version", "updated_at"]
    list_filter = ["band"]
    list_select_related = ["lead"]


@admin.register(QualityScore)
class QualityScoreAdmin(LogAdmin):
    label = "Score history"
    hint = "Every score a lead got."
    list_display = ["lead", "score", chip_column("band", colors={}), "rule_version", "created_at"]
    list_filter = ["band", AgeFilter]
    list_select_related = ["lead"]


@admin.register(Merge)
class MergeAdmin(LogAdmin):
    hint = "Leads that became one; a merge can be undone on the lead's page."
    list_display = ["survivor", "merged", "actor", "at", "undone_at"]
    list_filter = [AgeFilter]
    list_select_related = ["survivor", "merged", "actor"]
    list_defer = ["choices", "evidence", "before", "moved"]


@admin.register(MergeReview)
class MergeReviewAdmin(LogAdmin):
    label = "Merge reviews"
    hint = "Leads that may be one, and what people decided."
    list_display = ["left", "right", "score", "source", chip_column("status"), "decided_by"]
    list_filter = ["status", AgeFilter]
    list_select_related = ["left", "right", "decided_by"]
    list_defer = ["reasons", "incoming"]
