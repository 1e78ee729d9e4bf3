"""The filters of leads: one set for the list, its selections, exports and the API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

import django_filters
from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Exists, Func, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from leads.models import (
    Consent,
    ContactPoint,
    Label,
    Lead,
    LeadLabel,
    MergeReview,
)
from leads.models.score import BANDS
from leads.search import SHORTEST, search
from leads.states import LeadState
from tenants.filters import TenantFilterSet, UlidFilter
from tenants.ulids import encode

YES_NO = {"yes": "Yes", "no": "No"}
YES_NO_UNKNOWN = {**YES_NO, "unknown": "Unknown"}
#: Where a number field ends: a bigint holds more, people's money does not.
MOST_DOLLARS = 1_000_000_000_000
#: Sorts of lists → how people read them.
SORTS = {"newest": "Newest first", "score": "Best score first"}


class DateFilter(django_filters.DateFilter):
    """A day of the running time zone."""

    def __init__(self, **kwargs: Any) -> None:
        bounds = [MinValueValidator(date(1900, 1, 1)), MaxValueValidator(date(2200, 1, 1))]
        widget = forms.DateInput(attrs={"type": "date"})
        super().__init__(widget=widget, validators=bounds, **kwargs)


def _number(label: str, low: int, high: int) -> django_filters.NumberFilter:
    return django_filters.NumberFilter(
        label=label, min_value=low, max_value=high, decimal_places=0, max_digits=15
    )


def _choice(label: str, choices: Mapping[str, str], method: str) -> django_filters.ChoiceFilter:
    return django_filters.ChoiceFilter(label=label, choices=list(choices.items()), method=method)


def _text(label: str, longest: int, **kwargs: Any) -> django_filters.CharFilter:
    return django_filters.CharFilter(label=label, max_length=longest, **kwargs)


class LeadFilters(TenantFilterSet):
    """What a list of leads may be narrowed to; every parameter may be left out.

    ``band`` and ``score_…`` mean the score as it is now. A label is named by its key.
    """

    q = _text("Name, number, street or id", 200, method="by_words")
    state = django_filters.MultipleChoiceFilter(
        label="State", choices=LeadState.choices, distinct=False
    )
    stage = _text("Stage", 40)
    band = django_filters.MultipleChoiceFilter(
        label="Band", choices=list(BANDS.items()), method="by_score"
    )
    score_min = django_filters.NumberFilter(
        label="Score from", min_value=0, max_value=100, method="by_score", decimal_places=0
    )
    score_max = django_filters.NumberFilter(
        label="Score to", min_value=0, max_value=100, method="by_score", decimal_places=0
    )
    source = _text("Source", 40)
    label = _text("Label, tag or flag", 40, method="by_label")
    agent = UlidFilter(label="Agent", prefix="actor", field_name="assigned_agent")
    unassigned = _choice("Without an agent", YES_NO, "by_unassigned")
    city = _text("City", 100, lookup_expr="iexact")
    region = _text("State", 2, method="by_region")
    zip = _text("ZIP", 10, field_name="postal_code", lookup_expr="startswith")
    has_phone = _choice("Has a phone", YES_NO, "by_point")
    has_mobile = _choice("Has a mobile", YES_NO, "by_point")
    has_email = _choice("Has an e-mail", YES_NO, "by_point")
    owner_occupied = _choice("Owner occupied", YES_NO_UNKNOWN, "by_occupied")
    equity_min = _number("Equity from", -MOST_DOLLARS, MOST_DOLLARS)
    equity_max = _number("Equity to", -MOST_DOLLARS, MOST_DOLLARS)
    value_min = _number("Value from", 0, MOST_DOLLARS)
    value_max = _number("Value to", 0, MOST_DOLLARS)
    created_from = DateFilter(label="Created from", method="by_created_from")
    created_to = DateFilter(label="Created to", method="by_created_to")
    seen_from = DateFilter(label="Seen from", method="by_seen_from")
    seen_to = DateFilter(label="Seen to", method="by_seen_to")
    run = UlidFilter(label="Import or pull run", prefix="run")
    suppressed = _choice("Opted out", YES_NO, "by_suppressed")
    duplicates = _choice("Duplicates open", YES_NO, "by_duplicates")
    not_contacted_since = DateFilter(label="Not contacted since", method="by_contact")

    #: Leads that the words found → (place, by what), once ``qs`` was asked for; None: no words.
    hits: dict[str, tuple[int, str]] | None = None

    class Meta:
        model = Lead
        fields: list[str] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, column, lookup in (
            ("equity_min", "estimated_equity", "gte"),
            ("equity_max", "estimated_equity", "lte"),
            ("value_min", "property_value", "gte"),
            ("value_max", "property_value", "lte"),
        ):
            self.filters[name].field_name = column
            self.filters[name].lookup_expr = lookup

    def by_words(self, rows: QuerySet[Lead], name: str, value: str) -> QuerySet[Lead]:
        if len(value) < SHORTEST:
            return rows
        self.hits = {hit.lead_id: (place, hit.kind) for place, hit in enumerate(search(value))}
        return rows.filter(pk__in=list(self.hits))

    def by_score(self, rows: QuerySet[Lead], name: str, value: Any) -> QuerySet[Lead]:
        """Ask once for band and points together: they are one row."""
        given = self.form.cleaned_data
        first = next(n for n in ("band", "score_min", "score_max") if _is_given(given.get(n)))
        if name != first:
            return rows
        asked: dict[str, Any] = {}
        if given.get("band"):
            asked["scores__band__in"] = given["band"]
        if given.get("score_min") is not None:
            asked["scores__score__gte"] = given["score_min"]
        if given.get("score_max") is not None:
            asked["scores__score__lte"] = given["score_max"]
        return rows.filter(**asked)  # one row of scores a lead, so that a join repeats none

    def by_label(self, rows: QuerySet[Lead], name: str, value: str) -> QuerySet[Lead]:
        labels = list(Label.objects.filter(key=value.lower()).values_list("pk", flat=True)[:3])
        bearing = LeadLabel.objects.filter(
            tenant=OuterRef("tenant"), lead=OuterRef("pk"), label__in=labels
        )
        return rows.filter(Exists(bearing)) if labels else rows.none()

    def by_unassigned(self, rows: QuerySet[Lead], name: str, value: str) -> QuerySet[Lead]:
        return rows.filter(assigned_agent__isnull=value == "yes")

    def by_region(self, rows: QuerySet[Lead], name: str, value: str) -> QuerySet[Lead]:
        return rows.filter(region=value.upper())

    def by_point(self, rows: QuerySet[Lead], name: str, value: str) -> QuerySet[Lead]:
        points = ContactPoint.objects.filter(tenant=OuterRef("tenant"), lead=OuterRef("pk"))
        points = points.filter(kind="email" if name == "has_email" else "phone")
        if name == "has_mobile":
            points = points.filter(line_type="mobile")
        return _whether(rows, name, points, value == "yes")

    def by_occupied(self, rows: QuerySet[Lead], name: str, value: str) -> QuerySet[Lead]:
        return rows.filter(owner_occupied={"yes": True, "no": False, "unknown": None}[value])

    def by_created_from(self, rows: QuerySet[Lead], name: str, value: date) -> QuerySet[Lead]:
        moment = start_of(value)
        return rows.filter(id__gte=first_lead_id(moment), created_at__gte=moment)

    def by_created_to(self, rows: QuerySet[Lead], name: str, value: date) -> QuerySet[Lead]:
        return rows.filter(created_at__lt=start_of(value, days=1))

    def by_seen_from(self, rows: QuerySet[Lead], name: str, value: date) -> QuerySet[Lead]:
        return rows.filter(last_seen_at__gte=start_of(value))

    def by_seen_to(self, rows: QuerySet[Lead], name: str, value: date) -> QuerySet[Lead]:
        return rows.filter(last_seen_at__lt=start_of(value, days=1))

    def by_suppressed(self, rows: QuerySet[Lead], name: str, value: str) -> QuerySet[Lead]:
        """Opted out is who is in that state, or has a number that texts are stopped for."""
        out = Consent.objects.filter(
            tenant=OuterRef("tenant"),
            channel="sms",
            scope="",
            state="opted_out",
            address__in=[
                OuterRef("normalized"),
                Func(OuterRef("normalized"), function="address_digest"),
            ],
        )
        points = ContactPoint.objects.filter(
            Exists(out), tenant=OuterRef("tenant"), lead=OuterRef("pk"), kind="phone"
        )
        rows = rows.annotate(_stopped=Subquery(points.values("kind")[:1]))
        stopped = Q(state=LeadState.SUPPRESSED) | Q(_stopped__isnull=False)
        return rows.filter(stopped if value == "yes" else ~stopped)

    def by_duplicates(self, rows: QuerySet[Lead], name: str, value: str) -> QuerySet[Lead]:
        open_ones = MergeReview.objects.filter(tenant=OuterRef("tenant"), status="open")
        either = Exists(open_ones.filter(left=OuterRef("pk"))) | Exists(
            open_ones.filter(right=OuterRef("pk"))
        )
        return rows.filter(either) if value == "yes" else rows.exclude(either)

    def by_contact(self, rows: QuerySet[Lead], name: str, value: date) -> QuerySet[Lead]:
        return rows.filter(Q(last_attempt_at=None) | Q(last_attempt_at__lt=start_of(value)))


def _is_given(value: Any) -> bool:
    return value not in (None, "", [])


def _whether(rows: QuerySet[Lead], name: str, inner: QuerySet[Any], wanted: bool) -> QuerySet[Lead]:
    """Keep leads that have, or lack, a row of *inner*.

    As a scalar that is looked up lead by lead: a join would read the whole other table first.
    """
    mark = f"_{name}"
    rows = rows.annotate(**{mark: Subquery(inner.values("kind")[:1])})
    return rows.filter(**{f"{mark}__isnull": not wanted})


def start_of(day: date, *, days: int = 0) -> datetime:
    """Return midnight of *day* in the running time zone, *days* later."""
    return timezone.make_aware(datetime.combine(day + timedelta(days=days), time.min))


def first_lead_id(moment: datetime) -> str:
    """Return the smallest id of a lead made a minute before *moment*: ids carry their time."""
    milliseconds = max(int(moment.timestamp() * 1000) - 60_000, 0)
    return f"lead_{encode(min(milliseconds, 2**48 - 1) << 80)}"
