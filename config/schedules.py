"""What runs by the clock, as rows of django-q2, and what it does."""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction
from django_q.models import Schedule
from django_q.tasks import async_task

from integrations.reconcile import SLICE_S, due, reconcile
from pipelines.actions import record_run
from tenants.models import PLATFORM_TENANT_ID

#: Name, function and rhythm. A name is the key of its row; a line taken out here goes there too.
SCHEDULES = {
    "fairlead: make partitions": ("config.schedules.make_partitions", Schedule.DAILY),
    "fairlead: prune live events": ("config.schedules.prune_live_events", Schedule.HOURLY),
    # "Minutes" is every minute.
    "fairlead: reconcile": ("config.schedules.reconcile_due", Schedule.MINUTES),
    "fairlead: imports": ("leads.tasks.imports_due", Schedule.MINUTES),
    "fairlead: pulls": ("integrations.tasks.pulls_due", Schedule.MINUTES),
    "fairlead: enrich": ("integrations.tasks.enrich_due", Schedule.MINUTES),
    "fairlead: rescore": ("leads.tasks.rescore", Schedule.MINUTES),
    "fairlead: duplicates": ("leads.tasks.begin_duplicates", Schedule.HOURLY),
    "fairlead: score anew": ("leads.tasks.begin_rescores", Schedule.DAILY),
}
PREFIX = "fairlead: "

MONTHS_AHEAD = 3
KEEP_LIVE_EVENTS = "48 hours"

#: Any number, the same in every process: two workers that start at once take turns.
SCHEDULES_LOCK = 7_205_900


def ensure_schedules() -> None:
    """Make the rows match `SCHEDULES`; a row that is right keeps its next run. Repeatable."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SCHEDULES_LOCK])
        for name, (function, rhythm) in SCHEDULES.items():
            Schedule.objects.update_or_create(
                name=name,
                defaults={
                    "func": function,
                    "schedule_type": rhythm,
                    "minutes": 1 if rhythm == Schedule.MINUTES else None,
                    "repeats": -1,
                },
            )
        gone = Schedule.objects.filter(name__startswith=PREFIX).exclude(name__in=SCHEDULES)
        gone.delete()


def make_partitions() -> dict[str, Any]:
    """Make the monthly partitions of webhook events that are missing, `MONTHS_AHEAD` ahead."""
    return record_run(PLATFORM_TENANT_ID, "make_partitions", _make_partitions)


def _make_partitions() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM ensure_partitions(%s)", [MONTHS_AHEAD])
        return {"made": [name for (name,) in cursor.fetchall()]}


def prune_live_events() -> dict[str, Any]:
    """Forget what browsers were told longer ago than they can ask for."""
    return record_run(PLATFORM_TENANT_ID, "prune_live_events", _prune_live_events)


def _prune_live_events() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT prune_live_events(%s::interval)", [KEEP_LIVE_EVENTS])
        return {"pruned": cursor.fetchone()[0]}


def reconcile_due() -> dict[str, Any]:
    """Have the lists read whose time has come, each by a task of its own."""
    integrations = due()
    for one in integrations:
        async_task("config.schedules.reconcile_one", one.tenant_id, one.integration_id)
    return {"due": len(integrations)}


def reconcile_one(tenant_id: str, integration_id: str) -> str:
    """Read one integration's list, for less time than a task may take."""
    run = reconcile(tenant_id, integration_id, seconds=SLICE_S)
    return f"{run.status}: {run.missing} of {run.seen} were missing" if run else "not now"
