"""The live stream over plain HTTP: who gets it, what it costs, how it ends."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from django.db import connection

from messaging.actions.live import hint
from tenants.context import tenant_context
from tests.browser.processes import Web, free_port
from tests.browser.world import make_world

#: It starts and stops servers, and measures how long that takes.
pytestmark = pytest.mark.chaos


@pytest.fixture
def ann(world):
    return world.person("ann")


def live_url(world, after: int | str = "") -> str:
    return f"{world.base}/live/{world.tenant.slug}/?after={after}"


@contextmanager
def stream(world, person, after: int | str = ""):
    """Read the stream of *person* in the background into a list of (id, hint)."""
    hints: list[tuple[int, dict]] = []
    cookies = {"sessionid": person.cookie}
    timeout = httpx.Timeout(10, read=30)
    with httpx.stream("GET", live_url(world, after), cookies=cookies, timeout=timeout) as answer:
        opened = threading.Event()

        def read() -> None:
            seq = 0
            try:
                for line in answer.iter_lines():
                    opened.set()
                    if line.startswith("id: "):
                        seq = int(line[4:])
                    if line.startswith("data: {"):
                        hints.append((seq, json.loads(line[6:])))
            except (httpx.HTTPError, httpx.StreamClosed):
                opened.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        assert opened.wait(10)
        time.sleep(0.3)  # the first line comes before the follower is ready
        yield answer, hints, reader


def wait_for(condition, seconds: float = 8) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def tell(world, kind: str = "inbound", **fields) -> None:
    with tenant_context(world.tenant.pk):
        hint(kind, stage="nudger", **fields)


def backends() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name LIKE 'fairlead%%'"
        )
        return cursor.fetchone()[0]


def test_strangers_get_no_stream_and_are_not_asked_again(world):
    answer = httpx.get(live_url(world))

    assert (answer.status_code, answer.content) == (204, b"")


def test_members_of_another_tenant_get_no_stream(world, server):
    other = make_world(server.base).person("eve")

    answer = httpx.get(live_url(world), cookies={"sessionid": other.cookie})

    assert answer.status_code == 204


def test_a_stream_is_not_compressed_cached_or_buffered(world, ann):
    with stream(world, ann) as (answer, _, _):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["content-encoding"] == "identity"
        assert "no-cache" in answer.headers["cache-control"]
        assert answer.headers["x-accel-buffering"] == "no"


def test_a_hint_arrives_with_its_id_and_only_at_its_person(world, ann):
    ben = world.person("ben")
    with stream(world, ann) as (_, hints, _), stream(world, ben) as (_, others, _):
        tell(world, kind="bell", actor_id=ann.actor.pk)
        tell(world)
        wait_for(lambda: len(hints) == 2 and others)

    assert [told["k"] for _, told in hints] == ["bell", "inbound"]
    assert [told["k"] for _, told in others] == ["inbound"]
    assert set(hints[1][1]) == {"k", "s"}
    assert hints[0][0] < hints[1][0]


def test_a_stream_begins_where_the_page_was_rendered(world, ann):
    tell(world)
    poll = httpx.get(world.url("poll/?after=0"), cookies={"sessionid": ann.cookie}).json()
    time.sleep(0.1)
    tell(world, kind="conv")

    with stream(world, ann, poll["cursor"]) as (_, hints, _):
        wait_for(lambda: any(told["k"] == "conv" for _, told in hints))

    assert next(seq for seq, told in hints if told["k"] == "conv") > poll["cursor"]


def test_streams_hold_one_database_connection_together_and_no_threads(world, ann, server):
    with stream(world, ann):
        time.sleep(0.5)
        before, threads = backends(), server.threads()
        with ExitStack() as ten:
            for _ in range(10):
                ten.enter_context(stream(world, ann))
            time.sleep(0.5)

            assert backends() <= before
            assert server.threads() <= threads + 4


def test_the_poll_tells_the_same_and_refuses_strangers(world, ann):
    tell(world)

    answer = httpx.get(world.url("poll/?after=0"), cookies={"sessionid": ann.cookie})
    told = answer.json()

    assert answer.headers["cache-control"].count("no-store")
    assert told["hints"][-1]["k"] == "inbound"
    assert told["hints"][-1]["id"] == told["cursor"]
    assert told["reset"] is False
    assert httpx.get(world.url("poll/?after=0")).status_code == 401


def test_a_stop_ends_streams_at_once_and_says_nothing_alarming(world, ann, database, logs):
    web = Web(logs / "stopped.log", database, free_port())
    web.start()
    world.base = web.base
    with stream(world, ann) as (_, _, reader):
        assert web.stop() < 3
        reader.join(5)

    assert not reader.is_alive()
    assert "Traceback" not in web.said()
