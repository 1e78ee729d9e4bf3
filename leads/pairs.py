"""Pairs of leads that may be one: proposed once, settled for good, followed through merges."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from leads.actions import owner, sql_id
from leads.models import MergeReview
from tenants.correlation import correlation_id
from tenants.ulids import to_text

#: Why a review is closed that a merge has made pointless.
BY_MERGE = "Closed by a merge."
CARRIED = "Said of a lead that became part of this one."


def propose(
    left: str,
    right: str,
    *,
    score: int,
    reasons: Sequence[dict[str, Any]],
    source: str,
    run_id: str | None = None,
    incoming: dict[str, Any] | None = None,
) -> str | None:
    """Propose that two leads are one, once per pair; return the review's ``mrv_…``.

    Args:
        left: ``lead_…``; the order does not matter, and a merged lead stands for its survivor.
        right: the other one.
        score: 0 to 100, how sure it is.
        reasons: per field ``{"field", "agrees", "points", "text"}``.
        source: import, pull, crm, inbound or finder.
        run_id: ``run_…`` that found it.
        incoming: a record that fits both and waits for the decision.

    Returns:
        None where a person said that they are two, or where they are one already; then nothing
        was written, and *incoming* is still the caller's.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT propose_review(%s, %s, %s, %s, %s::jsonb, %s, %s, %s::jsonb, %s)",
            [
                owner(),
                sql_id(left),
                sql_id(right),
                score,
                json.dumps(list(reasons)),
                source,
                sql_id(run_id),
                None if incoming is None else json.dumps(incoming),
                correlation_id(),
            ],
        )
        made = cursor.fetchone()[0]
    return None if made is None else to_text("mrv", made)


def settle(review: MergeReview, *, status: str, actor_id: str | None, reason: str = "") -> None:
    """Close a review; a pair that was settled before is only dropped, for the fact stands."""
    if status == "not_duplicate" and _settled(review.left_id, review.right_id).exists():
        status = "dropped"
    MergeReview.objects.filter(pk=review.pk).update(
        status=status,
        decided_by=actor_id,
        decided_at=Now(),
        reason=reason[:200],
        updated_at=Now(),
    )


def follow(survivor: str, merged: str, *, actor_id: str | None) -> dict[str, Any]:
    """Let the reviews of a merged lead be the survivor's; return what ``part`` needs.

    The pair's own review is merged. An open one with a third lead becomes the survivor's, or is
    dropped where the survivor has its own; one with a record that waits stays as it is and is
    decided for the survivor. What is settled about the merged lead is settled about the survivor.
    """
    record: dict[str, Any] = {"decided": [], "repointed": {}, "dropped": [], "carried": []}
    for review in _reviews_of(merged).filter(status="open").select_for_update():
        third = review.right_id if review.left_id == merged else review.left_id
        if third == survivor:
            settle(review, status="merged", actor_id=actor_id, reason="")
            record["decided"].append(review.pk)
        elif _between(survivor, third).filter(status__in=["open", "not_duplicate"]).exists():
            if review.incoming is None:
                settle(review, status="dropped", actor_id=actor_id, reason=BY_MERGE)
                record["dropped"].append(review.pk)
        else:
            record["repointed"][review.pk] = [review.left_id, review.right_id]
            _point(review.pk, survivor, third)
    for review in _reviews_of(merged).filter(status="not_duplicate"):
        third = review.right_id if review.left_id == merged else review.left_id
        if third != survivor and not _settled(*sorted((survivor, third))).exists():
            record["carried"].append(_carry(review, survivor, third))
    return record


def part(record: dict[str, Any]) -> None:
    """Take back what ``follow`` did, as far as nobody decided otherwise since."""
    for pk, (left, right) in record["repointed"].items():
        taken = MergeReview.objects.filter(left=left, right=right, status="open").exists()
        if not taken:
            MergeReview.objects.filter(pk=pk, status="open").update(left=left, right=right)
    for pk in record["dropped"]:
        _reopen(pk, "dropped")
    for pk in record["decided"]:
        _reopen(pk, "merged")
    MergeReview.objects.filter(pk__in=record["carried"], status="not_duplicate").update(
        status="dropped", updated_at=Now()
    )


def _reopen(pk: str, status: str) -> None:
    review = MergeReview.objects.filter(pk=pk, status=status).first()
    if review is None or _between(review.left_id, review.right_id).filter(status="open").exists():
        return
    MergeReview.objects.filter(pk=pk).update(
        status="open", decided_by=None, decided_at=None, reason="", updated_at=Now()
    )


def _carry(review: MergeReview, survivor: str, third: str) -> str:
    left, right = sorted((survivor, third))
    carried = MergeReview.objects.create(
        left_id=left,
        right_id=right,
        score=review.score,
        reasons=review.reasons,
        source=review.source,
        status="not_duplicate",
        decided_by=review.decided_by,
        decided_at=review.decided_at,
        reason=CARRIED,
        correlation_id=correlation_id(),
    )
    return carried.pk


def _point(pk: str, one: str, other: str) -> None:
    left, right = sorted((one, other))
    with transaction.atomic():
        MergeReview.objects.filter(pk=pk).update(left=left, right=right, updated_at=Now())


def _reviews_of(lead_id: str) -> Any:
    return MergeReview.objects.filter(Q(left=lead_id) | Q(right=lead_id)).order_by("pk")


def _between(one: str, other: str) -> Any:
    left, right = sorted((one, other))
    return MergeReview.objects.filter(left=left, right=right)


def _settled(left: str, right: str) -> Any:
    return MergeReview.objects.filter(left=left, right=right, status="not_duplicate")
