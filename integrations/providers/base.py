"""The contract every provider adapter keeps; ``tests/integrations/test_providers.py`` checks it."""

from __future__ import annotations

import hashlib
import hmac
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from integrations.events import BadPayload, Event, Status
from integrations.payloads import MAX_IDENTIFIER, Payload
from integrations.tolerant import Parsed, parse_json
from tenants.registry import Registry

#: How far a signature's time may lie from ours, in seconds. Senders re-stamp every attempt.
TOLERANCE_S = 300

#: Longest pause that a carrier may ask for, in seconds.
MAX_RETRY_AFTER_S = 3_600

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
    url: str = ""  # as the sender called it: public base URL, path and query
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
class Account:
    """One tenant's account with a vendor, as calls to its API need it."""

    base_url: str
    api_key: str = field(repr=False)
    account_id: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


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


@dataclass(frozen=True, kw_only=True)
class FoundText:
    """A text of ours as the vendor lists it, to find out what became of an attempt."""

    provider_id: str
    sender: str
    recipient: str
    body: str
    at: datetime  # when the vendor took it, aware
    status: Status
    error_code: str = ""


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """One thing a vendor lists that it may have failed to tell: a webhook we make up for it."""

    key: str  # vendor's id and status: what makes it unique among pulled things
    external_id: str  # the vendor's id of the thing; with *is_status* it tells whether it is known
    body: bytes  # in the vendor's webhook format, so that ``parse`` reads it
    at: datetime  # when it happened, aware
    is_status: Status | None = None  # set when it is a report about a text of ours


@dataclass(frozen=True, kw_only=True)
class PullPage:
    """One page of a vendor's list. ``cursor`` goes into the next ``build_pull``; "" is the end."""

    items: tuple[Pulled, ...]
    cursor: str = ""


class Provider(ABC):
    """Translates one vendor's webhooks. Pure: no models, no clock, no network, no rules.

    *config*: settings of the integration; under ``mappings`` its field mappings. Only providers
    that say ``is_configured`` are given any.
    """

    name: ClassVar[str]  # as registered and stored
    label: ClassVar[str]  # as people read it
    note: ClassVar[str] = ""  # what people must know before they connect it
    is_configured: ClassVar[bool] = False
    #: Body and content type of every accepting answer; None: our JSON.
    acknowledgement: ClassVar[tuple[bytes, str] | None] = None
    #: False where only the vendor can sign (its private key): we cannot send a test event.
    can_sign: ClassVar[bool] = True
    #: False where the vendor never signs: the token in a URL is then the only proof.
    signs: ClassVar[bool] = True
    #: False where the vendor sends nothing: it is asked, and has no URL of ours.
    has_webhooks: ClassVar[bool] = True
    #: True where a request proves its sender with something else than a secret of the integration.
    has_vendor_key: ClassVar[bool] = False
    #: True where one URL and key serve all tenants: ``route`` then finds the account.
    is_shared: ClassVar[bool] = False
    busy_status: ClassVar[int] = 503  # the answer that makes this sender try again
    hold_s: ClassVar[float] = 5.0  # how long intake may retry inside the request
    max_body: ClassVar[int] = 256 * 1024  # bytes
    content_types: ClassVar[tuple[str, ...]] = ("application/json",)
    has_idempotency_key: ClassVar[bool] = False

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.config: Mapping[str, Any] = config or {}

    def read(self, body: bytes, content_type: str = "") -> Parsed:
        """Return *body* as an object. Never raises; what is no object is malformed."""
        return parse_json(body)

    def test_event(self, now: datetime) -> bytes:
        """Return the body of an event without effect, to try a webhook URL with."""
        return b'{"event": "fairlead.test", "type": "fairlead.test"}'

    def accepts(self, content_type: str) -> bool:
        """Tell whether a body of *content_type* (parameters allowed) is for us."""
        return content_type.partition(";")[0].strip().lower() in self.content_types

    @abstractmethod
    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> SignatureState:
        """Tell whether one of *secrets* signed the raw body, within 300 seconds of *now*.

        Never raises and never returns ``UNSIGNED``. Without a secret nothing is valid.
        """

    @abstractmethod
    def sign(
        self, body: bytes, secret: str, now: datetime, delivery_id: str, url: str = ""
    ) -> dict[str, str]:
        """Return the headers with which this vendor would send *body* to *url*."""

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

    #: True where texts can be listed by recipient, so that an unknown can be looked up.
    has_lookup: ClassVar[bool] = False

    @abstractmethod
    def build_send(self, text: OutboundText, account: Account) -> HttpCall:
        """Return the request that sends *text*."""

    @abstractmethod
    def read_send(
        self, status: int, headers: Mapping[str, str], body: bytes, recipient: str = ""
    ) -> SendResult:
        """Say what the answer to ``build_send`` means. Never raises, whatever came back."""

    def build_lookup(self, text: OutboundText, since: datetime, account: Account) -> HttpCall:
        """Return the request that lists texts to *text*'s recipient taken since *since*."""
        raise NotImplementedError(f"{self.name} has no look-up")

    def read_lookup(self, status: int, body: bytes) -> list[FoundText] | None:
        """Return the texts in the answer, any order; None when it is no answer to go by."""
        raise NotImplementedError(f"{self.name} has no look-up")


class Reconciles(ABC):
    """Mixed into a provider whose API lists what its webhooks should have told."""

    #: True where a list cannot be asked for a time, and begins with the newest: reading ends with
    #: the first page on which all is old.
    is_newest_first: ClassVar[bool] = False

    @abstractmethod
    def build_pull(self, since: datetime, cursor: str, account: Account) -> HttpCall:
        """Return the request for the page at *cursor* ("" is the first) of things since *since*."""

    @abstractmethod
    def read_pull(self, status: int, body: bytes) -> PullPage | None:
        """Return the page; None when the answer is no list, which ends the run as failed."""


class TakesOptOuts(ABC):
    """Mixed into a provider whose API can be told that a person opted out."""

    @abstractmethod
    def build_opt_out(self, address: str, contact_id: str, account: Account) -> HttpCall | None:
        """Return the request that tells of an opt-out; None when the vendor cannot know *address*.

        *contact_id*: the vendor's id of the person, "" when we know none.
        """

    @abstractmethod
    def read_opt_out(self, status: int, body: bytes) -> str:
        """Return "" when the vendor took it, else why not, in words."""


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


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the pause a throttling answer asks for, in seconds, at most an hour.

    *headers*: any case. ``None`` when absent or a date: the caller's own back-off is as good.
    """
    text = lowered(headers).get("retry-after", "").strip()
    if not re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,3})?", text):
        return None
    return min(float(text), MAX_RETRY_AFTER_S)
