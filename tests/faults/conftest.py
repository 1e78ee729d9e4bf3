"""Faults of sending meet the sandbox carrier, and processes that can be killed."""

from tests.messaging.conftest import _carrier, carrier, desk, queue

__all__ = ["_carrier", "carrier", "desk", "queue"]
