"""JSON from strangers: read what can be read, and say what PostgreSQL could not keep.

Python and jsonb disagree. Python reads NUL escapes, lone surrogates, NaN and numbers beyond a
double; jsonb refuses them, or would keep another value than we worked with. Deep nesting breaks
both. So depth and size are measured on the bytes before any parser sees them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["clean", "unstorable", "malformed"]

OPENING, CLOSING = b"[{", b"]}"
NOT_BRACKETS = bytes(set(range(256)) - set(OPENING + CLOSING))
#: Larger whole numbers are no ids and no amounts; jsonb could keep them, a double could not.
MAX_INTEGER = 10**30
SURROGATE_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
SURROGATES = re.compile("[\ud800-\udfff]")
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A body as JSON. ``payload`` is an object, or ``None`` exactly when malformed."""

    payload: dict[str, Any] | None
    state: State
    reason: str = ""  # why it is not clean

    @property
    def storable(self) -> dict[str, Any] | None:
        """What the payload column may hold: NULL unless clean."""
        return self.payload if self.state == "clean" else None


def parse_json(raw: bytes, *, max_depth: int = 32, max_nodes: int = 20_000) -> Parsed:
    """Read *raw* as one UTF-8 JSON object, with or without a byte-order mark. Never raises.

    ``unstorable``: readable, but not for jsonb. ``malformed``: no JSON object, or one deeper than
    *max_depth* or larger than *max_nodes* (brackets opened plus commas).
    """
    try:
        refusal = _too_big(raw, max_depth, max_nodes)
        if refusal:
            return _malformed(refusal)
        text = raw.decode("utf-8-sig")
        odd: list[str] = []
        payload = _load(text, odd)
    except UnicodeDecodeError:
        return _malformed("not UTF-8")
    except RecursionError:
        return _malformed("too deep")
    except json.JSONDecodeError as error:
        return _malformed(f"not JSON: {error.msg} at {error.pos}")
    except ValueError:
        return _malformed("a number is too long")
    if not isinstance(payload, dict):
        return _malformed("not a JSON object")
    odd.extend(_unstorable_escapes(text))
    if odd:
        return Parsed(payload=payload, state="unstorable", reason=odd[0])
    return Parsed(payload=payload, state="clean")


def storable(value: Any, *, max_depth: int = 12) -> Any:
    """Return *value*, which came out of JSON, as jsonb can keep it; what cannot be is left out.

    NUL goes, lone surrogates are replaced, NaN, infinity and numbers beyond a double become null,
    and what lies deeper than *max_depth* is dropped.
    """
    if isinstance(value, str):
        return SURROGATES.sub("\ufffd", value.replace("\0", ""))
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < MAX_INTEGER else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if max_depth <= 0:
        return None
    if isinstance(value, Mapping):
        return {
            storable(str(key)): storable(item, max_depth=max_depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [storable(item, max_depth=max_depth - 1) for item in value]
    return None


def _malformed(reason: str) -> Parsed:
    return Parsed(payload=None, state="malformed", reason=reason)


def _too_big(raw: bytes, max_depth: int, max_nodes: int) -> str:
    opened = raw.count(b"[") + raw.count(b"{")
    if opened <= max_depth and opened + raw.count(b",") <= max_nodes:
        return ""
    # Only brackets outside strings count. Up to the first error this lexes as the parser does.
    outside = b"".join(raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    opened = outside.count(b"[") + outside.count(b"{")
    if opened + outside.count(b",") > max_nodes:
        return f"more than {max_nodes} nodes"
    brackets = outside.translate(None, NOT_BRACKETS)
    if len(brackets) > 2 * opened:
        return "not JSON: unbalanced brackets"
    depth = 0
    for bracket in brackets:
        depth += 1 if bracket in OPENING else -1
        if depth > max_depth:
            return f"deeper than {max_depth}"
    return ""


def _load(text: str, odd: list[str]) -> Any:
    def read_float(literal: str) -> float:
        value = float(literal)
        mantissa = literal.lower().partition("e")[0]
        if value in (float("inf"), float("-inf")) or (value == 0 and mantissa.strip("-0.")):
            odd.append("a number is out of range")
        return value

    def read_constant(literal: str) -> float:
        odd.append(f"{literal} is not JSON")
        return float(literal)

    return json.loads(text, parse_float=read_float, parse_constant=read_constant)


def _unstorable_escapes(text: str) -> list[str]:
    # Judged on the text, not on the values: a repeated key hides its first value from Python only.
    if "\\u" not in text:
        return []
    text = text.replace("\\\\", "__")
    if "\\u0000" in text:
        return ["NUL in a string"]
    if SURROGATE.search(SURROGATE_PAIR.sub("", text)):
        return ["a lone surrogate in a string"]
    return []
