"""Down is not lost: the database goes away under traffic, and every promise is kept afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tenants.ulids import to_uuid
from tests.config.conftest import folder, private_server
from tests.faults.outage import Deployment, wait_for

pytestmark = [pytest.mark.chaos]

PEOPLE = [f"+1202555{n:04d}" for n in range(3000, 3008)]


@pytest.fixture(scope="module")
def _deployment(django_db_blocker) -> Iterator[Deployment]:
    with django_db_blocker.unblock(), folder() as path, private_server(path / "var") as server:
        server.ensure()
        deployment = Deployment(server, path)
        deployment.make()
        yield deployment
        deployment.end()


@pytest.fixture
def deployment(_deployment, request) -> Iterator[Deployment]:
    _deployment.new_office(f"office-{abs(hash(request.node.name)) % 10**8}")
    yield _deployment
    _deployment.end()


def stored(deployment):
    return [
        (lane, body)
        for lane, body in deployment.ask(
            "SELECT w.lane, e.payload #>> '{metaData,Message,messageBody}'"
            " FROM webhook_work AS w JOIN webhook_events AS e"
            "   ON e.tenant_id = w.tenant_id AND e.id = w.event"
            " WHERE w.tenant_id = %s ORDER BY w.seq",
            uuid_of(deployment),
        )
    ]


def uuid_of(deployment):
    return to_uuid(deployment.office["tenant"])


class Sender:
    """Posts texts as a person writes them: the next one once the one before was accepted."""

    def __init__(self, deployment, host) -> None:
        self.deployment, self.host = deployment, host
        self.accepted: dict[str, list[str]] = {}
        self.answers: set[int] = set()
        self.over = threading.Event()

    def count(self) -> int:
        return sum(map(len, self.accepted.values()))

    def write(self, theirs: str) -> None:
        n = 0
        while not self.over.is_set():
            words = f"text {n:04d}"
            payload = self.deployment.text(words, theirs=theirs, id=f"in_{theirs}_{n}")
            while True:  # as a sender does: the same delivery, until it is accepted
                status = self.host.post(payload, f"d-{theirs}-{n}")
                self.answers.add(status)
                if status in (200, 202):
                    self.accepted.setdefault(theirs, []).append(words)
                    break
                if self.over.wait(0.1):
                    return
            n += 1
            self.over.wait(0.02)


@pytest.fixture
def traffic(deployment) -> Iterator[Sender]:
    """Eight people who write to a host, until the test says that it is over."""
    sender = Sender(deployment, deployment.host("one", workers=2))
    with ThreadPoolExecutor(max_workers=len(PEOPLE)) as pool:
        writers = [pool.submit(sender.write, theirs) for theirs in PEOPLE]
        try:
            yield sender
        finally:
            sender.over.set()
    for writer in writers:
        writer.result()


def test_fault_07_an_outage_with_a_killed_web_process_loses_and_doubles_nothing(
    deployment, traffic
):
    host = traffic.host
    wait_for(lambda: len(traffic.accepted) == len(PEOPLE))
    wait_for(lambda: not deployment.paused())

    deployment.server.stop()
    time.sleep(3)
    during = traffic.count()
    wait_for(lambda: traffic.count() > during + 50, 20, host.said)
    host.kill()
    host.start()
    time.sleep(1)
    deployment.server.ensure()
    after = traffic.count()
    wait_for(lambda: traffic.count() > after + 50, 30, host.said)
    traffic.over.set()
    wait_for(lambda: not list(host.spool.glob("*.seg")), 30, host.said)
    wait_for(lambda: not deployment.paused())
    time.sleep(1)

    assert traffic.answers <= {0, 200, 202, 503}
    rows = stored(deployment)
    for theirs in PEOPLE:
        mine = [body for lane, body in rows if lane.endswith(theirs)]
        assert len(mine) == len(set(mine)), theirs
        assert mine == sorted(mine), theirs
        assert set(mine) >= set(traffic.accepted[theirs]), theirs
    assert not list((host.spool / "aside").iterdir())


def test_fault_07_what_the_answer_names_is_what_is_stored(deployment):
    host = deployment.host("one")
    assert host.post(deployment.text("before", theirs=PEOPLE[0], id="in_a"), "d-a") == 202
    wait_for(lambda: not deployment.paused())

    deployment.server.stop()
    payload = deployment.text("during", theirs=PEOPLE[0], id="in_b")
    began = time.monotonic()
    first = host.post(payload, "d-b")
    held = time.monotonic() - began
    began = time.monotonic()
    second = host.post(deployment.text("again", theirs=PEOPLE[0], id="in_c"), "d-c")
    at_once = time.monotonic() - began
    repeated = host.post(payload, "d-b")
    raw = b"".join(path.read_bytes() for path in host.spool.glob("*.seg"))
    deployment.server.ensure()
    wait_for(lambda: not deployment.paused(), 20, host.said)

    assert (first, second, repeated) == (202, 202, 202)
    assert held < 3.0, "SignalHouse waits three seconds"
    assert at_once < 1.0, "behind a spool nobody waits for the database again"
    assert raw
    assert b"during" not in raw
    assert (host.spool.stat().st_mode & 0o777) == 0o700
    assert [body for _, body in stored(deployment)] == ["before", "during", "again"]


def test_fault_07_unknown_urls_and_bad_signatures_are_not_kept(deployment):
    host = deployment.host("one")
    assert host.post(deployment.text("before", theirs=PEOPLE[0], id="in_a"), "d-a") == 202
    deployment.server.stop()
    path = deployment.office["path"]

    deployment.office["path"] = path[:-10] + "x" * 9 + "/"
    unknown = host.post(deployment.text("x", theirs=PEOPLE[0], id="in_b"), "d-b")
    deployment.office["path"] = path
    forged = httpx.post(
        host.base + path,
        json=deployment.text("x", theirs=PEOPLE[0], id="in_c"),
        headers={"X-SignalHouse-Timestamp": "1", "X-SignalHouse-Signature": "00"},
        timeout=20,
    ).status_code

    assert (unknown, forged) == (503, 401)
    assert not list(host.spool.glob("*.seg"))


def test_fault_36_what_is_too_large_is_not_kept_either(deployment):
    host = deployment.host("one")
    assert host.post(deployment.text("before", theirs=PEOPLE[0], id="in_a"), "d-a") == 202
    wait_for(lambda: not deployment.paused())
    deployment.server.stop()
    assert host.post(deployment.text("during", theirs=PEOPLE[0], id="in_b"), "d-b") == 202
    size = sum(path.stat().st_size for path in host.spool.glob("*.seg"))

    huge = host.post(deployment.text("x" * 300_000, theirs=PEOPLE[0], id="in_c"), "d-c")

    assert huge == 413
    assert sum(path.stat().st_size for path in host.spool.glob("*.seg")) == size


def test_fault_07_without_a_spool_the_sender_is_told_to_come_back(deployment):
    host = deployment.host("none", FAIRLEAD_SPOOL="off")
    assert host.post(deployment.text("before", theirs=PEOPLE[0], id="in_a"), "d-a") == 202
    deployment.server.stop()

    assert host.post(deployment.text("during", theirs=PEOPLE[0], id="in_b"), "d-b") == 503


QUEUE = """
from messaging.actions.sending import send_reply
from messaging.models import Conversation
from tenants.context import tenant_context
with tenant_context({tenant!r}):
    conversation = Conversation.objects.get(their_number={theirs!r})
    outbound = send_reply(conversation.pk, body="Hi there", actor_id={agent!r}, send_key="k-000001")
"""

CLAIM = """
from messaging.sender import claim
print(len(claim({tenant!r}, most=10)))
"""


def queue(deployment, theirs):
    deployment.code(QUEUE.format(theirs=theirs, **deployment.office))


def claimed(deployment) -> int:
    return int(deployment.code(CLAIM.format(**deployment.office)))


def states(deployment):
    return deployment.ask(
        "SELECT state, attempt FROM outbound_messages WHERE tenant_id = %s", uuid_of(deployment)
    )


def test_fault_24_a_stop_in_the_outage_is_stored_before_any_text_is_claimed(deployment):
    host = deployment.host("one")
    assert host.post(deployment.text("hello", theirs=PEOPLE[0], id="in_a"), "d-a") == 202
    deployment.manage("drain", "--only", "events", "--once")
    queue(deployment, PEOPLE[0])

    deployment.server.stop()
    assert host.post(deployment.text("STOP", theirs=PEOPLE[0], id="in_b"), "d-b") == 202
    host.kill()
    deployment.server.ensure()

    assert deployment.paused()
    assert claimed(deployment) == 0
    assert states(deployment) == [("queued", 0)]
    host.start()
    wait_for(lambda: not deployment.paused(), 30, host.said)
    assert claimed(deployment) == 0
    assert states(deployment) == [("suppressed", 0)]


def test_fault_24_two_hosts_and_a_stop_that_only_one_of_them_holds(deployment):
    """The other host is well, and so is the database: sends wait all the same."""
    one, two = deployment.host("one"), deployment.host("two")
    assert one.post(deployment.text("hello", theirs=PEOPLE[0], id="in_a"), "d-a") == 202
    deployment.manage("drain", "--only", "events", "--once")
    queue(deployment, PEOPLE[0])
    deployment.server.stop()
    assert one.post(deployment.text("STOP", theirs=PEOPLE[0], id="in_b"), "d-b") == 202
    one.kill()
    deployment.server.ensure()

    assert two.post(deployment.text("hi", theirs=PEOPLE[1], id="in_c"), "d-c") == 202
    time.sleep(2.5)

    assert deployment.paused()
    assert "Sends wait for spools:" in deployment.manage("spool")
    assert claimed(deployment) == 0
    one.start()
    wait_for(lambda: not deployment.paused(), 30, one.said)
    assert claimed(deployment) == 0
    assert states(deployment) == [("suppressed", 0)]


def test_fault_07_a_keeper_killed_while_it_drains_stores_everything_once(deployment):
    host = deployment.host("one")
    assert host.post(deployment.text("text", theirs=PEOPLE[0], id="in_x"), "d-x") == 202
    wait_for(lambda: not deployment.paused())
    deployment.server.stop()
    texts = [
        deployment.text(f"text {n:04d}", theirs=PEOPLE[n % 8], id=f"i_{n}") for n in range(300)
    ]
    with ThreadPoolExecutor(max_workers=8) as pool:
        lanes = [pool.submit(_post_lane, host, texts, lane) for lane in range(8)]
        assert {status for lane in lanes for status in lane.result()} == {202}

    deployment.server.ensure()
    wait_for(lambda: len(stored(deployment)) > 10, 20, host.said)
    host.kill()
    assert len(stored(deployment)) < 301, "it was too fast to be killed in the middle"
    host.start()
    wait_for(lambda: not deployment.paused(), 30, host.said)

    rows = stored(deployment)
    assert len(rows) == len(set(rows)) == 301
    for theirs in PEOPLE:
        mine = [body for lane, body in rows if lane.endswith(theirs)]
        assert mine == sorted(mine), theirs


def test_fault_07_the_spool_is_kept_by_another_process_when_one_dies(deployment):
    host = deployment.host("one", workers=2)
    wait_for(lambda: not deployment.paused())

    host.kill_one()  # the first to start, and so most likely its keeper

    time.sleep(2.5)
    wait_for(lambda: not deployment.paused(), 2, host.said)


def _post_lane(host, texts, lane):
    return [host.post(text, f"d-{n}") for n, text in enumerate(texts) if n % 8 == lane]


def test_fault_24_a_host_that_ends_in_order_stops_nobody(deployment):
    host = deployment.host("one")
    wait_for(lambda: not deployment.paused())

    host.stop()
    time.sleep(2)

    assert not deployment.paused()
    assert not (host.spool / "registered").exists()
    host.start()
    wait_for(lambda: not deployment.paused())
    assert (host.spool / "registered").exists()
