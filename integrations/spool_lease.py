"""Until when the database believes that a spool directory is empty.

Senders trust an empty spool only for a moment: a lease in the host's row of ``spool_hosts``. The
end of a lease is an instant of the database's clock that is chosen *before* the statement that
writes it, so a statement that is late, or hangs, or is committed after its client died, can never
make it last longer than the host knows. The host counts on a clock that no one sets.
"""

from __future__ import annotations

import os
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from integrations.spool_files import SpoolFiles

#: Seconds a lease lasts, and between two renewals.
LEASE_S, RENEW_S = 1.5, 0.5

_STATE = struct.Struct("=16sdd")  # which boot, lease until, no renewal before
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def now_s() -> float:
    """Return seconds on a clock that only moves forward, for all processes of the host alike.

    Where it stands still while the machine sleeps, leases only look longer than they are.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _boot() -> bytes:
    with suppress(OSError):
        return bytes.fromhex(_BOOT_ID.read_text().strip().replace("-", ""))
    return b"\0" * 16


@dataclass(frozen=True, kw_only=True)
class DatabaseClock:
    """What the database's clock said, and when we heard it: so what it says now, at least."""

    said: datetime
    heard_s: float

    def at(self, moment_s: float) -> datetime:
        """Return what it says at *moment_s* of ``now_s``; the way to us makes it a little early."""
        return self.said + timedelta(seconds=moment_s - self.heard_s)


class Lease:
    """The host's side of the lease, in a file that its processes share under the spool's lock."""

    def __init__(self, files: SpoolFiles) -> None:
        self._files = files

    def grant(self) -> float | None:
        """Note that a lease is about to be asked for; return its end, in ``now_s``.

        The caller holds the lock. None: not now, the spool holds something or may in a moment.
        """
        _, quiet = self._read()
        now = now_s()
        if now < quiet or not self._files.is_empty():
            return None
        self._write(now + LEASE_S, quiet)
        return now + LEASE_S

    def quieten(self, seconds: float) -> None:
        """Grant none for *seconds*: the database is in trouble, and the lease had better run out.

        The caller holds the lock.
        """
        until, quiet = self._read()
        self._write(until, max(quiet, now_s() + seconds))

    def is_quiet(self) -> bool:
        return now_s() < self._read()[1]

    def ends(self) -> float:
        """Return when the last lease has surely run out, in ``now_s``. The caller has the lock."""
        return self._read()[0]

    def _read(self) -> tuple[float, float]:
        place = self._files.open("lease")
        try:
            raw = os.pread(place, _STATE.size + 1, 0)
        finally:
            os.close(place)
        latest = now_s() + LEASE_S  # no lease asked for so far lasts longer than that
        if len(raw) != _STATE.size:
            return latest, 0.0
        boot, until, quiet = _STATE.unpack(raw)
        if boot != _boot():
            return latest, 0.0
        return min(until, latest), quiet

    def _write(self, until: float, quiet: float) -> None:
        place = self._files.open("lease")
        try:
            os.pwrite(place, _STATE.pack(_boot(), until, quiet), 0)
        finally:
            os.close(place)
