"""The web process: its listener, its options, and how it ends when it cannot serve."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from uvicorn.config import STARTUP_FAILURE

from config.web import Config, _parse

ROOT = Path(__file__).resolve().parents[2]


def test_the_listener_waits_for_no_ack():
    config = Config("config.server:application", port=0)
    with config.bind_socket() as listener:
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_the_port_comes_from_the_option_or_the_environment(monkeypatch):
    monkeypatch.setenv("PORT", "8123")

    assert _parse([]).port == 8123
    assert _parse(["--port", "8124", "--workers", "3"]).port == 8124
    assert _parse([]).host == "127.0.0.1"


def test_a_server_that_cannot_start_says_so_once_and_ends():
    ended = subprocess.run(
        [sys.executable, "-m", "config.web", "--port", "0", "--workers", "1"],
        cwd=ROOT,
        env={**os.environ, "FAIRLEAD_ENV": "nonsense"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == STARTUP_FAILURE
    assert "FAIRLEAD_ENV is development, test or production" in ended.stderr
    assert ended.stderr.count("failed to start") == 1
