"""The bell of a stage: who wrote and is unread, mark all read, mute."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, HttpResponseBadRequest
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from messaging.actions import notifications as actions
from messaging.models import Notification
from messaging.views.access import bell_or_404, door
from messaging.views.shell import Bell, bells_of
from tenants.http import TenantRequest
from tenants.models import Actor

UNREAD_SHOWN = 10
EARLIER_SHOWN = 5


@require_GET
@door("view")
def panel(request: TenantRequest, slug: str, stage: str) -> HttpResponse:
    """Show the popover of one stage."""
    return render(request, "messaging/_bell_panel.html", _context(request, slug, stage))


@require_POST
@door("view")
def read(request: TenantRequest, slug: str, stage: str) -> HttpResponse:
    """Mark a stage read, or with ``undo`` take that back; answers the popover and all counters."""
    actor = _actor(request)
    bell_or_404(bells_of(actor, slug), stage)
    toast: dict[str, Any] = {}
    if token := request.POST.get("undo"):
        try:
            actions.undo_stage_read(actor_id=actor.pk, token=token)
        except actions.UndoRefused:
            toast = {"text": "That can no longer be undone.", "kind": "error"}
        return _reload_rows(_answer(request, slug, stage, toast, is_open=False))
    batch = actions.mark_stage_read(actor_id=actor.pk, stage=stage)
    if batch.count:
        toast = {
            "text": f"Marked {batch.count} read",
            "undo_url": reverse("messaging:bell-read", args=[slug, stage]),
            "undo_vals": f'{{"undo": "{batch.token}"}}',
        }
    return _reload_rows(_answer(request, slug, stage, toast))


@require_POST
@door("view")
def mute(request: TenantRequest, slug: str, stage: str) -> HttpResponse:
    """Mute a stage ``for`` an hour, today or always, or switch it on again (``off``)."""
    actor = _actor(request)
    bell_or_404(bells_of(actor, slug), stage)
    try:
        until = actions.mute_end(request.POST.get("for", ""), now=timezone.localtime())
        actions.mute_stage(actor_id=actor.pk, stage=stage, until=until)
    except ValueError:
        return HttpResponseBadRequest("There is no such choice.")
    except actions.NotInStage:
        return _answer(
            request, slug, stage, {"text": "You do not work this stage.", "kind": "error"}
        )
    return _answer(request, slug, stage, {"text": "Bell muted" if until else "Bell on"})


def _reload_rows(response: HttpResponse) -> HttpResponse:
    """Have the page read its list again: each row says whether it is unread."""
    response["HX-Trigger"] = "lo:rows"
    return response


def _answer(
    request: TenantRequest, slug: str, stage: str, toast: dict[str, Any], *, is_open: bool = True
) -> HttpResponse:
    context = _context(request, slug, stage) | {"toast": toast, "is_open": is_open}
    return render(request, "messaging/_bell_answer.html", context)


def _context(request: TenantRequest, slug: str, stage: str) -> dict[str, Any]:
    actor = _actor(request)
    bells = bells_of(actor, slug)
    bell = bell_or_404(bells, stage)
    return {
        "bells": bells,
        "bell": bell,
        "others": [other for other in bells if other.unread and other.key != stage],
        "unread": _notes(actor, bell, unread=True)[:UNREAD_SHOWN],
        "earlier": _notes(actor, bell, unread=False)[:EARLIER_SHOWN],
        "slug": slug,
        "tenant": actor.tenant,
    }


def _notes(actor: Actor, bell: Bell, *, unread: bool) -> Any:
    notes = Notification.objects.filter(actor=actor, stage=bell.key, read_at__isnull=unread)
    newest = "-updated_at" if unread else "-read_at"
    return notes.select_related("conversation__lead").order_by(newest, "-id")


def _actor(request: TenantRequest) -> Actor:
    actor: Actor = request.actor
    return actor
