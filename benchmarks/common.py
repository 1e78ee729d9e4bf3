"""What the benchmarks share: a database of their own, our processes, and the line they print.

Import it first: it sets Django up on the benchmarks' database.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def _fingerprint() -> str:
    """Migrations and SQL in eight characters: a schema that changed gets a new database."""
    digest = hashlib.sha256()
    for pattern in ("*/migrations/0*.py", "*/sql/*.sql"):
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:8]


FINGERPRINT = _fingerprint()
#: A benchmark that needs the big database imports seed.py first, which names it here.
DATABASE = os.environ.get("BENCH_DATABASE") or f"fairlead_bench_{FINGERPRINT}"
os.environ |= {
    "DB_NAME": DATABASE,
    "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
    "FAIRLEAD_ENV": "test",
    "FAIRLEAD_LOG_LEVEL": os.environ.get("FAIRLEAD_LOG_LEVEL", "ERROR"),
}

import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from config.pg.roles import as_owner  # noqa: E402

START_SECONDS = 60


def prepare() -> None:
    """Make the database, once; drop those of older schemas."""
    with as_owner(connection), connection._nodb_cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE 'fairlead_bench_%'")
        found = {name for (name,) in cursor.fetchall()}
        for old in found - {DATABASE}:
            with contextlib.suppress(Exception):  # somebody measures an older checkout
                cursor.execute(f'DROP DATABASE "{old}"')
        if DATABASE not in found:
            cursor.execute(f'CREATE DATABASE "{DATABASE}"')
    call_command("migrate", verbosity=0, interactive=False)
    with as_owner(connection), connection.cursor() as cursor:
        # What an earlier run took in and nobody processed must not be drained by this one.
        cursor.execute(
            "UPDATE webhook_work SET state = 'done', processed_at = clock_timestamp()"
            " WHERE state = 'ready'"
        )


def settle() -> None:
    """Write out and clean up what came before, so that the next leg does not pay for it."""
    with as_owner(connection), connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")
    with contextlib.suppress(Exception), connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")  # where the role may


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: list[str], name: str = "process", **environment: str
) -> Iterator[subprocess.Popen]:
    """Run one of our programs until the block ends; its output goes to ``var/bench-*.log``."""
    log = ROOT / "var" / f"bench-{name}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            stop(process)


def stop(process: subprocess.Popen) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)


@contextlib.contextmanager
def web(workers: int = 2, **environment: str) -> Iterator[str]:
    """Run the web server as a deployment does; yields its address."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = ["-m", "config.web", "--port", str(port), "--workers", str(workers)]
    environment |= {"PORT": str(port), "FAIRLEAD_BASE_URL": base}
    with running(command, f"web-{port}", **environment) as process:
        until_listening(port, process)
        yield base


def until_listening(port: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(5)
            with contextlib.suppress(OSError):
                probe.connect(("127.0.0.1", port))
                probe.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
                if b" 200 " in probe.recv(64):
                    return
        time.sleep(0.1)
    raise SystemExit(f"the web server did not start; see var/bench-web-{port}.log")


def report(
    benchmark: str,
    *,
    value: float,
    unit: str,
    against: str,
    ratio: float,
    bar: str,
    ok: bool,
    **details: object,
) -> bool:
    """Print the one line; *details* are further figures of the same run."""
    line = {
        "benchmark": benchmark,
        "value": round(value, 3),
        "unit": unit,
        "against": against,
        "ratio": round(ratio, 3),
        "bar": bar,
        "ok": ok,
        **details,
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(line), flush=True)
    return ok


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


median = statistics.median
