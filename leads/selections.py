"""Selections of leads: what a person was shown, carried by a form, met exactly or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from django.core import signing
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import QueryDict

from leads.actions import owner
from leads.filters import LeadFilters
from leads.listing import filters_of, live_leads
from leads.models import Lead

#: A selection is counted up to this many; a larger one has to be narrowed.
MOST = 50_000
#: Leads of a page that may be ticked.
MOST_TICKED = 200
#: Forms are good for an hour.
MAX_AGE_S = 3600


class SelectionRefused(Exception):
    """The selection says nothing that can be met; nothing was done."""


class SelectionChanged(Exception):
    """There are more or fewer leads than a person was shown; nothing was done."""

    def __init__(self, shown: int, now: int) -> None:
        super().__init__(
            f"The list changed: {shown:,} leads were shown, {now:,} match now. Nothing was done."
            " Look again and repeat."
        )
        self.shown = shown
        self.now = now


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Leads that a person was shown: a filter up to its newest lead, or the leads ticked."""

    query: Mapping[str, list[str]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    newest: str = ""
    count: int = 0

    @property
    def is_too_large(self) -> bool:
        return self.count > MOST

    def sign(self) -> str:
        """Return it as a form carries it."""
        return signing.dumps({"owner": owner(), **asdict(self)}, salt="leads", compress=True)


def read_selection(text: str) -> Selection | None:
    """Return the selection a form carried; None when it is too old, forged or another tenant's."""
    try:
        carried = signing.loads(text, salt="leads", max_age=MAX_AGE_S)
    except signing.BadSignature:
        return None
    return Selection(**carried) if carried.pop("owner") == owner() else None


def filter_query(query: QueryDict | Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the parameters of *query* that are filters, and say something."""
    lists = dict(query.lists()) if isinstance(query, QueryDict) else dict(query)
    known = LeadFilters.base_filters
    return {
        name: [value for value in values if value]
        for name, values in lists.items()
        if name in known and any(values)
    }


def select_matching(query: QueryDict) -> Selection:
    """Return all leads that *query* lists now.

    Raises:
        SelectionRefused: a filter makes no sense.
    """
    chosen = Selection(query=filter_query(query))
    ids = list(leads_of(chosen).order_by("-id").values_list("pk", flat=True)[: MOST + 1])
    return Selection(query=chosen.query, newest=ids[0] if ids else "", count=len(ids))


def select_ticked(ids: Iterable[str]) -> Selection:
    """Return the leads with these ids; those of others, and merged ones, are not among them.

    Raises:
        SelectionRefused: an id is none of a lead, or there are none or too many.
    """
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        raise SelectionRefused("Tick the leads first.")
    if len(wanted) > MOST_TICKED:
        raise SelectionRefused(f"At most {MOST_TICKED} leads can be ticked.")
    try:
        known = [Lead._meta.pk.to_python(one) for one in wanted]
    except ValidationError as error:
        raise SelectionRefused("This is no lead.") from error
    found = list(live_leads().filter(pk__in=known).order_by("-id").values_list("pk", flat=True))
    if not found:
        raise SelectionRefused("These leads are not here any more.")
    return Selection(ids=found, newest=found[0], count=len(found))


def leads_of(selection: Selection) -> QuerySet[Lead]:
    """Return the leads of a selection, as they are now.

    Raises:
        SelectionRefused: a filter makes no sense.
    """
    if selection.ids:
        return live_leads().filter(pk__in=selection.ids)
    query = QueryDict(mutable=True)
    for name, values in selection.query.items():
        query.setlist(name, list(values))
    filters = filters_of(query)
    if not filters.is_valid():
        raise SelectionRefused("A filter makes no sense: correct it first.")
    rows: QuerySet[Lead] = filters.qs
    return rows.filter(pk__lte=selection.newest) if selection.newest else rows


def exactly(selection: Selection) -> QuerySet[Lead]:
    """Return the leads of a selection if they are as many as were shown.

    Raises:
        SelectionChanged: there are more or fewer.
        SelectionRefused: it was too large, or empty.
    """
    if selection.is_too_large:
        raise SelectionRefused(f"Over {MOST:,} leads match: narrow the list.")
    if not selection.count:
        raise SelectionRefused("No lead is selected.")
    rows = leads_of(selection)
    now = len(rows.order_by().values_list("pk", flat=True)[: MOST + 1])
    if now != selection.count:
        raise SelectionChanged(selection.count, now)
    return rows
