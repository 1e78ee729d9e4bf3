"""The web process: ``python -m config.web [--host H] [--port N] [--workers N]``.

Plain ``uvicorn --workers 2`` binds a socket of protocol 0, for which asyncio leaves TCP_NODELAY
off: every answer on a kept connection then waits 40 ms for an ACK (356 instead of 2,700 a second).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import socket
import subprocess
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from config.patience import PatientProtocol

#: Seconds that open streams get when the server stops; they never end by themselves.
GRACE = 3
#: Seconds to tell the database that the spool is empty.
END_SECONDS = 10
ROOT = Path(__file__).resolve().parent.parent

_PR_SET_PDEATHSIG = 1


class Config(uvicorn.Config):
    """uvicorn's settings, with a listener that does not wait for ACKs."""

    def __init__(self, app: str, **options: Any) -> None:
        self.parent = os.getpid()
        super().__init__(app, **options)

    def bind_socket(self) -> socket.socket:
        listener = super().bind_socket()
        # Accepted connections inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener

    def load(self) -> None:
        """Load the application in a child that ends with its parent, even one killed with -9."""
        if os.getpid() != self.parent and sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != self.parent:
                sys.exit("the server's parent process is gone")
        try:
            super().load()
        except Exception:
            # Another try would end the same way: say it once, and stop the parent too.
            traceback.print_exc()
            sys.exit(STARTUP_FAILURE)


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped; return the process's exit code."""
    options = _parse(arguments)
    config = Config(
        "config.server:application",
        host=options.host,
        port=options.port,
        workers=options.workers,
        lifespan="off",
        ws="none",
        http=PatientProtocol,
        timeout_graceful_shutdown=GRACE,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the settings say which proxies are trusted
        log_level="warning",
    )
    server = Multiprocess(config, [config.bind_socket()])
    server.run()
    if any(process.exitcode == STARTUP_FAILURE for process in server.processes):
        return STARTUP_FAILURE
    end_spool()
    return 0


def end_spool() -> None:
    """Say in the database that this host ended in order, so that no send waits for it.

    In a process of its own: this one has never loaded Django. Where it fails, sends wait until
    the host is back.
    """
    if os.environ.get("FAIRLEAD_SPOOL") == "off":
        return
    with suppress(subprocess.SubprocessError, OSError):
        subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), "spool", "--end"],
            timeout=END_SECONDS,
            check=False,
        )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m config.web", description="Serve Fairlead.")
    parser.add_argument("--host", default=os.environ.get("FAIRLEAD_HOST", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT") or 8000))
    parser.add_argument("--workers", type=int, default=2, help="processes of 8 threads each")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
