"""What a file would do: its rows are staged, read, matched and counted. No lead is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from leads.identity.stage import RowOutcome, Stage
from leads.imports.actions import columns_of, fixes_of
from leads.imports.guard import warnings_of
from leads.imports.parts import open_parts
from leads.imports.reading import Layout, Row, rows_of
from leads.imports.transforms import stage_columns
from leads.models import Import, ImportRow

if TYPE_CHECKING:
    from leads.imports.work import Job

#: Rows, and characters, of one piece of copying.
CHUNK, CHUNK_CHARS = 20_000, 20_000_000
#: Rows of one piece of a report.
REPORTED = 10_000
#: How a problem begins that the file itself has, before any value is read.
RAGGED = ("The row has ", "Column ")
#: Outcomes that a report keeps row by row.
KEPT_ROWS = ("error", "duplicate", "blocked", "review")


def layout_from(one: Import) -> Layout:
    """Return how the file of an import is written, as it was found out at the beginning."""
    return Layout(
        encoding=one.encoding,
        delimiter=one.delimiter,
        header=tuple(one.header),
        has_header=one.options.get("has_header", True),
        skip=one.options.get("skip"),
    )


def copy(job: Job) -> str:
    """Take the next rows of the file into the staging table."""
    if job.rows is None:
        _open_rows(job)
    with job.inside():
        one = job.load()
        rows = _next_rows(job.rows or iter(()))
        if not rows:
            job.renew(total=one.done, done=0)
            return "read"
        job.stage(one).copy((row.number, row.cells) for row in rows if not row.problem)
        ImportRow.objects.bulk_create(
            ImportRow(
                imported=one, row_no=row.number, outcome="error", problem=row.problem, raw=row.cells
            )
            for row in rows
            if row.problem
        )
        job.renew(done=rows[-1].number)
    return "copy"


def _open_rows(job: Job) -> None:
    with job.inside():
        one = job.load()
        if not one.done:
            ImportRow.objects.filter(imported=one).exclude(outcome="kept").delete()
    if one.done:
        job.stage(one)  # it must still be there
    else:
        Stage.create(one.run_id or "", len(one.header), tenant_id=job.tenant_id)
    done, rows = one.done, rows_of(open_parts(one.pk), layout_from(one))
    job.rows = (row for row in rows if row.number > done)


def _next_rows(rows: Iterator[Row]) -> list[Row]:
    taken: list[Row] = []
    chars = 0
    for row in islice(rows, CHUNK):
        taken.append(row)
        chars += sum(map(len, row.cells))
        if chars > CHUNK_CHARS:
            break
    return taken


def read(job: Job) -> str:
    """Read every value once."""
    job.rows = None
    with job.inside():
        one = job.load()
    job.stage(one).normalise(
        stage_columns(columns_of(one), fixes_of(one)),
        source=one.source,
        kind="import",
        actor_id=one.actor_id,
    )
    return "match"


def match(job: Job) -> str:
    """Find the rows that repeat others, and the leads there are."""
    with job.inside():
        one = job.load()
    job.stage(one).match()
    job.seen["after"] = 0
    return "report"


def report(job: Job) -> str:
    """Write down what a person should see: counts, rows with a problem, warnings."""
    if tell(job):
        return "report"
    with job.inside():
        one = job.load()
        stage = job.stage(one)
        counted = count(one, stage.counts())
        one.duplicates = counted["duplicates"]
        job.renew(done=one.total, **counted, warnings=warnings_of(one, stage))
    return ""


def tell(job: Job) -> bool:
    """Keep the next rows that did not simply become a lead; return whether there may be more."""
    with job.inside():
        one = job.load()
        after = job.seen.get("after", 0)
        if not after:
            forget_rows(one)
        stage = job.stage(one)
        found = list(islice(stage.outcomes(*KEPT_ROWS, after=after), REPORTED))
        _keep_rows(one, found, stage)
        job.renew()
        if found:
            job.seen["after"] = found[-1].row_no
    return len(found) == REPORTED


def forget_rows(one: Import) -> None:
    """Drop the rows of an earlier report, but for those that are no rows of a table."""
    rows = ImportRow.objects.filter(imported=one).exclude(outcome="kept")
    for words in RAGGED:
        rows = rows.exclude(outcome="error", problem__startswith=words)
    rows.delete()


def _keep_rows(one: Import, found: Sequence[RowOutcome], stage: Stage) -> None:
    copied = stage.raw
    raw = copied([row.row_no for row in found])
    ImportRow.objects.bulk_create(
        (
            ImportRow(
                imported=one,
                row_no=row.row_no,
                outcome=row.outcome,
                problem=_words(row)[:200],
                raw=raw.get(row.row_no, []),
                lead_id=row.lead_id,
            )
            for row in found
        ),
        ignore_conflicts=True,
    )


def _words(row: RowOutcome) -> str:
    if row.outcome == "duplicate" and row.repeats is not None:
        return f"Repeats row {row.repeats}"
    return row.problem


def count(one: Import, counts: dict[str, int]) -> dict[str, Any]:
    """Return the columns of an import that say what its rows became."""
    ragged = ImportRow.objects.filter(imported=one, outcome="error")
    torn = sum(ragged.filter(problem__startswith=words).count() for words in RAGGED)
    return {
        "created": counts.get("created", 0),
        "updated": counts.get("updated", 0),
        "unchanged": counts.get("unchanged", 0),
        "duplicates": counts.get("duplicate", 0),
        "blocked": counts.get("blocked", 0),
        "errors": counts.get("error", 0) + torn,
        "reviews": counts.get("review", 0),
        "matched_by": {
            key.removeprefix("by."): number
            for key, number in sorted(counts.items())
            if key.startswith("by.") and number
        },
    }
