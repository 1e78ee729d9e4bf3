"""Races are run on committed rows: every thread has a connection of its own."""

from tests.messaging.conftest import _carrier, carrier, queue

__all__ = ["_carrier", "carrier", "queue"]
