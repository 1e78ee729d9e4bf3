"""The tabs of a lead's page: each returns its context in a handful of queries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import F, OuterRef, Q, Subquery
from django.utils.dateparse import parse_datetime

from integrations.models import Enrichment, ExternalId, VendorAnswer, VendorCall, WaterfallStage
from leads.models import (
    Business,
    Consent,
    Contact,
    ContactPoint,
    Lead,
    LeadActivity,
    LeadCard,
    LeadScore,
    Merge,
    MergeReview,
    Ownership,
    Property,
    QualityScore,
    ScoreRule,
)
from leads.models.score import PARTS
from messaging.views.jsontree import tree_of
from tenants.http import TenantRequest
from tenants.models import Actor
from tenants.permissions import allows

#: Rows of a list on a tab.
MOST = 50
#: Scores that a line is drawn of.
SPARK = 20
PART_WORDS = {
    "email": "Verified e-mail",
    "phone": "Verified mobile or VoIP",
    "parcel": "Address key and parcel",
    "occupied": "Owner occupied",
    "demographics": "Age, value and equity",
}


# --- contact points -----------------------------------------------------------------------------


def reach(request: TenantRequest, one: Lead) -> dict[str, Any]:
    """Return people of a lead and how to reach them, with what is known of each number."""
    points = list(
        ContactPoint.objects.filter(lead=one)
        .select_related("contact", "verification")
        .order_by("kind", "-is_primary", "id")[: MOST * 2]
    )
    numbers = [point.normalized for point in points if point.kind == "phone"]
    choices = Consent.objects.filter(channel="sms", scope="", address__in=numbers)
    states = dict(choices.exclude(state="unknown").values_list("address", "state"))
    return {
        "contacts": Contact.objects.filter(lead=one).order_by("position", "id")[:MOST],
        "points": [
            {"point": point, "consent": states.get(point.normalized, ""), "marks": _marks(point)}
            for point in points
        ],
    }


def _marks(point: ContactPoint) -> list[tuple[str, str]]:
    """Return (list, yes, no or unknown) of what a number may be on."""
    asked = (("Do not call", point.dnc), ("Litigator", point.litigator), ("TCPA", point.tcpa))
    return [(name, tri(value)) for name, value in asked]


def tri(value: bool | None) -> str:
    """Say yes, no or unknown: nobody knows is not no."""
    return "unknown" if value is None else "yes" if value else "no"


# --- score --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a score: points of at most; None is: nothing is known of it."""

    name: str
    points: int | None
    most: int | None

    @property
    def share(self) -> int:
        return round(100 * (self.points or 0) / self.most) if self.most else 0


def score(request: TenantRequest, one: Lead) -> dict[str, Any]:
    """Return the score of a lead now, its parts against their most, and its history."""
    now = LeadScore.objects.filter(lead=one).first()
    history = list(QualityScore.objects.filter(lead=one).order_by("-id")[:SPARK])
    version = now.rule_version if now else None
    rule = ScoreRule.objects.filter(version=version).first() if version is not None else None
    parts = [
        Part(name=PART_WORDS[part], points=getattr(now, part), most=getattr(rule, part, None))
        for part in PARTS
    ]
    line = [row.score for row in reversed(history)]
    return {
        "score": now,
        "parts": parts if now else [],
        "rule": rule,
        "history": history,
        "points": _polyline(line),
        "spark_words": f"Last {len(line)} scores: {', '.join(map(str, line))}",
    }


def _polyline(values: list[int]) -> str:
    """Place scores from 0 to 100 in a box of 60 by 20."""
    if len(values) < 2:
        return ""
    step = 60 / (len(values) - 1)
    return " ".join(
        f"{place * step:.1f},{19 - value * 0.18:.1f}" for place, value in enumerate(values)
    )


# --- records ------------------------------------------------------------------------------------


def records(request: TenantRequest, one: Lead) -> dict[str, Any]:
    """Return what is known around a lead: parcels, companies, owners, cards, activities."""
    houses = Property.objects.filter(lead=one, superseded_at=None).order_by("id")
    return {
        "properties": houses.prefetch_related("distress_scores")[:MOST],
        "businesses": Business.objects.filter(lead=one, superseded_at=None).order_by("id")[:MOST],
        "owners": Ownership.objects.filter(contact__lead=one)
        .select_related("contact", "business", "property")
        .order_by("id")[:MOST],
    }


def cards(request: TenantRequest, one: Lead) -> dict[str, Any]:
    """Return the scored summaries of a lead's people, and what was done with them."""
    return {
        "cards": LeadCard.objects.filter(lead=one)
        .select_related("contact", "assigned_worker")
        .order_by("-total_score", "id")[:MOST],
        "activities": LeadActivity.objects.filter(lead=one)
        .select_related("worker")
        .order_by("-id")[:MOST],
    }


# --- origin -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Known:
    """A field of a lead, and who said so; ``at`` None: it came with the lead."""

    label: str
    value: str
    source: str
    at: datetime | None = None
    actor: str = ""
    artifact_id: str = ""
    run_id: str = ""


#: Fields that say who a lead is.
FIELDS = (
    "first_name",
    "last_name",
    "full_name",
    "company",
    "title",
    "address_line1",
    "address_line2",
    "unit",
    "city",
    "region",
    "postal_code",
    "county",
    "county_fips",
    "apn",
    "mak",
    "owner_company",
    "sector",
    "sic_code",
    "employee_count",
    "annual_revenue",
    "website",
    "age",
    "owner_occupied",
    "property_value",
    "estimated_equity",
    "is_decision_maker",
    "time_zone",
)


def origin(request: TenantRequest, one: Lead) -> dict[str, Any]:
    """Return where a lead and each of its fields came from, and its names elsewhere."""
    return {
        "known": list(_known(one)),
        "externals": ExternalId.objects.filter(lead=one)
        .select_related("integration")
        .order_by("id")[:MOST],
        "raw": tree_of(one.raw_data) if one.raw_data else [],
    }


def kin(request: TenantRequest, one: Lead) -> dict[str, Any]:
    """Return the leads this one was, may be, or lives with."""
    merges = Merge.objects.filter(Q(survivor=one) | Q(merged=one))
    reviews = MergeReview.objects.filter(Q(left=one) | Q(right=one), status="open")
    return {
        "merges": merges.select_related("survivor", "merged", "actor").order_by("-id")[:MOST],
        "reviews": reviews.select_related("left", "right").order_by("-score", "-id")[:MOST],
        "household": household(one),
    }


def _known(one: Lead) -> Iterable[Known]:
    told: dict[str, Any] = one.provenance
    actors = {str(said.get("actor")) for said in told.values() if said.get("actor")}
    names: dict[str, str] = {}
    if actors:
        names = dict(Actor.objects.filter(pk__in=_ids("actor", actors)).values_list("pk", "name"))
    for name in dict.fromkeys([*FIELDS, *told]):
        try:
            field = Lead._meta.get_field(name)
        except FieldDoesNotExist:
            continue
        value = getattr(one, name)
        if value in (None, "") and name not in told:
            continue
        said = told.get(name, {})
        at = said.get("at")
        yield Known(
            label=str(getattr(field, "verbose_name", name)).capitalize(),
            value=tri(value)
            if isinstance(value, bool)
            else "empty"
            if value in (None, "")
            else str(value),
            source=str(said.get("source") or one.source),
            at=parse_datetime(at) if isinstance(at, str) else None,
            actor=names.get(str(said.get("actor") or ""), ""),
            artifact_id=str(said.get("artifact") or ("" if said else one.artifact_id or "")),
            run_id=str(said.get("run") or ("" if said else one.run_id or "")),
        )


def _ids(prefix: str, texts: Iterable[str]) -> list[str]:
    """Return the well-formed ids among *texts*, which came out of JSON."""
    return [
        text for text in texts if text.startswith(f"{prefix}_") and len(text) == len(prefix) + 27
    ]


def household(one: Lead) -> list[Lead]:
    """Return other leads that live there, or are reached at the same number: they get one text."""
    numbers = ContactPoint.objects.filter(lead=one, kind="phone").values_list(
        "normalized", flat=True
    )
    sharing = ContactPoint.objects.filter(kind="phone", normalized__in=list(numbers[:20]))
    ids = sharing.exclude(lead=one).values_list("lead_id", flat=True)[:20]
    rows = Lead.objects.filter(superseded_at=None).exclude(pk=one.pk)
    kin = list(rows.filter(pk__in=list(ids)).order_by("id"))
    if one.addr_hash:
        there = rows.filter(addr_hash=one.addr_hash).exclude(pk__in=[row.pk for row in kin])
        kin += there.order_by("id")[:20]
    return kin


# --- enrichment ---------------------------------------------------------------------------------


def enrichment(request: TenantRequest, one: Lead) -> dict[str, Any]:
    """Return what was tried to learn more of a lead, what it cost, and what one more try may."""
    final = VendorAnswer.objects.filter(
        tenant=OuterRef("tenant"), call=OuterRef("pk"), is_final=True
    ).order_by("-id")
    calls = list(
        VendorCall.objects.filter(lead=one)
        .annotate(
            result=Subquery(final.values("result")[:1]),
            cost=Subquery(final.values("cost_cents")[:1]),
            error=Subquery(final.values("error")[:1]),
            kept=Subquery(final.values("artifact")[:1]),
        )
        .order_by("-id")[:MOST]
    )
    stages = list(
        WaterfallStage.objects.filter(enabled=True)
        .order_by("position")
        .annotate(who=F("integration__name"))
    )
    tries = list(Enrichment.objects.filter(lead=one).order_by("-id")[:MOST])
    return {
        "tries": tries,
        "running": next((row for row in tries if row.finished_at is None), None),
        "calls": calls,
        "spent": sum(call.cost or 0 for call in calls),
        "stages": stages,
        "at_most": sum(stage.price_cents for stage in stages),
        "may_enrich": bool(stages) and allows(request.actor, "import"),
    }
