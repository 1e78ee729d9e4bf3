"""What a field mapping can fill: per kind of event its targets, and which of them it needs.

The one place of this knowledge: the custom provider builds events by it, forms offer it, the
preview explains with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from integrations.addresses import fold_email, normalize_address, read_phone
from integrations.events import BadPayload, CarrierKeyword, ConsentChannel, Status
from integrations.payloads import (
    MAX_IDENTIFIER,
    read_identifier,
    read_instant,
    read_media,
    read_text,
)
from integrations.transforms import as_text

MAX_COUNT = 2**53

# Words of senders → ours.
STATUSES: dict[str, Status] = {
    "accepted": "accepted",
    "queued": "accepted",
    "enqueued": "accepted",
    "sent": "sent",
    "delivered": "delivered",
    "undelivered": "undelivered",
    "failed": "failed",
}
KEYWORDS: dict[str, CarrierKeyword] = {"opt_out": "opt_out", "opt_in": "opt_in", "help": "help"}
CHANNELS: dict[str, ConsentChannel] = {
    "sms": "sms",
    "mms": "sms",
    "call": "call",
    "voice": "call",
    "email": "email",
}
DIRECTIONS = {"in": "in", "inbound": "in", "out": "out", "outbound": "out"}
CALL_STATUSES = {
    "completed": "completed",
    "failed": "failed",
    "missed": "missed",
}


@dataclass(frozen=True, kw_only=True)
class Target:
    """A field of an event. ``read`` brings a value into its form, or raises ``BadPayload``."""

    name: str
    label: str
    read: Callable[[Any], Any]
    hint: str = ""
    is_needed: bool = False


@dataclass(frozen=True, kw_only=True)
class Module:
    """A kind of event a mapping can build."""

    name: str
    label: str
    targets: tuple[Target, ...]

    @property
    def readers(self) -> Mapping[str, Callable[[Any], Any]]:
        return {target.name: target.read for target in self.targets}

    @property
    def needed(self) -> tuple[str, ...]:
        """Targets without which the event makes no sense."""
        return tuple(target.name for target in self.targets if target.is_needed)

    def target(self, name: str) -> Target | None:
        return next((target for target in self.targets if target.name == name), None)


# --- reading values -----------------------------------------------------------------------------


def _identifier(value: Any) -> str:
    return read_identifier(as_text(value), "an id")


def _note(value: Any) -> str:
    text = as_text(value).strip()
    if len(text) > MAX_IDENTIFIER:
        raise BadPayload(f"longer than {MAX_IDENTIFIER} characters")
    return text


def _email(value: Any) -> str:
    folded = fold_email(value)
    if not folded:
        raise BadPayload("an e-mail address is expected")
    return folded


def _phone(value: Any) -> str:
    number = read_phone(value)
    if not number:
        raise BadPayload("a phone number is expected")
    return number


def _reachable(value: Any) -> str:
    return _email(value) if isinstance(value, str) and "@" in value else normalize_address(value)


def _text(value: Any) -> str:
    return read_text(as_text(value), "a text")


def _instant(value: Any) -> datetime:
    return value if isinstance(value, datetime) else read_instant(value, "a time")


def _count(value: Any) -> int:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal():
        value = int(value) if len(value) <= 20 else -1
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise BadPayload("a whole number from 0 on is expected")
    return value


def _amount(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise BadPayload("whole cents are expected: use the transform for money, or a whole number")
    return value


def _yes_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadPayload("yes or no is expected: use that transform")
    return value


def _tags(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, list | tuple) else [value]
    texts = (as_text(item).strip()[:MAX_IDENTIFIER] for item in items[:200])
    return tuple(text for text in texts if text)


def _media(value: Any) -> tuple[str, ...]:
    return read_media(list(value) if isinstance(value, tuple) else value)


def _url(value: Any) -> str:
    found = read_media(value)
    if len(found) != 1:
        raise BadPayload("a web address is expected")
    return found[0]


def _currency(value: Any) -> str:
    text = as_text(value).strip().lower()
    if len(text) != 3 or not (text.isascii() and text.isalpha()):
        raise BadPayload("a currency of three letters is expected")
    return text


def _one_of(words: Mapping[str, str]) -> Callable[[Any], str]:
    """Return a reader of one of *words*, as the sender writes them → as we do."""

    def read(value: Any) -> str:
        word = as_text(value).strip().lower()
        if word not in words:
            raise BadPayload(f"expected {', '.join(words)}")
        return words[word]

    return read


def _or_empty(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Let an empty text through: the sender says that the field was emptied."""
    return lambda value: "" if isinstance(value, str) and not value.strip() else read(value)


# --- the targets --------------------------------------------------------------------------------


def _target(  # what a row below holds
    name: str, label: str, read: Callable[[Any], Any], hint: str = "", *, needed: bool = False
) -> Target:
    return Target(name=name, label=label, read=read, hint=hint, is_needed=needed)


_ID = _target("external_id", "Their id", _identifier, "Empty: made of the whole payload.")
_NEEDED_ID = _target("external_id", "Their id", _identifier, needed=True)
_AT = _target("occurred_at", "When it happened", _instant, "Empty: when we received it.")
_WORDS_OF = {
    "status": f"One of {', '.join(STATUSES)}.",
    "channel": f"One of {', '.join(CHANNELS)}; sms when empty.",
    "direction": f"One of {', '.join(DIRECTIONS)}.",
    "keyword": f"{', '.join(KEYWORDS)}: their system already answered it.",
    "call": f"One of {', '.join(CALL_STATUSES)}; completed when empty.",
}

_FACTS = (
    _target("first_name", "First name", _note),
    _target("last_name", "Last name", _note),
    _target("full_name", "Full name", _note),
    _target("company", "Company", _note),
    _target("title", "Title", _note),
    _target("address_line1", "Street", _note),
    _target("unit", "Unit", _note),
    _target("city", "City", _note),
    _target("region", "State", _note, "Two letters."),
    _target("postal_code", "Postal code", _note),
    _target("time_zone", "Time zone", _note, "As America/New_York."),
    _target("phone", "Phone number", _or_empty(_phone)),
    _target("email", "E-mail", _or_empty(_email)),
    _target("assigned_to", "Assigned to", _note, "Their id of the person."),
)
FACT_NAMES = tuple(target.name for target in _FACTS)
DND_CHANNELS = ("sms", "call", "email")
_CONTACT = (
    _NEEDED_ID,
    _AT,
    *_FACTS,
    _target("tags", "Tags", _tags, "All it has now, as a list."),
    *(
        _target(f"dnd_{channel}", f"Do not disturb: {channel}", _yes_no, "Yes: do not.")
        for channel in DND_CHANNELS
    ),
)

COUNTERS = (
    "targeted",
    "sent",
    "delivered",
    "pending",
    "failed",
    "replied",
    "opted_out",
    "clicked",
    "appointments",
)
_BROADCAST = (
    _NEEDED_ID,
    _AT,
    _target("name", "Name", _note),
    *(
        _target(counter, counter.replace("_", " ").capitalize(), _count, "So far, as a total.")
        for counter in COUNTERS
    ),
)


def _module(name: str, label: str, *targets: Target) -> tuple[str, Module]:
    return name, Module(name=name, label=label, targets=targets)


#: Canonical type → module.
MODULES: dict[str, Module] = dict(
    [
        _module(
            "message.received",
            "Text received",
            _target("sender", "From (theirs)", normalize_address, needed=True),
            _target("recipient", "To (ours)", normalize_address, needed=True),
            _target("body", "Text", _text),
            _target("media", "Pictures", _media, "Web addresses."),
            _ID,
            _AT,
            _target("carrier_keyword", "Keyword", _one_of(KEYWORDS), _WORDS_OF["keyword"]),
        ),
        _module(
            "message.status",
            "Status of a text",
            _NEEDED_ID,
            _target("sender", "From (ours)", normalize_address, needed=True),
            _target("recipient", "To (theirs)", normalize_address, needed=True),
            _target("status", "Status", _one_of(STATUSES), _WORDS_OF["status"], needed=True),
            _target("error_code", "Error code", _note),
            _target("error", "Error", _note),
            _target("segments", "Segments", _count),
            _AT,
        ),
        _module(
            "contact.opted_out",
            "Opt-out",
            _target("address", "Their number or e-mail", _reachable, needed=True),
            _target("channel", "Channel", _one_of(CHANNELS), _WORDS_OF["channel"]),
            _target("our_number", "Our number", _or_empty(normalize_address)),
            _target("keyword", "The word they wrote", _note),
            _target("reason", "Reason", _note),
            _ID,
            _AT,
        ),
        _module("contact.created", "Contact created", *_CONTACT),
        _module("contact.updated", "Contact updated", *_CONTACT),
        _module("contact.deleted", "Contact deleted", _NEEDED_ID, _AT),
        _module(
            "call.completed",
            "Call ended",
            _target("theirs", "Their number", normalize_address, needed=True),
            _target(
                "direction", "Direction", _one_of(DIRECTIONS), _WORDS_OF["direction"], needed=True
            ),
            _target("ours", "Our number", _or_empty(normalize_address)),
            _target("status", "How it ended", _one_of(CALL_STATUSES), _WORDS_OF["call"]),
            _target("contact_id", "Their id of the person", _note),
            _target("duration_s", "Length in seconds", _count),
            _target("disposition", "Disposition", _note),
            _target("summary", "Summary", _text),
            _target("recording_url", "Recording", _url, "A web address."),
            _ID,
            _AT,
        ),
        _module(
            "payment.succeeded",
            "Payment",
            _target("amount_cents", "Amount in cents", _amount, needed=True),
            _target("currency", "Currency", _currency, "Three letters; usd when empty."),
            _target("email", "E-mail", _or_empty(_email)),
            _target("phone", "Phone number", _or_empty(_phone)),
            _target("description", "Description", _note),
            _ID,
            _AT,
        ),
        _module("broadcast.updated", "Broadcast: counters", *_BROADCAST),
        _module("broadcast.completed", "Broadcast: finished", *_BROADCAST),
    ]
)
