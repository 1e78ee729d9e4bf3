"""Accounts with providers and the webhooks they send. Secrets go in and never come out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget

from integrations import admin_mappings, admin_records, admin_vendors  # noqa: F401  (register their pages)
from integrations.actions import create_endpoint
from integrations.actions_keys import (
    drop_previous_secret,
    keep_api_key,
    retire_endpoint,
    rotate_secret,
)
from integrations.addresses import normalize_address
from integrations.events import BadPayload
from integrations.models import (
    Integration,
    WebhookEndpoint,
    WebhookEvent,
    WebhookReceipt,
    WebhookRejection,
    WebhookWork,
    WorkEvent,
    hash_token,
)
from integrations.providers import provider_choices
from tenants.actions import note
from tenants.admin import (
    AgeFilter,
    LogAdmin,
    TenantAdmin,
    TenantForm,
    chip_column,
    id_link,
    visible_text,
)
from tenants.admin.base import actor_id, page_action

#: How long the old secret of a rotated pair may stay good.
GRACES = {
    "24": ("24 hours", timedelta(hours=24)),
    "168": ("7 days", timedelta(days=7)),
    "0": ("Not at all", None),
}
SECRETS = ["api_key", "secret", "previous_secret"]


def _write_only(label: str, hint: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        strip=True,
        max_length=4000,
        help_text=hint,
        widget=UnfoldAdminPasswordWidget(
            attrs={"autocomplete": "new-password"}, render_value=False
        ),
    )


class IntegrationForm(TenantForm):
    """Secrets have fields of their own, so that what is stored never reaches a page."""

    new_api_key = _write_only("API key", "Leave empty to keep the one that is stored.")
    new_secret = _write_only("Signing secret", "Leave empty to keep the one that is stored.")
    grace = forms.ChoiceField(
        label="The secret before stays good for",
        choices=[(key, words) for key, (words, _) in GRACES.items()],
        required=False,
        widget=UnfoldAdminSelectWidget,
    )

    class Meta:
        model = Integration
        fields = [
            "provider",
            "name",
            "enabled",
            "base_url",
            "account_id",
            "silence_minutes",
            "settings",
        ]


@admin.register(Integration)
class IntegrationAdmin(TenantAdmin):
    hint = "Accounts with providers, and their keys."
    form = IntegrationForm
    add_role = change_role = "manage"
    list_display = [
        "name",
        chip_column("provider", colors={}),
        "enabled",
        "base_url",
        "account_id",
        "created_at",
    ]
    list_filter = ["enabled"]
    list_defer = [*SECRETS, "settings"]
    search_fields = ["name", "account_id"]
    actions_submit_line = ["drop_old_secret"]
    readonly_fields = ["stored", "created_at"]
    _facts = IntegrationForm.Meta.fields

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        facts = (None, {"fields": self._facts})
        if not self._allows(request, "manage"):
            return [facts]
        keys = ["new_api_key", "new_secret"] + (["grace", "stored"] if obj else [])
        return [facts, ("Keys", {"fields": keys})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*self.readonly_fields, "provider"] if obj else list(self.readonly_fields)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "provider":
            return forms.ChoiceField(choices=provider_choices(), widget=UnfoldAdminSelectWidget)
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    @admin.display(description="Stored now")
    def stored(self, integration: Integration) -> str:
        """Say what is there, and nothing of its content."""
        found = []
        if integration.api_key:
            found.append("an API key")
        if integration.secret:
            found.append("a signing secret")
        if integration.previous_secret:
            until = integration.previous_valid_until
            words = f" until {until:%d %b %Y %H:%M} UTC" if until else ""
            found.append(f"the secret before{words}")
        return ", ".join(found).capitalize() or "Nothing"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        secret, api_key = form.cleaned_data["new_secret"], form.cleaned_data["new_api_key"]
        own = {"new_secret", "new_api_key", "grace"}
        form.changed_data[:] = [name for name in form.changed_data if name not in own]
        if not change:
            obj.secret, obj.api_key = secret, api_key
        super().save_model(request, obj, form, change)
        if change and secret:
            grace = GRACES.get(form.cleaned_data["grace"] or "24", GRACES["24"])[1]
            rotate_secret(obj, secret=secret, grace=grace, actor_id=actor_id(request))
        if change and api_key:
            keep_api_key(obj, api_key=api_key, actor_id=actor_id(request))
        if change and "integrations_integration_drop_old_secret" in request.POST:
            self.drop_old_secret(request, obj)

    @page_action("Drop the secret before")
    def drop_old_secret(self, request: HttpRequest, obj: Integration) -> None:
        drop_previous_secret(obj, actor_id=actor_id(request))
        self.message_user(request, "Only the current secret is accepted now.")

    def get_actions_submit_line(self, request: HttpRequest, object_id: Any) -> Any:
        found = super().get_actions_submit_line(request, object_id)
        record = self.get_object(request, unquote(object_id)) if object_id else None
        return found if record is not None and record.previous_secret else []


class EndpointForm(TenantForm):
    class Meta:
        model = WebhookEndpoint
        fields = ["integration", "signed", "our_number"]

    def clean_our_number(self) -> str:
        text = self.cleaned_data["our_number"].strip()
        try:
            return normalize_address(text) if text else ""
        except BadPayload as error:
            raise forms.ValidationError("Write it as +12025550142.") from error

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("signed") is False and not cleaned.get("our_number") and not self.errors:
            raise forms.ValidationError("An unsigned URL belongs to one of our numbers: say which.")
        self.instance.token_hash = hash_token(self.instance.token)
        return cleaned


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(TenantAdmin):
    """The URL is a secret: only those who manage keys see it, on the endpoint's own page."""

    label = "Webhook URLs"
    hint = "Addresses that providers post to."
    form = EndpointForm
    add_role = change_role = "manage"
    list_display = ["id", "integration", "signed", "our_number", "last_used_at", "retired_at"]
    list_filter = ["signed"]
    list_select_related = ["integration"]
    list_defer = ["token", *(f"integration__{name}" for name in SECRETS)]
    search_fields = ["id"]
    search_phones = ["our_number"]
    actions = ["retire"]
    actions_submit_line = ["retire_url"]
    fields = ["integration", "signed", "our_number"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is None:
            return ["integration", "signed", "our_number"]
        facts = ["integration", "signed", "our_number", "last_used_at", "retired_at", "created_at"]
        return ["address", *facts] if self._allows(request, "manage") else facts

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return self.get_fields(request, obj) if obj else []

    @admin.display(description="URL for the provider")
    def address(self, endpoint: WebhookEndpoint) -> SafeString:
        return format_html(
            '<span class="copy"><code id="endpoint-url" class="mono">{}</code>'
            '<button type="button" class="button" data-copy="endpoint-url">Copy</button></span>',
            endpoint.url,
        )

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        saves = {"show_save": object_id is None, "show_save_and_continue": object_id is None}
        return super().changeform_view(request, object_id, form_url, saves)

    def get_actions_submit_line(self, request: HttpRequest, object_id: Any) -> Any:
        found = super().get_actions_submit_line(request, object_id)
        record = self.get_object(request, unquote(object_id)) if object_id else None
        return found if record is not None and record.retired_at is None else []

    @page_action("Retire this URL", permissions=["change"])
    def retire_url(self, request: HttpRequest, obj: WebhookEndpoint) -> None:
        retire_endpoint(obj, actor_id=actor_id(request))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:  # a URL is made or retired, never edited
            if "integrations_webhookendpoint_retire_url" in request.POST:
                self.retire_url(request, obj)
            return
        made = create_endpoint(obj.integration, signed=obj.signed, our_number=obj.our_number)
        obj.__dict__.update(made.__dict__)
        note("endpoint.made", actor_id=actor_id(request), subject=made)

    @admin.action(description="Retire: answer 410 Gone", permissions=["change"])
    def retire(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        retired = sum(retire_endpoint(row, actor_id=actor_id(request)) for row in queryset)
        words = "URL is" if retired == 1 else "URLs are"
        self.message_user(request, f"{retired} {words} retired.", messages.INFO)


@admin.register(WebhookEvent)
class WebhookEventAdmin(LogAdmin):
    label = "Webhooks"
    hint = "What arrived, byte for byte."
    list_display = [
        "event_type",
        "source",
        chip_column("parse_state", "body"),
        chip_column("signature_state", "signature"),
        "lane",
        "received_at",
    ]
    list_filter = ["parse_state", AgeFilter]
    list_defer = ["body", "payload", "headers"]
    search_fields = ["event_type", "lane"]
    replaced = {"body": "raw_body", "attempt_token_hash": None}

    @admin.display(description="Body, as it arrived")
    def raw_body(self, event: WebhookEvent) -> SafeString | str:
        return visible_text(event.body)


@admin.register(WebhookReceipt)
class WebhookReceiptAdmin(LogAdmin):
    label = "Receipts"
    hint = "Proof of every delivery, kept for ever."
    list_display = [
        id_link("event", "integrations_webhookevent", "webhook"),
        "source",
        "received_at",
    ]
    list_display_links = None
    list_filter = [AgeFilter]
    list_defer = ["idem_key", "body_hash"]
    search_fields = ["event"]
    replaced = {"idem_key": "delivery_key", "body_hash": "body_digest"}

    @admin.display(description="Delivery key")
    def delivery_key(self, receipt: WebhookReceipt) -> str:
        return bytes(receipt.idem_key).hex()

    @admin.display(description="Body digest")
    def body_digest(self, receipt: WebhookReceipt) -> str:
        return bytes(receipt.body_hash).hex()


@admin.register(WebhookWork)
class WebhookWorkAdmin(LogAdmin):
    label = "Work"
    hint = "What is to be done with each webhook."
    list_display = [
        "seq",
        chip_column("state"),
        id_link("event", "integrations_webhookevent", "webhook"),
        "lane",
        "attempts",
        "available_at",
        "outcome",
        "processed_at",
    ]
    list_filter = ["state"]
    list_defer = ["last_error"]
    search_fields = ["seq"]
    search_phones = ["their_number"]


@admin.register(WorkEvent)
class WorkEventAdmin(LogAdmin):
    label = "Decisions"
    hint = "Work given up, released or replayed."
    list_display = ["what", "work", "actor", "reason", "created_at"]
    list_filter = [AgeFilter]
    list_select_related = ["actor"]
    search_fields = ["what"]


@admin.register(WebhookRejection)
class WebhookRejectionAdmin(LogAdmin):
    label = "Refused deliveries"
    hint = "A bounded sample."
    list_display = ["reason", "endpoint", "hour", "slot", "created_at"]
    list_filter = [AgeFilter]
    list_select_related = ["endpoint__integration"]
    list_defer = ["body", "headers", "endpoint__token"]
    search_fields = ["reason"]
    replaced = {"body": "raw_body"}

    @admin.display(description="Body, first 8 kB")
    def raw_body(self, rejection: WebhookRejection) -> SafeString | str:
        return visible_text(rejection.body)
