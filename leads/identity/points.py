"""Writing phones and e-mails of a chunk: one row per lead and value, whoever names it."""

from __future__ import annotations

from collections.abc import Callable

from leads.identity.plan import Plan

Run = Callable[..., int]

_COLUMNS = """tenant_id, id, lead_id, kind, raw, normalized, line_type, source, sources, is_primary,
        verified_by, carrier, score, dnc, litigator, tcpa, reachable, checked_at"""
_VALUES = """p.kind, p.raw, p.value, coalesce(p.more ->> 'line_type', 'unknown'), {source},
        ARRAY[{source}], {primary}, '', coalesce(left(p.more ->> 'carrier', 80), ''),
        (p.more ->> 'score')::smallint, (p.more ->> 'dnc')::boolean,
        (p.more ->> 'litigator')::boolean, (p.more ->> 'tcpa')::boolean,
        (p.more ->> 'reachable')::boolean,
        CASE WHEN p.more IS NOT NULL THEN clock_timestamp() END"""
# Of leads that were just made: nobody else can have named them, so nothing is looked up.
_NEW = """
    INSERT INTO contact_points ({columns})
    SELECT {tenant}, ('{prefix}' || lpad(to_hex(row_number() OVER ()), 8, '0'))::uuid, p.lead_id,
           {point}
    FROM (
        SELECT c.lead_id, v.* FROM chunk AS c JOIN {rows} AS r USING (row_no)
        CROSS JOIN LATERAL (VALUES {listed}) AS v(n, kind, value, raw, more, is_first)
        WHERE c.verdict = 'new' AND v.value IS NOT NULL
        ORDER BY c.row_no, v.n
    ) AS p
"""
# Of leads that were there, and of rows that repeat others.
_POINTS = """
    CREATE TEMP TABLE points ON COMMIT DROP AS
    SELECT DISTINCT ON (p.lead_id, p.kind, p.value) p.*
    FROM (
        SELECT c.lead_id, c.row_no, v.* FROM chunk AS c JOIN {rows} AS r USING (row_no)
        CROSS JOIN LATERAL (VALUES {listed}) AS v(n, kind, value, raw, more, is_first)
        WHERE c.verdict = 'lead' AND v.value IS NOT NULL
        UNION ALL
        SELECT c.lead_id, d.row_no, v.*
        FROM chunk AS c JOIN {dups} AS d ON d.leader = c.row_no
        JOIN {rows} AS r ON r.row_no = d.row_no
        CROSS JOIN LATERAL (VALUES {listed}) AS v(n, kind, value, raw, more, is_first)
        WHERE c.verdict <> 'many' AND v.value IS NOT NULL
    ) AS p
    ORDER BY p.lead_id, p.kind, p.value, p.row_no, p.n
"""
_KNOWN = """
    CREATE TEMP TABLE known ON COMMIT DROP AS
    SELECT p.lead_id, p.kind, p.value, p.more, c.id
    FROM points AS p
    JOIN contact_points AS c ON c.tenant_id = {tenant} AND c.lead_id = p.lead_id
        AND c.kind = p.kind AND c.normalized = p.value
"""
_ADD = """
    WITH fresh AS (
        SELECT p.*,
               row_number() OVER (PARTITION BY p.lead_id, p.kind ORDER BY p.row_no, p.n) AS nth,
               row_number() OVER (ORDER BY p.lead_id, p.row_no, p.n) AS place
        FROM points AS p
        WHERE NOT EXISTS (SELECT FROM known AS k WHERE k.lead_id = p.lead_id AND k.kind = p.kind
                            AND k.value = p.value)
    ),
    a AS (
        INSERT INTO contact_points ({columns})
        SELECT {tenant}, ('{prefix}' || lpad(to_hex(p.place), 8, '0'))::uuid, p.lead_id, {point}
        FROM fresh AS p ORDER BY p.place
        ON CONFLICT (tenant_id, lead_id, kind, normalized) DO NOTHING
        RETURNING lead_id, normalized
    )
    INSERT INTO added SELECT a.lead_id, a.normalized, true FROM a
"""
_HAS_PRIMARY = """p.nth = 1 AND NOT EXISTS (
            SELECT FROM contact_points AS o WHERE o.tenant_id = {tenant} AND o.lead_id = p.lead_id
              AND o.kind = p.kind AND o.is_primary)"""
# Another source is noted. Of what it says, unknown changes nothing; that a number must not be
# called is only taken back by the one source that said so.
_CONFIRM = """
    WITH a AS (
        UPDATE contact_points AS c
        SET sources = CASE WHEN {source} = ANY (c.sources) THEN c.sources
                           WHEN c.sources <> '{{}}' THEN c.sources || {source}::varchar
                           WHEN c.source = {source} THEN ARRAY[c.source]
                           ELSE ARRAY[c.source, {source}] END,
            {news}
        FROM known AS k
        WHERE c.tenant_id = {tenant} AND c.id = k.id AND (
            NOT ({source} = ANY (c.sources) OR (c.sources = '{{}}' AND c.source = {source}))
            {differs})
        RETURNING c.lead_id, c.normalized
    )
    INSERT INTO added SELECT a.lead_id, a.normalized, false FROM a
"""
#: What details do to a point that is known: column → value.
_NEWS = {
    "line_type": "coalesce(k.more ->> 'line_type', c.line_type)",
    "carrier": "coalesce(nullif(left(k.more ->> 'carrier', 80), ''), c.carrier)",
    "score": "coalesce((k.more ->> 'score')::smallint, c.score)",
    "reachable": "coalesce((k.more ->> 'reachable')::boolean, c.reachable)",
    **{
        flag: f"CASE WHEN c.{flag} AND c.sources <> ARRAY[{{source}}]::varchar[] THEN true"
        f" ELSE coalesce((k.more ->> '{flag}')::boolean, c.{flag}) END"
        for flag in ("dnc", "litigator", "tcpa")
    },
}


def write_points(plan: Plan, run: Run, *, has_leads: bool) -> None:
    """Write the points of a chunk; table *added* says what leads that were there got or confirmed.

    Args:
        plan: of the run.
        run: executes a statement with the names of the chunk.
        has_leads: some records are of leads that were there.
    """
    run("CREATE TEMP TABLE added (lead_id uuid, value text, is_new boolean) ON COMMIT DROP")
    listed = _listed(plan)
    if not listed:
        return
    point = _VALUES.format(source="{source}", primary="p.is_first")
    run(_NEW, columns=_COLUMNS, listed=listed, point=_named(plan, point))
    repeats = run("SELECT FROM chunk AS c JOIN {dups} AS d ON d.leader = c.row_no LIMIT 1")
    if not has_leads and not repeats:
        return
    run(_POINTS, listed=listed)
    run("ANALYZE points")
    run(_KNOWN)
    run("CREATE INDEX ON known (lead_id)")
    run("ANALYZE known")
    point = _VALUES.format(source="{source}", primary=_HAS_PRIMARY)
    run(_ADD, columns=_COLUMNS, point=_named(plan, point))
    news = {column: _named(plan, value) for column, value in _NEWS.items()} if plan.more else {}
    settings = [f"{column} = {value}" for column, value in news.items()]
    settings.append(
        "checked_at = CASE WHEN k.more IS NOT NULL THEN clock_timestamp() ELSE c.checked_at END"
    )
    differs = [f"OR c.{column} IS DISTINCT FROM {value}" for column, value in news.items()]
    run(_CONFIRM, news=", ".join(settings), differs=" ".join(differs))
    run("DROP TABLE points")
    run("DROP TABLE known")
    run("ANALYZE added")


def _named(plan: Plan, text: str) -> str:
    return text.format(**plan.names())


def _listed(plan: Plan) -> str:
    rows: list[str] = []
    for kind, columns in (("phone", plan.phone_columns), ("email", plan.email_columns)):
        first = f"coalesce({', '.join(f'r.{column}' for column in columns)})"
        for column in columns:
            more = f"r.{column}_more" if column in plan.more else "NULL::jsonb"
            rows.append(
                f"({len(rows)}, '{kind}', r.{column}, r.{column}_raw, {more}, r.{column} = {first})"
            )
    return ", ".join(rows)
