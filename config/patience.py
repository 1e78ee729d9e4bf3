"""How long the server waits for a request, and how long a head it reads.

The parser itself knows neither limit: a client that sends a byte a minute would keep its
connection for ever, and one that sends headers without end would fill the memory.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Seconds in which the head of a request, and the first megabyte of its body, must be here.
REQUEST_S = float(os.environ.get("FAIRLEAD_REQUEST_SECONDS") or 30)
#: Bytes a second that the rest of a longer body must come with, after those seconds.
SLOWEST = 50_000
#: Bytes of a request's line and headers.
LONGEST_HEAD = 64 * 1024
#: Seconds in which a client may notice an answer that came before its body's end, and stop.
LINGER_S = 2.0


class PatientProtocol(HttpToolsProtocol):
    """HTTP of which the head has a deadline and a length, and a body nobody reads has an end."""

    _deadline: asyncio.TimerHandle | None = None
    _linger: asyncio.TimerHandle | None = None
    _in_body = False
    _head = 0  # bytes of a head that is not complete

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        self._stop_lingering()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._deadline is None:
            return
        self._head += len(data)
        if self._head > LONGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._head_is_here()
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_body = False
        if self._linger is not None and not self.transport.is_closing():
            self._stop_lingering()  # it may use the connection again, and soon
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete and not self.transport.is_closing():
            self._linger = self.loop.call_later(LINGER_S, self.transport.close)

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._head = 0
            self._deadline = self.loop.call_later(REQUEST_S, self.transport.close)

    def _head_is_here(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _stop_lingering(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
