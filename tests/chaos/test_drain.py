"""Kill -9 in the middle of a backlog: everything happens once, and in its order."""

from __future__ import annotations

import json
import random
import threading
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test import Client

from integrations.endpoints import forget
from integrations.models import WebhookEvent, WebhookReceipt, WebhookWork
from integrations.providers import providers
from leads.models import Lead, LeadEvent
from messaging.models import Conversation, Message, Notification
from tests.carrier import eventually
from tests.conftest import SECRET
from tests.raw import at_once, connected, rows

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.chaos]

EVENTS, LANES = 500, 50


def person(n):
    return f"+1202555{n:04d}"


def post_all(office, hands=4):
    """Post the backlog: each lane in order by one hand, the hands all at once."""

    def post(hand):
        for n in range(EVENTS):
            if n % LANES % hands == hand:
                payload = office.payload(f"text {n:04d}", theirs=person(n % LANES), id=f"in_{n}")
                assert office.post(payload).status_code == 202

    assert at_once([lambda h=hand: post(h) for hand in range(hands)]) == [None] * hands


def done(office):
    with office.inside():
        return WebhookWork.objects.filter(state="done").count()


def assert_once_and_in_order(office):
    with office.inside():
        balance = [m.objects.count() for m in (WebhookReceipt, WebhookEvent, WebhookWork)]
        assert balance == [EVENTS] * 3
        assert WebhookWork.objects.filter(state="done").count() == EVENTS
        assert set(WebhookWork.objects.values_list("attempts", flat=True)) == {0}
        assert Message.objects.count() == EVENTS
        assert LeadEvent.objects.filter(kind="message_received").count() == EVENTS
        assert Conversation.objects.count() == Lead.objects.count() == LANES
        assert sum(Notification.objects.values_list("count", flat=True)) == EVENTS
        disorder = rows(
            "SELECT e.lead_id FROM (SELECT e.lead_id, m.body, lag(m.body) OVER"
            "   (PARTITION BY e.lead_id ORDER BY e.seq) AS before"
            "  FROM lead_events AS e JOIN messages AS m"
            "    ON m.tenant_id = e.tenant_id"
            "   AND e.dedupe_key = 'signalhouse:' || m.external_id || ':received') AS e"
            " WHERE before > body"
        )
        assert disorder == []


def test_kill_9_in_the_middle_of_a_backlog(committed_office, run_drain):
    office = committed_office
    post_all(office)

    for share in (0.1, 0.4):
        drains = [run_drain("--only", "events") for _ in range(2)]
        assert eventually(lambda s=share: done(office) >= EVENTS * s, 30), drains[0].process
        for drain in drains:
            drain.kill()
    assert done(office) < EVENTS, "the drains were too fast to be killed in the middle"
    run_drain("--only", "events", "--once").finish()

    assert_once_and_in_order(office)


def test_sessions_that_end_in_the_middle_of_a_backlog(committed_office, run_drain):
    """As when the database restarts: the drain connects again and goes on."""
    office = committed_office
    post_all(office)
    drain = run_drain("--only", "events")
    for share in (0.2, 0.5):
        assert eventually(lambda s=share: done(office) >= EVENTS * s, 30)
        end_sessions("fairlead", but=connection.connection.info.backend_pid)
    assert eventually(lambda: done(office) == EVENTS, 30)

    assert drain.process.poll() is None
    assert_once_and_in_order(office)


def end_sessions(application, but):
    with connected() as own:
        return own.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = %s"
            " AND usename = current_user AND pid NOT IN (%s, pg_backend_pid())",
            [application, but],
        ).fetchone()[0]


def test_deliveries_while_sessions_end_are_stored_once(committed_office):
    """A sender that repeats until it hears 2xx, against a database that drops its sessions."""
    office = committed_office
    over = threading.Event()
    answers = []

    def deliver(hand):
        client, chance = Client(raise_request_exception=False), random.Random(hand)
        for n in range(40):
            text = "STOP" if n % 4 == 0 else "hello"
            payload = office.payload(text, theirs=person(hand * 100 + n), id=f"in_{hand}_{n}")
            body = json.dumps(payload).encode()
            for _ in range(30):
                headers = providers["signalhouse"]().sign(
                    body, SECRET, datetime.now(UTC), f"d-{hand}-{n}"
                )
                status = client.post(
                    office.path, body, content_type="application/json", headers=headers
                ).status_code
                answers.append(status)
                if status < 300 and chance.random() < 0.9:  # else the answer got lost
                    break
            else:
                raise AssertionError("never taken")

    def terminate():
        ended = 0
        while not over.wait(0.05):
            ended += end_sessions("fairlead", but=0)
        return ended

    killer = threading.Thread(target=terminate, daemon=True)
    killer.start()
    try:
        results = at_once([lambda h=hand: deliver(h) for hand in range(4)])
    finally:
        over.set()
        killer.join(10)
    connection.close()  # it may have been ended, too

    assert results == [None] * 4
    assert set(answers) <= {200, 202, 503}
    with office.inside():
        balance = [m.objects.count() for m in (WebhookReceipt, WebhookEvent, WebhookWork)]
        assert balance == [160] * 3
        assert rows("SELECT count(*), count(DISTINCT webhook_event) FROM consent_events") == [
            (40, 40)
        ]


def test_a_sender_is_told_to_come_back_while_there_is_no_database(committed_office, monkeypatch):
    """Known and unknown URLs alike: a look-up that fails is no 404."""
    office = committed_office
    assert office.post(office.payload("before")).status_code == 202
    connection.close()
    with monkeypatch.context() as away:
        away.setitem(connection.settings_dict, "NAME", "no_such_database")
        away.setattr(providers["signalhouse"], "hold_s", 0.3)

        known = office.post(office.payload("during", id="in_away"), delivery="d-away")
        forget()
        unknown = office.post(office.payload("during", id="in_away"), delivery="d-away")
        connection.close()

    for answer in (known, unknown):
        assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    again = office.post(office.payload("during", id="in_away"), delivery="d-away")
    assert again.status_code == 202
    with office.inside():
        assert WebhookEvent.objects.count() == 2
