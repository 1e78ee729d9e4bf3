"""Reading the contact records of CRMs and dialers: what was told, in our words and widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from integrations.addresses import fold_email, read_phone
from integrations.payloads import Payload, clean, read_note

#: Widths of the columns of ``Lead`` that these facts go to.
WIDTHS = {
    "first_name": 80,
    "last_name": 80,
    "full_name": 200,
    "company": 200,
    "title": 120,
    "address_line1": 200,
    "unit": 40,
    "city": 100,
    "region": 2,
    "postal_code": 10,
    "time_zone": 64,
    "assigned_to": 200,
}
FACTS = {*WIDTHS, "phone", "email"}
#: Values that mean something else when they are cut short: too long ones are left out.
WHOLE = {"region", "postal_code", "time_zone", "assigned_to"}

MAX_TAGS = 200
MAX_TAG = 60


def read_facts(record: Payload, names: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return what *record* says of a person, by our names; *names* are the sender's, best first.

    A field that is absent, null or odd is not told; an empty text says that it was emptied.
    """
    facts: dict[str, str] = {}
    for fact, sources in names.items():
        value = next((record[name] for name in sources if record.get(name) is not None), None)
        text = _read_fact(fact, value)
        if text is not None:
            facts[fact] = text
    return facts


def _read_fact(fact: str, value: Any) -> str | None:
    text = _plain(value)
    if text is None or text == "":
        return text
    if fact == "phone":
        return read_phone(text) or None
    if fact == "email":
        return fold_email(text) or None
    if fact == "region":
        text = text.upper()
    if fact == "time_zone" and text not in _zones():
        return None
    width = WIDTHS[fact]
    return None if fact in WHOLE and len(text) > width else text[:width]


def fitting(facts: Mapping[str, str]) -> dict[str, str]:
    """Return *facts* as the columns of a lead can hold them, whoever read them and how."""
    read = {fact: _read_fact(fact, text) for fact, text in facts.items() if fact in FACTS}
    return {fact: text for fact, text in read.items() if text is not None}


def _plain(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return read_note(value) or None
    return clean(value).strip() if isinstance(value, str) else None


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def read_tags(value: object) -> tuple[str, ...] | None:
    """Return the tags in a list or a comma-separated text, in order, each once; None: not told."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list):
        return None
    names = [clean(tag).strip()[:MAX_TAG] for tag in value if isinstance(tag, str)]
    return tuple(dict.fromkeys(name for name in names if name))[:MAX_TAGS]
