"""Pages and fragments of a stage's list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import Max
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from messaging import inbox as lists
from messaging import thread
from messaging.inbox import Listing, Page, Row
from messaging.models import Conversation, LiveEvent
from messaging.views.access import bell_or_404, door, found
from messaging.views.pane import conversations_for_pane, pane_context, query_string
from messaging.views.poll import number
from messaging.views.shell import Bell, counted
from tenants.http import TenantRequest

#: Rows are committed out of order: a refresh looks this many live events further back.
BEHIND = 50
#: More changes than this at once, and the list offers to load itself anew.
MANY = 40
#: In place of the last row's key: the list is complete and has none.
EMPTY = "empty"


@dataclass(frozen=True, kw_only=True)
class Tab:
    key: str
    label: str
    url: str
    current: bool
    count: int | None = None


@require_GET
@door("view")
def inbox(request: TenantRequest, slug: str, stage: str) -> HttpResponse:
    """Page: the rows of a stage, with no conversation open."""
    bells, _ = counted(request)
    listing = listing_of(request, bell_or_404(bells, stage))
    context = list_context(request, listing, lists.page(listing, request.GET.get("after", "")))
    return render(request, "messaging/inbox.html", context)


@require_GET
@door("view")
def thread_page(request: TenantRequest, slug: str, stage: str, conv: str) -> HttpResponse:
    """Page: the rows of a stage and one conversation; what an opened row's address shows."""
    return show_thread(request, stage, conv)


def show_thread(
    request: TenantRequest, stage: str, conv: str, *, note: str = "", status: int = 200
) -> HttpResponse:
    """Render a list with a conversation open; *note* says why a reply was refused."""
    bells, _ = counted(request)
    listing = listing_of(request, bell_or_404(bells, stage))
    conversation = found(conversations_for_pane(listing.actor), conv)
    read = thread.read(conversation, before=_message(request))
    context = list_context(request, listing, lists.page(listing, request.GET.get("after", "")))
    context |= pane_context(request, conversation, bells=bells, read=read)
    # A conversation that moved stays open beside the list it was opened from.
    context |= {"stage": listing.bell, "note": note}
    return render(request, "messaging/inbox.html", context, status=status)


@require_GET
@door("view")
def rows(request: TenantRequest, slug: str, stage: str) -> HttpResponse:
    """Fragment: a page of rows."""
    bells, _ = counted(request)
    listing = listing_of(request, bell_or_404(bells, stage))
    page = lists.page(listing, request.GET.get("after", ""))
    context = list_context(request, listing, page) | {"full_page": False}
    return render(request, "messaging/_rows_part.html", context)


@require_GET
@door("view")
def changes(request: TenantRequest, slug: str, stage: str) -> HttpResponse:
    """Fragment: what changed in a list since it was drawn, all out of band.

    The page sends the rows it shows (``r``), those it was told of but does not show (``p``), and
    the key of its last row (``last``) when nothing comes after it: there new rows are appended,
    elsewhere they wait in the pill, so that no row moves under somebody's hand.
    """
    bells, _ = counted(request)
    listing = listing_of(request, bell_or_404(bells, stage))
    cursor, ids = _touched(stage, number(request.GET.get("since")))
    touched = list(lists.conversations_for(listing.actor).filter(pk__in=ids[:MANY]))
    shown, last = set(request.GET.getlist("r")), request.GET.get("last", "")
    rows = lists.as_rows(listing, touched)
    known = [row for row in rows if row.short_id in shown]
    fresh = [
        row
        for row in rows
        if row.short_id not in shown and lists.belongs(listing, row.conversation)
    ]
    if listing.query:  # whether it matches is not asked again
        fresh = []
    appended = [row for row in lists.in_order(listing, fresh) if _is_last(listing, row, last)]
    pending = set(filter(None, request.GET.get("p", "").split(".")))
    pending |= {row.short_id for row in fresh if row not in appended}
    pending -= {row.short_id for row in rows if not lists.belongs(listing, row.conversation)}
    if len(ids) > MANY:
        pending.add("more")
    context = _frame(request, listing) | {
        "changed": [(row, _gone(listing, row, bells)) for row in known],
        "appended": appended,
        "was_empty": last == EMPTY,
        "pending": len(pending),
        "counts": lists.tab_counts(listing),
        "changes_url": _changes_url(
            request,
            listing,
            cursor,
            last=appended[-1].after if appended else last,
            pending=pending,
        ),
    }
    return render(request, "messaging/_changes.html", context)


def _is_last(listing: Listing, row: Row, last: str) -> bool:
    return last == EMPTY or bool(last and lists.is_behind(listing, row.after, last))


def _touched(stage: str, since: int) -> tuple[int, list[str]]:
    """Return the newest live event of a stage and the conversations touched after *since*."""
    events = LiveEvent.objects.filter(seq__gt=since - BEHIND, stage=stage)
    rows = events.exclude(conversation=None).values_list("conversation")
    newest = list(rows.annotate(newest=Max("seq")).order_by("-newest")[: MANY + 1])
    cursor = max([since, *(seq for _, seq in newest)])
    return cursor, [conversation for conversation, _ in newest]


def _gone(listing: Listing, row: Row, bells: list[Bell]) -> str:
    """Say why a row no longer belongs here; empty when it does."""
    conversation = row.conversation
    if lists.belongs(listing, conversation):
        return ""
    if conversation.stage != listing.bell.key:
        return next(one.short_label for one in bells if one.key == conversation.stage)
    if conversation.status != "open":
        return str(conversation.get_status_display())
    return "Answered" if listing.tab == "waiting" else "Moved"


def listing_of(request: TenantRequest, bell: Bell) -> Listing:
    """Return the list that the query of a URL asks for."""
    tab, sort = request.GET.get("tab", "waiting"), request.GET.get("sort", "needs")
    if tab not in lists.TABS or sort not in lists.SORTS:
        raise Http404
    return Listing(
        actor=request.actor,
        bell=bell,
        tab=tab,
        sort=sort,
        query=request.GET.get("q", "").strip()[:80],
    )


def _frame(request: TenantRequest, listing: Listing) -> dict[str, Any]:
    """Return what rows need around them."""
    slug = request.tenant.slug
    stage = listing.bell
    return {
        "tenant_slug": slug,
        "stage": stage,
        "listing": listing,
        "query_string": query_string(request),
        "list_url": stage.url + _query(listing),
        "rows_url": reverse("messaging:inbox-rows", args=[slug, stage.key]) + _query(listing),
    }


def list_context(request: TenantRequest, listing: Listing, page: Page) -> dict[str, Any]:
    """Return the context of a list and its tabs."""
    frame = _frame(request, listing)
    counts = lists.tab_counts(listing)
    more = _query(listing, after=page.after)
    complete = page.first and not page.after
    last = (page.rows[-1].after if page.rows else EMPTY) if complete else ""
    _, cursor = counted(request)
    return frame | {
        "page": page,
        "full_page": True,
        "counts": counts,
        "tabs": [
            Tab(
                key=key,
                label=label,
                url=listing.bell.url + (f"?tab={key}" if key != "waiting" else ""),
                current=listing.tab == key,
                count=counts.get(key),
            )
            for key, label in lists.TABS.items()
        ],
        "sorts": [
            {
                "label": label,
                "url": f"{listing.bell.url}?sort={key}",
                "current": key == listing.sort,
            }
            for key, label in lists.SORTS.items()
        ],
        "sort_label": lists.SORTS[listing.sort],
        "older_url": listing.bell.url + more,
        "older_part_url": frame["rows_url"].partition("?")[0] + more,
        "top_url": frame["list_url"],
        "changes_url": _changes_url(request, listing, cursor, last=last),
        "last_reply": None if page.rows else _last_reply(listing),
    }


def _last_reply(listing: Listing) -> datetime | None:
    rows = Conversation.objects.filter(stage=listing.bell.key, last_outbound_at__isnull=False)
    newest = rows.order_by("-last_message_at", "-id").values_list("last_outbound_at", flat=True)
    return newest.first()


def _changes_url(
    request: TenantRequest,
    listing: Listing,
    cursor: int,
    *,
    last: str,
    pending: Iterable[str] = (),
) -> str:
    slug = request.tenant.slug
    values = {
        "since": str(cursor),
        "tab": listing.tab,
        "sort": listing.sort,
        "q": listing.query,
        "last": last,
        "p": ".".join(sorted(pending)),
    }
    kept = urlencode({key: value for key, value in values.items() if value})
    return f"{reverse('messaging:changes', args=[slug, listing.bell.key])}?{kept}"


def _query(listing: Listing, **more: str) -> str:
    values = {"tab": listing.tab, "sort": listing.sort, "q": listing.query, **more}
    defaults = {"tab": "waiting", "sort": "needs"}
    kept = {key: value for key, value in values.items() if value and value != defaults.get(key)}
    return f"?{urlencode(kept)}" if kept else ""


def _message(request: TenantRequest) -> str:
    before = request.GET.get("before", "")
    return before if before.startswith("msg_") else ""
