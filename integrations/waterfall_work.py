"""The waterfall at work: slices of it by the clock, answers by webhook, letters tried again."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import structlog
from django.db import connection
from django.db.models import Count, F, Sum
from django.db.models.functions import Now

from integrations.events import VendorAnswered
from integrations.ledger import settle_silent
from integrations.models import Enrichment, VendorAnswer, VendorCall
from integrations.models.waterfall import OPEN_STATES
from integrations.processing import Source
from integrations.waterfall import Claim, advance, claim, mine
from integrations.waterfall_calls import BY_WEBHOOK, ask_of, read_told
from integrations.waterfall_ends import close_letters, finish, wait_until
from integrations.waterfall_record import Reply, take
from leads.models import Lead
from pipelines.actions import end_run
from pipelines.models import DeadLetter, PipelineRun
from tenants.context import database_now, is_passing, tenant_context
from tenants.correlation import correlated
from tenants.ulids import to_text

PIPELINE = "waterfall"
#: Enrichments of a tenant that are under way at once in one process.
AT_ONCE = 4
#: Seconds that a task works at most; the next one goes on.
SLICE_S = 40.0
#: Due letters tried again in one slice.
LETTERS = 50

logger = structlog.get_logger(__name__)


def due() -> list[str]:
    """Return the tenants, all of them looked at, with something to go on with."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_enrichments()")
        return [to_text("tenant", row[0]) for row in cursor.fetchall()]


def work(
    tenant_id: str,
    *,
    seconds: float = SLICE_S,
    at_once: int = AT_ONCE,
    stop: threading.Event | None = None,
) -> int:
    """Bring a tenant's due enrichments on until none is due; return how many were taken up.

    Args:
        tenant_id: ``tenant_…``.
        seconds: the longest it takes up new ones.
        at_once: enrichments under way at once; 0: one by one, in this thread.
        stop: takes up no more.
    """
    stop = stop or threading.Event()
    end = time.monotonic() + seconds
    settle_silent(tenant_id)
    retry_letters(tenant_id)
    if at_once:
        taken = _work_at_once(tenant_id, at_once, end, stop)
    else:
        taken = 0
        while not stop.is_set() and time.monotonic() < end:
            claims = claim(tenant_id, most=1)
            if not claims:
                break
            taken += 1
            _advance(claims[0])
    close_runs(tenant_id)
    return taken


def _work_at_once(tenant_id: str, at_once: int, end: float, stop: threading.Event) -> int:
    taken = 0
    with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="waterfall") as pool:
        flying: set[Future[None]] = set()
        while not stop.is_set() and time.monotonic() < end:
            claims = claim(tenant_id, most=at_once - len(flying))
            taken += len(claims)
            flying |= {pool.submit(_in_thread, one) for one in claims}
            if not flying:
                break
            flying = wait(flying, return_when=FIRST_COMPLETED).not_done
    return taken


def _in_thread(one: Claim) -> None:
    try:
        _advance(one)
    finally:
        connection.close()


def _advance(one: Claim) -> None:
    """Advance, so that one lead's trouble is not that of the others."""
    try:
        advance(one)
    except Exception as error:
        if is_passing(error):
            logger.warning("an enrichment was interrupted", enrichment=one.enrichment_id)
            connection.close()
            return  # its lease ends, and it is taken up again
        logger.exception("an enrichment failed in a way nobody foresaw", id=one.enrichment_id)
        _set_aside(one, error)


def _set_aside(one: Claim, error: Exception) -> None:
    """End an enrichment that our own code fails on: its letter is tried again later.

    A call that was in flight stays open, and is unknown in time.
    """
    with tenant_context(one.tenant_id, durable=True):
        enrichment = mine(one)
        if enrichment is not None:
            finish(enrichment, state="failed", error=f"{type(error).__name__}: {error}")


# --- answers by webhook -----------------------------------------------------------------------


def answer_came(event: VendorAnswered, source: Source) -> str:
    """Take a vendor's answer in the transaction of its webhook; return what became of it.

    Only an answer to a call of this account that is still pending changes anything: these webhooks
    are not signed, and may come twice.
    """
    asked = VendorAnswer.objects.filter(result="pending", request_id=event.external_id)
    calls = VendorCall.objects.filter(integration=source.integration_id)
    paid = (
        calls.filter(pk__in=asked.values("call"))
        .exclude(answers__is_final=True)
        .select_related("integration", "stage", "point")
        .order_by("-id")
        .first()
    )
    if paid is None or paid.stage is None or paid.enrichment_id is None:
        return "it answers nothing that was asked"
    enrichment = Enrichment.objects.select_for_update(no_key=True, of=("self",)).get(
        pk=paid.enrichment_id
    )
    if VendorAnswer.objects.filter(call=paid, is_final=True).exists():
        return "it was answered before"
    lead = Lead.objects.get(pk=enrichment.lead_id)
    ask = ask_of(
        paid.integration,
        kind=paid.stage.kind,
        service_key=paid.service,
        lead=lead,
        address=paid.point.normalized if paid.point else "",
        point_id=paid.point_id,
        is_new=False,
    )
    result = read_told(ask, event.result, event.external_id)
    if result.kind not in ("hit", "miss"):
        return f"it says {result.kind}"
    reply = Reply(
        result=result,
        kind=result.kind,
        body=json.dumps(dict(event.result), ensure_ascii=False).encode(),
        how=BY_WEBHOOK,
    )
    with correlated(enrichment.correlation_id):
        take(enrichment, lead, paid, ask, reply)
    if enrichment.state in ("parked", "held", "queued"):
        wait_until(enrichment, "queued", database_now())
    return f"{paid.stage.name}: {result.kind}"


# --- letters and runs -------------------------------------------------------------------------


def retry_letters(tenant_id: str) -> int:
    """Queue anew the dead enrichments whose time has come; return how many."""
    with tenant_context(tenant_id, durable=True):
        due_letters = DeadLetter.objects.filter(
            stage__in=["enrich", "verify"], status="open", retry_after__lte=Now()
        )
        refs = list(due_letters.order_by("retry_after").values_list("ref", flat=True)[:LETTERS])
        return requeue(refs)


def requeue(enrichment_ids: list[str]) -> int:
    """Queue dead enrichments again in the running transaction; return how many.

    The letter stays, and is closed only by work that was done. A lead that is on its way in another
    enrichment is not sent a second time: its letter is closed.
    """
    queued = 0
    for enrichment in (
        Enrichment.objects.select_for_update(no_key=True, of=("self",))
        .filter(pk__in=enrichment_ids, state="failed")
        .order_by("id")
    ):
        others = Enrichment.objects.filter(lead=enrichment.lead_id, state__in=OPEN_STATES)
        if others.exists():
            close_letters(enrichment.pk, status="discarded", reason="the lead is on its way again")
            continue
        steps = [step for step in enrichment.steps if not step.get("end")]
        Enrichment.objects.filter(pk=enrichment.pk).update(
            state="queued",
            steps=steps,
            finished_at=None,
            available_at=Now(),
            lease_until=None,
            updated_at=Now(),
        )
        DeadLetter.objects.filter(
            ref=enrichment.pk, stage__in=["enrich", "verify"], status="open"
        ).update(status="retrying", retries=F("retries") + 1, retry_after=None, updated_at=Now())
        PipelineRun.objects.filter(pk=enrichment.run_id, status="completed").update(
            status="running", finished_at=None
        )
        queued += 1
    return queued


def close_runs(tenant_id: str) -> None:
    """End the runs of which no lead is on its way any more."""
    with tenant_context(tenant_id, durable=True):
        runs = PipelineRun.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
        for run in runs.filter(pipeline_name=PIPELINE, status="running"):
            rows = Enrichment.objects.filter(run=run)
            if not rows.filter(state__in=OPEN_STATES).exists():
                end_run(run.pk, status="completed", stats=run.stats | figures(run.pk))


def figures(run_id: str) -> dict[str, int]:
    """Return how far a run came: leads by state, cents spent and saved."""
    rows = Enrichment.objects.filter(run=run_id)
    by_state = dict(rows.order_by().values_list("state").annotate(many=Count("pk")))
    money = rows.aggregate(cost=Sum("cost_cents"), saved=Sum("saved_cents"))
    return by_state | {"cost_cents": money["cost"] or 0, "saved_cents": money["saved"] or 0}
