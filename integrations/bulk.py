"""One action on a whole selection: at once where it is small, else chunk by chunk in the background.

The run's row is the ledger: it says what is asked, how far it came, and whether somebody stopped
it. Any drain process takes the next chunk; a process that dies loses at most that chunk's work.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now

from integrations.actions_replay import replay_work
from integrations.actions_work import WorkRefused, discard_work, release_work, retry_work
from integrations.selections import Selection, SelectionChanged, read_part, recount
from pipelines.models import PipelineRun
from tenants.actions import note
from tenants.context import is_passing, tenant_context
from tenants.correlation import correlated, correlation_id
from tenants.ulids import to_text

PIPELINE = "bulk_work"
#: Up to this many pieces are done in the request itself, in one transaction.
AT_ONCE = 500
#: Pieces of one transaction in the background.
CHUNK = 200

ACTIONS: dict[str, Callable[..., int]] = {
    "retry": retry_work,
    "discard": discard_work,
    "release": release_work,
    "replay": replay_work,
}
#: Action → the kind of selection it is for, and whether it needs a reason.
MEANT_FOR = {
    "retry": ({"letters"}, False),
    "discard": ({"letters", "withheld"}, True),
    "release": ({"withheld"}, True),
    "replay": ({"events"}, False),
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a bulk action: done at once, or a run that does it."""

    done: int = 0
    run_id: str = ""


@transaction.atomic
def act_on(action: str, selection: Selection, *, actor_id: str, reason: str = "") -> Outcome:
    """Do *action* to exactly the work a person was shown.

    Raises:
        SelectionChanged: another number matches now; nothing was done.
        WorkRefused: it makes no sense as asked; nothing was done.
    """
    kinds, needs_reason = MEANT_FOR[action]
    reason = reason.strip()[:500]
    if selection.kind not in kinds:
        raise WorkRefused("That cannot be done to these.")
    if needs_reason and not reason:
        raise WorkRefused("Say why; the reason is kept with every event.")
    if selection.is_too_large:
        raise WorkRefused("These are too many at once: narrow the filter.")
    now = recount(selection)
    if now != selection.count:
        raise SelectionChanged(selection.count, now)
    if selection.count > AT_ONCE:
        return Outcome(run_id=_begin(action, selection, actor_id=actor_id, reason=reason).pk)
    seqs = [seq for _, seq in read_part(selection, most=AT_ONCE)]
    with transaction.atomic():
        done = ACTIONS[action](seqs, actor_id=actor_id, reason=reason)
        if done != selection.count:  # somebody was faster, between the count and the locks
            raise SelectionChanged(selection.count, done)
    return Outcome(done=done)


def _begin(action: str, selection: Selection, *, actor_id: str, reason: str) -> PipelineRun:
    run = PipelineRun.objects.create(
        pipeline_name=PIPELINE,
        trigger_type="person",
        correlation_id=correlation_id(),
        stats={
            "action": action,
            "selection": asdict(selection),
            "actor": actor_id,
            "reason": reason,
            "total": selection.count,
            "done": 0,
            "skipped": 0,
            "after": "",
        },
    )
    note(f"work.{action}_begun", actor_id=actor_id, subject=run, after=run.stats, reason=reason)
    return run


@transaction.atomic
def cancel_run(run_id: str, *, actor_id: str) -> bool:
    """Stop a bulk run after the chunk it is at; return whether it was running."""
    stopped = PipelineRun.objects.filter(
        pk=run_id, pipeline_name=PIPELINE, status="running"
    ).update(status="cancelled", finished_at=Now())
    if stopped:
        note("work.run_cancelled", actor_id=actor_id, subject=PipelineRun(pk=run_id))
    return bool(stopped)


@transaction.atomic
def resume_run(run_id: str, *, actor_id: str) -> bool:
    """Go on with a bulk run that was stopped or failed, where it stopped; return whether it was."""
    resumed = PipelineRun.objects.filter(
        pk=run_id, pipeline_name=PIPELINE, status__in=["cancelled", "failed"]
    ).update(status="running", finished_at=None, error="")
    if resumed:
        note("work.run_resumed", actor_id=actor_id, subject=PipelineRun(pk=run_id))
    return bool(resumed)


def work_on_selections() -> int:
    """Do the next chunk of one bulk run of each tenant; return how many pieces were looked at."""
    looked_at = 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_bulk_work()")
        tenants = [to_text("tenant", row[0]) for row in cursor.fetchall()]
    for tenant_id in tenants:
        looked_at += _next_chunk(tenant_id)
    return looked_at


def _next_chunk(tenant_id: str) -> int:
    run_id = ""
    try:
        with tenant_context(tenant_id, durable=True):
            run = (
                PipelineRun.objects.select_for_update(skip_locked=True, of=("self",))
                .filter(pipeline_name=PIPELINE, status="running")
                .order_by("id")
                .first()
            )
            if run is None:  # another process is at it
                return 0
            run_id = run.pk
            with correlated(run.correlation_id):
                return _chunk(run)
    except Exception as error:
        if is_passing(error) or not run_id:
            raise
        with tenant_context(tenant_id, durable=True):
            PipelineRun.objects.filter(pk=run_id, status="running").update(
                status="failed", finished_at=Now(), error=f"{type(error).__name__}: {error}"[:2000]
            )
        return 0


def _chunk(run: PipelineRun) -> int:
    stats: dict[str, Any] = run.stats
    selection = Selection(**stats["selection"])
    part: Sequence[tuple[str, int]] = read_part(selection, after=stats["after"], most=CHUNK)
    if part:
        done = ACTIONS[stats["action"]](
            [seq for _, seq in part], actor_id=stats["actor"], reason=stats["reason"]
        )
        stats["done"] += done
        stats["after"] = part[-1][0]
    if len(part) < CHUNK:
        # What left the selection meanwhile was settled by somebody else.
        stats["skipped"] = max(stats["total"] - stats["done"], 0)
        run.status = "completed"
        run.finished_at = Now()
    run.save(update_fields=["stats", "status", "finished_at"])
    return len(part)
