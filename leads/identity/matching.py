"""Who repeats whom in a run, and which leads its records are: reads leads, writes staging only."""

from __future__ import annotations

from typing import Any

from django.db import connection

from leads.identity.plan import Plan
from leads.identity.reading import TYPED
from leads.identity.targets import FIELDS

# One row of dups per row that repeats another: its leader. A group is all that any key connects,
# so the edges are followed until no leader has a smaller one.
_EDGES = """
    CREATE {made} TABLE {dups} AS
    WITH k AS MATERIALIZED (
        SELECT row_no, 1 AS kind, hash || ':' || owner AS key FROM {rows}
        WHERE hash IS NOT NULL AND {free}
        {strong}
    ),
    g AS (SELECT kind, key, min(row_no) AS leader FROM k GROUP BY 1, 2 HAVING count(*) > 1)
    SELECT k.row_no, g.leader FROM g JOIN k USING (kind, key)
"""
_STRONG = {
    "vendor": "SELECT row_no, 2, vendor FROM {rows} WHERE vendor IS NOT NULL AND {free}",
    "given": "SELECT row_no, 3, given::text FROM {rows} WHERE given IS NOT NULL AND err IS NULL",
    "mak": "SELECT row_no, 4, f_mak FROM {rows} WHERE f_mak <> '' AND {free}",
    "apn": "SELECT row_no, 5, f_county_fips || ':' || f_apn FROM {rows}"
    " WHERE f_apn <> '' AND f_county_fips <> '' AND {free}",
}
# Somebody nameless at an address is the one person known there, if it is one.
_NAMELESS = """
    INSERT INTO {dups}
    SELECT e.row_no, g.leader
    FROM (
        SELECT hash, min(row_no) AS leader FROM {rows}
        WHERE owner <> '' AND hash IS NOT NULL AND {free}
        GROUP BY hash HAVING min(owner) = max(owner)
    ) AS g
    JOIN {rows} AS n ON n.hash = g.hash AND n.owner = '' AND n.err IS NULL AND n.given IS NULL
    CROSS JOIN LATERAL (VALUES (n.row_no), (g.leader)) AS e(row_no)
"""
# A phone or an e-mail that two rows share connects them, unless they are two by name: at two
# addresses, or in one household.
_WEAK = """
    INSERT INTO {dups}
    SELECT e.row_no, w.leader
    FROM (
        SELECT k.row_no, g.leader
        FROM (
            SELECT value, min(row_no) AS leader FROM ({points}) AS k
            GROUP BY value HAVING count(DISTINCT row_no) > 1
        ) AS g
        JOIN ({points}) AS k ON k.value = g.value AND k.row_no <> g.leader
        JOIN {rows} AS a ON a.row_no = k.row_no
        JOIN {rows} AS b ON b.row_no = g.leader
        WHERE a.hash IS NULL OR b.hash IS NULL OR owners_fit(a.owner, b.owner) IS NOT NULL
    ) AS w
    CROSS JOIN LATERAL (VALUES (w.row_no), (w.leader)) AS e(row_no)
"""
_JUMP = """
    UPDATE {dups} AS d SET leader = c.least_leader
    FROM (
        SELECT d.leader, min(b.least_leader) AS least_leader
        FROM {dups} AS d
        JOIN (SELECT row_no, min(leader) AS least_leader FROM {dups} GROUP BY 1) AS b USING (row_no)
        GROUP BY 1
    ) AS c
    WHERE d.leader = c.leader AND c.least_leader < d.leader
"""
# One leader per row; the first row with a whole address leads, since it says most.
_LEADERS = """
    CREATE {made} TABLE {dups}_one AS
    WITH one AS MATERIALIZED (SELECT row_no, min(leader) AS head FROM {dups} GROUP BY 1),
    best AS (
        SELECT o.head,
               coalesce(min(o.row_no) FILTER (WHERE r.hash IS NOT NULL), min(o.row_no)) AS leader
        FROM one AS o JOIN {rows} AS r USING (row_no) GROUP BY 1
    )
    SELECT o.row_no, b.leader FROM one AS o JOIN best AS b USING (head) WHERE o.row_no <> b.leader
"""
# What only a later row of a group tells, its leader tells, too; never another address.
_FILL = """
    UPDATE {rows} AS r SET {settings}
    FROM (SELECT d.leader, {firsts} FROM {dups} AS d JOIN {rows} AS m USING (row_no)
          GROUP BY d.leader) AS m
    WHERE r.row_no = m.leader
"""
# What the ladder asks for: the keys of every record, those of its repeats included.
_KEYS = """
    SELECT r.row_no, r.given, r.vendor::text, {mak} AS mak, {fips} AS fips, {apn} AS apn, r.hash,
           r.owner, {phones} AS phones, {emails} AS emails
    FROM {rows} AS r
    WHERE r.err IS NULL AND r.row_no BETWEEN {low} AND {high}
      AND NOT EXISTS (SELECT FROM {dups} AS d WHERE d.row_no = r.row_no)
    UNION ALL
    SELECT d.leader, r.given, r.vendor::text, {mak}, {fips}, {apn}, r.hash, r.owner, {phones},
           {emails}
    FROM {dups} AS d JOIN {rows} AS r ON r.row_no = d.row_no
    WHERE d.leader BETWEEN {low} AND {high}
"""
_HITS = "INSERT INTO {hits} SELECT * FROM identity_ladder({tenant}, {source}, $keys${keys}$keys$)"
# Two records that are one lead: the later one repeats the first.
_SAME_LEAD = (
    """
    CREATE TEMP TABLE same_lead ON COMMIT DROP AS
    SELECT h.row_no, f.first AS leader
    FROM {hits} AS h
    JOIN (SELECT lead_id, min(row_no) AS first FROM {hits} WHERE verdict = 'lead'
            AND row_no BETWEEN {low} AND {high}
          GROUP BY 1 HAVING count(*) > 1) AS f USING (lead_id)
    WHERE h.verdict = 'lead' AND h.row_no <> f.first AND h.row_no BETWEEN {low} AND {high}
    """,
    "UPDATE {dups} AS d SET leader = s.leader FROM same_lead AS s WHERE d.leader = s.row_no",
    "INSERT INTO {dups} SELECT row_no, leader FROM same_lead",
    "DELETE FROM {hits} AS h USING same_lead AS s WHERE h.row_no = s.row_no",
    "DROP TABLE same_lead",
)
_BLOCKED = """
    CREATE {made} TABLE {blocked} AS
    SELECT coalesce(d.leader, k.row_no) AS row_no, min(k.value) AS value
    FROM ({points}) AS k
    JOIN consents AS c ON c.tenant_id = {tenant} AND c.channel = 'sms'
        AND c.address = {address}
        AND c.state = 'opted_out' AND (c.scope = '' OR left(c.scope, 5) = 'list:')
        AND coalesce(c.expires_at > clock_timestamp(), true)
    LEFT JOIN {dups} AS d ON d.row_no = k.row_no
    GROUP BY 1
"""
#: Fields that make an address, and those that make its owner.
PLACES = {"address_line1", "address_line2", "unit", "city", "region", "postal_code"}
PLACES |= {"county_fips", "apn"}
NAMES = {"first_name", "last_name", "full_name", "company", "owner_company"}
#: Rows that may repeat others: whose lead is given repeats only those of the same lead.
FREE = "err IS NULL AND given IS NULL"
#: Bounds that every row is within.
ALL = {"low": "0", "high": "2147483647"}


def match(plan: Plan) -> None:
    """Find repeats and leads of all rows of a run that were read; anew each time."""
    names = plan.names(**ALL)
    with connection.cursor() as cursor:
        for table in ("dups", "hits", "blocked", "chunks", "done"):
            cursor.execute(f"DROP TABLE IF EXISTS {names[table]}")
        plan.number = take_turn(plan)
        _find_repeats(plan, cursor)
        cursor.execute(
            "CREATE {made} TABLE {hits} (row_no integer, verdict text, found_by text, lead_id uuid,"
            " others uuid[])".format(**names)
        )
        climb(plan, ALL)
        cursor.execute(_BLOCKED.format(**names, **_points(plan, "phone"), address=_address(plan)))
        for table in ("hits", "blocked"):
            cursor.execute(f"CREATE INDEX ON {names[table]} (row_no)")
            cursor.execute(f"ANALYZE {names[table]}")
        cursor.execute(
            "CREATE {made} TABLE {done} (row_no integer, outcome text, found_by text, lead_id uuid,"
            " problem text, review_id uuid)".format(**names)
        )
        cursor.execute(
            "CREATE {made} TABLE {chunks} (low integer, high integer, done boolean)".format(**names)
        )


def climb(plan: Plan, bounds: dict[str, str]) -> None:
    """Ask the ladder about the records between two row numbers, replacing what it said before."""
    names = plan.names(**bounds)
    keys = _KEYS.format(**names, **_key_columns(plan))
    with connection.cursor() as cursor:
        cursor.execute("SELECT refresh_lead_statistics()")
        # All rows of a file are joined with all leads: never row by row, whatever is estimated.
        is_file = bounds is ALL and plan.width > 0
        cursor.execute(
            "SELECT set_config('enable_nestloop', %s, true)", ["off" if is_file else "on"]
        )
        if bounds is not ALL:
            cursor.execute(
                "DELETE FROM {hits} WHERE row_no BETWEEN {low} AND {high}".format(**names)
            )
        cursor.execute(_HITS.format(**names, keys=keys))
        for statement in _SAME_LEAD:
            cursor.execute(statement.format(**names))
        cursor.execute("SELECT set_config('enable_nestloop', 'on', true)")


def take_turn(plan: Plan) -> int:
    """Wait for the turn to write leads, and hold it to the end of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT identity_turn(%s, %s)", [plan.tenant, plan.runner])
        return int(cursor.fetchone()[0])


def _find_repeats(plan: Plan, cursor: Any) -> None:
    names = plan.names(free=FREE)
    present = {**dict.fromkeys(plan.keys), **dict.fromkeys(plan.fields)}
    keys: list[str] = [key for key in ("vendor", "given", "mak") if key in present]
    if {"apn", "county_fips"} <= set(plan.fields):
        keys.append("apn")
    strong = " ".join(f"UNION ALL {_STRONG[key].format(**names)}" for key in keys)
    cursor.execute(_EDGES.format(**names, strong=strong))
    cursor.execute(
        "SELECT EXISTS (SELECT FROM {rows} WHERE owner = '' AND hash IS NOT NULL)".format(**names)
    )
    if cursor.fetchone()[0]:
        cursor.execute(_NAMELESS.format(**names))
    for kind in ("phone", "email"):
        if points := _points(plan, kind, FREE):
            cursor.execute(_WEAK.format(**names, **points))
    moved = 1
    while moved:
        cursor.execute(f"ANALYZE {names['dups']}")
        cursor.execute(_JUMP.format(**names))
        moved = cursor.rowcount
    cursor.execute(_LEADERS.format(**names))
    cursor.execute(f"DROP TABLE {names['dups']}")
    cursor.execute(f"ALTER TABLE {names['dups']}_one RENAME TO {names['dups'].partition('.')[2]}")
    for column in ("row_no", "leader"):
        cursor.execute(f"CREATE INDEX ON {names['dups']} ({column})")
    cursor.execute(f"ANALYZE {names['dups']}")
    _fill(plan, cursor)


def _fill(plan: Plan, cursor: Any) -> None:
    columns = [f"f_{name}" for name in plan.fields if name not in PLACES] + plan.parts
    columns += ["vendor"] if "vendor" in plan.keys else []
    blank = {f"f_{name}" for name in plan.fields if FIELDS[name].kind not in TYPED}
    nameless = {f"f_{name}" for name in NAMES}
    settings, firsts = [], []
    for column in columns:
        told = f"m.{column} IS NOT NULL"
        empty = f"r.{column} IS NULL"
        if column in blank:
            told, empty = f"m.{column} <> ''", f"r.{column} = ''"
        if column in nameless:
            empty = "r.owner = '' AND r.hash IS NULL"
        firsts.append(
            f"(array_agg(m.{column} ORDER BY m.row_no) FILTER (WHERE {told}))[1] AS {column}"
        )
        settings.append(
            f"{column} = CASE WHEN {empty} THEN coalesce(m.{column}, r.{column})"
            f" ELSE r.{column} END"
        )
    if nameless & set(columns):
        firsts.append("(array_agg(m.owner ORDER BY m.row_no) FILTER (WHERE m.owner <> ''))[1] AS o")
        settings.append(
            "owner = CASE WHEN r.owner = '' AND r.hash IS NULL"
            " THEN coalesce(m.o, '') ELSE r.owner END"
        )
    if columns:
        cursor.execute(
            _FILL.format(**plan.names(), settings=", ".join(settings), firsts=", ".join(firsts))
        )


def _points(plan: Plan, kind: str, which: str = "err IS NULL") -> dict[str, str]:
    columns = plan.phone_columns if kind == "phone" else plan.email_columns
    queries = [
        f"SELECT row_no, {column} AS value FROM {plan.prefix}_rows"
        f" WHERE {column} IS NOT NULL AND {which}"
        for column in columns
    ]
    if not queries:
        if kind == "email":
            return {}
        queries = ["SELECT NULL::integer AS row_no, NULL::text AS value WHERE false"]
    return {"points": " UNION ALL ".join(queries)}


def _address(plan: Plan) -> str:
    """Return how consents know a number: by a keyed hash, too, where somebody was erased."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM consents WHERE tenant_id = %s AND channel = 'sms'"
            " AND address >= 'erased:' AND address < 'erased;')",
            [plan.tenant],
        )
        has_erased = cursor.fetchone()[0]
    return "ANY (ARRAY[k.value, address_digest(k.value)])" if has_erased else "k.value"


def _key_columns(plan: Plan) -> dict[str, str]:
    def array(columns: list[str]) -> str:
        if not columns:
            return "'{}'::text[]"
        listed = ", ".join(f"r.{column}" for column in columns)
        return f"array_remove(ARRAY[{listed}], NULL)"

    return {
        "mak": f"nullif({plan.column('mak')}, '')",
        "fips": f"nullif({plan.column('county_fips')}, '')",
        "apn": f"nullif({plan.column('apn')}, '')",
        "phones": array(plan.phone_columns),
        "emails": array(plan.email_columns),
    }
