"""SignalHouse: SMS and MMS. Wire format: ``docs/providers/signalhouse.md``."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from integrations.addresses import normalize_address
from integrations.events import (
    BadPayload,
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
    Carrier,
    Delivery,
    HttpCall,
    OutboundText,
    Pulled,
    PullPage,
    Reconciles,
    SendResult,
    SignatureState,
    any_match,
    body_key,
    freshness,
    providers,
    retry_after,
    usable_key,
)
from integrations.tolerant import parse_json

SIGNATURE = "X-SignalHouse-Signature"  # bare hex; during rotation still of the previous secret
SIGNATURE_V1 = "X-SignalHouse-Signature-V1"  # t=<ms>,v1=<hex>[,v1=<hex>]; one v1 per live secret
TIMESTAMP = "X-SignalHouse-Timestamp"  # of this attempt, in milliseconds
DELIVERY_ID = "X-SignalHouse-Delivery-Id"  # the same on every retry, unsigned URLs included

HEX = re.compile(r"[0-9a-f]{64}")
MILLISECONDS = re.compile(r"[0-9]{1,16}")

#: The prefix of an event name says nothing: SMS_FAILED, MMS_FAILED and MESSAGE_FAILED are one.
MESSAGE_EVENT = re.compile(r"(?:MESSAGE|SMS|MMS)_([A-Z]+)")

STATUSES: dict[str, Status] = {
    "QUEUED": "accepted",
    "ACCEPTED": "accepted",
    "ENQUEUED": "accepted",
    "DEQUEUED": "accepted",
    "SENT": "sent",  # handed to the carrier; not every carrier reports delivery afterwards
    "DELIVERED": "delivered",
    "UNDELIVERED": "undelivered",
    "FAILED": "failed",
}

#: The error code of a message that was not sent because the person opted out of the campaign.
OPTED_OUT = "OUT"

#: What is asked for when their list is compared with what we were told, and the most per page.
PULLED_EVENTS = "MESSAGE_RECEIVED,MESSAGE_SENT,MESSAGE_DELIVERED,MESSAGE_FAILED"
PULL_LIMIT = 100

#: Answers that do not say whether the text was taken: the request may still be worked on.
UNDECIDED = {408, 409}


@providers.register("signalhouse")
class SignalHouse(Carrier, Reconciles):
    name = "signalhouse"
    label = "SignalHouse"
    # They wait 3 s and try three times within about 2 s; after that a notice is lost.
    hold_s = 2.0
    has_idempotency_key = True
    is_newest_first = True

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> SignatureState:
        signed_at, given = _read_v1(delivery.header(SIGNATURE_V1))
        if not given:
            signed_at, given = delivery.header(TIMESTAMP), [delivery.header(SIGNATURE).lower()]
        if not signed_at or not given[0]:
            return SignatureState.MISSING
        if not MILLISECONDS.fullmatch(signed_at):
            return SignatureState.INVALID
        expected = [_signature(delivery.body, secret, signed_at) for secret in secrets if secret]
        if not any_match(
            [one.encode() for one in expected], [one.encode("utf-8", "replace") for one in given]
        ):
            return SignatureState.INVALID
        return freshness(int(signed_at) / 1000, now)

    def sign(
        self, body: bytes, secret: str, now: datetime, delivery_id: str, url: str = ""
    ) -> dict[str, str]:
        signed_at = str(int(now.timestamp() * 1000))
        signature = _signature(body, secret, signed_at)
        return {
            TIMESTAMP: signed_at,
            SIGNATURE: signature,
            SIGNATURE_V1: f"t={signed_at},v1={signature}",
            DELIVERY_ID: delivery_id,
        }

    def delivery_key(self, delivery: Delivery, payload: Payload | None) -> str:
        key = delivery.header(DELIVERY_ID)
        if usable_key(key):
            return key
        if payload is None or not self.event_type(payload):
            return body_key(delivery.body)
        try:
            parts = [self.event_type(payload), self.external_id(payload)]
        except BadPayload:
            return body_key(delivery.body)
        status = read_note(_message(payload).get("status"))
        key = ":".join([*parts, status] if status else parts)
        return key if usable_key(key) else body_key(delivery.body)

    def event_type(self, payload: Payload | None) -> str:
        return read_note((payload or {}).get("event"))

    def external_id(self, payload: Payload) -> str:
        value = pick(_message(payload), "_id", "messageId", "message_id", "id")
        return read_identifier(pick(payload, "identifier") or value, "message id")

    def parties(self, payload: Payload) -> tuple[str | None, str | None]:
        sender, recipient = _addresses(payload)
        return (recipient, sender) if _is_inbound(payload) else (sender, recipient)

    def parse(self, payload: Payload) -> list[Event]:
        kind = MESSAGE_EVENT.fullmatch(_event_name(payload))
        if not kind:
            return []  # brands, campaigns, numbers
        if kind[1] == "RECEIVED":
            return [self._received(payload)] if _is_inbound(payload) else []
        if kind[1] not in STATUSES or _is_inbound(payload):
            return []
        return self._reported(payload, STATUSES[kind[1]])

    def build_send(self, text: OutboundText, account: Account) -> HttpCall:
        message: dict[str, Any] = {
            "senderPhoneNumber": text.sender.lstrip("+"),
            "recipientPhoneNumber": [text.recipient.lstrip("+")],  # singular name, always a list
            "messageBody": text.body,
            "enableShortlink": False,
        }
        if text.status_callback_url:
            message["statusCallbackUrl"] = text.status_callback_url
        return HttpCall(
            method="POST",
            url=f"{account.base_url.rstrip('/')}/message/sms",
            headers={
                "Authorization": f"Bearer {account.api_key}",
                "Content-Type": "application/json",
                "Accept": "application/json",
                "Idempotency-Key": text.idempotency_key,
            },
            body=json.dumps(message, ensure_ascii=False).encode("utf-8", "replace"),
        )

    def read_send(
        self, status: int, headers: Mapping[str, str], body: bytes, recipient: str = ""
    ) -> SendResult:
        answer = parse_json(body).payload or {}
        error = read_note(pick(answer, "message", "error"))
        if 200 <= status < 300:
            return _read_accepted(answer, recipient)
        if status == 429:
            wait = retry_after(headers)
            return SendResult(
                kind="throttled", error_code="429", error=error or "throttled", retry_after_s=wait
            )
        if 400 <= status < 500 and status not in UNDECIDED:
            code = read_note(answer.get("errorCode"))
            blocked = code == OPTED_OUT or _is_blocked(answer, recipient)
            return SendResult(
                kind="opted_out" if blocked else "failed",
                error_code=code or str(status),
                error=error or f"refused with status {status}",
            )
        return SendResult(
            kind="ambiguous", error_code=str(status), error=error or f"answered {status}"
        )

    def build_pull(self, since: datetime, cursor: str, account: Account) -> HttpCall:
        """Their list knows no time: it begins with the newest, and *cursor* is a page's number."""
        query = {"eventTypes": PULLED_EVENTS, "page": cursor or "1", "limit": str(PULL_LIMIT)}
        if account.account_id:
            query["groupId"] = account.account_id
        return HttpCall(
            method="GET",
            url=f"{account.base_url.rstrip('/')}/notification?{urlencode(query)}",
            headers={"Authorization": f"Bearer {account.api_key}", "Accept": "application/json"},
            body=b"",
        )

    def read_pull(self, status: int, body: bytes) -> PullPage | None:
        answer = parse_json(body).payload
        if status != 200 or answer is None or not isinstance(answer.get("notifications"), list):
            return None
        notices = [one for one in answer["notifications"] if isinstance(one, Mapping)]
        page = read_count(answer.get("page")) or 1
        limit = read_count(answer.get("limit")) or PULL_LIMIT
        is_last = page * limit >= (read_count(answer.get("totalCount")) or 0)
        return PullPage(
            items=tuple(item for one in notices if (item := self._pulled(one)) is not None),
            cursor="" if is_last or not notices else str(page + 1),
        )

    def _pulled(self, notice: Payload) -> Pulled | None:
        """Return a notice as a webhook; None for one that says nothing about a text."""
        # The notice's own status says whether somebody has read it there.
        payload = {name: value for name, value in notice.items() if name != "status"}
        try:
            events = self.parse(payload)
        except BadPayload:
            return None
        for event in events:
            if event.occurred_at is None:
                continue
            status = event.status if isinstance(event, MessageStatus) else None
            return Pulled(
                key=f"{event.external_id}:{status or 'received'}",
                external_id=event.external_id,
                body=json.dumps(payload, ensure_ascii=True).encode(),
                at=event.occurred_at,
                is_status=status,
            )
        return None

    def _received(self, payload: Payload) -> MessageReceived:
        message = _message(payload)
        sender, recipient = _addresses(payload)
        if sender is None or recipient is None:
            raise BadPayload("signalhouse: a number is missing")
        media = read_media(
            pick(message, "mediaUrls", "mediaUrl", "media_url", "media", "attachments")
        )
        is_mms = _event_name(payload).startswith("MMS") or message.get("messageType") == "MMS"
        body = pick(message, "messageBody", "text", "body", "message")
        return MessageReceived(
            external_id=self.external_id(payload),
            occurred_at=_occurred_at(payload),
            sender=sender,
            recipient=recipient,
            body=read_text("" if body is None and (media or is_mms) else body, "message body"),
            channel="mms" if media or is_mms else "sms",
            media=media,
        )

    def _reported(self, payload: Payload, status: Status) -> list[Event]:
        message = _message(payload)
        ours, theirs = self.parties(payload)
        if ours is None or theirs is None:
            raise BadPayload("signalhouse: a number is missing")
        report = MessageStatus(
            external_id=self.external_id(payload),
            occurred_at=_occurred_at(payload),
            sender=ours,
            recipient=theirs,
            status=status,
            error_code=read_note(pick(message, "errorCode", "error_code")),
            error=read_note(
                pick(message, "successOrFailureReason", "error_message", "errorMessage", "error")
            )
            if status in ("failed", "undelivered")
            else "",
            segments=read_count(pick(message, "segmentCount", "segments")),
        )
        if status != "failed" or report.error_code.upper() != OPTED_OUT:
            return [report]
        opt_out = ContactOptedOut(
            external_id=report.external_id,
            occurred_at=report.occurred_at,
            address=theirs,
            our_number=ours,
            reason=f"SignalHouse error {OPTED_OUT}",
        )
        return [report, opt_out]


def _signature(body: bytes, secret: str, signed_at: str) -> str:
    signed = signed_at.encode() + b"." + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _read_v1(header: str) -> tuple[str, list[str]]:
    """Return the time and the signatures of a V1 header; ``("", [])`` when it is malformed."""
    pairs = [part.strip().partition("=")[::2] for part in header.split(",")]
    times = [value for name, value in pairs if name == "t"]
    signatures = [value.lower() for name, value in pairs if name == "v1"]
    if len(times) != 1 or not MILLISECONDS.fullmatch(times[0]):
        return "", []
    if not signatures or not all(HEX.fullmatch(one) for one in signatures):
        return "", []
    return times[0], signatures


def _message(payload: Payload) -> Payload:
    """Return the message inside any of the four shapes."""
    meta = payload.get("metaData")
    if isinstance(meta, Mapping):
        nested = _first(meta.get("Message"))
        return nested if isinstance(nested, Mapping) else meta  # nested only on inbound
    data = payload.get("data")
    return data if isinstance(data, Mapping) else payload  # wrapped, or the older flat shape


def _first(value: Any) -> Any:
    if isinstance(value, list):
        return value[0] if value else None
    return value


def _event_name(payload: Payload) -> str:
    event = payload.get("event")
    if not isinstance(event, str):
        raise BadPayload("signalhouse: event is missing")
    return event.strip().upper().replace(".", "_")


def _is_inbound(payload: Payload) -> bool:
    direction = _message(payload).get("direction")
    if isinstance(direction, str) and direction:
        return direction.strip().upper() == "INBOUND"
    return _event_name(payload).endswith("_RECEIVED")


def _addresses(payload: Payload) -> tuple[str | None, str | None]:
    message = _message(payload)
    sender = _first(pick(message, "senderPhoneNumber", "from"))
    recipient = _first(pick(message, "recipientPhoneNumber", "to"))
    return (
        None if sender is None else normalize_address(sender),
        None if recipient is None else normalize_address(recipient),
    )


def _occurred_at(payload: Payload) -> datetime:
    value = pick(payload, "timestamp")
    if value is None:
        value = pick(_message(payload), "timestamp", "createdAt")
    return read_instant(value, "timestamp")


def _read_accepted(answer: Payload, recipient: str) -> SendResult:
    """Read a 2xx: it only says that the request was understood, not that a text goes out."""
    inserted = _first(answer.get("insertedMessages"))
    message = inserted if isinstance(inserted, Mapping) else {}
    provider_id = read_note(message.get("_id"))
    code = read_note(message.get("errorCode"))
    enqueued = read_count(answer.get("enqueuedCount"))
    if enqueued:
        return SendResult(kind="accepted", provider_id=provider_id)
    if enqueued is None:
        return SendResult(kind="ambiguous", error="the answer does not say what was enqueued")
    if code.upper() == OPTED_OUT or _is_blocked(answer, recipient):
        return SendResult(
            kind="opted_out",
            provider_id=provider_id,
            error_code=code or "DNC",
            error="the carrier lists this person as opted out",
        )
    reason = read_note(pick(message, "successOrFailureReason", "error")) or "nothing was enqueued"
    return SendResult(kind="failed", provider_id=provider_id, error_code=code, error=reason)


def _is_blocked(answer: Payload, recipient: str) -> bool:
    numbers = answer.get("dncBlockedNumbers")
    if not isinstance(numbers, list):
        return False
    digits = {clean(str(number)).lstrip("+") for number in numbers if isinstance(number, str | int)}
    return recipient.lstrip("+") in digits if recipient else bool(digits)
