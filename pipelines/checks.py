"""What can be wrong with the database itself: snapshots that are held, rows that nobody removes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection

from pipelines.incidents import Problem, check

#: A transaction older than this, in seconds, keeps dead rows from being removed; the second is
#: critical. Sessions of ours end after 60 idle seconds and 30 of a statement: this is a guest.
HELD_S, HELD_CRITICAL_S = 300, 3600
#: Dead rows of a table, from which on they matter when they are also more than the living ones.
DEAD_ROWS = 100_000

#: A session of another role hides its times from the application, unless it may read all
#: statistics (GRANT pg_read_all_stats); the age of the oldest snapshot is then that of ours alone.
_OLDEST = """
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float,
           coalesce(max(age(backend_xmin)), 0)
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL
"""
_DEADEST = """
    SELECT relname, n_dead_tup, n_live_tup FROM pg_stat_user_tables
    ORDER BY n_dead_tup DESC, relname LIMIT 1
"""


@dataclass(frozen=True, kw_only=True)
class Gauges:
    """Of this database: the oldest snapshot that is held, and the table with most dead rows."""

    held_s: float  # seconds since the transaction that holds it began
    held_xids: int  # transactions since
    table: str
    dead_rows: int
    live_rows: int


def database_gauges() -> Gauges:
    """Read what a long transaction does to the queue's tables: two queries of statistics."""
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST)
        held_s, held_xids = cursor.fetchone()
        cursor.execute(_DEADEST)
        table, dead, live = cursor.fetchone() or ("", 0, 0)
    return Gauges(held_s=held_s, held_xids=held_xids, table=table, dead_rows=dead, live_rows=live)


@check("held_snapshot", of_platform=True)
def held_snapshot() -> Iterator[Problem]:
    """A long transaction keeps every dead row of the queue: claims get slower and slower."""
    gauges = database_gauges()
    if gauges.held_s > HELD_S:
        yield Problem(
            title=f"A transaction is open for {gauges.held_s / 60:.0f} minutes",
            advice="End it (pg_terminate_backend) and run long reports on a replica.",
            severity="critical" if gauges.held_s > HELD_CRITICAL_S else "warning",
        )


@check("dead_rows", of_platform=True)
def dead_rows() -> Iterator[Problem]:
    """Vacuum does not keep up with a table."""
    gauges = database_gauges()
    if gauges.dead_rows > max(DEAD_ROWS, gauges.live_rows):
        yield Problem(
            title=f"{gauges.table} has {gauges.dead_rows:,} dead rows",
            advice="Look for a long transaction and whether autovacuum runs; VACUUM the table.",
            subject=gauges.table,
        )
