"""What happened since, as JSON: for browsers that hold no stream, and to judge a closed one."""

from __future__ import annotations

from django.http import JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from messaging.live import Event, catch_up
from tenants.http import TenantRequest
from tenants.permissions import allows


@never_cache
@require_GET
def poll(request: TenantRequest, slug: str) -> JsonResponse:
    """Answer ``{"cursor": 918273, "hints": [{"id", "k", "s", "c", …}], "reset": false}``.

    401 without a session and 403 without the right to look: the client stops on both.
    """
    actor = request.actor
    if not request.user.is_authenticated:
        return JsonResponse({"detail": "Log in again."}, status=401)
    if not allows(actor, "view"):
        return JsonResponse({"detail": "Your role may not look at this tenant."}, status=403)
    missed = catch_up(actor.tenant_id, actor.pk, number(request.GET.get("after")))
    hints = [_with_id(event) for event in missed.events]
    return JsonResponse({"cursor": missed.cursor, "hints": hints, "reset": missed.reset})


def number(text: str | None) -> int:
    """Read a cursor from outside; what is no number counts as 0."""
    digits = (text or "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else 0


def _with_id(event: Event) -> dict[str, object]:
    return {"id": event.seq, **event.hint()}
