"""What a stage inbox shows: its tabs, the order of its rows, and pages of them by key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from messaging.models import Conversation, Notification
from messaging.views.shell import CAP, Bell
from tenants.models import Actor
from tenants.ulids import to_uuid

#: Key of a tab → its word.
TABS = {
    "waiting": "Waiting",
    "mine": "Mine",
    "snoozed": "Snoozed",
    "done": "Done",
    "all": "All",
}
SORTS = {"needs": "Needs reply", "newest": "Newest"}
PAGE = 50
#: A lead with high intent or a GOLD label may not wait longer, whatever its stage allows.
HOT_SLA = timedelta(minutes=15)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Which rows somebody asked for."""

    actor: Actor
    bell: Bell
    tab: str = "waiting"
    sort: str = "needs"
    query: str = ""

    @property
    def by_need(self) -> bool:
        """Tell whether the rows stand in the order in which they need a reply."""
        return self.tab == "waiting" and self.sort == "needs"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One conversation as one person sees it in a list."""

    conversation: Conversation
    is_unread: bool
    is_late: bool
    claimer: Actor | None
    is_mine: bool
    after: str

    @property
    def short_id(self) -> str:
        """Enough of the id to tell rows of one list apart: 60 bits of chance."""
        return self.conversation.pk[-12:]


@dataclass(frozen=True, kw_only=True)
class Page:
    """Up to ``PAGE`` rows, and where the next page starts (``""``: there is none)."""

    rows: list[Row]
    after: str
    first: bool


def page(listing: Listing, after: str = "") -> Page:
    """Read one page of rows behind the key *after*; a key that makes no sense starts anew."""
    found = list(_ordered(listing, _parse(listing, after))[: PAGE + 1])
    rows = as_rows(listing, found[:PAGE])
    more = rows[-1].after if len(found) > PAGE else ""
    return Page(rows=rows, after=more, first=not after)


def as_rows(listing: Listing, conversations: Iterable[Conversation]) -> list[Row]:
    """Say of each conversation what the list shows beside it."""
    now = timezone.now()
    return [_row(listing, conversation, now) for conversation in conversations]


def belongs(listing: Listing, conversation: Conversation) -> bool:
    """Tell whether *conversation* still is a row of this list."""
    if conversation.stage != listing.bell.key:
        return False
    match listing.tab:
        case "waiting":
            return conversation.status == "open" and conversation.waiting_since is not None
        case "mine":
            return conversation.status == "open" and conversation.assigned_to_id == listing.actor.pk
        case "snoozed" | "done":
            return conversation.status == listing.tab
    return True


def conversations_for(actor: Actor) -> QuerySet[Conversation]:
    """Conversations with what their rows show, unread as *actor* sees it."""
    unread = Notification.objects.filter(
        actor=actor, conversation=OuterRef("pk"), tenant=OuterRef("tenant"), read_at=None
    )
    return Conversation.objects.select_related("lead", "assigned_to", "claimed_by").annotate(
        is_unread=Exists(unread)
    )


def tab_counts(listing: Listing) -> dict[str, int]:
    """Count Waiting and Mine, each up to ``CAP``, in one query."""
    values: dict[str, Any] = {
        "tenant": to_uuid(listing.actor.tenant_id),
        "stage": listing.bell.key,
        "actor": to_uuid(listing.actor.pk),
        "cap": CAP + 1,
    }
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS, values)
        waiting, mine = cursor.fetchone()
    return {"waiting": waiting, "mine": mine}


_COUNTS = """
SELECT (SELECT count(*) FROM (
            SELECT 1 FROM conversations
            WHERE tenant_id = %(tenant)s AND stage = %(stage)s
              AND waiting_since IS NOT NULL AND status = 'open'
            LIMIT %(cap)s) AS waiting),
       (SELECT count(*) FROM (
            SELECT 1 FROM conversations
            WHERE tenant_id = %(tenant)s AND assigned_to_id = %(actor)s AND stage = %(stage)s
              AND status = 'open'
            LIMIT %(cap)s) AS mine)
"""


def _row(listing: Listing, conversation: Conversation, now: datetime) -> Row:
    waiting, until = conversation.waiting_since, conversation.claimed_until
    sla = min(listing.bell.sla, HOT_SLA) if conversation.band == 0 else listing.bell.sla
    return Row(
        conversation=conversation,
        is_unread=getattr(conversation, "is_unread", False),
        is_late=waiting is not None and now - waiting > sla,
        claimer=conversation.claimed_by if until is not None and until > now else None,
        is_mine=conversation.assigned_to_id == listing.actor.pk,
        after=key_of(listing, conversation),
    )


def key_of(listing: Listing, conversation: Conversation) -> str:
    """Return the place of a row in its list, as it stands in URLs."""
    if listing.by_need:
        since = conversation.waiting_since
        return f"{conversation.band}~{_micros(since) if since else 0}~{conversation.pk}"
    return f"{_micros(conversation.last_message_at)}~{conversation.pk}"


def is_behind(listing: Listing, key: str, last: str) -> bool:
    """Tell whether a row with *key* comes after the row with the key *last*."""
    one, other = _parse(listing, key), _parse(listing, last)
    return bool(one and other and (one > other if listing.by_need else one < other))


def in_order(listing: Listing, rows: Iterable[Row]) -> list[Row]:
    """Sort rows as the list does."""
    return sorted(
        rows, key=lambda row: _parse(listing, row.after) or (), reverse=not listing.by_need
    )


def _ordered(listing: Listing, start: tuple[Any, ...] | None) -> QuerySet[Conversation]:
    rows = _in_tab(listing)
    if listing.by_need:
        if start is not None:
            band, since, pk = start
            rows = rows.filter(
                Q(band__gt=band)
                | Q(band=band, waiting_since__gt=since)
                | Q(band=band, waiting_since=since, id__gt=pk)
            )
        return rows.order_by("band", "waiting_since", "id")
    if start is not None:
        moment, pk = start
        rows = rows.filter(Q(last_message_at__lt=moment) | Q(last_message_at=moment, id__lt=pk))
    return rows.order_by("-last_message_at", "-id")


def _in_tab(listing: Listing) -> QuerySet[Conversation]:
    rows = conversations_for(listing.actor).filter(stage=listing.bell.key)
    match listing.tab:
        case "waiting":
            rows = rows.filter(status="open", waiting_since__isnull=False)
        case "mine":
            rows = rows.filter(status="open", assigned_to=listing.actor)
        case "snoozed" | "done":
            rows = rows.filter(status=listing.tab)
    if listing.query:
        rows = rows.filter(_matches(listing.query))
    return rows


def _matches(query: str) -> Q:
    """Match names by any part, numbers by the digits they end in."""
    names = ("lead__full_name", "lead__first_name", "lead__last_name", "lead__company")
    match = Q()
    for name in names:
        match |= Q(**{f"{name}__icontains": query})
    digits = "".join(filter(str.isdigit, query))
    return match | Q(their_number__endswith=digits) if len(digits) >= 3 else match


def _parse(listing: Listing, after: str) -> tuple[Any, ...] | None:
    parts = after.split("~")
    try:
        if listing.by_need:
            band, micros, pk = parts
            return int(band), _moment(int(micros)), _conversation_id(pk)
        micros, pk = parts
        return _moment(int(micros)), _conversation_id(pk)
    except (ValueError, OverflowError):
        return None


def _conversation_id(text: str) -> str:
    if not text.startswith("conv_"):
        raise ValueError(text)
    to_uuid(text)  # ValueError when it is no id at all
    return text


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(micros: int) -> datetime:
    return _EPOCH + micros * _MICROSECOND
