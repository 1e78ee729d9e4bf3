"""Tags of the pages about leads: bands, labels, money, yes or no or unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from leads.models.score import BANDS

register = template.Library()

BAND_COLORS = {"contactable": "green", "enriched": "amber", "low": "slate"}
COLORS = {"slate", "blue", "teal", "violet", "orange", "cyan", "green", "amber", "red"}


@register.simple_tag
def band_chip(band: str) -> SafeString:
    """Draw the chip of a quality band."""
    color = BAND_COLORS.get(band, "slate")
    return format_html('<span class="chip chip--{}">{}</span>', color, BANDS.get(band, band))


@register.simple_tag
def label_chip(label: Any) -> SafeString:
    """Draw a label, tag or flag: an object or the JSON of one, with name, color and kind."""
    read = label.get if isinstance(label, Mapping) else lambda name: getattr(label, name, "")
    kind = read("kind")
    color = read("color") if read("color") in COLORS else "slate"
    if kind == "flag":
        color = "red" if color == "slate" else color
    outline = " chip--outline" if kind == "tag" else f" chip--{color}"
    return format_html('<span class="chip{}">{}</span>', outline, read("name"))


@register.simple_tag
def tri_chip(word: str, bad: str = "yes") -> SafeString:
    """Draw yes, no or unknown; *bad* is the one that warns."""
    color = "outline" if word == "unknown" else "red" if word == bad else "green"
    return format_html('<span class="chip chip--{}">{}</span>', color, word.capitalize())


@register.filter
def money(cents: int | None) -> str:
    """Write cents as dollars; None is unknown."""
    return "unknown" if cents is None else f"${cents / 100:,.2f}"


@register.filter
def dollars(amount: int | None) -> str:
    """Write whole dollars; None is unknown."""
    if amount is None:
        return "unknown"
    return f"-${-amount:,}" if amount < 0 else f"${amount:,}"


@register.filter
def tri_word(value: bool | None) -> str:
    return "unknown" if value is None else "yes" if value else "no"


@register.filter
def spoken(word: str) -> str:
    """Write a key as words: ``vendor_answer`` is Vendor answer."""
    return str(word).replace("_", " ").capitalize()
