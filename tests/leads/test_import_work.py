"""Imports whose worker is stopped, dies, or meets another: every row is written once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from django.conf import settings
from django.db import connection

from leads.imports import actions, applying, checking
from leads.imports.work import STEPS, due, work
from leads.models import Import, Lead
from leads.tasks import imports_due
from tenants.ulids import to_uuid
from tests.leads.importing import begin, checked, confirm, figures, fresh, imported, run, table
from tests.raw import at_once

HEADER = "name,phone"


def people(count, start=2025550000):
    return table(HEADER, *(f"Ann Lee{n},{start + n * 3}" for n in range(count)))


@pytest.fixture
def small_steps(monkeypatch):
    monkeypatch.setattr(applying, "CHUNK", 50)
    monkeypatch.setattr(checking, "CHUNK", 50)


@pytest.mark.django_db
def test_a_check_is_stopped_and_begun_again(office, small_steps):
    one = begin(office, people(120))
    with office.inside():
        actions.check(one.pk)
    work(office.tenant.pk, one.pk, seconds=0.0)
    with office.inside():
        actions.cancel(one.pk)
    assert fresh(office, one).state == "uploaded"

    with office.inside():
        actions.check(one.pk)
    one = run(office, one)

    assert (one.state, one.total, figures(one)) == ("checked", 120, {"created": 120})


@pytest.mark.django_db
def test_a_second_check_reads_no_file_twice(office):
    one = checked(office, people(20))
    with office.inside():
        assert actions.check(one.pk).step == "read"
    one = run(office, one)

    assert (one.state, one.total, figures(one)) == ("checked", 20, {"created": 20})


@pytest.mark.django_db
def test_an_import_is_stopped_and_goes_on_where_it_was(office, small_steps, monkeypatch):
    one = checked(office, people(200))
    stops = iter([False, False, True])
    written = applying.write

    def write(job):
        if next(stops, False):
            with office.inside():
                actions.cancel(one.pk, actor_id=office.agent.pk)
        return written(job)

    monkeypatch.setitem(STEPS, ("importing", "write"), write)
    paused = confirm(office, one)

    with office.inside():
        there = Lead.objects.count()
    assert paused.state == "paused"
    assert 0 < there < 200
    with office.inside():
        actions.resume(one.pk, actor_id=office.agent.pk)
    one = run(office, one)
    assert (one.state, figures(one)) == ("imported", {"created": 200})
    with office.inside():
        assert Lead.objects.count() == 200


@pytest.mark.django_db
def test_who_has_the_lease_works_alone(office):
    one = begin(office, people(5))
    with office.inside():
        actions.check(one.pk)
        assert due() == [(office.tenant.pk, one.pk)]
        Import.objects.filter(pk=one.pk).update(lease_until="2100-01-01T00:00Z")

    assert work(office.tenant.pk, one.pk) == "checking"
    assert due() == []
    with office.inside():
        Import.objects.filter(pk=one.pk).update(lease_until="2020-01-01T00:00Z")
    assert imports_due() == {"due": 1}
    assert work(office.tenant.pk, one.pk) == "checked"


@pytest.mark.django_db
def test_lost_staging_tables_are_made_again(office):
    one = checked(office, people(30))
    with connection.cursor() as cursor:
        for name in ("raw", "rows", "meta", "hits", "dups", "done", "chunks", "blocked"):
            cursor.execute(f"DROP TABLE staging.i{_hex(one.run_id)}_{name}")

    one = confirm(office, one)

    assert (one.state, figures(one)) == ("imported", {"created": 30})


def _hex(run_id):
    return to_uuid(run_id).hex


@pytest.mark.django_db
def test_staging_tables_are_gone_when_it_is_over(office):
    one = imported(office, people(5))
    other = checked(office, people(5, start=3025550000))
    with office.inside():
        actions.discard(other.pk)

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'staging'::regnamespace"
            " AND relkind = 'r'"
        )
        left = [name for (name,) in cursor.fetchall()]
    assert [name for name in left if _hex(one.run_id) in name or _hex(other.run_id) in name] == []


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_one_import_write_every_row_once(committed_office, small_steps):
    office = committed_office
    one = checked(office, people(300))
    with office.inside():
        actions.confirm(one.pk)

    states = at_once([lambda: work(office.tenant.pk, one.pk) for _ in range(2)])

    assert set(states) <= {"importing", "imported"}
    assert work(office.tenant.pk, one.pk, connections=2) == "imported"
    with office.inside():
        assert Lead.objects.count() == 300
    assert figures(fresh(office, one)) == {"created": 300}


CHILD = """
import os, django
django.setup()
from leads.imports import applying, work
applying.CHUNK, work.LEASE_S, work.LONG_LEASE_S = 100, 2.0, 2.0
work.work(os.environ["TENANT"], os.environ["IMPORT"])
"""


@pytest.mark.django_db(transaction=True)
def test_an_import_whose_process_is_killed_goes_on_and_writes_every_row_once(committed_office):
    office, rows = committed_office, 6_000
    one = checked(office, people(rows))
    with office.inside():
        actions.confirm(one.pk)
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DB_NAME": connection.settings_dict["NAME"],
        "TENANT": office.tenant.pk,
        "IMPORT": one.pk,
    }
    child = subprocess.Popen([sys.executable, "-c", CHILD], cwd=settings.BASE_DIR, env=env)
    deadline = time.monotonic() + 60
    while not 0 < fresh(office, one).done < rows:
        assert time.monotonic() < deadline, fresh(office, one).state
        assert child.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()

    with office.inside():
        there = Lead.objects.count()
    assert 0 < there < rows
    assert fresh(office, one).state == "importing"
    while (office.tenant.pk, one.pk) not in due():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert work(office.tenant.pk, one.pk) == "imported"
    with office.inside():
        assert Lead.objects.count() == rows
    assert figures(fresh(office, one)) == {"created": rows}
