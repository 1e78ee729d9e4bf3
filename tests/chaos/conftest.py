"""Processes that tests start on the test database, and kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from django.conf import settings
from django.db import connection

from tests.messaging.conftest import _carrier, carrier, queue

__all__ = ["_carrier", "carrier", "queue"]


class Drain:
    """A ``manage.py drain`` of its own, in a process group of its own."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "drain", *arguments],
            cwd=settings.BASE_DIR,
            env={**os.environ, "DB_NAME": connection.settings_dict["NAME"], **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def finish(self, seconds: float = 60) -> str:
        """Wait for its end; return what it said."""
        said = self.process.communicate(timeout=seconds)[0].decode()
        assert self.process.returncode == 0, said
        return said


@pytest.fixture
def run_drain() -> Iterator[Callable[..., Drain]]:
    started: list[Drain] = []

    def start(*arguments: str, **environment: str) -> Drain:
        started.append(Drain(*arguments, **environment))
        return started[-1]

    yield start
    for drain in started:
        drain.process.kill()
        drain.process.communicate()
