"""The contract every provider adapter keeps; ``tests/integrations/test_providers.py`` checks it."""

from __future__ import annotations

import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar, Literal

from integrations.events import BadPayload, Event
from integrations.payloads import MAX_IDENTIFIER, Payload
from tenants.registry import Registry

#: How far a signature's time may lie from ours, in seconds. Senders re-stamp every attempt.
TOLERANCE_S = 300

SendKind = Literal["accepted", "refused", "opted_out", "throttled", "failed", "ambiguous"]


class SignatureState(StrEnum):
    """What is known about who sent a delivery. Only ``VALID`` and ``UNSIGNED`` may pass."""

    VALID = "valid"
    MISSING = "missing"  # absent, empty or the literal "N/A"
    INVALID = "invalid"
    STALE = "stale"  # rightly signed, but too long ago or too far ahead
    UNSIGNED = "unsigned"  # said by the caller, of an endpoint that expects no signature


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One webhook request as it came over the wire."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)  # any case; kept in lower case
    content_type: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", MappingProxyType(lowered(self.headers)))

    def header(self, name: str) -> str:
        """Return a header's value without outer blanks; ``""`` when absent or ``N/A``."""
        value = self.headers.get(name.lower(), "").strip()
        return "" if value.upper() == "N/A" else value


@dataclass(frozen=True, kw_only=True)
class Lane:
    """Whose turn an event belongs to: events of one lane are worked on in order, one at a time."""

    ours: str | None  # our number
    theirs: str | None
    text: str  # "ours|theirs", else "msg:<external id>", else "key:<delivery key>"


@dataclass(frozen=True, kw_only=True)
class OutboundText:
    """A text to hand to a carrier."""

    sender: str  # our number, E.164 or short code
    recipient: str  # E.164 or short code
    body: str
    idempotency_key: str  # the same for every repeat of one attempt
    status_callback_url: str = ""


@dataclass(frozen=True, kw_only=True)
class HttpCall:
    """A request for the caller's own HTTP client, which adds nothing but deadlines."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)  # holds the API key
    body: bytes


@dataclass(frozen=True, kw_only=True)
class SendResult:
    """What the carrier's answer means.

    ``refused`` is never read from an answer: the caller uses it when nothing was written to the
    wire. ``ambiguous`` means the text may or may not go out, so it must not be sent anew.
    """

    kind: SendKind
    provider_id: str = ""  # the carrier's id of the message, when it accepted one
    error_code: str = ""
    error: str = ""
    retry_after_s: float | None = None


class Provider(ABC):
    """Translates one vendor's webhooks. Pure: no models, no clock, no network, no rules."""

    name: ClassVar[str]  # as registered and stored
    label: ClassVar[str]  # as people read it
    busy_status: ClassVar[int] = 503  # the answer that makes this sender try again
    hold_s: ClassVar[float] = 5.0  # how long intake may retry inside the request
    max_body: ClassVar[int] = 256 * 1024  # bytes
    content_types: ClassVar[tuple[str, ...]] = ("application/json",)
    has_idempotency_key: ClassVar[bool] = False

    def accepts(self, content_type: str) -> bool:
        """Tell whether a body of *content_type* (parameters allowed) is for us."""
        return content_type.partition(";")[0].strip().lower() in self.content_types

    @abstractmethod
    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> SignatureState:
        """Tell whether one of *secrets* signed the raw body, within 300 seconds of *now*.

        Never raises and never returns ``UNSIGNED``. Without a secret nothing is valid.
        """

    @abstractmethod
    def sign(self, body: bytes, secret: str, now: datetime, delivery_id: str) -> dict[str, str]:
        """Return the headers with which this vendor would send *body*."""

    @abstractmethod
    def delivery_key(self, delivery: Delivery, payload: Payload | None) -> str:
        """Return what a redelivery of the same webhook repeats; works for any body."""

    @abstractmethod
    def event_type(self, payload: Payload | None) -> str:
        """Return the vendor's own name of the event, at most 200 characters; ``""`` if none."""

    @abstractmethod
    def external_id(self, payload: Payload) -> str:
        """Return the vendor's id of the thing the event is about.

        Raises:
            BadPayload: there is none.
        """

    @abstractmethod
    def parties(self, payload: Payload) -> tuple[str | None, str | None]:
        """Return (our address, theirs), told apart by direction; ``None`` for one not named.

        Raises:
            BadPayload: an address is odd.
        """

    @abstractmethod
    def parse(self, payload: Payload) -> list[Event]:
        """Return the events in *payload*, oldest first; ``[]`` for kinds we have no use for.

        Raises:
            BadPayload: a field we need is missing or of the wrong type.
        """

    def route(self, payload: Payload | None) -> str | None:
        """Return the account id inside *payload*, for vendors with one URL for all tenants.

        ``None``: the endpoint's own tenant.
        """
        return None

    def lane(self, payload: Payload | None, delivery_key: str) -> Lane:
        """Return the lane of an event; works for any payload."""
        ours = theirs = None
        if payload is not None:
            with suppress(BadPayload):
                ours, theirs = self.parties(payload)
        if ours and theirs:
            return Lane(ours=ours, theirs=theirs, text=f"{ours}|{theirs}")
        text = f"key:{delivery_key}"
        if payload is not None:
            with suppress(BadPayload):
                text = f"msg:{self.external_id(payload)}"
        return Lane(ours=ours, theirs=theirs, text=text)


class Carrier(Provider):
    """A provider that also sends texts."""

    @abstractmethod
    def build_send(self, text: OutboundText, base_url: str, api_key: str) -> HttpCall:
        """Return the request that sends *text*."""

    @abstractmethod
    def read_send(
        self, status: int, headers: Mapping[str, str], body: bytes, recipient: str = ""
    ) -> SendResult:
        """Say what the answer to ``build_send`` means. Never raises, whatever came back."""


providers: Registry[type[Provider]] = Registry("provider")


def body_key(body: bytes) -> str:
    """Return the delivery key of last resort: redeliveries repeat the body, byte for byte."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def usable_key(text: str) -> bool:
    """Tell whether *text* can serve as a delivery key: 1 to 200 printable characters."""
    return 1 <= len(text) <= MAX_IDENTIFIER and text.isprintable()


def any_match(expected: Iterable[bytes], given: Sequence[bytes]) -> bool:
    """Tell whether one of *given* is one of *expected*, in constant time per pair."""
    matches = [hmac.compare_digest(one, other) for one in expected for other in given]
    return any(matches)


def freshness(signed_at_s: float, now: datetime) -> SignatureState:
    """Return ``VALID`` or ``STALE`` for a right signature made at *signed_at_s* (epoch)."""
    if abs(now.timestamp() - signed_at_s) <= TOLERANCE_S:
        return SignatureState.VALID
    return SignatureState.STALE


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """Return *headers* with lower-case names, so that ``get`` finds them however spelt."""
    return {name.lower(): value for name, value in headers.items()}
