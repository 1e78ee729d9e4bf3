"""What a person may type into an admin's search box: an id, a phone number, or how a name begins.

Only equality and prefixes: they keep their meaning, and their indexes, under row-level security.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.db.models import Field, Model, Q

from tenants.fields import UlidField

_ID = re.compile(r"([a-z]+)_[0-9A-Za-z]{26}")
_PHONE = re.compile(r"\+?[0-9 ().\-]+")
_NOTHING = Q(pk__in=[])
#: Fewer digits than this are no phone number that somebody looks for.
FEWEST_DIGITS = 3


def phone_prefix(text: str) -> tuple[str, bool]:
    """Return *text* as E.164 and True, or as the beginning of one and False; ``""`` if neither.

    ``(202) 555-0142``, ``12025550142`` and ``+1 202 555 0142`` are the same number.
    """
    text = unicodedata.normalize("NFKC", text).strip()
    digits = re.sub(r"[^0-9]", "", text)
    if not _PHONE.fullmatch(text) or len(digits) < FEWEST_DIGITS:
        return "", False
    if text.startswith("+"):
        return f"+{digits}", len(digits) >= 11
    if len(digits) >= 11:
        return f"+{digits}", True
    return f"+1{digits}", len(digits) == 10


def prefix_of(field: Field) -> str:
    """Return the id prefix that values of *field* carry, ``""`` where it holds no ids."""
    target: Field = field.target_field if field.is_relation else field  # type: ignore[attr-defined]
    return target.prefix if isinstance(target, UlidField) else ""


def by_id(model: type[Model], term: str) -> Q | None:
    """Return the condition for a full id, of the row or of one it refers to; None for other text.

    An id of a kind this table does not know matches nothing.
    """
    if match := _ID.fullmatch(term):
        found = Q()
        for field in model._meta.concrete_fields:
            if prefix_of(field) == match[1].lower():
                found |= _equals(field, term)
        return found or _NOTHING
    if term.isdigit() and model._meta.pk.get_internal_type() == "BigAutoField":
        return Q(pk=int(term)) if len(term) < 19 else _NOTHING
    return None


def _equals(field: Field, term: str) -> Q:
    try:
        prepared = field.to_python(term) if not field.is_relation else term
        if field.is_relation:
            field.target_field.to_python(term)  # type: ignore[attr-defined]
    except ValidationError:
        return _NOTHING
    return Q(**{field.name: prepared})


def by_phone(fields: Iterable[str], term: str) -> Q | None:
    """Return the condition for a phone number in any format; None when *term* is none."""
    prefix, whole = phone_prefix(term)
    if not prefix:
        return None
    found = Q()
    for field in fields:
        found |= Q(**{field: prefix}) if whole else Q(**{f"{field}__startswith": prefix})
    return found or None


def by_words(fields: Iterable[str], term: str) -> Q:
    """Return the condition that every word begins one of *fields*, or all of them begin one."""
    names = list(fields)
    whole, each = Q(), Q()
    for name in names:
        whole |= Q(**{f"{name}__istartswith": term})
    for word in term.split()[:5]:
        one = Q()
        for name in names:
            one |= Q(**{f"{name}__istartswith": word})
        each &= one
    return whole | each if names else _NOTHING
