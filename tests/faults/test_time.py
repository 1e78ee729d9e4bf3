"""Time that goes wrong: long transactions, days of standstill, clocks that are a day off."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from integrations.models import WebhookWork
from leads.actions import arm_timer, move_lead
from leads.models import Lead, LeadEvent, LeadTimer
from messaging.models import DailySend, OutboundMessage, PhoneNumber, SendAttempt
from messaging.sender import _give_up_on_silent, claim
from messaging.timers import fire_due
from pipelines.checks import HELD_CRITICAL_S, database_gauges, held_snapshot
from tenants.ulids import to_uuid
from tests import invariants
from tests.conftest import THEIRS, drain
from tests.messaging.conftest import queue
from tests.raw import at_once, connected

__all__ = ["queue"]

pytestmark = pytest.mark.django_db(transaction=True)


def test_fault_14_a_long_report_stops_nobody_and_is_seen(committed_office, monkeypatch):
    office = committed_office
    with connected() as report:
        report.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        report.execute("SELECT count(*) FROM webhook_work")
        for n in range(60):
            office.post(office.payload("hello", theirs=f"+1202555{n:04d}"))
        drain()

        gauges = database_gauges()
        with office.inside():
            assert WebhookWork.objects.filter(state="done").count() == 60
        assert gauges.held_s > 0
        assert gauges.held_xids >= 60
        assert list(held_snapshot()) == []
        monkeypatch.setattr("pipelines.checks.HELD_S", 0)
        (problem,) = held_snapshot()
        assert (problem.severity, "open for" in problem.title) == ("warning", True)
    assert database_gauges().held_s < HELD_CRITICAL_S


def test_fault_29_days_of_standstill_fire_each_timer_once_in_its_order(committed_office):
    """Two silence timers of every lead, overdue by days: two loops settle them."""
    office, many = committed_office, 5000 if os.environ.get("FAIRLEAD_CHAOS") == "full" else 300
    with office.inside():
        lead = office.lead()
        move_lead(lead.pk, to="touched")
        seed = {kind: arm_timer(lead.pk, kind=kind, days=1).pk for kind in ("7D", "14D")}
        copy_leads(office, lead.pk, many - 1)
        LeadTimer.objects.update(fire_at=timezone.now() - timedelta(days=3))
        LeadTimer.objects.filter(kind="14D").update(fire_at=timezone.now() - timedelta(days=2))
    assert len(seed) == 2

    def loop():
        settled = 0
        while step := fire_due():
            settled += step
        return settled

    settled = at_once([loop, loop])

    assert sum(settled) == 2 * many, settled
    invariants.assert_sound()
    with office.inside():
        assert LeadTimer.objects.exclude(fired_at=None).count() == 2 * many
        assert Lead.objects.filter(state="retargeting", stage="nudger").count() == many
        kinds = LeadEvent.objects.filter(kind__startswith="timer").order_by("lead_id", "seq")
        told = list(kinds.values_list("kind", flat=True))
        assert told == ["timer_7d", "timer_14d"] * many
        live = LeadTimer.objects.filter(fired_at=None, cancelled_at=None)
        assert set(live.values_list("kind", flat=True)) == {"30D"}
        assert not OutboundMessage.objects.exists()  # nothing was sent at whatever hour it is


def copy_leads(office, lead_id, many):
    """Make *many* more leads like one, with its events and timers, in a few statements."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        cursor.execute(
            "CREATE TEMP TABLE twins ON COMMIT DROP AS"
            " SELECT ulid_new() AS id FROM generate_series(1, %s)",
            [many],
        )
        for table, key, fresh in (
            ("leads", "id", []),
            ("lead_events", "lead_id", ["id"]),
            ("lead_timers", "lead_id", ["id"]),
        ):
            cursor.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s"
                " AND table_schema = 'public' AND is_generated = 'NEVER'",
                [table],
            )
            columns = [name for (name,) in cursor.fetchall()]
            values = ", ".join(
                "t.id"
                if name == key
                else "ulid_new()"
                if name in fresh
                else "NULL"
                if name in ("dedupe_key", "source_id")
                else f"o.{name}"
                for name in columns
            )
            cursor.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values}"
                f" FROM {table} AS o CROSS JOIN twins AS t"
                f" WHERE o.{key}::text = (SELECT %s::uuid::text)"
                + (" ORDER BY t.id, o.seq" if table == "lead_events" else ""),
                [str(to_uuid(lead_id))],
            )


@pytest.mark.parametrize("days", [-1, 1])
def test_fault_31_a_worker_whose_clock_is_a_day_off(committed_office, queue, monkeypatch, days):
    """Leases, windows, caps and timers go by the database's clock, whatever the worker believes."""
    office = committed_office
    real = timezone.now
    with office.inside():
        PhoneNumber.objects.update(daily_cap=3)
        timer = arm_timer(office.lead("+12025550199").pk, kind="CALLBACK", days=1)
    for n in range(5):
        queue(office, f"text {n}", theirs=f"+1202555{n:04d}")
    office.post(office.payload("STOP", theirs="+12025550004"))
    monkeypatch.setattr(timezone, "now", lambda: real() + timedelta(days=days))

    drain()
    claims = [one for _ in range(3) for one in claim(office.tenant.pk, most=5)]
    _give_up_on_silent(office.tenant.pk)

    assert fire_due() == 0
    with office.inside():
        assert LeadTimer.objects.get(pk=timer.pk).fired_at is None
        assert len(claims) == SendAttempt.objects.count() == 3  # the cap, of the real day
        day = DailySend.objects.get()
        assert (day.sent, day.day) == (3, database_day(office))
        states = OutboundMessage.objects.filter(body__startswith="text").order_by("body")
        assert sorted(states.values_list("state", flat=True)) == [
            "queued", "sending", "sending", "sending", "suppressed"
        ]  # fmt: skip
        moments = SendAttempt.objects.values_list("started_at", flat=True)
        assert all(abs(at - real()) < timedelta(minutes=5) for at in moments)
    invariants.assert_sound()


def database_day(office):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (clock_timestamp() AT TIME ZONE %s)::date", [office.tenant.time_zone]
        )
        return cursor.fetchone()[0]


def test_fault_31_replies_of_now_count_as_now_to_a_worker_of_yesterday(
    committed_office, queue, monkeypatch
):
    office, real = committed_office, timezone.now
    office.receive("hello")
    monkeypatch.setattr(timezone, "now", lambda: real() - timedelta(days=1))

    queue(office, "at any hour", theirs=THEIRS)

    with office.inside():
        assert OutboundMessage.objects.get().due_at <= real()
