"""Process webhooks, sends and timers until told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import structlog
from django.core.management.base import BaseCommand, CommandParser
from django.db import InterfaceError, OperationalError, connection

from config.pg.bootcheck import refuse_unsafe_role
from integrations.processing import drain_once
from messaging.actions.live import wake
from messaging.sender import SendLoop
from messaging.timers import fire_due, wake_snoozed
from pipelines.incidents import LOOK_EVERY_S, watch
from tenants.models import Tenant

#: Seconds between two looks when there is nothing to do: the longest a webhook waits unseen.
IDLE_S = 0.25
#: Timers and snoozes have a grain of minutes.
TIMERS_IDLE_S = 2.0

logger = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Process webhooks, sends and timers until told to stop (SIGTERM or Ctrl-C)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="stop when nothing is ready")
        parser.add_argument("--only", choices=["events", "sends", "timers", "watch"])

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_unsafe_role(connection)
        sender = SendLoop()
        loops = _loops(options["only"], sender)
        if options["once"]:
            while sum(step() for step, _ in loops.values()) or sender.finish():
                pass
            return
        stop = threading.Event()
        failed = threading.Event()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
        threads = [
            threading.Thread(target=_run, args=(name, *loop, stop, failed), name=name, daemon=True)
            for name, loop in loops.items()
        ]
        for thread in threads:
            thread.start()
        stop.wait()
        for thread in threads:
            thread.join(timeout=15)
        if failed.is_set():
            raise SystemExit(1)  # crash-only: the supervisor starts a clean process


def _loops(only: str | None, sender: SendLoop) -> dict[str, tuple[Callable[[], int], float]]:
    loops: dict[str, tuple[Callable[[], int], float]] = {
        "events": (_events, IDLE_S),
        "sends": (sender.step, IDLE_S),
        "timers": (lambda: fire_due() + wake_snoozed(), TIMERS_IDLE_S),
        "watch": (_watch, LOOK_EVERY_S),
    }
    return {only: loops[only]} if only else loops


def _events() -> int:
    finished = drain_once()
    if finished:
        wake()
    return finished


def _watch() -> int:
    watch([str(pk) for pk in Tenant.objects.values_list("pk", flat=True)])
    return 0  # the next look is due after a pause, whatever this one found


def _run(
    name: str,
    step: Callable[[], int],
    idle_s: float,
    stop: threading.Event,
    failed: threading.Event,
) -> None:
    try:
        while not stop.is_set():
            try:
                if not step():
                    stop.wait(idle_s)
            except (OperationalError, InterfaceError) as error:
                # The database is away, or ended our session: a new connection, a little later.
                logger.warning("the database does not answer", loop=name, error=str(error))
                connection.close()
                stop.wait(1.0)
    except BaseException:
        logger.exception("a loop died", loop=name)
        failed.set()
        stop.set()
        raise
    finally:
        connection.close()
