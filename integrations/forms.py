"""Form-encoded bodies from strangers, read with the same care as JSON in ``tolerant``."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from integrations.tolerant import Parsed

#: More fields than this are no webhook.
MAX_FIELDS = 1_000


def parse_form(raw: bytes) -> Parsed:
    """Read *raw* as ``application/x-www-form-urlencoded`` UTF-8. Never raises.

    A key given once, or several times with one value, is that text; a key given with several
    values is the list of them, each once, in the order sent. Blank values are kept.

    ``unstorable``: NUL in a key or value. ``malformed``: no form, not UTF-8, or too many fields.
    """
    try:
        pairs = form_pairs(raw, errors="strict")
    except UnicodeDecodeError:
        return _malformed("not UTF-8")
    except ValueError:
        return _malformed(f"more than {MAX_FIELDS} fields")
    if b"=" not in raw or not pairs:
        return _malformed("not a form")
    payload: dict[str, Any] = {}
    for key, values in grouped(pairs).items():
        payload[key] = values[0] if len(values) == 1 else values
    if any("\0" in part for pair in pairs for part in pair):
        return Parsed(payload=payload, state="unstorable", reason="NUL in a field")
    return Parsed(payload=payload, state="clean")


def form_pairs(raw: bytes, *, errors: str = "surrogateescape") -> list[tuple[str, str]]:
    """Return the decoded (key, value) pairs in the order sent, blank values included.

    By default lossless: bytes that are not UTF-8 become lone surrogates.

    Raises:
        UnicodeDecodeError: with *errors* "strict", where the body is not UTF-8.
        ValueError: more than ``MAX_FIELDS`` fields.
    """
    text = raw.decode("utf-8", errors)
    return parse_qsl(text, keep_blank_values=True, errors=errors, max_num_fields=MAX_FIELDS)


def grouped(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the different values of each key, in the order sent."""
    values: dict[str, dict[str, None]] = {}
    for key, value in pairs:
        values.setdefault(key, {})[value] = None
    return {key: list(found) for key, found in values.items()}


def _malformed(reason: str) -> Parsed:
    return Parsed(payload=None, state="malformed", reason=reason)
