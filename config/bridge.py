"""Carry HTTP requests from the event loop to Django's WSGI threads and the answers back.

A thread is only taken once the request's body is here (or is known to be large), so that slow
senders hold no thread; a client that goes away frees the thread that was answering it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from a2wsgi.wsgi import WSGIMiddleware, WSGIResponder

from config.patience import REQUEST_S, SLOWEST

Scope = Any  # dictionaries whose keys depend on their "type"
Message = Any
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Environ = dict[str, Any]
WsgiApp = Callable[..., Any]

#: Bytes of a body that are collected before a thread is taken; what is longer is streamed.
COLLECTED = 1024 * 1024
#: Bytes of a chunked body: WSGI has no way to stream what has no length, so it is collected whole.
LONGEST_CHUNKED = 8 * 1024 * 1024
#: After this many pieces an answer counts as long, and its client is watched.
LONG = 16
#: Pieces of an answer that wait for a slow reader; files come in pieces of 8 kB.
QUEUED = 64

_BODY = "fairlead.body"


class ClientGone(OSError):
    """The client left in the middle of its body; Django makes an ``UnreadablePostError`` of it."""


class Bridge(WSGIMiddleware):
    """The WSGI side of the server as an ASGI application."""

    def __init__(self, app: WsgiApp, *, workers: int) -> None:
        super().__init__(_with_collected_body(app), workers=workers, send_queue_size=QUEUED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        chunked = not any(name == b"content-length" for name, _ in scope["headers"])
        try:
            async with asyncio.timeout(REQUEST_S):
                body, complete = await _collect(receive, LONGEST_CHUNKED if chunked else COLLECTED)
        except TimeoutError:
            await _refuse(send, 408, b"The body did not come in time.\n")
            return
        if body is None:
            return
        if chunked and not complete:
            await _refuse(send, 413, b"Body too large without a length.\n")
            return
        scope = _tidy(scope)
        if chunked and body:
            scope["headers"].append((b"content-length", str(len(body)).encode()))
        if complete:
            scope[_BODY] = body
        responder = _Responder(self.app, self.executor, self.send_queue_size)
        rest = receive if complete else _in_time(receive)
        await responder(scope, _resumed(body, rest), send)


class _Responder(WSGIResponder):
    """Answers one request; its thread never works for a client that is gone."""

    _waiting: concurrent.futures.Future[None] | None = None
    _gone = False
    _failure: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive if _BODY in scope else None
        try:
            with suppress(ClientGone):
                await super().__call__(scope, receive, send)
        finally:
            self._give_up()
        if self._failure is not None:
            raise self._failure

    def send(self, message: Message) -> None:
        if self._gone:
            raise ClientGone("the client is gone")
        self._waiting = asyncio.run_coroutine_threadsafe(self.send_queue.put(message), self.loop)
        try:
            self._waiting.result()
        except concurrent.futures.CancelledError as error:
            raise ClientGone("the client left") from error

    async def sender(self, send: Send) -> None:
        pieces = 0
        watcher: asyncio.Task[None] | None = None
        try:
            while (message := await self.send_queue.get()) is not None:
                await send(message)
                pieces += 1
                if pieces == LONG and self._receive is not None:
                    watcher = asyncio.create_task(self._watch(self._receive))
        except Exception as error:  # it is raised where the request is answered
            self._failure = error
            self._give_up()
        finally:
            if watcher is not None:
                watcher.cancel()

    async def _watch(self, receive: Receive) -> None:
        """Wait for the client to leave; the server would let the rest be sent to nobody."""
        with suppress(ClientGone):
            while True:
                await receive()
        self._give_up()

    def _give_up(self) -> None:
        self._gone = True
        while not self.send_queue.empty():  # whoever waits to put something in may go on
            self.send_queue.get_nowait()
        if self._waiting is not None:
            self._waiting.cancel()


async def _collect(receive: Receive, limit: int) -> tuple[bytearray | None, bool]:
    """Return (the body so far, whether that is all); no body when the client left."""
    body, more = bytearray(), True
    while more and len(body) < limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None, False
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body, not more


def _resumed(body: bytearray, receive: Receive) -> Receive:
    """Replay what was collected, then go on receiving."""
    pending: list[bytes] = [bytes(body)]

    async def resumed() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": True}
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client left before its body ended")
        return message

    return resumed


def _in_time(receive: Receive) -> Receive:
    """Go on receiving, for a thread that waits, from a client at least as fast as `SLOWEST`."""
    deadline = time.monotonic() + REQUEST_S

    async def receive_in_time() -> Message:
        nonlocal deadline
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                message = await receive()
        except TimeoutError as error:
            raise ClientGone("the body comes too slowly") from error
        deadline += len(message.get("body", b"")) / SLOWEST
        return message

    return receive_in_time


def _with_collected_body(app: WsgiApp) -> WsgiApp:
    """Give a whole body to Django as it is, without a hop to the loop for each read."""

    def collected(environ: Environ, start_response: Callable[..., Any]) -> Any:
        body = environ["asgi.scope"].get(_BODY)
        if body is not None:
            environ["wsgi.input"] = io.BytesIO(body)
        return app(environ, start_response)

    return collected


def _tidy(scope: Scope) -> Scope:
    """Copy *scope* in a form WSGI can carry.

    Headers with an underscore go: as an environ key they pass for those with a hyphen, such as a
    proxy's ``X-Forwarded-Proto``.
    """
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if b"_" not in name and name != b"transfer-encoding"
    ]
    return {**scope, "headers": headers}


async def _refuse(send: Send, status: int, words: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
    with suppress(OSError):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": words})
