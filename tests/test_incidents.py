"""Incidents open and close by themselves, one row each."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from integrations.models import Integration, ReconcileRun, SpoolHost
from pipelines.incidents import LOOK_LOCK, Problem, check, checks, look_at
from pipelines.models import DeadLetter, Incident
from tenants.context import tenant_context
from tenants.models import PLATFORM_TENANT_ID, Actor, User
from tenants.ulids import to_uuid
from tests.conftest import drain
from tests.messaging.pages import client_of, person, queries, url
from tests.raw import connected

pytestmark = pytest.mark.django_db


def open_incidents(office) -> dict[str, Incident]:
    with office.inside():
        return {row.kind: row for row in Incident.objects.filter(closed_at=None)}


def age(office, table: str, column: str, minutes: int) -> None:
    """Let rows of *table* be older than they are."""
    with office.inside(), connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET {column} = clock_timestamp() - make_interval(mins => %s)",
            [minutes],
        )


@pytest.mark.django_db(transaction=True)
def test_a_queue_that_lags_opens_one_incident_and_ends_it(committed_office):
    office = committed_office
    office.post(office.payload("hello"))
    age(office, "webhook_work", "available_at", 2)

    assert look_at(office.tenant.pk) == 1
    assert look_at(office.tenant.pk) == 0
    first = open_incidents(office)["queue_lag"]
    age(office, "webhook_work", "available_at", 10)
    look_at(office.tenant.pk)
    worse = open_incidents(office)["queue_lag"]

    assert (first.severity, worse.severity) == ("warning", "critical")
    assert first.pk == worse.pk
    assert "10 minutes" in worse.title
    drain()
    assert look_at(office.tenant.pk) == 1
    assert open_incidents(office) == {}
    with office.inside():
        ended = Incident.objects.get(kind="queue_lag")
    assert ended.closed_at > ended.opened_at


@pytest.mark.django_db(transaction=True)
def test_a_problem_that_comes_back_is_a_new_incident(committed_office):
    office = committed_office
    for _ in range(2):
        office.post(office.payload("hello"))
        age_ready(office)
        look_at(office.tenant.pk)
        drain()
        look_at(office.tenant.pk)

    with office.inside():
        assert Incident.objects.filter(kind="queue_lag").exclude(closed_at=None).count() == 2


def age_ready(office) -> None:
    with office.inside(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE webhook_work SET available_at = clock_timestamp() - interval '2 minutes'"
            " WHERE state = 'ready'"
        )


@pytest.mark.django_db(transaction=True)
def test_a_silent_source_is_noticed_only_where_silence_means_something(committed_office):
    office = committed_office
    with office.inside():
        Integration.objects.update(last_event_at=timezone.now() - timedelta(hours=3))
    look_at(office.tenant.pk)
    assert open_incidents(office) == {}

    with office.inside():
        Integration.objects.update(silence_minutes=60)
    look_at(office.tenant.pk)
    assert (
        open_incidents(office)["silent_source"].title == "SignalHouse has been silent for 3 hours"
    )

    assert office.post(office.payload("hello")).status_code == 202
    look_at(office.tenant.pk)
    assert "silent_source" not in open_incidents(office)


@pytest.mark.django_db(transaction=True)
def test_an_old_dead_letter_and_a_failed_reconcile_are_incidents(committed_office):
    office = committed_office
    with office.inside():
        letter = DeadLetter.objects.create(
            stage="webhook", ref="1", subject="x", error_class="X", error="x", fingerprint="f"
        )
        run = ReconcileRun.objects.create(
            integration=office.integration, job_name="messages", status="failed",
            finished_at=timezone.now() + timedelta(minutes=1), error="401 from the vendor",
        )  # fmt: skip
    age(office, "dead_letters", "created_at", 120)

    look_at(office.tenant.pk)
    found = open_incidents(office)

    assert found["dead_letter_age"].title == "The oldest dead letter waits 2 hours"
    assert found["reconcile_failed"].advice == "401 from the vendor"
    with office.inside():
        DeadLetter.objects.filter(pk=letter.pk).update(status="resolved", closed_at=timezone.now())
        ReconcileRun.objects.create(
            integration=office.integration, job_name=run.job_name, status="completed",
            finished_at=timezone.now() + timedelta(minutes=1),
        )  # fmt: skip
    look_at(office.tenant.pk)
    assert open_incidents(office) == {}


@pytest.mark.django_db(transaction=True)
def test_what_is_wrong_with_the_installation_is_the_platforms(committed_office):
    look_at(PLATFORM_TENANT_ID)

    with tenant_context(PLATFORM_TENANT_ID):
        assert not Incident.objects.filter(kind="partitions", closed_at=None).exists()
    look_at(committed_office.tenant.pk)
    with committed_office.inside():
        assert not Incident.objects.filter(kind="partitions").exists()


@pytest.mark.django_db(transaction=True)
def test_a_check_that_fails_closes_nothing_and_stops_no_other(committed_office, monkeypatch):
    office = committed_office
    answers = iter(["wrong", "broken", "fine"])

    def look():
        match next(answers):
            case "wrong":
                yield Problem(title="Something", advice="Do something")
            case "broken":
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1 / 0")

    monkeypatch.setattr(checks, "_plugins", dict(checks._plugins))
    check("a_test")(look)
    look_at(office.tenant.pk)
    look_at(office.tenant.pk)
    assert "a_test" in open_incidents(office)

    look_at(office.tenant.pk)
    assert "a_test" not in open_incidents(office)


@pytest.mark.django_db(transaction=True)
def test_while_one_process_looks_the_others_do_not(committed_office):
    office = committed_office
    office.post(office.payload("hello"))
    age_ready(office)
    with connected() as other, other.transaction():
        other.execute(
            "SELECT pg_advisory_xact_lock(%s, hashtext(%s))",
            [LOOK_LOCK, str(to_uuid(office.tenant.pk))],
        )
        assert look_at(office.tenant.pk) == 0
    assert look_at(office.tenant.pk) == 1


@pytest.mark.django_db(transaction=True)
def test_many_looks_at_once_open_one_incident(committed_office):
    office = committed_office
    office.post(office.payload("hello"))
    age_ready(office)
    errors = []

    def look() -> None:
        try:
            look_at(office.tenant.pk)
        except Exception as error:  # told to the test
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert list(open_incidents(office)) == ["queue_lag"]


def test_the_database_keeps_one_open_incident_of_a_kind_and_subject(office):
    with office.inside():
        Incident.objects.create(kind="k", subject="s", severity="warning", title="t")
        with pytest.raises(IntegrityError, match="ux_incidents_open"), transaction.atomic():
            Incident.objects.create(kind="k", subject="s", severity="warning", title="t")
        with pytest.raises(IntegrityError, match="incidents_end_after"), transaction.atomic():
            Incident.objects.update(closed_at=timezone.now() - timedelta(days=1))
        Incident.objects.update(closed_at=timezone.now() + timedelta(seconds=1))
        Incident.objects.create(kind="k", subject="s", severity="warning", title="t")


def test_the_page_shows_what_is_open_and_what_has_ended(office):
    client = client_of(office.agent)
    with office.inside():
        Incident.objects.create(
            kind="a", severity="critical", title="The queue <b>lags</b>", advice="Start a drain",
            path="webhooks/",
        )  # fmt: skip
        Incident.objects.create(
            kind="b", severity="warning", title="It was silent",
            closed_at=timezone.now() + timedelta(minutes=3),
        )  # fmt: skip

    text = client.get(url(office, "incidents/")).content.decode()

    assert "The queue &lt;b&gt;lags&lt;/b&gt;" in text
    assert text.index("The queue") < text.index("It was silent")
    assert 'badge--red">1<' in text
    assert "The queue" in client.get(url(office, "incidents/part/")).content.decode()


def test_the_page_costs_the_same_for_many_incidents_and_pages_by_key(office):
    client = client_of(office.agent)

    def fill(how_many: int) -> int:
        with office.inside():
            Incident.objects.bulk_create(
                Incident(
                    kind=f"k{n}", severity="warning", title=f"t{n}",
                    closed_at=timezone.now() + timedelta(minutes=1),
                )
                for n in range(how_many)
            )  # fmt: skip
        with queries() as caught:
            page = client.get(url(office, "incidents/"))
        assert page.status_code == 200
        assert not [sql for sql in caught if "OFFSET" in sql]
        return len(caught)

    few = fill(3)
    many = fill(200)

    assert few == many
    with office.inside():
        newest = Incident.objects.order_by("-id").first()
    older = client.get(url(office, "incidents/"), {"after": newest.pk}).content.decode()
    assert "Newest" in older
    assert client.get(url(office, "incidents/"), {"after": "lead_x"}).status_code == 404


def test_incidents_of_another_tenant_are_not_shown(office, other_office):
    with other_office.inside():
        Incident.objects.create(kind="k", severity="warning", title="Secret trouble")

    _, client = person(office, role="operator")

    assert b"Secret trouble" not in client.get(url(office, "incidents/")).content


@pytest.mark.django_db(transaction=True)
def test_while_texts_wait_for_a_host_everybody_is_told_and_staff_can_retire_it(committed_office):
    office = committed_office
    host = SpoolHost.objects.create(
        id=uuid4(), name="web-9", pending=3,
        clear_until=timezone.now() - timedelta(hours=1),
    )  # fmt: skip
    SpoolHost.objects.filter(pk=host.pk).update(heard_at=timezone.now() - timedelta(hours=1))
    staff = User.objects.create(username="paula", is_staff=True, is_superuser=True)
    with tenant_context(PLATFORM_TENANT_ID):
        actor = Actor.objects.create(user=staff, name="Paula", role="tenant_admin")
    try:
        look_at(office.tenant.pk)
        look_at(PLATFORM_TENANT_ID)
        client = client_of(actor)

        assert open_incidents(office)["sends_paused"].severity == "critical"
        page = client.get("/t/platform/hosts/").content.decode()
        assert "All texts wait for it" in page
        assert client_of(office.agent).get(url(office, "hosts/")).status_code in (403, 404)
        retire = f"/t/platform/hosts/{host.pk}/retire/"
        client.post(retire, {"reason": " ", "_tenant": PLATFORM_TENANT_ID})
        assert SpoolHost.objects.get(pk=host.pk).retired_at is None
        client.post(retire, {"reason": "It burnt", "_tenant": PLATFORM_TENANT_ID})
        assert SpoolHost.objects.get(pk=host.pk).retired_by == "paula"
        look_at(office.tenant.pk)
        assert "sends_paused" not in open_incidents(office)
    finally:
        look_at(PLATFORM_TENANT_ID)
