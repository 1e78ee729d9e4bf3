"""The many shapes of GoHighLevel's webhook bodies: what one is about, and where its parts are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from integrations.addresses import read_phone
from integrations.contacts import read_tags
from integrations.events import CallReported, CrmMessage, Event
from integrations.payloads import (
    Payload,
    clean,
    pick,
    read_count,
    read_identifier,
    read_instant,
    read_note,
)

CallStatus = Literal["started", "completed", "failed", "missed", "enriched"]

#: Event names without case, dots and blanks, and what they are to us. Others are of no use yet.
KINDS = {
    "contactcreate": "created",
    "contactcreated": "created",
    "contactupdate": "updated",
    "contactupdated": "updated",
    "contactchanged": "updated",
    "contactdndupdate": "updated",
    "contacttagupdate": "updated",
    "contactdelete": "deleted",
    "contactdeleted": "deleted",
    "tagadded": "tag_added",
    "contacttagadded": "tag_added",
    "tagremoved": "tag_removed",
    "contacttagremoved": "tag_removed",
    "inboundmessage": "message_in",
    "outboundmessage": "message_out",
    "provideroutboundmessage": "message_out",
    "messagesent": "message_out",
    "install": "installed",
    "uninstall": "uninstalled",
}
CONTACT_KINDS = {"created", "updated", "deleted", "tag_added", "tag_removed"}
MESSAGE_KINDS = {"message_in", "message_out"}
APP_KINDS = {"installed", "uninstalled"}

#: Our facts and the vendor's names: webhooks, then the snake case of workflow bodies.
FACTS = {
    "first_name": ("firstName", "first_name"),
    "last_name": ("lastName", "last_name"),
    "full_name": ("name", "fullName", "full_name", "contactName"),
    "company": ("companyName", "company_name"),
    "address_line1": ("address1", "address"),
    "city": ("city",),
    "region": ("state",),
    "postal_code": ("postalCode", "postal_code"),
    "time_zone": ("timezone", "timeZone"),
    "phone": ("phone",),
    "email": ("email",),
    "assigned_to": ("assignedTo", "assigned_to"),
}
#: A body without an event name that has an id and one of these is about a contact.
TELLING = ("phone", "email", "first_name", "last_name", "full_name")

CALL_STATUSES: dict[str, CallStatus] = {
    "completed": "completed",
    "answered": "completed",
    "initiated": "started",
    "ringing": "started",
    "in-progress": "started",
    "no-answer": "missed",
    "missed": "missed",
    "voicemail": "missed",
    "busy": "failed",
    "failed": "failed",
    "canceled": "failed",
}

#: ``type`` of a text that is handed over for us to send names its channel, not an event.
HANDED_OVER = {"sms", "mms", "email"}


def record_of(payload: Payload) -> Payload:
    """Return the fields of an event, whether flat or nested in ``data``."""
    data = payload.get("data")
    return {**payload, **data} if isinstance(data, Mapping) else payload


def name_of(payload: Payload) -> str:
    """Return the vendor's name of an event; workflow webhooks have none."""
    data = payload.get("data")
    names = [payload.get(field) for field in ("type", "event", "eventType")]
    if isinstance(data, Mapping):
        names += [data.get(field) for field in ("event", "eventType")]
    return next((read_note(name) for name in names if isinstance(name, str) and name.strip()), "")


def is_handed_over(payload: Payload) -> bool:
    """Tell whether a body is a text typed there that our carrier shall send."""
    return name_of(payload).lower() in HANDED_OVER


def is_ping(payload: Payload) -> bool:
    """Tell whether a body only tries the URL out."""
    return payload.get("test") in ("ping", True) and len(payload) == 1


def kind_of(payload: Payload) -> str:
    """Return what a body is about, one of the values of ``KINDS``; ``""``: nothing for us."""
    if is_handed_over(payload):
        return "message_out"
    name = name_of(payload)
    if name:
        return KINDS.get(name.lower().replace(".", "").replace(" ", "").replace("_", ""), "")
    return _kind_by_shape(payload)


def _kind_by_shape(payload: Payload) -> str:
    record = contact_of(payload)
    if record.get("messageId") is not None and record.get("direction") in ("inbound", "outbound"):
        return "message_in" if record["direction"] == "inbound" else "message_out"
    has_id = pick(record, "contact_id", "contactId", "id") is not None
    told = (record.get(field) for fact in TELLING for field in FACTS[fact])
    return "updated" if has_id and any(isinstance(one, str) for one in told) else ""


def contact_of(payload: Payload) -> Payload:
    """Return the fields of the contact: of the event, with those of a nested contact over them."""
    record = record_of(payload)
    contact = record.get("contact")
    if isinstance(contact, Mapping) and contact.get("id") is not None:
        return {**record, **contact, "contactId": contact["id"]}
    return record


def contact_id_of(payload: Payload) -> str:
    """Return the vendor's id of the contact that an event is about.

    Raises:
        BadPayload: there is none.
    """
    record = contact_of(payload)
    value = pick(record, "contactId", "contact_id")
    if value is None and kind_of(payload) in CONTACT_KINDS:
        value = record.get("id")
    return read_identifier(value, "contactId")


def message_id_of(payload: Payload) -> str:
    """Return the id of a message; some documented examples of texts have none.

    Raises:
        BadPayload: nothing tells this message from others.
    """
    record = record_of(payload)
    value = pick(record, "messageId", "message_id", "id")
    if value is None and record.get("conversationId") and record.get("dateAdded"):
        value = f"{read_note(record['conversationId'])}@{read_note(record['dateAdded'])}"
    return read_identifier(pick(record, "webhookId") if value is None else value, "messageId")


def moment_of(payload: Payload, *names: str) -> datetime | None:
    """Return the first of these times that is told.

    Raises:
        BadPayload: it is told, and is no time.
    """
    value = pick(record_of(payload), *names)
    return None if value is None else read_instant(value, "timestamp")


def tags_of(
    record: Payload, kind: str
) -> tuple[tuple[str, ...] | None, tuple[str, ...], tuple[str, ...]]:
    """Return (all tags or None, added ones, removed ones)."""
    one = read_tags(record.get("tag")) or ()
    if kind == "tag_added":
        return None, one, ()
    if kind == "tag_removed":
        return None, (), one
    return read_tags(record.get("tags")), (), ()


def message_event(payload: Payload, kind: str) -> Event:
    """Return a message in their conversation, or the call that it stands for.

    Raises:
        BadPayload: its id, contact or time is missing or odd.
    """
    record = record_of(payload)
    direction: Literal["in", "out"] = "in" if kind == "message_in" else "out"
    channel = _channel(payload)
    common: dict[str, Any] = {
        "external_id": message_id_of(payload),
        "occurred_at": moment_of(payload, "dateAdded", "timestamp"),
        "direction": direction,
        "contact_id": contact_id_of(payload),
    }
    if channel == "call":
        return CallReported(
            status=_call_status(record),
            theirs=_address(pick(record, "phone")),
            duration_s=_seconds(pick(record, "callDuration", "duration")),
            disposition=read_note(pick(record, "callStatus", "status")),
            **common,
        )
    phone = _address(record.get("phone"))
    body = pick(record, "body", "message")
    return CrmMessage(
        conversation_id=read_note(record.get("conversationId")),
        body=clean(body) if isinstance(body, str) else "",
        channel=channel,
        sender=_address(record.get("from")) or (phone if direction == "in" else ""),
        recipient=_address(record.get("to")) or (phone if direction == "out" else ""),
        status=read_note(record.get("status")),
        **common,
    )


def _channel(payload: Payload) -> str:
    record = record_of(payload)
    told = read_note(record.get("messageType"))
    if not told and is_handed_over(payload):
        told = name_of(payload)
    channel = told.lower().removeprefix("type_")
    return "call" if channel == "phone" else channel or "sms"


def _call_status(record: Payload) -> CallStatus:
    told = read_note(pick(record, "callStatus", "status")).lower().replace("_", "-")
    return CALL_STATUSES.get(told, "completed")


def _seconds(value: object) -> int | None:
    return read_count(
        int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 6 else value
    )


def _address(value: object) -> str:
    """Return a phone as E.164, anything else that is short as it stands."""
    first = value[0] if isinstance(value, list) and value else value
    return read_phone(first) or read_note(first)
