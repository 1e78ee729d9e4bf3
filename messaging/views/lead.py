"""Everything about one lead: its page with a tab per question, and its story."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET

from leads.households import sharing
from leads.models import Consent, Lead, MergeReview, Stage
from messaging.models import Conversation, PhoneNumber
from messaging.views import lead_tabs
from messaging.views.access import door, found
from messaging.views.gate import first_text_at
from messaging.views.pane import (
    about_lead,
    lead_context,
    lead_time,
    most_segments,
    new_send_key,
)
from messaging.views.shell import counted
from messaging.views.story import KINDS, story_of
from tenants.http import TenantRequest
from tenants.permissions import allows

#: Tab → how people read it.
TABS = {
    "overview": "Overview",
    "reach": "Contact points",
    "score": "Score",
    "records": "Records",
    "origin": "Origin",
    "enrichment": "Enrichment",
}


@require_GET
@door("view")
def lead(request: TenantRequest, slug: str, lead_id: str) -> HttpResponse:
    """Page: one lead; ``?tab=`` says which side of it. A merged one leads to its survivor."""
    one = found(leads_for_page(), lead_id)
    if one.merged_into_id:
        messages.info(request, f"{one.display_name} became part of this lead.")
        return redirect("messaging:lead", slug, one.merged_into_id)
    tab = request.GET.get("tab", "overview")
    if tab not in TABS:
        raise Http404
    if tab == "overview":
        return render(request, "leads/lead.html", lead_page(request, one))
    context = {**_frame(request, one, tab), **getattr(lead_tabs, tab)(request, one)}
    return render(request, f"leads/lead_{tab}.html", context)


#: What a side reads after it is shown, as fragments of their own.
PARTS = {"cards", "kin"}


@require_GET
@door("view")
def part(request: TenantRequest, slug: str, lead_id: str) -> HttpResponse:
    """Fragment: a heavy part of a side."""
    one = found(Lead.objects.all(), lead_id)
    name = request.GET.get("part", "kin")
    if name not in PARTS:
        raise Http404
    context = {"tenant_slug": slug, "lead": one, **getattr(lead_tabs, name)(request, one)}
    return render(request, f"leads/_{name}.html", context)


@require_GET
@door("view")
def story(request: TenantRequest, slug: str, lead_id: str) -> HttpResponse:
    """Fragment: what happened to a lead, of the kinds that were asked for, before a moment."""
    one = found(Lead.objects.only("id"), lead_id)
    kinds = [kind for kind in request.GET.getlist("kind") if kind in KINDS]
    try:
        told = story_of(one, kinds=kinds, before=request.GET.get("before", ""))
    except ValueError as error:
        raise Http404 from error
    context = {"tenant_slug": slug, "lead": one, "story": told, "me": request.actor}
    return render(request, "leads/_story.html", context)


def leads_for_page() -> QuerySet[Lead]:
    """Leads with what their page shows."""
    return Lead.objects.select_related("assigned_agent", "merged_into").annotate(**about_lead("pk"))


def _frame(request: TenantRequest, one: Lead, tab: str) -> dict[str, Any]:
    """Return what every tab of a lead shows around its own."""
    labels = {bell.key: bell.label for bell in counted(request)[0]}
    slug = request.tenant.slug
    return {
        "tenant_slug": slug,
        "lead": one,
        "tab": tab,
        "tabs": TABS,
        "stage_label": labels.get(one.stage, one.stage),
        "stage_labels": labels,
        "may_reply": allows(request.actor, "reply"),
        "may_import": allows(request.actor, "import"),
        "duplicates": open_duplicates(one),
    }


def open_duplicates(one: Lead) -> int:
    """Return how many questions are open whether this lead is another one, at most ten."""
    left = MergeReview.objects.filter(status="open", left=one)
    right = MergeReview.objects.filter(status="open", right=one)
    return len(left.values("pk").union(right.values("pk"), all=True)[:10])


def lead_page(request: TenantRequest, one: Lead, **more: Any) -> dict[str, Any]:
    """Return the context of a lead's overview; *more* carries a refused first text."""
    slug, actor = request.tenant.slug, request.actor
    clock, zone = lead_time(one.time_zone)
    conversations = list(
        Conversation.objects.filter(lead=one)
        .select_related("phone_number__worker")
        .order_by("-last_message_at", "-id")[:20]
    )
    panels = lead_context(one, one)
    phones = [p for p in panels["points"] if p["kind"] == "phone"]
    out = _opted_out([p["value"] for p in phones])
    usable = [p for p in phones if not p["wrong"] and p["value"] not in out]
    tenant = request.tenant
    return {
        **_frame(request, one, "overview"),
        "me": actor,
        "phones": usable,
        "households": sharing((p["value"] for p in usable), but=one.pk),
        "opted_out": [p for p in phones if p["value"] in out],
        "send_at": first_text_at(one, usable[0]["value"], tenant) if usable else "",
        "stage_worker_id": Stage.objects.filter(key=one.stage)
        .values_list("worker_id", flat=True)
        .first(),
        "lead_clock": clock,
        "lead_zone": zone,
        "conversations": conversations,
        "story": story_of(one, quick=True),
        "story_kinds": KINDS,
        "numbers": PhoneNumber.objects.filter(status="active")
        .select_related("worker")
        .order_by("number"),
        "urls": {
            "state": reverse("messaging:lead-state", args=[slug, one.pk]),
            "text": reverse("messaging:lead-text", args=[slug, one.pk]),
        },
        "send_key": new_send_key(),
        "max_segments": most_segments(tenant),
        **panels,
        **more,
    }


def _opted_out(addresses: list[str]) -> set[str]:
    rows = Consent.objects.filter(channel="sms", scope="", state="opted_out", address__in=addresses)
    return set(rows.values_list("address", flat=True))
