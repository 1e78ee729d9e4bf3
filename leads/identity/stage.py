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
from dataclasses import dataclass


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

    @classmethod
    def create(cls, run_id: str, width: int, *, tenant_id: str) -> Stage:
        """Make the tables of a run of a tenant; those of an earlier try are dropped.

        Args:
            run_id: ``run_…`` of a pipeline run of the tenant.
            width: number of columns, 1 to 1,500.
            tenant_id: ``tenant_…``.

        Raises:
            NoStage: the tenant has no such run.
        """
        raise NotImplementedError

    @classmethod
    def open(cls, run_id: str, *, tenant_id: str) -> Stage:
        """Return the stage of a run again, in any process.

        Raises:
            NoStage: there is none.
        """
        raise NotImplementedError

    def copy(self, rows: Iterable[tuple[int, Sequence[str]]]) -> int:
        """Add rows by COPY; return how many. Missing values at the end are ''."""
        raise NotImplementedError

    def normalise(
        self,
        columns: Sequence[StageColumn],
        *,
        source: str,
        kind: str = "import",
        artifact_id: str | None = None,
        actor_id: str | None = None,
    ) -> None:
        """Read every row once: values, phones, e-mails, address keys, problems. Repeatable."""
        raise NotImplementedError

    def match(self) -> dict[str, int]:
        """Find duplicates in the file and leads for its rows; return the counts of ``counts``."""
        raise NotImplementedError

    def counts(self) -> dict[str, int]:
        """Return rows by outcome, ``total``, ``pending``, and ``by.<key>`` of those with a lead.

        Before ``apply`` what would become of them: updated is every row with a lead.
        """
        raise NotImplementedError

    def apply(self, limit: int = 20_000) -> int:
        """Write the next chunk in a transaction of its own; return its rows, 0 when none is left.

        Safe in several processes at once, and after kill -9: a chunk is written once or not at all.
        """
        raise NotImplementedError

    def outcomes(self, *kinds: str, after: int = 0) -> Iterator[RowOutcome]:
        """Yield what became of the rows after *after*, by row number; all, or those of *kinds*."""
        raise NotImplementedError

    def raw(self, row_nos: Sequence[int]) -> dict[int, list[str]]:
        """Return rows as they were copied."""
        raise NotImplementedError

    def drop(self) -> None:
        """Drop the tables; without any that is no error."""
        raise NotImplementedError
