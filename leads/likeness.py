"""How sure it is that two leads are one, and why. Pure: the same two give the same answer.

Phone .35, e-mail .30, address .20, name .15, as the matcher of the old system weighed them. It
divided by what agreed alone, so that two people of one name were the same person; here what
disagrees counts against, and a single piece of evidence never suffices.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from leads.nicknames import may_be_one

WEIGHTS = {"phone": 0.35, "email": 0.30, "address": 0.20, "name": 0.15}
#: People have several numbers and mailboxes: two different ones say less than two names.
MILD = {"phone": 0.5, "email": 0.5}
#: One thing in common is never enough; a phone is what a household shares.
ALONE, HOUSEHOLD = 0.6, 0.45
#: From which likeness two spellings are one name or street.
TYPO = 0.85
HOUSEHOLD_WORDS = "household phone"


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """What the finder knows of a lead."""

    first_name: str = ""
    last_name: str = ""
    full_name: str = ""
    company: str = ""
    address_line1: str = ""
    unit: str = ""
    city: str = ""
    postal_code: str = ""
    addr_hash: str | None = None
    phones: frozenset[str] = frozenset()
    emails: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """``score`` is 0 to 100; ``reasons`` has a line per field that both have."""

    score: int
    reasons: list[dict[str, Any]] = field(default_factory=list)


def compare(one: Person, other: Person) -> Likeness:
    """Weigh what two leads have in common against what they have not."""
    compared = {
        "phone": _shared(one.phones, other.phones, "Both have {}", "No number in common"),
        "email": _shared(
            frozenset(map(fold, one.emails)),
            frozenset(map(fold, other.emails)),
            "Both have {}",
            "No e-mail address in common",
        ),
        "address": _addresses(one, other),
        "name": _names(one, other),
    }
    agreeing = known = 0.0
    reasons = []
    for part, found in compared.items():
        if found is None:
            continue
        likeness, words = found
        weight = WEIGHTS[part]
        agreeing += weight * likeness
        known += weight if likeness else weight * MILD.get(part, 1.0)
        reasons.append(
            {
                "field": part,
                "agrees": likeness > 0,
                "points": round(100 * weight * likeness),
                "text": words,
            }
        )
    return Likeness(score=_score(agreeing, known, reasons), reasons=reasons)


def _score(agreeing: float, known: float, reasons: list[dict[str, Any]]) -> int:
    agree = [reason["field"] for reason in reasons if reason["agrees"]]
    if not agree or agree == ["name"]:
        return 0
    # The less there is in common at all, the less sure it is, however well it fits.
    score = agreeing / known * min(1.0, 0.45 + 0.65 * agreeing)
    if agree == ["phone"]:
        score = min(score, HOUSEHOLD)
        for reason in reasons:
            if reason["field"] == "phone":
                reason["text"] += f" ({HOUSEHOLD_WORDS})"
    elif len(agree) == 1:
        score = min(score, ALONE)
    return round(100 * score)


def fold(email: str) -> str:
    """Return the mailbox behind an address: Gmail knows neither dots nor tags."""
    local, _, domain = email.partition("@")
    if domain in ("gmail.com", "googlemail.com"):
        return f"{local.partition('+')[0].replace('.', '')}@gmail.com"
    return email


Found = tuple[float, str] | None


def _shared(one: frozenset[str], other: frozenset[str], both: str, none: str) -> Found:
    if not one or not other:
        return None
    common = sorted(one & other)
    return (1.0, both.format(common[0])) if common else (0.0, none)


def _addresses(one: Person, other: Person) -> Found:
    if not one.address_line1 or not other.address_line1:
        return None
    if one.addr_hash is not None and one.addr_hash == other.addr_hash:
        return 1.0, f"Same address: {one.address_line1}"
    mine, theirs = _words(one.address_line1), _words(other.address_line1)
    same_place = one.postal_code[:5] == other.postal_code[:5] != "" or (
        one.city.casefold() == other.city.casefold() != ""
        and not (one.postal_code and other.postal_code)
    )
    same_unit = one.unit.casefold() == other.unit.casefold()
    if same_place and same_unit and mine[:1] == theirs[:1]:
        if mine == theirs:
            return 1.0, f"Same address: {one.address_line1}"
        if _alike(" ".join(mine), " ".join(theirs)):
            return 0.8, f"{one.address_line1} is nearly {other.address_line1}"
    return 0.0, "Different addresses"


def _names(one: Person, other: Person) -> Found:
    mine, theirs = _name(one), _name(other)
    if mine is None or theirs is None:
        companies = (one.company.casefold().strip(), other.company.casefold().strip())
        if not all(companies):
            return None
        alike = companies[0] == companies[1] or _alike(*companies)
        return (1.0, f"Same company: {one.company}") if alike else (0.0, "Different companies")
    (first, last), (their_first, their_last) = mine, theirs
    if last != their_last and not _alike(last, their_last):
        return 0.0, "Different names"
    sure = 1.0 if last == their_last else 0.8
    if first == their_first:
        return sure, f"Same name: {_shown(first, last)}"
    if may_be_one(first, their_first):
        return 0.9 * sure, f"{_shown(first)} may be {_shown(their_first)}"
    if first[:1] == their_first[:1] and 1 in (len(first), len(their_first)):
        return 0.6, f"{_shown(first, last)} may be {_shown(their_first, their_last)}"
    if len(first) > 3 and _alike(first, their_first):
        return 0.8, f"{_shown(first)} is nearly {_shown(their_first)}"
    return 0.0, "Different first names"


def _name(person: Person) -> tuple[str, str] | None:
    """Return first and last name in lower case; None unless both are known."""
    first, last = person.first_name, person.last_name
    if not (first and last):
        words = _words(person.full_name)
        if len(words) < 2:
            return None
        return words[0], words[-1]
    return " ".join(_words(first)[:1]), " ".join(_words(last))


def _shown(*names: str) -> str:
    return " ".join(names).title()


def _words(text: str) -> list[str]:
    return re.sub(r"[^\w\s-]", "", text.casefold()).split()


def _alike(one: str, other: str) -> bool:
    return SequenceMatcher(None, one, other, autojunk=False).ratio() >= TYPO
