"""How good what we know of a lead is: the rule with its versions, scores, and what a change moves.

The rule has one home, the SQL function ``score_parts``; here stand the ways to have it applied. A
band is never consent, and no score moves a lead's state.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from leads.actions import owner, sql_id
from leads.models import Lead, LeadScore, ScoreRule
from leads.models.score import PARTS
from pipelines.actions import begin_run
from pipelines.models import PipelineRun
from tenants.actions import note
from tenants.context import database_now, is_passing, tenant_context
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
    """How many leads were looked at, of how many points or band are new, and the last one."""

    seen: int = 0
    changed: int = 0
    after: str = ""


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


def score_run(run_id: str, *, after: str = "", most: int | None = None) -> Scored:
    """Score the live leads that a run brought in (``leads.run``), or the next *most* of them.

    Args:
        run_id: ``run_…`` of an import or a pull.
        after: where an earlier call ended, ``Scored.after``.
        most: for callers that commit in between; None: all, in the running transaction.
    """
    done = Scored(after=after)
    while most is None or done.seen < most:
        rows = Lead.objects.filter(run=run_id, superseded_at=None).order_by("id")
        if done.after:
            rows = rows.filter(pk__gt=done.after)
        size = MOST_AT_ONCE if most is None else min(MOST_AT_ONCE, most - done.seen)
        ids = list(rows.values_list("pk", flat=True)[:size])
        if not ids:
            break
        part = score_leads(ids)
        done = Scored(
            seen=done.seen + part.seen, changed=done.changed + part.changed, after=ids[-1]
        )
    return done


def compute_quality_score(lead_id: str) -> int | None:
    """Return the score of a lead as it would be now, without storing it; None of no lead."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT compute_quality_score(%s)", [sql_id(lead_id)])
        found: int | None = cursor.fetchone()[0]
    return found


# --- the rule ---------------------------------------------------------------------------------


def rule_in_force() -> ScoreRule:
    """Return the newest version of the running tenant's rule; the first one is made if missing."""
    newest = ScoreRule.objects.order_by("-version")
    found = newest.first()
    if found is None:
        seed_rule()
        found = newest.get()
    return found


def seed_rule() -> None:
    """Give the running tenant version 1 of the rule, unless it has one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT seed_score_rule(%s)", [owner()])


def preview_rule(draft: Draft) -> list[Move]:
    """Return how many leads *draft* would take from which band to which; writes nothing.

    Reads all leads of the tenant: about two seconds for a million. What is counted is what saving
    it and scoring all leads anew will do, if nothing else changes meanwhile.
    """
    rule_in_force()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT was, becomes, leads FROM score_preview(%s, %s::jsonb)",
            [owner(), json.dumps(asdict(draft))],
        )
        return [Move(was=was, becomes=becomes, leads=n) for was, becomes, n in cursor.fetchall()]


@transaction.atomic
def save_rule(draft: Draft, *, reason: str, based_on: int, actor_id: str | None) -> ScoreRule:
    """Put a new version of the rule in force and begin to score all leads by it.

    Args:
        draft: the whole rule.
        reason: why, in the person's words.
        based_on: version the person saw; another one since then refuses.
        actor_id: who does it.

    Raises:
        RuleRefused: it has no reason, is the rule there is, or somebody was faster.
    """
    if not reason.strip():
        raise RuleRefused("Say why; the reason stands in the history of the rule.")
    current = rule_in_force()
    if current.version != based_on:
        raise RuleRefused(
            f"Version {current.version} was saved meanwhile. Look at it and try again."
        )
    before, after = asdict(Draft.of(current)), asdict(draft)
    if before == after:
        raise RuleRefused("That is the rule in force already.")
    try:
        with transaction.atomic():
            made = ScoreRule.objects.create(
                version=current.version + 1, reason=reason.strip()[:200], actor_id=actor_id, **after
            )
    except IntegrityError as error:
        raise RuleRefused("Somebody saved another version at the same time. Try again.") from error
    note(
        "score_rule.changed",
        actor_id=actor_id,
        subject=made,
        before=before,
        after=after,
        reason=reason.strip(),
    )
    begin_rescore(trigger="person")
    return made


# --- all leads anew ---------------------------------------------------------------------------


@transaction.atomic
def begin_rescore(*, trigger: str = "schedule") -> PipelineRun:
    """Begin to score all leads of the running tenant anew; one that is under way gives way."""
    runs = PipelineRun.objects.filter(pipeline_name=PIPELINE, status="running")
    runs.update(status="cancelled", finished_at=Now())
    run = begin_run(PIPELINE, trigger=trigger)
    run.stats = {
        "rule": rule_in_force().version,
        "after": "",
        "seen": 0,
        "changed": 0,
        "of": Lead.objects.filter(superseded_at=None).count(),
    }
    run.save(update_fields=["stats"])
    return run


@transaction.atomic
def begin_daily() -> bool:
    """Begin the day's scoring of the running tenant; not where one goes on or nobody is scored."""
    if not LeadScore.objects.exists():
        return False
    if PipelineRun.objects.filter(pipeline_name=PIPELINE, status="running").exists():
        return False
    begin_rescore()
    return True


@transaction.atomic
def stop_rescore(*, actor_id: str | None) -> bool:
    """Stop scoring all leads after the chunk it is at; tell whether it was under way."""
    runs = PipelineRun.objects.filter(pipeline_name=PIPELINE, status="running")
    stopped = runs.update(status="cancelled", finished_at=Now())
    if stopped:
        note("rescore.stopped", actor_id=actor_id)
    return bool(stopped)


def rescore_all(tenant_id: str, *, seconds: float = 40.0, chunk: int = CHUNK) -> bool:
    """Work on a tenant's scoring of all leads for a while; tell whether more is left.

    Each chunk is a transaction with the place it ended: a process that dies loses one chunk's
    work, and any other goes on there.
    """
    until = time.monotonic() + seconds
    while more := _advance(tenant_id, chunk):
        if time.monotonic() >= until:
            break
    return more


def _advance(tenant_id: str, chunk: int) -> bool:
    """Score the next *chunk* of leads; tell whether there may be more for this process to do."""
    run_id = ""
    try:
        with tenant_context(tenant_id, durable=True):
            run = (
                PipelineRun.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
                .filter(pipeline_name=PIPELINE, status="running")
                .order_by("id")
                .first()
            )
            if run is None:  # none, or another process is at it
                return False
            run_id = run.pk
            with correlated(run.correlation_id):
                return _chunk(run, chunk)
    except Exception as error:
        if is_passing(error) or not run_id:
            raise
        with tenant_context(tenant_id, durable=True):
            PipelineRun.objects.filter(pk=run_id, status="running").update(
                status="failed", finished_at=Now(), error=f"{type(error).__name__}: {error}"[:2000]
            )
        return False


def _chunk(run: PipelineRun, size: int) -> bool:
    stats: dict[str, Any] = run.stats
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT there, seen, changed FROM score_next(%s, %s, %s, %s)",
            [owner(), sql_id(stats["after"] or None), size, run.correlation_id],
        )
        there, seen, changed = cursor.fetchone()
    stats["seen"] += seen
    stats["changed"] += changed
    if there is None:
        run.status, run.finished_at = "completed", database_now()
    else:
        stats["after"] = to_text("lead", there)
    run.save(update_fields=["stats", "status", "finished_at"])
    return there is not None


def rescore_slices(*, seconds: float = 40.0) -> int:
    """Work on the scorings of all tenants for a part of *seconds* each; return how many remain."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_rescores()")
        tenants = [to_text("tenant", row[0]) for row in cursor.fetchall()]
    return sum(rescore_all(tenant_id, seconds=seconds / len(tenants)) for tenant_id in tenants)
