"""Connected systems are told of opt-outs, within ten business days, and it is shown."""

from __future__ import annotations

import json
import threading
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from integrations.models import ExternalId, Integration
from integrations.providers import HttpCall, TakesOptOuts, providers
from integrations.providers.standard_webhooks import StandardWebhooks
from leads.actions import Choice, record_choice
from messaging import acks
from messaging.acks import tell
from messaging.actions.acks import due_at, sweep, try_again
from messaging.actions.consent import opt_in, opt_out
from messaging.business_days import (
    add_business_days,
    business_days_until,
    holidays,
    is_business_day,
)
from messaging.consent_loop import ConsentLoop
from messaging.models import ConsentAck
from tenants.models import AuditEntry
from tests.conftest import THEIRS

pytestmark = pytest.mark.django_db


class Crm(StandardWebhooks, TakesOptOuts):
    """A vendor that wants to know who opted out, over real HTTP."""

    name = "test_crm"
    label = "Test CRM"

    def build_opt_out(self, address, contact_id, account):
        if address == "+12025550199":
            return None
        body = json.dumps({"phone": address, "contact": contact_id, "dnd": True}).encode()
        return HttpCall(
            method="POST",
            url=f"{account.base_url}/dnd",
            headers={"Authorization": f"Bearer {account.api_key}"},
            body=body,
        )

    def read_opt_out(self, status, body):
        return "" if status == 200 else f"HTTP {status}"


class Server(ThreadingHTTPServer):
    """Answers with the next of its statuses; remembers what it was told."""

    def __init__(self):
        self.told, self.statuses = [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.told.append(json.loads(body))
                status = outer.statuses.pop(0) if outer.statuses else 200
                if status:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *args):
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def server():
    made = Server()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def crm(office, server, settings):
    """The office is connected to a CRM that takes opt-outs."""
    settings.SEND_DEADLINE = 2.0
    providers.register("test_crm")(Crm)
    with office.inside():
        made = Integration.objects.create(
            provider="test_crm",
            name="The CRM",
            base_url=f"http://127.0.0.1:{server.server_port}",
            api_key="key",
        )
    yield made
    providers._plugins.pop("test_crm")


def ack(office):
    with office.inside():
        return ConsentAck.objects.get()


def stop(office, address=THEIRS, **more):
    with office.inside():
        return opt_out(Choice(address=address, kind="opt_out", reason="asked", **more))


def told(office):
    """Let the time come, and tell."""
    with office.inside():
        ConsentAck.objects.filter(state="pending").update(next_at=timezone.now())
    return tell(office.tenant.pk, most=8)


def test_a_system_is_told_and_its_answer_kept(office, crm, server):
    office.receive("hello")
    with office.inside():
        ExternalId.objects.create(integration=crm, external_id="c_77", phone=THEIRS)
    stop(office)

    assert told(office) == 1

    assert server.told == [{"phone": THEIRS, "contact": "c_77", "dnd": True}]
    assert ack(office).state == "acknowledged"
    assert ack(office).acked_at is not None
    assert told(office) == 0


def test_a_stop_by_text_is_told_too_and_once(office, crm, server):
    office.receive("STOP")
    office.receive("STOP")

    told(office)

    assert [words["phone"] for words in server.told] == [THEIRS, THEIRS]
    with office.inside():
        assert ConsentAck.objects.filter(state="acknowledged").count() == 2  # of two opt-outs


def test_what_is_not_taken_is_told_again_with_longer_pauses(office, crm, server):
    server.statuses = [500, 0, 429]
    stop(office)
    pauses = []
    for _ in range(3):
        told(office)
        pauses.append(round((ack(office).next_at - timezone.now()).total_seconds()))
        assert ack(office).state == "pending"

    told(office)

    assert ack(office).state == "acknowledged"
    assert ack(office).attempts == 4
    assert pauses == pytest.approx([30, 60, 120], abs=3)
    assert len(server.told) == 4


def test_after_the_deadline_it_is_late_and_a_person_may_try_again(office, crm, server):
    server.statuses = [500, 200]
    stop(office)
    with office.inside():
        ConsentAck.objects.update(due_at=timezone.now() - timedelta(hours=1))

    told(office)
    assert (ack(office).state, ack(office).last_error) == ("failed", "HTTP 500")
    assert told(office) == 0

    with office.inside():
        try_again(ConsentAck.objects.get().pk, actor_id=office.agent.pk)
    told(office)
    assert ack(office).state == "acknowledged"
    with office.inside():
        assert AuditEntry.objects.filter(action="consent_ack.retried").count() == 1


def test_a_system_that_cannot_know_the_person_need_not(office, crm, server):
    stop(office, "+12025550199")

    told(office)

    assert ack(office).state == "not_applicable"
    assert server.told == []


def test_nobody_is_told_of_an_opt_out_that_was_lifted(office, crm, server):
    stop(office)
    with office.inside():
        opt_in(Choice(address=THEIRS, kind="opt_in", actor_id=office.agent.pk, reason="a form"))

    told(office)

    assert (ack(office).state, server.told) == ("not_applicable", [])


def test_a_switched_off_integration_is_told_later(office, crm, server):
    stop(office)
    with office.inside():
        Integration.objects.filter(pk=crm.pk).update(enabled=False)

    told(office)

    assert (ack(office).state, ack(office).last_error) == (
        "pending",
        "the integration is switched off",
    )


def test_an_opt_out_of_calls_or_of_a_list_is_not_told(office, crm):
    stop(office, channel="call")
    stop(office, scope="list:sup_1")

    with office.inside():
        assert not ConsentAck.objects.exists()
        assert sweep() == 0


def test_what_no_handler_followed_is_swept_up(office, crm, server):
    with office.inside():
        record_choice(Choice(address=THEIRS, kind="opt_out"))
        assert not ConsentAck.objects.exists()

        assert sweep() == 1
        assert sweep() == 0
    told(office)

    assert len(server.told) == 1


def test_without_a_system_that_takes_opt_outs_there_is_nothing_to_do(office):
    office.receive("STOP")
    with office.inside():
        assert not ConsentAck.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_loop_calls_outside_of_any_transaction(committed_office, server, settings, monkeypatch):
    settings.SEND_DEADLINE = 2.0
    providers.register("test_crm")(Crm)
    seen = []
    real = acks.call

    def watched(request, **options):
        seen.append(connection.in_atomic_block)
        return real(request, **options)

    monkeypatch.setattr(acks, "call", watched)
    try:
        with committed_office.inside():
            Integration.objects.create(
                provider="test_crm",
                name="The CRM",
                base_url=f"http://127.0.0.1:{server.server_port}",
                api_key="key",
            )
        stop(committed_office)
        assert ConsentLoop().step() == 1
    finally:
        providers._plugins.pop("test_crm")

    assert seen == [False]
    assert ack(committed_office).state == "acknowledged"


# --- business days ----------------------------------------------------------------------------


def test_the_holidays_of_2026_and_of_a_year_with_moved_ones():
    assert sorted(holidays(2026)) == [
        date(2026, 1, 1), date(2026, 1, 19), date(2026, 2, 16), date(2026, 5, 25),
        date(2026, 6, 19), date(2026, 7, 3), date(2026, 9, 7), date(2026, 10, 12),
        date(2026, 11, 11), date(2026, 11, 26), date(2026, 12, 25),
    ]  # fmt: skip
    assert not is_business_day(date(2027, 12, 31))  # New Year's Day of 2028 is a Saturday
    assert is_business_day(date(2026, 12, 31))


@pytest.mark.parametrize(
    ("day", "due"),
    [
        (date(2026, 11, 20), date(2026, 12, 7)),  # over Thanksgiving
        (date(2026, 12, 18), date(2027, 1, 5)),  # over Christmas and New Year
        (date(2026, 11, 21), date(2026, 12, 7)),  # begun on a Saturday
    ],
)
def test_ten_business_days(day, due):
    assert add_business_days(day, 10) == due
    assert business_days_until(day, due) == 10


@given(st.dates(date(2020, 1, 1), date(2035, 1, 1)), st.integers(1, 40))
def test_adding_and_counting_agree(day, many):
    due = add_business_days(day, many)

    assert is_business_day(due)
    assert business_days_until(day, due) == many
    assert business_days_until(due, due) == 0
    assert business_days_until(due + timedelta(days=9), due) < 0


def test_the_deadline_is_the_end_of_a_day_of_the_tenant():
    due = due_at(datetime(2026, 11, 20, 3, tzinfo=UTC), "America/Los_Angeles")

    assert due == datetime(2026, 12, 5, 8, tzinfo=UTC)  # it was still the 19th there
