"""Raw sockets against a real server: bodies that lie, never end or never come, and real traffic."""

from __future__ import annotations

import gzip
import json
import socket
import statistics
import time
from datetime import UTC, datetime

import httpx
import psutil
import pytest
from django.db import connection

from integrations.models import WebhookEvent
from integrations.providers import providers
from tests.browser.processes import Web, free_port
from tests.conftest import SECRET

#: Times are measured: the machine is this test's alone.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.chaos]

#: Seconds that the server under test waits for a request.
PATIENCE = 2.0
MB = 1024 * 1024


@pytest.fixture(scope="module")
def web(django_db_setup, tmp_path_factory):
    log = tmp_path_factory.mktemp("web") / "web.log"
    server = Web(log, connection.settings_dict["NAME"], free_port())
    server.environment["FAIRLEAD_REQUEST_SECONDS"] = str(PATIENCE)
    server.start()
    yield server
    server.stop()


def dial(web):
    host, port = web.base.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def head(web, path, *lines):
    host = web.base.removeprefix("http://")
    return "\r\n".join(
        [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json", *lines, "", ""]
    ).encode()


def answer_of(one, seconds=10.0):
    """Return what the server says until it closes, or b"" when it only closes."""
    one.settimeout(seconds)
    said = b""
    try:
        while part := one.recv(65536):
            said += part
    except ConnectionError:  # it closed while we were still sending
        pass
    return said


def status_of(said):
    return int(said.split(b" ", 2)[1]) if said else None


def memory(web):
    workers = psutil.Process(web._running.pid).children(recursive=True)
    return max(worker.memory_info().rss for worker in workers)


def pour(one, piece, total):
    """Send *total* bytes, or as many as the server takes; return how many those were."""
    sent = 0
    try:
        while sent < total:
            one.sendall(piece)
            sent += len(piece)
    except OSError:
        pass
    return sent


def signed(office, text="hello"):
    body = json.dumps(office.payload(text)).encode()
    headers = providers["signalhouse"]().sign(
        body, SECRET, datetime.now(UTC), f"s-{time.time_ns()}"
    )
    return body, [f"{name}: {value}" for name, value in headers.items()]


def kept(office):
    with office.inside():
        return WebhookEvent.objects.count()


@pytest.mark.parametrize("path", ["own", "unknown", "/login/"])
def test_fault_36_a_body_of_50_mb_is_refused_unread(web, committed_office, path):
    office = committed_office
    path = {"own": office.path, "unknown": f"/hooks/signalhouse/{'x' * 43}/"}.get(path, path)
    before = memory(web)
    with dial(web) as one:
        close = ["Connection: close"] if path == "/login/" else []
        one.sendall(head(web, path, f"Content-Length: {50 * MB}", *close))
        pour(one, b"x" * 65536, 50 * MB)
        said = answer_of(one)

    assert status_of(said) in (None, 400, 403, 404, 413)
    assert memory(web) - before < 8 * MB
    assert kept(office) == 0
    assert alive(web, office)


def test_fault_36_a_webhook_of_50_mb_is_told_413_before_it_is_sent(web, committed_office):
    with dial(web) as one:
        one.sendall(head(web, committed_office.path, f"Content-Length: {50 * MB}"))
        one.sendall(b"x" * (MB + 1))
        said = answer_of(one)

    assert status_of(said) == 413
    assert b"connection: close" in said.lower()


@pytest.mark.parametrize("size", [50 * MB, MB // 2])
def test_fault_36_a_chunked_body_is_bounded(web, committed_office, size):
    before = memory(web)
    with dial(web) as one:
        one.sendall(head(web, committed_office.path, "Transfer-Encoding: chunked"))
        pour(one, b"10000\r\n" + b"x" * 65536 + b"\r\n", size)
        pour(one, b"0\r\n\r\n", 5)
        said = answer_of(one, 15)

    assert status_of(said) in (413, None) if size > 8 * MB else status_of(said) == 413
    assert memory(web) - before < 30 * MB
    assert alive(web, committed_office)


@pytest.mark.parametrize(
    ("lines", "body", "statuses"),
    [
        (["Content-Length: 1000"], b'{"a":', {408}),  # and nothing more
        (["Content-Length: 5"], b'{"a": "longer than it said"}', {401, 400}),
        (["Content-Length: -1"], b"{}", {400}),
        (["Content-Length: 2x"], b"{}", {400}),
        (["Content-Length: 2", "Content-Length: 3"], b"{}", {400}),
        (["Content-Length: 2", "Transfer-Encoding: chunked"], b"0\r\n\r\n", {400}),
        (["Transfer-Encoding: chunked"], b"zz\r\n", {400}),
        (["Transfer-Encoding: chunked"], b"5\r\nab", {408}),  # and nothing more
        (["Transfer-Encoding: gzip"], b"{}", {400, 411}),
        ([], b"{}", {400, 411}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_fault_36_a_length_that_lies_or_lacks(web, committed_office, lines, body, statuses):
    with dial(web) as one:
        one.sendall(head(web, committed_office.path, *lines) + body)
        said = answer_of(one, PATIENCE + 10)

    assert status_of(said) in statuses
    assert kept(committed_office) == 0
    assert alive(web, committed_office)


def test_fault_36_a_body_that_ends_early_is_not_stored(web, committed_office):
    body, lines = signed(committed_office)
    with dial(web) as one:
        one.sendall(head(web, committed_office.path, f"Content-Length: {len(body)}", *lines))
        one.sendall(body[:-1])
        one.shutdown(socket.SHUT_WR)
        said = answer_of(one, PATIENCE + 10)

    assert status_of(said) in (None, 400, 408)
    assert kept(committed_office) == 0


def test_fault_36_a_gzip_bomb_is_not_opened(web, committed_office):
    before = memory(web)
    bomb = gzip.compress(b"0" * (100 * MB))
    body, lines = bomb, ["Content-Encoding: gzip", f"Content-Length: {len(bomb)}"]
    with dial(web) as one:
        one.sendall(head(web, committed_office.path, *lines, "Connection: close") + body)
        said = answer_of(one)

    assert status_of(said) == 415
    assert memory(web) - before < 8 * MB


def test_fault_36_a_head_without_end_is_cut(web, committed_office):
    before = memory(web)
    with dial(web) as one:
        one.sendall(head(web, committed_office.path)[:-2])
        sent = pour(one, b"X-Long: " + b"x" * 65500 + b"\r\n", 50 * MB)
        said = answer_of(one)

    assert sent < 50 * MB
    assert status_of(said) in (None, 400)
    assert memory(web) - before < 8 * MB
    assert alive(web, committed_office)


def alive(web, office):
    """Tell whether a real delivery is taken."""
    return post(web, office) == 202


def post(web, office, client=httpx):
    body, _ = signed(office)
    headers = providers["signalhouse"]().sign(
        body, SECRET, datetime.now(UTC), f"s-{time.time_ns()}"
    )
    headers["Content-Type"] = "application/json"
    return client.post(web.base + office.path, content=body, headers=headers).status_code


def test_fault_37_slow_clients_hold_up_nobody(web, committed_office):
    """500 sockets that send a head, or a body, byte by byte; beside them, real webhooks."""
    office = committed_office
    start = head(web, office.path, "Content-Length: 200000")
    with httpx.Client(trust_env=False, timeout=20) as client:
        assert alive(web, office)
        alone = paces(web, office, client)
        slow = [dial(web) for _ in range(500)]
        try:
            for n, one in enumerate(slow):
                one.sendall(start[:30] if n % 2 else start + b"{")
            beside = []
            for n in range(4):
                beside += paces(web, office, client, 10)
                for one in slow[n::4]:
                    pour(one, b"x", 1)
            began = time.monotonic()
            ends = {status_of(answer_of(one, PATIENCE + 10)) for one in slow}
        finally:
            for one in slow:
                one.close()

    assert p95(beside) < max(5 * p95(alone), 0.15), (p95(alone), p95(beside))
    assert ends == {None, 408}  # the head that never came, and the body
    assert time.monotonic() - began < PATIENCE + 5


def paces(web, office, client, many=40):
    """Return how many seconds each of *many* real deliveries took."""
    took = []
    for _ in range(many):
        began = time.monotonic()
        assert post(web, office, client) == 202
        took.append(time.monotonic() - began)
    return took


def p95(took):
    return statistics.quantiles(took, n=20)[-1]


def test_fault_37_a_large_body_that_drips_gives_its_thread_back(web, committed_office):
    """More than a megabyte is streamed to a thread; there are eight of them."""
    cookies = httpx.get(f"{web.base}/login/", trust_env=False).headers["Set-Cookie"]
    lines = [f"Content-Length: {20 * MB}", f"Cookie: {cookies.partition(';')[0]}"]
    slow = [dial(web) for _ in range(12)]
    try:
        for one in slow:
            one.sendall(
                head(web, "/login/", *lines).replace(
                    b"application/json", b"multipart/form-data; boundary=b"
                )
            )
            one.sendall(b"--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n")
            pour(one, b"x" * 65536, MB + 65536)
        time.sleep(0.3)
        began = time.monotonic()
        assert alive(web, committed_office)
        took = time.monotonic() - began
        assert 1.0 < took < 2 * PATIENCE + 4, "the threads were not taken, or not given back"
    finally:
        for one in slow:
            one.close()
