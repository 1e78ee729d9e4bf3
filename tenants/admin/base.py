"""Base classes of every admin: one tenant's rows only, roles instead of global permissions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, SuspiciousOperation, ValidationError
from django.core.paginator import Paginator
from django.db.models import Field, ForeignKey, Model, Q, QuerySet
from django.forms import Form, ModelChoiceField
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.text import capfirst
from unfold.admin import ModelAdmin
from unfold.decorators import action

from tenants.actions import remove_record, save_record
from tenants.admin.changelist import FirstPage, KeysetChangeList
from tenants.admin.columns import NOTHING
from tenants.admin.forms import TenantForm
from tenants.admin.search import by_id, by_phone, by_words
from tenants.constraints import AppendOnly, NoDelete
from tenants.models import Actor, AuditEntry, Tenant
from tenants.permissions import allows

Method = TypeVar("Method", bound=Callable[..., Any])

#: Names of primary keys, which are searched by equality.
KEYS = ("id", "event", "seq")
#: Lines of a record's history.
HISTORY = 100


def tenant_of(request: HttpRequest) -> Tenant | None:
    """Return the tenant that was entered, None outside of any."""
    return getattr(request, "tenant", None)


def actor_of(request: HttpRequest) -> Actor | None:
    """Return who acts in the tenant that was entered."""
    return getattr(request, "actor", None)


def page_action(
    description: str, *, url_path: str | None = None, permissions: list[str] | None = None
) -> Callable[[Method], Method]:
    """Turn a method into a button of a record's page; what it changes it changes on POST only."""
    decorator: Callable[[Method], Method] = action(
        description=description, url_path=url_path, permissions=permissions
    )
    return decorator


def actor_id(request: HttpRequest) -> str | None:
    actor = actor_of(request)
    return None if actor is None else actor.pk


def audit_of(record: Model, tenant: Tenant | None) -> list[AuditEntry]:
    """Return what the audit log of *tenant*, which was entered, says of a record."""
    entries = AuditEntry.objects.filter(
        tenant=tenant, object_kind=record._meta.model_name, object_id=str(record.pk)
    )
    return list(entries.select_related("actor").order_by("-id")[:HISTORY])


class KeysetAdmin(ModelAdmin):
    """Lists by key, 404 for what is not there, history from the audit log."""

    list_per_page = 50
    empty_value_display = NOTHING
    show_full_result_count = False
    list_disable_select_all = True
    list_filter_submit = False
    sortable_by: Any = ()
    compressed_fields = False
    actions_selection_counter = True
    #: Name of the list, and one line on what is in it.
    label = hint = ""
    #: Columns a list never reads: raw bodies, secrets.
    list_defer: Any = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return KeysetChangeList

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        title = self.label or capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def get_paginator(
        self, request: HttpRequest, queryset: Any, per_page: int, *args: Any, **kwargs: Any
    ) -> Paginator:
        return FirstPage(queryset, per_page, *args, **kwargs)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow the fields of the filters shown, not every column somebody can spell."""
        filters: Any = self.get_list_filter(request) if request else self.list_filter
        names = {getattr(item, "parameter_name", item) for item in filters}
        return lookup.split("__")[0] in names

    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: str
    ) -> HttpResponse:
        raise Http404(f"There is no such {opts.verbose_name}.")

    def found(self, request: HttpRequest, object_id: str) -> Any:
        """Return the record of a URL; one of another tenant, kind or none at all is a 404."""
        record = self.get_object(request, unquote(object_id))
        if record is None:
            raise Http404(f"There is no such {self.opts.verbose_name}.")
        return record

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        context = dict(extra_context or {})
        if object_id is not None:
            self.found(request, object_id)
            context.setdefault("show_save_and_add_another", False)
        return super().changeform_view(request, object_id, form_url, context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        self.found(request, object_id)
        return super().delete_view(request, object_id, extra_context)

    def response_action(self, request: HttpRequest, queryset: Any, *args: Any) -> Any:
        """Act on the rows that were ticked; a row that is not in this list is a 404."""
        if request.POST.get("select_across", "0") not in ("0", ""):
            raise SuspiciousOperation("Actions take the rows on the page, not all of them.")
        try:
            pk = self.opts.pk
            ticked = {pk.to_python(text) for text in request.POST.getlist(ACTION_CHECKBOX_NAME)}
        except ValidationError as error:
            raise Http404 from error
        if ticked and queryset.filter(pk__in=ticked).count() != len(ticked):
            raise Http404
        return super().response_action(request, queryset, *args)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> TemplateResponse:
        """Show what the tenant's audit log says of a record."""
        record = self.found(request, object_id)
        if not self.has_view_or_change_permission(request, record):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": str(record),
            "subtitle": "History",
            "entries": self.history_of(request, record),
            "object": record,
            "original": record,
            "opts": self.opts,
            "preserved_filters": self.get_preserved_filters(request),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/object_history.html", context)

    def history_of(self, request: HttpRequest, record: Any) -> list[AuditEntry]:
        return audit_of(record, tenant_of(request))

    # The audit log of the tenant takes the place of Django's, which knows no tenants.
    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any: ...
    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any: ...
    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any: ...


class TenantAdmin(KeysetAdmin):
    """Admin of a tenant's table: everybody in the tenant looks, some roles add or change.

    ``add_role`` and ``change_role`` name permissions of ``tenants.permissions``; None means
    nobody. Rows are deleted only where ``delete_role`` is set and the table allows it.
    """

    form = TenantForm
    view_role = "view"
    add_role: str | None = None
    change_role: str | None = None
    delete_role: str | None = None
    search_fields: Any = ("id",)
    #: Columns that hold phone numbers: searched in whatever format they are typed.
    search_phones: Any = ()
    #: What may be searched, where it does not follow from the two.
    search_hint = ""

    def __init__(self, model: type[Model], admin_site: Any) -> None:
        super().__init__(model, admin_site)
        self.search_help_text: str = self.search_hint or self._hint()

    def _hint(self) -> str:
        names = [name for name in self.search_fields if name not in KEYS]
        words = [name.replace("_", " ") for name in names[:1]]
        words += ["phone number"] if self.search_phones else []
        return capfirst(" or ".join([*words, "id"]))

    # --- who may ------------------------------------------------------------------------------
    def _allows(self, request: HttpRequest, role: str | None, obj: Any = None) -> bool:
        tenant = tenant_of(request)
        if tenant is None or role is None or not allows(actor_of(request), role):
            return False
        return not isinstance(obj, Model) or self.owner_of(obj) == tenant.pk

    def owner_of(self, record: Any) -> str:
        return record.tenant_id

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._allows(request, self.view_role)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._allows(request, self.view_role, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._allows(request, self.add_role)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._allows(request, self.change_role, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not self.keeps_rows() and self._allows(request, self.delete_role, obj)

    def has_reply_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._allows(request, "reply", obj)

    @classmethod
    def promises(cls, model: type[Model], kind: Any) -> bool:
        return any(isinstance(promise, kind) for promise in model._meta.constraints)

    def keeps_rows(self) -> bool:
        """Tell whether rows of this table are never deleted."""
        return self.promises(self.model, (AppendOnly, NoDelete)) or not self.opts.managed

    # --- which rows ---------------------------------------------------------------------------
    def get_queryset(self, request: HttpRequest) -> QuerySet:
        tenant = tenant_of(request)
        rows: QuerySet = super().get_queryset(request)
        return rows.none() if tenant is None else rows.filter(tenant=tenant)

    def formfield_for_foreignkey(
        self, db_field: ForeignKey, request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField | None:
        rows = db_field.related_model._default_manager.all()
        if any(field.name == "tenant" for field in rows.model._meta.concrete_fields):
            kwargs["queryset"] = self.pickable(
                db_field.name, rows.filter(tenant=tenant_of(request))
            )
        else:
            kwargs["queryset"] = rows.none()  # people and tenants are not picked from a list
        formfield: ModelChoiceField | None = super().formfield_for_foreignkey(
            db_field, request, **kwargs
        )
        if formfield is not None and db_field.name in self.get_autocomplete_fields(request):
            # Inside the page's main part, where screen readers look for it.
            formfield.widget.attrs["data-dropdown-parent"] = "#content"
        return formfield

    def pickable(self, name: str, rows: QuerySet) -> QuerySet:
        """Return those of *rows*, all of this tenant, that the field *name* offers."""
        return rows

    def formfield_for_dbfield(self, db_field: Field, request: HttpRequest, **kwargs: Any) -> Any:
        formfield = super().formfield_for_dbfield(db_field, request, **kwargs)
        for power in ("add", "change", "delete", "view"):
            if hasattr(getattr(formfield, "widget", None), f"can_{power}_related"):
                setattr(formfield.widget, f"can_{power}_related", False)
        return formfield

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(self.search_condition(term)), False

    def search_condition(self, term: str) -> Q:
        """Return what *term* asks for: an id, else a phone number, else how a name begins."""
        found = by_id(self.model, term)
        if found is None:
            found = by_phone(self.search_phones, term)
        if found is None:
            names = [name for name in self.search_fields if name not in KEYS]
            found = by_words(names, term)
        return found

    # --- writing ------------------------------------------------------------------------------
    def save_model(self, request: HttpRequest, obj: Any, form: Form, change: bool) -> None:
        save_record(obj, fields=form.changed_data, actor_id=actor_id(request), is_new=not change)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        remove_record(obj, actor_id=actor_id(request))


class LogAdmin(TenantAdmin):
    """Admin of a table that only the system writes: everything is shown, nothing can be changed."""

    #: Fields of the detail page that are drawn by a method or left out; all columns otherwise.
    replaced: dict[str, Any] = {}

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        hidden = {"tenant", "prev_seq", "moved_from", "proved_rev"}
        last = {self.opts.pk.name: 1, "created_at": 2}  # what it is comes before how it is called
        names = [f.name for f in self.opts.concrete_fields if f.name not in hidden]
        names.sort(key=lambda name: last.get(name, 0))
        shown = [self.replaced.get(name, name) for name in names]
        return [name for name in shown if name]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return self.get_fields(request, obj)
