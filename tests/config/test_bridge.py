"""The bridge between the event loop and WSGI threads, over real sockets."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import uvicorn

from config.bridge import Bridge

THREADS = 2


class App:
    """A WSGI application that says what it was given, or talks for a long time."""

    def __init__(self) -> None:
        self.closed = threading.Semaphore(0)
        self.failures: list[Exception] = []
        self.started = 0

    def __call__(self, environ, start_response):
        self.started += 1
        if environ["PATH_INFO"] in ("/endless", "/liar"):
            length = [("Content-Length", "5")] if environ["PATH_INFO"] == "/liar" else []
            start_response("200 OK", length)
            return self.endless()
        try:
            body = environ["wsgi.input"].read()
        except OSError as error:
            self.failures.append(error)
            raise
        proto = environ.get("HTTP_X_FORWARDED_PROTO", "-")
        answer = f"{len(body)} of {environ.get('CONTENT_LENGTH')} {proto}".encode()
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]

    def endless(self):
        try:
            while True:
                yield b"x" * 65536
        finally:
            self.closed.release()


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def port(app) -> Iterator[int]:
    bridge = Bridge(app, workers=THREADS)
    config = uvicorn.Config(
        bridge, port=0, lifespan="off", log_level="critical", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def talk(port: int, text: bytes, *, read: bool = True) -> bytes | socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(text)
    if not read:
        return connection
    with connection, suppress(ConnectionResetError):
        return b"".join(iter(lambda: connection.recv(65536), b""))


def post(head: bytes, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + head + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))


def test_a_chunked_body_arrives_with_its_length(port):
    assert talk(port, chunked(b"hello")).endswith(b"5 of 5 -")


def test_a_large_body_is_streamed_whole(port):
    body = b"y" * 3_000_000

    answer = talk(port, post(b"Content-Length: 3000000\r\n", body))

    assert answer.endswith(b"3000000 of 3000000 -")


def test_a_chunked_body_without_end_is_refused(port, monkeypatch, app):
    monkeypatch.setattr("config.bridge.LONGEST_CHUNKED", 10)
    endless = post(b"Transfer-Encoding: chunked\r\n", b"c\r\nfar too long\r\n")

    assert talk(port, endless).startswith(b"HTTP/1.1 413 ")
    assert app.started == 0


def test_a_header_with_an_underscore_passes_for_none_with_a_hyphen(port):
    head = b"Content-Length: 0\r\nX_Forwarded_Proto: https\r\n"

    assert talk(port, post(head)).endswith(b"0 of 0 -")


def test_a_slow_sender_holds_no_thread(port, app):
    slow = [
        talk(port, post(b"Content-Length: 100\r\n", b"a few bytes"), read=False)
        for _ in range(THREADS * 2)
    ]

    assert talk(port, post(b"Content-Length: 2\r\n", b"hi")).endswith(b"2 of 2 -")
    assert app.started == 1
    for connection in slow:
        connection.close()


def test_a_client_that_leaves_in_its_body_is_no_short_body(port, app):
    connection = talk(port, post(b"Content-Length: 3000000\r\n", b"y" * 2_000_000), read=False)
    wait_for(lambda: app.started)

    connection.close()

    wait_for(lambda: app.failures)
    assert isinstance(app.failures[0], OSError)


def test_clients_that_leave_free_their_threads(port, app):
    readers = [talk(port, b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n", read=False) for _ in "ab"]
    wait_for(lambda: app.started == THREADS)

    for reader in readers:
        reader.close()

    for _ in readers:
        assert app.closed.acquire(timeout=10)
    assert talk(port, post(b"Content-Length: 2\r\n", b"hi")).endswith(b"2 of 2 -")


def test_an_answer_that_cannot_be_sent_frees_its_thread(port, app):
    talk(port, b"GET /liar HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert app.closed.acquire(timeout=10)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the server leaves them open on purpose
def test_a_stop_does_not_wait_for_readers_that_do_not_read(app):
    config = uvicorn.Config(
        Bridge(app, workers=THREADS),
        lifespan="off",
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        readers = [
            talk(port, b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n", read=False) for _ in "ab"
        ]
        wait_for(lambda: app.started == THREADS)

        server.should_exit = True
        thread.join(10)

        assert not thread.is_alive()
        assert app.closed.acquire(timeout=5)
        assert app.closed.acquire(timeout=5)
        for reader in readers:
            reader.close()
    del server, config
    gc.collect()


def wait_for(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
