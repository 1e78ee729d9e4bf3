"""Writing the leads of a confirmed file, and everything an undo will need."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from django.db import connection
from django.db.models import F

from leads.actions import owner, sql_id
from leads.events import ImportFinished
from leads.identity.stage import Stage
from leads.imports import checking
from leads.models import ImportChange, Label
from leads.scoring import Scored, score_leads, score_run
from tenants.dispatch import emit
from tenants.ulids import to_uuid

if TYPE_CHECKING:
    from leads.imports.work import Job

#: Rows of one piece.
CHUNK, LOOKED_AT = 20_000, 10_000


def match(job: Job) -> str:
    """Look once more who is there: since the check somebody may have come, or gone."""
    with job.inside():
        one = job.load()
    job.stage(one).match()
    return "write"


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


_CHANGES = """
INSERT INTO import_changes (tenant_id, id, imported_id, lead_id, row_no, before, after)
SELECT %(owner)s, ulid_new(), %(import)s, e.lead_id, min(k.row_no),
       jsonb_object_agg(f.key, f.value -> 0 ORDER BY e.seq DESC),
       jsonb_object_agg(f.key, f.value -> 1 ORDER BY e.seq)
FROM unnest(%(leads)s::uuid[], %(rows)s::int[]) AS k (lead, row_no)
JOIN lead_events AS e ON e.tenant_id = %(owner)s AND e.lead_id = k.lead
CROSS JOIN LATERAL jsonb_each(e.payload -> 'fields') AS f
WHERE e.kind = 'imported' AND e.payload ->> 'run' = %(run)s
  AND jsonb_typeof(e.payload -> 'fields') = 'object'
GROUP BY e.lead_id
ON CONFLICT (tenant_id, imported_id, lead_id) DO NOTHING
"""


def after(job: Job) -> str:
    """Keep what the file changed of leads that were there before, as their events tell it."""
    with job.inside():
        one = job.load()
        rows = job.stage(one).outcomes("updated", "blocked", after=job.seen.get("changes", 0))
        found = list(islice(rows, LOOKED_AT))
        known = {row.lead_id: row.row_no for row in reversed(found) if row.lead_id and row.by}
        if known:
            values = {
                "owner": owner(),
                "import": sql_id(one.pk),
                "run": one.run_id,
                "leads": [to_uuid(lead) for lead in known],
                "rows": list(known.values()),
            }
            with connection.cursor() as cursor:
                cursor.execute(_CHANGES, values)
        if found:
            job.seen["changes"] = found[-1].row_no
        job.renew()
    return "after" if len(found) == LOOKED_AT else "mark"


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
    return "mark" if len(found) == LOOKED_AT else "score"


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
    """Score the leads that the file made, and those that it changed; a chunk per commit."""
    with job.inside():
        one = job.load()
        changed = ImportChange.objects.filter(imported=one.pk).order_by("lead")
        ids = list(changed.values_list("lead_id", flat=True))
    for at in range(0, len(ids), CHUNK):
        with job.inside():
            score_leads(ids[at : at + CHUNK])
    done = Scored()
    while True:
        with job.inside():
            done = score_run(one.run_id or "", after=done.after, most=CHUNK)
        if not done.seen:
            break
    job.seen["after"] = 0
    return "report"


def report(job: Job) -> str:
    """Write down what became of the rows."""
    if checking.tell(job):
        return "report"
    with job.inside():
        one = job.load()
        job.renew(done=one.total, **checking.count(one, job.stage(one).counts()))
        emit(
            ImportFinished(
                import_id=one.pk,
                run_id=one.run_id or "",
                enrich=bool(one.options.get("enrich")),
            )
        )
    return ""
