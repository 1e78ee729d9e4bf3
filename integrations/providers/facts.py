"""Single facts out of a data vendor's answer, as the columns of leads and properties hold them.

Each reader returns None or "" for what is missing, odd or too large: an unknown is better than a
wrong value, and a vendor's answer must never fail for one field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Literal

from integrations.addresses import fold_email, read_phone
from integrations.payloads import clean
from integrations.providers.base import retry_after
from integrations.providers.data import MAX_CODE, MAX_ERROR, AnswerKind, LineType, Point
from integrations.tolerant import storable

#: Widths of the text columns that facts go to.
WIDTHS = {
    "first_name": 80,
    "last_name": 80,
    "full_name": 200,
    "company": 200,
    "owner_company": 200,
    "title": 120,
    "address_line1": 200,
    "address_line2": 200,
    "unit": 40,
    "city": 100,
    "county": 80,
    "postal_code": 10,
    "apn": 60,
    "mak": 20,
    "property_type": 60,
    "linkedin": 200,
    "website": 200,
    "sector": 80,
    "sic_code": 8,
    "naics_code": 8,
    "carrier": 80,
    "vendor_id": 120,
    "request_id": 120,
}
#: Values that mean something else when they are cut short: too long ones are left out.
WHOLE = {
    "postal_code",
    "apn",
    "mak",
    "sic_code",
    "naics_code",
    "vendor_id",
    "request_id",
    "website",
}

MAX_DOLLARS = 10**13
MAX_COUNT = 2_000_000_000

FIPS = re.compile(r"[0-9]{5}")
NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,9})?")
STATES = {
    "alabama": "AL", "alaska": "AK", "arizona": "AZ", "arkansas": "AR", "california": "CA",
    "colorado": "CO", "connecticut": "CT", "delaware": "DE", "district of columbia": "DC",
    "florida": "FL", "georgia": "GA", "hawaii": "HI", "idaho": "ID", "illinois": "IL",
    "indiana": "IN", "iowa": "IA", "kansas": "KS", "kentucky": "KY", "louisiana": "LA",
    "maine": "ME", "maryland": "MD", "massachusetts": "MA", "michigan": "MI", "minnesota": "MN",
    "mississippi": "MS", "missouri": "MO", "montana": "MT", "nebraska": "NE", "nevada": "NV",
    "new hampshire": "NH", "new jersey": "NJ", "new mexico": "NM", "new york": "NY",
    "north carolina": "NC", "north dakota": "ND", "ohio": "OH", "oklahoma": "OK", "oregon": "OR",
    "pennsylvania": "PA", "puerto rico": "PR", "rhode island": "RI", "south carolina": "SC",
    "south dakota": "SD", "tennessee": "TN", "texas": "TX", "utah": "UT", "vermont": "VT",
    "virginia": "VA", "washington": "WA", "west virginia": "WV", "wisconsin": "WI",
    "wyoming": "WY",
}  # fmt: skip

LINE_TYPES: dict[str, LineType] = {
    "mobile": "mobile",
    "cell": "mobile",
    "cellular": "mobile",
    "wireless": "mobile",
    "landline": "landline",
    "fixedline": "landline",
    "voip": "voip",
    "fixedvoip": "voip",
    "nonfixedvoip": "voip",
}


def part(value: object, *path: str) -> dict[str, Any]:
    """Return the object at *path* below *value*; {} when there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return dict(value) if isinstance(value, Mapping) else {}


def parts(value: object, most: int = 100) -> list[dict[str, Any]]:
    """Return the objects in a list, at most so many."""
    if not isinstance(value, list):
        return []
    return [dict(item) for item in value if isinstance(item, Mapping)][:most]


def text(value: object, column: str) -> str:
    """Return a text for *column* in one line; whole numbers are taken as text."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64:
        value = str(value)
    if not isinstance(value, str):
        return ""
    found = " ".join(clean(value).split())
    found = "".join(letter for letter in found if letter.isprintable())
    width = WIDTHS[column]
    if len(found) > width:
        return "" if column in WHOLE else found[:width].rstrip()
    return found


def error_text(value: object) -> str:
    """Return a vendor's complaint, as an error column holds it."""
    found = " ".join(clean(value).split()) if isinstance(value, str) else ""
    return found[:MAX_ERROR]


def code(value: object) -> str:
    """Return a vendor's code: printable, at most 40 characters."""
    found = clean(value).strip() if isinstance(value, str) else ""
    return found[:MAX_CODE] if found.isprintable() else ""


def region(value: object) -> str:
    """Return a state as two letters, from its code or its name."""
    if not isinstance(value, str):
        return ""
    found = clean(value).strip()
    if len(found) == 2 and found.isascii() and found.isalpha():
        return found.upper()
    return STATES.get(" ".join(found.lower().split()), "")


def fips(value: object) -> str:
    """Return a county's five digits; a number has lost its leading zero."""
    if isinstance(value, int) and not isinstance(value, bool) and 1_000 <= value < 100_000:
        value = f"{value:05d}"
    return value if isinstance(value, str) and FIPS.fullmatch(value) else ""


def number(value: object, *, least: float, most: float) -> float | None:
    """Return a number in a range, from a number or its text (with ``$`` and commas or without)."""
    if isinstance(value, str):
        stripped = value.strip().lstrip("$").replace(",", "")
        value = float(stripped) if NUMBER.fullmatch(stripped) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if least <= value <= most else None  # also refuses NaN


def dollars(value: object) -> int | None:
    found = number(value, least=-MAX_DOLLARS, most=MAX_DOLLARS)
    return None if found is None else round(found)


def count(value: object, most: int = MAX_COUNT) -> int | None:
    found = number(value, least=0, most=most)
    return None if found is None else int(found)


def percent(value: object) -> int | None:
    found = number(value, least=0, most=100)
    return None if found is None else round(found)


def flag(value: object) -> bool | None:
    """Return yes or no; None where it is not said."""
    if isinstance(value, str):
        return {"true": True, "yes": True, "y": True, "false": False, "no": False, "n": False}.get(
            value.strip().lower()
        )
    return value if isinstance(value, bool) else None


def day(value: object) -> str:
    """Return an ISO date, from a date or the date of a time; "" for less than a day."""
    if not isinstance(value, str) or len(value) < 10:
        return ""
    try:
        found = date.fromisoformat(value[:10])
    except ValueError:
        return ""
    return found.isoformat() if 1800 <= found.year <= 2200 else ""


def told(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a vendor said: neither None nor ""."""
    return {name: value for name, value in facts.items() if value not in (None, "")}


def raw(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part of an answer as jsonb can keep it."""
    kept: dict[str, Any] = storable(value)
    return kept


# --- phones and e-mails -----------------------------------------------------------------------


def line_type(value: object) -> LineType:
    """Return our word for a vendor's kind of line, however it is spelt."""
    if not isinstance(value, str):
        return "unknown"
    return LINE_TYPES.get(re.sub(r"[^a-z]", "", value.lower()), "unknown")


def phone(value: object, **facts: Any) -> Point | None:
    """Return a point with a phone number; None when it is none."""
    found = read_phone(value)
    return Point(kind="phone", value=found, **facts) if found else None


def email(value: object, **facts: Any) -> Point | None:
    """Return a point with an e-mail address; None when it is none."""
    found = fold_email(value)
    return Point(kind="email", value=found, **facts) if found else None


def distinct(points: Iterable[Point | None]) -> tuple[Point, ...]:
    """Return the points that there are, each address once: as it was named first."""
    found: dict[tuple[str, str], Point] = {}
    for point in points:
        if point is not None:
            found.setdefault((point.kind, point.value), point)
    return tuple(found.values())


# --- answers that are none --------------------------------------------------------------------

Trouble = Literal["throttled", "refused", "balance", "failed", "ambiguous"]


def trouble(
    label: str, status: int, headers: Mapping[str, str], message: object = ""
) -> dict[str, Any]:
    """Return kind, error and pause of an answer that is no success, for any result class.

    A server error may have come after the work was done and billed: it is ambiguous.
    """
    said = error_text(message)
    kind: AnswerKind = "refused"
    if status == 429:
        kind, words = "throttled", f"{label} asks us to slow down."
    elif status == 401:
        words = f"{label} does not take the API key. Check it in the integration."
    elif status == 402:
        kind, words = "balance", f"The {label} account has no credit left. Top it up at {label}."
    elif status == 403:
        words = f"The API key may not do this at {label}. Check its rights there."
    elif status >= 500:
        kind, words = "ambiguous", f"{label} failed with {status}; it may have been done."
    elif status < 400:
        kind, words = "ambiguous", f"{label} answered {status}, which cannot be read."
    else:
        words = f"{label} refused the request with {status}."
    return {
        "kind": kind,
        "error": error_text(f"{words} {label} said: {said}" if said else words),
        "retry_after_s": retry_after(headers) if kind == "throttled" else None,
    }


def joined(values: Sequence[object]) -> str:
    """Return names in one line, as a full name is written."""
    return " ".join(value.strip() for value in values if isinstance(value, str) and value.strip())
