"""Lists of leads: pages by key, what a row shows, and a count that stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.core.exceptions import ValidationError
from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import JSONObject

from leads.filters import LeadFilters
from leads.models import ContactPoint, Lead, LeadLabel, LeadScore

PAGE = 50
#: Counting stops here: nobody acts on the difference.
COUNT_CAP = 1000
#: Parameters of a list that are no filters.
PLACES = ("after", "before", "sort")


@dataclass(frozen=True, kw_only=True)
class Page:
    """Rows of a list in their order, and the keys of what lies around them; "" where nothing."""

    rows: list[Lead]
    older: str = ""
    newer: str = ""


class BadPlace(ValueError):
    """The key of a page names no place in this list."""


def live_leads() -> QuerySet[Lead]:
    """Leads that were not merged into others."""
    return Lead.objects.filter(superseded_at=None)


def filters_of(query: Mapping[str, Any]) -> LeadFilters:
    """Return the filter set bound to *query*; ask its ``is_valid`` before its ``qs``."""
    return LeadFilters(query, queryset=live_leads())


def with_columns(rows: QuerySet[Lead]) -> QuerySet[Lead]:
    """Add what a row of the list shows, read by index lead by lead."""
    mine: dict[str, Any] = {"tenant": OuterRef("tenant"), "lead": OuterRef("pk")}
    phone = ContactPoint.objects.filter(**mine, kind="phone").order_by("-is_primary", "id")
    score = LeadScore.objects.filter(**mine)
    labels = LeadLabel.objects.filter(**mine).order_by("id")
    return rows.select_related("assigned_agent").annotate(
        phone=Subquery(phone.values("normalized")[:1]),
        scored=Subquery(score.values(json=JSONObject(score="score", band="band"))[:1]),
        label_words=ArraySubquery(
            labels.values(
                json=JSONObject(name="label__name", color="label__color", kind="label__kind")
            )[:6]
        ),
    )


def page_of(
    rows: QuerySet[Lead],
    *,
    sort: str = "newest",
    after: str = "",
    before: str = "",
    size: int = PAGE,
) -> Page:
    """Return one page of *rows* by key, newest or best first.

    Sorting by score is for leads of one band: an index has them in that order.

    Args:
        rows: filtered leads; of one band where they are sorted by score.
        sort: ``newest`` or ``score``.
        after: key of the last row of the page before.
        before: key of the first row of the page behind.
        size: rows of a page.

    Raises:
        BadPlace: a key names no place.
    """
    by_score = sort == "score"
    if by_score:
        rows = rows.annotate(points=F("scores__score"))
    if after:
        rows = rows.filter(_beyond(after, by_score, "lt"))
    elif before:
        rows = rows.filter(_beyond(before, by_score, "gt"))
    back = bool(before and not after)
    keys = ["points", "id"] if by_score else ["id"]
    ordered = rows.order_by(*(key if back else f"-{key}" for key in keys))
    found = list(ordered[: size + 1])
    more, found = len(found) > size, found[:size]
    if back:
        found.reverse()
    if not found:
        return Page(rows=[])
    has_older, has_newer = (True, more) if back else (more, bool(after))
    return Page(
        rows=found,
        older=_key(found[-1], by_score) if has_older else "",
        newer=_key(found[0], by_score) if has_newer else "",
    )


def _key(lead: Lead, by_score: bool) -> str:
    return f"{lead.points}.{lead.pk}" if by_score else lead.pk  # type: ignore[attr-defined]


def _beyond(key: str, by_score: bool, way: str) -> Q:
    points, _, text = key.rpartition(".")
    try:
        lead_id = Lead._meta.pk.to_python(text)
        number = int(points) if by_score else 0
    except (ValidationError, ValueError) as error:
        raise BadPlace(key) from error
    if lead_id is None or (points and not by_score) or not 0 <= number <= 100:
        raise BadPlace(key)
    if not by_score:
        return Q(**{f"id__{way}": lead_id})
    return Q(**{f"points__{way}": number}) | Q(points=number, **{f"id__{way}": lead_id})


def capped_count(rows: QuerySet[Lead], cap: int = COUNT_CAP) -> int:
    """Return how many *rows* there are, at most one more than *cap*."""
    return len(rows.order_by().values_list("pk", flat=True)[: cap + 1])
