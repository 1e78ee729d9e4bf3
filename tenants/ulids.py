"""ULIDs: 128 bits, 48 of milliseconds and 80 of chance, sorted by creation.

Text form and alphabet: github.com/ulid/spec (Crockford base 32, without I, L, O and U).
"""

from __future__ import annotations

import os
import re
import threading
import time
import uuid

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUE = {char: value for value, char in enumerate(ALPHABET)}
#: The first character carries three bits only: a larger one would overflow 128 bits.
_SHAPE = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


def encode(number: int) -> str:
    """Write a 128-bit *number* as 26 characters."""
    return "".join(ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def decode(text: str) -> int:
    """Read 26 characters in either case; aliases such as O for 0 are refused.

    Raises:
        ValueError: *text* is no ULID.
    """
    upper = text.upper()
    # Other alphabets have letters whose capital is one of ours.
    if not (text.isascii() and _SHAPE.fullmatch(upper)):
        raise ValueError(f"{text!r} is not a ULID")
    number = 0
    for char in upper:
        number = number << 5 | _VALUE[char]
    return number


class MonotonicUlids:
    """Generator whose every value is greater than the one before, also within a millisecond.

    Safe in threads, and in forked children, which would otherwise repeat their parent's ids.
    """

    def __init__(self) -> None:
        self._restart()
        os.register_at_fork(after_in_child=self._restart)

    def _restart(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        now = time.time_ns() // 1_000_000
        with self._lock:
            if now > self._last >> 80:
                # The top bit stays free, so that counting up never reaches the next millisecond.
                self._last = now << 80 | int.from_bytes(os.urandom(10), "big") >> 1
            else:  # the same millisecond, or a clock that stepped back
                self._last += 1
            return self._last


_ulids = MonotonicUlids()


def new_uuid() -> uuid.UUID:
    """Return a new ULID in the shape PostgreSQL stores."""
    return uuid.UUID(int=_ulids.next())


def new_id(prefix: str) -> str:
    """Return a new id such as ``lead_01J9ZC…``."""
    return f"{prefix}_{encode(_ulids.next())}"


def to_text(prefix: str, value: uuid.UUID) -> str:
    return f"{prefix}_{encode(value.int)}"


def to_uuid(text: str) -> uuid.UUID:
    """Return the uuid of an id with or without its prefix, whatever the prefix is.

    Raises:
        ValueError: it is no ULID.
    """
    return uuid.UUID(int=decode(text.rpartition("_")[2]))
