"""Everything at once, on a database of its own: nothing lost, nothing twice, nothing after STOP.

``FAIRLEAD_CHAOS=full`` makes it as large as the project promises (some minutes), and
``FAIRLEAD_SEED`` repeats what an earlier run did.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from datetime import datetime
from itertools import pairwise

import psycopg
import pytest

from tests import invariants
from tests.chaos.world import DEADLINE, Size, World, private_database, wait_until

pytestmark = pytest.mark.chaos

SMALL = Size(
    people=60, inbound=600, texts=160, capped=24, timers=20, kills=8, restarts=1, pause=0.7
)
FULL = Size(
    people=400, inbound=6800, texts=2500, capped=150, timers=100, kills=34, restarts=3, pause=2.2
)
#: Seconds after an answered STOP in which a call that had begun before may still be taken.
SLACK = DEADLINE + 2.0


@pytest.fixture
def world(tmp_path, django_db_blocker):
    if "DATABASE_URL" in os.environ:
        pytest.skip("needs a server of its own to kill")
    seed = int(os.environ.get("FAIRLEAD_SEED") or random.randrange(10**6))
    size = FULL if os.environ.get("FAIRLEAD_CHAOS") == "full" else SMALL
    print(f"FAIRLEAD_SEED={seed}")
    with private_database(django_db_blocker) as server:
        made = World(size, seed, tmp_path, server)
        try:
            made.start()
            yield made
        finally:
            made.stop()


def test_fault_08_and_all_others_at_once(world):
    world.live()
    wait_until(lambda: is_settled(world), "everything is done", 120)

    assert len(world.killed) >= world.size.kills
    assert world.restarted == world.size.restarts
    assert world.heard.statuses <= {200, 202, 503}
    with owner(world) as own:
        assert invariants.broken(own) == {}
        nothing_lost(world, own)
        order_kept(world, own)
        caps_exact(world, own)
        texts = taken_by_carrier(world)
        sent_once(own, texts)
        nothing_after_stop(world, texts)
        enough(world, own, texts)


def owner(world):
    return psycopg.connect(
        **world.server.connection_params(), user="fairlead_owner", dbname="fairlead"
    )


def is_settled(world):
    """Let time pass for whatever waits; tell whether nothing is left but what the cap holds."""
    told = world.ask_carrier("GET", "/_control/deliveries")
    if told is None or any(one["state"] == "pending" for one in told["deliveries"]):
        return False  # the sandbox may be slow to answer after all this
    with owner(world) as own:
        own.execute(
            "UPDATE outbound_messages SET retry_at = clock_timestamp()"
            " WHERE state = 'unknown' AND retry_at > clock_timestamp()"
        )
        own.execute(
            "UPDATE outbound_messages SET due_at = clock_timestamp()"
            " WHERE state = 'queued' AND due_at > clock_timestamp()"
        )
        own.execute("UPDATE phone_numbers SET throttled_until = NULL")
        own.execute(
            "UPDATE webhook_work SET available_at = clock_timestamp()"
            " WHERE state = 'ready' AND available_at > clock_timestamp()"
        )
        own.execute(
            "UPDATE lead_timers SET fire_at = clock_timestamp()"
            " WHERE kind = '7D' AND fire_at < clock_timestamp() + interval '1 hour'"
            " AND fired_at IS NULL AND cancelled_at IS NULL"
        )
        own.commit()
        left = {name: len(rows) for name, rows in invariants.unsettled(own).items()}
        held_by_cap = own.execute(
            "SELECT count(*) FROM outbound_messages AS o"
            " JOIN phone_numbers AS n ON n.id = o.phone_number_id"
            " WHERE o.state = 'queued' AND n.sent_today = n.daily_cap"
        ).fetchone()[0]
        unasked = own.execute(
            "SELECT count(*) FROM outbound_messages"
            " WHERE state = 'unknown' AND retry_at IS NOT NULL"
        ).fetchone()[0]
    return not unasked and left in ({}, {"texts in flight": min(held_by_cap, 10)})


def nothing_lost(world, own):
    """What was answered 2xx is stored, processed, and filed once."""
    stored = {event for (event,) in own.execute("SELECT ulid_text('wh', id) FROM webhook_events")}
    assert set(world.heard.events.values()) <= stored
    states = dict(own.execute("SELECT state, count(*) FROM webhook_work GROUP BY state"))
    assert states == {"done": len(stored)}
    filed = own.execute("SELECT external_id FROM messages WHERE direction = 'in'").fetchall()
    posted = {delivery.removesuffix("-again") for delivery in world.heard.events}
    assert {f"d-{external[3:].replace('_', '-')}" for (external,) in filed} == posted


def order_kept(world, own):
    """The bodies of a lane took effect in the order in which they were posted."""
    told: dict[str, list[str]] = {}
    for lane, body in own.execute(
        "SELECT m.recipient || '|' || m.sender, m.body FROM messages AS m"
        " JOIN lead_events AS e ON e.tenant_id = m.tenant_id"
        "  AND e.dedupe_key = 'signalhouse:' || m.external_id || ':received'"
        " WHERE m.direction = 'in' ORDER BY e.lead_id, e.seq"
    ):
        told.setdefault(lane, []).append(body)
    assert told == world.heard.bodies


def caps_exact(world, own):
    sent = own.execute(
        "SELECT count(*) FROM send_attempts AS a"
        " JOIN outbound_messages AS o ON o.tenant_id = a.tenant_id AND o.id = a.outbound_id"
        " JOIN phone_numbers AS n ON n.id = o.phone_number_id WHERE n.number = %s",
        [world.capped_number.number],
    ).fetchone()[0]
    assert sent == world.size.capped * 2 // 3


def taken_by_carrier(world):
    texts = world.ask_carrier("GET", "/_control/texts")["texts"]
    return [text for text in texts if text["direction"] == "OUTBOUND"]


def sent_once(own, texts):
    """What the carrier took, it took once, and what we say of a text is what became of it."""
    taken = Counter(text["messageBody"] for text in texts if "answer" in text["messageBody"])
    assert [body for body, times in taken.items() if times > 1] == []
    said = dict(own.execute("SELECT body, state FROM outbound_messages WHERE body LIKE 'answer%'"))
    assert set(taken) <= set(said)
    for body, state in said.items():
        if state in ("sent", "delivered", "undelivered"):
            assert taken[body] == 1, (body, state)
        elif state in ("queued", "suppressed", "cancelled"):
            assert taken[body] == 0, (body, state)
    doubts = own.execute(
        "SELECT o.body FROM outbound_messages AS o"
        " JOIN consents AS c ON c.tenant_id = o.tenant_id AND c.id = o.consent_id"
        " WHERE o.state = 'unknown' AND c.state <> 'opted_out' AND o.repeats < 6"
        "   AND NOT o.sent_before_stop"
    ).fetchall()
    assert doubts == []


def nothing_after_stop(world, texts):
    """By the carrier's own clock: from an answered STOP to the next START nothing new is taken."""
    moments = sorted(
        [(at, who, "stop") for who, at in world.heard.stops]
        + [(at, who, "start") for who, at in world.heard.starts]
    )
    for who in {who for _, who, _ in moments}:
        mine = [moment for moment in moments if moment[1] == who]
        for (at, _, what), (until, *_) in pairwise([*mine, (float("inf"), who, "end")]):
            if what == "start":
                continue
            late = [
                text
                for text in texts
                if text["recipientPhoneNumber"] == who.lstrip("+")
                and text["messageBody"].startswith("answer")
                and at + SLACK < datetime.fromisoformat(text["createdAt"]).timestamp() < until
            ]
            assert late == []


def enough(world, own, texts):
    """The run was as large as it says; say what it was."""
    events = own.execute("SELECT count(*) FROM webhook_receipts").fetchone()[0]
    repeats = own.execute("SELECT sum(repeats) FROM outbound_messages").fetchone()[0]
    print(
        f"{len(world.killed)} kills ({dict(Counter(world.killed))}), {world.restarted} restarts,"
        f" {events} events, {len(texts)} texts taken, {repeats} repeats,"
        f" {len(world.heard.stops)} STOPs, {world.refused} replies refused"
    )
    assert world.heard.stops
    if world.size is FULL:
        assert events >= 10_000
        assert len(texts) >= 2_000
