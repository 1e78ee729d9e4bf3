"""What providers tell us, in our own words. Handlers know these classes and no vendor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Channel = Literal["sms", "mms"]
ConsentChannel = Literal["sms", "call", "email"]
CarrierKeyword = Literal["", "opt_out", "opt_in", "help"]
Status = Literal["accepted", "sent", "delivered", "undelivered", "failed"]


class BadPayload(ValueError):
    """The provider sent something its own documentation does not allow."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened at a provider."""

    external_id: str  # the provider's id of the thing; with the class, the event's identity
    occurred_at: datetime | None  # aware, UTC; None: not told, so when it was received


@dataclass(frozen=True, kw_only=True)
class MessageReceived(Event):
    """A person wrote to one of our numbers."""

    sender: str  # their address: E.164, short code or alphanumeric sender
    recipient: str  # our number
    body: str  # holds neither NUL nor lone surrogates, so the database can keep it
    channel: Channel = "sms"
    media: tuple[str, ...] = ()  # http(s) URLs at the provider
    carrier_keyword: CarrierKeyword = ""  # set when the carrier itself already acted on the text


@dataclass(frozen=True, kw_only=True)
class MessageStatus(Event):
    """The carrier reports on a message of ours; ``external_id`` is the id it gave that message."""

    sender: str  # our number
    recipient: str  # theirs
    status: Status
    error_code: str = ""
    error: str = ""
    segments: int | None = None


@dataclass(frozen=True, kw_only=True)
class ContactOptedOut(Event):
    """A provider tells that a person must not be texted any more."""

    address: str  # theirs
    our_number: str = ""  # empty when the opt-out names no number of ours
    channel: ConsentChannel = "sms"
    keyword: str = ""  # the word they wrote, when known
    reason: str = ""  # the provider's own words


# --- what CRMs and dialers tell ---------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ContactChanged(Event):
    """A contact was made, edited or deleted in another system; ``external_id`` is its id there.

    ``facts`` holds only what the sender told, by names of ``Lead`` columns and ``phone`` (E.164),
    ``email`` (folded) and ``assigned_to``; an empty text says that the field was emptied.
    """

    change: Literal["created", "updated", "deleted"]
    facts: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] | None = None  # all tags it now has; None: not told
    tags_added: tuple[str, ...] = ()  # where only the difference is told
    tags_removed: tuple[str, ...] = ()
    dnd: Mapping[str, bool] = field(default_factory=dict)  # channel (sms, call, email) → do not
    is_ordered: bool = True  # False: ``occurred_at`` is not the time of this change


@dataclass(frozen=True, kw_only=True)
class CrmMessage(Event):
    """A message in another system's conversation, in or out; its numbers may not be told."""

    direction: Literal["in", "out"]
    contact_id: str
    conversation_id: str = ""
    body: str = ""
    channel: str = "sms"  # sms, call, email, voicemail…
    sender: str = ""
    recipient: str = ""
    status: str = ""


@dataclass(frozen=True, kw_only=True)
class CallReported(Event):
    """A phone call began, ended or was described; ``external_id`` is the call's id."""

    status: Literal["started", "completed", "failed", "missed", "enriched"]
    direction: Literal["in", "out"]
    ours: str = ""
    theirs: str = ""
    contact_id: str = ""
    was_dialled: bool = True  # False: the person's leg was never rung, so it is no attempt
    duration_s: int | None = None
    disposition: str = ""
    summary: str = ""
    recording_url: str = field(default="", repr=False)  # needs no login: a secret


@dataclass(frozen=True, kw_only=True)
class BroadcastReported(Event):
    """Counters of a broadcast: a snapshot, never to be added up; ``external_id`` is its id."""

    name: str = ""
    counters: Mapping[str, int] = field(default_factory=dict)
    is_completed: bool = False


@dataclass(frozen=True, kw_only=True)
class PaymentSucceeded(Event):
    """Money came in."""

    amount_cents: int
    currency: str  # ISO 4217, lower case
    email: str = ""
    phone: str = ""
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class AppChanged(Event):
    """An account of the vendor installed or removed our app; ``external_id`` is the account."""

    is_installed: bool
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class VendorAnswered(Event):
    """A data vendor answers what it was asked; ``external_id`` says what that was.

    Which kind of id it is, and how ``result`` is read, the vendor's adapter knows.
    """

    result: Mapping[str, Any] = field(default_factory=dict)  # in the vendor's format, for jsonb


def effect_key(provider: str, external_id: str, effect: str) -> str:
    """Return the domain key that makes one effect happen once, whichever delivery brought it.

    One text delivered to two of our URLs has two delivery keys and one effect key.
    """
    return f"{provider}:{external_id}:{effect}"
