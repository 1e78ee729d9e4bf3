"""The tenant itself, its members, its audit log; and the logins, for platform staff alone."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from tenants.actions import MemberChangeRefused, change_member, note, refuse_member_change
from tenants.admin.base import (
    KeysetAdmin,
    LogAdmin,
    TenantAdmin,
    actor_id,
    audit_of,
    tenant_of,
)
from tenants.admin.columns import NOTHING, chip_column
from tenants.admin.filters import AgeFilter
from tenants.admin.forms import TenantForm
from tenants.admin.search import by_words
from tenants.context import tenant_context
from tenants.models import PLATFORM_TENANT_ID, Actor, ApiAnswer, ApiKey, AuditEntry, Tenant, User


@admin.register(Tenant)
class OwnTenantAdmin(TenantAdmin):
    """The tenant that was entered, and no other: the table itself has no row-level security."""

    label = "This tenant"
    hint = "Name, zone, limits."
    change_role = "manage"
    list_display = ["name", "slug", "plan", "time_zone", "daily_send_limit"]
    search_fields = ["name"]
    readonly_fields = ["id", "slug", "plan", "is_canary", "created_at"]
    fieldsets = [
        (None, {"fields": ["name", "slug", "plan", "time_zone"]}),
        ("Sending", {"fields": ["daily_send_limit", "legal_start", "legal_end"]}),
        (
            "Call queue",
            {
                "fields": [
                    "gold_label_priority",
                    "email_priority",
                    "wants_call_priority",
                    "call_queue_threshold",
                ]
            },
        ),
        ("About", {"fields": ["id", "is_canary", "created_at"]}),
    ]

    def owner_of(self, record: Any) -> str:
        return record.pk

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows: QuerySet = KeysetAdmin.get_queryset(self, request)
        tenant = tenant_of(request)
        return rows.none() if tenant is None else rows.filter(pk=tenant.pk)


class ActorForm(TenantForm):
    """What the action would refuse is a mistake of the form."""

    acting: str | None = None

    class Meta:
        model = Actor
        fields = ["name", "role", "is_active"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            try:
                refuse_member_change(
                    self.instance,
                    role=cleaned["role"],
                    is_active=cleaned["is_active"],
                    actor_id=self.acting,
                )
            except MemberChangeRefused as refused:
                raise forms.ValidationError(str(refused)) from refused
        return cleaned


@admin.register(Actor)
class ActorAdmin(TenantAdmin):
    """Members, systems and visitors of the tenant; a member is never deleted, only let go."""

    label = "Members"
    hint = "People and systems that act here."
    form = ActorForm
    change_role = "manage"
    list_display = [
        "name",
        chip_column("role"),
        chip_column("kind", colors={}),
        "is_active",
        "email",
        "last_active_at",
        "expires_at",
    ]
    list_filter = ["role", "kind", "is_active"]
    search_fields = ["name", "email"]
    fields = ["name", "role", "is_active", "login", "email", "kind", "last_active_at", "expires_at"]
    readonly_fields = ["login", "email", "kind", "last_active_at", "expires_at"]

    @admin.display(description="Login")
    def login(self, actor: Actor) -> str:
        return actor.user.username if actor.user else NOTHING

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        fixed = isinstance(obj, Actor) and (obj.kind != "user" or obj.expires_at is not None)
        return not fixed and super().has_change_permission(request, obj)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.acting = actor_id(request)
        return form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        change_member(
            obj.pk,
            name=obj.name,
            role=obj.role,
            is_active=obj.is_active,
            actor_id=actor_id(request),
        )


@admin.register(AuditEntry)
class AuditEntryAdmin(LogAdmin):
    label = "Audit log"
    hint = "Who did what, and why."
    list_display = ["action", "actor", "object_kind", "object_id", "reason", "created_at"]
    list_filter = [AgeFilter]
    list_select_related = ["actor"]
    list_defer = ["before", "after"]
    search_fields = ["action", "object_id"]


@admin.register(ApiKey)
class ApiKeyAdmin(LogAdmin):
    """Keys are made and rotated on their own page, which shows each of them once."""

    label = "API keys"
    hint = "Programs that use the API; only hashes of their keys are kept."
    list_display = ["name", "hint", "actor", "last_used_at", "expires_at", "revoked_at"]
    list_select_related = ["actor"]
    list_defer = ["key_hash", "previous_hash"]
    search_fields = ["name"]
    replaced = {"key_hash": None, "previous_hash": None}


@admin.register(ApiAnswer)
class ApiAnswerAdmin(LogAdmin):
    label = "API answers"
    hint = "What repeated calls are answered again; for a day."
    list_display = ["idempotency_key", "api_key", "status", "created_at"]
    list_select_related = ["api_key"]
    list_defer = ["body"]
    search_fields = ["idempotency_key"]


@admin.register(User)
class UserAdmin(KeysetAdmin, DjangoUserAdmin):
    """Logins of all tenants; what a person may do is said by their actors, not here."""

    label = "Logins"
    hint = "Of all tenants; platform staff only."
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "first_name", "last_name", "email", "is_staff", "is_active"]
    list_filter = ["is_staff", "is_superuser", "is_active"]
    search_fields = ["username", "first_name", "last_name", "email"]
    filter_horizontal = ()
    add_fieldsets = [(None, {"fields": ["username", "password1", "password2"]})]
    readonly_fields = ["last_login", "date_joined"]
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        ("Person", {"fields": ["first_name", "last_name", "email"]}),
        ("Access", {"fields": ["is_active", "is_staff", "is_superuser"]}),
        ("Pages", {"fields": ["theme", "density", "shortcuts"]}),
        ("About", {"fields": ["last_login", "date_joined"]}),
    ]

    # Logins belong to no tenant: what happens to them stands in the platform's own audit log.
    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._note("user.created", request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._note("user.changed", request, obj, message)

    def _note(self, what: str, request: HttpRequest, obj: Any, message: Any) -> None:
        with tenant_context(PLATFORM_TENANT_ID):
            after = {"by": request.user.get_username(), "what": message}
            note(what, actor_id=None, subject=obj, after=after)

    def history_of(self, request: HttpRequest, record: Any) -> list[AuditEntry]:
        with tenant_context(PLATFORM_TENANT_ID):
            return audit_of(record, Tenant(pk=PLATFORM_TENANT_ID))

    def _is_platform(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.is_superuser

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._is_platform(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_platform(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._is_platform(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_platform(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # logins are switched off: rows of every tenant refer to them

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        term = search_term.strip()
        return (queryset.filter(by_words(self.search_fields, term)) if term else queryset), False
