"""Leads: the list to look somebody up, and everything about one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.expressions import Combinable
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from leads.households import sharing
from leads.merging import family_of
from leads.models import Consent, ContactPoint, Lead, LeadEvent, Stage
from messaging import thread
from messaging.models import Conversation, Message, PhoneNumber
from messaging.views.access import door, found
from messaging.views.actions import move
from messaging.views.gate import first_text_at
from messaging.views.pane import (
    about_lead,
    lead_context,
    lead_time,
    most_segments,
    new_send_key,
)
from messaging.views.shell import counted
from tenants.http import TenantRequest
from tenants.permissions import allows

PAGE = 50
#: Shorter words match too much to be looked for inside names.
SHORTEST = 2
#: Lines of a lead's timeline on its page.
TIMELINE = 100


@require_GET
@door("view")
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: leads, newest first, or those that match a name, number or address."""
    query = request.GET.get("q", "").strip()[:80]
    if query.startswith(("lead_", "conv_", "msg_", "wh_")):
        return redirect("messaging:go", slug, query)
    phone = ContactPoint.objects.filter(
        tenant=OuterRef("tenant"), lead=OuterRef("pk"), kind="phone"
    ).order_by("-is_primary", "id")
    rows = Lead.objects.filter(superseded_at=None).annotate(
        phone=Subquery(phone.values("normalized")[:1])
    )
    if len(query) >= SHORTEST:
        rows = rows.filter(_matches(query))
    if after := request.GET.get("after", ""):
        rows = rows.filter(id__lt=_id(after))
    leads = list(rows.order_by("-id")[: PAGE + 1])
    context = {
        "leads": leads[:PAGE],
        "query": query,
        "after": leads[PAGE - 1].pk if len(leads) > PAGE else "",
        "first": not after,
        "too_short": 0 < len(query) < SHORTEST,
        "labels": {bell.key: bell.short_label for bell in counted(request)[0]},
    }
    return render(request, "leads/index.html", context)


def _matches(query: str) -> Q | Combinable:
    """Match names and streets by any part, contact points by their ends."""
    match = Q(full_name__icontains=query) | Q(first_name__icontains=query)
    match |= Q(last_name__icontains=query) | Q(company__icontains=query)
    match |= Q(address_line1__icontains=query)
    points = ContactPoint.objects.filter(tenant=OuterRef("tenant"), lead=OuterRef("pk"))
    digits = "".join(filter(str.isdigit, query))
    if "@" in query:
        return match | Exists(points.filter(kind="email", normalized=query.lower()))
    if len(digits) >= 3:
        return match | Exists(points.filter(kind="phone", normalized__endswith=digits))
    return match


def _id(text: str) -> str | None:
    try:
        return Lead._meta.pk.to_python(text)
    except ValidationError:
        return None


@require_GET
@door("view")
def lead(request: TenantRequest, slug: str, lead_id: str) -> HttpResponse:
    """Page: one lead with its conversations, timeline, contact points, timers and consent."""
    one = found(leads_for_page(), lead_id)
    if one.merged_into_id:
        return redirect("messaging:lead", slug, one.merged_into_id)
    return render(request, "leads/lead.html", lead_page(request, one))


@require_POST
@door("reply")
def state(request: TenantRequest, slug: str, lead_id: str) -> HttpResponse:
    """Move a lead to a legal next state."""
    one = found(Lead.objects.all(), lead_id)
    text, kind = move(request, one.pk, request.POST.get("to", ""))
    return _told(request, text, kind, one)


def _told(request: TenantRequest, text: str, kind: str, one: Lead) -> HttpResponse:
    messages.add_message(request, messages.ERROR if kind == "error" else messages.INFO, text)
    return redirect("messaging:lead", request.tenant.slug, one.pk)


def lead_page(request: TenantRequest, one: Lead, **more: Any) -> dict[str, Any]:
    """Return the context of a lead's page; *more* carries a refused first text."""
    slug, actor = request.tenant.slug, request.actor
    clock, zone = lead_time(one.time_zone)
    labels = {bell.key: bell.label for bell in counted(request)[0]}
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
        "tenant_slug": slug,
        "me": actor,
        "lead": one,
        "phones": usable,
        "households": sharing((p["value"] for p in usable), but=one.pk),
        "opted_out": [p for p in phones if p["value"] in out],
        "send_at": first_text_at(one, usable[0]["value"], tenant) if usable else "",
        "stage_worker_id": Stage.objects.filter(key=one.stage)
        .values_list("worker_id", flat=True)
        .first(),
        "lead_clock": clock,
        "lead_zone": zone,
        "stage_label": labels.get(one.stage, one.stage),
        "stage_labels": labels,
        "may_reply": allows(actor, "reply"),
        "conversations": conversations,
        "timeline": timeline(one),
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


def timeline(one: Lead) -> list[dict[str, Any]]:
    """Return what happened to a lead, newest first: messages, moves and facts."""
    texts = Message.objects.filter(lead=one).select_related("actor").order_by("-id")[:TIMELINE]
    events = (
        LeadEvent.objects.filter(lead__in=family_of(one.pk))
        .select_related("actor")
        .order_by("-at", "-seq")[:TIMELINE]
    )
    lines: Iterable[dict[str, Any]] = chain(
        ({"at": message.occurred_at, "message": message} for message in texts),
        (
            {"at": event.at, "event": event, "text": thread.fact(event)}
            for event in events
            if thread.is_told(event)
        ),
    )
    return sorted(lines, key=lambda line: line["at"], reverse=True)[:TIMELINE]


def leads_for_page() -> QuerySet[Lead]:
    """Leads with what their page shows."""
    return Lead.objects.select_related("assigned_agent", "merged_into").annotate(**about_lead("pk"))
