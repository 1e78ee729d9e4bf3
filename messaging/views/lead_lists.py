"""Lists of leads: acting on many, and keeping filters under a name."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from leads.actions_leads import MOST_AT_ONCE, EditRefused, assign_leads, label_leads
from leads.actions_views import delete_view, rename_view, save_view
from leads.exports import export_leads
from leads.models import Label, SavedView
from leads.selections import (
    MOST,
    Selection,
    SelectionChanged,
    SelectionRefused,
    exactly,
    filter_query,
    leads_of,
    read_selection,
    select_matching,
    select_ticked,
)
from messaging.views.access import door, found
from messaging.views.leads import MOST_CHOICES, address_of
from messaging.views.money import offer
from tenants.context import database_now
from tenants.http import TenantRequest
from tenants.models import Actor
from tenants.permissions import WORDS, allows

#: What may be done with many leads → permission it needs.
ACTIONS = {"label": "reply", "assign": "reply", "enrich": "import", "export": "import"}
#: Leads of a selection that its page names.
NAMED = 10


@require_http_methods(["GET", "POST"])
@door("reply")
def selected(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: the leads that were ticked, or all that a filter lists, and what to do with them."""
    back = reverse("messaging:leads", args=[slug])
    asked = request.POST if request.method == "POST" else request.GET
    query = QueryDict(asked.get("query", "")) if request.method == "POST" else request.GET
    try:
        if request.method == "POST" and "all" not in asked:
            selection = select_ticked(asked.getlist("lead"))
        else:
            selection = select_matching(query)
    except SelectionRefused as error:
        messages.error(request, str(error))
        return redirect(f"{back}?{address_of(query)}")
    return _page(request, selection)


def _page(
    request: TenantRequest, selection: Selection, *, note: str = "", status: int = 200
) -> HttpResponse:
    agents = Actor.objects.filter(kind="user", is_active=True).order_by("name", "id")
    query = QueryDict(mutable=True)
    for name, values in selection.query.items():
        query.setlist(name, list(values))
    context = {
        "selection": selection,
        "signed": selection.sign(),
        "named": leads_of(selection).order_by("-id")[:NAMED] if selection.count else [],
        "most": MOST,
        "most_at_once": MOST_AT_ONCE,
        "labels": Label.objects.order_by("kind", "name")[:MOST_CHOICES],
        "kinds": Label.KINDS,
        "agents": agents[:MOST_CHOICES],
        "may_import": allows(request.actor, "import"),
        "address": query.urlencode(),
        "note": note,
    }
    return render(request, "leads/selected.html", context, status=status)


@require_POST
@door("reply")
def act(request: TenantRequest, slug: str) -> HttpResponse:
    """Do something with exactly the leads that were shown."""
    verb = request.POST.get("do", "")
    if verb not in ACTIONS:
        raise Http404
    if not allows(request.actor, ACTIONS[verb]):
        raise PermissionDenied(
            f"Your role may not {WORDS[ACTIONS[verb]]}. A tenant admin can grant it."
        )
    selection = read_selection(request.POST.get("selection", ""))
    back = reverse("messaging:leads", args=[slug])
    if selection is None:
        messages.error(request, "This form is too old. Select the leads again.")
        return redirect(back)
    try:
        return _do(request, verb, selection)
    except (SelectionRefused, EditRefused) as error:
        return _page(request, selection, note=str(error), status=422)
    except SelectionChanged as error:
        again = Selection(query=selection.query, ids=selection.ids)
        return _page(request, _now(again), note=str(error), status=409)


def _now(selection: Selection) -> Selection:
    ids = list(leads_of(selection).order_by("-id").values_list("pk", flat=True)[: MOST + 1])
    return Selection(
        query=selection.query,
        ids=ids if selection.ids else [],
        newest=ids[0] if ids else "",
        count=len(ids),
    )


def _do(request: TenantRequest, verb: str, selection: Selection) -> HttpResponse:
    rows = exactly(selection)
    me, form = request.actor.pk, request.POST
    if verb == "export":
        return _export(request, rows, selection)
    if verb == "enrich":
        return offer(request, list(rows.values_list("pk", flat=True)))
    if verb == "label":
        name = form.get("name", "") or form.get("known", "")
        kind = form.get("kind", "label")
        if not form.get("name") and form.get("known"):
            known = found(Label.objects.all(), form["known"])
            name, kind = known.name, known.kind
        ids = _few(rows, selection)
        added = label_leads(ids, name=name, kind=kind, actor_id=me)
        text = f"{added:,} of {selection.count:,} leads got the {kind}; the others bore it."
        text = text if added < selection.count else f"{added:,} leads got the {kind}."
    else:
        agent_id = form.get("agent") or None
        if agent_id is not None:
            agent_id = found(Actor.objects.filter(kind="user"), agent_id).pk
        moved = assign_leads(_few(rows, selection), agent_id=agent_id, actor_id=me)
        text = f"{moved:,} leads changed hands."
    messages.info(request, text)
    return redirect(
        f"{reverse('messaging:leads', args=[request.tenant.slug])}?{_address(selection)}"
    )


def _few(rows: Any, selection: Selection) -> list[str]:
    if selection.count > MOST_AT_ONCE:
        raise EditRefused(f"At most {MOST_AT_ONCE:,} leads at once: narrow the list.")
    return list(rows.values_list("pk", flat=True))


def _address(selection: Selection) -> str:
    query = QueryDict(mutable=True)
    for name, values in selection.query.items():
        query.setlist(name, list(values))
    return query.urlencode()


def _export(request: TenantRequest, rows: Any, selection: Selection) -> HttpResponse:
    pieces = export_leads(
        rows, tenant_id=request.tenant.pk, actor_id=request.actor.pk, what=_address(selection)
    )
    name = f"leads-{database_now():%Y-%m-%d}.csv"
    answer = StreamingHttpResponse(
        pieces,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
    return cast(HttpResponse, answer)


# --- saved lists --------------------------------------------------------------------------------


@require_POST
@door("view")
def view_save(request: TenantRequest, slug: str) -> HttpResponse:
    """Keep the filters of the list under a name, for oneself or everybody."""
    shared = request.POST.get("shared") == "on"
    if shared and not allows(request.actor, "configure"):
        raise PermissionDenied("Your role may not share lists. A tenant admin can grant it.")
    query = QueryDict(request.POST.get("query", "")[:4000])
    kept = filter_query(query) | {"sort": query.getlist("sort")}
    try:
        view = save_view(
            name=request.POST.get("name", ""), query=kept, shared=shared, actor=request.actor
        )
    except EditRefused as error:
        messages.error(request, str(error))
        return redirect(f"{reverse('messaging:leads', args=[slug])}?{address_of(query)}")
    messages.info(request, f"Saved as “{view.name}”.")
    return redirect("messaging:view", slug, view.pk)


@require_GET
@door("view")
def view(request: TenantRequest, slug: str, view_id: str) -> HttpResponse:
    """Redirect to the list that a saved view means now."""
    kept = _mine(request, view_id)
    query = QueryDict(mutable=True)
    stored: dict[str, Any] = kept.query
    for name, values in stored.items():
        if isinstance(values, list):
            query.setlist(name, [str(value) for value in values])
    address = address_of(query)
    return redirect(f"{reverse('messaging:leads', args=[slug])}?{address}&view={kept.pk}")


@require_POST
@door("view")
def view_change(request: TenantRequest, slug: str, view_id: str) -> HttpResponse:
    """Rename a saved list, or forget it."""
    kept = _mine(request, view_id)
    is_shared: bool = kept.actor_id is None
    if is_shared and not allows(request.actor, "configure"):
        raise PermissionDenied(
            "Your role may not change shared lists. A tenant admin can grant it."
        )
    if request.POST.get("do") == "delete":
        delete_view(kept, actor=request.actor)
        messages.info(request, f"“{kept.name}” is forgotten.")
        return redirect("messaging:leads", slug)
    try:
        rename_view(kept, name=request.POST.get("name", ""), actor=request.actor)
    except EditRefused as error:
        messages.error(request, str(error))
    return redirect("messaging:view", slug, kept.pk)


def _mine(request: TenantRequest, view_id: str) -> SavedView:
    """Return a saved list that the person may see: their own, or everybody's."""
    rows = SavedView.objects.filter(actor=None) | SavedView.objects.filter(actor=request.actor)
    return found(rows, view_id)
