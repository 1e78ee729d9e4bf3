"""Answers written down: money, raw answer, effects on the lead and the next step, in one commit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from integrations.ledger import Cached, Settlement, settle
from integrations.models import Enrichment, ProviderCircuit, VendorCall, WaterfallStage
from integrations.providers.data import Checked, Enriched
from integrations.waterfall_calls import BY_ANSWER, Ask, Result, read_kept
from integrations.waterfall_effects import Found, apply_checked, apply_enriched, is_wanted
from integrations.waterfall_ends import finish, later, save, try_again, wait_until
from integrations.waterfall_plan import Facts, facts_of
from leads.models import ContactPoint, Lead
from pipelines import artifacts
from pipelines.models import Artifact
from tenants.context import database_now

#: How long a person has to find out what became of an unknown call.
FIND_OUT = timedelta(hours=24)
#: How long a busy vendor is left alone that does not say how long.
BUSY_S = 30.0
#: Answers with which the account, not the question, is refused.
NOT_LET_IN = {401, 403}


class Settled(Exception):
    """The call was settled before; what was about to be written is not."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back of a call, or did not."""

    result: Result | None
    kind: str  # of ``AnswerKind``
    body: bytes = b""
    how: str = BY_ANSWER
    http_status: int | None = None
    latency_ms: int | None = None
    error: str = ""
    retry_after_s: float | None = None
    was_made: bool = True


def entry_of(enrichment: Enrichment, stage_id: str) -> dict[str, Any] | None:
    """Return what an enrichment did at a stage, to read and to change."""
    return next((step for step in enrichment.steps if step.get("stage") == stage_id), None)


def entry_for(
    enrichment: Enrichment, stage: WaterfallStage, facts: Facts | None = None
) -> dict[str, Any]:
    """Return the entry of a stage, begun now where there is none."""
    entry = entry_of(enrichment, stage.pk)
    if entry is None:
        entry = {
            "stage": stage.pk,
            "name": stage.name,
            "kind": stage.kind,
            "did": "running",
            "why": "",
            "calls": 0,
            "cents": 0,
            "saved": 0,
            "tries": 0,
            "points": [],
            "found": "",
            **(facts or facts_of(enrichment.lead_id)).as_json(),
        }
        enrichment.steps.append(entry)
    return entry


def stage_of(paid: VendorCall) -> WaterfallStage:
    """Return the stage that made a call.

    Raises:
        LookupError: a pull did.
    """
    if paid.stage is None:
        raise LookupError(f"{paid.pk} was made by no stage")
    return paid.stage


# --- answers ----------------------------------------------------------------------------------


def take(
    enrichment: Enrichment, lead: Lead, paid: VendorCall, ask: Ask | None, reply: Reply
) -> bool:
    """Write a reply to *paid* down, in the running transaction; return whether to go on now.

    The enrichment is locked. Its state is changed only where it is still on its way.

    Raises:
        Settled: somebody else wrote the answer before; the transaction must be rolled back.
    """
    stage = stage_of(paid)
    entry = entry_for(enrichment, stage)
    match reply.kind:
        case "hit" | "miss" if reply.result is not None and ask is not None:
            return _take_answer(enrichment, lead, paid, ask, reply, reply.result)
        case "pending" if reply.result is not None and ask is not None:
            return _take_promise(enrichment, lead, paid, ask, reply, reply.result)
        case "ambiguous":
            _settle(paid, Settlement(result="unknown", error=reply.error, **_of(reply)))
            entry["calls"] += 1
            entry["cents"] += paid.reserved_cents
            return doubt(enrichment, paid, reply.error)
        case "throttled":
            pause = reply.retry_after_s or BUSY_S
            _settle(
                paid,
                Settlement(result="refused", error=reply.error, throttled_s=pause, **_of(reply)),
            )
            wait_until(enrichment, "queued", database_now() + later(pause), reply.error)
            return False
        case "balance" | "refused":
            return _take_refusal(enrichment, paid, reply)
        case _:
            _settle(
                paid,
                Settlement(
                    result="failed", error=reply.error, was_made=reply.was_made, **_of(reply)
                ),
            )
            return try_again(enrichment, stage, entry, reply.error)


def _take_answer(
    enrichment: Enrichment,
    lead: Lead,
    paid: VendorCall,
    ask: Ask,
    reply: Reply,
    result: Result,
) -> bool:
    stage = stage_of(paid)
    kept = artifacts.keep(
        reply.body,
        artifact_type=reply.how,
        run_id=enrichment.run_id,
        parents=[lead.artifact_id] if lead.artifact_id else [],
    )
    entry = entry_for(enrichment, stage)
    is_hit, words = _apply(enrichment, lead, stage, paid.point, result, kept)
    cost = cost_of(paid, ask, result)
    entry["calls"] += 1
    entry["cents"] += cost
    _close(entry, stage, "hit" if is_hit else "miss", paid.point_id, why=words)
    enrichment.cost_cents += cost
    save(enrichment)
    _settle(  # last: it locks what all calls of the tenant share
        paid,
        Settlement(
            result="hit" if is_hit else "miss",
            cost_cents=cost,
            request_id=result.request_id,
            artifact_id=kept.pk,
            fresh_days=stage.fresh_days,
            **_of(reply),
        ),
    )
    return True


def _take_promise(
    enrichment: Enrichment,
    lead: Lead,
    paid: VendorCall,
    ask: Ask,
    reply: Reply,
    result: Result,
) -> bool:
    """The rest comes later. What is told at once is written at once."""
    stage = stage_of(paid)
    artifact_id = None
    if isinstance(result, Enriched) and (result.fields or result.points or result.persons):
        kept = artifacts.keep(reply.body, artifact_type=reply.how, run_id=enrichment.run_id)
        _apply(enrichment, lead, stage, paid.point, result, kept)
        artifact_id = kept.pk
    _settle(
        paid,
        Settlement(
            result="pending",
            request_id=result.request_id,
            artifact_id=artifact_id,
            **_of(reply),
        ),
    )
    pause = reply.retry_after_s or ask.service.wait_s
    wait_until(enrichment, "parked", database_now() + later(pause))
    return False


def _take_refusal(enrichment: Enrichment, paid: VendorCall, reply: Reply) -> bool:
    """No money or no right: all wait for the account. A wrong question: this one needs a person."""
    trips = reply.kind == "balance" or reply.http_status in NOT_LET_IN
    _settle(paid, Settlement(result="refused", error=reply.error, trips=trips, **_of(reply)))
    if trips:
        circuit = ProviderCircuit.objects.filter(integration=paid.integration_id).first()
        until = circuit.probe_at if circuit and circuit.probe_at else database_now() + later(300)
        wait_until(enrichment, "held", until, reply.error)
    else:
        finish(enrichment, state="failed", error=reply.error, letter=paid.stage)
    return False


def settle_late(paid: VendorCall, ask: Ask, reply: Reply) -> None:
    """Count the money of an answer that came after its lease, and keep it for the next who asks.

    Whoever has the enrichment now went on without it.
    """
    if reply.kind not in ("hit", "miss") or reply.result is None or paid.stage is None:
        settle(paid.pk, Settlement(result="unknown", error="no answer within the lease"))
        return
    kept = artifacts.keep(reply.body, artifact_type=reply.how)
    settle(
        paid.pk,
        Settlement(
            result="hit" if reply.kind == "hit" else "miss",
            cost_cents=cost_of(paid, ask, reply.result),
            artifact_id=kept.pk,
            fresh_days=paid.stage.fresh_days,
            **_of(reply),
        ),
    )


def take_kept(enrichment: Enrichment, stage: WaterfallStage, ask: Ask, kept: Cached) -> bool:
    """Use an answer that was paid for before; return whether to go on now."""
    entry = entry_for(enrichment, stage)
    saved = stage.price_cents
    if kept.answer.artifact is None:
        _close(entry, stage, "kept", ask.point_id, saved=saved)
        save(enrichment)
        return True
    try:
        result = read_kept(ask, kept.answer.artifact, kept.call_id, kept.answer.request_id)
    except artifacts.ArtifactDamaged as error:
        finish(enrichment, state="failed", error=str(error), letter=stage)
        return False
    lead = Lead.objects.get(pk=enrichment.lead_id)
    point = ContactPoint.objects.filter(pk=ask.point_id).first() if ask.point_id else None
    _, words = _apply(enrichment, lead, stage, point, result, kept.answer.artifact)
    _close(entry, stage, "kept", ask.point_id, why=words, saved=saved)
    save(enrichment)
    return True


def doubt(enrichment: Enrichment, paid: VendorCall, words: str) -> bool:
    """Leave a question open of which nobody knows whether it was answered; return whether to go on.

    The next stage costs more and may be needless: a person has a day to find out. A verifying
    stage costs nothing by going on.
    """
    stage = stage_of(paid)
    until = paid.at + FIND_OUT
    if stage.kind == "enrich" and until > database_now():
        wait_until(enrichment, "held", until, f"{stage.name}: unknown. {words}")
        return False
    _close(entry_for(enrichment, stage), stage, "unknown", paid.point_id, why=words)
    save(enrichment)
    return True


def pass_over(
    enrichment: Enrichment, stage: WaterfallStage, why: str, point_id: str | None
) -> None:
    """Go on without an answer: not to be asked again now, unknown, switched off."""
    entry = entry_of(enrichment, stage.pk)
    if entry is not None:
        saved = stage.price_cents if why == "cool_down" else 0
        _close(entry, stage, why, point_id, saved=saved)
    save(enrichment)


def cost_of(paid: VendorCall, ask: Ask, result: Result) -> int:
    """Return what an answer cost, in cents: its share of what was set aside, rounded up."""
    if result.units is None:
        return paid.reserved_cents
    return -(-paid.reserved_cents * result.units // ask.service.most_units)


def _apply(
    enrichment: Enrichment,
    lead: Lead,
    stage: WaterfallStage,
    point: ContactPoint | None,
    result: Result,
    kept: Artifact,
) -> tuple[bool, str]:
    found = Found(
        provider=stage.integration.provider,
        run_id=enrichment.run_id,
        artifact_id=kept.pk,
        fresh_days=stage.fresh_days,
    )
    if isinstance(result, Checked):
        if point is not None:
            apply_checked(lead, point, result, found)
        return result.verdict == "verified", ""
    if result.kind == "miss":
        return False, ""
    words = apply_enriched(lead, result, found)
    more = bool(result.fields or result.property or result.business or result.persons)
    return is_wanted(result.points, stage.wanted_lines, has_more=more), words


def _settle(paid: VendorCall, settlement: Settlement) -> None:
    if not settle(paid.pk, settlement):
        raise Settled(paid.pk)


def _of(reply: Reply) -> dict[str, Any]:
    return {"http_status": reply.http_status, "latency_ms": reply.latency_ms}


def _close(
    entry: dict[str, Any],
    stage: WaterfallStage,
    did: str,
    point_id: str | None,
    *,
    why: str = "",
    saved: int = 0,
) -> None:
    """Note what a question came to. A verifying stage goes on to its next phone or e-mail."""
    entry["why"] = why[:200]
    entry["tries"] = 0
    entry["saved"] = entry.get("saved", 0) + saved
    if stage.kind == "enrich":
        entry["did"] = did
        return
    entry["points"].append(point_id)
    if did == "hit" or entry["found"] != "hit":
        entry["found"] = did
