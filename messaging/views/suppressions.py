"""Suppression lists in the browser: file, check, confirm, progress, undo."""

from __future__ import annotations

import csv
import io
from datetime import date, datetime, time, timedelta
from typing import Any, BinaryIO, cast

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from leads.models import Consent
from messaging import registry
from messaging.actions import suppressions
from messaging.actions.suppressions import ListRefused
from messaging.models import SuppressionList
from messaging.suppression_files import UnreadableFile
from messaging.views.access import door, found
from tenants.http import TenantRequest
from tenants.permissions import allows

PAGE = 50
#: Rows with a problem that are shown; the reject file has all.
SHOWN = 50
#: Bytes a browser may send; larger files go through ``manage.py import_suppressions``.
MOST = 50 * 1024 * 1024


@require_GET
@door("view")
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: the lists, newest first, and the form that brings one."""
    return render(request, "messaging/suppressions.html", _lists_page(request))


def _lists_page(request: TenantRequest, **more: Any) -> dict[str, Any]:
    rows = SuppressionList.objects.select_related("actor").order_by("-id")
    if after := request.GET.get("after"):
        rows = rows.filter(id__lt=found(SuppressionList.objects.all(), after).pk)
    lists = list(rows[: PAGE + 1])
    return {
        "lists": lists[:PAGE],
        "after": lists[PAGE - 1].pk if len(lists) > PAGE else "",
        "channels": Consent.CHANNELS,
        "may_import": allows(request.actor, "import"),
        "tab": "lists",
        **more,
    }


def _refuse_others(request: TenantRequest) -> None:
    if not allows(request.actor, "import"):
        raise PermissionDenied("Your role may not import lists. A tenant admin can grant it.")


@require_POST
@door("view")
def add(request: TenantRequest, slug: str) -> HttpResponse:
    """Check a file; nobody is blocked by that yet."""
    _refuse_others(request)
    given, values = request.FILES.get("file"), request.POST
    channel = values.get("channel", "")
    try:
        if given is None or given.file is None or (given.size or 0) > MOST:
            raise ListRefused("Choose a file, of at most 50 MB.")
        made = suppressions.check_file(
            cast(BinaryIO, given.file),
            name=values.get("name", "") or given.name or "",
            source=values.get("source", ""),
            reason=values.get("reason", ""),
            channel=channel if channel in Consent.CHANNELS else "sms",
            expires_at=_end_of(values.get("expires", "")),
            file_name=given.name or "",
            actor_id=request.actor.pk,
        )
    except (ListRefused, UnreadableFile) as refused:
        context = _lists_page(request, error=str(refused), values=values)
        return render(request, "messaging/suppressions.html", context, status=422)
    return redirect("messaging:suppression", slug, made.pk)


def _end_of(text: str) -> datetime | None:
    """Return the end of the day that was typed, on the tenant's clock."""
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise ListRefused("The last day is no date.") from error
    return timezone.make_aware(datetime.combine(day + timedelta(days=1), time()))


@require_GET
@door("view")
def one(request: TenantRequest, slug: str, list_id: str) -> HttpResponse:
    """Page: what a list would do, does, or did."""
    shown = found(SuppressionList.objects.select_related("actor", "run"), list_id)
    context = {
        "list": shown,
        "problems": suppressions.problems_of(shown, most=SHOWN),
        "may_import": allows(request.actor, "import"),
        "tab": "lists",
    }
    return render(request, "messaging/suppression.html", context)


@require_GET
@door("view")
def progress(request: TenantRequest, slug: str, list_id: str) -> HttpResponse:
    """Fragment: how far a list has come."""
    context = {"list": found(SuppressionList.objects.all(), list_id)}
    return render(request, "messaging/_suppression_progress.html", context)


@require_POST
@door("view")
def act(request: TenantRequest, slug: str, list_id: str) -> HttpResponse:
    """Apply, stop, undo or discard a list: ``do`` says which."""
    shown = found(SuppressionList.objects.all(), list_id)
    _refuse_others(request)
    who, reason = request.actor.pk, request.POST.get("reason", "")
    try:
        match request.POST.get("do", ""):
            case "apply":
                suppressions.apply_list(shown.pk, actor_id=who)
            case "stop":
                suppressions.stop(shown.pk, actor_id=who)
            case "undo":
                suppressions.undo(shown.pk, reason=reason, actor_id=who)
            case "discard":
                suppressions.discard(shown.pk, actor_id=who)
    except ListRefused as refused:
        messages.error(request, str(refused))
    return redirect("messaging:suppression", slug, shown.pk)


@require_GET
@door("view")
def rejects(request: TenantRequest, slug: str, list_id: str) -> HttpResponse:
    """File: the rows that were not taken, each with its line and why."""
    shown = found(SuppressionList.objects.all(), list_id)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["line", "value", "problem"])
    for line, value, problem in suppressions.problems_of(shown):
        writer.writerow([line, registry.plain(value), problem])
    answer = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="rejects-{shown.pk}.csv"'
    return answer
