"""A file of leads from CSV to resolved leads, and the same file again.

200,000 rows into an empty tenant and into one of a million leads (seed.py), normalised, hashed,
deduplicated, with contact points and lead events. Beside it in the same run: COPY of the file into
a bare table, and django-import-export in row mode and in bulk mode, which only store the columns.
Prints two lines, ``import`` and ``reimport``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import seed
from common import ROOT, connection, note, report
from importing import import_file, memory, write_file
from world import make_world

from tenants.context import tenant_context

ROWS = int(os.environ.get("BENCH_ROWS", "200000"))
PEER_ROWS = {"row": 2_000, "bulk": 20_000}
EMPTY_BAR, FULL_BAR, MEMORY_BAR, PEER_BAR, AGAIN_BAR = 14_000, 9_000, 300, 15, 0.75


def main() -> bool:
    made = seed.ensure()
    empty = make_world("import").tenant
    start = int(time.time()) % 10_000_000 * 100  # no row of an earlier run
    path, other = write_file(ROWS, start=start), write_file(ROWS, start=start + ROWS)
    try:
        with memory() as peak:
            first = import_file(path, empty.pk)
            full = import_file(other, made.big.pk)
        bare = copy_alone(path)
        peers = {mode: peer(path, mode) for mode in PEER_ROWS}
        before = written(empty.pk)
        analyze()  # as autovacuum does within a minute of so many rows
        again = import_file(path, empty.pk)
        changed = written(empty.pk) != before
    finally:
        path.unlink()
        other.unlink()
    rate, full_rate = ROWS / first.seconds, ROWS / full.seconds
    private = max(peak.values())
    passed = report(
        "import",
        value=rate,
        unit="rows/s into an empty tenant",
        against=f"django-import-export, row by row: {peers['row']:.0f}/s",
        ratio=rate / peers["row"],
        bar=f">= {EMPTY_BAR}/s, >= {FULL_BAR}/s beside {seed.LEADS:,} leads,"
        f" < {MEMORY_BAR} MB private, >= {PEER_BAR} x its row mode",
        ok=rate >= EMPTY_BAR
        and full_rate >= FULL_BAR
        and private < MEMORY_BAR
        and rate >= PEER_BAR * peers["row"],
        rows=ROWS,
        full_per_s=round(full_rate),
        peer_bulk_per_s=round(peers["bulk"]),
        copy_per_s=round(bare),
        private_mb=peak,
        steps_s=first.steps,
        counts=first.counts,
    )
    ratio = again.seconds / first.seconds
    return passed & report(
        "reimport",
        value=again.seconds,
        unit="s for the same file again",
        against=f"the first time: {first.seconds:.1f} s",
        ratio=ratio,
        bar=f"<= {AGAIN_BAR} and 0 rows changed",
        ok=ratio <= AGAIN_BAR and not changed,
        changed=changed,
        counts=again.counts,
    )


def analyze() -> None:
    with seed.superuser() as own:
        own.execute("VACUUM (ANALYZE) leads, contact_points, lead_events, contacts")


def written(tenant_id: str) -> tuple[int, ...]:
    """What a row written to a lead, its points, events, people or reviews would change."""
    with tenant_context(tenant_id), connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM lead_events), (SELECT count(*) FROM contact_points),"
            " (SELECT count(*) FROM contacts), (SELECT count(*) FROM merge_reviews),"
            " (SELECT count(*) FROM leads), (SELECT sum(xmin::text::bigint) FROM leads),"
            " (SELECT sum(xmin::text::bigint) FROM contact_points)"
        )
        return tuple(int(number or 0) for number in cursor.fetchone())


def copy_alone(path: Path) -> float:
    """Rows a second that COPY stores in a bare table."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE bare AS SELECT " + ", ".join(
            f"''::text AS c{n}" for n in range(14)) + " WHERE false")  # fmt: skip
        began = time.perf_counter()
        statement = "COPY bare FROM STDIN (FORMAT csv, HEADER true)"
        with path.open("rb") as stream, cursor.copy(statement) as copy:
            while block := stream.read(1 << 20):
                copy.write(block)
        took = time.perf_counter() - began
        cursor.execute("DROP TABLE bare")
    return ROWS / took


def peer(path: Path, mode: str) -> float:
    """Rows a second of django-import-export, in a process and a tenant of its own."""
    tenant = make_world(f"peer-{mode}").tenant
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peer_import", str(path), tenant.pk, mode,
         str(min(PEER_ROWS[mode], ROWS))],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"django-import-export failed: {done.stderr[-2000:]}")
    note(f"  django-import-export, {mode}: {float(done.stdout):.0f} rows/s")
    return float(done.stdout)


if __name__ == "__main__":
    sys.exit(not main())
