"""How good what we know of a lead is: the rule with its versions, scores, and what a change moves.

The rule has one home, the SQL function ``score_parts``; here stand the ways to have it applied. A
band is never consent, and no score moves a lead's state.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now

from leads.actions import owner, sql_id
from leads.models import Lead, ScoreRule
from leads.models.score import BANDS, PARTS
from pipelines.actions import begin_run
from pipelines.models import PipelineRun
from tenants.actions import note
from tenants.context import is_passing, tenant_context
from tenants.correlation import correlated, correlation_id
from tenants.ulids import to_text

PIPELINE = "rescore"
#: Leads of one transaction when all are scored anew: about half a second.
CHUNK = 20_000
#: Scorings of a tenant take turns; what a caller names at once stays well below a chunk.
MOST_AT_ONCE = 5_000


class RuleRefused(Exception):
    """The rule makes no sense, or is no other; nothing was written."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A rule that is not saved: points per part, what demographics asks, where bands begin.

    Raises:
        RuleRefused: points above 100 in all, bands out of order, or a number out of range.
    """

    email: int = 40
    phone: int = 30
    parcel: int = 10
    occupied: int = 10
    demographics: int = 10
    age_min: int = 62
    value_min: int = 100_000
    equity_above: int = 0
    contactable_from: int = 60
    enriched_from: int = 40

    def __post_init__(self) -> None:
        points = {part: getattr(self, part) for part in PARTS}
        if any(not 0 <= value <= 100 for value in points.values()):
            raise RuleRefused("Points are 0 to 100 for each part.")
        if sum(points.values()) > 100:
            raise RuleRefused(f"The points add up to {sum(points.values())}; 100 is the most.")
        if not 0 <= self.enriched_from < self.contactable_from <= 100:
            raise RuleRefused("Enriched must begin below contactable, both within 0 to 100.")
        if not 0 <= self.age_min <= 130:
            raise RuleRefused("The age is 0 to 130.")
        if not (0 <= self.value_min <= MOST_DOLLARS and abs(self.equity_above) <= MOST_DOLLARS):
            raise RuleRefused("Value and equity are dollars, at most a billion.")

    @classmethod
    def of(cls, rule: ScoreRule) -> Draft:
        return cls(**{name: getattr(rule, name) for name in cls.__dataclass_fields__})


MOST_DOLLARS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Scored:
    """How many leads were looked at, and of how many points or band are new."""

    seen: int = 0
    changed: int = 0


@dataclass(frozen=True, kw_only=True)
class Move:
    """How many leads a rule takes from one band to another; ``was`` is "" without a score."""

    was: str
    becomes: str
    leads: int


# --- scores -----------------------------------------------------------------------------------


def score_leads(lead_ids: Iterable[str]) -> Scored:
    """Score leads of the running tenant and keep what changed; unknown ids are passed over.

    Scorings of a tenant take turns until they commit: call it late in a short transaction.

    Args:
        lead_ids: ``lead_…``, any number.
    """
    ids = sorted({str(sql_id(lead_id)) for lead_id in lead_ids})
    seen = changed = 0
    with connection.cursor() as cursor:
        for start in range(0, len(ids), MOST_AT_ONCE):
            cursor.execute(
                "SELECT seen, changed FROM score_leads(%s, %s::uuid[], %s)",
                [owner(), ids[start : start + MOST_AT_ONCE], correlation_id()],
            )
            more_seen, more_changed = cursor.fetchone()
            seen, changed = seen + more_seen, changed + more_changed
    return Scored(seen=seen, changed=changed)


def score_run(run_id: str) -> Scored:
    """Score the leads that a run of an import or a pull brought in (``leads.run``).

    Opens a transaction per ``MOST_AT_ONCE`` leads where none is open.
    """
    seen, changed, after = 0, 0, None
    while True:
        rows = Lead.objects.filter(run=run_id, superseded_at=None).order_by("id")
        if after is not None:
            rows = rows.filter(pk__gt=after)
        ids = list(rows.values_list("pk", flat=True)[:MOST_AT_ONCE])
        if not ids:
            return Scored(seen=seen, changed=changed)
        part = score_leads(ids)
        seen, changed, after = seen + part.seen, changed + part.changed, ids[-1]


def compute_quality_score(lead_id: str) -> int | None:
    """Return the score of a lead as it would be now, without storing it; None of no lead."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT compute_quality_score(%s)", [sql_id(lead_id)])
        found: int | None = cursor.fetchone()[0]
    return found
