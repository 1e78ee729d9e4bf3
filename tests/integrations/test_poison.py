"""Events that kill their process: struck, run alone, withheld; their neighbors unharmed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction

from integrations.flights import STRUCK_OUT, FlightLog
from integrations.models import WebhookWork, WorkEvent, WorkFlight
from integrations.processing import drain_once
from messaging.models import Message
from tests.conftest import drain
from tests.raw import connected, rows

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.chaos]

#: A drain whose handlers die of one word, as a bug in a C library would make them.
DRAIN = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
import django
django.setup()
from django.core.management import call_command
from integrations.events import MessageReceived
from tenants.dispatch import on

@on(MessageReceived)
def die(event, *, source):
    if "poison" in event.body:
        os._exit(42)

call_command("drain", "--once", "--only", "events")
"""


def run_poisoned() -> int:
    """Run a drain until it is done or dead; return its exit code."""
    return subprocess.run(
        [sys.executable, "-c", DRAIN],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DB_NAME": connection.settings_dict["NAME"]},
        stdout=subprocess.DEVNULL,
        timeout=60,
        check=False,
    ).returncode


def states(office):
    with office.inside():
        return list(WebhookWork.objects.order_by("seq").values_list("state", "strikes"))


def bodies(office):
    with office.inside():
        return set(Message.objects.filter(direction="in").values_list("body", flat=True))


def flights(office):
    with office.inside():
        return WorkFlight.objects.count()


def post_poisoned(office):
    """A lane with a killer in the middle, and three neighbors in other lanes."""
    for text in ("before", "poison", "after"):
        office.post(office.payload(text))
    for n in range(3):
        office.post(office.payload(f"neighbor {n}", theirs=f"+1202555{n:04d}"))


def test_three_deaths_withhold_an_event_and_its_lane_goes_on(committed_office):
    office = committed_office
    post_poisoned(office)

    codes = [run_poisoned() for _ in range(4)]

    assert codes == [42, 42, 42, 0]
    assert bodies(office) == {"before", "after", *(f"neighbor {n}" for n in range(3))}
    with office.inside():
        withheld = WebhookWork.objects.get(state="quarantined")
        assert (withheld.strikes, withheld.last_error) == (3, STRUCK_OUT)
        events = WorkEvent.objects.filter(work=withheld.seq).order_by("id")
        assert list(events.values_list("what", flat=True)) == ["struck"] * 3 + ["quarantine"]
        neighbors = WebhookWork.objects.exclude(pk=withheld.pk)
        assert set(neighbors.values_list("state", flat=True)) == {"done"}
        assert max(neighbors.values_list("strikes", flat=True)) <= 1
        assert WebhookWork.objects.filter(attempts__gt=0).count() == 0
    assert flights(office) == 0


def test_neighbors_of_a_death_run_alone_and_are_done_in_order(committed_office):
    office = committed_office
    post_poisoned(office)
    assert run_poisoned() == 42  # all six were one flight

    settled = []
    log = FlightLog()
    while step := drain_once(flights=log):  # this process survives poison
        settled.append(step)
    log.close()

    assert [state for state, _ in states(office)] == ["done"] * 6
    assert {strikes for _, strikes in states(office)} == {1}
    order = rows(
        "SELECT body FROM messages WHERE body IN ('before', 'poison', 'after') ORDER BY id"
    )
    assert order == []  # no tenant, no rows
    with office.inside():
        lane = Message.objects.filter(body__in=["before", "poison", "after"]).order_by("id")
        assert list(lane.values_list("body", flat=True)) == ["before", "poison", "after"]


def test_a_flight_ends_with_its_work_and_after_a_failure(committed_office, monkeypatch):
    office = committed_office
    office.post(office.payload("hello"))
    seen = []
    finish = "integrations.processing._finish"
    monkeypatch.setattr(finish, lambda work: seen.append(flights_seen(office)) or 1 / 0)
    log = FlightLog()

    with pytest.raises(ZeroDivisionError):
        drain_once(flights=log)
    monkeypatch.undo()

    assert seen == [1, 1]  # together, then its lane alone
    assert flights(office) == 0
    assert drain_once(flights=log) == 1
    assert (flights(office), states(office)) == (0, [("done", 0)])
    log.close()


def flights_seen(office):
    """Count flights as another process sees them."""
    with connected(tenant=office.tenant.pk) as own:
        return own.execute("SELECT count(*) FROM work_flights").fetchone()[0]


def leave_flight(office, **columns):
    """Leave the flight of a process that is no more."""
    with office.inside():
        seqs = list(WebhookWork.objects.values_list("seq", flat=True))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT flight_begin(id, gen_random_uuid(), %s::bigint[]) FROM tenants WHERE slug = %s",
            [seqs, office.tenant.slug],
        )
        for name, value in columns.items():
            cursor.execute(f"UPDATE work_flights SET {name} = {value}")


def test_a_restart_of_the_database_is_no_strike(committed_office):
    office = committed_office
    office.post(office.payload("hello"))
    leave_flight(office, server_start="server_start - interval '1 minute'")
    log = FlightLog()

    while drain_once(flights=log):
        pass
    log.close()

    assert (states(office), flights(office)) == ([("done", 0)], 0)


def test_a_lost_connection_of_the_log_is_opened_again(committed_office):
    office = committed_office
    office.post(office.payload("one"))
    log = FlightLog()
    assert drain_once(flights=log) == 1
    with connected() as own:
        own.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'fairlead flights'"
        )
    office.post(office.payload("two"))

    assert drain_once(flights=log) == 1
    log.close()
    assert states(office) == [("done", 0), ("done", 0)]


def test_what_fails_at_the_commit_leaves_no_flight(committed_office):
    """A deferred check fails while the locks are held, not after: nobody takes it for a death."""
    office = committed_office
    office.post(office.payload("hello"))
    log = FlightLog()
    with pytest.raises(IntegrityError, match="deferred"):
        break_a_deferred_check(office, log)
    log.close()

    assert flights(office) == 0
    drain()
    assert states(office) == [("done", 0)]


def break_a_deferred_check(office, log):
    with office.inside():
        seqs = list(WebhookWork.objects.values_list("seq", flat=True))
        with log.flight(seqs), connection.cursor() as cursor:
            cursor.execute(
                "CREATE TEMP TABLE parent (id int PRIMARY KEY) ON COMMIT DROP;"
                "CREATE TEMP TABLE child (id int CONSTRAINT deferred REFERENCES parent"
                " DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP; INSERT INTO child VALUES (1)"
            )
