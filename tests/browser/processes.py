"""The processes of a deployment, started as they are in production, on the test database."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """One of our programs, in a group of its own, its output in a file."""

    def __init__(self, command: list[str], log: Path, **environment: str) -> None:
        self.command = [sys.executable, *command]
        self.log = log
        self.environment = {**os.environ, "FAIRLEAD_ENV": "test", **environment}
        self.environment.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)  # for Playwright's thread alone
        self._running: subprocess.Popen | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._running = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, number: int = signal.SIGTERM) -> float:
        """End it as an operator would; return the seconds that took."""
        if self._running is None:
            return 0
        began = time.monotonic()
        self._running.send_signal(number)
        try:
            self._running.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait(5)
        self._running = None
        return time.monotonic() - began

    def threads(self) -> int:
        """Count the threads of its children."""
        assert self._running is not None
        children = psutil.Process(self._running.pid).children(recursive=True)
        return sum(child.num_threads() for child in children)

    def said(self) -> str:
        return self.log.read_text(errors="replace")


class Web(Process):
    """The web server: ``python -m config.web``."""

    def __init__(self, log: Path, database: str, port: int, workers: int = 1) -> None:
        self.base = f"http://127.0.0.1:{port}"
        super().__init__(
            ["-m", "config.web", "--port", str(port), "--workers", str(workers)],
            log,
            DB_NAME=database,
            PORT=str(port),
            FAIRLEAD_BASE_URL=self.base,
            FAIRLEAD_SPOOL="off",  # killed servers would stop the sends of other tests
        )

    def start(self) -> None:
        super().start()
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            assert self._running is not None
            if self._running.poll() is not None:
                break
            try:
                if httpx.get(f"{self.base}/healthz", timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.1)
        raise AssertionError(f"the web server did not start:\n{self.said()}")
