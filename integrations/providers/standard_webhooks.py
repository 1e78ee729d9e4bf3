"""Our generic format over Standard Webhooks 1.0.0: ``docs/providers/standard_webhooks.md``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

from integrations.addresses import fold_email, normalize_address, read_phone
from integrations.events import (
    BadPayload,
    BroadcastReported,
    CarrierKeyword,
    ContactChanged,
    ContactOptedOut,
    Event,
    MessageReceived,
    MessageStatus,
)
from integrations.modules import CHANNELS, KEYWORDS, STATUSES
from integrations.payloads import (
    MAX_IDENTIFIER,
    Payload,
    pick,
    read_count,
    read_identifier,
    read_instant,
    read_media,
    read_note,
    read_text,
)
from integrations.providers.base import providers
from integrations.providers.standard_signing import StandardSigned

#: Keywords the sender's own system already answered, told as events of their own.
KEYWORD_EVENTS: dict[str, CarrierKeyword] = {
    "optout.stop": "opt_out",
    "optout.start": "opt_in",
    "optout.help": "help",
}

CHANGES: dict[str, Literal["created", "updated", "deleted"]] = {
    "contact.created": "created",
    "contact.updated": "updated",
    "contact.deleted": "deleted",
}

#: Fact of a contact → the names it may have; the flat shape writes them in camel case.
FACTS: dict[str, tuple[str, ...]] = {
    "first_name": ("first_name", "firstName"),
    "last_name": ("last_name", "lastName"),
    "full_name": ("full_name", "fullName", "name"),
    "company": ("company", "company_name", "companyName"),
    "title": ("title",),
    "address_line1": ("address_line1", "addressLine1", "address1"),
    "unit": ("unit", "address2"),
    "city": ("city",),
    "region": ("region", "state"),
    "postal_code": ("postal_code", "postalCode", "zip"),
    "time_zone": ("time_zone", "timeZone", "timezone"),
    "assigned_to": ("assigned_to", "assignedTo"),
}
#: Facts that are kept in our form; one that makes no sense is left out, the contact is not.
FOLDED_FACTS: dict[str, tuple[Callable[[object], str], tuple[str, ...]]] = {
    "phone": (read_phone, ("phone", "phone_number", "phoneNumber")),
    "email": (fold_email, ("email",)),
}

#: Name of a broadcast's event → whether it says that the broadcast is over.
BROADCASTS = {
    "broadcast.analytics_updated": False,
    "broadcast.updated": False,
    "analytics_updated": False,
    "broadcast.completed": True,
    "broadcast_completed": True,
}
#: Other words for our counters.
COUNTERS = {
    "recipients": "targeted",
    "responses": "replied",
    "appointments_set": "appointments",
    "opt_outs": "opted_out",
}
#: Beside other fields, in the flat shape, only these are counters.
KNOWN_COUNTERS = frozenset(
    {"targeted", "sent", "delivered", "pending", "failed", "replied", "opted_out", "clicked"}
    | {"appointments"}
)
COUNTER = re.compile(r"[a-z][a-z0-9_]{0,39}")
CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
MAX_COUNTERS = 40
MAX_COUNTER = 2**53


@providers.register("standard_webhooks")
class StandardWebhooks(StandardSigned):
    name = "standard_webhooks"
    label = "Standard Webhooks"

    def event_type(self, payload: Payload | None) -> str:
        named = read_note(pick(payload or {}, "type", "eventType"))
        return named or ("broadcast.analytics_updated" if _is_record(payload or {}) else "")

    def external_id(self, payload: Payload) -> str:
        data, kind = _data(payload), _kind(payload)
        if kind in BROADCASTS:
            return _broadcast_id(data)
        if kind in CHANGES:
            return read_identifier(pick(data, "contact_id", "contactId", "id"), "contact_id")
        value = pick(data, "message_id", "messageId", "id")
        return read_identifier(value, "message_id")

    def parties(self, payload: Payload) -> tuple[str | None, str | None]:
        data = _data(payload)
        if _kind(payload) in CHANGES:
            return None, None
        sender, recipient = pick(data, "from", "address"), pick(data, "to")
        if isinstance(sender, str) and "@" in sender:
            sender = None  # an e-mail address has no lane of its own
        first = None if sender is None else normalize_address(sender)
        second = None if recipient is None else normalize_address(recipient)
        return (second, first) if _is_inbound(payload) else (first, second)

    def parse(self, payload: Payload) -> list[Event]:
        kind = _kind(payload)
        if kind == "contact.opted_out":
            return self._opted_out(payload)
        if kind in CHANGES:
            return [self._changed(payload)]
        if kind in BROADCASTS:
            return [self._broadcast(payload)]
        if kind in KEYWORD_EVENTS:
            return self._answered(payload, KEYWORD_EVENTS[kind])
        return self._message(payload, kind)

    def _message(self, payload: Payload, kind: str) -> list[Event]:
        if kind == "message.received":
            keyword = KEYWORDS.get(read_note(_data(payload).get("carrier_keyword")), "")
            return [self._received(payload, keyword)] if _is_inbound(payload) else []
        family, _, status = kind.partition(".")
        if family != "message" or _is_inbound(payload):
            return []
        if status == "status":
            return [self._reported(payload, read_note(_data(payload).get("status")).lower())]
        return [self._reported(payload, status)] if status in STATUSES else []

    def _received(self, payload: Payload, keyword: CarrierKeyword) -> MessageReceived:
        data = _data(payload)
        ours, theirs = self._both(payload)
        media = read_media(pick(data, "media", "media_urls", "mediaUrls"))
        body = pick(data, "body", "text")
        return MessageReceived(
            external_id=self.external_id(payload),
            occurred_at=_occurred_at(payload),
            sender=theirs,
            recipient=ours,
            body=read_text("" if body is None and media else body, "body"),
            channel="mms" if media else "sms",
            media=media,
            carrier_keyword=keyword,
        )

    def _answered(self, payload: Payload, keyword: CarrierKeyword) -> list[Event]:
        events: list[Event] = []
        if keyword != "opt_out" or pick(_data(payload), "body", "text") is not None:
            events.append(self._received(payload, keyword))
        # Said outright as well: the word they wrote need not be one we know.
        return [*events, *self._opted_out(payload)] if keyword == "opt_out" else events

    def _reported(self, payload: Payload, status: str) -> MessageStatus:
        data = _data(payload)
        if status not in STATUSES:
            raise BadPayload("standard_webhooks: status is unknown")
        ours, theirs = self._both(payload)
        return MessageStatus(
            external_id=self.external_id(payload),
            occurred_at=_occurred_at(payload),
            sender=ours,
            recipient=theirs,
            status=STATUSES[status],
            error_code=read_note(pick(data, "error_code", "errorCode")),
            error=read_note(pick(data, "error", "error_message", "errorMessage")),
            segments=read_count(data.get("segments")),
        )

    def _opted_out(self, payload: Payload) -> list[Event]:
        data = _data(payload)
        channel = CHANNELS.get(read_note(data.get("channel")).lower() or "sms")
        if channel is None:
            return []
        ours, theirs = self.parties(payload)
        address = theirs
        if channel == "email":
            address = _email(data) or theirs
        if address is None:
            raise BadPayload("standard_webhooks: from is missing")
        occurred_at = _occurred_at(payload)
        try:
            external_id = self.external_id(payload)
        except BadPayload:
            # An opt-out counts even when it names no message.
            external_id = f"{address}@{occurred_at.isoformat()}"[:MAX_IDENTIFIER]
        return [
            ContactOptedOut(
                external_id=external_id,
                occurred_at=occurred_at,
                address=address,
                our_number=ours or "",
                channel=channel,
                keyword=read_note(pick(data, "keyword", "body")),
                reason=read_note(data.get("reason")) or _kind(payload),
            )
        ]

    def _changed(self, payload: Payload) -> ContactChanged:
        data = _data(payload)
        tags, dnd = data.get("tags"), data.get("dnd")
        return ContactChanged(
            external_id=self.external_id(payload),
            occurred_at=_occurred_at(payload),
            change=CHANGES[_kind(payload)],
            facts=_facts(data),
            tags=tuple(filter(None, map(read_note, tags))) if isinstance(tags, list) else None,
            dnd=_dnd(dnd) if isinstance(dnd, Mapping) else {},
        )

    def _broadcast(self, payload: Payload) -> BroadcastReported:
        data = _data(payload)
        told = pick(payload, "timestamp") or data.get("timestamp")
        is_told = told is not None or not _is_record(payload)
        return BroadcastReported(
            external_id=_broadcast_id(data),
            occurred_at=read_instant(told, "timestamp") if is_told else None,
            name=read_note(pick(data, "name", "broadcast_name", "broadcastName")),
            counters=_counters(data),
            is_completed=BROADCASTS[_kind(payload)],
        )

    def _both(self, payload: Payload) -> tuple[str, str]:
        ours, theirs = self.parties(payload)
        if ours is None or theirs is None:
            raise BadPayload("standard_webhooks: from or to is missing")
        return ours, theirs


def _kind(payload: Payload) -> str:
    kind = pick(payload, "type", "eventType")
    if kind is None and _is_record(payload):
        return "broadcast.analytics_updated"
    if not isinstance(kind, str):
        raise BadPayload("standard_webhooks: type is missing")
    return kind.strip().lower()


def _data(payload: Payload) -> Payload:
    data = payload.get("data")
    return data if isinstance(data, Mapping) else payload  # our schema, or the flat shape


def _is_inbound(payload: Payload) -> bool:
    direction = read_note(_data(payload).get("direction")).lower()
    if direction:
        return direction == "inbound"
    return _kind(payload) in {"message.received", "contact.opted_out", *KEYWORD_EVENTS}


def _occurred_at(payload: Payload) -> datetime:
    return read_instant(pick(payload, "timestamp") or _data(payload).get("timestamp"), "timestamp")


def _is_record(payload: Payload) -> bool:
    """Tell whether this is a broadcast's record alone, which has no type to go by."""
    name = pick(payload, "broadcast_name", "broadcastName")
    return isinstance(name, str) and pick(payload, "type", "eventType") is None


def _broadcast_id(data: Payload) -> str:
    value = pick(data, "broadcast_id", "broadcastId", "id")
    if value is None:  # a record alone has none: its name and the day it was sent tell it apart
        name = read_note(pick(data, "broadcast_name", "broadcastName"))
        sent_at = read_note(pick(data, "sent_at", "sentAt"))
        value = f"{name[:150]}@{sent_at[:40]}" if name else None
    return read_identifier(value, "broadcast_id")


def _counters(data: Payload) -> dict[str, int]:
    """Return the counters as they stand, without rates: those are worked out when shown."""
    told = pick(data, "counts", "counters", "analytics")
    source = told if isinstance(told, Mapping) else data
    found: dict[str, int] = {}
    for key, value in source.items():
        name = CAPITAL.sub("_", key).lower()
        name = COUNTERS.get(name, name)
        is_count = isinstance(value, int) and not isinstance(value, bool)
        is_ours = source is not data or name in KNOWN_COUNTERS
        if is_count and is_ours and COUNTER.fullmatch(name) and 0 <= value <= MAX_COUNTER:
            found[name] = value
    return dict(list(found.items())[:MAX_COUNTERS])


def _facts(data: Payload) -> dict[str, str]:
    facts = {}
    for fact, names in FACTS.items():
        value = pick(data, *names)
        if isinstance(value, str | int) and not isinstance(value, bool):
            facts[fact] = read_note(value)
    for fact, (fold, names) in FOLDED_FACTS.items():
        value = pick(data, *names)
        folded = fold(value)
        if folded or value == "":
            facts[fact] = folded
    return facts


def _dnd(told: Payload) -> dict[str, bool]:
    return {
        CHANNELS[channel]: value
        for channel, value in told.items()
        if channel in CHANNELS and isinstance(value, bool)
    }


def _email(data: Payload) -> str:
    told = (data.get("email"), data.get("address"), data.get("from"))
    return next(filter(None, map(fold_email, told)), "")
