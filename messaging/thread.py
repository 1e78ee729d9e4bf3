"""What a thread shows: its messages and what happened to the lead between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone

from leads.models import LeadEvent
from leads.states import LeadState
from messaging.models import Conversation, Message, OutboundMessage

PAGE = 50
#: Messages of one side closer together than this stand as one group.
GROUP = timedelta(minutes=3)

#: Kinds of lead events that a thread and a timeline tell in words of their own.
FACTS = {
    "created": "Lead created",
    "first_text": "First text sent",
    "timer_fired": "Silence timer ran out",
    "email_captured": "E-mail address captured",
    "mobile_captured": "Mobile number captured",
    "gold": "GOLD: e-mail and mobile known",
    "opt_out": "Opted out",
    "merged_in": "Another lead was merged into this one",
    "merged": "Merged into another lead",
    "unmerged": "Merge taken back",
    "opted_out": "Opted out",
    "opt_in": "Opted in again",
    "opted_in": "Opted in again",
    "hold": "On hold: looks like a refusal",
    "release": "Hold released",
    "wrong_number": "Wrong number",
    "wants_call": "Wants a call",
    "high_intent": "High intent",
    "text_refused": "An automatic text was not sent",
    "contact_created": "Contact made in another system",
    "contact_updated": "Contact changed in another system",
    "contact_deleted": "Contact deleted in another system",
    "crm_message": "Message in another system",
    "call_started": "Call started",
    "call_ended": "Call ended",
    "call_described": "More is known of a call",
    "payment": "Payment received",
}


@dataclass(frozen=True, kw_only=True)
class Item:
    """One line of a thread: a message, or a fact when ``message`` is None."""

    at: datetime
    message: Message | None = None
    event: LeadEvent | None = None
    follows: bool = False  # the message before is of the same side, a moment ago
    ends: bool = True  # the next one is not
    day: date | None = None  # set on the first item of a day

    @property
    def text(self) -> str:
        return fact(self.event) if self.event else ""


@dataclass(frozen=True, kw_only=True)
class Thread:
    """A page of a thread, oldest first, and the marks that continue it in both directions."""

    items: list[Item]
    newest: Message | None
    oldest: Message | None
    has_older: bool
    event_seq: int


def read(
    conversation: Conversation, *, before: str = "", before_at: datetime | None = None
) -> Thread:
    """Read the newest page of *conversation*, or the page before a message.

    Raises:
        ValidationError: *before* is no message id.
    """
    messages = _messages(conversation)
    if before:
        messages = messages.filter(id__lt=before)
    found = list(messages.order_by("-id")[: PAGE + 1])
    shown, has_older = found[:PAGE][::-1], len(found) > PAGE
    events = _events(conversation)
    if has_older:
        events = events.filter(at__gte=shown[0].occurred_at)
    if before_at is not None:
        events = events.filter(at__lt=before_at)
    facts = list(events.order_by("-seq")[:PAGE])
    return Thread(
        items=weave(shown, facts),
        newest=shown[-1] if shown else None,
        oldest=shown[0] if shown else None,
        has_older=has_older,
        event_seq=max((event.seq for event in facts), default=0),
    )


@dataclass(frozen=True, kw_only=True)
class News:
    """What a page that shows a thread up to a message does not show yet."""

    items: list[Item]
    known: list[Message]
    newest: Message | None
    event_seq: int


def since(conversation: Conversation, message_id: str, event_seq: int) -> News:
    """Read what came after a message and a lead event, and the newest of what was known.

    The known ones come along because their status may have moved.
    """
    recent = list(_messages(conversation).order_by("-id")[:PAGE])[::-1]
    facts = list(_events(conversation).filter(seq__gt=event_seq).order_by("seq")[:PAGE])
    new = [message for message in recent if message.pk > message_id]
    known = [message for message in recent if message.pk <= message_id]
    last = known[-1] if known else None
    return News(
        items=weave(new, facts, after=last),
        known=[message for message in known if message.direction == "out"][-20:],
        newest=recent[-1] if recent else None,
        event_seq=max((event.seq for event in facts), default=event_seq),
    )


def weave(
    messages: Iterable[Message], events: Iterable[LeadEvent], *, after: Message | None = None
) -> list[Item]:
    """Order messages and events by time, group messages, and mark the first item of each day."""
    items = [Item(at=message.occurred_at, message=message) for message in messages]
    items += [Item(at=event.at, event=event) for event in events if is_told(event)]
    items.sort(key=lambda item: (item.at, item.event.seq if item.event else -1))
    day = timezone.localtime(after.occurred_at).date() if after else None
    woven: list[Item] = []
    previous = Item(at=after.occurred_at, message=after) if after else None
    for item in items:
        today = timezone.localtime(item.at).date()
        follows = previous is not None and day == today and _together(previous, item)
        if follows and woven:
            woven[-1] = replace(woven[-1], ends=False)
        woven.append(replace(item, follows=follows, day=today if today != day else None))
        previous, day = item, today
    return woven


def is_told(event: LeadEvent) -> bool:
    """Tell whether a thread shows *event*: moves are, and the facts that have words."""
    return event.from_state != event.to_state or event.kind in FACTS


def fact(event: LeadEvent) -> str:
    """Say what happened, in a few words."""
    told = FACTS.get(event.kind, event.kind.replace("_", " ").capitalize())
    if event.from_state is None or event.from_state == event.to_state:
        return told
    move = f"{LeadState(event.from_state).label} to {LeadState(event.to_state).label}"
    by = f" by {event.actor}" if event.actor and event.actor.kind == "user" else ""
    return move + by


def _together(one: Item, other: Item) -> bool:
    if one.message is None or other.message is None:
        return False
    same = (one.message.direction, one.message.actor_id, one.message.is_automated) == (
        other.message.direction,
        other.message.actor_id,
        other.message.is_automated,
    )
    return same and other.at - one.at < GROUP


def _messages(conversation: Conversation) -> QuerySet[Message]:
    outbound = OutboundMessage.objects.filter(tenant=OuterRef("tenant"), message=OuterRef("pk"))
    return (
        Message.objects.filter(conversation=conversation)
        .select_related("actor")
        .annotate(due_at=Subquery(outbound.values("due_at")[:1]))
    )


def _events(conversation: Conversation) -> QuerySet[LeadEvent]:
    return LeadEvent.objects.filter(lead=conversation.lead_id).select_related("actor")
