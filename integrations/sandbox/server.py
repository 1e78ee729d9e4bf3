"""Starts the sandbox: as a process of its own, or in a thread for tests and benchmarks."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn

from integrations.sandbox.app import Sandbox
from integrations.sandbox.wire import ResettableProtocol

START_SECONDS = 10.0


def _config(sandbox: Sandbox, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        sandbox,
        host=host,
        port=port,
        http=ResettableProtocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        # A hanging answer must not hold up the end.
        timeout_graceful_shutdown=1,
    )


def listener(host: str, port: int) -> socket.socket:
    """A bound listening socket without Nagle's delay; port 0 takes a free one."""
    sock = socket.create_server((host, port), backlog=512)
    # Accepted connections inherit it: answers leave at once instead of after 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def serve(sandbox: Sandbox, *, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        OSError: when the port is taken.
    """
    with listener(host, port) as sock:
        uvicorn.Server(_config(sandbox, host, port)).run(sockets=[sock])


@contextlib.contextmanager
def running(sandbox: Sandbox | None = None, *, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve in a thread on a free port; yields the base URL.

    Raises:
        TimeoutError: when it does not come up within `START_SECONDS`.
    """
    sandbox = sandbox or Sandbox(pace=0.0, answers=False)
    with listener(host, 0) as sock:
        port = sock.getsockname()[1]
        server = uvicorn.Server(_config(sandbox, host, port))
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [sock]}, name="sandbox", daemon=True
        )
        thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not server.started:
            if time.monotonic() > deadline or not thread.is_alive():
                raise TimeoutError("the sandbox did not start")
            time.sleep(0.01)
        try:
            yield f"http://{host}:{port}"
        finally:
            server.should_exit = True
            thread.join(START_SECONDS)
