"""Which stages a lead goes through: the plan, what its gates see, and what it would cost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from integrations.models import VendorAnswer, VendorCall, WaterfallStage
from integrations.providers import providers
from integrations.providers.data import Service, services_of
from leads.actions import owner, sql_id
from tenants.context import current_tenant_id
from tenants.models import Tenant
from tenants.ulids import to_text

#: The score from which on nothing more is bought, where the tenant says nothing else.
STOP_AT = 60
#: Phones or e-mails of one lead that a verifying stage looks at, where its gate says nothing else.
MOST_POINTS = 3
#: Words that a gate may ask for.
WORDS = ("mobile", "phone", "email", "mak", "apn")
#: Newest calls of a stage from which its usual cost is told.
SAMPLE = 500
#: Newest finished enrichments that a what-if goes through again.
HISTORY = 500


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a gate sees of a lead."""

    score: int
    band: str
    known: tuple[str, ...]  # of ``WORDS``

    def as_json(self) -> dict[str, Any]:
        return {"score": self.score, "band": self.band, "known": list(self.known)}


@dataclass(frozen=True, kw_only=True)
class Step:
    """A stage as a plan has it: what is saved, or a draft of it."""

    stage_id: str
    name: str
    kind: str
    provider: str
    service: str
    gate: Mapping[str, Any]
    price_cents: int
    fresh_days: int

    @classmethod
    def of(cls, stage: WaterfallStage) -> Step:
        return cls(
            stage_id=stage.pk,
            name=stage.name,
            kind=stage.kind,
            provider=stage.integration.provider,
            service=stage.service,
            gate=stage.gate,
            price_cents=stage.price_cents,
            fresh_days=stage.fresh_days,
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.stage_id,
            "kind": self.kind,
            "provider": self.provider,
            "service": self.service,
            "gate": dict(self.gate),
            "price": self.price_cents,
            "fresh_days": self.fresh_days,
            "most": points_of(self.gate),
        }


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a stage would do for a set of leads, by what is known of them now."""

    step: Step
    runs: int  # leads that pass its gate
    calls: int  # at most
    kept: int  # of them answered before, and still fresh
    saved_cents: int  # by its gate: what asking about all of them had cost more
    usual_cents: int  # what its calls usually cost, for these
    most_cents: int


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """What a stage would have done for the newest enrichments under another plan."""

    step: Step
    runs: int
    cents: int  # at most
    certain_cents: int  # of which: known from calls that were made


def service_of(stage: WaterfallStage) -> Service | None:
    """Return what the stage's vendor sells it, None where it does not any more."""
    name = stage.integration.provider
    return services_of(providers[name]).get(stage.service) if name in providers else None


def stop_at() -> int | None:
    """Return the score at which the running tenant's waterfall ends; None: there is no bar."""
    tenant = Tenant.objects.get(pk=current_tenant_id())
    value = (tenant.settings.get("waterfall") or {}).get("stop_at", STOP_AT)
    return value if isinstance(value, int) else None


def stages() -> list[WaterfallStage]:
    """Return the stages that are switched on, in order."""
    rows = WaterfallStage.objects.filter(enabled=True).select_related("integration")
    return list(rows.order_by("position", "id"))


def points_of(gate: Mapping[str, Any]) -> int:
    """Return how many phones or e-mails of a lead a verifying stage looks at."""
    value = gate.get("most", MOST_POINTS)
    return value if isinstance(value, int) else MOST_POINTS


def facts_of(lead_id: str) -> Facts:
    """Return what gates see of one lead."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT score, band, known FROM waterfall_facts(%s, %s::uuid[])",
            [owner(), [sql_id(lead_id)]],
        )
        score, band, known = cursor.fetchone()
    return Facts(score=score, band=band, known=tuple(known))


def closed(gate: Mapping[str, Any], facts: Facts, bar: int | None) -> str:
    """Return why a gate does not let a lead through; "" when it does."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT waterfall_gate(%s, %s, %s, %s, %s)",
            [json.dumps(dict(gate)), bar, facts.score, facts.band, list(facts.known)],
        )
        return str(cursor.fetchone()[0])


def points_to_check(lead_id: str, kind: str, most: int) -> list[tuple[str, str]]:
    """Return the phones or e-mails of a lead that are worth a look: ``[(cpt_…, address), …]``."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT point_id, address FROM waterfall_points(%s, %s::uuid[], %s, %s)",
            [owner(), [sql_id(lead_id)], kind, most],
        )
        return [(to_text("cpt", point), address) for point, address in cursor.fetchall()]


def forecast(
    lead_ids: Iterable[str], plan: Sequence[Step], bar: int | None
) -> tuple[Forecast, ...]:
    """Say what *plan* would do for these leads, stage by stage, at most.

    The first stage that runs is exact; what it finds closes gates further down.
    """
    ids = [sql_id(one) for one in lead_ids]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT stage, runs, calls, kept FROM waterfall_forecast(%s, %s::uuid[], %s, %s)",
            [owner(), ids, json.dumps([step.as_json() for step in plan]), bar],
        )
        rows = cursor.fetchall()
    usual = usual_costs([step.stage_id for step in plan])
    return tuple(
        Forecast(
            step=step,
            runs=runs,
            calls=calls,
            kept=kept,
            saved_cents=(len(ids) - runs) * step.price_cents,
            usual_cents=round(
                max(0, calls - kept) * usual.get(step.stage_id, float(step.price_cents))
            ),
            most_cents=max(0, calls - kept) * step.price_cents,
        )
        for step, (_, runs, calls, kept) in zip(plan, rows, strict=True)
    )


def what_if(plan: Sequence[Step], bar: int | None, most: int = HISTORY) -> tuple[int, list[Rerun]]:
    """Go through the newest enrichments again under *plan*; return their number, and each stage."""
    if not plan:
        return 0, []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT runs, cents, certain, enrichments FROM waterfall_what_if(%s, %s, %s, %s)",
            [owner(), json.dumps([step.as_json() for step in plan]), bar, most],
        )
        rows = cursor.fetchall()
    return rows[0][3], [
        Rerun(step=step, runs=runs, cents=int(cents), certain_cents=int(certain))
        for step, (runs, cents, certain, _) in zip(plan, rows, strict=True)
    ]


def usual_costs(stage_ids: Iterable[str]) -> dict[str, float]:
    """Return what a call of each stage cost on average lately, in cents; none called: left out."""
    costs = {}
    for stage_id in stage_ids:
        newest = VendorCall.objects.filter(stage=stage_id).order_by("-id").values("pk")[:SAMPLE]
        answers = VendorAnswer.objects.filter(call__in=list(newest.values_list("pk", flat=True)))
        found = answers.filter(is_final=True).values_list("cost_cents", flat=True)
        if found:
            costs[stage_id] = sum(found) / len(found)
    return costs
