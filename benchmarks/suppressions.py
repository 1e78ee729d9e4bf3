"""A suppression list of 100,000 numbers from its file to the last blocked number.

Read, checked and applied as the page and the worker do it, 5,000 numbers to a transaction. Beside
it, in the same run, COPY of the same numbers into a bare table: the least a database can do.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time

from common import note, prepare, report, settle
from django.db import connection
from world import make_world

from messaging.actions.suppressions import advance, apply_list, check_file
from messaging.models import SuppressionList
from tenants.context import tenant_context

ROWS = 100_000
BAR_S = 60.0


def numbers() -> list[str]:
    """One in a hundred is repeated, and one in a thousand no number, as in real files."""
    return [
        "not a number" if n % 1000 == 7 else f"+1{2_120_000_000 + n - (n % 100 == 9):010d}"
        for n in range(ROWS)
    ]


def main() -> bool:
    prepare()
    world = make_world("list")
    settle()
    with tempfile.TemporaryFile() as stream:
        stream.write(b"phone\n" + "\n".join(numbers()).encode())
        began = time.perf_counter()
        with tenant_context(world.tenant.pk, durable=True):
            made = check_file(stream, name="DNC", source="bench", reason="bench")
        checked_s = time.perf_counter() - began
    note(f"checked in {checked_s:.1f} s: {made.fresh} new, {made.duplicates} duplicates")
    with tenant_context(world.tenant.pk, durable=True):
        apply_list(made.pk, actor_id=None)
    steps, longest = 0, 0.0
    while True:
        step = time.perf_counter()
        if not advance(world.tenant.pk):
            break
        steps, longest = steps + 1, max(longest, time.perf_counter() - step)
    took = time.perf_counter() - began
    with tenant_context(world.tenant.pk):
        done = SuppressionList.objects.get(pk=made.pk)
    bare = copy_alone()
    is_whole = done.state == "applied" and done.done == made.fresh
    return report(
        "suppressions",
        value=took,
        unit="s",
        against="COPY alone",
        ratio=took / bare,
        bar=f"< {BAR_S:g} s",
        ok=took < BAR_S and is_whole,
        rows=ROWS,
        check_s=round(checked_s, 2),
        copy_s=round(bare, 2),
        longest_step_s=round(longest, 2),
    )


def copy_alone() -> float:
    """Seconds to COPY the same numbers into a temporary table."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE bare (address text PRIMARY KEY, line integer)")
        began = time.perf_counter()
        text = io.StringIO("".join(f"+1{n:010d}\t{n}\n" for n in range(ROWS)))
        with cursor.copy("COPY bare FROM STDIN") as copy:
            copy.write(text.read())
        return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
