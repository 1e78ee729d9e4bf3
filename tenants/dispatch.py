"""Who acts on which event: a lower app emits, the apps above it register in ``handlers.py``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

E = TypeVar("E")
C = TypeVar("C")

_handlers: defaultdict[type, list[Callable[..., None]]] = defaultdict(list)


def on(event_type: type[E]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a handler ``(event, **context)``, called in the transaction that emits."""

    def add(handler: Callable[..., None]) -> Callable[..., None]:
        _handlers[event_type].append(handler)
        return handler

    return add


def emit(event: object, **context: Any) -> int:
    """Call every handler of the event's class, in order of registration; return how many."""
    handlers = _handlers[type(event)]
    for handler in handlers:
        handler(event, **context)
    return len(handlers)
