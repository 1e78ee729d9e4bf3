"""What is wrong right now, and what was."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from messaging.views.access import door
from messaging.views.shell import MOST_TROUBLE
from pipelines.models import Incident
from tenants.http import TenantRequest

PAGE = 50


@require_GET
@door("view")
def incidents(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: open incidents, worst first, then those that ended, newest first."""
    ended = Incident.objects.exclude(closed_at=None).order_by("-id")
    if after := request.GET.get("after", ""):
        try:
            ended = ended.filter(pk__lt=after)
        except (ValidationError, ValueError) as error:
            raise Http404 from error
    rows = list(ended[: PAGE + 1])
    context = {
        "open": []
        if after
        else list(Incident.objects.filter(closed_at=None).order_by("severity", "id")),
        "ended": rows[:PAGE],
        "after": rows[PAGE - 1].pk if len(rows) > PAGE else "",
        "first": not after,
    }
    return render(request, "messaging/incidents.html", context)


@require_GET
@door("view")
def part(request: TenantRequest, slug: str) -> HttpResponse:
    """Fragment: the open ones, which a page asks for again and again."""
    return render(request, "messaging/_incidents.html", {"open": open_incidents()})


def open_incidents() -> list[Incident]:
    """Return what is wrong in the running tenant, critical before warning, oldest first."""
    return list(Incident.objects.filter(closed_at=None).order_by("severity", "id")[:MOST_TROUBLE])
