"""What data vendors do: search, enrich, check. Pure, like all of a provider; the caller pays.

A vendor is a ``DataVendor`` with any of ``Searches``, ``Enriches``, ``VerifiesEmail`` and
``LooksUpPhone``. Every ``build_*`` returns one request, every ``read_*`` a frozen result; no
``read_*`` ever raises, and what they return fits the columns it is meant for. A boolean that a
vendor does not tell is ``None``: unknown, which is not false.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from integrations.events import BadPayload, Event, VendorAnswered
from integrations.payloads import Payload, read_note
from integrations.providers.base import Account, HttpCall
from integrations.providers.standard_signing import StandardSigned

#: What an answer means for the caller:
#:
#: - ``hit``, ``miss``: an answer; ``units`` says what it cost.
#: - ``pending``: taken; the rest comes by webhook or ``build_poll``, which tells the whole cost.
#:   What is known at once is in it already.
#: - ``throttled``: not done, not billed; ask again after ``retry_after_s``.
#: - ``refused``: not done, not billed: the request or the key is wrong, and a person must act.
#: - ``balance``: not done, not billed: the account has no money, or no right to this service.
#: - ``failed``: the vendor says that it could not do it; not billed.
#: - ``ambiguous``: it may have been done and billed. Asking again may cost the same once more.
AnswerKind = Literal[
    "hit", "miss", "pending", "throttled", "refused", "balance", "failed", "ambiguous"
]
SearchKind = Literal["ok", "throttled", "refused", "balance", "failed", "ambiguous"]
Verdict = Literal["verified", "invalid", "catch_all", "unknown", "pending"]
LineType = Literal["mobile", "landline", "voip", "unknown"]
ServiceKind = Literal["enrich", "verify_email", "verify_phone"]
Bills = Literal["hit", "call"]

#: Longest error, vendor's request id and code that are kept.
MAX_ERROR, MAX_REQUEST_ID, MAX_CODE = 300, 120, 40


@dataclass(frozen=True, kw_only=True)
class Service:
    """One thing that a vendor sells, by the call. Prices are list prices in whole cents."""

    label: str
    kind: ServiceKind
    unit_cents: int
    most_units: int = 1  # that one call can cost
    bills: Bills = "hit"  # ``hit``: a miss is free; ``call``: every answer costs
    finds: frozenset[str] = frozenset()  # of phone, email, name, mak, apn, property, business
    is_async: bool = False  # the answer to ``build_*`` is ``pending``
    needs_callback: bool = False  # cannot be asked without a callback URL
    can_poll: bool = False  # ``build_poll`` works
    wait_s: float = 10.0  # before the first poll

    @property
    def price_cents(self) -> int:
        """The most that one call can cost: what to set aside before it."""
        return self.most_units * self.unit_cents

    def cost_cents(self, units: int | None) -> int:
        """Return what an answer cost; the most it can, where it does not tell (None)."""
        return self.price_cents if units is None else units * self.unit_cents


# --- what is found ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Point:
    """A phone number (E.164) or e-mail address (folded) that a vendor names."""

    kind: Literal["phone", "email"]
    value: str
    line_type: LineType = "unknown"
    carrier: str = ""  # at most 80 characters
    score: int | None = None  # 0-100, the vendor's
    dnc: bool | None = None
    tcpa: bool | None = None
    litigator: bool | None = None
    reachable: bool | None = None
    is_primary: bool = False
    person: int | None = None  # index into ``persons`` of the same result
    codes: tuple[str, ...] = ()  # the vendor's words about it, as ``verification_codes`` has them


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody that a vendor links to a lead; widths are those of ``Contact``."""

    first_name: str = ""
    last_name: str = ""
    full_name: str = ""
    title: str = ""
    linkedin: str = ""
    born: str = ""  # ISO date, only where the day is known
    born_year: int | None = None
    age: int | None = None  # where the vendor tells it; we have no clock here
    is_owner: bool | None = None
    is_deceased: bool | None = None
    is_litigator: bool | None = None
    confidence: int | None = None  # 0-100
    addresses: tuple[Mapping[str, str], ...] = ()  # names of lead columns → text


@dataclass(frozen=True, kw_only=True)
class VendorRecord:
    """One record of a search.

    ``fields`` has names of ``Lead`` columns, ``property`` of ``Property`` columns (``flags`` and
    ``mailing_address`` are mappings), ``business`` of ``Business`` columns; only what was told.
    """

    vendor_id: str  # 1 to 120 characters
    fields: Mapping[str, Any] = field(default_factory=dict)
    property: Mapping[str, Any] = field(default_factory=dict)
    business: Mapping[str, Any] = field(default_factory=dict)
    persons: tuple[Person, ...] = ()
    points: tuple[Point, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict)  # as jsonb can keep it


@dataclass(frozen=True, kw_only=True)
class SearchPage:
    """What the answer to ``build_search`` means. Only ``ok`` has records.

    ``unread`` counts what is listed but has no id to know it by: it is neither new nor known.
    """

    kind: SearchKind
    results_found: int = 0
    records: tuple[VendorRecord, ...] = ()
    unread: int = 0
    error: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Whom or what to ask about; ``request_id`` is ours and comes back with the answer."""

    request_id: str
    first_name: str = ""
    last_name: str = ""
    full_name: str = ""
    company: str = ""
    website: str = ""
    address_line1: str = ""
    unit: str = ""
    city: str = ""
    region: str = ""
    postal_code: str = ""
    county: str = ""
    county_fips: str = ""
    apn: str = ""
    mak: str = ""
    phone: str = ""
    email: str = ""


@dataclass(frozen=True, kw_only=True)
class Enriched:
    """What a vendor's answer says of one subject; shapes as in ``VendorRecord``.

    ``units`` is what was billed, None where the answer does not tell: ask the service's price.
    """

    kind: AnswerKind
    fields: Mapping[str, Any] = field(default_factory=dict)
    property: Mapping[str, Any] = field(default_factory=dict)
    business: Mapping[str, Any] = field(default_factory=dict)
    points: tuple[Point, ...] = ()  # of all persons, the best first
    persons: tuple[Person, ...] = ()
    codes: tuple[str, ...] = ()  # about the address or the record as a whole
    request_id: str = ""  # the vendor's, to poll with
    units: int | None = 0
    retry_after_s: float | None = None
    error: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict)  # this subject's part, as jsonb keeps it


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a vendor says of one phone number or e-mail address.

    ``verdict`` speaks only when ``kind`` is ``hit`` or ``pending``; it is ``verified`` only where
    the vendor vouches that the address works, and never for a catch-all domain.
    """

    kind: AnswerKind
    verdict: Verdict = "unknown"
    code: str = ""  # the vendor's word; with the channel a key of ``verification_codes``
    line_type: LineType = "unknown"
    carrier: str = ""
    dnc: bool | None = None
    tcpa: bool | None = None
    reachable: bool | None = None
    request_id: str = ""
    units: int | None = 0
    retry_after_s: float | None = None
    error: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict)


# --- what a vendor can do ---------------------------------------------------------------------


class DataVendor(StandardSigned):
    """A provider of data. Its webhooks bring answers to what was asked; none of them is signed.

    So its URLs are unsigned: the token in them is the proof, and an answer to nothing that was
    asked is kept and not acted on. A URL that is made signed takes Standard Webhooks, for those
    who relay through a gateway of their own.
    """

    signs = False
    services: ClassVar[Mapping[str, Service]] = {}

    def event_type(self, payload: Payload | None) -> str:
        payload = payload or {}
        return "answer" if self.answers(payload) else read_note(payload.get("type"))

    def external_id(self, payload: Payload) -> str:
        found = self.answers(payload)
        if not found:
            raise BadPayload(f"{self.name}: it answers nothing")
        return next(iter(found))

    def parties(self, payload: Payload) -> tuple[str | None, str | None]:
        return None, None

    def parse(self, payload: Payload) -> list[Event]:
        return [
            VendorAnswered(external_id=request_id, occurred_at=None, result=result)
            for request_id, result in self.answers(payload).items()
        ]

    def answers(self, payload: Payload) -> dict[str, Mapping[str, Any]]:
        """Return what a webhook answers: request id → what ``read_answer`` reads as a body.

        The id is ours where the vendor repeats it (BatchData), the vendor's own where it gave one
        (Apollo), or the address that was asked about (Instantly). Never raises.
        """
        return {}


class Searches(ABC):
    """Mixed into a vendor with lists of records, read by offset.

    The vendor bills the **result set**, not the page. *newly_billed* is the rule: what a request
    finds beyond what was found before, by the same query on the same day (UTC), is billed.
    """

    #: List price per record of the result set, in cents.
    record_cents: ClassVar[int]
    #: Price of a request with ``take=0``, which tells ``results_found`` and lists nothing.
    count_cents: ClassVar[int] = 0
    max_take: ClassVar[int] = 500
    #: Bytes that the answer to a page of ``max_take`` may have.
    max_answer: ClassVar[int] = 8 * 1024 * 1024

    @abstractmethod
    def build_search(
        self, params: Mapping[str, Any], skip: int, take: int, account: Account
    ) -> HttpCall:
        """Return the request for *take* records from *skip* on; *take* 0 only counts.

        Raises:
            ValueError: *params* is nothing that this vendor can search for; says why.
        """

    @abstractmethod
    def read_search(self, status: int, headers: Mapping[str, str], body: bytes) -> SearchPage:
        """Say what the answer means. Never raises."""

    @staticmethod
    def newly_billed(results_found: int, billed_before: int) -> int:
        """Return how many records a page was billed for.

        Args:
            results_found: as the answer tells.
            billed_before: the most that answers to this query told earlier on this day; 0 if none.
        """
        return max(0, results_found - billed_before)


class Enriches(ABC):
    """Mixed into a vendor that finds out more about a person or a property."""

    #: Subjects that one request may hold.
    max_subjects: ClassVar[int] = 1

    @abstractmethod
    def asks(self, service: str, subject: Subject) -> Mapping[str, str]:
        """Return what would be asked: the same for the same question, so that it can be kept.

        Empty when *subject* has too little to ask with: such a call would be money for nothing.
        """

    @abstractmethod
    def build_enrich(
        self,
        service: str,
        subjects: Sequence[Subject],
        account: Account,
        callback_url: str = "",
    ) -> HttpCall:
        """Return the request about one or more *subjects*, each of which can be asked about."""

    @abstractmethod
    def read_enrich(
        self,
        service: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        request_id: str,
    ) -> Enriched:
        """Say what the answer means for the subject *request_id*. Never raises."""

    def build_poll(self, service: str, request_id: str, account: Account) -> HttpCall:
        """Return the request for a pending answer; *request_id* is that of ``Enriched``."""
        raise NotImplementedError("this vendor cannot be polled")

    def read_poll(
        self,
        service: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        request_id: str,
    ) -> Enriched:
        """Say what the answer to ``build_poll`` means. Never raises."""
        raise NotImplementedError("this vendor cannot be polled")

    def read_answer(self, service: str, result: Mapping[str, Any], request_id: str) -> Enriched:
        """Say what a webhook's answer means: *result* is that of ``VendorAnswered``."""
        raise NotImplementedError("this vendor sends no answers")


class VerifiesEmail(ABC):
    """Mixed into a vendor that finds out whether an e-mail address works."""

    @abstractmethod
    def build_email_check(
        self, service: str, email: str, account: Account, callback_url: str = ""
    ) -> HttpCall:
        """Return the request about *email*, folded."""

    @abstractmethod
    def read_email_check(
        self, service: str, status: int, headers: Mapping[str, str], body: bytes, email: str
    ) -> Checked:
        """Say what the answer means. Never raises."""

    def build_email_poll(self, service: str, email: str, account: Account) -> HttpCall:
        """Return the request for a pending verdict; ``read_email_check`` reads its answer."""
        raise NotImplementedError("this vendor cannot be polled")

    def read_email_answer(self, service: str, result: Mapping[str, Any], email: str) -> Checked:
        """Say what a webhook's answer means: *result* is that of ``VendorAnswered``."""
        raise NotImplementedError("this vendor sends no answers")


class LooksUpPhone(ABC):
    """Mixed into a vendor that knows what kind of line a number is, or what lists it is on."""

    @abstractmethod
    def build_phone_check(self, service: str, number: str, account: Account) -> HttpCall:
        """Return the request about *number*, E.164."""

    @abstractmethod
    def read_phone_check(
        self, service: str, status: int, headers: Mapping[str, str], body: bytes, number: str
    ) -> Checked:
        """Say what the answer means. Never raises."""


def services_of(provider: object) -> Mapping[str, Service]:
    """Return what a provider (class or instance) sells by the call: key → service; {} if nothing.

    Carriers may sell, too: Twilio looks up phones without being a ``DataVendor``.
    """
    return getattr(provider, "services", {})
