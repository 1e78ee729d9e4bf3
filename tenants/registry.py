"""The one plug-in mechanism: providers, event handlers and pipeline blocks all use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")


class Registry(Generic[T]):
    """A table of plug-ins, keyed by the name that is stored in the database.

    Names are persisted, so renaming a plug-in is a data migration.
    Registering a name twice raises ``ImproperlyConfigured`` at start-up;
    looking up an unknown one raises ``KeyError`` naming those that exist.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._plugins: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        def add(plugin: T) -> T:
            if name in self._plugins:
                raise ImproperlyConfigured(f"{self.kind} {name!r} is registered twice")
            self._plugins[name] = plugin
            return plugin

        return add

    def __getitem__(self, name: str) -> T:
        try:
            return self._plugins[name]
        except KeyError:
            known = ", ".join(self) or "none"
            raise KeyError(f"no {self.kind} {name!r} (registered: {known})") from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._plugins))

    def __contains__(self, name: object) -> bool:
        return name in self._plugins

    def choices(self) -> list[tuple[str, str]]:
        """Label the names for a form: ``"skip_trace"`` reads *Skip Trace*."""
        return [(name, name.replace("_", " ").title()) for name in self]
