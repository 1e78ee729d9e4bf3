"""Processing: effects and "done" together, in a lane's order, and no event lost to an error."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from integrations import processing
from integrations.events import BadPayload, MessageReceived
from integrations.models import WebhookEvent, WebhookReceipt, WebhookWork, WorkEvent
from integrations.processing import MAX_ATTEMPTS, drain_once
from leads.models import ConsentEvent, LeadEvent
from messaging.models import Conversation, Message
from tenants.dispatch import _handlers, on
from tests import raw
from tests.conftest import OURS, THEIRS, drain

pytestmark = pytest.mark.django_db

OTHER = "+12025550143"


@pytest.fixture
def handler():
    """Register a handler of inbound texts for one test, after the product's own."""
    before = list(_handlers[MessageReceived])
    yield on(MessageReceived)
    _handlers[MessageReceived][:] = before


@pytest.fixture
def explodes(handler):
    """Make texts with the word "boom" fail, after all their effects; returns what was tried."""
    tried = []

    @handler
    def boom(event, *, source):
        if "boom" in event.body:
            tried.append(event.external_id)
            raise RuntimeError("boom it says")

    return tried


def come_due(office):
    with office.inside():
        WebhookWork.objects.filter(state="ready").update(available_at=timezone.now())


def work(office, **which):
    with office.inside():
        return WebhookWork.objects.get(**which)


def bodies(office):
    with office.inside():
        return list(Message.objects.order_by("id").values_list("body", flat=True))


# --- failures ---------------------------------------------------------------------------------


def test_a_failure_leaves_no_effect_and_is_tried_again_later(office, explodes):
    office.post(office.payload("boom"))

    drain()

    item = work(office)
    assert (item.state, item.attempts, item.last_error) == (
        "ready",
        1,
        "RuntimeError: boom it says",
    )
    assert timedelta(seconds=1) < item.available_at - timezone.now() < timedelta(seconds=6)
    with office.inside():
        assert not Message.objects.exists()
        assert not LeadEvent.objects.exists()
        assert not Conversation.objects.exists()
    assert drain() == 0  # not before its time


def test_pauses_grow_and_differ(office, explodes):
    office.post(office.payload("boom"))
    pauses = []
    for _ in range(MAX_ATTEMPTS - 1):
        come_due(office)
        drain()
        pauses.append((work(office).available_at - timezone.now()).total_seconds())

    for attempt, pause in enumerate(pauses, 1):
        assert 2**attempt * 2 * 0.5 - 1 < pause < 2**attempt * 2 * 1.5 + 1
    assert len({round(pause / 2**n, 3) for n, pause in enumerate(pauses)}) > 1


def test_a_lane_waits_for_its_failing_head_and_others_go_on(office, explodes):
    office.post(office.payload("boom"))
    office.post(office.payload("after it"))
    office.post(office.payload("elsewhere", theirs=OTHER))

    drain()

    assert bodies(office) == ["elsewhere"]


def test_after_five_tries_an_event_is_dead_and_its_lane_goes_on(office, explodes):
    office.post(office.payload("boom", id="in_boom"))
    office.post(office.payload("after it"))
    for _ in range(MAX_ATTEMPTS):
        come_due(office)
        drain()
    drain()

    assert explodes.count("in_boom") >= MAX_ATTEMPTS
    with office.inside():
        dead = WebhookWork.objects.get(state="dead")
        note = WorkEvent.objects.get(what="dead")
        assert WorkEvent.objects.filter(what="failed").count() == MAX_ATTEMPTS - 1
        assert (dead.attempts, note.what, note.work) == (MAX_ATTEMPTS, "dead", dead.seq)
        assert note.reason == "RuntimeError: boom it says"
        assert note.correlation_id == WebhookEvent.objects.get(pk=dead.event).correlation_id
    assert bodies(office) == ["after it"]


def test_texts_before_a_failing_one_in_its_lane_are_done(office, explodes):
    for text in ("one", "two", "boom", "four"):
        office.post(office.payload(text))

    drain()

    assert bodies(office) == ["one", "two"]


def test_an_event_that_recovers_is_done_in_its_place(office, handler):
    failures = list(range(4))  # two tries: each first in its batch, then alone

    @handler
    def fail_for_a_while(event, *, source):
        if event.body == "first" and failures:
            failures.pop()
            raise RuntimeError("not yet")

    office.post(office.payload("first"))
    office.post(office.payload("second"))
    for _ in range(3):
        come_due(office)
        drain()

    assert bodies(office) == ["first", "second"]
    assert work(office, attempts=2).last_error == ""


def test_what_makes_no_sense_is_dead_at_once(office, handler):
    @handler
    def reject(event, *, source):
        raise BadPayload("no such thing")

    office.post(office.payload("hello"))

    drain()

    item = work(office)
    assert (item.state, item.attempts, item.last_error) == ("dead", 1, "BadPayload: no such thing")


def test_a_swallowed_database_error_is_an_error(office, handler):
    @handler
    def swallow(event, *, source):
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")
        except Exception:
            pass

    office.post(office.payload("hello"))

    drain()

    item = work(office)
    assert (item.state, item.attempts) == ("ready", 1)
    assert "swallowed" in item.last_error or "aborted" in item.last_error
    assert bodies(office) == []


def test_a_statement_that_takes_too_long_is_the_events_fault(office, handler):
    @handler
    def crawl(event, *, source):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '20ms'")
            cursor.execute("SELECT pg_sleep(0.5)")

    office.post(office.payload("hello"))

    drain()

    item = work(office)
    assert (item.state, item.attempts) == ("ready", 1)
    assert "statement timeout" in item.last_error


def test_a_deadlock_is_nobodys_fault(office, handler):
    """The batch is rolled back and its lanes run one by one; no attempt is counted."""
    trouble = [1]

    @handler
    def collide(event, *, source):
        if trouble:
            trouble.pop()
            with connection.cursor() as cursor:
                cursor.execute("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$")

    office.post(office.payload("one"))
    office.post(office.payload("two", theirs=OTHER))

    drain()

    assert sorted(bodies(office)) == ["one", "two"]
    with office.inside():
        assert set(WebhookWork.objects.values_list("attempts", flat=True)) == {0}


def test_one_bad_event_does_not_spoil_the_rest_of_its_batch(office, explodes):
    for n in range(30):
        office.post(office.payload("boom" if n == 7 else f"n{n}", theirs=f"+1202555{n:04d}"))

    drain()

    assert len(bodies(office)) == 29
    with office.inside():
        assert WebhookWork.objects.filter(state="done").count() == 29


# --- order and bounds -------------------------------------------------------------------------


def test_a_long_lane_is_done_in_order_and_in_slices(office):
    for n in range(13):
        office.post(office.payload(f"n{n}"))

    assert drain_once(lanes=5, depth=5) == 5
    drain()

    assert bodies(office) == [f"n{n}" for n in range(13)]


def test_a_backlog_of_one_tenant_does_not_starve_another(office, other_office):
    for n in range(8):
        office.post(office.payload(f"n{n}", theirs=f"+1202555{n:04d}"))
    other_office.post(other_office.payload("hello"))

    for _ in range(40):
        drain_once(lanes=1, depth=1)
        if bodies(other_office):
            break

    assert bodies(other_office) == ["hello"]


def test_waiting_work_is_not_claimed(office):
    office.post(office.payload("hello"))
    with office.inside():
        WebhookWork.objects.update(available_at=timezone.now() + timedelta(hours=1))

    assert drain() == 0


@pytest.mark.parametrize("state", ["dead", "quarantined"])
def test_given_up_work_is_left_alone(office, state):
    office.post(office.payload("hello"))
    with office.inside():
        WebhookWork.objects.update(state=state)

    assert drain() == 0


def test_finished_work_stays_finished(office):
    office.receive("hello")
    with office.inside():
        for change in ("state = 'ready', processed_at = NULL", "outcome = 'x'"):
            assert raw.refused(f"UPDATE webhook_work SET {change}") == "LD015"


@pytest.mark.parametrize(
    "change", ["lane = 'x'", "run_no = 2", "event = gen_random_uuid()", "tenant_id = event"]
)
def test_work_keeps_what_it_is_about(office, change):
    office.post(office.payload("hello"))
    with office.inside():
        assert raw.refused(f"UPDATE webhook_work SET {change}") in ("LD015", "42501")


def test_an_event_without_a_handler_is_done_and_says_so(office):
    office.post({**office.payload("x"), "event": "BRAND_REGISTERED"})

    drain()

    assert (work(office).state, work(office).outcome) == ("done", "unmapped")


# --- the thread through it all ----------------------------------------------------------------


def test_the_correlation_of_a_webhook_reaches_everything_it_caused(office):
    answer = office.post(office.payload("STOP, and mail me at a@example.com"))
    drain()

    with office.inside():
        event = WebhookEvent.objects.get()
        assert event.correlation_id == answer["X-Correlation-Id"] != ""
        assert {Message.objects.get(direction="in").correlation_id} == {event.correlation_id}
        facts = LeadEvent.objects.values_list("kind", "correlation_id")
        assert {corr for _, corr in facts} == {event.correlation_id}
        assert ConsentEvent.objects.get().correlation_id == event.correlation_id
        assert Message.objects.get(direction="out").correlation_id == event.correlation_id


def test_events_of_one_batch_keep_their_own_correlations(office):
    for theirs in (THEIRS, OTHER):
        office.post(office.payload("hello", theirs=theirs))

    drain()

    with office.inside():
        sent = dict(WebhookEvent.objects.values_list("lane", "correlation_id"))
        for message in Message.objects.all():
            assert message.correlation_id == sent[f"{OURS}|{message.sender}"]
        assert len(set(sent.values())) == 2


# --- the balance ------------------------------------------------------------------------------


def test_receipts_events_and_work_balance(office, explodes):
    for text in ("one", "boom", "STOP", "START", "x@example.com"):
        office.post(office.payload(text))
    office.post(b"{")
    office.post(b"{")

    drain()

    with office.inside():
        counts = [m.objects.count() for m in (WebhookReceipt, WebhookEvent, WebhookWork)]
    assert counts == [7, 7, 7]


def test_the_numbers_of_the_rules():
    assert (processing.MAX_ATTEMPTS, processing.BACKOFF_S, processing.MAX_BACKOFF_S) == (5, 2, 600)
