"""The long parts of an import, in pieces of one transaction each, by whichever process has its lease.

The import's row says which step it is at. A process that dies has done nothing of its piece; when
its lease is over any other goes on. A lease that somebody took away (a cancel, a resume, another
process) stops its old holder at the next piece.
"""  # noqa: E501

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from django.db import connection
from django.db.models.functions import Now

from leads.identity.stage import NoStage, Stage
from leads.imports import applying, checking, undoing
from leads.imports.actions import ACTIVE, figures
from leads.imports.reading import Row, UnreadableFile
from leads.models import Import
from pipelines.actions import end_run
from tenants.context import is_passing, tenant_context
from tenants.correlation import correlated
from tenants.ulids import to_text, to_uuid

#: Seconds a process may show no sign of life in a short piece, and in one long statement.
LEASE_S, LONG_LEASE_S = 45.0, 300.0
#: Steps that are one statement over the whole file.
LONG_STEPS = {"read", "match", "score"}
#: Seconds of its slice that must be left to begin a long step, as a task's time is bounded.
LONG_STEP_S = 20.0

logger = structlog.get_logger(__name__)


class Taken(Exception):
    """Somebody cancelled, or another process took over."""


@dataclass
class Job:
    """An import that this process works on, while its lease lasts."""

    tenant_id: str
    import_id: str
    state: str
    token: datetime
    connections: int = 1
    #: Rows of the file not yet read, kept from one piece to the next.
    rows: Iterator[Row] | None = None
    seen: dict[str, Any] = field(default_factory=dict)

    def inside(self) -> Any:
        """Enter the tenant, in a transaction whose end is the commit."""
        return tenant_context(self.tenant_id, durable=True)

    def load(self) -> Import:
        """Return the import; inside a transaction."""
        return Import.objects.select_related("run", "undo_run").get(pk=self.import_id)

    def renew(self, lease: float = LEASE_S, **fields: Any) -> None:
        """Prolong the lease and write *fields*, in the running transaction.

        Raises:
            Taken: the lease is somebody else's; what the transaction wrote must be rolled back.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE imports SET lease_until = clock_timestamp() + make_interval(secs => %s)"
                " WHERE id = %s AND state = %s AND lease_until = %s RETURNING lease_until",
                [lease, to_uuid(self.import_id), self.state, self.token],
            )
            row = cursor.fetchone()
        if row is None:
            raise Taken
        self.token = row[0]
        if fields:
            Import.objects.filter(pk=self.import_id).update(updated_at=Now(), **fields)

    def stage(self, one: Import) -> Stage:
        """Return the staging tables.

        Raises:
            NoStage: they are gone.
        """
        return Stage.open(one.run_id or "", tenant_id=self.tenant_id)


#: State and step → what does the next piece of it; it returns the next step, the same, or "".
Step = Callable[[Job], str]
STEPS: dict[tuple[str, str], Step] = {
    ("checking", "copy"): checking.copy,
    ("checking", "read"): checking.read,
    ("checking", "match"): checking.match,
    ("checking", "report"): checking.report,
    ("importing", "copy"): checking.copy,
    ("importing", "read"): checking.read,
    ("importing", "match"): applying.match,
    ("importing", "write"): applying.write,
    ("importing", "after"): applying.after,
    ("importing", "mark"): applying.mark,
    ("importing", "score"): applying.score,
    ("importing", "report"): applying.report,
    ("undoing", "created"): undoing.created,
    ("undoing", "changed"): undoing.changed,
}
#: State → the state when its last step is done.
ENDS = {"checking": "checked", "importing": "imported", "undoing": "undone"}


def due() -> list[tuple[str, str]]:
    """Return (tenant, import) of all that should be worked on and no process is at."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM imports_due()")
        return [(to_text("tenant", a), to_text("import", b)) for a, b in cursor.fetchall()]


def work(
    tenant_id: str, import_id: str, *, seconds: float | None = None, connections: int = 1
) -> str:
    """Go on with an import until it is done, stopped, or the time is over; return its state.

    Args:
        tenant_id: ``tenant_…``.
        import_id: ``import_…`` of it.
        seconds: the longest it may take; None: until it is done.
        connections: how many write at once.

    Returns:
        The state it is in now; one of ``ACTIVE``: call again (another process may be at it).
    """
    begun = time.monotonic()
    job = _claim(tenant_id, import_id, connections)
    while job is not None:
        try:
            more = _piece(job, None if seconds is None else begun + seconds)
        except Taken:
            break
        except NoStage:
            _lost_stage(job)
            continue
        except UnreadableFile as error:
            _fail(job, str(error))
            break
        except Exception as error:
            if is_passing(error):
                _release(job)
                raise
            logger.exception("an import failed", import_id=import_id)
            _fail(job, f"{type(error).__name__}: {error}")
            raise
        if not more:
            break
    return _state_of(tenant_id, import_id)


def _claim(tenant_id: str, import_id: str, connections: int) -> Job | None:
    with tenant_context(tenant_id, durable=True), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE imports SET lease_until = clock_timestamp() + make_interval(secs => %s)"
            " WHERE id = %s"
            " AND state = ANY(%s) AND (lease_until IS NULL OR lease_until < clock_timestamp())"
            " RETURNING state, lease_until",
            [LEASE_S, to_uuid(import_id), list(ACTIVE)],
        )
        row = cursor.fetchone()
    if row is None:
        return None
    return Job(
        tenant_id=tenant_id,
        import_id=import_id,
        state=row[0],
        token=row[1],
        connections=connections,
    )


def _piece(job: Job, end: float | None) -> bool:
    """Do one piece; return whether there is more to do now."""
    with job.inside():
        one = job.load()
        step, run = one.step, one.undo_run if job.state == "undoing" else one.run
        is_long = step in LONG_STEPS
        if end is not None and time.monotonic() > end - (LONG_STEP_S if is_long else 0.0):
            _let_go(job)
            return False
        job.renew(LONG_LEASE_S if is_long else LEASE_S)
    with correlated(run.correlation_id if run else ""):
        following = STEPS[job.state, step](job)
        with job.inside():
            if following:
                job.renew(step=following)
                return True
            _end(job)
    if job.state == "importing":
        job.stage(one).drop()
    return False


def _end(job: Job) -> None:
    job.renew()
    Import.objects.filter(pk=job.import_id).update(
        state=ENDS[job.state], lease_until=None, updated_at=Now(), finished_at=Now()
    )
    one = job.load()
    run = one.undo_run if job.state == "undoing" else one.run
    if run is not None:
        end_run(run.pk, status="completed", stats=figures(one))


def _fail(job: Job, error: str) -> None:
    with job.inside():
        failed = Import.objects.filter(
            pk=job.import_id, state=job.state, lease_until=job.token
        ).update(state="failed", error=error[:2000], lease_until=None, updated_at=Now())
        if failed:
            one = job.load()
            run = one.undo_run if job.state == "undoing" else one.run
            if run is not None:
                end_run(run.pk, status="failed", stats=figures(one), error=error[:2000])


def _lost_stage(job: Job) -> None:
    """Begin again where the staging tables are gone: they do not outlive a crash of PostgreSQL.

    What was written stays; those rows will be found as they are.
    """
    logger.warning("the staging tables of an import are gone", import_id=job.import_id)
    with job.inside():
        one = job.load()
        again = f"{job.state}:{one.step}"
        if job.seen.get("lost") == again:
            raise RuntimeError("the staging tables disappear again and again")
        job.seen["lost"] = again
        job.rows = None
        job.renew(done=0, step="copy")


def _let_go(job: Job) -> None:
    Import.objects.filter(pk=job.import_id, lease_until=job.token).update(lease_until=None)


def _release(job: Job) -> None:
    with job.inside():
        _let_go(job)


def _state_of(tenant_id: str, import_id: str) -> str:
    with tenant_context(tenant_id):
        return str(Import.objects.values_list("state", flat=True).get(pk=import_id))
