"""How a text is billed: encoding, units and segments. ``static/js/segments.js`` does the same.

Alphabet: 3GPP TS 23.038. A text that needs several segments loses 7 septets (or 3 UCS-2 units) of
each to the header that joins them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Encoding = Literal["GSM-7", "UCS-2"]

BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
#: Sent as two septets, which must stay in one segment.
EXTENSION = frozenset("\f^{}\\[~]|€")

#: Units in a lone segment, and in each of several.
LIMITS: dict[Encoding, tuple[int, int]] = {"GSM-7": (160, 153), "UCS-2": (70, 67)}

#: What phones and word processors put in by themselves, and what says the same in GSM-7.
REPLACEMENTS = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4`", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\t\u00a0\u2002\u2003\u2007\u2009\u200a\u202f", " ")
    | dict.fromkeys("\u00ad\u200b\u2060\ufeff", "")
    | {"\u2026": "...", "\u2022": "*"}
)


@dataclass(frozen=True, kw_only=True)
class Segments:
    """What a text costs. ``units`` are septets in GSM-7 and 16-bit units in UCS-2."""

    encoding: Encoding
    units: int
    segments: int  # 0 for the empty text
    first_offender: str  # the first character GSM-7 lacks; "" in GSM-7


def count(text: str) -> Segments:
    """Count *text* as it stands; line breaks count as typed."""
    offender = next((char for char in text if char not in BASIC and char not in EXTENSION), "")
    encoding: Encoding = "UCS-2" if offender else "GSM-7"
    single, part = LIMITS[encoding]
    widths = [_width(char, encoding) for char in text]
    units = sum(widths)
    segments = min(units, 1)
    if units > single:
        used = 0
        for width in widths:
            if used + width > part:
                segments += 1
                used = 0
            used += width
    return Segments(encoding=encoding, units=units, segments=segments, first_offender=offender)


def to_gsm(text: str) -> str:
    """Replace curly quotes, dashes, ellipses and odd blanks by their GSM-7 equivalents."""
    return text.translate(REPLACEMENTS)


def _width(char: str, encoding: Encoding) -> int:
    if encoding == "GSM-7":
        return 2 if char in EXTENSION else 1
    return 2 if ord(char) > 0xFFFF else 1
