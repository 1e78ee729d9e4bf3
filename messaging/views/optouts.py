"""The opt-out registry: check a number, record a choice, decide a hold, read the proof."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from integrations.addresses import normalize_address
from integrations.events import BadPayload
from leads.actions import Choice
from leads.captures import normalize_email
from leads.models import Consent, ConsentEvent, ContactPoint
from messaging import consent_stats, registry
from messaging.actions import consent
from messaging.actions.acks import try_again
from messaging.business_days import business_days_until
from messaging.dossier import SHOWN, Dossier, dossier_of
from messaging.models import ConsentAck, DossierExport
from messaging.views.access import door, found
from tenants.http import TenantRequest
from tenants.permissions import allows

PAGE = 50
#: Held numbers shown above the list.
HOLDS = 10
ERASED = re.compile(r"erased:[0-9a-f]{24}")
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
    filters = registry.read_filters(request.GET)
    start = request.GET.get("after", "")
    rows = registry.with_details(registry.choices_of(filters))
    choices, after = registry.page_of(rows, start, PAGE)
    held = registry.with_details(Consent.objects.filter(state="held"))
    context = {
        "choices": choices,
        "filters": filters,
        "states": registry.STATES,
        "sources": registry.SOURCES,
        "channels": Consent.CHANNELS,
        "scopes": registry.SCOPES,
        "after": after,
        "first": not start,
        "holds": [] if filters or start else list(held.order_by("updated_at", "id")[:HOLDS]),
        "may_add": allows(request.actor, "optout_add"),
        "tab": "registry",
    }
    return render(request, "messaging/optouts.html", context)


@require_GET
@door("view")
def export(request: TenantRequest, slug: str) -> Any:
    """File: the registry as CSV, with the filters of the page."""
    answer = StreamingHttpResponse(
        registry.export_rows(request.tenant.pk, registry.read_filters(request.GET)),
        content_type="text/csv; charset=utf-8",
    )
    name = f"opt-outs-{slug}-{timezone.localdate()}.csv"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


@require_GET
@door("view")
def figures(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: how fast opt-outs count, and how good the reader of texts is."""
    context = {"speed": consent_stats.speed(), "reader": consent_stats.reader(), "tab": "figures"}
    return render(request, "messaging/optout_figures.html", context)


@require_GET
@door("view")
def optout(request: TenantRequest, slug: str, address: str) -> HttpResponse:
    """Page: what is recorded for one address, with its evidence."""
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
    if not is_number(address) or not reason:
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


@require_POST
@door("optout_lift")
def retry_ack(request: TenantRequest, slug: str) -> HttpResponse:
    """Have a connected system told of an opt-out again, at once."""
    waiting = ConsentAck.objects.filter(state__in=["pending", "failed"])
    ack = found(
        waiting.select_related("consent_event__consent", "integration"),
        request.POST.get("ack", ""),
    )
    try_again(ack.pk, actor_id=request.actor.pk)
    messages.info(request, f"{ack.integration.name} is told again now.")
    return redirect("messaging:optout", slug, ack.consent_event.consent.address)


def number_page(request: TenantRequest, number: str) -> dict[str, Any]:
    """Return what the page of one address shows: its dossier, and what may be done."""
    slug, actor = request.tenant.slug, request.actor
    dossier = dossier_of(number, most=SHOWN)
    base = next((row for row in dossier.consents if row.channel == "sms" and not row.scope), None)
    state = base.state if base else "unknown"
    if any(_lists(row) for row in dossier.consents):
        state = "opted_out"
    points = ContactPoint.objects.filter(normalized=number).select_related("lead")[:10]
    exports = DossierExport.objects.filter(address=dossier.known_as).select_related("actor")
    return {
        "number": number,
        "state": state,
        "state_label": Consent.STATES[state],
        "dossier": dossier,
        "entries": sorted(dossier.entries, key=lambda entry: entry.event.at, reverse=True),
        "since": _since(dossier, state),
        "clocks": _clocks(dossier),
        "leads": [point.lead for point in points],
        "exports": exports.order_by("-id")[:5],
        "may_add": allows(actor, "optout_add") and "@" not in number,
        "may_lift": allows(actor, "optout_lift"),
        "may_erase": allows(actor, "manage") and not dossier.is_erased and bool(base),
        "decide_url": reverse("messaging:optout-decide", args=[slug, number]),
        "tab": "registry",
    }


def _lists(row: Consent) -> bool:
    """Tell whether a suppression list blocks texts by this row."""
    is_live = row.expires_at is None or row.expires_at > timezone.now()
    is_listed = row.channel == "sms" and row.scope.startswith("list:") and is_live
    return is_listed and row.state == "opted_out"


def _since(dossier: Dossier, state: str) -> ConsentEvent | None:
    """Return the newest event that made *state* what it is."""
    made = [entry.event for entry in dossier.entries if entry.event.state == state]
    return max(made, key=lambda event: event.at, default=None)


def _clocks(dossier: Dossier) -> list[dict[str, Any]]:
    """Return each acknowledgement with its business days left; newest opt-out first."""
    today = timezone.localdate()
    clocks: list[dict[str, Any]] = []
    for entry in dossier.entries:
        for ack in entry.acks:
            left = business_days_until(
                today, timezone.localdate(ack.due_at - timedelta(microseconds=1))
            )
            is_open = ack.state in ("pending", "failed")
            late = is_open and (left < 0 or ack.state == "failed")
            clocks.append({"ack": ack, "event": entry.event, "left": left, "late": late})
    return sorted(clocks, key=lambda clock: clock["event"].at, reverse=True)


def read_address(text: str) -> str:
    """Return a number, an e-mail address or the hash of an erased one, as it is stored; else ""."""
    text = text.strip()
    if ERASED.fullmatch(text):
        return text
    if "@" in text and len(text) <= 320:
        return normalize_email(text) or ""
    try:
        return normalize_address(text)
    except BadPayload:
        return ""


def is_number(address: str) -> bool:
    """Tell whether texts can go to *address*."""
    return bool(address) and "@" not in address and not ERASED.fullmatch(address)


def _reason(request: TenantRequest) -> str:
    return request.POST.get("reason", "").strip()[:500]
