"""Every write to the runs: a run is begun, then ended once, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models.functions import Now

from pipelines.models import PipelineRun
from tenants.context import tenant_context
from tenants.correlation import correlated, correlation_id

#: What a run says that was still running when the next of its kind began.
ABANDONED = "The process ended before the run did"


def record_run(
    tenant_id: str, pipeline: str, work: Callable[[], dict[str, Any]], *, trigger: str = "schedule"
) -> dict[str, Any]:
    """Do *work* in a transaction of its own and keep a run of it, returning its stats.

    The run is visible while the work goes on and outlives its failure. Only one process at a time
    may record runs of one pipeline (the task queue sees to that): older open runs are closed.

    Raises:
        Exception: what *work* raised; its writes are rolled back and the run is failed.
    """
    with correlated() as correlation:
        with tenant_context(tenant_id, durable=True):
            runs = PipelineRun.objects.filter(pipeline_name=pipeline, status="running")
            runs.update(status="failed", finished_at=Now(), error=ABANDONED)
            run = PipelineRun.objects.create(
                pipeline_name=pipeline, trigger_type=trigger, correlation_id=correlation
            )
        try:
            with tenant_context(tenant_id, durable=True):
                stats = work()
        except Exception as error:
            _end(tenant_id, run, status="failed", error=f"{type(error).__name__}: {error}")
            raise
        _end(tenant_id, run, status="completed", stats=stats)
    return stats


def _end(tenant_id: str, run: PipelineRun, **result: Any) -> None:
    with tenant_context(tenant_id, durable=True):
        PipelineRun.objects.filter(pk=run.pk, status="running").update(finished_at=Now(), **result)


def begin_run(pipeline: str, *, trigger: str) -> PipelineRun:
    """Begin a run whose work goes on over many transactions; ``end_run`` ends it."""
    return PipelineRun.objects.create(
        pipeline_name=pipeline, trigger_type=trigger, correlation_id=correlation_id()
    )


def end_run(run_id: str, *, status: str, stats: dict[str, Any], error: str = "") -> None:
    """End a run in the running transaction: ``completed``, ``failed`` or ``cancelled``."""
    PipelineRun.objects.filter(pk=run_id, status="running").update(
        status=status, stats=stats, error=error, finished_at=Now()
    )
