"""The call queue, to look at; agents work it on their own page."""

from __future__ import annotations

from django.contrib import admin

from campaigns.models import CallItem
from tenants.admin import AgeFilter, LogAdmin, chip_column


@admin.register(CallItem)
class CallItemAdmin(LogAdmin):
    label = "Call queue"
    hint = "Who is to be called next."
    list_display = [
        "lead",
        "priority",
        chip_column("reason", colors={"gold": "amber"}),
        chip_column("status"),
        "agent",
        "attempts",
        "next_at",
    ]
    list_filter = ["status", "reason", AgeFilter]
    list_select_related = ["lead", "agent"]
