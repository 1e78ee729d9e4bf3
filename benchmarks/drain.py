"""Inbound texts fully processed per second: by one loop, by two, with a hot lane, with a snapshot
that a long report holds.

Fully processed: message, lead event, state, timers, notifications of three agents, live event,
and the work marked done. Two texts per phone, as people write. The loops are processes of
``manage.py drain``; they start together when the benchmark lets go of the work table.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

import psycopg
from common import connection, median, note, prepare, report, running, settle
from django.db import transaction
from world import SECRET, World, add_leads, make_world, text_payload

from config.pg.roles import as_owner
from integrations.endpoints import find_endpoint
from integrations.intake import Intake, take
from integrations.models import WebhookWork
from integrations.providers import Delivery, providers
from integrations.tolerant import parse_json
from messaging.models import LiveEvent, Message, Notification
from tenants.context import tenant_context
from tenants.ulids import new_id

EVENTS = 4000
PER_SECOND, TWO_TO_ONE, HOT, HELD = 400, 1.3, 0.25, 0.8
ROUNDS = 2
#: Plain answers: a text that also leaves an e-mail address or asks for a call costs more.
TEXTS = [
    "Yes, I am still thinking about it.",
    "Maybe. What would you pay for it?",
    "Who is this?",
    "We sold the house two years ago",
    "Not right now, ask me next spring",
    "ok thanks",
    "It needs a new roof and some paint",
    "How did you get my number?",
]


def main() -> bool:
    prepare()
    singles, doubles = [], []
    for _ in range(ROUNDS):
        singles.append(measure(loops=1))
        doubles.append(measure(loops=2))
    ratio = median([two / one for one, two in zip(singles, doubles, strict=True)])
    rate = median(singles)
    passed = report(
        "drain",
        value=rate,
        unit="texts/s, one loop",
        against=f"two loops: {median(doubles):.0f}/s",
        ratio=ratio,
        bar=f">= {PER_SECOND}/s and two loops >= {TWO_TO_ONE} x one",
        ok=rate >= PER_SECOND and ratio >= TWO_TO_ONE,
    )
    held = measure(loops=1, held=True)
    passed &= report(
        "drain_held_snapshot",
        value=held,
        unit="texts/s, one loop, beside a report's open snapshot",
        against=f"without: {rate:.0f}/s",
        ratio=held / rate,
        bar=f">= {HELD}",
        ok=held / rate >= HELD,
    )
    hot = measure(loops=1, hot_share=0.3)
    return passed & report(
        "drain_hot_lane",
        value=hot,
        unit="texts/s, one loop, 30 % from one phone",
        against=f"spread evenly: {rate:.0f}/s",
        ratio=hot / rate,
        bar=f">= {HOT}",
        ok=hot / rate >= HOT,
    )


def measure(*, loops: int, hot_share: float = 0.0, held: bool = False) -> float:
    """Fill a tenant of its own with waiting texts, let *loops* processes at it, and count.

    *held*: a session keeps a snapshot of before the first event open, so that nothing the drain
    leaves behind can be cleaned up.
    """
    world = make_world("drain")
    phones = add_leads(world, EVENTS // 2)
    fill(world, phones, hot_share)
    settle()
    with snapshot() if held else nullcontext():
        began = drain_all(loops)
    with tenant_context(world.tenant.pk):
        done = WebhookWork.objects.filter(state="done")
        last = done.order_by("-processed_at").values_list("processed_at", flat=True)[0]
        counts = {
            "done": done.count(),
            "messages": Message.objects.count(),
            "hints": LiveEvent.objects.count(),
            "unread": sum(Notification.objects.values_list("count", flat=True)),
        }
    wanted = {"done": EVENTS, "messages": EVENTS, "hints": EVENTS, "unread": 3 * EVENTS}
    if counts != wanted:
        raise SystemExit(f"not everything was processed: {counts} instead of {wanted}")
    rate = EVENTS / (last - began).total_seconds()
    note(f"  {loops} loop(s), hot {hot_share:.0%}{', held snapshot' * held}: {rate:.0f}/s")
    return rate


@contextmanager
def snapshot() -> Iterator[None]:
    """Hold a snapshot, as a report that runs for minutes does."""
    with psycopg.connect(**session()) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT count(*) FROM webhook_work")
        yield


def session() -> dict[str, Any]:
    """How Django connects, for a session of one's own."""
    wanted = connection.get_connection_params()
    return {name: wanted[name] for name in ("host", "port", "user", "password", "dbname")
            if wanted.get(name)}  # fmt: skip


def fill(world: World, phones: list[str], hot_share: float) -> None:
    """Take two texts of each phone in through intake, or *hot_share* of all from one phone."""
    endpoint = find_endpoint(world.endpoint.token)
    assert endpoint is not None
    chance = random.Random(1)
    senders = [*phones, *phones]
    for place in range(int(EVENTS * hot_share)):
        senders[place] = phones[-1]
    chance.shuffle(senders)
    provider = providers["signalhouse"]()
    for phone in senders:
        body = text_payload(phone, chance.choice(TEXTS))
        headers = provider.sign(body, SECRET, datetime.now(UTC), new_id("dlv"))
        take(
            Intake(
                endpoint=endpoint,
                provider=provider,
                delivery=Delivery(body=body, headers=headers),
                parsed=parse_json(body),
                signature_state="valid",
            )
        )


def drain_all(loops: int) -> datetime:
    """Run the loops until nothing is ready; return when they were let go."""
    command = ["manage.py", "drain", "--once", "--only", "events"]
    with as_owner(connection), ExitStack() as stack:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE webhook_work IN ACCESS EXCLUSIVE MODE")
            processes = [
                stack.enter_context(running(command, f"drain-{place}")) for place in range(loops)
            ]
            waiting = 0
            while waiting < loops:
                time.sleep(0.05)
                if any(process.poll() is not None for process in processes):
                    raise SystemExit("a loop ended early; see var/bench-drain-*.log")
                cursor.execute(
                    "SELECT count(DISTINCT pid) FROM pg_locks"
                    " WHERE NOT granted AND relation = 'webhook_work'::regclass"
                )
                (waiting,) = cursor.fetchone()
            cursor.execute("SELECT clock_timestamp()")
            (began,) = cursor.fetchone()
        for process in processes:
            if process.wait() != 0:
                raise SystemExit("a loop failed; see var/bench-drain-*.log")
    return began


if __name__ == "__main__":
    sys.exit(not main())
