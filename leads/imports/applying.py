"""Writing the leads of a confirmed file, and everything an undo will need."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING

from django.db import connection
from django.db.models import F

from leads.actions import owner, sql_id
from leads.identity.stage import RowOutcome, Stage
from leads.identity.targets import FIELDS
from leads.imports import checking
from leads.models import ImportChange, Label
from tenants.ulids import to_uuid

if TYPE_CHECKING:
    from leads.imports.work import Job

#: Rows of one piece.
CHUNK, LOOKED_AT = 20_000, 10_000
SCORING = "leads.scoring"


def facts(alias: str) -> str:
    """Return SQL for what an import can change of a lead, as one jsonb object."""
    names = [*FIELDS, "raw_data", "provenance"]
    halves = (names[:40], names[40:])
    objects = [
        f"jsonb_build_object({', '.join(f'{name!r}, {alias}.{name}' for name in half)})"
        for half in halves
        if half
    ]
    return " || ".join(objects)


def match(job: Job) -> str:
    """Look once more who is there: since the check somebody may have come, or gone."""
    with job.inside():
        one = job.load()
    job.stage(one).match()
    return "before"


def before(job: Job) -> str:
    """Keep how the leads are that the file may change."""
    with job.inside():
        one = job.load()
        found = _rows_with_lead(job.stage(one), job.seen.get("before", 0))
        if found:
            _keep_facts(one.pk, found)
            job.seen["before"] = found[-1].row_no
        job.renew()
    return "before" if found else "write"


def _rows_with_lead(stage: Stage, after: int) -> list[RowOutcome]:
    rows = stage.outcomes("updated", "unchanged", "blocked", after=after)
    return list(islice(rows, LOOKED_AT))


def _keep_facts(import_id: str, rows: list[RowOutcome]) -> None:
    known = {row.lead_id: row.row_no for row in reversed(rows) if row.lead_id}
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO import_changes (tenant_id, id, imported_id, lead_id, row_no, before)"  # noqa: S608
            f" SELECT l.tenant_id, ulid_new(), %s, l.id, k.row_no, {facts('l')}"
            " FROM unnest(%s::uuid[], %s::int[]) AS k (lead, row_no)"
            " JOIN leads AS l ON l.tenant_id = %s AND l.id = k.lead"
            " ON CONFLICT (tenant_id, imported_id, lead_id) DO NOTHING",
            [
                sql_id(import_id),
                [to_uuid(lead) for lead in known],
                list(known.values()),
                owner(),
            ],
        )


def write(job: Job) -> str:
    """Have the engine write the next chunk, on as many connections as the job has."""
    with job.inside():
        one = job.load()
        stage = job.stage(one)
    written = _write_at_once(job, one.run_id or "") if job.connections > 1 else stage.apply(CHUNK)
    with job.inside():
        job.renew(done=F("done") + written)
    return "write" if written else "after"


def _write_at_once(job: Job, run_id: str) -> int:
    def chunk(_: int) -> int:
        try:
            return Stage.open(run_id, tenant_id=job.tenant_id).apply(CHUNK)
        finally:
            connection.close()

    with ThreadPoolExecutor(job.connections) as pool:
        return sum(pool.map(chunk, range(job.connections)))


def after(job: Job) -> str:
    """Reduce what was kept of each lead to the fields that did change."""
    with job.inside():
        one = job.load()
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                WITH some AS (
                    SELECT c.id, c.before, {facts("l")} AS now
                    FROM import_changes AS c
                    JOIN leads AS l ON l.tenant_id = c.tenant_id AND l.id = c.lead_id
                    WHERE c.tenant_id = %s AND c.imported_id = %s AND c.after IS NULL
                    LIMIT %s
                ), changed AS (
                    SELECT s.id,
                           coalesce(jsonb_object_agg(b.key, b.value) FILTER (
                               WHERE b.value IS DISTINCT FROM s.now -> b.key), '{{}}') AS before,
                           coalesce(jsonb_object_agg(b.key, s.now -> b.key) FILTER (
                               WHERE b.value IS DISTINCT FROM s.now -> b.key), '{{}}') AS after
                    FROM some AS s CROSS JOIN jsonb_each(s.before) AS b GROUP BY s.id
                )
                UPDATE import_changes AS c SET before = n.before, after = n.after
                FROM changed AS n WHERE c.tenant_id = %s AND c.id = n.id
                """,  # noqa: S608
                [owner(), sql_id(one.pk), LOOKED_AT, owner()],
            )
            settled = cursor.rowcount
        if not settled:
            ImportChange.objects.filter(imported=one, after={}).delete()
        job.renew()
    return "after" if settled else "mark"


def mark(job: Job) -> str:
    """Put the label, if one was asked for, on every lead of the file."""
    with job.inside():
        one = job.load()
        name = one.options.get("label", "")
        if not name:
            return "score"
        rows = job.stage(one).outcomes(
            "created", "updated", "unchanged", "blocked", after=job.seen.get("mark", 0)
        )
        found = list(islice(rows, LOOKED_AT))
        if found:
            _put_label(name, [row.lead_id for row in found if row.lead_id])
            job.seen["mark"] = found[-1].row_no
        job.renew()
    return "mark" if found else "score"


def _put_label(name: str, leads: list[str]) -> None:
    label, _ = Label.objects.get_or_create(
        kind="tag", key=name.lower()[:40], defaults={"name": name}
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO lead_labels (tenant_id, id, lead_id, label_id, source)"
            " SELECT %s, ulid_new(), lead, %s, 'import' FROM unnest(%s::uuid[]) AS lead"
            " ON CONFLICT (tenant_id, lead_id, label_id) DO NOTHING",
            [owner(), sql_id(label.pk), sorted({to_uuid(lead) for lead in leads})],
        )


def score(job: Job) -> str:
    """Have the leads of the run scored, where the product scores."""
    if find_spec(SCORING) is not None:
        with job.inside():
            one = job.load()
        import_module(SCORING).score_run(one.run_id)
    job.seen["after"] = 0
    return "report"


def report(job: Job) -> str:
    """Write down what became of the rows."""
    if checking.tell(job):
        return "report"
    with job.inside():
        one = job.load()
        job.renew(done=one.total, **checking.count(one, job.stage(one).counts()))
    return ""
