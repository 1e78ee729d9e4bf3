"""Rows 9-13, 34, 35 and 39 of the faults: processes, handlers and bodies that go wrong.

The deeper tests of each stand elsewhere: test_poison, test_work_actions, chaos/test_drain.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from integrations.events import MessageReceived
from integrations.failures import MAX_ATTEMPTS
from integrations.models import WebhookEvent, WebhookReceipt, WebhookWork
from integrations.processing import drain_once
from integrations.providers import providers
from integrations.work import claim
from messaging.models import Message
from pipelines.models import DeadLetter
from tenants.context import tenant_context
from tenants.dispatch import _handlers, on
from tests.chaos.conftest import run_drain  # noqa: F401  (a fixture)
from tests.conftest import SECRET, drain
from tests.integrations.test_poison import post_poisoned, run_poisoned
from tests.raw import connected, until_somebody_waits

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def handler():
    before = list(_handlers[MessageReceived])
    yield on(MessageReceived)
    _handlers[MessageReceived][:] = before


def bodies(office):
    with office.inside():
        return list(
            Message.objects.filter(direction="in").order_by("id").values_list("body", flat=True)
        )


def work(office):
    with office.inside():
        return list(WebhookWork.objects.order_by("seq"))


@pytest.mark.chaos
def test_fault_09_a_worker_killed_in_the_middle_frees_its_lane_within_a_second(
    committed_office,
    run_drain,  # noqa: F811
):
    office = committed_office
    office.post(office.payload("hello"))
    # Another session holds what the worker needs, so that it waits in the middle of the event.
    with connected(tenant=office.tenant.pk) as other:
        other.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
        worker = run_drain("--only", "events")
        until_somebody_waits(20)
        assert held(office)
        worker.kill()
        other.rollback()
    began = time.monotonic()
    assert until(lambda: not held(office))
    assert time.monotonic() - began < 1

    run_drain("--only", "events", "--once").finish()

    assert bodies(office) == ["hello"]
    assert [(item.state, item.attempts, item.strikes) for item in work(office)] == [("done", 0, 1)]


def held(office) -> bool:
    """Tell whether somebody holds the head of the lane."""
    with office.inside(), transaction.atomic():
        return not claim(1, 1) and any(item.state == "ready" for item in work(office))


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_fault_10_a_worker_that_freezes_loses_its_lock_and_cannot_commit(committed_office):
    """Frozen in a transaction: the server ends the session, another does the work, once."""
    office = committed_office
    office.post(office.payload("hello"))
    frozen, thaw, result = threading.Event(), threading.Event(), []

    def freeze() -> None:
        try:
            with tenant_context(office.tenant.pk, durable=True):
                with connection.cursor() as cursor:
                    cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '300ms'")
                assert len(claim(1, 1)) == 1
                frozen.set()
                thaw.wait(20)
                WebhookWork.objects.update(
                    state="done", processed_at=timezone.now(), outcome="by the frozen one"
                )
        except Exception as error:
            result.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=freeze, daemon=True)
    thread.start()
    assert frozen.wait(10)
    assert drain_once() == 0  # locked
    assert until(lambda: drain_once() == 1, 10)
    thaw.set()
    thread.join(20)

    assert len(result) == 1, "the thawed worker committed"
    assert bodies(office) == ["hello"]
    assert work(office)[0].outcome.startswith("filed")


@pytest.mark.chaos
def test_fault_11_an_event_that_kills_its_process_is_withheld_after_three_strikes(
    committed_office,
):
    office = committed_office
    post_poisoned(office)

    codes = [run_poisoned() for _ in range(4)]

    assert codes == [42, 42, 42, 0]
    assert [item.state for item in work(office)] == ["done", "quarantined"] + ["done"] * 4


def test_fault_12_a_handler_that_always_raises_backs_off_and_ends_as_a_letter(
    committed_office, handler
):
    office = committed_office

    @handler
    def boom(event, *, source):
        if event.body == "boom":
            raise RuntimeError("always")

    office.post(office.payload("boom"))
    office.post(office.payload("after it"))
    pauses = []
    for _ in range(MAX_ATTEMPTS):
        with office.inside():
            WebhookWork.objects.filter(state="ready").update(available_at=timezone.now())
        drain()
        pauses.append(work(office)[0].available_at - timezone.now())

    assert pauses[0] < pauses[-2]
    assert [item.state for item in work(office)] == ["dead", "done"]
    with office.inside():
        assert DeadLetter.objects.get(status="open").error == "RuntimeError: always"


def test_fault_13_a_hot_lane_does_not_hold_up_the_others_and_keeps_its_order(committed_office):
    """Of every slice a lane gets at most its depth; the rest of it is for others."""
    office = committed_office
    for n in range(60):
        office.post(office.payload(f"hot {n:02d}"))
    others = [f"+1202555{n:04d}" for n in range(20)]
    for theirs in others:
        office.post(office.payload("cold", theirs=theirs))

    settled = 0
    for _ in range(3):
        settled += drain_once(lanes=21, depth=5)

    said = bodies(office)
    assert said.count("cold") == 20, "they wait behind the hot one"
    assert settled == 20 + 15
    drain()
    hot = [text for text in bodies(office) if text != "cold"]
    assert hot == sorted(hot)
    assert len(hot) == 60


#: Bodies that Python and PostgreSQL read differently, or not at all.
HOSTILE = {
    "invalid UTF-8": b'{"event": "\xff\xfe"}',
    "a BOM": b'\xef\xbb\xbf{"event": "MESSAGE_RECEIVED"}',
    "nothing": b"",
    "a number": b"17",
    "a list": b"[1, 2]",
    "NUL": b'{"event": "a\\u0000b"}',
    "NaN": b'{"event": NaN}',
    "a lone surrogate": b'{"event": "\\ud800"}',
    "a number too large": b'{"event": 1e131072}',
    "5,000 digits": b'{"event": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_fault_34_a_hostile_body_is_kept_as_it_came_and_never_an_error(committed_office, body):
    office = committed_office

    answer = office.post(body)
    drain()

    assert answer.status_code in (202, 400, 411), answer.content
    with office.inside():
        counts = [m.objects.count() for m in (WebhookReceipt, WebhookEvent, WebhookWork)]
        assert len(set(counts)) == 1
        if answer.status_code == 202:
            assert bytes(WebhookEvent.objects.get().body) == body
            assert WebhookWork.objects.get().state in ("done", "quarantined", "dead")


LARGE = {
    "2,000 deep": b'{"a":' * 2000 + b"1" + b"}" * 2000,
    "100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "many empty objects": b"[" + b"{}," * 85_000 + b"{}]",
    "1,000,000 empty objects": b"[" + b"{}," * 1_000_000 + b"{}]",
    "a key of 70 kB": b'{"' + b"k" * 70_000 + b'": 1}',
}


@pytest.mark.parametrize("body", LARGE.values(), ids=LARGE)
def test_fault_35_a_huge_or_deep_body_is_quarantined_or_refused_cheaply(committed_office, body):
    office = committed_office
    office.post(office.payload("warm up"))
    began = time.process_time()

    answer = office.post(body)

    assert time.process_time() - began < 0.5  # the bar of 50 ms is for a core of one's own
    assert answer.status_code in (202, 413), answer.content
    drain()
    with office.inside():
        states = set(WebhookWork.objects.values_list("state", flat=True))
        assert states <= {"done", "quarantined"}
        assert WebhookWork.objects.count() == (2 if answer.status_code == 202 else 1)


def test_fault_39_a_replayed_delivery_has_no_effect_and_an_old_one_no_entry(committed_office):
    office = committed_office
    payload = office.payload("hello")
    assert office.post(payload, delivery="d-1").status_code == 202
    drain()

    assert office.post(payload, delivery="d-1").status_code == 200
    body = b'{"event": "MESSAGE_RECEIVED"}'
    old = datetime.now(UTC) - timedelta(minutes=10)
    headers = providers["signalhouse"]().sign(body, SECRET, old, "d-2")
    assert office.post(body, headers=headers).status_code == 401
    drain()

    assert bodies(office) == ["hello"]
    assert len(work(office)) == 1
