"""Files on their way through the engine: tables of a run in the schema ``staging``.

The steps, each of which may be taken by another process than the one before::

    stage = Stage.create(run_id, width=14, tenant_id=tenant_id)
    stage.copy(rows)                        # as often as needed; (row number, values as text)
    stage.normalise(columns, source="upload", kind="import")
    stage.match()                           # counts; nothing is written but staging tables
    while stage.apply(20_000): ...          # one chunk, one transaction; two threads may do this
    for outcome in stage.outcomes(): ...
    stage.drop()
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, connection

from leads.actions import sql_id
from leads.identity import reading
from leads.identity.matching import match, take_turn
from leads.identity.plan import EVENT_KINDS, Plan
from leads.identity.writing import write
from pipelines.models import PipelineRun
from tenants.context import tenant_context
from tenants.ulids import to_text, to_uuid

#: Tries of a chunk that somebody else's writes got in the way of.
TRIES = 6
#: Seconds after which the ladder is asked again before a chunk is written: doors that take no
#: turn, such as a text from an unknown number, may have made the lead meanwhile.
FRESH_S = 120
#: Most columns of a file.
MOST_COLUMNS = 1_500
#: Rows per page of outcomes.
PAGE = 10_000
TABLES = ("raw", "rows", "dups", "hits", "blocked", "chunks", "done", "meta")
#: Somebody else wrote the same lead, or held what this needed: rolled back, and tried again.
_COLLISIONS = {"23505", "40P01", "40001", "55P03"}


class NoStage(LookupError):
    """The run has no staging tables: never made, dropped, or lost with a crash of PostgreSQL."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageColumn:
    """How one target is read.

    Attributes:
        target: name of ``leads.identity.targets``.
        value_sql: SQL expression over the raw columns ``c1`` … ``c<width>`` (text, '' when empty),
            giving the text of the value. Never built from what a user typed.
        problem_sql: expression giving NULL, or why the row cannot be taken. Such a row is an error.
            Values that the target cannot hold need none: they are left out, and told.
    """

    target: str
    value_sql: str
    problem_sql: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowOutcome:
    """What became of a row, ``Resolved`` for files. ``repeats``: the row it repeats."""

    row_no: int
    outcome: str
    lead_id: str | None
    by: str
    problem: str
    repeats: int | None
    review_id: str | None


class Stage:
    """The staging tables of one run."""

    def __init__(self, plan: Plan, tenant_id: str) -> None:
        self.plan, self.tenant_id = plan, tenant_id

    @classmethod
    def create(cls, run_id: str, width: int, *, tenant_id: str) -> Stage:
        """Make the tables of a run of a tenant; those of an earlier try are dropped.

        Args:
            run_id: ``run_…`` of a pipeline run of the tenant.
            width: number of columns, 1 to 1,500.
            tenant_id: ``tenant_…``.

        Raises:
            NoStage: the tenant has no such run.
            ValueError: no such width.
        """
        if not 1 <= width <= MOST_COLUMNS:
            raise ValueError(f"a file has 1 to {MOST_COLUMNS} columns, not {width}")
        with tenant_context(tenant_id):
            stage = cls(_plan_of(run_id, tenant_id), tenant_id)
            stage.plan.width = width
            stage.drop()
            texts = ", ".join(f"c{place} text NOT NULL" for place in range(1, width + 1))
            names = stage.plan.names()
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE UNLOGGED TABLE {names['raw']} (row_no integer, {texts})")
                cursor.execute(
                    f"CREATE UNLOGGED TABLE {names['meta']} (plan jsonb, matched_at timestamptz)"
                )
                cursor.execute(f"INSERT INTO {names['meta']} VALUES (%s)", [stage.plan.dumps()])
        return stage

    @classmethod
    def open(cls, run_id: str, *, tenant_id: str) -> Stage:
        """Return the stage of a run again, in any process.

        Raises:
            NoStage: there is none.
        """
        with tenant_context(tenant_id):
            stage = cls(_plan_of(run_id, tenant_id), tenant_id)
            stage._read_plan()
        return stage

    def copy(self, rows: Iterable[tuple[int, Sequence[str]]]) -> int:
        """Add rows by COPY; return how many. Missing values at the end are ''.

        Raises:
            ValueError: a row has more values than the stage has columns.
        """
        width, copied = self.plan.width, 0
        with (
            self._step(),
            connection.cursor() as cursor,
            cursor.copy(f"COPY {self.plan.prefix}_raw FROM STDIN") as copy,
        ):
            for row_no, values in rows:
                if len(values) > width:
                    raise ValueError(f"row {row_no} has {len(values)} values, not {width}")
                copy.write_row((row_no, *values, *([""] * (width - len(values)))))
                copied += 1
        return copied

    def normalise(
        self,
        columns: Sequence[StageColumn],
        *,
        source: str,
        kind: str = "import",
        artifact_id: str | None = None,
        actor_id: str | None = None,
    ) -> None:
        """Read every row once: values, phones, e-mails, address keys, problems. Repeatable.

        Args:
            columns: what goes where.
            source: who says it; decides which values win.
            kind: of ``leads.identity.plan.EVENT_KINDS``.
            artifact_id: ``art_…`` that keeps the file.
            actor_id: ``actor_…`` of the person who imports it.

        Raises:
            leads.identity.reading.UnknownTarget: a target does not exist, or is named twice.
        """
        if kind not in EVENT_KINDS:
            raise ValueError(f"no kind of source: {kind}")
        plan = self.plan
        plan.source, plan.kind = source, kind
        plan.artifact, plan.actor = sql_id(artifact_id), sql_id(actor_id)
        with self._step(), connection.cursor() as cursor:
            read_rows(plan, columns, cursor)
            cursor.execute(
                f"UPDATE {plan.prefix}_meta SET plan = %s, matched_at = NULL", [plan.dumps()]
            )

    def match(self) -> dict[str, int]:
        """Find duplicates in the file and leads for its rows; return the counts of ``counts``."""
        with self._step(), connection.cursor() as cursor:
            match(self.plan)
            cursor.execute(f"CREATE INDEX ON {self.plan.prefix}_done (row_no)")
            cursor.execute(
                f"UPDATE {self.plan.prefix}_meta SET plan = %s, matched_at = clock_timestamp()",
                [self.plan.dumps()],
            )
            return self._counts(cursor)

    def counts(self) -> dict[str, int]:
        """Return rows by outcome, ``total``, ``pending``, and ``by.<key>`` of those with a lead.

        Before ``apply`` what would become of them: updated is every row with a lead.
        """
        with self._step(), connection.cursor() as cursor:
            return self._counts(cursor)

    def apply(self, limit: int = 20_000) -> int:
        """Write the next chunk in a transaction of its own; return its rows, 0 when none is left.

        Safe in several processes at once, and after kill -9: a chunk is written once or not at all.
        The size of all chunks is that of the first call.
        """
        for attempt in range(TRIES):
            try:
                with self._step(durable=True), connection.cursor() as cursor:
                    return self._apply(cursor, limit, again=attempt > 0)
            except DatabaseError as error:
                state = getattr(error.__cause__, "sqlstate", "")
                if state not in _COLLISIONS or attempt == TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def outcomes(self, *kinds: str, after: int = 0) -> Iterator[RowOutcome]:
        """Yield what became of the rows after *after*, by row number; all, or those of *kinds*."""
        while True:
            with self._step(), connection.cursor() as cursor:
                cursor.execute(
                    f"SELECT * FROM ({_OUTCOMES.format(**self.plan.names())}) AS o"
                    " WHERE row_no > %s AND (%s::text[] = '{}' OR outcome = ANY(%s))"
                    " ORDER BY row_no LIMIT %s",
                    [after, list(kinds), list(kinds), PAGE],
                )
                page = cursor.fetchall()
            for row_no, outcome, lead, found_by, problem, repeats, review in page:
                yield RowOutcome(
                    row_no=row_no,
                    outcome=outcome,
                    lead_id=to_text("lead", lead) if lead else None,
                    by=found_by or "",
                    problem=problem or "",
                    repeats=repeats,
                    review_id=to_text("mrv", review) if review else None,
                )
            if len(page) < PAGE:
                return
            after = page[-1][0]

    def raw(self, row_nos: Sequence[int]) -> dict[int, list[str]]:
        """Return rows as they were copied."""
        with self._step(), connection.cursor() as cursor:
            cursor.execute(
                f"SELECT * FROM {self.plan.prefix}_raw WHERE row_no = ANY(%s)", [list(row_nos)]
            )
            return {row[0]: list(row[1:]) for row in cursor.fetchall()}

    def drop(self) -> None:
        """Drop the tables; without any that is no error."""
        with tenant_context(self.tenant_id), connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"DROP TABLE IF EXISTS {self.plan.prefix}_{table}")

    @contextmanager
    def _step(self, *, durable: bool = False) -> Iterator[None]:
        """Run one step in a transaction of the tenant, as long as it takes."""
        with tenant_context(self.tenant_id, durable=durable):
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT set_config('statement_timeout', '0', true),"
                    " set_config('work_mem', '32MB', true)"
                )
            self._read_plan()
            yield

    def _read_plan(self) -> None:
        table = f"{self.plan.prefix}_meta"
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s)", [table])
            found = cursor.fetchone()[0]
            row = None
            if found is not None:
                cursor.execute(
                    f"SELECT plan, coalesce(clock_timestamp() - matched_at"
                    f" < make_interval(secs => %s), false), matched_at IS NOT NULL FROM {table}",
                    [FRESH_S],
                )
                row = cursor.fetchone()
        if row is None:
            raise NoStage("the run has no staged rows")
        self.plan, self._is_fresh, self._is_matched = Plan.loads(row[0]), row[1], row[2]

    def _counts(self, cursor: Any) -> dict[str, int]:
        cursor.execute(_COUNTS.format(**self.plan.names()))
        counts = {"total": 0, "pending": 0}
        for outcome, found_by, rows, pending in cursor.fetchall():
            counts["total"] += rows
            counts["pending"] += pending
            counts[outcome] = counts.get(outcome, 0) + rows
            if found_by and outcome in ("updated", "unchanged", "blocked"):
                counts[f"by.{found_by}"] = counts.get(f"by.{found_by}", 0) + rows
        return counts

    def _apply(self, cursor: Any, limit: int, *, again: bool) -> int:
        if not self._is_matched:
            raise NoStage("the rows are not matched yet")
        chunk = self._take_chunk(cursor, limit)
        if chunk is None:
            return 0
        low, high = chunk
        number = take_turn(self.plan)
        write(
            self.plan,
            low,
            high,
            again=again or number != self.plan.number or not self._is_fresh,
        )
        cursor.execute(f"UPDATE {self.plan.prefix}_chunks SET done = true WHERE low = %s", [low])
        return high - low + 1

    def _take_chunk(self, cursor: Any, limit: int) -> tuple[int, int] | None:
        names = self.plan.names(limit=max(1, int(limit)))
        cursor.execute("SELECT EXISTS (SELECT FROM {chunks})".format(**names))
        if not cursor.fetchone()[0]:
            cursor.execute("LOCK TABLE {chunks} IN SHARE ROW EXCLUSIVE MODE".format(**names))
            cursor.execute(_CUT.format(**names))
        while True:
            for how in ("SKIP LOCKED", ""):
                cursor.execute(
                    "SELECT low, high FROM {chunks} WHERE NOT done"
                    " ORDER BY low LIMIT 1 FOR UPDATE ".format(**names)
                    + how
                )
                if found := cursor.fetchone():
                    return int(found[0]), int(found[1])
            cursor.execute("SELECT EXISTS (SELECT FROM {chunks} WHERE NOT done)".format(**names))
            if not cursor.fetchone()[0]:
                return None


_CUT = """
    INSERT INTO {chunks}
    SELECT n, n + {limit} - 1, false
    FROM (SELECT min(row_no) AS low, max(row_no) AS high FROM {rows}) AS b,
         generate_series(b.low, b.high, {limit}) AS n
    WHERE NOT EXISTS (SELECT FROM {chunks})
"""
_OUTCOMES = """
    SELECT r.row_no,
           CASE WHEN r.err IS NOT NULL THEN 'error' WHEN d.leader IS NOT NULL THEN 'duplicate'
                ELSE coalesce(o.outcome, 'pending') END AS outcome,
           o.lead_id, o.found_by,
           coalesce(r.err, left(concat_ws('; ',
               nullif(CASE WHEN d.leader IS NULL THEN o.problem END, ''),
               nullif(r.note, '')), 200)) AS problem,
           d.leader, o.review_id
    FROM {rows} AS r
    LEFT JOIN {dups} AS d ON d.row_no = r.row_no
    LEFT JOIN {done} AS o ON o.row_no = coalesce(d.leader, r.row_no) AND r.err IS NULL
"""
_COUNTS = """
    SELECT CASE WHEN r.err IS NOT NULL THEN 'error' WHEN d.leader IS NOT NULL THEN 'duplicate'
                WHEN o.outcome IS NOT NULL THEN o.outcome WHEN h.verdict = 'many' THEN 'review'
                WHEN b.row_no IS NOT NULL THEN 'blocked' WHEN h.verdict = 'lead' THEN 'updated'
                ELSE 'created' END,
           CASE WHEN d.leader IS NULL THEN coalesce(o.found_by, h.found_by, '') ELSE '' END,
           count(*), count(*) FILTER (WHERE r.err IS NULL AND d.leader IS NULL AND o.row_no IS NULL)
    FROM {rows} AS r
    LEFT JOIN {dups} AS d ON d.row_no = r.row_no
    LEFT JOIN {hits} AS h ON h.row_no = r.row_no
    LEFT JOIN {blocked} AS b ON b.row_no = r.row_no
    LEFT JOIN {done} AS o ON o.row_no = r.row_no
    GROUP BY 1, 2
"""


def _plan_of(run_id: str, tenant_id: str) -> Plan:
    try:
        key = to_uuid(run_id)
    except ValueError as error:
        raise NoStage("no such run") from error
    run = PipelineRun.objects.filter(pk=to_text("run", key)).first()
    if run is None:
        raise NoStage("no such run")
    return Plan(
        prefix=f"staging.i{key.hex}",
        tenant=str(to_uuid(tenant_id)),
        run=str(key),
        runner=key.hex,
        correlation=run.correlation_id,
    )


def read_rows(plan: Plan, columns: Sequence[StageColumn], cursor: Any) -> None:
    """Make the table of rows that were read, replacing one that is there."""
    cursor.execute(f"DROP TABLE IF EXISTS {plan.prefix}_rows")
    cursor.execute(f"ANALYZE {plan.prefix}_raw")
    cursor.execute(reading.read_columns(columns, plan))
    cursor.execute(f"CREATE UNIQUE INDEX ON {plan.prefix}_rows (row_no)")
    cursor.execute(f"ANALYZE {plan.prefix}_rows")
