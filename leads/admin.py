"""Leads and what hangs from them. State moves by actions only; history is only shown."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget

from leads import admin_lists, admin_people  # noqa: F401  (register their tables)
from leads.actions import MoveRefused, create_lead, move_lead
from leads.forms import ContactPointForm, LeadForm
from leads.models import (
    Consent,
    ConsentEvent,
    ContactPoint,
    Label,
    Lead,
    LeadEvent,
    LeadLabel,
    LeadTimer,
    LeadTransition,
    Redaction,
    Stage,
    Worker,
)
from leads.search import MOST, search
from leads.states import LeadState
from tenants.admin import (
    AgeFilter,
    LogAdmin,
    RowsFilter,
    TenantAdmin,
    chip_column,
    id_link,
    words_column,
)
from tenants.admin.base import actor_id, page_action, tenant_of
from tenants.admin.search import by_id

COLORS = ["slate", "blue", "teal", "violet", "orange", "cyan", "green", "amber", "red"]
#: Where a person may move a lead; suppression is recorded with its reason on the lead's page.
TARGETS = [state for state in LeadState if state not in (LeadState.NEW, LeadState.SUPPRESSED)]


def stage_choices() -> list[tuple[str, str]]:
    """Return the tenant's stages as (key, label), in their order."""
    return list(Stage.objects.order_by("position", "id").values_list("key", "label"))


def stages_of(request: HttpRequest) -> list[tuple[str, str]]:
    """Return the stages that the frame of the page reads anyhow, else ask for them."""
    known = getattr(request, "stages", None)
    return stage_choices() if known is None else known()


class StageFilter(RowsFilter):
    title = parameter_name = field = "stage"
    rows = staticmethod(stages_of)


@admin.register(Lead)
class LeadAdmin(TenantAdmin):
    hint = "People, properties and businesses to reach."
    form = LeadForm
    add_role = change_role = "configure"
    list_display = [
        "who",
        chip_column("state", colors={}),
        words_column("stage"),
        "city",
        "assigned_agent",
        "last_response_at",
        "created_at",
    ]
    list_filter = ["state", StageFilter, AgeFilter]
    list_select_related = ["assigned_agent"]
    search_fields = ["full_name", "first_name", "last_name", "company"]
    search_hint = "Name, phone, e-mail, street or any id"
    readonly_fields = [
        "state",
        "stage",
        "event_seq",
        "attempt_count",
        "last_attempt_at",
        "last_response_at",
        "superseded_at",
        "merged_into",
        "created_at",
    ]
    actions_detail = ["text_lead"]
    actions_row = ["text_lead"]
    _person = ["first_name", "last_name", "full_name", "company", "title"]
    _place = ["address_line1", "unit", "city", "region", "postal_code", "time_zone"]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            where = {"fields": ["phone", "email"]}
            return [
                (None, {"fields": self._person}),
                ("How to reach them", where),
                ("Address", {"fields": self._place}),
                ("Source", {"fields": ["source", "source_id"]}),
            ]
        return [
            (None, {"fields": self._person}),
            ("Address", {"fields": self._place}),
            ("Work", {"fields": ["assigned_agent", "paused_until"]}),
            ("State", {"fields": self.readonly_fields, "classes": ["collapse"]}),
        ]

    def pickable(self, name: str, rows: QuerySet) -> QuerySet:
        if name == "assigned_agent":
            return rows.filter(kind="user", is_active=True).order_by("name", "id")
        return rows

    def search_condition(self, term: str) -> Q:
        """Return the few leads that an index finds; without any, or for many, look at each."""
        hits = search(term) if by_id(Lead, term) is None else []
        if 0 < len(hits) < MOST:
            return Q(pk__in=[hit.lead_id for hit in hits])
        return super().search_condition(term)

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        fields = {name: getattr(obj, name) for name in form.cleaned_data if hasattr(obj, name)}
        made = create_lead(
            **{**fields, "id": obj.pk},
            phone=form.cleaned_data["phone"],
            email=form.cleaned_data["email"],
            actor_id=actor_id(request),
        )
        obj.__dict__.update(made.__dict__)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        found: dict[str, Any] = super().get_actions(request)
        if self.has_reply_permission(request):
            for state in TARGETS:
                name, words = f"move_{state}", f"Move to {state.label.lower()}"
                found[name] = (_mover(state), name, words)
        return found

    @admin.display(description="name")
    def who(self, lead: Lead) -> str:
        return lead.display_name

    @page_action("Text this lead", url_path="text", permissions=["reply"])
    def text_lead(self, request: HttpRequest, object_id: str) -> HttpResponse:
        lead = self.found(request, object_id)
        tenant = tenant_of(request)
        page = reverse("messaging:lead", args=[tenant.slug if tenant else "", lead.pk])
        return redirect(f"{page}#text")


def _mover(state: LeadState) -> Callable[..., None]:
    return partial(_move, state=state)


def _move(
    model_admin: LeadAdmin, request: HttpRequest, queryset: QuerySet[Lead], *, state: LeadState
) -> None:
    moved, refused = 0, []
    for lead in queryset:
        try:
            move_lead(lead.pk, to=state, actor_id=actor_id(request), payload={"from": "admin"})
            moved += 1
        except MoveRefused as refusal:
            refused.append(f"{lead}: {refusal}")
    for text in refused[:5]:
        model_admin.message_user(request, text, messages.ERROR)
    if len(refused) > 5:
        model_admin.message_user(request, f"And {len(refused) - 5} more.", messages.ERROR)
    if moved:
        words = "lead is" if moved == 1 else "leads are"
        model_admin.message_user(request, f"{moved} {words} now {state.label.lower()}.")


@admin.register(LeadEvent)
class LeadEventAdmin(LogAdmin):
    label = "Lead history"
    hint = "Every move and fact; never changed."
    list_display = [
        "kind",
        "lead",
        "seq",
        chip_column("from_state", "from", colors={}),
        chip_column("to_state", "to", colors={}),
        "actor",
        "at",
    ]
    list_filter = ["to_state", AgeFilter]
    list_select_related = ["lead", "actor"]
    list_defer = ["payload"]
    search_fields = ["kind"]


@admin.register(LeadTimer)
class LeadTimerAdmin(LogAdmin):
    label = "Timers"
    hint = "Checks of silent leads: due, fired, cancelled."
    list_display = ["kind", "lead", "armed_at", "fire_at", "fired_at", "cancelled_at", "attempts"]
    list_filter = ["kind", AgeFilter]
    list_select_related = ["lead"]
    list_defer = ["last_error"]


@admin.register(LeadTransition)
class LeadTransitionAdmin(LogAdmin):
    """The state machine: the same rows for every tenant, changed by migrations only."""

    label = "State machine"
    hint = "Legal moves from state to state."
    list_display = [
        chip_column("from_state", "from", colors={}),
        chip_column("to_state", "to", colors={}),
        "version",
    ]
    list_filter = ["from_state", "to_state"]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows = LeadTransition.objects.all()
        return rows if self.has_view_permission(request) else rows.none()


@admin.register(ContactPoint)
class ContactPointAdmin(TenantAdmin):
    hint = "Phone numbers and e-mail addresses."
    form = ContactPointForm
    add_role = change_role = "configure"
    list_display = [
        "normalized",
        chip_column("kind", colors={}),
        "lead",
        chip_column("line_type", colors={}),
        "is_primary",
        "wrong_number_at",
        "source",
    ]
    list_filter = ["kind", "line_type", "is_primary"]
    list_select_related = ["lead"]
    search_fields = ["normalized"]
    search_phones = ["normalized"]
    autocomplete_fields = ["lead"]
    fields = ["lead", "kind", "normalized", "line_type", "is_primary", "wrong_number_at", "source"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        # The number is what consent and threads hang from: another one is another row.
        return ["lead", "kind", "normalized", "source"] if obj else ["source", "wrong_number_at"]


@admin.register(Stage)
class StageAdmin(TenantAdmin):
    hint = "Inboxes and their bells."
    add_role = change_role = "configure"
    list_display = [
        "label",
        "key",
        "short_label",
        "position",
        "worker",
        "delay_days",
        "sla_minutes",
    ]
    list_select_related = ["worker"]
    search_fields = ["label", "key"]
    fields = [
        "key",
        "label",
        "short_label",
        "position",
        "worker",
        "delay_days",
        "sla_minutes",
        "aliases",
    ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["key"] if obj else []  # URLs, threads and leads know it


@admin.register(Worker)
class WorkerAdmin(TenantAdmin):
    hint = "Personas that text."
    add_role = change_role = "configure"
    list_display = ["name", "key", "created_at"]
    search_fields = ["name", "key"]
    fields = ["key", "name"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["key"] if obj else []


@admin.register(Label)
class LabelAdmin(TenantAdmin):
    hint = "Words that can be put on leads."
    add_role = change_role = delete_role = "configure"
    list_display = ["name", "kind", "key", "color", "created_at"]
    list_filter = ["kind"]
    search_fields = ["name", "key"]
    fields = ["kind", "key", "name", "color"]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "color":
            colors = [(color, color.capitalize()) for color in COLORS]
            return forms.ChoiceField(choices=colors, widget=UnfoldAdminSelectWidget)
        return super().formfield_for_dbfield(db_field, request, **kwargs)


@admin.register(LeadLabel)
class LeadLabelAdmin(TenantAdmin):
    label = "Labels on leads"
    hint = "Who has which label."
    add_role = delete_role = "configure"
    list_display = ["lead", "label", "source", "created_at"]
    list_filter = [AgeFilter]
    list_select_related = ["lead", "label"]
    autocomplete_fields = ["lead"]
    fields = ["lead", "label", "source"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["source"]


@admin.register(Consent)
class ConsentAdmin(LogAdmin):
    """Choices are recorded in the opt-out registry, with their proof."""

    hint = "What each person chose."
    list_display = ["address", chip_column("state"), "channel", "scope", "rev", "updated_at"]
    list_filter = ["state", "channel"]
    search_fields = ["address"]
    search_phones = ["address"]


@admin.register(ConsentEvent)
class ConsentEventAdmin(LogAdmin):
    label = "Consent history"
    hint = "Each choice with its proof."
    list_display = [
        "consent",
        chip_column("kind"),
        "source",
        "keyword",
        id_link("webhook_event", "integrations_webhookevent", "webhook"),
        "actor",
        "at",
    ]
    list_filter = ["kind", AgeFilter]
    list_select_related = ["consent", "actor"]
    search_fields = ["source", "keyword"]


@admin.register(Redaction)
class RedactionAdmin(LogAdmin):
    label = "Erased addresses"
    hint = "Who erased what, and why."
    list_display = ["digest", "reason", "actor", "at"]
    list_filter = [AgeFilter]
    list_select_related = ["actor"]
