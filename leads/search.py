"""Finding leads by what a person types or pastes: a name, a number, an address, any id."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import asdict, dataclass

from django.core.exceptions import ValidationError
from django.db import connection

from leads.captures import normalize_email
from tenants.admin.search import phone_prefix
from tenants.fields import UlidField
from tenants.ulids import to_text, to_uuid

#: Shorter words match too much to be looked for.
SHORTEST = 2
#: Longer ones name nothing of ours.
LONGEST = 200
#: Leads that a search returns.
MOST = 50
#: Ids by which a lead is found: its own, and those of what hangs from it.
ID_KINDS = ("lead", "con", "cpt", "prop", "biz", "ulc")

_ID = re.compile(r"([a-z]+)_([0-9A-Za-z]{26})")
#: Words that stand behind a last name.
_SUFFIXES = frozenset({"jr", "jr.", "sr", "sr.", "ii", "iii", "iv"})


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What words may mean; the arguments of the SQL function ``find_leads``. None: not that."""

    id_kind: str | None = None
    id: str | None = None
    code: str | None = None
    phone: str | None = None
    starts: str | None = None
    tail: str | None = None
    email: str | None = None
    words: str | None = None
    last: str | None = None
    first: str | None = None

    @property
    def is_empty(self) -> bool:
        return not any(asdict(self).values())


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A lead that was found, and by what: id, code, phone, email, name, company or address."""

    lead_id: str
    kind: str


def search(text: str, *, most: int = MOST) -> list[Hit]:
    """Return the leads of the running tenant that *text* names, the surest kind of find first.

    Found are ids (ours, a vendor's, another system's, parcel number, address key), phone numbers
    in any format or by their last four digits, e-mail addresses, and what begins like a name,
    company, street or street address. Names are taken as ``smi``, ``john smi`` or ``smith, john``.

    Args:
        text: as it was typed.
        most: at most 50.
    """
    asked = read(text)
    if asked.is_empty:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT lead, kind FROM find_leads(%s::jsonb, %s)",
            [json.dumps(asdict(asked)), min(most, MOST)],
        )
        return [Hit(lead_id=to_text("lead", row[0]), kind=row[1]) for row in cursor.fetchall()]


def read(text: str) -> Asked:
    """Say what *text* may mean. One text may mean several things: digits are codes as well."""
    text = unicodedata.normalize("NFKC", text).encode(errors="ignore").decode().replace("\x00", "")
    text = " ".join(text.split())[:LONGEST]
    if len(text) < SHORTEST:
        return Asked()
    if (match := _ID.fullmatch(text)) and (found := _own_id(match[1], text)):
        return found
    if "@" in text:
        return Asked(email=normalize_email(text) or text.lower(), code=text)
    number, whole = phone_prefix(text)
    digits = re.sub(r"[^0-9]", "", text)
    last, first = _names(text)
    return Asked(
        code=text if digits else None,
        phone=number if whole else None,
        starts=number if number and not whole and len(digits) >= 6 else None,
        tail=digits if number and not whole and len(digits) >= 4 else None,
        words=text if any(char.isalpha() for char in text) else None,
        last=last,
        first=first,
    )


def _own_id(kind: str, text: str) -> Asked | None:
    if kind not in ID_KINDS:
        return None
    try:
        UlidField(prefix=kind).to_python(text)
    except ValidationError:
        return None
    return Asked(id_kind=kind, id=str(to_uuid(text)))


def _names(text: str) -> tuple[str | None, str | None]:
    """Return (last name, first name) as far as *text* reads like a person's."""
    if any(char.isdigit() for char in text):
        return None, None
    before, comma, after = (part.strip() for part in text.partition(","))
    if comma:
        return before or None, after or None
    words = [word for word in text.split() if word.lower() not in _SUFFIXES] or text.split()
    if len(words) == 1:
        return words[0], None
    return words[-1], " ".join(words[:-1])
