"""What Twilio and those compatible with it have in common: webhooks as forms, one Messages API.

Wire format: ``docs/providers/twilio.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

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
from integrations.forms import parse_form
from integrations.payloads import (
    MAX_MEDIA,
    Payload,
    pick,
    read_count,
    read_identifier,
    read_instant,
    read_media,
    read_note,
    read_text,
)
from integrations.providers import laml_api
from integrations.providers.base import (
    Account,
    Carrier,
    Delivery,
    FoundText,
    HttpCall,
    OutboundText,
    PullPage,
    Reconciles,
    SendResult,
    SignatureState,
    any_match,
    body_key,
    usable_key,
)
from integrations.providers.laml_api import STATUSES
from integrations.providers.laml_signing import (
    SETTINGS,
    SIGNATURE,
    algorithm_of,
    base64_hmac,
    form_signature,
    signed_texts,
)
from integrations.providers.twilio_codes import error_class
from integrations.tolerant import Parsed, parse_json

#: With Advanced Opt-Out: the carrier has already blocked or unblocked, and answered.
KEYWORDS: dict[str, CarrierKeyword] = {"STOP": "opt_out", "START": "opt_in", "HELP": "help"}

#: Single words that block a sender by default, on every channel that shares its opt-outs.
STOP_WORDS = frozenset(
    {"STOP", "UNSUBSCRIBE", "END", "QUIT", "STOPALL", "REVOKE", "OPTOUT", "CANCEL"}
)

#: ``rcs:+12025550142``, ``whatsapp:…``: a person on another channel than SMS and MMS.
CHANNEL = re.compile(r"([a-z]{2,20}):(.*)")
#: The carrier's own time of delivery, YYMMDDhhmm, passed on as it came; taken for UTC.
DONE_DATE = re.compile(r"[0-9]{10}")


class Laml(Carrier, Reconciles):
    """The common part; a vendor adds its names, its path and its signatures."""

    busy_status = 503
    hold_s = 10.0  # they wait 15 s in all
    content_types = (laml_api.FORM, "application/json")
    acknowledgement = (b"<Response/>", "text/xml")  # no instructions: we answer by the API
    has_lookup = True

    root: ClassVar[str]  # path of the API before /Accounts
    signature_headers: ClassVar[tuple[str, ...]] = (SIGNATURE,)

    def read(self, body: bytes, content_type: str = "") -> Parsed:
        return parse_json(body) if _is_json(content_type) else parse_form(body)

    def test_event(self, now: datetime) -> bytes:
        fields = {"EventType": "fairlead.test", "At": now.isoformat()}
        return urlencode(fields).encode()

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> SignatureState:
        given = [delivery.header(name) for name in self.signature_headers]
        given = [one for one in given if one]
        if not given:
            return SignatureState.MISSING
        known = [secret for secret in secrets if secret]
        expected = [one.encode() for secret in known for one in self.expected(delivery, secret)]
        if any_match(expected, [one.encode("utf-8", "replace") for one in given]):
            return SignatureState.VALID
        return SignatureState.INVALID

    def expected(self, delivery: Delivery, secret: str) -> list[str]:
        """Return every signature that would be right for a delivery under *secret*."""
        algorithm = algorithm_of(delivery.header(SETTINGS))
        if not algorithm:
            return []
        texts = signed_texts(delivery.url, delivery.body)
        return [base64_hmac(text, secret, algorithm) for text in texts]

    def sign(
        self, body: bytes, secret: str, now: datetime, delivery_id: str, url: str = ""
    ) -> dict[str, str]:
        return {self.signature_headers[0]: form_signature(url, body, secret)}

    def delivery_key(self, delivery: Delivery, payload: Payload | None) -> str:
        kind = _kind(payload or {})
        if payload is None or not kind:
            return body_key(delivery.body)
        try:
            sid = self.external_id(payload)
        except BadPayload:
            return body_key(delivery.body)
        key = sid if kind == "received" else f"{sid}:{kind}"
        return key if usable_key(key) else body_key(delivery.body)

    def event_type(self, payload: Payload | None) -> str:
        kind = _kind(payload or {})
        if kind:
            return f"message.{kind}"[:200]
        return read_note(pick(payload or {}, "EventType", "CallStatus"))

    def external_id(self, payload: Payload) -> str:
        return read_identifier(_sid(payload), "MessageSid")

    def parties(self, payload: Payload) -> tuple[str | None, str | None]:
        sender, recipient = _address(payload.get("From")), _address(payload.get("To"))
        return (recipient, sender) if _kind(payload) == "received" else (sender, recipient)

    def parse(self, payload: Payload) -> list[Event]:
        kind = _kind(payload)
        if kind == "received":
            if _channel(payload.get("From")):
                return self._from_elsewhere(payload)
            return [self._received(payload)]
        return self._reported(payload, kind, STATUSES[kind]) if kind in STATUSES else []

    def build_send(self, text: OutboundText, account: Account) -> HttpCall:
        return laml_api.build_send(text, account, self.root)

    def read_send(
        self, status: int, headers: Mapping[str, str], body: bytes, recipient: str = ""
    ) -> SendResult:
        return laml_api.read_send(status, headers, body)

    def build_lookup(self, text: OutboundText, since: datetime, account: Account) -> HttpCall:
        fields = {"To": text.recipient, **laml_api.since_fields(since)}
        return laml_api.build_list(fields, account, self.root)

    def read_lookup(self, status: int, body: bytes) -> list[FoundText] | None:
        return laml_api.read_found(status, body)

    def build_pull(self, since: datetime, cursor: str, account: Account) -> HttpCall:
        if cursor:
            return laml_api.list_page(cursor, account, self.root)
        fields = laml_api.since_fields(since - laml_api.ON_ITS_WAY)
        return laml_api.build_list(fields, account, self.root)

    def read_pull(self, status: int, body: bytes) -> PullPage | None:
        return laml_api.read_page(status, body)

    def _received(self, payload: Payload) -> MessageReceived:
        ours, theirs = self.parties(payload)
        if ours is None or theirs is None:
            raise BadPayload(f"{self.name}: a number is missing")
        media = read_media([payload.get(f"MediaUrl{place}") for place in range(MAX_MEDIA)])
        is_mms = bool(media) or bool(_count(payload.get("NumMedia")))
        body = payload.get("Body")
        return MessageReceived(
            external_id=self.external_id(payload),
            occurred_at=_time(payload),
            sender=theirs,
            recipient=ours,
            body=read_text("" if body is None and is_mms else body, "Body"),
            channel="mms" if is_mms else "sms",
            media=media,
            carrier_keyword=_keyword(payload),
        )

    def _reported(self, payload: Payload, kind: str, status: Status) -> list[Event]:
        ours, theirs = self.parties(payload)
        if theirs is None:
            raise BadPayload(f"{self.name}: To is missing")
        did_fail = status in ("failed", "undelivered")
        error = read_note(pick(payload, "ErrorMessage", "ChannelStatusMessage"))
        report = MessageStatus(
            external_id=self.external_id(payload),
            occurred_at=_time(payload),
            sender=ours or "",  # a messaging service may not have chosen one yet
            recipient=theirs,
            status=status,
            error_code=read_note(payload.get("ErrorCode")) if did_fail else "",
            error=(error or ("canceled" if kind == "canceled" else "")) if did_fail else "",
            segments=_count(payload.get("NumSegments")),
        )
        if error_class(report.error_code) != "suppress":
            return [report]
        return [report, self._opted_out(payload, theirs, ours, f"error {report.error_code}")]

    def _from_elsewhere(self, payload: Payload) -> list[Event]:
        """Of other channels only the opt-out counts: RCS shares its opt-outs with SMS."""
        _ours, theirs = self.parties(payload)
        said_stop = read_note(payload.get("Body")).strip(" .!").upper() in STOP_WORDS
        if _keyword(payload) != "opt_out" and not said_stop:
            return []
        if theirs is None or _channel(payload.get("From")) != "rcs":
            return []
        return [self._opted_out(payload, theirs, None, "opted out by RCS")]

    def _opted_out(
        self, payload: Payload, theirs: str, ours: str | None, reason: str
    ) -> ContactOptedOut:
        return ContactOptedOut(
            external_id=self.external_id(payload),
            occurred_at=_time(payload),
            address=theirs,
            our_number=ours or "",
            reason=f"{self.label}: {reason}",
        )


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _sid(payload: Payload) -> Any:
    return pick(payload, "MessageSid", "SmsMessageSid", "SmsSid")


def _kind(payload: Payload) -> str:
    """Return ``received``, the status that is reported, or "" for what is no text at all."""
    if _sid(payload) is None or "ConversationSid" in payload:
        return ""
    status = read_note(pick(payload, "MessageStatus", "SmsStatus")).lower()
    if not status and ("Body" in payload or "NumMedia" in payload):
        return "received"
    return status if status.isprintable() else ""


def _keyword(payload: Payload) -> CarrierKeyword:
    return KEYWORDS.get(read_note(payload.get("OptOutType")).upper(), "")


def _channel(value: Any) -> str:
    """Return the channel that an address is prefixed with; "" of a plain number."""
    prefixed = CHANNEL.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    return prefixed[1] if prefixed else ""


def _address(value: Any) -> str | None:
    """Return an address without its channel; None where there is none, or one that is no number."""
    if value in (None, ""):
        return None
    if not _channel(value):
        return normalize_address(value)
    try:
        return normalize_address(value.partition(":")[2])
    except BadPayload:
        return None


def _count(value: Any) -> int | None:
    """Return a count; forms hold it as text."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,4}", value):
        value = int(value)
    return read_count(value)


def _time(payload: Payload) -> datetime | None:
    """Return when it happened, where that is told: webhooks as a rule hold no time."""
    done = payload.get("RawDlrDoneDate")
    if isinstance(done, str) and DONE_DATE.fullmatch(done):
        try:
            return datetime.strptime(done, "%y%m%d%H%M").replace(tzinfo=UTC)
        except ValueError:
            return None
    told = payload.get("DateSent")  # put in when a text is pulled from the API
    return read_instant(told, "DateSent") if told else None
