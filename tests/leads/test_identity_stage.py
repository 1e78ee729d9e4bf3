"""Files through the engine: staging, chunks, races, crashes."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection
from django.db.models.functions import Now

from leads.actions import create_lead
from leads.identity.reading import UnknownTarget
from leads.identity.stage import NoStage, Stage, StageColumn
from leads.models import ContactPoint, Lead, LeadEvent, MergeReview
from pipelines.actions import begin_run
from tenants.ulids import to_text, to_uuid
from tests.raw import at_once, connected

HEADER = ["first_name", "last_name", "address_line1", "city", "region", "postal_code", "phone1"]
COLUMNS = [StageColumn(target=name, value_sql=f"c{n}") for n, name in enumerate(HEADER, 1)]


def row(n, **more):
    values = {
        "first_name": f"Jo{n}",
        "last_name": "Sample",
        "address_line1": f"{n} Main St",
        "city": "Reno",
        "region": "NV",
        "postal_code": "89501",
        "phone1": f"(202) 555-{n:04d}",
    } | more
    return [values[name] for name in HEADER]


def stage_of(office, rows, *, columns=COLUMNS, source="upload", matches=True):
    with office.inside():
        run = begin_run("import", trigger="manual")
    stage = Stage.create(run.pk, len(HEADER), tenant_id=office.tenant.pk)
    assert stage.copy(enumerate(rows, 1)) == len(rows)
    stage.normalise(columns, source=source)
    if matches:
        stage.match()
    return stage


def finish(stage, limit=20_000):
    while stage.apply(limit):
        pass
    return stage.counts()


@pytest.mark.django_db(transaction=True)
def test_a_file_becomes_leads_and_the_same_file_changes_nothing(committed_office):
    office = committed_office
    rows = [row(n) for n in range(1, 60)]
    rows += [row(3), row(4, phone1="12"), row(99, phone1="1", city="", postal_code="")]
    stage = stage_of(office, rows)
    assert stage.counts() == {
        "total": 62,
        "pending": 59,
        "created": 59,
        "duplicate": 2,
        "error": 1,
    }

    counts = finish(stage, 10)

    assert counts == {"total": 62, "pending": 0, "created": 59, "duplicate": 2, "error": 1}
    outcomes = {one.row_no: one for one in stage.outcomes("duplicate", "error")}
    assert [(n, one.repeats) for n, one in outcomes.items()] == [(60, 3), (61, 4), (62, None)]
    assert outcomes[61].problem == "phone1: too short"
    assert stage.raw([62]) == {62: row(99, phone1="1", city="", postal_code="")}
    with office.inside():
        lead = Lead.objects.get(pk=outcomes[60].lead_id)
        assert (lead.first_name, lead.run_row, lead.run_id) == ("Jo3", 3, run_id(stage))
        event = LeadEvent.objects.get(lead=lead)
        assert event.payload == {"source": "upload", "run": run_id(stage), "row": 3}
        before = list(Lead.objects.order_by("id").values())
    again = stage_of(office, rows)
    assert finish(again) == {
        "total": 62,
        "pending": 0,
        "unchanged": 59,
        "by.address": 59,
        "duplicate": 2,
        "error": 1,
    }
    with office.inside():
        assert list(Lead.objects.order_by("id").values()) == before
        assert (ContactPoint.objects.count(), LeadEvent.objects.count()) == (59, 59)
    for one in (stage, again):
        one.drop()
        with pytest.raises(NoStage):
            one.counts()


def run_id(stage):
    return to_text("run", uuid.UUID(stage.plan.run))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fields", [HEADER, ["first_name", "phone1"]])
def test_two_imports_of_one_file_at_once_make_each_lead_once(committed_office, fields):
    """With whole addresses unique keys would see to it; with phones alone only the turns do."""
    office = committed_office
    columns = [column for column in COLUMNS if column.target in fields]
    rows = [row(n) for n in range(1, 200)]
    stages = [stage_of(office, rows, columns=columns, source=f"list{n}") for n in range(2)]

    jobs = [lambda stage=stage: finish(stage, 20) for stage in stages for _ in range(2)]
    results = at_once(jobs)

    assert [one for one in results if isinstance(one, BaseException)] == []
    with office.inside():
        assert Lead.objects.count() == 199
        assert MergeReview.objects.count() == 0
    made = [stage.counts().get("created", 0) for stage in stages]
    assert sum(made) == 199
    assert {stage.counts()["pending"] for stage in stages} == {0}


@pytest.mark.django_db(transaction=True)
def test_what_came_by_another_door_meanwhile_is_found_and_not_made_twice(committed_office):
    office = committed_office
    stage = stage_of(office, [row(1), row(2)])
    with office.inside():
        create_lead(**dict(zip(HEADER[:6], row(1)[:6], strict=True)))

    counts = finish(stage)

    assert (counts["created"], counts["updated"]) == (1, 1)
    with office.inside():
        assert Lead.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_chunk_that_dies_is_written_by_the_next(committed_office, monkeypatch):
    office = committed_office
    stage = stage_of(office, [row(n) for n in range(1, 30)])
    assert stage.apply(10) == 10
    monkeypatch.setattr("leads.identity.writing.write_parts", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        stage.apply(10)
    monkeypatch.undo()
    again = Stage.open(run_id(stage), tenant_id=office.tenant.pk)

    assert finish(again)["created"] == 29
    with office.inside():
        assert Lead.objects.count() == 29


@pytest.mark.django_db(transaction=True)
def test_the_stage_of_a_tenant_opens_by_no_other_door(committed_office, other_office):
    stage = stage_of(committed_office, [row(1)], matches=False)

    for call in (Stage.open, lambda run, **tenant: Stage.create(run, 3, **tenant)):
        with pytest.raises(NoStage):
            call(run_id(stage), tenant_id=other_office.tenant.pk)
    with pytest.raises(NoStage):
        Stage.open("run_x; DROP TABLE leads", tenant_id=committed_office.tenant.pk)
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relnamespace = 'staging'::regnamespace")
        assert cursor.fetchall()
    stage.drop()


@pytest.mark.django_db
def test_a_column_goes_to_one_known_place(office):
    for targets in (["nothing"], ["first_name", "first_name"], ["raw."]):
        with pytest.raises(UnknownTarget):
            stage_of(
                office,
                [row(1)],
                columns=[StageColumn(target=name, value_sql="c1") for name in targets],
            )


@pytest.mark.django_db(transaction=True)
def test_the_migration_hashes_old_leads_and_asks_about_those_that_share_an_address(
    committed_office,
):
    office = committed_office
    house = dict(zip(HEADER[:6], row(1)[:6], strict=True))
    with office.inside():
        leads = [create_lead(**house, unit=unit) for unit in ("1", "1", "2")]
        MergeReview.objects.update(status="dropped", decided_at=Now())
    with connected(as_owner=True) as own:
        own.execute("UPDATE leads SET addr_hash = NULL, addr_hash_version = 0")
        own.commit()
        batches, last = [], uuid.UUID(int=0)
        while last is not None:
            [last] = own.execute("SELECT hash_old_leads(%s, 2)", [last]).fetchone()
            batches.append(last)
        own.commit()

    assert batches == [to_uuid(leads[1].pk), to_uuid(leads[2].pk), None]
    with office.inside():
        hashes = dict(Lead.objects.values_list("pk", "addr_hash"))
        open_pair = MergeReview.objects.get(status="open")
    assert [hashes[lead.pk] is None for lead in leads] == [False, True, False]
    assert (open_pair.left_id, open_pair.right_id) == (leads[0].pk, leads[1].pk)
