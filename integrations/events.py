"""What providers tell us, in our own words. Handlers know these classes and no vendor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Channel = Literal["sms", "mms"]
CarrierKeyword = Literal["", "opt_out", "opt_in", "help"]
Status = Literal["accepted", "sent", "delivered", "undelivered", "failed"]


class BadPayload(ValueError):
    """The provider sent something its own documentation does not allow."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened at a provider."""

    external_id: str  # the provider's id of the thing; with the class, the event's identity
    occurred_at: datetime  # aware, UTC


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
    channel: Channel = "sms"
    keyword: str = ""  # the word they wrote, when known
    reason: str = ""  # the provider's own words


def effect_key(provider: str, external_id: str, effect: str) -> str:
    """Return the domain key that makes one effect happen once, whichever delivery brought it.

    One text delivered to two of our URLs has two delivery keys and one effect key.
    """
    return f"{provider}:{external_id}:{effect}"
