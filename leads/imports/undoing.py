"""Taking an import back: what it made goes, what it changed is put back, what people touched stays.

Nothing is deleted: a lead that goes is superseded, with an event that says why. Numbers, e-mails
and details that an import added to leads that were there before stay with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, connection, transaction
from django.db.models import F

from leads.actions import owner, sql_id
from leads.identity.targets import FIELDS
from leads.models import Import, ImportRow
from tenants.correlation import correlation_id
from tenants.models import AuditEntry
from tenants.ulids import to_uuid

if TYPE_CHECKING:
    from leads.imports.work import Job

#: Leads of one piece.
CHUNK = 10_000

_CREATED = """
WITH chunk AS (
    SELECT l.id, l.run_row, l.state, l.event_seq, l.merged_into_id, l.enrichment_status,
           l.superseded_at
    FROM leads AS l
    WHERE l.tenant_id = %(owner)s AND l.run_id = %(run)s AND l.run_row > %(after)s
    ORDER BY l.run_row, l.id LIMIT %(most)s
), judged AS (
    SELECT c.*, CASE
        WHEN c.merged_into_id IS NOT NULL THEN 'It was merged into another lead since'
        WHEN EXISTS (SELECT FROM conversations AS v
                     WHERE v.tenant_id = %(owner)s AND v.lead_id = c.id)
        THEN 'A text was sent or received since'
        WHEN c.id = ANY(%(edited)s) THEN 'Somebody edited it since'
        WHEN c.enrichment_status <> 'none' THEN 'It was enriched since'
        WHEN EXISTS (SELECT FROM leads AS m
                     WHERE m.tenant_id = %(owner)s AND m.merged_into_id = c.id)
        THEN 'Another lead was merged into it since'
        WHEN c.event_seq > 0 THEN 'Something happened with it since' END AS reason
    FROM chunk AS c WHERE c.superseded_at IS NULL OR c.merged_into_id IS NOT NULL
), gone AS (
    UPDATE leads AS l SET superseded_at = clock_timestamp(), updated_at = clock_timestamp(),
           event_seq = l.event_seq + 1
    FROM judged AS j
    WHERE l.tenant_id = %(owner)s AND l.id = j.id AND j.reason IS NULL
      AND l.superseded_at IS NULL AND l.event_seq = j.event_seq
    RETURNING l.id, l.state, l.event_seq
), told AS (
    INSERT INTO lead_events (tenant_id, id, lead_id, seq, kind, from_state, to_state, payload,
                             dedupe_key, correlation_id, at)
    SELECT %(owner)s, ulid_new(), g.id, g.event_seq, 'import_undone', g.state, g.state,
           jsonb_build_object('import', %(import_text)s::text), NULL, %(correlation)s,
           clock_timestamp()
    FROM gone AS g RETURNING 1
), kept AS (
    INSERT INTO import_rows (tenant_id, id, imported_id, row_no, outcome, problem, raw, lead_id)
    SELECT %(owner)s, ulid_new(), %(import)s, j.run_row, 'kept', j.reason, '[]', j.id
    FROM judged AS j WHERE j.reason IS NOT NULL
    ON CONFLICT (tenant_id, imported_id, row_no, outcome) DO NOTHING RETURNING 1
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM kept), (SELECT max(run_row) FROM chunk),
       (SELECT count(*) FROM told)
"""


def created(job: Job) -> str:
    """Supersede the next leads that the import made and nobody touched."""
    with job.inside():
        one = job.load()
        values = {**_values(one), "after": job.seen.get("created", 0), "edited": _edited(one)}
        with connection.cursor() as cursor:
            cursor.execute(_CREATED, values)
            gone, kept, last, _ = cursor.fetchone()
        if last is None:
            job.renew()
            return "changed"
        job.seen["created"] = last
        job.renew(undone=F("undone") + gone, kept=F("kept") + kept, done=F("done") + gone + kept)
    return "created"


def _values(one: Import) -> dict[str, Any]:
    return {
        "owner": owner(),
        "run": sql_id(one.run_id),
        "import": sql_id(one.pk),
        "import_text": one.pk,
        "correlation": correlation_id(),
        "most": CHUNK,
    }


def _edited(one: Import) -> list[object]:
    """Return the leads somebody edited since the import was confirmed: few, of any number."""
    entries = AuditEntry.objects.filter(
        object_kind="lead", actor__isnull=False, created_at__gte=one.confirmed_at
    )
    return [to_uuid(lead) for lead in entries.values_list("object_id", flat=True).distinct()]


def _back() -> str:
    """Return SQL that puts fields back which still have the value that the import gave them."""
    sets = ", ".join(
        f"{name} = CASE WHEN c.after ? '{name}' AND to_jsonb(l.{name}) IS NOT DISTINCT FROM"
        f" nullif(c.after -> '{name}', 'null') THEN (c.was).{name} ELSE l.{name} END"
        for name in [*FIELDS, "source_id"]
    )
    # Without a note of its own a field is again what the lead's source said.
    return f"""
    UPDATE leads AS l SET {sets},
           provenance = l.provenance - ARRAY(
               SELECT k FROM jsonb_object_keys(c.after) AS k
               WHERE NOT k = ANY(coalesce(c.edited, '{{}}'))),
           updated_at = clock_timestamp()
    FROM (
        SELECT u.*, jsonb_populate_record(NULL::leads, u.before) AS was FROM undo_changes AS u
    ) AS c
    WHERE l.tenant_id = %(owner)s AND l.id = c.lead_id AND l.superseded_at IS NULL
      AND c.reason IS NULL
    """  # noqa: S608


_CHANGED = """
CREATE TEMPORARY TABLE undo_changes ON COMMIT DROP AS
SELECT c.id, c.lead_id, c.row_no, c.before, c.after, e.edited,
       CASE WHEN l.superseded_at IS NOT NULL THEN 'It was merged or taken out since' END AS reason
FROM (SELECT * FROM import_changes
      WHERE tenant_id = %(owner)s AND imported_id = %(import)s AND undone_at IS NULL
      LIMIT %(most)s) AS c
JOIN leads AS l ON l.tenant_id = c.tenant_id AND l.id = c.lead_id
CROSS JOIN LATERAL (
    SELECT array_agg(a.key ORDER BY a.key) AS edited FROM jsonb_each(c.after) AS a
    WHERE (to_jsonb(l) -> a.key) IS DISTINCT FROM a.value
) AS e
"""

_KEPT = """
INSERT INTO import_rows (tenant_id, id, imported_id, row_no, outcome, problem, raw, lead_id)
SELECT %(owner)s, ulid_new(), %(import)s, c.row_no, 'kept',
       left(coalesce(c.reason,
            'Edited since: ' || replace(array_to_string(c.edited, ', '), '_', ' ')), 200),
       '[]', c.lead_id
FROM undo_changes AS c WHERE c.reason IS NOT NULL OR c.edited IS NOT NULL
ON CONFLICT (tenant_id, imported_id, row_no, outcome) DO NOTHING
"""

_DONE = """
UPDATE import_changes AS i SET undone_at = clock_timestamp() FROM undo_changes AS c
WHERE i.tenant_id = %(owner)s AND i.id = c.id
"""


class _Crowded(Exception):
    """The place of one of these leads is taken: they must go one by one."""


def changed(job: Job) -> str:
    """Put the next leads back that were there before, field by field."""
    most = 1 if job.seen.get("one_by_one") else CHUNK
    try:
        with job.inside():
            one = job.load()
            values = {**_values(one), "most": most}
            with connection.cursor() as cursor:
                cursor.execute("DROP TABLE IF EXISTS pg_temp.undo_changes")
                cursor.execute(_CHANGED, values)
                taken = cursor.rowcount
                put_back = _put_back(values) if taken else 0
                cursor.execute(_KEPT, values)
                kept = cursor.rowcount
                cursor.execute(_DONE, values)
            job.renew(undone=F("undone") + put_back, kept=F("kept") + kept, done=F("done") + taken)
    except _Crowded:
        job.seen["one_by_one"] = True
        return "changed"
    return "changed" if taken else ""


def _put_back(values: dict[str, Any]) -> int:
    """Write the old values and return of how many leads.

    Raises:
        _Crowded: one of several cannot be put back; nothing was written.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_back(), values)
            return int(cursor.rowcount)
    except IntegrityError as error:
        if values["most"] > 1:
            raise _Crowded from error
        with connection.cursor() as cursor:
            cursor.execute("UPDATE undo_changes SET reason = 'Another lead has its place now'")
        return 0


def first_message_sent(one: Import) -> bool:
    """Tell whether a text went to, or came from, any lead that the import made."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM conversations AS v JOIN leads AS l"
            " ON l.tenant_id = v.tenant_id AND l.id = v.lead_id"
            " WHERE v.tenant_id = %s AND l.run_id = %s)",
            [owner(), sql_id(one.run_id)],
        )
        return bool(cursor.fetchone()[0])


def kept_rows(one: Import) -> list[ImportRow]:
    """Return the first leads an undo kept, with why."""
    rows = ImportRow.objects.filter(imported=one, outcome="kept").select_related("lead")
    return list(rows.order_by("row_no", "id")[:50])
