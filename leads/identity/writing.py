"""Writing one chunk of a run: leads, events, points, what hangs from them, questions, outcomes."""

from __future__ import annotations

import json
import os
import time
import uuid
from typing import Any

from django.db import connection

from leads.identity.hanging import write_parts
from leads.identity.matching import ALL, climb
from leads.identity.plan import EVENT_KINDS, Plan, quote
from leads.identity.points import write_points
from leads.identity.reading import TYPED
from leads.identity.targets import FIELDS
from tenants.ulids import to_text

# The records of the chunk, and the id of each lead: new ones are counted up from a prefix.
_CHUNK = """
    CREATE TEMP TABLE chunk ON COMMIT DROP AS
    SELECT r.row_no, coalesce(h.verdict, 'new') AS verdict, coalesce(h.found_by, '') AS found_by,
           coalesce(h.lead_id,
                    ('{prefix}' || lpad(to_hex(row_number() OVER (ORDER BY r.row_no)), 8, '0')
                    )::uuid) AS lead_id,
           coalesce(h.others, '{{}}') AS others
    FROM {rows} AS r
    LEFT JOIN {hits} AS h ON h.row_no = r.row_no
    WHERE r.err IS NULL AND r.row_no BETWEEN {low} AND {high}
      AND NOT EXISTS (SELECT FROM {dups} AS d WHERE d.row_no = r.row_no)
    ORDER BY r.row_no
"""
#: Columns of leads without a default in the database.
NEEDED = (
    "first_name",
    "last_name",
    "full_name",
    "company",
    "title",
    "address_line1",
    "unit",
    "city",
    "region",
    "postal_code",
    "time_zone",
)
_LEADS = """
    INSERT INTO leads (tenant_id, id, source, source_id, run_id, run_row, artifact_id, state, stage,
                       event_seq, attempt_count, addr_hash, addr_hash_version, addr_owner,
                       first_seen_at, last_seen_at, raw_data, {columns})
    SELECT {tenant}, c.lead_id, {source}, r.vendor, {run}, {run_row}, {artifact}, 'new',
           'initial_message', 0, 0, r.hash, 1, r.owner, t.now, t.now, {raw}, {values}
    FROM chunk AS c JOIN {rows} AS r USING (row_no), (SELECT clock_timestamp() AS now) AS t
    WHERE c.verdict = 'new' ORDER BY c.row_no
"""
_BIRTHS = """
    INSERT INTO lead_events (tenant_id, id, lead_id, seq, kind, to_state, payload, actor_id,
                             correlation_id, at)
    SELECT {tenant},
           ('{prefix}' || lpad(to_hex(row_number() OVER (ORDER BY c.row_no)), 8, '0'))::uuid,
           c.lead_id, 0, 'created', 'new', {origin}, {actor}, {correlation}, clock_timestamp()
    FROM chunk AS c WHERE c.verdict = 'new' ORDER BY c.row_no
"""
# Leads whose row differs in something that counts; locked in the order of their ids.
_DELTA = """
    CREATE TEMP TABLE delta ON COMMIT DROP AS
    SELECT c.row_no, c.lead_id, {news} AS raw_news,
           lead_delta(l, jsonb_strip_nulls(jsonb_build_object({told}))
               -- What another lead has is not this one's, whoever says so.
               - CASE WHEN c.found_by = 'given' AND c.others <> '{{}}'
                      THEN '{{mak,apn,county_fips}}'::text[] ELSE '{{}}' END,
               {source}, source_ranks({tenant})) AS fields
    FROM chunk AS c JOIN {rows} AS r USING (row_no)
    JOIN leads AS l ON l.tenant_id = {tenant} AND l.id = c.lead_id
    WHERE c.verdict = 'lead' AND ({differs})
    ORDER BY l.id
    FOR NO KEY UPDATE OF l
"""
_APPLY = """
    UPDATE leads AS l
    SET ({columns}) = (SELECT {values} FROM jsonb_populate_record(l, d.told) AS p),
        provenance = l.provenance || coalesce(
            (SELECT jsonb_object_agg(k, {teller}) FROM jsonb_object_keys(d.told) AS k), '{{}}'),
        raw_data = CASE WHEN d.raw_news THEN l.raw_data || {raw} ELSE l.raw_data END,
        last_seen_at = clock_timestamp(),
        updated_at = clock_timestamp()
    FROM (
        SELECT e.lead_id, e.row_no, e.raw_news,
               coalesce((SELECT jsonb_object_agg(f.key, f.value -> 1)
                         FROM jsonb_each(e.fields) AS f), '{{}}') AS told
        FROM delta AS e
    ) AS d
    JOIN {rows} AS r USING (row_no)
    WHERE l.tenant_id = {tenant} AND l.id = d.lead_id
"""
_LOCK = """
    SELECT FROM leads WHERE tenant_id = {tenant} AND id IN (SELECT lead_id FROM touched)
    ORDER BY id FOR NO KEY UPDATE
"""
_TOUCHED = """
    CREATE TEMP TABLE touched ON COMMIT DROP AS
    SELECT c.row_no, c.lead_id
    FROM chunk AS c
    WHERE c.verdict = 'lead'
      AND (EXISTS (SELECT FROM delta AS d WHERE d.row_no = c.row_no)
           OR EXISTS (SELECT FROM added AS a WHERE a.lead_id = c.lead_id)
           OR EXISTS (SELECT FROM hung AS h WHERE h.lead_id = c.lead_id))
"""
_EVENTS = """
    INSERT INTO lead_events (tenant_id, id, lead_id, seq, kind, from_state, to_state, payload,
                             actor_id, correlation_id, at)
    SELECT {tenant}, ulid_new(), l.id, l.event_seq + 1, {event}, l.state, l.state,
           {origin} || jsonb_strip_nulls(jsonb_build_object(
               'fields', nullif(d.fields, '{{}}'),
               'contact_points', (SELECT jsonb_agg(a.value ORDER BY a.value) FROM added AS a
                                  WHERE a.lead_id = c.lead_id AND a.is_new),
               'confirmed', (SELECT jsonb_agg(a.value ORDER BY a.value) FROM added AS a
                             WHERE a.lead_id = c.lead_id AND NOT a.is_new),
               'besides', (SELECT jsonb_agg(DISTINCT h.part) FROM hung AS h
                           WHERE h.lead_id = c.lead_id))),
           {actor}, {correlation}, clock_timestamp()
    FROM touched AS c
    JOIN leads AS l ON l.tenant_id = {tenant} AND l.id = c.lead_id
    LEFT JOIN delta AS d ON d.row_no = c.row_no
    ORDER BY l.id
"""
_SEEN = """
    UPDATE leads SET last_seen_at = clock_timestamp()
    WHERE tenant_id = {tenant} AND id IN (
        SELECT lead_id FROM touched EXCEPT SELECT lead_id FROM delta)
"""
# Records that several leads could be, whole; and leads that may be one.
_REVIEWS = """
    CREATE TEMP TABLE asked ON COMMIT DROP AS
    SELECT p.row_no, p.verdict, lead_propose({tenant}, p.one, p.other,
        CASE WHEN p.verdict = 'new' THEN 30 WHEN p.found_by IN ('phone', 'email') THEN 60
             ELSE 90 END,
        jsonb_build_array(jsonb_build_object(
            'field', coalesce(nullif(p.found_by, ''), 'phone or e-mail'), 'agrees', true)),
        {asker}, {run}, CASE WHEN p.verdict = 'many' THEN p.incoming END,
        {correlation}) AS review_id
    FROM (
        SELECT c.row_no, c.verdict, c.found_by, o.lead_id AS other,
               CASE WHEN c.verdict = 'many' THEN c.others[1] ELSE c.lead_id END AS one,
               {incoming} AS incoming
        FROM chunk AS c JOIN {rows} AS r USING (row_no)
        CROSS JOIN LATERAL unnest(c.others) AS o(lead_id)
        WHERE c.others <> '{{}}'
        ORDER BY c.row_no, o.lead_id
    ) AS p
    WHERE p.one <> p.other
"""
_DONE = """
    INSERT INTO {done} (row_no, outcome, found_by, lead_id, problem, review_id)
    SELECT c.row_no,
           CASE WHEN c.verdict = 'many' THEN 'review' WHEN b.row_no IS NOT NULL THEN 'blocked'
                WHEN c.verdict = 'new' THEN 'created' WHEN t.row_no IS NOT NULL THEN 'updated'
                ELSE 'unchanged' END,
           c.found_by, CASE WHEN c.verdict <> 'many' THEN c.lead_id END,
           CASE WHEN b.row_no IS NOT NULL THEN b.value || ' opted out'
                WHEN c.verdict = 'many' THEN cardinality(c.others) || ' leads could be it'
                ELSE '' END,
           (SELECT min(a.review_id::text)::uuid FROM asked AS a WHERE a.row_no = c.row_no)
    FROM chunk AS c
    LEFT JOIN {blocked} AS b ON b.row_no = c.row_no
    LEFT JOIN touched AS t ON t.row_no = c.row_no
"""
TEMPS = ("chunk", "delta", "added", "hung", "touched", "asked")


def new_prefix() -> str:
    """Return the first 24 of 32 hexadecimal digits of ULIDs that are counted up from there."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(6).hex()}"


def write(plan: Plan, low: int, high: int, *, again: bool) -> None:
    """Write the records between two row numbers, in the running transaction.

    Args:
        plan: of the run.
        low: first row number.
        high: last one.
        again: ask the ladder first, since others may have written leads after it was asked.
    """
    if again:
        climb(plan, {"low": str(low), "high": str(high)})
    names = plan.names(low=low, high=high, origin=_origin(plan))
    with connection.cursor() as cursor:

        def run(statement: str, **more: str) -> int:
            cursor.execute(statement.format(**{**names, "prefix": new_prefix(), **more}))
            return int(cursor.rowcount)

        run(_CHUNK)
        run("CREATE INDEX ON chunk (row_no)")
        run("ANALYZE chunk")
        cursor.execute("SELECT verdict, count(*), bool_or(others <> '{}') FROM chunk GROUP BY 1")
        verdicts = {verdict: (count, asks) for verdict, count, asks in cursor.fetchall()}
        if "new" in verdicts:
            _insert(plan, run)
        _change(plan, run, has_leads="lead" in verdicts)
        write_points(plan, run, has_leads="lead" in verdicts)
        write_parts(plan, run)
        run(_TOUCHED)
        if "lead" in verdicts:
            run("CREATE INDEX ON touched (row_no)")
            run("ANALYZE touched")
            run(_LOCK)
            run(_EVENTS, event=quote(EVENT_KINDS[plan.kind]))
            run(_SEEN)
        _ask(plan, run, is_asked=any(asks for _, asks in verdicts.values()))
        run(_DONE)
        for table in TEMPS:
            run(f"DROP TABLE IF EXISTS {table}")


def check(plan: Plan) -> None:
    """Fill in the outcomes that writing would have, and write nothing else."""
    with connection.cursor() as cursor:
        names = plan.names(**ALL, prefix=new_prefix())
        cursor.execute(_CHUNK.format(**names))
        for statement in (
            "CREATE TEMP TABLE touched ON COMMIT DROP AS SELECT row_no FROM chunk"
            " WHERE verdict = 'lead'",
            "CREATE TEMP TABLE asked ON COMMIT DROP AS"
            " SELECT NULL::integer AS row_no, NULL::uuid AS review_id",
            _DONE.format(**names),
            "UPDATE {done} SET lead_id = NULL WHERE found_by = ''".format(**names),
        ):
            cursor.execute(statement)
        for table in TEMPS:
            cursor.execute(f"DROP TABLE IF EXISTS {table}")


def _origin(plan: Plan) -> str:
    """Return the payload of every event of the run, with the row where it has one."""
    run = f"'run', ulid_text('run', {quote(plan.run)}::uuid), " if plan.run else ""
    fixed = f"(SELECT jsonb_build_object({run}'source', {quote(plan.source)}))"
    return f"({fixed} || jsonb_build_object('row', c.row_no))" if plan.run else fixed


def _insert(plan: Plan, run: Any) -> None:
    columns = [*plan.fields, *(name for name in NEEDED if name not in plan.fields)]
    run(
        _LEADS,
        columns=", ".join(columns),
        values=", ".join(f"r.f_{name}" if name in plan.fields else "''" for name in columns),
        raw="coalesce(r.raw, '{}')" if "raw" in plan.parts else "'{}'",
        run_row="c.row_no" if plan.run else "NULL",
    )
    run(_BIRTHS)


def _change(plan: Plan, run: Any, *, has_leads: bool) -> None:
    fields = list(plan.fields)
    told = [f"'{name}', {_told(name)}" for name in fields]
    differs = [
        f"({_told(name)} IS DISTINCT FROM l.{name} AND {_told(name)} IS NOT NULL)"
        for name in fields
    ]
    if "vendor" in plan.keys:
        mine = f"l.source = {quote(plan.source)} AND l.source_id IS NULL AND r.vendor IS NOT NULL"
        told.append(f"'source_id', CASE WHEN {mine} THEN r.vendor END")
        differs.append(f"({mine})")
    news = "false"
    if "raw" in plan.parts:
        news = "(r.raw IS NOT NULL AND NOT l.raw_data @> r.raw)"
        differs.append(news)
    run(
        _DELTA,
        told=", ".join(told),
        differs=(" OR ".join(differs) or "false") if has_leads else "false",
        news=news,
    )
    if not has_leads:
        return
    run("DELETE FROM delta WHERE fields = '{{}}' AND NOT raw_news")
    run("CREATE INDEX ON delta (row_no)")
    run("ANALYZE delta")
    columns = [*fields, "source_id"]
    teller = {
        "source": plan.source,
        "run": plan.run,
        "artifact": plan.artifact,
        "actor": plan.actor,
    }
    run(
        _APPLY,
        columns=", ".join(columns),
        values=", ".join(f"p.{name}" for name in columns),
        teller=f"jsonb_strip_nulls({quote(json.dumps(_ids(teller)))}::jsonb)"
        " || jsonb_build_object('at', clock_timestamp())",
        raw="r.raw" if "raw" in plan.parts else "'{}'",
    )


def _ids(teller: dict[str, str | None]) -> dict[str, str | None]:
    """Return who told it, with ids as people and programs see them."""
    prefixes = {"run": "run", "artifact": "art", "actor": "actor"}
    return {
        name: to_text(prefixes[name], uuid.UUID(value)) if value and name in prefixes else value
        for name, value in teller.items()
    }


def _told(name: str) -> str:
    typed = FIELDS[name].kind in TYPED
    return f"r.f_{name}" if typed else f"nullif(r.f_{name}, '')"


def _ask(plan: Plan, run: Any, *, is_asked: bool) -> None:
    if not is_asked:
        run("CREATE TEMP TABLE asked (row_no integer, review_id uuid) ON COMMIT DROP")
        return
    fields = ", ".join(f"'{name}', {_told(name)}" for name in plan.fields)
    points = [
        f"CASE WHEN r.{column} IS NOT NULL THEN jsonb_build_object('kind', '{kind}', 'value',"
        f" r.{column})"
        + (f" || coalesce(r.{column}_more, '{{}}')" if column in plan.more else "")
        + " END"
        for kind, columns in (("phone", plan.phone_columns), ("email", plan.email_columns))
        for column in columns
    ]
    listed = ", ".join(points)
    parts = "".join(f", '{part}', r.{part}" for part in plan.parts)
    run(
        _REVIEWS,
        asker=quote(ASKERS.get(plan.kind, "import")),
        incoming=f"""jsonb_strip_nulls(jsonb_build_object('source', {quote(plan.source)},
            'kind', {quote(plan.kind)}, 'source_id', r.vendor,
            'fields', jsonb_build_object({fields}),
            'points', to_jsonb(array_remove(ARRAY[{listed}]::jsonb[], NULL)){parts}))""",
    )


#: Who asks, in the words of merge_reviews.source.
ASKERS = {"pull": "pull", "enrichment": "pull", "crm": "crm", "manual": "inbound"}
