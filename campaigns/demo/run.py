"""Runs the demo: the product's own processes and the sandbox, started, watched and stopped."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable

import httpx
from django.conf import settings

from campaigns.demo.info import state_folder
from tenants.worker import Child, Supervisor, how_ended

ANSWER_SECONDS = 60.0
#: Longer than the web server gives open streams, and the worker its children.
STOP_SECONDS = 6.0
Say = Callable[[str], None]


class DemoFailed(Exception):
    """The demo cannot run; the sentence says what to do."""


def refuse_taken_port(port: int, variable: str) -> None:
    """Make sure that a port is free before anything is started.

    Raises:
        DemoFailed: somebody listens there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DemoFailed(
                f"Port {port} is in use. Stop what listens there, or set {variable} to another."
            ) from error


def demo_children(*, port: int, sandbox_port: int) -> list[Child]:
    """Sandbox, web and worker, in the order in which they start."""
    manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
    journal = state_folder() / "sandbox.jsonl"
    quiet = {
        "PORT": str(port),
        "FAIRLEAD_LOG_LEVEL": os.environ.get("FAIRLEAD_LOG_LEVEL", "WARNING"),
        "PYTHONUNBUFFERED": "1",
    }
    sandbox = [*manage, "sandbox", "--port", str(sandbox_port), "--journal", str(journal)]
    return [
        Child(name="sandbox", command=[*sandbox, "--quiet"], environment=quiet),
        Child(
            name="web",
            command=[sys.executable, "-m", "config.web", "--port", str(port)],
            environment=quiet,
            directory=settings.BASE_DIR,
        ),
        Child(name="worker", command=[*manage, "worker", "--quiet"], environment=quiet),
    ]


def say_death(say: Say) -> Callable[[Child, int, float], None]:
    """A listener that tells the console about a restart."""

    def told(child: Child, code: int, pause: float) -> None:
        say(f"{child.name} ended ({how_ended(code)}); starting it again.")

    return told


def wait_for(supervisor: Supervisor, url: str) -> bool:
    """Watch the children until *url* answers; False when a signal stopped everything.

    Raises:
        DemoFailed: no answer within `ANSWER_SECONDS`; everything was stopped.
    """
    deadline = time.monotonic() + ANSWER_SECONDS
    answered: list[bool] = []

    def done() -> bool:
        answered[:] = [answers(url)]
        return answered[0] or time.monotonic() > deadline

    supervisor.watch(until=done)
    if supervisor.stopping.is_set():
        return False
    if not answered[0]:
        supervisor.stop()
        raise DemoFailed(f"{url} does not answer; FAIRLEAD_LOG_LEVEL=INFO may say why.")
    return True


def answers(url: str) -> bool:
    """Whether a GET of *url* succeeds now."""
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
