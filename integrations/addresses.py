"""The shape of a sender's or recipient's address. Whether a number exists is not asked here."""

from __future__ import annotations

import re
import unicodedata

from integrations.events import BadPayload

#: Longer text is never an address; it also bounds the work below.
MAX_LENGTH = 40
#: Longest e-mail address that a column holds.
MAX_MAIL = 320

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
NANP_10 = re.compile(r"[2-9][0-9]{9}")
#: SignalHouse writes E.164 without its plus sign.
BARE_E164 = re.compile(r"(?:1[2-9][0-9]{9}|[2-9][0-9]{10}|[1-9][0-9]{11,14})")
SHORT_CODE = re.compile(r"[0-9]{3,8}")
ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9 &._+-]{0,10}")
MAIL_LOCAL = re.compile(r"[^\s@\"(),:;<>\[\]\\]{1,64}")
MAIL_DOMAIN = re.compile(r"(?:[a-z0-9-]{1,63}\.)+[a-z0-9-]{2,63}")
PUNCTUATED = re.compile(r"\+?[0-9 ().\-]+")
PUNCTUATION = str.maketrans("", "", " ().-")


def normalize_address(value: object) -> str:
    """Return *value* as E.164, as a short code (3-8 digits) or as an alphanumeric sender (<= 11).

    A bare ten-digit North American number gets ``+1``; eleven to fifteen digits get ``+``.
    Punctuation of a phone number is dropped; an alphanumeric sender keeps its case.

    Raises:
        BadPayload: *value* is none of the three.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**15:
        value = str(value)
    if not isinstance(value, str) or len(value) > MAX_LENGTH:
        raise BadPayload("an address is expected")
    text = unicodedata.normalize("NFKC", value).strip()
    is_code = SHORT_CODE.fullmatch(text) or ALPHANUMERIC.fullmatch(text)
    address = text if is_code else _read_number(text)
    if not address:
        raise BadPayload("an address is neither E.164, short code nor alphanumeric sender")
    return address


def fold_email(value: object) -> str:
    """Return an e-mail address as consents and contact points know it; ``""`` when it is none.

    NFKC, lower case, domain in ASCII; dots and plus tags stay.
    """
    if not isinstance(value, str) or len(value) > MAX_MAIL:
        return ""
    text = unicodedata.normalize("NFKC", value).strip().lower()
    local, at, domain = text.rpartition("@")
    if not at or ".." in local or not MAIL_LOCAL.fullmatch(local) or not local.isprintable():
        return ""
    try:
        ascii_domain = domain.encode("idna").decode()
    except UnicodeError:
        return ""
    return f"{local}@{ascii_domain}" if MAIL_DOMAIN.fullmatch(ascii_domain) else ""


def read_phone(value: object) -> str:
    """Return a person's phone number as E.164; ``""`` for anything else, short codes included."""
    try:
        address = normalize_address(value)
    except BadPayload:
        return ""
    return address if E164.fullmatch(address) else ""


def _read_number(text: str) -> str:
    if not PUNCTUATED.fullmatch(text):
        return ""
    number = text.translate(PUNCTUATION)
    if E164.fullmatch(number):
        return number
    if NANP_10.fullmatch(number):
        return f"+1{number}"
    return f"+{number}" if BARE_E164.fullmatch(number) else ""
