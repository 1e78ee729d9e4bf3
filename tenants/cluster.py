"""A crash-only django-q2 cluster.

Stock django-q2 1.11 can hang for ever after one kill -9: a dead worker may hold the lock of the
queue, a dead monitor leaves tasks unacknowledged, a dead sentinel leaves a pool without a guard.
Here every process dies with its parent and any unexpected death ends the whole tree, which the
supervisor starts again; tasks in hand come back after ``retry`` seconds.
"""

from __future__ import annotations

import logging
import os
import pydoc
import time
from multiprocessing.sharedctypes import RawValue
from types import SimpleNamespace
from typing import Any

from django.conf import settings
from django_q import cluster, worker

from tenants.worker import die_with_parent

logger = logging.getLogger(__name__)

#: Exit code of a tree that gave itself up.
CRASHED = 3
#: The guard looks twice a second; after this long without it, a killed process took a lock along.
SILENT_SECONDS = 60.0
RECYCLED = -2

#: Monotonic time of the guard's last look, shared with the processes forked from this one.
_beat = RawValue("d", 0.0)


class CrashOnlySentinel(cluster.Sentinel):
    """Guard that replaces a recycled worker and gives up at any other death."""

    def reincarnate(self, process: Any) -> None:
        if process in self.pool and int(process.timer.value) == RECYCLED:
            super().reincarnate(process)
            return
        logger.critical("a process of the cluster died: the cluster starts anew")
        os._exit(CRASHED)

    def status(self) -> str:
        # Saving the status is what the guard does in every round.
        _beat.value = time.monotonic()
        return super().status()


def locate_task(name: str) -> Any:
    """Return the function of a task, None unless it is one of ours.

    A row of a schedule names any function of the process, ``os.system`` too, to whoever can write
    such a row: only those below ``settings.TASK_MODULES`` are run.
    """
    if not name.startswith(tuple(f"{module}." for module in settings.TASK_MODULES)):
        logger.critical("a task that is none of ours was refused: %s", name)
        return None
    return pydoc.locate(name)


def run_cluster() -> None:
    """Run the cluster in this process until SIGTERM; never returns."""
    os.register_at_fork(after_in_child=die_with_parent)
    cluster.Sentinel = CrashOnlySentinel
    worker.pydoc = SimpleNamespace(locate=locate_task)
    _beat.value = time.monotonic()
    tree = cluster.Cluster()
    tree.start()
    while tree.sentinel.is_alive():
        tree.sentinel.join(1)
        if time.monotonic() - _beat.value > SILENT_SECONDS:
            logger.critical("the cluster's guard is silent: the cluster starts anew")
            os._exit(CRASHED)
    # Not sys.exit: multiprocessing would join children that may never end.
    os._exit(tree.sentinel.exitcode or 0)
