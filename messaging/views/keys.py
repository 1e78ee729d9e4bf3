"""API keys of a tenant: made, rotated and revoked by tenant admins; each is shown once."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_GET, require_POST

from messaging.views.access import door, found
from tenants.apikeys import (
    MOST_PER_MINUTE,
    OVERLAPS,
    SCOPES,
    Issued,
    KeyRefused,
    make_key,
    revoke_key,
    rotate_key,
)
from tenants.context import database_now
from tenants.http import TenantRequest
from tenants.models import ApiKey

#: Keys of the page; a tenant has a handful.
MOST = 200


@require_GET
@door("manage")
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: the keys, when each was used last, and the form of a new one."""
    return _page(request)


def _page(
    request: TenantRequest, *, issued: Issued | None = None, note: str = "", status: int = 200
) -> HttpResponse:
    keys = list(ApiKey.objects.select_related("actor").order_by("-id")[:MOST])
    context = {
        "keys": keys,
        "now": database_now(),
        "scopes": SCOPES,
        "overlaps": OVERLAPS,
        "most_per_minute": MOST_PER_MINUTE,
        "issued": issued,
        "secret": str(issued.secret) if issued else "",
        "note": note,
        "form": request.POST if note else {},
        "chosen": request.POST.getlist("scope") if note else [],
    }
    answer = render(request, "leads/keys.html", context, status=status)
    answer["Cache-Control"] = "no-store"
    return answer


@require_POST
@door("manage")
def make(request: TenantRequest, slug: str) -> HttpResponse:
    """Make a key and show it, this once."""
    form = request.POST
    try:
        issued = make_key(
            name=form.get("name", ""),
            scopes=form.getlist("scope"),
            expires_at=_end_of(form.get("expires", "")),
            per_minute=_number(form.get("per_minute", "") or "600"),
            by_id=request.actor.pk,
        )
    except KeyRefused as refused:
        return _page(request, note=str(refused), status=422)
    return _page(request, issued=issued)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise KeyRefused("Calls a minute are a number.")
    return int(text)


def _end_of(text: str) -> datetime | None:
    if not text:
        return None
    try:
        day = parse_date(text)
    except ValueError:
        day = None
    if day is None or not 2000 <= day.year <= 2200:
        raise KeyRefused("Write the day of its end as 2030-12-31.")
    return timezone.make_aware(datetime.combine(day + timedelta(days=1), time.min))


@require_POST
@door("manage")
def act(request: TenantRequest, slug: str, key_id: str) -> HttpResponse:
    """Rotate a key, which shows the new one, or revoke it."""
    key = found(ApiKey.objects.all(), key_id)
    verb = request.POST.get("do", "")
    try:
        if verb == "rotate":
            hours = _number(request.POST.get("overlap", "") or "0")
            issued = rotate_key(key.pk, overlap_hours=hours, by_id=request.actor.pk)
            return _page(request, issued=issued)
        if verb == "revoke":
            revoke_key(key.pk, reason=request.POST.get("reason", "")[:500], by_id=request.actor.pk)
            messages.info(request, f"{key.name} is revoked: its next call is refused.")
            return redirect("messaging:keys", slug)
    except KeyRefused as refused:
        return _page(request, note=str(refused), status=422)
    raise Http404
