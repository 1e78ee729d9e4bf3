"""Lists of vendors against what their webhooks told: all that is missing comes, once."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from integrations import reconcile as job
from integrations.models import Integration, ReconcileRun, SyncState, WebhookEvent, WebhookWork
from integrations.providers import providers
from integrations.reconcile import due, reconcile
from integrations.silence import last_reconciles, silent_integrations
from leads.models import Consent
from messaging.models import Message, OutboundMessage
from tests.carrier import send_due
from tests.conftest import OURS, drain
from tests.messaging.conftest import _carrier, carrier, queue
from tests.raw import at_once, connected

__all__ = ["_carrier", "carrier", "queue"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def desk(committed_office, carrier, settings, monkeypatch):
    """An office whose vendor knows of no URL of ours: every webhook is lost."""
    settings.BASE_URL = "http://127.0.0.1:9"
    monkeypatch.setattr(job, "SETTLE_S", -60.0)
    with committed_office.inside():
        committed_office.integration.base_url = carrier.url
        committed_office.integration.save()
    carrier.client.post("/_control/numbers", json={"numbers": [OURS], "api_key": "key"})
    return committed_office


def write(carrier, n, text="", *, ago_s=0, **more):
    at = datetime.now(UTC) - timedelta(seconds=ago_s)
    answer = carrier.client.post(
        "/_control/inbound",
        json={
            "from": f"+1202555{n:04d}",
            "to": OURS,
            "text": text or f"text {n}",
            "timestamp": at.isoformat(),
            **more,
        },
    )
    assert answer.status_code == 202, answer.text
    return answer.json()["identifier"]


def run(office, **options):
    return reconcile(office.tenant.pk, office.integration.pk, **options)


def events(office):
    with office.inside():
        return WebhookEvent.objects.count()


def test_every_lost_text_is_found_once(desk, carrier):
    ids = [write(carrier, n) for n in range(30)]

    first, second = run(desk), run(desk)
    drain()

    assert (first.status, first.seen, first.missing) == ("completed", 30, 30)
    assert (second.status, second.missing) == ("completed", 0)
    with desk.inside():
        assert sorted(Message.objects.values_list("external_id", flat=True)) == sorted(ids)
        event = WebhookEvent.objects.order_by("id").first()
    assert (event.signature_state, event.endpoint) == ("pulled", None)
    assert run(desk).missing == 0


def test_what_its_webhook_told_is_not_missing_processed_or_not(desk, carrier):
    told = write(carrier, 1, "told and filed")
    waits = write(carrier, 2, "told and waiting")
    desk.post(desk.payload("told and filed", theirs="+12025550001", id=told))
    drain()
    desk.post(desk.payload("told and waiting", theirs="+12025550002", id=waits))

    result = run(desk)

    assert (result.seen, result.missing) == (2, 0)
    assert events(desk) == 2


def test_a_lost_stop_counts_before_it_is_processed(desk, carrier):
    write(carrier, 1, "STOP")

    run(desk)

    with desk.inside():
        assert Consent.objects.get(address="+12025550001").state == "opted_out"


def test_lost_reports_of_our_texts_are_found(desk, carrier, queue):
    carrier.fault("no_callbacks")
    outbound = queue(desk, "Hi", "+12025550007")
    send_due(desk)
    assert carrier.received("+12025550007") == ["Hi"]
    time.sleep(0.2)

    found = run(desk)
    drain()

    assert found.missing >= 1
    with desk.inside():
        assert OutboundMessage.objects.get(pk=outbound.pk).state == "delivered"
    assert run(desk).missing == 0


def test_what_is_too_young_is_left_to_its_webhook(desk, carrier, monkeypatch):
    monkeypatch.setattr(job, "SETTLE_S", 30.0)
    write(carrier, 1)
    write(carrier, 2, ago_s=60)

    result = run(desk)

    assert (result.seen, result.missing) == (2, 1)
    with desk.inside():
        state = SyncState.objects.get()
    assert state.cursor_at < result.started_at - timedelta(seconds=29)


def test_long_lists_are_read_page_by_page_until_they_are_known(desk, carrier, monkeypatch):
    monkeypatch.setattr("integrations.providers.signalhouse.PULL_LIMIT", 10)
    for n in range(25):
        write(carrier, n, ago_s=900)

    first = run(desk)
    write(carrier, 99)
    second = run(desk)

    assert (first.pages, first.missing) == (3, 25)
    assert (second.pages, second.missing) == (2, 1), "it stops where everything is old"


def test_a_run_killed_between_pages_is_taken_over_and_nothing_comes_twice(
    desk, carrier, monkeypatch
):
    monkeypatch.setattr("integrations.providers.signalhouse.PULL_LIMIT", 5)
    for n in range(20):
        write(carrier, n)
    take_in, taken = job._take_in, []

    def dies(*args):
        if len(taken) == 2:
            raise SystemExit  # nothing is tidied up
        take_in(*args)
        taken.append(1)

    monkeypatch.setattr(job, "_take_in", dies)
    with pytest.raises(SystemExit):
        run(desk)
    monkeypatch.setattr(job, "_take_in", take_in)
    assert events(desk) == 10
    assert run(desk) is None, "its lease has not run out"
    write(carrier, 50)  # what comes meanwhile shifts the pages
    with desk.inside():
        ReconcileRun.objects.update(heard_at=datetime.now(UTC) - timedelta(minutes=10))

    resumed, next_one = run(desk), run(desk)

    assert resumed.status == "completed"
    assert resumed.missing + next_one.missing == 11
    with desk.inside():
        statuses = ReconcileRun.objects.order_by("id").values_list("status", "error")
        assert statuses[0] == ("failed", "its process died")
        assert WebhookWork.objects.count() == 21


def test_two_at_once_are_one(desk, carrier):
    for n in range(20):
        write(carrier, n)

    results = at_once([lambda: run(desk)] * 4)

    assert sum(one.missing for one in results if one is not None) == 20
    assert all(one is None or one.status == "completed" for one in results)
    assert events(desk) == 20


def test_a_run_that_was_replaced_writes_nothing_more(desk, carrier, monkeypatch):
    write(carrier, 1)
    fetch = job._fetch

    def slowly(*args):
        page = fetch(*args)
        with desk.inside():
            ReconcileRun.objects.update(
                status="failed", finished_at=datetime.now(UTC) + timedelta(seconds=5)
            )
        return page

    monkeypatch.setattr(job, "_fetch", slowly)
    run(desk)

    assert events(desk) == 0


def test_a_run_is_cancelled_at_its_next_page(desk, carrier):
    stop = threading.Event()
    stop.set()

    result = run(desk, stop=stop)

    assert (result.status, result.error) == ("failed", "cancelled")


def test_a_slice_ends_in_time_and_the_next_one_goes_on(desk, carrier, monkeypatch):
    monkeypatch.setattr("integrations.providers.signalhouse.PULL_LIMIT", 5)
    for n in range(12):
        write(carrier, n)

    first = run(desk, seconds=0.0)
    with desk.inside():
        assert SyncState.objects.get().cursor_at is None
    rest = run(desk)

    assert (first.missing, rest.missing, rest.status) == (5, 7, "completed")


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (401, {}, "answered 401"),
        (429, {"retry-after": "900"}, "answered 429: wait 900 s"),
        (500, {}, "answered 500"),
    ],
)
def test_a_vendor_that_gives_no_list_fails_the_run(desk, monkeypatch, status, headers, error):
    monkeypatch.setattr(job, "PAUSE_S", 0.01)
    calls = []

    def answers(*args, **options):
        calls.append(1)
        return job.Answer(status=status, headers=headers, body=b"no", latency_ms=1)

    monkeypatch.setattr(job, "call", answers)

    result = run(desk)

    assert (result.status, result.error) == ("failed", error)
    assert len(calls) == (job.TRIES if status == 500 else 1)


def test_a_throttled_call_waits_as_told(desk, carrier, monkeypatch):
    real, calls = job.call, []

    def throttled(*args, **options):
        calls.append(time.monotonic())
        if len(calls) == 1:
            return job.Answer(status=429, headers={"retry-after": "1"}, body=b"", latency_ms=1)
        return real(*args, **options)

    monkeypatch.setattr(job, "call", throttled)
    monkeypatch.setattr(job, "PAUSE_S", 0.01)

    assert run(desk).status == "completed"
    assert calls[1] - calls[0] >= 1


def test_nothing_is_called_missing_while_a_spool_may_hold_it(desk):
    with connected() as own:
        own.execute("SELECT spool_register(gen_random_uuid(), 'web-1')")
        own.commit()

    assert run(desk) is None


def test_when_a_list_is_due(desk, carrier):
    mine = lambda: [one.integration_id for one in due()] == [desk.integration.pk]  # noqa: E731
    assert mine()
    run(desk)
    assert not mine()

    def age(**ago):
        with desk.inside():
            ReconcileRun.objects.update(started_at=datetime.now(UTC) - timedelta(**ago))

    age(seconds=70)
    assert not mine()
    age(minutes=6)
    assert mine()
    age(seconds=70)
    with desk.inside():
        Integration.objects.update(
            silence_minutes=5, last_event_at=datetime.now(UTC) - timedelta(minutes=6)
        )
    assert mine(), "a silent source is asked every minute"


def test_silent_sources_are_named_with_their_minutes(desk, other_office, carrier):
    with desk.inside():
        assert silent_integrations() == []
        Integration.objects.update(
            silence_minutes=10, last_event_at=datetime.now(UTC) - timedelta(minutes=12, seconds=5)
        )
        (one,) = silent_integrations()
    assert (one.integration.pk, one.minutes) == (desk.integration.pk, 12)
    desk.post(desk.payload("hello"))
    run(desk)
    with desk.inside():
        assert silent_integrations() == []
        assert last_reconciles()[desk.integration.pk].status == "completed"


def test_the_command_reads_what_is_named(desk, carrier):
    write(carrier, 1)
    said = StringIO()

    call_command("reconcile", tenant=desk.tenant.slug, integration="SignalHouse", stdout=said)

    assert f"{desk.integration.pk}: completed, 1 of 1 were missing" in said.getvalue()
    with pytest.raises(CommandError, match="no tenant"):
        call_command("reconcile", tenant="nobody")


def test_a_page_of_signalhouse_is_read_as_documented():
    provider = providers["signalhouse"]()
    body = b"""{"notifications": [{"timestamp": "2026-11-20T18:40:00.123Z",
      "event": "MESSAGE_RECEIVED", "identifier": "6740f1c2a9b3e4d5f6a7b8c9", "status": "UNREAD",
      "metaData": {"Message": {"direction": "INBOUND", "senderPhoneNumber": "12025550142",
      "recipientPhoneNumber": "12025550100", "messageBody": "Yes"}}}, {"event": "BRAND_ADD"}, 7],
      "page": 1, "limit": 100, "totalCount": 250}"""

    page = provider.read_pull(200, body)

    (item,) = page.items
    assert (page.cursor, item.external_id, item.is_status) == (
        "2",
        "6740f1c2a9b3e4d5f6a7b8c9",
        None,
    )
    assert provider.parse(provider.read(item.body).payload)[0].body == "Yes"
    assert provider.read_pull(200, b"[]") is provider.read_pull(503, body) is None
