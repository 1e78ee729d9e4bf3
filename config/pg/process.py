"""Which processes hold a data folder: the postmaster, what a killed one left, and stale locks.

A pid alone proves nothing. It may be a zombie that nobody reaps (PID 1 of a container), another
program after a reboot, or, in a copied checkout, the postmaster of the original. A postmaster
works in its data folder, so its working folder tells.
"""

import os
import signal
from pathlib import Path

import psutil

from config.pg.places import SOCKET_NAME, Places


def postmaster_pid(places: Places) -> int | None:
    """Return the pid of the live postmaster of this data folder, or None."""
    return _holder(places.data / "postmaster.pid", places)


def clear_stale_locks(places: Places) -> None:
    """Remove lock files of a postmaster that is dead; call with the launcher's lock held."""
    for lock in (places.data / "postmaster.pid", places.sock / f"{SOCKET_NAME}.lock"):
        if _holder(lock, places) is None:
            lock.unlink(missing_ok=True)


def end_orphans(places: Places) -> None:
    """Tell the backends of a dead postmaster to end at once.

    Idle ones end by themselves; one in a long query would hold the shared memory, and with it
    the next start, until the query ends.
    """
    for process in psutil.process_iter():
        if _works_in(process, places, unknown=False):
            process.send_signal(signal.SIGQUIT)


def _holder(lock: Path, places: Places) -> int | None:
    try:
        pid = abs(int(lock.read_text().split("\n")[0]))
        process = psutil.Process(pid)
    except (OSError, ValueError, psutil.NoSuchProcess):
        return None
    return pid if _works_in(process, places, unknown=True) else None


def _works_in(process: psutil.Process, places: Places, *, unknown: bool) -> bool:
    try:
        if process.name() != "postgres" or process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.uids().real != places.account.uid:
            return False
        return os.path.samefile(process.cwd(), places.data)
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False
    except (psutil.AccessDenied, PermissionError):
        # Root in a container without SYS_PTRACE may not ask. Name and account are enough to leave
        # a lock file alone, not to end what may be another server's.
        return unknown
