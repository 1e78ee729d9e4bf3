"""E-mail addresses and phone numbers that people write into a text."""

from __future__ import annotations

import re
import unicodedata

#: Bounds of RFC 5321; they also bound the work done around each ``@``.
MAX_LOCAL, MAX_DOMAIN = 64, 253

LOCAL_PUNCTUATION = frozenset(".!#$%&'*+/=?^_`{|}~-")
LOCAL = re.compile(r"[a-z0-9](?:[a-z0-9!#$%&'*+/=?^_`{|}~.-]*[a-z0-9_+-])?", re.IGNORECASE)
LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
DOMAIN = re.compile(
    rf"{LABEL}(?:\.{LABEL}){{0,7}}\.(?:[^\W\d_]{{2,63}}|xn--[a-z0-9-]{{1,59}})", re.I
)
URL = re.compile(r"\bhttps?://\S{1,2000}", re.IGNORECASE)

#: Delimited North American number. No digit, letter or $ may touch it, nor digits joined by - or .
MOBILE = re.compile(
    r"(?<![\w$@])(?<![0-9][-.])(?P<country>\+?1[ .-]?)?(?<!\+)\(?(?P<area>[2-9][0-9]{2})\)?"
    r"(?P<gap>[ .-]{0,2})(?P<exchange>[2-9][0-9]{2})[ .-]{0,2}(?P<line>[0-9]{4})"
    r"(?![\w@])(?![-.][0-9])"
)
#: Reserved for services, toll-free and premium: nobody's mobile.
NOT_MOBILE = re.compile(r"[2-9]11|8(?:00|88|77|66|55|44|33|22)|900")


def find_emails(text: str) -> list[tuple[int, int]]:
    """Return the spans of the valid e-mail addresses in *text*, in order."""
    spans = []
    at = text.find("@")
    while at >= 0:
        start = _local_start(text, at)
        domain = DOMAIN.match(text, at + 1, at + 2 + MAX_DOMAIN)
        if start < at and domain and "@" not in _around(text, start, domain.end()):
            spans.append((start, domain.end()))
        at = text.find("@", at + 1)
    return [(start, end) for start, end in spans if normalize_email(text[start:end])]


def normalize_email(raw: str) -> str:
    """Return *raw* in NFKC and lower case with an IDNA domain, or ``""`` when it is none.

    Dots and plus tags stay: they tell mailboxes apart at some providers.
    """
    local, at, domain = unicodedata.normalize("NFKC", raw).strip().lower().rpartition("@")
    if not at or len(local) > MAX_LOCAL or ".." in local or not LOCAL.fullmatch(local):
        return ""
    if not DOMAIN.fullmatch(domain):
        return ""
    try:
        ascii_domain = domain.encode("idna").decode()
    except UnicodeError:
        return ""
    return f"{local}@{ascii_domain}" if len(ascii_domain) <= MAX_DOMAIN else ""


def find_mobile(text: str, *, sender: str = "") -> tuple[str, str]:
    """Return (E.164, as written) of the first US mobile in *text* that is not *sender*."""
    own = "".join(char for char in sender if char in "0123456789")[-10:]
    for match in MOBILE.finditer(text):
        number = match["area"] + match["exchange"] + match["line"]
        if number == own or NOT_MOBILE.fullmatch(match["area"]) or _in_longer_run(text, match):
            continue
        return f"+1{number}", match[0].strip()
    return "", ""


def without(text: str, spans: list[tuple[int, int]]) -> str:
    """Return *text* with *spans* and all URLs blanked: their letters are no words."""
    for start, end in reversed(spans):
        text = f"{text[:start]} {text[end:]}"
    return URL.sub(" ", text)


def _local_start(text: str, at: int) -> int:
    start = at
    while start > 0 and at - start <= MAX_LOCAL and _may_be_local(text[start - 1]):
        start -= 1
    while start < at and not text[start].isalnum():
        start += 1
    return start


def _around(text: str, start: int, end: int) -> str:
    return text[start - 1 : start] + text[end : end + 1].replace("_", "@")


def _may_be_local(char: str) -> bool:
    return char.isalnum() or char in LOCAL_PUNCTUATION


def _in_longer_run(text: str, match: re.Match[str]) -> bool:
    # "12 202 555 0166 44" is some other number; "in 5 min 202-555-0166" is not.
    if match["gap"] != " ":
        return False
    before, after = text[: match.start()][-2:], text[match.end() :][:2]
    return bool(re.fullmatch(r"[0-9] ", before) or re.fullmatch(r" [0-9]", after))
