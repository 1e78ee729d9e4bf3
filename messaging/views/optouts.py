"""The opt-out registry: check a number, record a choice, decide a hold, read the proof."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from integrations.addresses import normalize_address
from integrations.events import BadPayload
from leads.actions import Choice
from leads.models import Consent, ConsentEvent, ContactPoint, Lead
from messaging.actions import consent
from messaging.models import OutboundMessage
from messaging.views.access import door
from tenants.http import TenantRequest
from tenants.permissions import allows

PAGE = 50
STATES = {"opted_out": "Opted out", "held": "On hold", "opted_in": "Opted in"}
#: What is said after a decision.
WORDS = {
    "opt_out": "Recorded. Nobody can text this number any more.",
    "release": "The hold is released.",
    "opt_in": "Lifted, with your reason as the proof.",
}


@require_GET
@door("view")
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: recorded choices, newest first; ``?check=`` answers for one number."""
    check = request.GET.get("check", "").strip()
    if check:
        if address := read_address(check):
            return redirect("messaging:optout", slug, address)
        messages.error(request, f"“{check[:40]}” is no phone number.")
    state = request.GET.get("state", "")
    rows = _choices().filter(state=state) if state in STATES else _choices()
    if after := _parse(request.GET.get("after", "")):
        moment, pk = after
        rows = rows.filter(Q(updated_at__lt=moment) | Q(updated_at=moment, id__lt=pk))
    found = list(rows.order_by("-updated_at", "-id")[: PAGE + 1])
    last = found[PAGE - 1] if len(found) > PAGE else None
    context = {
        "choices": found[:PAGE],
        "state": state,
        "states": STATES,
        "after": f"{last.updated_at.isoformat()}~{last.pk}" if last else "",
        "first": not after,
        "may_add": allows(request.actor, "optout_add"),
    }
    return render(request, "messaging/optouts.html", context)


@require_GET
@door("view")
def optout(request: TenantRequest, slug: str, address: str) -> HttpResponse:
    """Page: what is recorded for one number, with its evidence."""
    number = read_address(address)
    if not number:
        raise Http404
    if number != address:
        return redirect("messaging:optout", slug, number)
    return render(request, "messaging/optout.html", number_page(request, number))


@require_POST
@door("optout_add")
def add(request: TenantRequest, slug: str) -> HttpResponse:
    """Record that somebody asked not to be texted."""
    address, reason = read_address(request.POST.get("address", "")), _reason(request)
    if not address or not reason:
        messages.error(request, "Give a phone number and the reason. Nothing was recorded.")
        return redirect("messaging:optouts", slug)
    actor = request.actor
    consent.opt_out(Choice(address=address, kind="opt_out", reason=reason, actor_id=actor.pk))
    messages.info(request, "Recorded. Nobody can text this number any more.")
    return redirect("messaging:optout", slug, address)


@require_POST
@door("optout_add")
def decide(request: TenantRequest, slug: str, address: str) -> HttpResponse:
    """Decide a hold (``opt_out`` or ``release``), or lift an opt-out (``opt_in``) with a proof."""
    number, reason = read_address(address), _reason(request)
    choice, actor = request.POST.get("choice", ""), request.actor
    if not number or choice not in ("opt_out", "release", "opt_in"):
        raise Http404
    if choice == "opt_in" and not allows(actor, "optout_lift"):
        raise PermissionDenied("Your role may not lift an opt-out. A tenant admin can grant it.")
    if not reason and choice != "release":
        context = number_page(request, number) | {"error": "Say why; the reason is kept as proof."}
        return render(request, "messaging/optout.html", context, status=422)
    try:
        _decide(number, choice, reason=reason, actor_id=actor.pk)
    except consent.ChoiceRefused as refused:
        messages.error(request, str(refused))
    else:
        messages.info(request, WORDS[choice])
    return redirect("messaging:optout", slug, number)


def _decide(number: str, choice: str, *, reason: str, actor_id: str) -> None:
    made = Choice(address=number, kind=choice, reason=reason, actor_id=actor_id)
    match choice:
        case "opt_out":
            consent.opt_out(made)
        case "opt_in":
            consent.opt_in(made)
        case "release":
            consent.release_hold(number, actor_id=actor_id, reason=reason)


def number_page(request: TenantRequest, number: str) -> dict[str, Any]:
    """Return what the page of one number shows."""
    slug, actor = request.tenant.slug, request.actor
    rows = list(Consent.objects.filter(address=number, channel="sms").order_by("scope"))
    base = next((row for row in rows if row.scope == ""), None)
    events = ConsentEvent.objects.filter(consent__in=rows).select_related("actor", "consent")
    points = ContactPoint.objects.filter(normalized=number).select_related("lead")[:10]
    blocked = OutboundMessage.objects.filter(to_address=number, state="suppressed")
    return {
        "number": number,
        "state": base.state if base else "unknown",
        "state_label": Consent.STATES[base.state if base else "unknown"],
        "rows": rows,
        "events": events.order_by("-at", "-rev")[:100],
        "leads": [point.lead for point in points],
        "blocked": blocked.count(),
        "may_add": allows(actor, "optout_add"),
        "may_lift": allows(actor, "optout_lift"),
        "decide_url": reverse("messaging:optout-decide", args=[slug, number]),
    }


def read_address(text: str) -> str:
    """Return a number as it is stored, or nothing when it is none."""
    try:
        return normalize_address(text)
    except BadPayload:
        return ""


def _reason(request: TenantRequest) -> str:
    return request.POST.get("reason", "").strip()[:500]


def _choices() -> QuerySet[Consent]:
    """Recorded choices with their newest event and a lead that has the number."""
    events = ConsentEvent.objects.filter(tenant=OuterRef("tenant"), consent=OuterRef("pk"))
    newest = events.order_by("-rev")[:1]
    leads = Lead.objects.filter(
        tenant=OuterRef("tenant"),
        contact_points__normalized=OuterRef("address"),
        superseded_at=None,
    ).order_by("id")[:1]
    return Consent.objects.exclude(state="unknown").annotate(
        source=Subquery(newest.values("source")),
        keyword=Subquery(newest.values("keyword")),
        reason=Subquery(newest.values("reason")),
        lead_id=Subquery(leads.values("id")),
        lead_name=Subquery(leads.values("full_name")),
    )


def _parse(after: str) -> tuple[datetime, str] | None:
    moment, _, pk = after.partition("~")
    try:
        Consent._meta.pk.to_python(pk)
        return datetime.fromisoformat(moment), pk
    except (ValueError, ValidationError):
        return None
