"""Columns and values as people read them: chips, links between records, text that is only text."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

#: Meaning of a value → color of its chip; what is not listed stays slate.
COLORS = {
    "active": "green",
    "accepted": "green",
    "ambiguous": "amber",
    "clean": "green",
    "completed": "green",
    "dead": "red",
    "delivered": "green",
    "done": "green",
    "failed": "red",
    "held": "amber",
    "hold": "amber",
    "malformed": "red",
    "not_written": "amber",
    "open": "blue",
    "opt_in": "green",
    "opt_out": "red",
    "opted_in": "green",
    "opted_out": "red",
    "pending": "blue",
    "processing": "teal",
    "quarantined": "amber",
    "ready": "blue",
    "resting": "amber",
    "running": "blue",
    "sending": "blue",
    "sent": "teal",
    "snoozed": "violet",
    "suppressed": "red",
    "throttled": "amber",
    "undelivered": "red",
    "unknown": "amber",
    "unstorable": "amber",
    "valid": "green",
}
#: Stands where a value is missing.
NOTHING = "\N{EN DASH}"
#: Raw bytes are shown up to here.
MOST_SHOWN = 64 * 1024


def chip(value: str, label: str, color: str = "") -> SafeString:
    """Draw a chip; its word is always there, the color only repeats it."""
    return format_html('<span class="chip chip--{}">{}</span>', color or value, label)


def chip_column(
    field: str, title: str = "", colors: Mapping[str, str] = COLORS
) -> Callable[[Any], Any]:
    """Return a column that draws *field*, which has choices, as a chip."""

    @admin.display(description=title or field.replace("_", " "))
    def column(record: Model) -> SafeString | str:
        value = getattr(record, field)
        if value in (None, ""):
            return NOTHING
        display = getattr(record, f"get_{field}_display", None)
        label = display() if display else str(value).replace("_", " ").capitalize()
        return chip(value, label, colors.get(value, ""))

    column.__name__ = f"{field}_chip"
    return column


def words_column(field: str, title: str = "") -> Callable[[Any], Any]:
    """Return a column that writes a key such as ``book_appointment`` as words."""

    @admin.display(description=title or field.replace("_", " "))
    def column(record: Model) -> str:
        return str(getattr(record, field) or NOTHING).replace("_", " ").capitalize()

    column.__name__ = f"{field}_words"
    return column


def id_link(field: str, view: str, title: str) -> Callable[[Any], Any]:
    """Return a column with the id in *field*, linked to the admin page *view* of that record."""

    @admin.display(description=title)
    def column(record: Model) -> SafeString | str:
        value = getattr(record, field)
        if not value:
            return NOTHING
        try:
            url = reverse(f"admin:{view}_change", args=[value])
        except NoReverseMatch:
            return str(value)
        return format_html('<a class="mono" href="{}">{}</a>', url, value)

    column.__name__ = f"{field}_link"
    return column


def visible_text(raw: bytes | memoryview | str | None) -> SafeString | str:
    """Draw bytes that came from outside as text and nothing else.

    Markup is escaped; control characters and those that turn the writing direction are shown
    instead of obeyed. Only the first 64 kB.
    """
    if raw is None:
        return NOTHING
    if not isinstance(raw, str):
        raw = bytes(raw[:MOST_SHOWN]).decode("utf-8", "replace")
    return format_html(
        '<pre class="raw" tabindex="0" role="region" aria-label="Text">{}</pre>',
        plain(raw[:MOST_SHOWN]),
    )


def plain(text: str) -> str:
    """Return *text* with its control characters, and those that turn it around, made visible."""
    return "".join(_visible(char) for char in text)


def _visible(char: str) -> str:
    if char in "\n\t":
        return char
    match unicodedata.category(char):
        case "Cc" if ord(char) < 0x20:
            return chr(0x2400 + ord(char))
        case "Cc" | "Cf" | "Co" | "Cs" | "Cn":
            return f"\\u{ord(char):04x}"
    return char
