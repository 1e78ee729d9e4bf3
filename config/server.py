"""The hybrid application: Django's WSGI side for everything, its ASGI side for ``/live/`` only.

Sync views are 4.5 times faster in WSGI threads than under ASGI, and streams need no thread.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
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
from integrations.spool import open_spool
from integrations.spool_drain import start_keeper
from messaging.live import hang_up

#: Threads per process, and so its database connections beside the live stream's one.
THREADS = 8
#: Seconds until a database that did not answer is asked again about the role.
CHECK_AGAIN = 5.0

logger = structlog.get_logger(__name__)


def _role_is_checked() -> bool:
    """Refuse to serve as a role that row-level security does not bind.

    Returns False while the database does not answer: webhooks then still get the answer that makes
    their senders come again.
    """
    try:
        refuse_unsafe_role(connection)
    except ImproperlyConfigured as error:
        sys.stderr.write(f"Fairlead will not start.\n{error}\n")
        sys.stderr.flush()
        os._exit(STARTUP_FAILURE)  # from a thread, sys.exit would end that alone
    except OperationalError as error:
        logger.error("the database does not answer; serving without it", error=str(error))
        return False
    finally:
        connection.close()
    return True


def _check_later() -> None:
    while not _role_is_checked():
        time.sleep(CHECK_AGAIN)


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
    _is_checked = _checker.submit(_role_is_checked).result()
if not _is_checked:
    threading.Thread(target=_check_later, name="role check", daemon=True).start()
_spool = open_spool()
if _spool is not None:
    start_keeper(_spool)
_end_streams_on(signal.SIGTERM)
_end_streams_on(signal.SIGINT)
_web = Bridge(pages, workers=THREADS)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request; web sockets and lifespan events are not spoken here."""
    if scope["type"] != "http":
        return
    await (live if scope["path"].startswith("/live/") else _web)(scope, receive, send)
