"""Households: leads that share a phone number, and so get one text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from leads.models import ContactPoint, Lead

#: Names shown of a number that many have: an office, a wrong entry.
MOST_NAMES = 10


def sharing(numbers: Iterable[str], *, but: str = "") -> Mapping[str, list[Lead]]:
    """Return number → the living leads that have it, the oldest first, at most ``MOST_NAMES``.

    Args:
        numbers: E.164.
        but: ``lead_…`` left out, whose page it is.
    """
    points = (
        ContactPoint.objects.filter(
            kind="phone",
            normalized__in=list(numbers),
            wrong_number_at=None,
            lead__superseded_at=None,
        )
        .exclude(lead=but or None)
        .select_related("lead")
        .order_by("lead_id")
    )
    found: dict[str, list[Lead]] = {}
    for point in points[:500]:
        leads = found.setdefault(point.normalized, [])
        if len(leads) < MOST_NAMES:
            leads.append(point.lead)
    return found
