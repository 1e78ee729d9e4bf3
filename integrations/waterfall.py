"""Leads on their way down the waterfall: gate, reserve, call, one commit, next stage.

An enrichment's row is its own ledger of steps. A stage is asked at most once for a lead in one
enrichment, so nothing can loop through a paid call, whatever is edited meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from django.db import connection

from integrations.ledger import (
    Cached,
    Cap,
    Purchase,
    Refused,
    Reserved,
    reserve,
)
from integrations.models import Enrichment, VendorAnswer, VendorCall, WaterfallStage
from integrations.transport import Answer, NoAnswer, NotWritten, call
from integrations.waterfall_calls import (
    BY_ANSWER,
    BY_POLL,
    Ask,
    CannotAsk,
    Result,
    ask_of,
    build,
    build_poll,
    read,
    read_poll,
)
from integrations.waterfall_ends import finish, later, wait_until
from integrations.waterfall_plan import (
    closed,
    facts_of,
    points_of,
    points_to_check,
    stages,
    stop_at,
)
from integrations.waterfall_record import (
    Reply,
    Settled,
    doubt,
    entry_for,
    entry_of,
    pass_over,
    settle_late,
    take,
    take_kept,
)
from leads.actions import owner
from leads.models import Lead
from pipelines.models import PipelineRun
from tenants.context import database_now, tenant_context
from tenants.correlation import correlated
from tenants.faultpoints import hit
from tenants.ulids import to_text

#: Seconds that a call may take, and for which a claimed enrichment is its process's alone.
CALL_S, LEASE_S = 20.0, 120.0
#: How long a vendor may take that answers later.
PATIENCE = timedelta(hours=24)
#: What is refused until a person acts, and what waits: reason → state of the enrichment.
HOLDS = {"cap": "held", "circuit": "held", "throttled": "queued", "in_flight": "queued"}

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An enrichment that is this process's until its lease ends, and the proof of it."""

    tenant_id: str
    enrichment_id: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Buy:
    """What a stage wants to ask now."""

    stage: WaterfallStage
    ask: Ask
    purchase: Purchase
    correlation: str


@dataclass(frozen=True, kw_only=True)
class Poll:
    """An answer that was promised and may be there now."""

    call: VendorCall
    ask: Ask
    request_id: str
    correlation: str


def claim(tenant_id: str, *, most: int) -> list[Claim]:
    """Take up to *most* enrichments of a tenant whose time has come."""
    with tenant_context(tenant_id, durable=True), connection.cursor() as cursor:
        cursor.execute("SELECT * FROM enrichments_claim(%s, %s, %s)", [owner(), most, LEASE_S])
        return [
            Claim(tenant_id=tenant_id, enrichment_id=to_text("enr", row[0]), attempt=row[1])
            for row in cursor.fetchall()
        ]


def advance(one: Claim) -> None:
    """Bring a claimed enrichment as far as it goes now: to its end, or to what it waits for."""
    while _step(one):
        pass


def _step(one: Claim) -> bool:
    """Do one thing; return whether there may be more to do now."""
    with tenant_context(one.tenant_id, durable=True):
        turn = _turn(one)
    if isinstance(turn, bool):
        return turn
    with correlated(turn.correlation):
        try:
            return _poll(one, turn) if isinstance(turn, Poll) else _buy(one, turn)
        except Settled:
            return True  # somebody else brought the answer: look again


def mine(one: Claim) -> Enrichment | None:
    """Lock a claimed enrichment; None when the lease ran out and somebody else has it."""
    return (
        Enrichment.objects.select_for_update(no_key=True, of=("self",))
        .filter(pk=one.enrichment_id, attempts=one.attempt, state="running")
        .first()
    )


# --- whose turn -------------------------------------------------------------------------------


def _turn(one: Claim) -> Buy | Poll | bool:
    """Say what to do next, in the running transaction. True: look again; False: nothing now."""
    enrichment = mine(one)
    if enrichment is None:
        return False
    lead = Lead.objects.get(pk=enrichment.lead_id)
    unsettled = _unsettled(enrichment)
    if unsettled is not None:
        return _go_on_with(enrichment, lead, *unsettled)
    run = PipelineRun.objects.filter(pk=enrichment.run_id).only("status").get()
    if run.status == "cancelled" or lead.superseded_at is not None:
        why = "its run was cancelled" if run.status == "cancelled" else "its lead was merged"
        finish(enrichment, state="cancelled", error=why)
        return False
    buy = _next_question(enrichment, lead)
    if buy is None:
        finish(enrichment, state="done")
        return False
    Enrichment.objects.filter(pk=enrichment.pk).update(
        steps=enrichment.steps,
        position=buy.stage.position,
        saved_cents=sum(step["saved"] for step in enrichment.steps),
    )
    return buy


def _unsettled(enrichment: Enrichment) -> tuple[VendorCall, VendorAnswer | None] | None:
    """Return the newest call of an enrichment that has no last word yet, and its answer so far."""
    newest = (
        VendorCall.objects.filter(enrichment=enrichment)
        .select_related("integration", "stage", "point")
        .order_by("-id")
        .first()
    )
    if newest is None:
        return None
    answer = VendorAnswer.objects.filter(call=newest).order_by("-is_final", "-id").first()
    return None if answer and answer.result != "pending" else (newest, answer)


def _go_on_with(
    enrichment: Enrichment, lead: Lead, paid: VendorCall, answer: VendorAnswer | None
) -> Poll | bool:
    if paid.stage is None:
        return False
    if answer is None:  # its process died: whether the vendor was asked, nobody knows
        lost = Reply(result=None, kind="ambiguous", error="its process died before it knew")
        return take(enrichment, lead, paid, None, lost)
    ask = ask_of(
        paid.integration,
        kind=paid.stage.kind,
        service_key=paid.service,
        lead=lead,
        address=paid.point.normalized if paid.point else "",
        point_id=paid.point_id,
        is_new=False,
    )
    return Poll(
        call=paid, ask=ask, request_id=answer.request_id, correlation=enrichment.correlation_id
    )


def _next_question(enrichment: Enrichment, lead: Lead) -> Buy | None:
    """Go through the stages in their order, up to one that wants to ask something."""
    bar = stop_at()
    for stage in stages():
        entry = entry_of(enrichment, stage.pk)
        if entry is not None and entry["did"] != "running":
            continue
        if entry is None:
            facts = facts_of(lead.pk)
            entry = entry_for(enrichment, stage, facts)
            if why := closed(stage.gate, facts, bar):
                entry.update(did="gate", why=why, saved=stage.price_cents)
                continue
        try:
            buy = _question(enrichment, stage, lead, entry)
        except CannotAsk as error:
            entry.update(did="skipped", why=str(error))
            continue
        if buy is not None:
            return buy
        entry["did"] = entry["found"] or "nothing"
    return None


def _question(
    enrichment: Enrichment, stage: WaterfallStage, lead: Lead, entry: dict[str, Any]
) -> Buy | None:
    """Return what *stage* asks now; None when it has nothing (more) to ask."""
    address, point_id = "", None
    if stage.kind != "enrich":
        way, most = stage.kind.removeprefix("verify_"), points_of(stage.gate)
        due = points_to_check(lead.pk, way, most)
        left = [one for one in due if one[0] not in entry["points"]]
        if not left or len(entry["points"]) >= most:
            return None
        point_id, address = left[0]
    ask = ask_of(
        stage.integration,
        kind=stage.kind,
        service_key=stage.service,
        lead=lead,
        address=address,
        point_id=point_id,
    )
    asked = ask.fingerprint
    if not asked:
        return None
    purchase = Purchase(
        integration_id=stage.integration_id,
        provider=stage.integration.provider,
        service=stage.service,
        fingerprint=asked,
        price_cents=stage.price_cents,
        caps=caps_of(stage),
        fresh_days=stage.fresh_days,
        cool_down_days=stage.cool_down_days if stage.kind == "enrich" else 0,
        lead_id=lead.pk,
        point_id=point_id,
        stage_id=stage.pk,
        enrichment_id=enrichment.pk,
    )
    return Buy(stage=stage, ask=ask, purchase=purchase, correlation=enrichment.correlation_id)


def caps_of(stage: WaterfallStage) -> tuple[Cap, ...]:
    """Return the caps of a stage, as its counters keep them."""
    scope = f"stage:{stage.pk}"
    return (
        Cap(scope=scope, calls=stage.daily_call_cap, cents=stage.daily_cents_cap),
        Cap(scope=scope, period="month", cents=stage.monthly_cents_cap),
    )


# --- asking -----------------------------------------------------------------------------------


def _buy(one: Claim, buy: Buy) -> bool:
    bought = reserve(one.tenant_id, buy.purchase)
    hit("waterfall.after_reserve")
    if isinstance(bought, Reserved):
        reply = _ask(buy, bought.call_id)
        hit("waterfall.after_call")
        return _record(one, bought.call_id, buy.ask, reply)
    with tenant_context(one.tenant_id, durable=True):
        enrichment = mine(one)
        if enrichment is None:
            return False
        if isinstance(bought, Cached):
            return take_kept(enrichment, buy.stage, buy.ask, bought)
        return _refused(enrichment, buy, bought)


def _refused(enrichment: Enrichment, buy: Buy, refusal: Refused) -> bool:
    if refusal.reason in HOLDS and refusal.until is not None:
        words = f"{buy.stage.name}: {refusal.reason} {refusal.detail}".strip()
        wait_until(enrichment, HOLDS[refusal.reason], refusal.until, words)
        return False
    if refusal.reason == "unknown" and refusal.call_id:
        paid = VendorCall.objects.select_related("stage").get(pk=refusal.call_id)
        if paid.enrichment_id == enrichment.pk:
            return doubt(enrichment, paid, "")
    pass_over(enrichment, buy.stage, refusal.reason, buy.ask.point_id)
    return True


def _ask(buy: Buy, call_id: str) -> Reply:
    """Make the call, outside of any transaction."""
    hit("waterfall.before_call")
    try:
        answer = call(build(buy.ask, call_id), deadline_s=CALL_S)
    except NotWritten as error:
        return Reply(result=None, kind="failed", error=str(error), was_made=False)
    except NoAnswer as error:
        return Reply(result=None, kind="ambiguous", error=str(error))
    return _reply(read(buy.ask, answer, call_id), answer, BY_ANSWER)


def _reply(result: Result, answer: Answer, how: str) -> Reply:
    return Reply(
        result=result,
        kind=result.kind,
        body=answer.body,
        how=how,
        http_status=answer.status,
        latency_ms=answer.latency_ms,
        error=result.error,
        retry_after_s=result.retry_after_s,
    )


def _record(one: Claim, call_id: str, ask: Ask, reply: Reply) -> bool:
    """Write an answer down with all that follows from it: one commit."""
    with tenant_context(one.tenant_id, durable=True):
        enrichment = mine(one)
        paid = VendorCall.objects.select_related("integration", "stage", "point").get(pk=call_id)
        if enrichment is None:
            settle_late(paid, ask, reply)
            return False
        lead = Lead.objects.get(pk=enrichment.lead_id)
        goes_on = take(enrichment, lead, paid, ask, reply)
        hit("waterfall.before_record_commit")
    logger.info("enriched", enrichment=one.enrichment_id, outcome=reply.kind)
    return goes_on


def _poll(one: Claim, poll: Poll) -> bool:
    request = build_poll(poll.ask, poll.request_id)
    reply = None
    if request is not None:
        try:
            answer = call(request, deadline_s=CALL_S)
        except (NotWritten, NoAnswer):
            pass  # asking costs nothing: later
        else:
            reply = _reply(read_poll(poll.ask, answer, poll.request_id), answer, BY_POLL)
    with tenant_context(one.tenant_id, durable=True):
        enrichment = mine(one)
        if enrichment is None:
            return False
        lead = Lead.objects.get(pk=enrichment.lead_id)
        if reply is not None and reply.kind in ("hit", "miss"):
            return take(enrichment, lead, poll.call, poll.ask, reply)
        return _still_pending(enrichment, lead, poll, reply)


def _still_pending(enrichment: Enrichment, lead: Lead, poll: Poll, reply: Reply | None) -> bool:
    gone = ""
    if reply and reply.result and reply.kind == "failed" and reply.result.units is None:
        gone = reply.error or "the vendor does not keep the answer any more"
    now = database_now()
    if gone or now >= poll.call.at + PATIENCE:
        words = gone or "the answer did not come in 24 hours"
        lost = Reply(result=None, kind="ambiguous", error=words)
        return take(enrichment, lead, poll.call, poll.ask, lost)
    pause = reply.retry_after_s if reply and reply.retry_after_s else poll.ask.service.wait_s
    waited = (now - poll.call.at).total_seconds()
    wait_until(enrichment, "parked", now + later(max(pause, waited / 4)))
    return False
