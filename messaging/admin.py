"""Numbers and who works which stage can be set; threads, texts and sends are only shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget

from integrations.addresses import normalize_address
from integrations.events import BadPayload
from leads.admin import StageFilter, stage_choices
from messaging.models import (
    Brand,
    BrandDay,
    Conversation,
    DailySend,
    Draft,
    LiveEvent,
    Message,
    Notification,
    NumberDay,
    OutboundMessage,
    PhoneNumber,
    ReadCursor,
    SendAttempt,
    SendOutcome,
    StageMembership,
)
from tenants.admin import (
    AgeFilter,
    LogAdmin,
    TenantAdmin,
    TenantForm,
    chip_column,
    id_link,
    plain,
    visible_text,
    words_column,
)

_SECRETS = [f"integration__{name}" for name in ("api_key", "secret", "previous_secret")]


class PhoneNumberForm(TenantForm):
    class Meta:
        model = PhoneNumber
        fields: list[str] = []

    def clean_number(self) -> str:
        try:
            return normalize_address(self.cleaned_data["number"])
        except BadPayload as error:
            raise forms.ValidationError("Write it as +12025550142.") from error

    def clean_daily_cap(self) -> int:
        cap: int = self.cleaned_data["daily_cap"]
        if cap < self.instance.sent_today:
            raise forms.ValidationError(f"{self.instance.sent_today} went out today already.")
        return cap

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name in ("rate_per_second", "burst"):
            if name in cleaned and cleaned[name] <= 0:
                self.add_error(name, "More than 0; set the status to Resting to pause a number.")
        return cleaned


@admin.register(PhoneNumber)
class PhoneNumberAdmin(TenantAdmin):
    hint = "Our numbers and their limits."
    form = PhoneNumberForm
    add_role = change_role = "configure"
    list_display = [
        "number",
        "label",
        chip_column("status"),
        "worker",
        "integration",
        "sent_today",
        "daily_cap",
        "rate_per_second",
    ]
    list_filter = ["status"]
    list_select_related = ["worker", "integration"]
    list_defer = _SECRETS
    search_fields = ["label"]
    search_phones = ["number"]
    _counters = [
        "tokens",
        "refilled_at",
        "throttled_until",
        "day",
        "sent_today",
        "resting_reason",
        "resting_until",
        "active_since",
        "created_at",
    ]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        limits = {"fields": ["status", "rate_per_second", "burst", "daily_cap"]}
        shown = [
            (None, {"fields": ["number", "label", "worker", "integration", "brand"]}),
            ("Limits", limits),
        ]
        return [*shown, ("Counters", {"fields": self._counters})] if obj else shown

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["number", *self._counters] if obj else self._counters


@admin.register(Brand)
class BrandAdmin(TenantAdmin):
    hint = "Senders as carriers vetted them."
    add_role = change_role = "configure"
    list_display = ["name", "external_id", "daily_segment_cap"]
    search_fields = ["name", "external_id"]
    fields = ["name", "external_id", "daily_segment_cap"]


@admin.register(StageMembership)
class StageMembershipAdmin(TenantAdmin):
    label = "Stage members"
    hint = "Who works which stage, who looks on."
    add_role = change_role = delete_role = "manage"
    list_display = [
        "actor",
        words_column("stage"),
        chip_column("role"),
        "muted_until",
        "sound",
        "desktop",
    ]
    list_filter = ["role", StageFilter]
    list_select_related = ["actor"]
    search_fields = ["id"]
    fields = ["actor", "stage", "role"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["actor", "stage"] if obj else []

    def pickable(self, name: str, rows: QuerySet) -> QuerySet:
        return rows.filter(kind="user", is_active=True).order_by("name", "id")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "stage":
            return forms.ChoiceField(choices=stage_choices, widget=UnfoldAdminSelectWidget)
        return super().formfield_for_dbfield(db_field, request, **kwargs)


@admin.register(Conversation)
class ConversationAdmin(LogAdmin):
    hint = "Threads between our numbers and theirs."
    list_display = [
        "their_number",
        "lead",
        words_column("stage"),
        chip_column("status"),
        "waiting_since",
        "last_message_at",
        "assigned_to",
        "our_number",
    ]
    list_filter = ["status", StageFilter, "band", AgeFilter]
    list_select_related = ["lead", "assigned_to"]
    search_phones = ["their_number", "our_number"]


@admin.register(Message)
class MessageAdmin(LogAdmin):
    hint = "Texts, in and out."
    list_display = [
        chip_column("direction", colors={"in": "teal", "out": "blue"}),
        "snippet",
        "sender",
        "recipient",
        chip_column("status", colors={"received": "slate", "delivered": "green", "failed": "red"}),
        "lead",
        "occurred_at",
    ]
    list_filter = ["direction", "status", AgeFilter]
    list_select_related = ["lead"]
    list_defer = ["media", "error"]
    search_phones = ["sender", "recipient"]
    replaced = {"body": "text"}

    @admin.display(description="text")
    def snippet(self, message: Message) -> str:
        return plain(message.body if len(message.body) <= 60 else f"{message.body[:59]}…")

    @admin.display(description="Text")
    def text(self, message: Message) -> SafeString | str:
        return visible_text(message.body)


@admin.register(OutboundMessage)
class OutboundMessageAdmin(LogAdmin):
    label = "Outbox"
    hint = "Each text that was to be sent, once."
    list_display = [
        "to_address",
        chip_column("purpose", colors={}),
        chip_column("state"),
        "attempt",
        "lead",
        "due_at",
        "updated_at",
    ]
    list_filter = ["state", "purpose", AgeFilter]
    list_select_related = ["lead"]
    list_defer = ["body", "verdict", "error"]
    search_phones = ["to_address"]
    replaced = {"body": "text"}

    @admin.display(description="Text")
    def text(self, outbound: OutboundMessage) -> SafeString | str:
        return visible_text(outbound.body)


@admin.register(SendAttempt)
class SendAttemptAdmin(LogAdmin):
    hint = "Calls to a provider."
    list_display = ["id", "outbound", "attempt", "consent_rev", "started_at"]
    list_filter = [AgeFilter]
    list_select_related = ["outbound"]
    list_defer = ["token_hash", "outbound__body", "outbound__verdict"]
    replaced = {"token_hash": None}


@admin.register(SendOutcome)
class SendOutcomeAdmin(LogAdmin):
    hint = "What was learnt about each attempt."
    list_display = [
        chip_column("kind"),
        chip_column("source", colors={}),
        "attempt",
        "http_status",
        "error_code",
        "latency_ms",
        "created_at",
    ]
    list_filter = ["kind", "source", AgeFilter]
    list_select_related = ["attempt"]
    list_defer = ["detail", "attempt__token_hash"]
    search_fields = ["provider_id"]


@admin.register(DailySend)
class DailySendAdmin(LogAdmin):
    hint = "Texts per day against the limit."
    list_display = ["day", "sent", "cap"]


@admin.register(BrandDay)
class BrandDayAdmin(LogAdmin):
    hint = "Segments per brand and Pacific day."
    list_display = ["day", "brand", "used", "cap"]
    list_select_related = ["brand"]


@admin.register(NumberDay)
class NumberDayAdmin(LogAdmin):
    hint = "What happened on each number, in parts to be added up."
    list_display = ["day", "phone_number", "sent", "delivered", "failed", "filtered", "opt_outs"]
    list_select_related = ["phone_number"]


@admin.register(Notification)
class NotificationAdmin(LogAdmin):
    hint = "Unread of each person."
    list_display = [
        "actor",
        words_column("stage"),
        "conversation",
        "count",
        "updated_at",
        "read_at",
    ]
    list_filter = [StageFilter, AgeFilter]
    list_select_related = ["actor", "conversation"]


@admin.register(ReadCursor)
class ReadCursorAdmin(LogAdmin):
    hint = "How far each person has read."
    list_display = ["actor", "conversation", "updated_at"]
    list_select_related = ["actor", "conversation"]


@admin.register(Draft)
class DraftAdmin(LogAdmin):
    hint = "Replies half written."
    list_display = ["conversation", "person", "updated_at"]
    list_select_related = ["actor", "conversation"]
    list_defer = ["body"]
    replaced = {"body": "text"}

    @admin.display(description="by")
    def person(self, draft: Draft) -> str:
        return str(draft.actor)

    @admin.display(description="Text")
    def text(self, draft: Draft) -> SafeString | str:
        return visible_text(draft.body)


@admin.register(LiveEvent)
class LiveEventAdmin(LogAdmin):
    label = "Live hints"
    hint = "Ids for open pages; kept two days."
    list_display = [
        "seq",
        chip_column("kind", colors={}),
        words_column("stage"),
        id_link("conversation", "messaging_conversation", "conversation"),
        "created_at",
    ]
    search_fields = ["seq"]
