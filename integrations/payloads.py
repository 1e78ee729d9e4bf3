"""Reading single fields of a stranger's payload: the value in our form, or ``BadPayload``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from integrations.events import BadPayload

Payload = Mapping[str, Any]

#: Longest id, name or code taken from a provider; columns are sized for it.
MAX_IDENTIFIER = 200

#: Epoch numbers above this are milliseconds: as seconds they would lie in the year 5138.
MAX_EPOCH_SECONDS = 100_000_000_000
MAX_EPOCH_MILLISECONDS = MAX_EPOCH_SECONDS * 1000

SURROGATES = re.compile("[\ud800-\udfff]")

MAX_MEDIA = 20
MAX_URL = 2_000


def pick(payload: Payload, *names: str) -> Any:
    """Return the first of *names* that is present and not null, else ``None``."""
    for name in names:
        value = payload.get(name)
        if value is not None:
            return value
    return None


def clean(text: str) -> str:
    """Return *text* as PostgreSQL can store it: without NUL, lone surrogates replaced."""
    return SURROGATES.sub("\ufffd", text.replace("\0", ""))


def read_text(value: object, what: str) -> str:
    """Return a text of any length, cleaned for storing."""
    if not isinstance(value, str):
        raise BadPayload(f"{what} is no text")
    return clean(value)


def read_note(value: object) -> str:
    """Return an optional code or remark as text of at most 200 characters; odd ones are empty."""
    if isinstance(value, str):
        return clean(value).strip()[:MAX_IDENTIFIER]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return str(value)
    return ""


def read_identifier(value: object, what: str) -> str:
    """Return an id of 1 to 200 printable characters; whole numbers are taken as text."""
    text = read_note(value) if isinstance(value, int) else value
    if not isinstance(text, str):
        raise BadPayload(f"{what} is missing")
    text = text.strip()
    if not 1 <= len(text) <= MAX_IDENTIFIER or not text.isprintable():
        raise BadPayload(f"{what} is no id")
    return text


def read_instant(value: object, what: str) -> datetime:
    """Return ISO 8601 text, or epoch seconds or milliseconds, as an aware time in UTC.

    A time without a zone is UTC.
    """
    if isinstance(value, str) and value.strip().isdecimal() and len(value.strip()) >= 10:
        value = int(value) if len(value) < 20 else -1
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value.strip())
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            if not 0 < value < MAX_EPOCH_MILLISECONDS:
                raise BadPayload(f"{what} is out of range")
            seconds = value / 1000 if value > MAX_EPOCH_SECONDS else value
            return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BadPayload(f"{what} is no time") from error
    raise BadPayload(f"{what} is missing")


def read_count(value: object) -> int | None:
    """Return a small whole number, or ``None`` for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10_000:
        return value
    return None


def read_media(value: object) -> tuple[str, ...]:
    """Return the http(s) URLs in a string, a list of strings or a list of ``{"url"}`` objects.

    What is no such URL is left out: a text is worth more than its broken picture.
    """
    items = value if isinstance(value, list) else [value]
    urls = [item.get("url") if isinstance(item, Mapping) else item for item in items]
    kept = [
        clean(url)
        for url in urls
        if isinstance(url, str)
        and len(url) <= MAX_URL
        and url.lower().startswith(("https://", "http://"))
    ]
    return tuple(kept[:MAX_MEDIA])
