"""The little HTTP that the sandbox needs: requests, responses, routes, and ways to answer badly."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: How an answer reaches the caller: whole, a byte per `DRIP_SECONDS`, never, or cut by a reset.
Manner = Literal["whole", "drip", "hang", "reset"]

DRIP_SECONDS = 0.25
#: `SO_LINGER` on with zero seconds: close() sends a reset instead of an orderly end.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Refused(Exception):
    """The request cannot be answered as asked; becomes ``{"message": …}`` with a 4xx status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, kw_only=True)
class Request:
    """One HTTP request, body read whole."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object; an empty body is ``{}``.

        Raises:
            Refused: 400, when the body is not a JSON object.
        """
        if not self.body:
            return {}
        try:
            data = json.loads(self.body)
        except ValueError as error:
            raise Refused(400, "The body is not valid JSON") from error
        if not isinstance(data, dict):
            raise Refused(400, "The body must be a JSON object")
        return data

    def form(self) -> dict[str, str]:
        """The fields of an HTML form."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer and the manner in which it is given."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    manner: Manner = "whole"


def json_response(data: Any, status: int = 200, **headers: str) -> Response:
    """Answer with JSON; keyword names become headers, ``Retry_After`` is ``Retry-After``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status=status, body=json.dumps(data).encode(), headers=named)


def see_other(path: str) -> Response:
    """Send a browser on after a form."""
    return Response(status=303, headers={"Location": path})


class ResettableProtocol(HttpToolsProtocol):
    """HTTP protocol that lets the application break its own connection.

    ASGI has no way to reset a connection, and a client that sees a reset after it wrote is
    exactly what must be tried out.
    """

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: Any = self.scope
        scope["sandbox.transport"] = self.transport


async def read_request(scope: Scope, receive: Receive) -> Request:
    """Collect the request and its whole body."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=dict(parse_qsl(scope["query_string"].decode("latin-1"))),
        headers={
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        },
        body=bytes(body),
    )


async def send_response(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Give the answer in its manner; a hang lasts until the caller goes away."""
    if response.manner == "hang":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    if response.manner == "reset":
        _reset(scope["sandbox.transport"])
        return
    headers = {
        "content-type": response.content_type,
        "content-length": str(len(response.body)),
        **response.headers,
    }
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": pairs})
    if response.manner == "drip":
        for place in range(len(response.body)):
            byte = response.body[place : place + 1]
            await send({"type": "http.response.body", "body": byte, "more_body": True})
            await asyncio.sleep(DRIP_SECONDS)
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.body", "body": response.body})


def _reset(transport: asyncio.Transport) -> None:
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()


Handler = Callable[..., Awaitable[Response]]


class Router:
    """Routes in the order in which they were added; ``<name>`` in a path matches one segment."""

    def __init__(self) -> None:
        self.routes: list[tuple[str, re.Pattern[str], Handler]] = []

    def route(self, method: str, path: str) -> Callable[[Handler], Handler]:
        """Register the decorated ``async def handler(sandbox, request, **segments)``."""
        pattern = re.compile(re.sub(r"<(\w+)>", r"(?P<\1>[^/]+)", path) + r"/?\Z")

        def register(handler: Handler) -> Handler:
            self.routes.append((method, pattern, handler))
            return handler

        return register

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        """The handler and its path segments.

        Raises:
            Refused: 404 when no path matches, 405 when only another method does.
        """
        known = False
        for wanted, pattern, handler in self.routes:
            match = pattern.match(path)
            if match and wanted == method:
                return handler, match.groupdict()
            known = known or match is not None
        raise Refused(405, "Method not allowed") if known else Refused(404, "Not found")
