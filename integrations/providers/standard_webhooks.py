"""Our generic format over Standard Webhooks 1.0.0: ``docs/providers/standard_webhooks.md``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from integrations.addresses import normalize_address
from integrations.events import (
    BadPayload,
    CarrierKeyword,
    ContactOptedOut,
    Event,
    MessageReceived,
    MessageStatus,
    Status,
)
from integrations.payloads import (
    Payload,
    pick,
    read_count,
    read_identifier,
    read_instant,
    read_media,
    read_note,
    read_text,
)
from integrations.providers.base import (
    Delivery,
    Provider,
    SignatureState,
    any_match,
    body_key,
    freshness,
    providers,
    usable_key,
)

ID = "webhook-id"  # the same on every retry; signed
TIMESTAMP = "webhook-timestamp"  # of this attempt, in seconds
SIGNATURE = "webhook-signature"  # "v1,<base64>", several divided by blanks
SECRET_PREFIX = "whsec_"

SECONDS = re.compile(r"[0-9]{1,12}")

STATUSES: dict[str, Status] = {
    "accepted": "accepted",
    "queued": "accepted",
    "enqueued": "accepted",
    "sent": "sent",
    "delivered": "delivered",
    "undelivered": "undelivered",
    "failed": "failed",
}

CARRIER_KEYWORDS: dict[str, CarrierKeyword] = {
    "opt_out": "opt_out",
    "opt_in": "opt_in",
    "help": "help",
}

#: Keywords the sender's own system already answered, told as events of their own.
KEYWORD_EVENTS: dict[str, CarrierKeyword] = {
    "optout.stop": "opt_out",
    "optout.start": "opt_in",
    "optout.help": "help",
}

TEXT_CHANNELS = {"sms", "mms"}


@providers.register("standard_webhooks")
class StandardWebhooks(Provider):
    name = "standard_webhooks"
    label = "Standard Webhooks"

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> SignatureState:
        delivery_id, signed_at = delivery.header(ID), delivery.header(TIMESTAMP)
        signatures = delivery.header(SIGNATURE).split()
        if not delivery_id or not signed_at or not signatures:
            return SignatureState.MISSING
        if not SECONDS.fullmatch(signed_at):
            return SignatureState.INVALID
        given = [one.encode("utf-8", "replace") for one in signatures if one.startswith("v1,")]
        expected = [
            _signature(delivery.body, secret, delivery_id, signed_at).encode()
            for secret in secrets
            if _key(secret)
        ]
        if not any_match(expected, given):
            return SignatureState.INVALID
        return freshness(int(signed_at), now)

    def sign(
        self, body: bytes, secret: str, now: datetime, delivery_id: str, url: str = ""
    ) -> dict[str, str]:
        signed_at = str(int(now.timestamp()))
        return {
            ID: delivery_id,
            TIMESTAMP: signed_at,
            SIGNATURE: _signature(body, secret, delivery_id, signed_at),
        }

    def delivery_key(self, delivery: Delivery, payload: Payload | None) -> str:
        key = delivery.header(ID)
        return key if usable_key(key) else body_key(delivery.body)

    def event_type(self, payload: Payload | None) -> str:
        return read_note(pick(payload or {}, "type", "eventType"))

    def external_id(self, payload: Payload) -> str:
        value = pick(_data(payload), "message_id", "messageId", "id")
        return read_identifier(value, "message_id")

    def parties(self, payload: Payload) -> tuple[str | None, str | None]:
        data = _data(payload)
        sender, recipient = pick(data, "from", "address"), pick(data, "to")
        first = None if sender is None else normalize_address(sender)
        second = None if recipient is None else normalize_address(recipient)
        return (second, first) if _is_inbound(payload) else (first, second)

    def parse(self, payload: Payload) -> list[Event]:
        kind = _kind(payload)
        if kind == "contact.opted_out":
            return self._opted_out(payload)
        if kind in KEYWORD_EVENTS:
            return self._answered(payload, KEYWORD_EVENTS[kind])
        if kind == "message.received":
            keyword = CARRIER_KEYWORDS.get(read_note(_data(payload).get("carrier_keyword")), "")
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
        channel = read_note(data.get("channel")).lower() or "sms"
        if channel not in TEXT_CHANNELS:
            return []
        ours, theirs = self.parties(payload)
        if theirs is None:
            raise BadPayload("standard_webhooks: from is missing")
        occurred_at = _occurred_at(payload)
        try:
            external_id = self.external_id(payload)
        except BadPayload:
            # An opt-out counts even when it names no message.
            external_id = f"{theirs}@{occurred_at.isoformat()}"
        return [
            ContactOptedOut(
                external_id=external_id,
                occurred_at=occurred_at,
                address=theirs,
                our_number=ours or "",
                keyword=read_note(pick(data, "keyword", "body")),
                reason=read_note(data.get("reason")) or _kind(payload),
            )
        ]

    def _both(self, payload: Payload) -> tuple[str, str]:
        ours, theirs = self.parties(payload)
        if ours is None or theirs is None:
            raise BadPayload("standard_webhooks: from or to is missing")
        return ours, theirs


def _key(secret: str) -> bytes:
    """Return the signing key: what follows ``whsec_`` in base64, else the text as it stands."""
    text = secret.strip().removeprefix(SECRET_PREFIX)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode()


def _signature(body: bytes, secret: str, delivery_id: str, signed_at: str) -> str:
    signed = f"{delivery_id}.{signed_at}.".encode("utf-8", "replace") + body
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _kind(payload: Payload) -> str:
    kind = pick(payload, "type", "eventType")
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
