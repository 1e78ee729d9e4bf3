"""What can be wrong with webhooks and their work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db import connection

from integrations import checks_money  # noqa: F401  # registers its own
from integrations.models import ReconcileRun, WebhookWork
from integrations.pauses import spools_waited_for, words
from integrations.silence import silent_integrations
from pipelines.incidents import Problem, check
from pipelines.models import DeadLetter

#: A webhook that waits longer than this, in seconds, is late; the second is critical.
LAG_S, LAG_CRITICAL_S = 60, 300
#: A dead letter older than this, in seconds, has been overlooked; the second is critical.
LETTER_S, LETTER_CRITICAL_S = 3600, 24 * 3600
#: Work in quarantine, or an event nobody claims, waits at most this long, in seconds.
QUARANTINE_S = 24 * 3600
#: Months for which partitions are made ahead; fewer are a warning, none is critical.
MONTHS_AHEAD = 2


@check("queue_lag")
def queue_lag() -> Iterator[Problem]:
    """Webhooks wait too long: no drain runs, or too few do."""
    seconds = _waits("ready")
    if seconds > LAG_S:
        yield Problem(
            title=f"Webhooks wait {_span(seconds)} to be processed",
            advice="Look whether a worker runs (manage.py worker) and start more drains.",
            path="webhooks/?status=ready",
            severity="critical" if seconds > LAG_CRITICAL_S else "warning",
        )


@check("dead_letter_age")
def dead_letter_age() -> Iterator[Problem]:
    """Something ran out of attempts and nobody decided about it."""
    oldest = (
        DeadLetter.objects.filter(status="open")
        .order_by("id")
        .values_list("created_at", flat=True)
        .first()
    )
    seconds = _since(oldest)
    if seconds > LETTER_S:
        yield Problem(
            title=f"The oldest dead letter waits {_span(seconds)}",
            advice="Read what it died of, then retry or discard it.",
            path="failures/",
            severity="critical" if seconds > LETTER_CRITICAL_S else "warning",
        )


@check("quarantine_age")
def quarantine_age() -> Iterator[Problem]:
    """Withheld work was forgotten; automation to those people waits as long."""
    seconds = _waits("quarantined")
    if seconds > QUARANTINE_S:
        yield Problem(
            title=f"Work is in quarantine for {_span(seconds)}",
            advice="Release it or discard it: automated texts to those people wait for it.",
            path="failures/?tab=quarantine",
        )


@check("silent_source")
def silent_source() -> Iterator[Problem]:
    """A sender that used to talk says nothing: its webhook may have been switched off there."""
    for one in silent_integrations():
        yield Problem(
            subject=one.integration.pk,
            title=f"{one.integration.name} has been silent for {_span(one.minutes * 60)}",
            advice="Send a test event, look at the webhook at the vendor, and reconcile.",
            path=f"integrations/{one.integration.pk}/",
        )


@check("reconcile_failed")
def reconcile_failed() -> Iterator[Problem]:
    """The newest comparison with a vendor's list failed: what it dropped stays unknown."""
    newest = (
        ReconcileRun.objects.exclude(status="running")
        .order_by("tenant", "integration", "job_name", "-id")
        .distinct("tenant", "integration", "job_name")
        .select_related("integration")
    )
    for run in newest:
        if run.status == "failed" and run.integration.enabled:
            yield Problem(
                subject=f"{run.integration_id}:{run.job_name}",
                title=f"Reconciling {run.integration.name} failed",
                advice=run.error[:300] or "Look at the run.",
                path=f"integrations/{run.integration_id}/",
            )


@check("sends_paused")
def texts_wait() -> Iterator[Problem]:
    """A web host may hold what people wrote while the database was away: no text goes meanwhile."""
    if reason := words():
        yield Problem(
            title="No text goes out",
            advice=f"{reason}. It ends by itself when the host is back; a host that never comes"
            " back must be retired by platform staff.",
            severity="critical",
        )


@check("spool", of_platform=True)
def spools() -> Iterator[Problem]:
    """The same, host by host, for those who can do something about it."""
    for host in spools_waited_for():
        yield Problem(
            subject=str(host.host),
            title=f"All texts wait for web host {host.name}",
            advice="Start it again, or retire it when it never comes back.",
            path="hosts/",
            severity="critical",
        )


@check("partitions", of_platform=True)
def partitions() -> Iterator[Problem]:
    """Webhook events are kept by month, and the months ahead must exist."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT months_ahead, default_partition_rows FROM health_counts()")
        ahead, strays = cursor.fetchone()
    advice = "Run manage.py shell -c 'from config.schedules import make_partitions as m; m()'."
    if ahead < MONTHS_AHEAD:
        yield Problem(
            subject="ahead",
            title=f"Partitions of webhook events exist for {ahead} month(s) ahead",
            advice=f"The daily schedule that makes them does not run. {advice}",
            severity="critical" if ahead == 0 else "warning",
        )
    if strays:
        yield Problem(
            subject="default",
            title="Webhook events lie in the default partition",
            advice="They arrived in a month without a partition; docs/OPERATIONS.md says more.",
        )


@check("unassigned", of_platform=True)
def unassigned() -> Iterator[Problem]:
    """Events that no tenant claims wait for somebody to say whose they are."""
    seconds = _waits("quarantined")
    if seconds > 0:
        yield Problem(
            title=f"Webhooks that no tenant claims wait since {_span(seconds)}",
            advice="Assign them to a tenant, or discard them.",
            path="unassigned/",
        )


def _waits(state: str) -> float:
    """Return for how long, in seconds, the oldest work in *state* has waited; 0: there is none."""
    work = WebhookWork.objects.filter(state=state).order_by("available_at")
    return _since(work.values_list("available_at", flat=True).first())


def _since(moment: datetime | None) -> float:
    """Return the age of a moment, in seconds by the database's clock; 0: there is none."""
    if moment is None:
        return 0.0
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp() - %s::timestamptz)", [moment])
        return float(cursor.fetchone()[0])


def _span(seconds: float) -> str:
    """Say a length of time in words: ``4 minutes``, ``3 hours``, ``2 days``."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'s' if number != 1 else ''}"
    return "less than a minute"
