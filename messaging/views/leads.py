"""Leads: the list with its filters, and the moves of one lead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from leads.filters import SORTS, LeadFilters
from leads.listing import BadPlace, Page, capped_count, filters_of, page_of, with_columns
from leads.models import Label, Lead, SavedView
from leads.search import SHORTEST
from leads.selections import filter_query
from messaging.views.access import door, found
from messaging.views.actions import move
from messaging.views.go import GO_KINDS
from messaging.views.shell import counted
from tenants.http import TenantRequest
from tenants.models import Actor
from tenants.permissions import allows

#: Filters as the form groups them; ``q`` stands apart.
GROUPS = (
    ("Work", ("state", "stage", "agent", "unassigned", "not_contacted_since", "suppressed")),
    ("Quality", ("band", "score_min", "score_max", "label", "duplicates")),
    ("Reach", ("has_phone", "has_mobile", "has_email")),
    ("Place", ("city", "region", "zip", "owner_occupied")),
    ("Money", ("equity_min", "equity_max", "value_min", "value_max")),
    ("Origin", ("source", "run", "created_from", "created_to", "seen_from", "seen_to")),
)
#: Choices of a select are read up to this many.
MOST_CHOICES = 200


@require_GET
@door("view")
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: leads by filters, newest or best first, or those that words name."""
    words = request.GET.get("q", "").strip()
    if "\x00" in words:
        raise BadRequest("What is searched for has a character that is no text.")
    if words.partition("_")[0] in GO_KINDS and "_" in words:
        return redirect("messaging:go", slug, words[:80])
    filters = filters_of(request.GET)
    sort = request.GET.get("sort", "newest")
    of_one_band = len(request.GET.getlist("band")) == 1
    if sort not in SORTS or not of_one_band:
        sort = "newest"  # the index has the best of each band, not of all
    page = _page(request, filters, sort)
    bells = counted(request)[0]
    stages = {bell.key: bell.short_label for bell in bells}
    query = filter_query(request.GET)
    context = {
        "page": page,
        "words": words,
        "too_short": 0 < len(words) < SHORTEST,
        "hits": filters.hits,
        "groups": list(_groups(filters, stages)),
        "form": filters.form,
        "narrowed": bool(query),
        "open": bool(set(query) - {"q"}) or not filters.is_valid(),
        "sort": sort,
        "sorts": SORTS if of_one_band else {"newest": SORTS["newest"]},
        "address": address_of(request.GET),
        "stages": stages,
        "views": saved_views(request.actor),
        "view": request.GET.get("view", ""),
        "may_act": allows(request.actor, "reply"),
        "may_share": allows(request.actor, "configure"),
    }
    return render(request, "leads/index.html", context)


def _page(request: TenantRequest, filters: LeadFilters, sort: str) -> Page:
    if not filters.is_valid():
        return Page(rows=[])
    rows = with_columns(filters.qs)
    if filters.hits is not None:  # few, and the surest find first
        places = filters.hits
        return Page(rows=sorted(rows, key=lambda lead: places[lead.pk][0]))
    try:
        return page_of(
            rows,
            sort=sort,
            after=request.GET.get("after", ""),
            before=request.GET.get("before", ""),
        )
    except BadPlace as error:
        raise Http404 from error


def address_of(query: QueryDict) -> str:
    """Return the filters and sort of a list as they stand in an address, without its place."""
    kept = QueryDict(mutable=True)
    for name, values in {**filter_query(query), "sort": query.getlist("sort")}.items():
        kept.setlist(name, [value for value in values if value])
    return kept.urlencode()


def _groups(filters: LeadFilters, stages: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the groups of the form: title, fields, and whether one of them is used."""
    fields = filters.form.fields
    labels = Label.objects.order_by("kind", "name").values_list("key", "name")[:MOST_CHOICES]
    agents = Actor.objects.filter(kind="user", is_active=True).order_by("name", "id")
    choices = {
        "stage": list(stages.items()),
        "label": list(dict(labels).items()),
        "agent": list(agents.values_list("pk", "name")[:MOST_CHOICES]),
    }
    for name, options in choices.items():
        fields[name].widget = forms.Select(choices=[("", "Any"), *options])
    for name in ("state", "band"):
        fields[name].widget = forms.SelectMultiple(
            choices=list(filters.filters[name].extra["choices"]), attrs={"size": 4}
        )
    for name, field in fields.items():
        field.widget.attrs.setdefault("class", "input")
        field.widget.attrs["id"] = f"filter-{name}"
        if isinstance(field, forms.ChoiceField) and not isinstance(
            field, forms.MultipleChoiceField
        ):
            field.widget.choices = [("", "Any"), *filters.filters[name].extra["choices"]]
    for title, names in GROUPS:
        yield {
            "title": title,
            "fields": [filters.form[name] for name in names],
            "used": any(filters.form.data.getlist(name) != [] for name in names),
        }


def saved_views(actor: Actor) -> list[SavedView]:
    """Return the saved lists of a person and those of everybody, by name."""
    return list(
        (SavedView.objects.filter(actor=None) | SavedView.objects.filter(actor=actor)).order_by(
            "name", "id"
        )[:100]
    )


@require_GET
@door("view")
def count(request: TenantRequest, slug: str) -> HttpResponse:
    """Fragment: how many leads match, as far as anybody wants to know."""
    filters = filters_of(request.GET)
    many = capped_count(filters.qs) if filters.is_valid() else 0
    return render(request, "leads/_count.html", {"many": many})


@require_POST
@door("reply")
def state(request: TenantRequest, slug: str, lead_id: str) -> HttpResponse:
    """Move a lead to a legal next state."""
    one = found(Lead.objects.all(), lead_id)
    text, kind = move(request, one.pk, request.POST.get("to", ""))
    messages.add_message(request, messages.ERROR if kind == "error" else messages.INFO, text)
    return redirect("messaging:lead", slug, one.pk)
