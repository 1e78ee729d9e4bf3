"""Aloware: a dialer with texts. Wire format: ``docs/providers/aloware.md``."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from integrations.addresses import normalize_address, read_phone
from integrations.contacts import read_facts, read_tags
from integrations.events import (
    BadPayload,
    CallReported,
    ContactChanged,
    ContactOptedOut,
    Event,
    MessageReceived,
    MessageStatus,
    Status,
)
from integrations.payloads import (
    Payload,
    clean,
    pick,
    read_count,
    read_identifier,
    read_instant,
    read_media,
    read_note,
    read_text,
)
from integrations.providers.base import (
    Account,
    Delivery,
    HttpCall,
    Lane,
    Provider,
    SignatureState,
    TakesOptOuts,
    any_match,
    body_key,
    providers,
)

CallStatus = Literal["started", "completed", "failed", "missed", "enriched"]

#: Names on the wire are not those of their settings page: without case, dots, blanks and dashes
#: both read alike. What precedes a disposition says what kind of communication it is.
COMMUNICATIONS = {
    "inboundphonecall": ("call", "in"),
    "outboundphonecall": ("call", "out"),
    "inboundsms": ("text", "in"),
    "outboundsms": ("text", "out"),
}
DISPOSITION_WORDS = ("disposition", "status")
ENRICHING = {
    "recordingsaved",
    "voicemailsaved",
    "transcriptionsaved",
    "transcriptionopensearchsaved",
    "transcriptioncallsummarized",
    "callsummarized",
}
CONTACTS: dict[str, Literal["created", "updated"]] = {
    "contactcreated": "created",
    "contactupdated": "updated",
    "contactdisposed": "updated",
    "contactdncupdated": "updated",
}
DISPOSED = {"calldisposed", "communicationdisposed"}

DISPOSITIONS: dict[str, CallStatus] = {
    "4": "completed",
    "completed": "completed",
    "5": "failed",
    "failed": "failed",
    "invalid": "failed",
    "missed": "missed",
    "abandoned": "missed",
    "voicemail": "missed",
}
#: "Completed" says that they handed the text on, not that a phone got it.
TEXT_STATUSES: dict[str, Status] = {
    "": "accepted",
    "placed": "accepted",
    "completed": "sent",
    "delivered": "delivered",
    "undelivered": "undelivered",
    "invalid": "failed",
    "failed": "failed",
}
DIRECTIONS: dict[str, Literal["in", "out"]] = {
    "1": "in",
    "inbound": "in",
    "2": "out",
    "outbound": "out",
}

FACTS = {
    "first_name": ("first_name",),
    "last_name": ("last_name",),
    "full_name": ("name",),
    "company": ("company_name",),
    "address_line1": ("address",),
    "city": ("city",),
    "region": ("state",),
    "postal_code": ("zipcode",),
    "time_zone": ("timezone",),
    "phone": ("phone_number",),
    "email": ("email",),
}


@providers.register("aloware")
class Aloware(Provider, TakesOptOuts):
    name = "aloware"
    label = "Aloware"
    note = (
        "Aloware never repeats a webhook, and its contact events are unconfirmed: "
        "their names and bodies are not published."
    )
    # They wait for minutes and never try again: whatever is not stored in time is lost.
    hold_s = 60.0

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> SignatureState:
        """Compare the secret that came with the request; nothing here is signed or dated."""
        header = delivery.header("Authorization")
        if not header:
            return SignatureState.MISSING
        scheme, _, given = header.partition(" ")
        is_basic = scheme.lower() == "basic"
        if not is_basic and scheme.lower() != "bearer":
            return SignatureState.INVALID
        given = given.strip()
        proof = _decoded(given) if is_basic else given.encode("utf-8", "replace")
        expected = [one.encode() for one in secrets if one and (":" in one) == is_basic]
        return SignatureState.VALID if any_match(expected, [proof]) else SignatureState.INVALID

    def sign(
        self, body: bytes, secret: str, now: datetime, delivery_id: str, url: str = ""
    ) -> dict[str, str]:
        if ":" in secret:
            return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
        return {"Authorization": f"Bearer {secret}".strip()}

    def test_event(self, now: datetime) -> bytes:
        return b'{"test_payload": true}'

    def delivery_key(self, delivery: Delivery, payload: Payload | None) -> str:
        return body_key(delivery.body)  # they send no id of any kind

    def event_type(self, payload: Payload | None) -> str:
        return read_note((payload or {}).get("event"))

    def external_id(self, payload: Payload) -> str:
        record = _record(payload)
        if _name(payload) in CONTACTS:
            return _contact_id(payload)
        return read_identifier(pick(record, "id", "communication_id"), "communication id")

    def parties(self, payload: Payload) -> tuple[str | None, str | None]:
        record = _record(payload)
        ours, theirs = record.get("incoming_number"), record.get("lead_number")
        phone = read_phone(_contact(payload).get("phone_number"))
        return (
            normalize_address(ours) if ours else None,
            normalize_address(theirs) if theirs else phone or None,
        )

    def lane(self, payload: Payload | None, delivery_key: str) -> Lane:
        """Return the lane of the two numbers; where they are not told, that of the contact."""
        lane = super().lane(payload, delivery_key)
        if payload is None or (lane.ours and lane.theirs):
            return lane
        with suppress(BadPayload):
            text = f"crm:{_contact_id(payload)}"[:200]
            return Lane(ours=lane.ours, theirs=lane.theirs, text=text)
        return lane

    def parse(self, payload: Payload) -> list[Event]:
        name = _name(payload)
        if not name:
            if payload.get("test_payload") is True:
                return []
            raise BadPayload("aloware: event is missing")
        if name in CONTACTS:
            return [self._changed(payload, CONTACTS[name]), *_do_not_call(payload)]
        if name in ENRICHING:
            return [self._call(payload, "enriched", "out")]
        if name in DISPOSED:
            return self._disposed(payload)
        return self._communication(payload, name)

    def _communication(self, payload: Payload, name: str) -> list[Event]:
        for prefix, (kind, way) in COMMUNICATIONS.items():
            if name.startswith(prefix):
                disposition = name.removeprefix(prefix)
                for word in DISPOSITION_WORDS:
                    disposition = disposition.removeprefix(word)
                direction = DIRECTIONS["inbound" if way == "in" else "outbound"]
                if kind == "text":
                    return self._text(payload, disposition, direction)
                status = DISPOSITIONS.get(disposition, "started")
                return [self._call(payload, status, direction), *_do_not_call(payload)]
        return []  # appointments, and what they may yet invent

    def _disposed(self, payload: Payload) -> list[Event]:
        record = _record(payload)
        if read_note(record.get("type")).lower() in ("2", "sms"):
            return []
        told = read_note(pick(record, "disposition_status2", "disposition_status", "status"))
        status = DISPOSITIONS.get(told.lower(), "completed")
        return [self._call(payload, status, "out"), *_do_not_call(payload)]

    def _call(
        self, payload: Payload, status: CallStatus, direction: Literal["in", "out"]
    ) -> CallReported:
        record = _record(payload)
        direction = DIRECTIONS.get(read_note(record.get("direction")).lower(), direction)
        ours, theirs = self.parties(payload)
        contact_id = pick(record, "contact_id") or _contact(payload).get("id")
        never_rung = "customer_leg_status" in record and record["customer_leg_status"] is None
        links = read_media(
            pick(record, "direct_recording_url", "recording_url", "voicemail_url") or ""
        )
        summary = record.get("summary")
        return CallReported(
            external_id=self.external_id(payload),
            occurred_at=_moment(record, "created_at"),
            status=status,
            direction=direction,
            ours=ours or "",
            theirs=theirs or "",
            contact_id=read_note(contact_id),
            was_dialled=not (direction == "out" and status == "failed" and never_rung),
            duration_s=read_count(record.get("duration")),
            disposition=_disposition(record),
            summary=clean(summary) if isinstance(summary, str) else "",
            recording_url=links[0] if links else "",
        )

    def _text(
        self, payload: Payload, disposition: str, direction: Literal["in", "out"]
    ) -> list[Event]:
        record = _record(payload)
        ours, theirs = self.parties(payload)
        if ours is None or theirs is None:
            raise BadPayload("aloware: a number is missing")
        common: dict[str, Any] = {
            "external_id": self.external_id(payload),
            "occurred_at": _moment(record, "created_at"),
        }
        if direction == "out":
            if disposition not in TEXT_STATUSES:
                return []
            status = TEXT_STATUSES[disposition]
            code = disposition if status in ("failed", "undelivered") else ""
            return [
                MessageStatus(
                    sender=ours, recipient=theirs, status=status, error_code=code, **common
                )
            ]
        body = record.get("body")
        media = read_media(pick(record, "media_url", "image_url", "attachments"))
        return [
            MessageReceived(
                sender=theirs,
                recipient=ours,
                body=read_text("" if body is None and media else body, "body"),
                channel="mms" if media else "sms",
                media=media,
                **common,
            )
        ]

    def _changed(self, payload: Payload, change: Literal["created", "updated"]) -> ContactChanged:
        contact = _contact(payload)
        occurred_at = _moment({**_record(payload), **contact}, "updated_at", "created_at")
        do_not = _flag(contact.get("is_dnc"))
        return ContactChanged(
            external_id=_contact_id(payload),
            occurred_at=occurred_at,
            change=change,
            facts=read_facts(contact, FACTS),
            tags=read_tags(contact.get("tags")),
            dnd={} if do_not is None else {"sms": do_not, "call": do_not},
            is_ordered=occurred_at is not None,
        )

    def build_opt_out(self, address: str, contact_id: str, account: Account) -> HttpCall | None:
        """Return None: no call that marks a contact "do not contact" is documented."""
        return None

    def read_opt_out(self, status: int, body: bytes) -> str:
        return "Aloware has no documented call for opt-outs"


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _name(payload: Payload) -> str:
    event = payload.get("event")
    if not isinstance(event, str):
        return ""
    return "".join(char for char in event.lower() if char.isalnum())


def _record(payload: Payload) -> Payload:
    """Return the communication or contact; transcriptions nest theirs one level deeper."""
    body = payload.get("body")
    if not isinstance(body, Mapping):
        return {}
    nested = body.get("communication")
    return {**body, **nested} if isinstance(nested, Mapping) else body


def _contact(payload: Payload) -> Payload:
    record = _record(payload)
    contact = record.get("contact")
    if isinstance(contact, Mapping):
        return contact
    return record if _name(payload) in CONTACTS else {}


def _contact_id(payload: Payload) -> str:
    value = _contact(payload).get("id")
    return read_identifier(pick(_record(payload), "contact_id") if value is None else value, "id")


def _moment(record: Payload, *names: str) -> datetime | None:
    """Return a time of theirs, which has no zone and is UTC; None when it is not told."""
    value = pick(record, *names)
    return None if value is None else read_instant(value, names[0])


def _flag(value: object) -> bool | None:
    told = str(value).lower() if isinstance(value, bool | int | str) else ""
    return {"true": True, "1": True, "false": False, "0": False}.get(told)


def _disposition(record: Payload) -> str:
    chosen = record.get("call_disposition")
    if isinstance(chosen, Mapping) and read_note(chosen.get("name")):
        return read_note(chosen.get("name"))
    return read_note(pick(record, "disposition", "disposition_status"))


def _do_not_call(payload: Payload) -> list[Event]:
    """Return the opt-outs of a contact whom they mark "do not contact": calls and texts."""
    contact = _contact(payload)
    phone = read_phone(contact.get("phone_number"))
    if _flag(contact.get("is_dnc")) is not True or not phone:
        return []
    return [
        ContactOptedOut(
            external_id=_contact_id(payload),
            occurred_at=_moment({**_record(payload), **contact}, "updated_at", "created_at"),
            address=phone,
            channel=channel,
            reason="Aloware: do not contact",
        )
        for channel in ("sms", "call")
    ]
