"""HTTP to providers, with a deadline for the whole call and certainty about what was written."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import lru_cache

import httpx

from integrations.outward import Forbidden, pin
from integrations.providers import HttpCall

#: Seconds to connect; within it nothing of the request has been written.
CONNECT_S = 3.0
#: Longest answer that is read, in bytes, where the caller expects no longer one.
MAX_ANSWER = 256 * 1024


class NotWritten(Exception):
    """The request never reached the provider: it may be made again."""


class NoAnswer(Exception):
    """The request may have reached the provider, and what it did is not known."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    latency_ms: int


def call(request: HttpCall, *, deadline_s: float, max_answer: int = MAX_ANSWER) -> Answer:
    """Make one call, once; *deadline_s* bounds all of it, however slowly an answer drips.

    Redirects are not followed: an answer from elsewhere proves nothing.

    Raises:
        NotWritten: DNS, connection or TLS failed.
        NoAnswer: anything after that.
    """
    future = asyncio.run_coroutine_threadsafe(_call(request, deadline_s, max_answer), _loop())
    return future.result()


async def _call(request: HttpCall, deadline_s: float, max_answer: int) -> Answer:
    began = time.monotonic()
    written = False
    try:
        async with asyncio.timeout(deadline_s):
            async with httpx.AsyncClient(
                timeout=httpx.Timeout(deadline_s, connect=min(CONNECT_S, deadline_s)),
                follow_redirects=False,
                trust_env=False,
                verify=_certificates(),
            ) as client:
                prepared = _prepare(client, request)
                await _tie(prepared)
                written = True  # unless one of the errors below says otherwise
                async with aclosing(await client.send(prepared, stream=True)) as response:
                    body = bytearray()
                    async for chunk in response.aiter_bytes():
                        body += chunk
                        if len(body) > max_answer:
                            raise NoAnswer("the answer is too long")
                    return Answer(
                        status=response.status_code,
                        headers=dict(response.headers),
                        body=bytes(body),
                        latency_ms=round((time.monotonic() - began) * 1000),
                    )
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise NotWritten(f"{type(error).__name__}: {error}") from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError) as error:
        raise NotWritten(f"{type(error).__name__}: {error}") from error
    except TimeoutError as error:
        words = f"no answer within {deadline_s:g} s"
        raise (NoAnswer if written else NotWritten)(words) from error
    except httpx.HTTPError as error:
        raise (NoAnswer if written else NotWritten)(f"{type(error).__name__}: {error}") from error


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """Return whom we trust, read once: reading it costs more than a call."""
    return httpx.create_ssl_context(trust_env=False)


def _prepare(client: httpx.AsyncClient, request: HttpCall) -> httpx.Request:
    """Build the request, so that an address or a key that cannot be written fails before it is."""
    try:
        built = client.build_request(
            request.method, request.url, headers=request.headers, content=request.body
        )
        if (built.url.port or 0) > 65_535:
            raise ValueError("no such port")
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise NotWritten(f"{type(error).__name__} in the address or the headers") from error
    return built


async def _tie(prepared: httpx.Request) -> None:
    try:
        await pin(prepared)
    except Forbidden as error:
        raise NotWritten(str(error)) from error
    except OSError as error:
        raise NotWritten(f"{type(error).__name__}: {error}") from error


_lock = threading.Lock()
_running: asyncio.AbstractEventLoop | None = None


def _loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that runs all calls, in a thread of its own."""
    global _running
    with _lock:
        if _running is None:
            _running = asyncio.new_event_loop()
            threading.Thread(target=_running.run_forever, daemon=True, name="calls").start()
        return _running
