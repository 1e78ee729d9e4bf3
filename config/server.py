"""The hybrid application: Django's WSGI side for everything, its ASGI side for ``/live/`` only.

Sync views are 4.5 times faster in WSGI threads than under ASGI, and streams need no thread.
"""

from __future__ import annotations

import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import structlog
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection
from uvicorn.config import STARTUP_FAILURE

from config.asgi import application as live
from config.bridge import Bridge, Receive, Scope, Send
from config.pg.bootcheck import refuse_unsafe_role
from config.wsgi import application as pages
from messaging.live import hang_up

#: Threads per process, and so its database connections beside the live stream's one.
THREADS = 8

logger = structlog.get_logger(__name__)


def _check_role() -> None:
    """Refuse to serve as a role that row-level security does not bind."""
    try:
        refuse_unsafe_role(connection)
    except ImproperlyConfigured as error:
        sys.stderr.write(f"Fairlead will not start.\n{error}\n")
        sys.exit(STARTUP_FAILURE)
    except OperationalError as error:
        # Webhooks still get the answer that makes their senders come again.
        logger.error("the database does not answer; serving without it", error=str(error))
    finally:
        connection.close()


def _end_streams_on(number: signal.Signals) -> None:
    """Let streams end when the server is told to stop: they never would by themselves."""
    before = signal.getsignal(number)

    def stop(signum: int, frame: FrameType | None) -> None:
        hang_up()
        if callable(before):
            before(signum, frame)

    # Only beside the server's own handlers: without those the signal would do nothing else.
    if callable(before):
        signal.signal(number, stop)


# In a thread: uvicorn imports this module inside its running loop, where the ORM refuses to work.
with ThreadPoolExecutor(max_workers=1) as _checker:
    _checker.submit(_check_role).result()
_end_streams_on(signal.SIGTERM)
_end_streams_on(signal.SIGINT)
_web = Bridge(pages, workers=THREADS)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request; web sockets and lifespan events are not spoken here."""
    if scope["type"] != "http":
        return
    await (live if scope["path"].startswith("/live/") else _web)(scope, receive, send)
