"""Signed SignalHouse POSTs per second over HTTP, against a bare DRF view and dj-stripe's webhook.

The bare view is on the same server; dj-stripe (benchmarks/requirements.txt) on a second one with
the same server program, middleware and database. 16 connections stay open; servers, database and
client share the machine. Bare, intake, duplicates, dj-stripe, and so on in turn: the duplicates
are the first requests of the leg before them. Every new
request has a body, a delivery id and a signature of its own. wrk is the client where it is
installed (apt-get install wrk); else a client of our own, which leaves the server less.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from client import post_all
from common import ROOT, connection, median, note, prepare, report, settle, web
from world import World, make_world, signed, text_payload

from tenants.context import tenant_context

CONNECTIONS = 16
SECONDS = 8
WARM_UP_SECONDS = 2
#: Short, so that no request of the leg before comes a third time.
REPEAT_SECONDS = 3
PAIRS = 3
#: More than can be answered in a leg: requests that come round again would be duplicates.
PER_LEG = 2_200 * SECONDS
FLOOR, WISH, P99_MS = 0.35, 0.50, 100.0
#: Our requests per second over dj-stripe's.
OVER_PEER = 4.0
PHONES = 5_000
#: What people write, without opt-outs.
TEXTS = ROOT / "tests" / "fixtures" / "texts" / "innocent.txt"


@dataclass(frozen=True, kw_only=True)
class Leg:
    """One measured stretch: answers per second, and the slowest of a hundred."""

    rate: float
    p99_ms: float
    answers: int


def main() -> bool:
    prepare()
    world = make_world("intake")
    bare_legs, legs, twice, peer_legs = [], [], [], []
    with ExitStack() as stack:
        base = stack.enter_context(web())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        peer = stack.enter_context(running_peer()) if has_peer() else None
        bare = write_requests(Path(folder) / "bare", world, "/hooks/bare/", 2_000)
        for target in (bare, write_requests(Path(folder) / "warm", world, world.path, 8_000)):
            fire(base, target, WARM_UP_SECONDS)
        settle()
        for turn in range(PAIRS):
            fresh = write_requests(Path(folder) / f"new{turn}", world, world.path, PER_LEG)
            bare_legs.append(leg(base, bare, expect="accepted"))
            before = stored(world)
            legs.append(leg(base, fresh, expect="accepted"))
            refuse_loss(legs[-1], stored(world) - before)
            twice.append(leg(base, fresh, expect="repeated", seconds=REPEAT_SECONDS))
            if peer:
                file = write_peer_requests(Path(folder) / f"peer{turn}", peer)
                peer_legs.append(leg(peer.base, file, expect="repeated"))  # it answers 200
            rates = [one[-1].rate if one else 0 for one in (bare_legs, legs, twice, peer_legs)]
            words = "  bare {:.0f}/s, new {:.0f}/s, duplicates {:.0f}/s, dj-stripe {:.0f}/s"
            note(words.format(*rates))
    against = median([one.rate for one in bare_legs])
    rate = median([one.rate for one in legs])
    ratio = median([one.rate / two.rate for one, two in zip(legs, bare_legs, strict=True)])
    cost = median([one.rate / two.rate for one, two in zip(legs, twice, strict=True)])
    p99 = median([one.p99_ms for one in legs])
    passed = report(
        "intake",
        value=rate,
        unit="requests/s",
        against=f"bare DRF view: {against:.0f}/s",
        ratio=ratio,
        bar=f">= {FLOOR} (wish {WISH}), p99 < {P99_MS:.0f} ms",
        ok=ratio >= FLOOR and p99 < P99_MS,
        p99_ms=round(p99, 1),
        client="wrk" if shutil.which("wrk") else "own",
    )
    passed &= report_peer(legs, peer_legs)
    return passed & report(
        "intake_duplicates",
        value=median([one.rate for one in twice]),
        unit="requests/s",
        against=f"new deliveries: {rate:.0f}/s",
        ratio=cost,
        bar="cost of a duplicate / a new one <= 1.0",
        ok=cost <= 1.0,
    )


def report_peer(legs: list[Leg], peer_legs: list[Leg]) -> bool:
    if not peer_legs:
        note("  dj-stripe is not installed: make bench installs benchmarks/requirements.txt")
        return False
    ratio = median([one.rate / two.rate for one, two in zip(legs, peer_legs, strict=True)])
    return report(
        "intake_peer",
        value=median([one.rate for one in legs]),
        unit="requests/s",
        against=f"dj-stripe storing its event: {median([one.rate for one in peer_legs]):.0f}/s",
        ratio=ratio,
        bar=f">= {OVER_PEER:.0f}",
        ok=ratio >= OVER_PEER,
    )


@dataclass(frozen=True, kw_only=True)
class Peer:
    """dj-stripe's webhook: where it is, and what its events are signed with."""

    base: str
    path: str
    secret: str


def has_peer() -> bool:
    return importlib.util.find_spec("djstripe") is not None


@contextmanager
def running_peer() -> Iterator[Peer]:
    prepared = subprocess.run(
        [sys.executable, "-m", "benchmarks.peer"],
        capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ,
    )  # fmt: skip
    found = json.loads(prepared.stdout.strip().splitlines()[-1])
    with web(DJANGO_SETTINGS_MODULE="benchmarks.peer_settings") as base:
        yield Peer(base=base, **found)


def write_peer_requests(file: Path, peer: Peer) -> Path:
    """Write signed Stripe events of a type without handler, each with an id of its own."""
    created = int(time.time())
    with file.open("wb") as out:
        for turn in range(PER_LEG // 2):
            event = {
                "id": f"evt_{created}_{turn}", "object": "event", "type": "fairlead.text",
                "created": created, "api_version": "2024-06-20", "livemode": False,
                "pending_webhooks": 1, "request": {"id": None, "idempotency_key": None},
                "data": {"object": {"id": f"t_{turn}", "object": "text", "body": "Yes, call me"}},
            }  # fmt: skip
            body = json.dumps(event).encode()
            signed_at = f"{created}.".encode() + body
            signature = hmac.new(peer.secret.encode(), signed_at, hashlib.sha256).hexdigest()
            head = (
                f"POST {peer.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
                "Content-Type: application/json\r\nUser-Agent: Stripe/1.0\r\n"
                f"Stripe-Signature: t={created},v1={signature}\r\n\r\n"
            )
            raw = head.encode() + body
            out.write(b"%d\n" % len(raw) + raw)
    return file


def write_requests(file: Path, world: World, path: str, how_many: int) -> Path:
    """Write raw HTTP requests, each signed now; a signature is good for five minutes."""
    texts = TEXTS.read_text().splitlines()
    with file.open("wb") as out:
        for turn in range(how_many):
            phone = f"+1{2_030_000_000 + turn % PHONES}"
            body = text_payload(phone, texts[turn % len(texts)])
            headers = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **signed(body)}
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            raw = f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body
            out.write(b"%d\n" % len(raw) + raw)
    return file


def leg(base: str, requests: Path, *, expect: str, seconds: int = SECONDS) -> Leg:
    """Measure one stretch; refuse to report one with any answer but those expected."""
    result = fire(base, requests, seconds)
    answers = result["accepted"] + result["repeated"] + result["other"]
    if result[expect] < 0.99 * answers or result["failed"]:
        raise SystemExit(f"not the answers expected: {result}")
    return Leg(rate=answers / result["seconds"], p99_ms=result["p99_ms"], answers=answers)


def refuse_loss(measured: Leg, now_stored: int) -> None:
    # Requests that were under way when the clock stopped are stored but not counted.
    if not 0 <= now_stored - measured.answers <= CONNECTIONS:
        raise SystemExit(f"{now_stored} deliveries are stored, {measured.answers} were accepted")


def fire(base: str, requests: Path, seconds: int) -> dict:
    if not shutil.which("wrk"):
        return post_all(base, requests, CONNECTIONS, seconds)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s"]
    script = ["-s", str(ROOT / "benchmarks" / "replay.lua"), base, "--", str(requests)]
    done = subprocess.run([*command, *script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def stored(world: World) -> int:
    with tenant_context(world.tenant.pk), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM webhook_receipts")
        return int(cursor.fetchone()[0])


if __name__ == "__main__":
    sys.exit(not main())
