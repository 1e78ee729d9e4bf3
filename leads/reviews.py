"""What people say about pairs: one lead, two leads, or no answer; and whose a waiting record is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from leads.actions import create_lead
from leads.identity.engine import resolve
from leads.identity.records import Incoming, Point
from leads.merging import MergeRefused, merge, root_of
from leads.models import Merge, MergeReview
from leads.pairs import settle
from tenants.actions import note

#: Whose a waiting record becomes, beside the id of a lead.
NEW = "new"
DECISIONS = {
    "merge": "Merge",
    "not_duplicate": "Not a duplicate",
    "drop": "Close without an answer",
}


class DecisionRefused(Exception):
    """The decision cannot be taken; the text says why, and nothing was written."""


@transaction.atomic
def decide(
    review_id: str,
    decision: str,
    *,
    actor_id: str | None,
    survivor_id: str | None = None,
    choices: Mapping[str, str] | None = None,
    give_to: str | None = None,
    reason: str = "",
) -> Merge | None:
    """Close a review; return the merge, when it is one.

    Args:
        review_id: ``mrv_…``.
        decision: of ``DECISIONS``. *not_duplicate* is remembered for ever.
        actor_id: who decided.
        survivor_id: of a merge, the lead that stays; None: the older one.
        choices: of a merge: see ``merging.merge``.
        give_to: whose a waiting record is when the two stay two: a lead of the pair, or ``new``.
        reason: in the person's own words.

    Raises:
        DecisionRefused: unknown or closed already, or a record waits and nobody said whose it is.
        MergeRefused: see ``merging.merge``.
        MergeReview.DoesNotExist: no such review in this tenant.
    """
    if decision not in DECISIONS:
        raise DecisionRefused("Choose merge, not a duplicate, or close.")
    review = MergeReview.objects.select_for_update(no_key=True).get(pk=review_id)
    if review.status != "open":
        raise DecisionRefused(f"This was decided already: {review.get_status_display().lower()}.")
    pair = [root_of(review.left_id), root_of(review.right_id)]
    merged = None
    if decision == "merge":
        merged, give_to = _merge(review, pair, survivor_id, choices, actor_id, reason)
    elif decision == "not_duplicate":
        if review.incoming is not None and give_to not in (*pair, NEW):
            raise DecisionRefused("A record waits: say which lead it belongs to, or a new one.")
        settle(review, status="not_duplicate", actor_id=actor_id, reason=reason)
    else:
        settle(review, status="dropped", actor_id=actor_id, reason=reason)
    if review.incoming is not None and decision != "drop" and give_to:
        _apply(review, give_to, actor_id)
    note(
        f"review.{decision}",
        actor_id=actor_id,
        subject=review,
        after={"left": review.left_id, "right": review.right_id, "given_to": give_to},
        reason=reason,
    )
    return merged


def _merge(
    review: MergeReview,
    pair: list[str],
    survivor_id: str | None,
    choices: Mapping[str, str] | None,
    actor_id: str | None,
    reason: str,
) -> tuple[Merge | None, str]:
    """Merge the pair and close the review; return the merge and the lead that stays."""
    if pair[0] == pair[1]:  # merged by another way meanwhile
        settle(review, status="merged", actor_id=actor_id, reason=reason)
        return None, pair[0]
    survivor = survivor_id or min(pair)
    if survivor not in pair:
        raise MergeRefused("The lead that stays must be one of the two.")
    other = pair[1] if survivor == pair[0] else pair[0]
    merged = merge(
        survivor,
        other,
        choices=choices,
        actor_id=actor_id,
        reason=reason,
        evidence={"review": review.pk, "score": review.score, "reasons": review.reasons},
    )
    settle(review, status="merged", actor_id=actor_id, reason=reason)
    return merged, survivor


def _apply(review: MergeReview, give_to: str, actor_id: str | None) -> None:
    """Give every record that waits to its lead, as if it had come with the lead's id."""
    for number, record in enumerate(waiting(review)):
        source = str(record.get("source") or review.source)
        lead_id = give_to
        if give_to == NEW:
            lead_id = create_lead(source=source[:40], actor_id=actor_id).pk
        resolve(
            [_incoming(record, lead_id, f"{review.pk}.{number}")],
            source=source,
            kind=str(record.get("kind") or ""),
            run_id=review.run_id,
            actor_id=actor_id,
        )
    MergeReview.objects.filter(pk=review.pk).update(incoming_done_at=Now(), updated_at=Now())


def waiting(review: MergeReview) -> Iterator[dict[str, Any]]:
    """Return the records that wait for a review, the first one first."""
    if review.incoming is None:
        return
    yield {name: value for name, value in review.incoming.items() if name != "more"}
    yield from review.incoming.get("more", ())


def _incoming(record: Mapping[str, Any], lead_id: str, key: str) -> Incoming:
    known = {field.name for field in Point.__dataclass_fields__.values()}
    return Incoming(
        key=key,
        fields=record.get("fields") or {},
        points=[
            Point(**{name: value for name, value in point.items() if name in known})
            for point in record.get("points") or ()
        ],
        source_id=record.get("source_id") or "",
        lead_id=lead_id,
        property=record.get("property"),
        contacts=record.get("contacts") or (),
        business=record.get("business"),
        raw=record.get("raw"),
    )
