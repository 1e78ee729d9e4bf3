"""The embedded PostgreSQL server: one per data folder, started by whoever needs it first.

It runs from the programs of a wheel (or an installed server), as an unprivileged account, and
listens on a unix socket only. It outlives the process that started it and is shared by web,
worker, tests and shell. Killed, it is started again by the next connection.
"""

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from config.pg.account import CommandFailed, ServerUnavailable
from config.pg.binaries import folder_for, reachable_copy
from config.pg.cluster import (
    SUPERUSER,
    add_missing_parts,
    clear_unfinished,
    make_cluster,
    write_configuration,
)
from config.pg.places import SOCKET_NAME, Places, data_folder, locate
from config.pg.process import clear_stale_locks, end_orphans, postmaster_pid

#: Recovery after a crash may take long; nobody is served by giving up early.
START_SECONDS = 120.0

#: How long a start is tried again while backends of a killed postmaster let go.
RETRY_SECONDS = 5.0

LOG_BYTES = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Status:
    running: bool
    pid: int | None
    version: str
    data: Path
    sock: Path
    account: str


class Server:
    """The server of one data folder. `ensure()` before use; everything else is optional."""

    def __init__(self, places: Places) -> None:
        self.places = places

    @property
    def data(self) -> Path:
        return self.places.data

    @cached_property
    def sock(self) -> Path:
        return self.places.sock

    def connection_params(self) -> dict[str, Any]:
        """Return what libpq needs to reach the server, and nobody else's on the same path."""
        return {"host": str(self.sock), "port": 5432, "requirepeer": self.places.account.name}

    def ensure(self) -> None:
        """Start the server unless something answers on its socket (some 50 µs).

        Raises:
            ServerUnavailable: It cannot be started; the text says why.
        """
        if not self._answers():
            self.start()

    def start(self) -> None:
        """Bring the server up, whatever state it is in, and wait until it takes logins.

        Safe to call from any number of processes at once: one works, the others wait.

        Raises:
            ServerUnavailable: It cannot be started; the text says why.
        """
        if self._ping() == Ping.OK and not self.places.account.is_usable:
            return
        with self._lock():
            clear_unfinished(self.places)
            if not (self.data / "PG_VERSION").exists():
                make_cluster(self.places, self._binaries)
            self._bring_up()
            with self.admin() as connection:
                add_missing_parts(connection)

    def stop(self) -> bool:
        """Stop the server, ending its sessions; return whether it was running.

        The next connection of any process starts it again.
        """
        with self._lock():
            if postmaster_pid(self.places) is None:
                return False
            self._pg_ctl("-m", "fast", "stop")
            return True

    def status(self) -> Status:
        running = self._ping() == Ping.OK
        version = ""
        if running:
            with self.admin() as connection:
                row = connection.execute("SHOW server_version").fetchone()
                version = row[0] if row else ""
        return Status(
            running=running,
            pid=postmaster_pid(self.places) if running else None,
            version=version,
            data=self.data,
            sock=self.sock,
            account=self.places.account.name,
        )

    def admin(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Connect as the superuser, in autocommit mode."""
        return psycopg.connect(
            **self.connection_params(), user=SUPERUSER, dbname=database, autocommit=True
        )

    @cached_property
    def _binaries(self) -> Path:
        folder = folder_for(self.data)
        return reachable_copy(folder, self.places.account, self.places.copies)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self.sock / SOCKET_NAME))
            except (TimeoutError, BlockingIOError):
                return True  # there, but busy
            except OSError:
                return False
        return True

    def _ping(self) -> Ping:
        conninfo = make_conninfo(host=str(self.sock), port=5432, user=SUPERUSER, dbname="postgres")
        return Ping(PGconn.ping(conninfo.encode()))

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        if not self.places.account.is_usable:
            raise ServerUnavailable(
                f"The database in {self.data} belongs to the user {self.places.account.name}; you "
                "can neither reach nor start it. Run this as that user or as root, or set "
                "FAIRLEAD_DATA_DIR to have a database of your own."
            )
        self.places.prepare()
        handle = os.open(self.places.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            if os.geteuid() == 0:
                os.fchown(handle, self.places.account.uid, self.places.account.gid)
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _bring_up(self) -> None:
        """Start the postmaster as often as it takes; with the lock held."""
        begun = time.monotonic()
        while (state := self._ping()) != Ping.OK:
            waited = time.monotonic() - begun
            if state == Ping.REJECT or postmaster_pid(self.places):
                # Starting, recovering or shutting down: it says so itself when it is done.
                if waited > START_SECONDS:
                    raise ServerUnavailable(f"The database does not come up. {self._log_tail()}")
                time.sleep(0.05)
                continue
            try:
                self._launch()
            except CommandFailed as failure:
                if waited > RETRY_SECONDS:
                    raise ServerUnavailable(
                        f"The database does not start: {failure}. {self._log_tail()}"
                    ) from failure
                end_orphans(self.places)
                time.sleep(0.25)

    def _launch(self) -> None:
        clear_stale_locks(self.places)
        _give(self.data, self.places)
        write_configuration(self.places, self._binaries, self.data)
        with contextlib.suppress(FileNotFoundError):
            if self.places.log.stat().st_size > LOG_BYTES:
                self.places.log.replace(self.places.log.with_suffix(".log.1"))
        self._pg_ctl("-t", str(int(START_SECONDS)), "-l", self.places.log.name, "start")

    def _pg_ctl(self, *words: str) -> None:
        # From within the folder: pg_ctl puts the names it is given into a shell's command line.
        program = self._binaries / "pg_ctl"
        self.places.account.run(program, "-s", "-w", "-D", ".", *words, cwd=self.data)

    def _log_tail(self) -> str:
        try:
            lines = self.places.log.read_text(errors="replace").splitlines()[-8:]
        except OSError:
            return ""
        return "\n".join([f"The end of {self.places.log}:", *lines])


@lru_cache(maxsize=1)
def server() -> Server:
    """Return the embedded server of this checkout (or of FAIRLEAD_DATA_DIR); starts nothing."""
    return Server(locate(data_folder()))


def _give(data: Path, places: Places) -> None:
    """Give a data folder that root copied (`cp -r`, a restored archive) to the server."""
    if os.geteuid() != 0 or data.stat().st_uid == places.account.uid:
        return
    for folder, _, files in os.walk(data):
        for name in [".", *files]:
            os.lchown(Path(folder) / name, places.account.uid, places.account.gid)
    data.chmod(0o700)


__all__ = ["Server", "ServerUnavailable", "Status", "server"]
