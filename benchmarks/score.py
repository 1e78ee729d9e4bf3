"""Scores of a million leads: computed, written when all change, looked at when none does.

On the big database of seed.py, as the application's role, by the chunks that the worker takes, each
one transaction. Beside it what a Django team would write: ``bulk_update`` of as many rows with
points that were worked out before.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import seed
from common import connection, note, report

from leads.models import Lead, LeadScore, ScoreRule
from leads.scoring import Draft, begin_rescore, preview_rule, rescore_all, rule_in_force
from tenants.context import tenant_context
from tenants.models import Tenant

READ_BAR, WRITE_BAR, PEER_ROWS = 100_000, 40_000, 10_000


def main() -> bool:
    tenant = seed.ensure().big
    with tenant_context(tenant.pk):
        is_scored = LeadScore.objects.exists()
    if not is_scored:
        note(f"first scores: {rescored(tenant):,.0f} leads/s")
        vacuum()
    computed = previewed(tenant)
    change_every_score(tenant)
    changed = rescored(tenant)
    share = hot_share()
    vacuum()
    unchanged = rescored(tenant)
    peer = by_bulk_update(tenant)
    least = min(computed, unchanged)
    return report(
        "score",
        value=changed,
        unit="leads/s when all change",
        against=f"bulk_update of their points: {peer:.0f}/s",
        ratio=changed / peer,
        bar=f">= {WRITE_BAR:,}/s when all change, >= {READ_BAR:,}/s computed or unchanged",
        ok=changed >= WRITE_BAR and least >= READ_BAR,
        computed_per_s=round(computed),
        unchanged_per_s=round(unchanged),
        hot_share=round(share, 3),
        leads=seed.LEADS,
    )


def previewed(tenant: Tenant) -> float:
    """Leads computed a second under a rule that is not saved."""
    with tenant_context(tenant.pk):
        began = time.perf_counter()
        moves = preview_rule(replace(Draft(), age_min=50, contactable_from=55))
        took = time.perf_counter() - began
    seen = sum(move.leads for move in moves)
    note(f"  computed {seen:,} in {took:.1f} s")
    return seen / took


def change_every_score(tenant: Tenant) -> None:
    """Put a version in force that gives nearly every lead other points."""
    with tenant_context(tenant.pk, durable=True):
        now = rule_in_force()
        other = 9 if now.occupied == 10 else 10
        values = {**vars(replace(Draft.of(now), occupied=other, parcel=other))}
        ScoreRule.objects.create(version=now.version + 1, reason="bench", **values)


def rescored(tenant: Tenant) -> float:
    """Leads looked at a second, every chunk committed."""
    with tenant_context(tenant.pk, durable=True):
        run = begin_rescore(trigger="bench")
    began = time.perf_counter()
    while rescore_all(tenant.pk, seconds=60):
        pass
    took = time.perf_counter() - began
    with tenant_context(tenant.pk):
        run.refresh_from_db()
    seen = run.stats["seen"]
    if run.status != "completed" or seen != run.stats["of"] or seen < seed.LEADS:
        raise SystemExit(f"not all were scored: {run.status} {run.stats} {run.error}")
    note(f"  {run.stats['seen']:,} leads, {run.stats['changed']:,} changed, in {took:.1f} s")
    return seen / took


def by_bulk_update(tenant: Tenant) -> float:
    """Rows a second that Django's bulk_update writes."""
    with tenant_context(tenant.pk):
        rows = list(LeadScore.objects.order_by("lead")[:PEER_ROWS])
        leads = Lead.objects.in_bulk([row.lead_id for row in rows])
        began = time.perf_counter()
        for row in rows:
            row.occupied = 7 if leads[row.lead_id].owner_occupied else 0
            parts = (row.email, row.phone, row.parcel, row.occupied, row.demographics)
            row.score = sum(part or 0 for part in parts)
        fields = ["occupied", "score"]
        LeadScore.objects.bulk_update(rows, fields, batch_size=1000)
        took = time.perf_counter() - began
        connection.set_rollback(True)
    return len(rows) / took


def hot_share() -> float:
    """Share of the rewritten rows that no index noticed."""
    with seed.superuser() as own:
        own.execute("SELECT pg_stat_force_next_flush()")
        updated, hot = own.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'lead_scores'"
        ).fetchone()
    return hot / max(updated, 1)


def vacuum() -> None:
    with seed.superuser() as own:
        own.execute("VACUUM (ANALYZE) lead_scores, quality_scores")


if __name__ == "__main__":
    sys.exit(not main())
