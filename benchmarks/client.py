"""A small HTTP client for machines without wrk: kept connections, prepared requests, one thread."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from urllib.parse import urlsplit


def read_requests(file: Path) -> list[bytes]:
    """Read raw requests as ``write_requests`` of ``intake.py`` left them."""
    raw, at, requests = file.read_bytes(), 0, []
    while at < len(raw):
        line = raw.index(b"\n", at)
        end = line + 1 + int(raw[at:line])
        requests.append(raw[line + 1 : end])
        at = end
    return requests


def post_all(base: str, file: Path, connections: int, seconds: int) -> dict:
    """Post the requests of *file* for *seconds*; counts of answers, and the 99th percentile."""
    return asyncio.run(_post_all(base, read_requests(file), connections, seconds))


async def _post_all(base: str, requests: list[bytes], connections: int, seconds: int) -> dict:
    where = urlsplit(base)
    counts = {"accepted": 0, "repeated": 0, "other": 0, "failed": 0}
    times: list[float] = []
    queue = iter(requests * (1 + 4000 * seconds // len(requests)))
    began = time.perf_counter()

    async def post() -> None:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        for request in queue:
            sent = time.perf_counter()
            if sent - began > seconds:
                break
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
            await reader.readexactly(length)
            times.append(time.perf_counter() - sent)
            counts[{b"202": "accepted", b"200": "repeated"}.get(head[9:12], "other")] += 1
        writer.close()

    results = await asyncio.gather(*(post() for _ in range(connections)), return_exceptions=True)
    counts["failed"] = sum(isinstance(one, Exception) for one in results)
    times.sort()
    return {
        **counts,
        "seconds": time.perf_counter() - began,
        "p99_ms": 1000 * times[int(0.99 * (len(times) - 1))] if times else 0.0,
    }
