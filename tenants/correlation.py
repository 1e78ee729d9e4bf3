"""The correlation id: the thread through everything one cause led to."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tenants.ulids import new_id

_correlation: ContextVar[str] = ContextVar("correlation", default="")


def correlation_id() -> str:
    """Return the id of the running cause, ``corr_…``; a new one where none runs."""
    return _correlation.get() or new_id("corr")


@contextmanager
def correlated(correlation: str = "") -> Iterator[str]:
    """Run a block as one cause, continuing *correlation* when given."""
    value = correlation or new_id("corr")
    token = _correlation.set(value)
    try:
        yield value
    finally:
        _correlation.reset(token)


def add_correlation(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog processor: every line says which cause it belongs to."""
    if current := _correlation.get():
        event.setdefault("correlation_id", current)
    return event


#: Names of things that must never be written to a log, whatever they hold.
_SECRET_WORDS = ("secret", "password", "token", "authorization", "api_key", "signature", "cookie")


def mask_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog processor: values whose name sounds like a secret become stars."""
    for name in event:
        if any(word in name.lower() for word in _SECRET_WORDS):
            event[name] = "***"
    return event
