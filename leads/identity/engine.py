"""The engine for batches in memory: vendor pages, answers, API calls."""

from __future__ import annotations

from collections.abc import Sequence

from leads.identity.records import Incoming, Resolved

#: Most records of one call.
MOST = 5_000


class TooMany(ValueError):
    """More records than one call takes, or two with one key."""


def resolve(
    records: Sequence[Incoming],
    *,
    source: str,
    kind: str = "",
    run_id: str | None = None,
    artifact_id: str | None = None,
    actor_id: str | None = None,
) -> list[Resolved]:
    """Find the lead of every record and bring it up to date, or make one, or ask a person.

    Runs in the caller's transaction, which must be a tenant's; until it ends, other batches of the
    tenant wait.

    Args:
        records: at most ``MOST``.
        source: who says it, such as ``batchdata``; decides which values win (``ranks``).
        kind: import, pull, enrichment, crm or manual, which names the lead event (imported, pulled,
            enriched, …); empty: what the source usually is.
        run_id: ``run_…`` they come from.
        artifact_id: ``art_…`` that keeps the answer.
        actor_id: ``actor_…`` of the person who did it.

    Returns:
        One result per record, in their order.

    Raises:
        TooMany: over ``MOST`` records, or two with one key.
        leads.actions.NoTenant: outside a tenant's transaction.
    """
    raise NotImplementedError


def check(records: Sequence[Incoming], *, source: str, kind: str = "") -> list[Resolved]:
    """Return what ``resolve`` would do, and write nothing."""
    raise NotImplementedError
