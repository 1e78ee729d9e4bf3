"""The supervisor: keeps a set of processes alive, and stops them in seconds."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.1
#: After SIGTERM; what is still alive then is killed, and its work is taken up again later.
STOP_SECONDS = 3.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 15.0
#: A process that lived this long begins again with the first pause.
HEALTHY_SECONDS = 20.0


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(kw_only=True)
class Child:
    """One process to keep alive: its *name* for people, its command, its own environment."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    directory: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    next_start: float = 0.0
    pause: float = FIRST_PAUSE_SECONDS

    def start(self) -> None:
        """Start the process in a group of its own, so that Ctrl-C reaches the supervisor alone."""
        parent = os.getpid()

        def tie() -> None:
            die_with_parent()
            if os.getppid() != parent:  # it died before the kernel was told
                os._exit(1)

        self.process = subprocess.Popen(
            self.command,
            env={**os.environ, **self.environment},
            cwd=self.directory,
            preexec_fn=tie,
            start_new_session=True,
        )
        self.started = time.monotonic()

    def ended(self) -> int | None:
        """The exit code when the process has just ended; its restart is then put on the clock."""
        if self.process is None or self.process.poll() is None:
            return None
        code, self.process = self.process.returncode, None
        now = time.monotonic()
        if now - self.started > HEALTHY_SECONDS:
            self.pause = FIRST_PAUSE_SECONDS
        self.next_start = now + self.pause
        self.pause = min(self.pause * 2, LONGEST_PAUSE_SECONDS)
        return code


class Supervisor:
    """Runs children until SIGTERM or SIGINT; a child that ends is started again.

    Args:
        children: started in this order, stopped in the reverse.
        on_death: told ``(child, exit code, seconds until the restart)``.
        stop_seconds: from SIGTERM to SIGKILL.
    """

    def __init__(
        self,
        children: Sequence[Child],
        on_death: Callable[[Child, int, float], None] | None = None,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self.children: Sequence[Child] = children
        self.on_death = on_death or log_death
        self.stop_seconds = stop_seconds
        self.stopping = threading.Event()

    def run(self) -> None:
        """Start, watch, and stop everything; returns when the last child has ended."""
        self.take_signals()
        for child in self.children:
            child.start()
        self.watch()

    def take_signals(self) -> None:
        """Make SIGTERM and SIGINT end `watch`."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.stopping.set()

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Keep the children alive until a signal comes or *until* says so; a signal stops them."""
        try:
            while not self.stopping.wait(POLL_SECONDS):
                self._look()
                if until():
                    return
        except BaseException:
            self.stop()
            raise
        self.stop()

    def _look(self) -> None:
        for child in self.children:
            code = child.ended()
            if code is not None:
                self.on_death(child, code, child.next_start - time.monotonic())
            if child.process is None and time.monotonic() >= child.next_start:
                child.start()

    def stop(self) -> None:
        """Ask every child to end, the last first; kill what is left after `stop_seconds`."""
        alive = [child for child in reversed(self.children) if child.process is not None]
        for child in alive:
            _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + self.stop_seconds
        for child in alive:
            if not _wait(child, deadline):
                logger.warning("killed %s: it did not stop in %s s", child.name, self.stop_seconds)
                _kill(child)


def log_death(child: Child, code: int, pause: float) -> None:
    """Say in the log that a child has ended."""
    logger.warning("%s ended (%s), starts again in %.1f s", child.name, how_ended(code), pause)


def how_ended(code: int) -> str:
    """An exit code in words: ``exit code 3``, ``SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _signal(child: Child, number: int) -> None:
    if child.process is not None:
        child.process.send_signal(number)


def _wait(child: Child, deadline: float) -> bool:
    if child.process is None:
        return True
    try:
        child.process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill(child: Child) -> None:
    if child.process is None:
        return
    try:
        # The child leads a group of its own: whatever it started goes with it.
        os.killpg(child.process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    child.process.wait()
