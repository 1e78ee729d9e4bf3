"""Sources that should have told us something by now, and when their lists were last read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import (
    DateTimeField,
    DurationField,
    ExpressionWrapper,
    F,
    QuerySet,
    Value,
)
from django.db.models.functions import Coalesce, Now

from integrations.models import Integration, ReconcileRun


@dataclass(frozen=True, kw_only=True)
class Silence:
    """An integration that has been silent for longer than it may be."""

    integration: Integration
    since: datetime  # of its last webhook, or of its making
    minutes: int  # whole minutes that it has been silent


def silent_integrations() -> list[Silence]:
    """Return the running tenant's sources that are silent for too long, the longest first."""
    allowed = ExpressionWrapper(
        F("silence_minutes") * Value(timedelta(minutes=1)), output_field=DurationField()
    )
    silent = (
        Integration.objects.filter(enabled=True, silence_minutes__isnull=False)
        .annotate(
            heard=Coalesce("last_event_at", "created_at"),
            deadline=ExpressionWrapper(F("heard") + allowed, output_field=DateTimeField()),
            now=Now(),
        )
        .filter(deadline__lt=Now())
        .order_by("heard", "id")
    )
    return [
        Silence(
            integration=one,
            since=one.heard,
            minutes=int((one.now - one.heard).total_seconds() // 60),
        )
        for one in silent
    ]


def last_reconciles() -> dict[str, ReconcileRun]:
    """Return the newest run of each of the running tenant's integrations, by ``intg_…``."""
    runs: QuerySet[ReconcileRun] = ReconcileRun.objects.order_by("integration_id", "-id")
    return {run.integration_id: run for run in runs.distinct("integration_id")}
