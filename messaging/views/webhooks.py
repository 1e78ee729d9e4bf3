"""The webhook explorer: what arrived, what became of it, and one event from every side."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET

from integrations.explorer import (
    PAGE,
    SCAN,
    STATUSES,
    Listing,
    Query,
    known_types,
    list_events,
    moment_of,
    newest_event,
    per_hour,
)
from integrations.models import (
    WebhookEvent,
    WebhookReceipt,
    WebhookRejection,
    WebhookWork,
    WorkEvent,
)
from messaging.effects import effects_of
from messaging.models import Message
from messaging.views.access import door, found
from messaging.views.home import bars
from messaging.views.jsontree import tree_of
from messaging.views.optouts import read_address
from tenants.fields import UlidField
from tenants.http import TenantRequest

RANGES = {"1h": "Last hour", "24h": "Last 24 hours", "7d": "Last 7 days", "30d": "Last 30 days"}
_SPANS = {"1h": 1, "24h": 24, "7d": 7 * 24, "30d": 30 * 24}
TABS = {
    "summary": "Summary",
    "payload": "Payload",
    "headers": "Headers",
    "attempts": "Attempts",
    "effects": "Effects",
    "raw": "Raw",
    "replays": "Replays",
}
_PHONE = re.compile(r"\+?(?:[-(). ]*\d){10,15}[-(). ]*", re.ASCII)
#: Bytes of a body that a page shows; the rest is for the download.
SHOWN = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a person asked the list for, read from the address; never an error."""

    query: Query
    span: str
    words: str
    given: dict[str, str]

    @property
    def address(self) -> str:
        """The filters as they stand in the address of the next page."""
        return urlencode(self.given)


@require_GET
@door("replay")
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: webhooks, newest first, by provider, type, status, time, and what they are about."""
    words = request.GET.get("q", "").strip()
    if event_id := _event_id(words):
        return redirect("messaging:webhook", slug, event_id)
    asked = read_query(request)
    context = {
        **_list(request, asked),
        "ranges": RANGES,
        "statuses": STATUSES | {"refused": "Refused"},
        "types": known_types(asked.query.since),
        "hours": _hours(),
    }
    return render(request, "integrations/webhooks.html", context)


@require_GET
@door("replay")
def rows(request: TenantRequest, slug: str) -> HttpResponse:
    """Fragment: the rows, as they are now."""
    return render(request, "integrations/_webhook_rows.html", _list(request, read_query(request)))


def _list(request: TenantRequest, asked: Asked) -> dict[str, Any]:
    after = request.GET.get("after", "")
    refused = asked.given.get("status") == "refused"
    listing = Listing() if refused else list_events(asked.query, after)
    context = {
        "asked": asked,
        "listing": listing,
        "scan": SCAN,
        "first": not after,
        "refused": refused,
        "live": not after and not refused and request.GET.get("live") != "off",
    }
    if refused:
        context |= _refused(asked, after)
    elif not listing.rows:
        context["newest"] = newest_event()
    return context


def _refused(asked: Asked, after: str) -> dict[str, Any]:
    samples = WebhookRejection.objects.filter(created_at__gte=asked.query.since)
    if after:
        try:
            samples = samples.filter(id__lt=after)
        except ValidationError:
            return {"samples": []}
    page = list(
        samples.select_related("endpoint__integration")
        .defer("endpoint__token", "endpoint__integration__secret")
        .order_by("-id")[: PAGE + 1]
    )
    return {
        "samples": [
            (sample, bytes(sample.body)[:200].decode(errors="replace")) for sample in page[:PAGE]
        ],
        "listing": Listing(after=page[PAGE - 1].pk if len(page) > PAGE else ""),
    }


def read_query(request: TenantRequest) -> Asked:
    """Read the filters of the list; what makes no sense asks for nothing."""
    get = request.GET.get
    given = {
        name: value[:200].replace("\x00", "")
        for name in ("range", "from", "to", "source", "type", "status", "q")
        if (value := (get(name) or "").strip())
    }
    span = given.get("range", "7d")
    span = span if span in RANGES else "7d"
    since = _moment(given.get("from", "")) or timezone.now() - timedelta(hours=_SPANS[span])
    until = _moment(given.get("to", ""))
    status = given.get("status", "")
    about = _about(given.get("q", ""))
    if around := moment_of(about.get("correlation", "")):
        since, until = around
    query = Query(
        since=since,
        until=until,
        source=given.get("source", ""),
        event_type=given.get("type", ""),
        status=status if status in STATUSES else "",
        **about,
    )
    return Asked(query=query, span=span, words=given.get("q", ""), given=given)


def _about(words: str) -> dict[str, str]:
    """Tell what somebody looks for: a correlation, a phone number, or words of the body."""
    if not words:
        return {}
    if moment_of(words):
        return {"correlation": words}
    if words.startswith("msg_") and (message := _message(words)) is not None:
        return {"contains": message.external_id or message.pk}
    # Not every number is a phone number: an id may be all digits, too.
    if _PHONE.fullmatch(words) and (number := read_address(words)):
        return {"their_number": number}
    return {"contains": words}


def _message(message_id: str) -> Message | None:
    try:
        return Message.objects.only("external_id").filter(pk=message_id).first()
    except ValidationError:
        return None


def _event_id(words: str) -> str:
    try:
        return (UlidField(prefix="wh").to_python(words) or "") if words.startswith("wh_") else ""
    except ValidationError:
        return ""


def _moment(text: str) -> datetime | None:
    try:
        moment = parse_datetime(text)
        if moment is None:
            return None
        return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    except (ValueError, OverflowError):
        return None


def _hours() -> list[Any]:
    first = timezone.localtime().replace(minute=0, second=0, microsecond=0) - timedelta(hours=23)
    return bars([(f"{hour.astimezone(first.tzinfo):%H}", n) for hour, n in per_hour(first, 24)])


# --- one event ----------------------------------------------------------------------------------


@require_GET
@door("replay")
def webhook(request: TenantRequest, slug: str, event_id: str) -> HttpResponse:
    """Page: one webhook; ``?tab=`` chooses the side."""
    tab = request.GET.get("tab", "summary")
    if tab not in TABS:
        raise Http404
    return render(request, "integrations/webhook.html", event_page(slug, event_id, tab))


def event_page(slug: str, event_id: str, tab: str) -> dict[str, Any]:
    """Return what the page of one event shows."""
    event = found(WebhookEvent.objects.defer("body", "payload"), event_id)
    runs = list(WebhookWork.objects.filter(event=event.pk).order_by("-run_no"))
    newest = runs[0]
    context: dict[str, Any] = {
        "event": event,
        "runs": runs,
        "work": newest,
        "status": STATUSES[newest.state],
        "tab": tab,
        "tabs": TABS,
        "took": newest.processed_at - event.received_at if newest.processed_at else None,
        "receipt": _receipt(event),
    }
    match tab:
        case "summary" | "attempts" | "replays":
            notes = WorkEvent.objects.filter(work__in=[run.seq for run in runs])
            context["notes"] = notes.select_related("actor").order_by("id")[:200]
            context["replays"] = [note for note in context["notes"] if note.what == "replay"]
        case "payload":
            context["nodes"] = tree_of(event.payload)
        case "headers":
            context["headers"] = sorted(event.headers.items())
        case "effects":
            context["effects"] = effects_of(event, runs, slug)
        case "raw":
            context |= _raw(event_id)
    return context


def _receipt(event: WebhookEvent) -> dict[str, str] | None:
    receipt = WebhookReceipt.objects.filter(event=event.pk).first()
    if receipt is None:  # a pulled or assigned event: the source's owner has it
        return None
    return {"key": bytes(receipt.idem_key).hex(), "body": bytes(receipt.body_hash).hex()}


def _raw(event_id: str) -> dict[str, Any]:
    body = bytes(WebhookEvent.objects.values_list("body", flat=True).get(pk=event_id))
    return {
        "raw": body[:SHOWN].decode(errors="backslashreplace").replace("\x00", "\\x00"),
        "size": len(body),
        "shown": SHOWN,
    }


@require_GET
@door("replay")
def raw(request: TenantRequest, slug: str, event_id: str) -> HttpResponse:
    """Download: the body, byte for byte as it arrived."""
    event = found(WebhookEvent.objects.only("body"), event_id)
    answer = HttpResponse(bytes(event.body), content_type="application/octet-stream")
    answer["Content-Disposition"] = f'attachment; filename="{event.pk}.bin"'
    answer["X-Content-Type-Options"] = "nosniff"
    return answer
