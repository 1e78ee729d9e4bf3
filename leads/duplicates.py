"""Finding pairs of leads that may be one: in blocks by SQL, weighed by ``likeness``.

A run goes through the leads in order, a chunk per transaction. The lock on its row is its lease:
who dies lets go of it, and the next slice goes on after the last chunk.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from leads.actions import owner, sql_id
from leads.likeness import Person, compare
from leads.merging import MergeRefused, merge
from leads.models import Lead, MergeReview
from pipelines.actions import begin_run, end_run
from pipelines.models import PipelineRun
from tenants.actions import note
from tenants.context import current_tenant_id, tenant_context
from tenants.correlation import correlation_id
from tenants.models import Tenant

PIPELINE = "find_duplicates"
#: Leads of one transaction.
CHUNK = 5_000
#: Pairs below this are forgotten: a number alone is above, a name alone below.
LEAST = 25
#: Seconds a slice works at most.
SLICE_S = 40.0
#: How far before the last run's beginning a run of what is new begins.
OVERLAP = "10 minutes"


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Scores from which a pair is shown to people, and from which it is merged by itself."""

    review: int = 65
    automatic: int = 85
    merges: bool = False


class ThresholdsRefused(ValueError):
    """The thresholds make no sense; the text says why, and nothing was written."""


def thresholds() -> Thresholds:
    """Return the running tenant's thresholds."""
    return read_thresholds(Tenant.objects.get(pk=current_tenant_id()).settings)


def read_thresholds(settings: Mapping[str, Any]) -> Thresholds:
    """Return the thresholds in a tenant's settings; what is missing or odd is the default."""
    stored = settings.get("duplicates")
    stored = stored if isinstance(stored, dict) else {}
    known = {
        name: stored[name]
        for name in ("review", "automatic")
        if isinstance(stored.get(name), int) and LEAST <= stored[name] <= 100
    }
    return Thresholds(**known, merges=stored.get("merges") is True)


@transaction.atomic
def set_thresholds(wanted: Thresholds, *, actor_id: str) -> None:
    """Change from which scores pairs are shown, and merged by themselves.

    Raises:
        ThresholdsRefused: out of range, or merging would begin before looking.
    """
    if not LEAST <= wanted.review <= wanted.automatic <= 100:
        raise ThresholdsRefused(
            f"Choose numbers from {LEAST} to 100; merging may not begin below looking."
        )
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=current_tenant_id())
    before = tenant.settings.get("duplicates")
    after = {"review": wanted.review, "automatic": wanted.automatic, "merges": wanted.merges}
    Tenant.objects.filter(pk=tenant.pk).update(settings={**tenant.settings, "duplicates": after})
    note("duplicates.thresholds", actor_id=actor_id, subject=tenant, before=before, after=after)


def counts(review: int, automatic: int) -> dict[str, int]:
    """Return how many open pairs these thresholds show, and would merge by themselves."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(*) FILTER (WHERE score >= %s AND incoming IS NULL)"
            " FROM merge_reviews WHERE tenant_id = %s AND status = 'open' AND score >= %s",
            [automatic, owner(), min(review, automatic)],
        )
        shown, merged = cursor.fetchone()
    return {"review": shown, "automatic": merged}


# --- finding ----------------------------------------------------------------------------------


def find_among(lead_ids: Iterable[str], *, run_id: str | None = None) -> int:
    """Propose the pairs of which at least one lead is among these; return how many were new.

    Args:
        lead_ids: uuids or ``lead_…``.
        run_id: ``run_…`` that looks.
    """
    ids = [sql_id(one) if "_" in one else one for one in lead_ids]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT a::text, b::text FROM duplicate_pairs(%s, %s::uuid[])", [owner(), ids]
        )
        pairs = cursor.fetchall()
        people = _people({lead for pair in pairs for lead in pair})
        found = []
        for a, b in pairs:
            if a in people and b in people:
                likeness = compare(people[a], people[b])
                found.append({"a": a, "b": b, "score": likeness.score, "reasons": likeness.reasons})
        cursor.execute(
            "SELECT duplicates_found(%s, %s::jsonb, %s, %s, %s)",
            [owner(), json.dumps(found), LEAST, sql_id(run_id), correlation_id()],
        )
        return int(cursor.fetchone()[0])


_PEOPLE = """
SELECT l.id::text, l.first_name, l.last_name, l.full_name, l.company, l.address_line1, l.unit,
       l.city, l.postal_code, l.addr_hash,
       coalesce(p.phones, '{}'), coalesce(p.emails, '{}')
FROM leads AS l
LEFT JOIN (
    SELECT lead_id, array_agg(normalized) FILTER (WHERE kind = 'phone') AS phones,
           array_agg(normalized) FILTER (WHERE kind = 'email') AS emails
    FROM contact_points
    WHERE tenant_id = %(owner)s AND lead_id = ANY(%(ids)s::uuid[])
    GROUP BY lead_id) AS p ON p.lead_id = l.id
WHERE l.tenant_id = %(owner)s AND l.id = ANY(%(ids)s::uuid[])
"""


def _people(ids: set[str]) -> dict[str, Person]:
    with connection.cursor() as cursor:
        cursor.execute(_PEOPLE, {"owner": owner(), "ids": list(ids)})
        return {
            row[0]: Person(
                first_name=row[1],
                last_name=row[2],
                full_name=row[3],
                company=row[4],
                address_line1=row[5],
                unit=row[6],
                city=row[7],
                postal_code=row[8],
                addr_hash=row[9],
                phones=frozenset(row[10] or ()),
                emails=frozenset(row[11] or ()),
            )
            for row in cursor.fetchall()
        }


def evidence(left: Lead, right: Lead) -> list[dict[str, Any]]:
    """Weigh two leads now, for a page that shows what they have in common."""
    keys = [str(sql_id(lead.pk)) for lead in (left, right)]
    people = _people(set(keys))
    return compare(people[keys[0]], people[keys[1]]).reasons


# --- runs -------------------------------------------------------------------------------------


@transaction.atomic
def begin(*, whole: bool, trigger: str = "manual") -> PipelineRun:
    """Begin looking through all leads, or those that are new; the run under way is returned."""
    Tenant.objects.select_for_update(no_key=True).get(pk=current_tenant_id())
    running = PipelineRun.objects.filter(pipeline_name=PIPELINE, status="running").first()
    if running is not None:
        return running
    run = begin_run(PIPELINE, trigger=trigger)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM leads WHERE tenant_id = %s AND superseded_at IS NULL", [owner()]
        )
        total = cursor.fetchone()[0]
        since = None
        if not whole:
            cursor.execute(
                "SELECT max(started_at) - %s::interval FROM pipeline_runs"
                " WHERE tenant_id = %s AND pipeline_name = %s AND status = 'completed'",
                [OVERLAP, owner(), PIPELINE],
            )
            at = cursor.fetchone()[0]
            since = at.isoformat() if at else None
    stats = {"since": since, "after": None, "done": 0, "total": total, "found": 0, "merged": 0}
    PipelineRun.objects.filter(pk=run.pk).update(stats=stats)
    run.stats = stats
    return run


def work(tenant_id: str, *, seconds: float = SLICE_S) -> str:
    """Go on with the tenant's run until it ends or the time is up; return how it stands.

    ``idle`` is no run; ``busy`` another process at it; ``more`` call again.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with tenant_context(tenant_id, durable=True):
            state = _step()
        if state != "more":
            return state
    return "more"


def _step() -> str:
    """Look at the next chunk, in the caller's transaction."""
    open_runs = PipelineRun.objects.filter(pipeline_name=PIPELINE, status="running")
    if not open_runs.exists():
        return "idle"
    run = open_runs.select_for_update(no_key=True, skip_locked=True).order_by("pk").first()
    if run is None:
        return "busy"
    stats = dict(run.stats)
    ids = _next(stats["since"], stats["after"])
    if ids:
        stats["found"] += find_among(ids, run_id=run.pk)
        stats["done"] += len(ids)
        stats["after"] = ids[-1]
    elif merged := _merge_some():
        stats["merged"] += merged
    else:
        end_run(run.pk, status="completed", stats=stats)
        return "done"
    PipelineRun.objects.filter(pk=run.pk).update(stats=stats)
    return "more"


def cancel(run_id: str) -> bool:
    """Stop a run after its present chunk; what it found stays. False: it was over."""
    run = PipelineRun.objects.filter(pk=run_id, pipeline_name=PIPELINE, status="running").first()
    if run is None:
        return False
    end_run(run.pk, status="cancelled", stats=run.stats)
    return True


def _next(since: str | None, after: str | None) -> list[str]:
    """Return the next leads to look at: all, or those with anything younger than *since*.

    Ids are ULIDs, so the youngest rows are the ones with the largest keys.
    """
    values = {
        "owner": owner(),
        "after": after or "00000000-0000-0000-0000-000000000000",
        "since": since,
        "most": CHUNK,
    }
    young = (
        " AND l.id IN (SELECT x.id FROM leads AS x WHERE x.tenant_id = %(owner)s"
        "   AND x.id >= ulid_at(%(since)s::timestamptz)"
        "  UNION ALL SELECT p.lead_id FROM contact_points AS p WHERE p.tenant_id = %(owner)s"
        "   AND p.id >= ulid_at(%(since)s::timestamptz))"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT l.id::text FROM leads AS l WHERE l.tenant_id = %(owner)s"  # noqa: S608
            f" AND l.superseded_at IS NULL AND l.id > %(after)s{young if since else ''}"
            " ORDER BY l.id LIMIT %(most)s",
            values,
        )
        return [row[0] for row in cursor.fetchall()]


#: Merges of one transaction.
MERGES = 20


def _merge_some() -> int:
    """Merge pairs that are surer than the tenant's threshold, if it wants that; return how many.

    The older lead stays. What a person must decide is left to people.
    """
    wanted = thresholds()
    if not wanted.merges:
        return 0
    sure = MergeReview.objects.filter(
        status="open", score__gte=wanted.automatic, incoming__isnull=True
    ).exclude(reason=LEFT)
    merged = 0
    for review in sure.order_by("-score", "-pk")[:MERGES]:
        try:
            with transaction.atomic():
                merge(
                    review.left_id,
                    review.right_id,
                    reason=f"{review.score} of 100: merged by itself",
                    evidence={"review": review.pk, "reasons": review.reasons},
                )
        except MergeRefused:
            MergeReview.objects.filter(pk=review.pk, status="open").update(reason=LEFT)
        merged += 1
    return merged


#: Reason of an open review that the machine could not merge.
LEFT = "Could not be merged by itself."
