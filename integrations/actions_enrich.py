"""What people do with leads in the waterfall: start, stop, go on, try again, settle unknowns."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django_q.tasks import async_task

from integrations.ledger import Settlement, settle
from integrations.models import Enrichment, VendorAnswer, VendorCall
from integrations.models.waterfall import OPEN_STATES
from integrations.waterfall_plan import stages
from integrations.waterfall_work import PIPELINE, figures, requeue
from leads.actions import owner, sql_id
from leads.models import Import, Lead
from pipelines.actions import begin_run
from pipelines.models import PipelineRun
from tenants.actions import note
from tenants.context import current_tenant_id
from tenants.ulids import to_text

#: Most leads of one run.
MAX_LEADS = 100_000


class EnrichmentRefused(Exception):
    """It makes no sense as asked, in words for the person who asked; nothing was written."""


@transaction.atomic
def start(
    lead_ids: Iterable[str],
    *,
    actor_id: str | None,
    trigger: str = "manual",
    expected: int | None = None,
) -> PipelineRun:
    """Send leads down the waterfall; who is on the way already, or was merged, is left out.

    Args:
        lead_ids: ``lead_…`` of the running tenant, at most ``MAX_LEADS``; others are left out.
        actor_id: who pays.
        trigger: manual, import, pull, api or schedule.
        expected: how many the person was shown; another number is refused.

    Returns:
        The run; its stats say how many leads it took.

    Raises:
        EnrichmentRefused: too many, none that can go, none of the stages is on, or not as expected.
    """
    ids = sorted({str(sql_id(one)) for one in lead_ids})
    if len(ids) > MAX_LEADS:
        raise EnrichmentRefused(f"A run takes at most {MAX_LEADS:,} leads.")
    if not stages():
        raise EnrichmentRefused("No stage is switched on. Set up the waterfall first.")
    run = begin_run(PIPELINE, trigger=trigger)
    taken = _enqueue(run, ids, actor_id)
    if not taken:
        raise EnrichmentRefused("None of these leads can go: all are on their way already.")
    if expected is not None and expected != taken:
        raise EnrichmentRefused(
            f"{taken:,} leads can go now, and you were shown {expected:,}. Look again."
        )
    run.stats = {"leads": taken}
    run.save(update_fields=["stats"])
    note("enrichment.started", actor_id=actor_id, subject=run, after={"leads": taken})
    wake()
    return run


def enrich_import(import_id: str, run_id: str) -> list[PipelineRun]:
    """Send the leads that a file made down the waterfall, as was asked when it was confirmed.

    What cannot start is noted at the import, which is done all the same.
    """
    ids = list(Lead.objects.filter(run=run_id, superseded_at=None).values_list("pk", flat=True))
    runs = []
    for at in range(0, len(ids), MAX_LEADS):
        try:
            with transaction.atomic():
                runs.append(start(ids[at : at + MAX_LEADS], actor_id=None, trigger="import"))
        except EnrichmentRefused as refused:
            subject = Import(pk=import_id)
            note("import.not_enriched", actor_id=None, subject=subject, reason=str(refused))
    return runs


def _enqueue(run: PipelineRun, ids: list[str], actor_id: str | None) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO enrichments (tenant_id, id, lead_id, run_id, state, position, attempts,"
            "                         cost_cents, saved_cents, steps, error, actor_id,"
            "                         correlation_id, score_before)"
            " SELECT l.tenant_id, ulid_new(), l.id, %(run)s, 'queued', 0, 0, 0, 0, '[]', '',"
            "        %(actor)s, %(correlation)s,"
            "        (SELECT s.score FROM lead_scores AS s"
            "         WHERE s.tenant_id = l.tenant_id AND s.lead_id = l.id)"
            " FROM leads AS l"
            " WHERE l.tenant_id = %(owner)s AND l.id = ANY(%(ids)s::uuid[])"
            "   AND l.superseded_at IS NULL"
            " ON CONFLICT DO NOTHING RETURNING lead_id",
            {
                "run": sql_id(run.pk),
                "actor": sql_id(actor_id),
                "correlation": run.correlation_id,
                "owner": owner(),
                "ids": ids,
            },
        )
        taken = [row[0] for row in cursor.fetchall()]
        cursor.execute(
            "UPDATE leads SET enrichment_status = 'queued'"
            " WHERE tenant_id = %s AND id = ANY(%s::uuid[])",
            [owner(), taken],
        )
    return len(taken)


def startable(lead_ids: Iterable[str]) -> list[str]:
    """Return those of these leads that ``start`` would take now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT l.id FROM leads AS l WHERE l.tenant_id = %s AND l.id = ANY(%s::uuid[])"
            " AND l.superseded_at IS NULL AND NOT EXISTS (SELECT FROM enrichments AS e"
            "     WHERE e.tenant_id = l.tenant_id AND e.lead_id = l.id AND e.state = ANY(%s))",
            [owner(), [str(sql_id(one)) for one in lead_ids], OPEN_STATES],
        )
        return [to_text("lead", row[0]) for row in cursor.fetchall()]


def wake() -> None:
    """Have the running tenant's waterfall go on as soon as the transaction is committed."""
    tenant_id = current_tenant_id()
    transaction.on_commit(lambda: async_task("integrations.tasks.enrich_one", tenant_id))


@transaction.atomic
def cancel(run_id: str, *, actor_id: str | None) -> int:
    """Stop a run: nothing more is bought; what is in flight or promised is still taken in.

    Returns:
        How many leads will not go on.

    Raises:
        EnrichmentRefused: it is over, or no run of the waterfall.
    """
    run = _run(run_id, "running")
    rows = Enrichment.objects.filter(run=run)
    idle = list(
        rows.filter(state__in=["queued", "held"], lease_until=None)
        .select_for_update(no_key=True, of=("self",))
        .order_by("id")
        .values_list("pk", "lead_id")
    )
    pending = VendorCall.objects.filter(enrichment__run=run).exclude(answers__is_final=True)
    waiting = set(pending.values_list("enrichment", flat=True))
    ends = [(one, lead) for one, lead in idle if one not in waiting]
    rows.filter(pk__in=[one for one, _ in ends]).update(
        state="cancelled", error="its run was cancelled", finished_at=Now(), updated_at=Now()
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE leads SET enrichment_status ="
            " CASE WHEN last_enriched_at IS NULL THEN 'none' ELSE 'done' END"
            " WHERE tenant_id = %s AND id = ANY(%s::uuid[])",
            [owner(), [str(sql_id(lead)) for _, lead in ends]],
        )
    PipelineRun.objects.filter(pk=run.pk).update(
        status="cancelled", finished_at=Now(), stats=run.stats | figures(run.pk)
    )
    note("enrichment.cancelled", actor_id=actor_id, subject=run, after={"stopped": len(ends)})
    return len(ends)


@transaction.atomic
def resume(run_id: str, *, actor_id: str | None) -> int:
    """Go on with a cancelled run; what its leads did before is not done again. Return how many.

    Raises:
        EnrichmentRefused: it was not cancelled, or none of its leads can go on.
    """
    run = _run(run_id, "cancelled")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE enrichments AS e SET state = 'queued', finished_at = NULL, error = '',"
            " available_at = clock_timestamp(), lease_until = NULL, score_after = NULL,"
            " updated_at = clock_timestamp(), steps = coalesce("
            "     (SELECT jsonb_agg(s) FROM jsonb_array_elements(e.steps) AS s"
            "      WHERE s ->> 'end' IS NULL), '[]')"
            " WHERE e.tenant_id = %s AND e.run_id = %s AND e.state = 'cancelled'"
            " AND NOT EXISTS (SELECT FROM enrichments AS o WHERE o.tenant_id = e.tenant_id"
            "                 AND o.lead_id = e.lead_id AND o.state = ANY(%s))"
            " AND EXISTS (SELECT FROM leads AS l WHERE l.tenant_id = e.tenant_id"
            "             AND l.id = e.lead_id AND l.superseded_at IS NULL)",
            [owner(), sql_id(run.pk), OPEN_STATES],
        )
        many = cursor.rowcount
    if not many:
        raise EnrichmentRefused("None of its leads can go on.")
    PipelineRun.objects.filter(pk=run.pk).update(status="running", finished_at=None)
    note("enrichment.resumed", actor_id=actor_id, subject=run, after={"leads": many})
    wake()
    return many


@transaction.atomic
def retry_failed(run_id: str, *, actor_id: str | None) -> int:
    """Send the failed leads of a run down the rest of their way again; return how many.

    Raises:
        EnrichmentRefused: none failed, or all are on their way again.
    """
    run = _run(run_id, "running", "completed")
    failed = Enrichment.objects.filter(run=run, state="failed")
    many = requeue(list(failed.values_list("pk", flat=True)))
    if not many:
        raise EnrichmentRefused("There is nothing to try again.")
    note("enrichment.retried", actor_id=actor_id, subject=run, after={"leads": many})
    wake()
    return many


@transaction.atomic
def settle_unknown(
    call_id: str, *, was_billed: bool, cost_cents: int, reason: str, actor_id: str | None
) -> None:
    """Say what became of a call of which nobody knew: a person looked at the vendor's invoice.

    Without a bill the same is asked again; with one the answer is lost, and its stage passed over.

    Args:
        call_id: ``strace_…``.
        was_billed: whether the vendor took money.
        cost_cents: how much.
        reason: how the person knows.
        actor_id: who says so.

    Raises:
        EnrichmentRefused: it is no unknown call, no reason was given, or an odd amount.
    """
    reason = reason.strip().replace("\x00", "")[:300]
    if not reason:
        raise EnrichmentRefused("Say how you know: the next person will ask.")
    if not 0 <= cost_cents <= 1_000_000:
        raise EnrichmentRefused("The cost is 0 to 10,000 dollars.")
    call = VendorCall.objects.select_related("stage").filter(pk=call_id).first()
    last = VendorAnswer.objects.filter(call=call_id).order_by("-is_final", "-id").first()
    if call is None or last is None or last.result != "unknown":
        raise EnrichmentRefused("Somebody, or the vendor, has settled this call already.")
    cost = cost_cents if was_billed else 0
    verdict = Settlement(
        result="miss" if was_billed else "failed",
        cost_cents=cost,
        fresh_days=call.stage.fresh_days if call.stage else 0,
        error=f"settled by hand: {reason}",
    )
    if not settle(call.pk, verdict):
        raise EnrichmentRefused("Somebody, or the vendor, has settled this call already.")
    if call.enrichment_id:
        rows = Enrichment.objects.filter(pk=call.enrichment_id)
        rows.update(cost_cents=F("cost_cents") + cost)
        rows.filter(state="held").update(available_at=Now())
    note(
        "vendor_call.settled",
        actor_id=actor_id,
        subject=call,
        after={"was_billed": was_billed, "cost_cents": cost},
        reason=reason,
    )


def _run(run_id: str, *statuses: str) -> PipelineRun:
    run = (
        PipelineRun.objects.select_for_update(no_key=True)
        .filter(pk=run_id, pipeline_name=PIPELINE, status__in=statuses)
        .first()
    )
    if run is None:
        raise EnrichmentRefused("The run has gone on meanwhile. Load the page again.")
    return run
