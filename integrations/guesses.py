"""Who tries one webhook URL after another, as far as this process knows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings

#: Unknown URLs an address may ask for in a minute before it is told to wait.
A_MINUTE = 100
#: Addresses remembered; more make room by starting over.
MOST = 10_000

_misses: dict[str, tuple[int, int]] = {}  # address → (minute, misses in it)


def guesses_too_much(address: str) -> bool:
    """Count one more miss of *address*; tell whether that is more than a mistake would explain.

    Only misses count and only misses are refused: many senders may share one address, and none
    with a URL of ours may suffer for a neighbour.
    """
    minute = int(time.monotonic() // 60)
    if len(_misses) >= MOST and address not in _misses:
        _misses.clear()
    since, many = _misses.get(address, (minute, 0))
    many = many + 1 if since == minute else 1
    _misses[address] = (minute, many)
    return many > A_MINUTE


def client_address(meta: Mapping[str, Any]) -> str:
    """Return the address of a request's sender, as far as our own proxies vouch for it."""
    forwarded = [part.strip() for part in str(meta.get("HTTP_X_FORWARDED_FOR", "")).split(",")]
    if settings.PROXIES and len(forwarded) >= settings.PROXIES:
        return forwarded[-settings.PROXIES]
    return str(meta.get("REMOTE_ADDR", ""))


def forget_guesses() -> None:
    """Start over, for tests."""
    _misses.clear()
