"""Paid calls: reserved under every cap before they are made, settled once after.

Every request that costs money goes::

    bought = reserve(tenant_id, Purchase(...))      # a short transaction of its own
    if isinstance(bought, Reserved):
        answer = call(request, ...)                 # outside of any transaction
        with tenant_context(tenant_id, durable=True):
            ...                                     # effects, artifact
            settle(bought.call_id, Settlement(...)) # last: it locks the counters

What was reserved and never settled is *unknown*: it keeps its cents and is not bought again until
the vendor, or a person, says what became of it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.db import connection

from integrations.models import VendorAnswer
from leads.actions import owner, sql_id
from tenants.context import tenant_context
from tenants.correlation import correlation_id
from tenants.faultpoints import hit
from tenants.ulids import to_text

#: Seconds after which a call without any answer is taken for lost: its process died.
SILENT_S = 180
#: What such a call is said to have met.
LOST = "its process died before it knew"

Reason = Literal["cap", "circuit", "throttled", "cool_down", "disabled", "in_flight", "unknown"]
Result = Literal["hit", "miss", "pending", "refused", "failed", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Cap:
    """What a scope may spend in a day or month; its counter is kept even where nothing is set.

    *scope*: ``stage:<id>``, ``query:<id>`` or the like, at most 60 characters. The scopes ``all``
    and ``provider:<name>`` are counted for every call.
    """

    scope: str
    period: Literal["day", "month"] = "day"
    calls: int | None = None
    cents: int | None = None


@dataclass(frozen=True, kw_only=True)
class Purchase:
    """A call that somebody wants to make, and what it may cost."""

    integration_id: str
    provider: str
    service: str
    fingerprint: str  # of what is asked: ``fingerprint(…)``
    price_cents: int  # at most
    caps: tuple[Cap, ...] = ()
    fresh_days: int = 0  # an answer about the same input is used again for so long
    cool_down_days: int = 0  # after a miss, the lead is not asked about again for so long
    lead_id: str | None = None
    point_id: str | None = None
    stage_id: str | None = None
    enrichment_id: str | None = None
    sweep_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Reserved:
    """Make the call now, then settle it."""

    call_id: str


@dataclass(frozen=True, kw_only=True)
class Cached:
    """The same was asked before and the answer is still fresh: it costs nothing."""

    call_id: str
    answer: VendorAnswer


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Do not call. *until*: when to ask again, None: only once a person did something.

    ``in_flight`` and ``unknown`` name in *call_id* the call about the same input that is not
    settled yet.
    """

    reason: Reason
    until: datetime | None = None
    detail: str = ""  # which cap
    call_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What became of a call.

    ``refused``: the vendor did not do it and took no money; neither a success nor a failure of the
    account. ``failed`` and ``unknown`` count towards the breaker.
    """

    result: Result
    cost_cents: int = 0
    http_status: int | None = None
    latency_ms: int | None = None
    request_id: str = ""
    error: str = ""
    artifact_id: str | None = None
    fresh_days: int = 0  # how long a hit or miss is used again
    was_made: bool = True  # False: nothing was written to the wire, so no call was used up
    throttled_s: float | None = None  # the vendor asked to be left alone for so long
    trips: bool = False  # the account is of no use now (balance, key): open its circuit at once


def fingerprint(*parts: Any) -> str:
    """Return the SHA-256 of what is asked; the order of keys in it does not matter."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def reserve(tenant_id: str, purchase: Purchase) -> Reserved | Cached | Refused:
    """Take a call's price from all counters and write it down, or say why it must not be made.

    Commits before it returns. Two that ask the same at once: one gets the call, the other is told
    that it is in flight.
    """
    with tenant_context(tenant_id, durable=True):
        outcome = _reserve(purchase)
        hit("waterfall.before_reserve_commit")
    return outcome


def _reserve(purchase: Purchase) -> Reserved | Cached | Refused:
    asked = {
        "integration": sql_id(purchase.integration_id),
        "provider": purchase.provider,
        "service": purchase.service,
        "fingerprint": purchase.fingerprint,
        "price": purchase.price_cents,
        "caps": [
            {"scope": c.scope, "period": c.period, "calls": c.calls, "cents": c.cents}
            for c in purchase.caps
        ],
        "fresh_days": purchase.fresh_days,
        "cool_down_days": purchase.cool_down_days,
        "lead": sql_id(purchase.lead_id),
        "point": sql_id(purchase.point_id),
        "stage": sql_id(purchase.stage_id),
        "enrichment": sql_id(purchase.enrichment_id),
        "sweep": sql_id(purchase.sweep_id),
        "silent_s": SILENT_S,
        "correlation_id": correlation_id(),
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM vendor_reserve(%s, %s)", [owner(), json.dumps(asked)])
        outcome, call, until, detail = cursor.fetchone()
    call_id = to_text("strace", call) if call else None
    if outcome == "reserved":
        return Reserved(call_id=call_id or "")
    if outcome == "cached":
        answer = VendorAnswer.objects.select_related("artifact", "call").get(
            call=call_id, is_final=True
        )
        return Cached(call_id=call_id or "", answer=answer)
    return Refused(reason=outcome, until=until, detail=detail, call_id=call_id)


def settle(call_id: str, settlement: Settlement) -> bool:
    """Write down what became of a call, in the running transaction, and give back what is left.

    Repeatable: only the first final answer counts. ``pending`` and ``unknown`` are followed by
    another; an unknown keeps its cents until then.

    Returns:
        Whether this settled it; False: somebody had before.
    """
    told = {
        "result": settlement.result,
        "cost": settlement.cost_cents,
        "http_status": settlement.http_status,
        "latency_ms": settlement.latency_ms,
        "request_id": settlement.request_id[:120],
        "error": settlement.error.replace("\x00", "")[:300],
        "artifact": sql_id(settlement.artifact_id),
        "fresh_days": settlement.fresh_days,
        "was_made": settlement.was_made,
        "throttled_s": settlement.throttled_s,
        "trips": settlement.trips,
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT vendor_settle(%s, %s, %s)", [owner(), sql_id(call_id), json.dumps(told)]
        )
        return bool(cursor.fetchone()[0])


def settle_silent(tenant_id: str) -> int:
    """Make calls unknown whose process died before it knew; return how many."""
    with tenant_context(tenant_id, durable=True), connection.cursor() as cursor:
        cursor.execute(
            "SELECT v.call_id FROM vendor_inputs AS v WHERE v.tenant_id = %s"
            " AND v.open_since < clock_timestamp() - make_interval(secs => %s)"
            " AND NOT EXISTS (SELECT FROM vendor_answers AS a"
            "                 WHERE a.tenant_id = v.tenant_id AND a.call_id = v.call_id)",
            [owner(), SILENT_S],
        )
        lost = [to_text("strace", row[0]) for row in cursor.fetchall()]
    settled = 0
    for call_id in lost:  # one commit each: nobody else waits for more than one of them
        with tenant_context(tenant_id, durable=True):
            settled += settle(call_id, Settlement(result="unknown", error=LOST))
    return settled
