"""Field mappings, row by row; the page with the preview is in the tenant's own pages."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget

from integrations.actions_mappings import check_rows, remove_row, save_row
from integrations.mapping import Row
from integrations.models import FieldMapping
from integrations.modules import MODULES
from integrations.providers.custom import Custom
from tenants.admin import TenantAdmin, TenantForm
from tenants.admin.base import actor_id

TARGETS = {target.name: target.label for module in MODULES.values() for target in module.targets}


class FieldMappingForm(TenantForm):
    module = forms.ChoiceField(
        choices=[(name, module.label) for name, module in MODULES.items()],
        widget=UnfoldAdminSelectWidget,
    )
    target_field = forms.ChoiceField(
        label="Target", choices=list(TARGETS.items()), widget=UnfoldAdminSelectWidget
    )

    class Meta:
        model = FieldMapping
        fields = [
            "integration",
            "module",
            "position",
            "target_field",
            "source_path",
            "transform",
            "default",
            "required",
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "source_path" in self.fields:
            self.fields["source_path"].required = False

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        row = Row(
            target=cleaned["target_field"],
            source=cleaned["source_path"].strip(),
            transform=cleaned["transform"],
            default=cleaned["default"].strip(),
            required=cleaned["required"],
        )
        for words in check_rows(cleaned["module"], [row]).values():
            raise forms.ValidationError(words)
        return cleaned


@admin.register(FieldMapping)
class FieldMappingAdmin(TenantAdmin):
    label = "Field mappings"
    hint = "What the fields of custom webhooks mean."
    form = FieldMappingForm
    add_role = change_role = delete_role = "configure"
    list_display = [
        "target_field",
        "module",
        "integration",
        "source_path",
        "transform",
        "required",
        "preview",
    ]
    list_filter = ["required"]
    list_select_related = ["integration", "tenant"]
    list_defer = [
        f"integration__{name}" for name in ("api_key", "secret", "previous_secret", "settings")
    ]
    search_fields = ["target_field", "module", "source_path"]
    readonly_fields = ["preview"]
    fields = [*FieldMappingForm.Meta.fields, "preview"]

    def pickable(self, name: str, rows: QuerySet) -> QuerySet:
        return rows.filter(provider=Custom.name) if name == "integration" else rows

    @admin.display(description="With a preview")
    def preview(self, mapping: FieldMapping) -> SafeString | str:
        """Link the page that tries the whole mapping on a payload."""
        if not mapping.pk or not mapping.integration_id:
            return "After saving"
        try:
            page = reverse("messaging:mapping", args=[mapping.tenant.slug, mapping.integration_id])
        except NoReverseMatch:
            return ""
        return format_html('<a href="{}?module={}">Edit with preview</a>', page, mapping.module)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        save_row(obj, fields=form.changed_data, actor_id=actor_id(request), is_new=not change)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        remove_row(obj, actor_id=actor_id(request))
