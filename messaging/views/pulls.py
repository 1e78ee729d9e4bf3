"""Vendor pulls in the browser: saved queries, what they would cost, when they run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django.contrib import messages
from django.db.models import OuterRef, Subquery
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from integrations import tasks
from integrations.actions_pulls import PullRefused, QueryValues, save_query, start_sweep
from integrations.models import Integration, PullQuery, PullSweep
from integrations.providers import providers
from integrations.providers.data import Searches
from integrations.pull_estimates import (
    ask_count,
    budget_of,
    estimate_of,
    month_spend,
    unfinished_of,
    week_of,
)
from integrations.pull_money import price
from integrations.pull_queries import (
    PROPERTY_TYPES,
    QUICK_LISTS,
    QueryRefused,
    criteria_of,
    fields_of,
)
from messaging.views.access import door, found
from tenants.context import database_now
from tenants.http import TenantRequest
from tenants.permissions import allows

PAGE, SWEEPS = 50, 25
#: How long a page waits for a count that was asked for.
COUNT_WAIT = timedelta(minutes=5)
RHYTHMS = {
    "": "Only by hand",
    "60": "Every hour",
    "180": "Every 3 hours",
    "360": "Every 6 hours",
    "720": "Every 12 hours",
    "1440": "Every day",
    "10080": "Every week",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A saved query as the list shows it. Cents."""

    query: PullQuery
    last: PullSweep | None
    expected: int | None
    month: int


@require_GET
@door("view")
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: the saved queries, with their last sweep, the next run and the month's spend."""
    newest = PullSweep.objects.filter(query=OuterRef("pk")).order_by("-id").values("id")[:1]
    queries = PullQuery.objects.select_related("integration").annotate(last=Subquery(newest))
    if after := request.GET.get("after"):
        queries = queries.filter(id__lt=found(PullQuery.objects.all(), after).pk)
    listed = list(queries.order_by("-id")[: PAGE + 1])
    shown = listed[:PAGE]
    sweeps = PullSweep.objects.in_bulk([one.last for one in shown if one.last])
    month = month_spend([one.pk for one in shown], request.tenant)
    rows = [
        Row(
            query=one,
            last=sweeps.get(one.last) if one.last else None,
            expected=None if one.counted is None else price(one.counted, one.price_cents),
            month=month.get(one.pk, 0),
        )
        for one in shown
    ]
    context = {
        "rows": rows,
        "after": shown[-1].pk if len(listed) > PAGE else "",
        "first": not after,
        "budget": budget_of(request.tenant),
        "has_account": bool(_accounts()),
        "may_configure": allows(request.actor, "configure"),
        "tab": "queries",
    }
    return render(request, "integrations/pulls/index.html", context)


def _accounts() -> list[Integration]:
    """Return the accounts with a vendor that can be searched."""
    names = [name for name in providers if issubclass(providers[name], Searches)]
    return list(Integration.objects.filter(provider__in=names, enabled=True).order_by("name"))


# --- one query --------------------------------------------------------------------------------


@require_GET
@door("view")
def query(request: TenantRequest, slug: str, pull_query: str) -> HttpResponse:
    """Page: what a query would cost now, its sweeps, and how to run it."""
    row = found(PullQuery.objects.select_related("integration"), pull_query)
    return _show(request, row)


def _show(
    request: TenantRequest, row: PullQuery, *, status: int = 200, **more: Any
) -> HttpResponse:
    sweeps = PullSweep.objects.filter(query=row).select_related("actor").order_by("-id")
    if after := request.GET.get("after"):
        sweeps = sweeps.filter(id__lt=found(PullSweep.objects.filter(query=row), after).pk)
    listed = list(sweeps[: SWEEPS + 1])
    context = {
        **_estimate(request, row),
        "sweeps": listed[:SWEEPS],
        "after": listed[SWEEPS - 1].pk if len(listed) > SWEEPS else "",
        "first": not after,
        "unfinished": unfinished_of([row.pk]).get(row.pk),
        "month": month_spend([row.pk], request.tenant).get(row.pk, 0),
        "rhythm": _rhythm(row.every_minutes),
        "criteria": fields_of(row.params),
        "may_configure": allows(request.actor, "configure"),
        "tab": "queries",
        **more,
    }
    return render(request, "integrations/pulls/query.html", context, status=status)


def _estimate(request: TenantRequest, row: PullQuery) -> dict[str, Any]:
    asked = row.count_asked_at
    return {
        "query": row,
        "estimate": estimate_of(row, request.tenant),
        "is_counting": asked is not None and database_now() - asked < COUNT_WAIT,
        "may_configure": allows(request.actor, "configure"),
    }


def _rhythm(minutes: int | None) -> str:
    key = "" if minutes is None else str(minutes)
    return RHYTHMS.get(key, f"Every {minutes} minutes")


@require_GET
@door("view")
def estimate_part(request: TenantRequest, slug: str, pull_query: str) -> HttpResponse:
    """Fragment: the estimate; asks again while the vendor counts."""
    row = found(PullQuery.objects.select_related("integration"), pull_query)
    return render(request, "integrations/pulls/_estimate.html", _estimate(request, row))


@require_POST
@door("configure")
def count(request: TenantRequest, slug: str, pull_query: str) -> HttpResponse:
    """Have the vendor count a query, which costs nothing."""
    row = found(PullQuery.objects.all(), pull_query)
    ask_count(row)
    tasks.count_soon(request.tenant.pk, row.pk)
    return redirect("messaging:pull-query", slug, row.pk)


@require_POST
@door("configure")
def run(request: TenantRequest, slug: str, pull_query: str) -> HttpResponse:
    """Begin a sweep now."""
    row = found(PullQuery.objects.select_related("integration"), pull_query)
    try:
        cap = cents_of(request.POST.get("cap", ""), "The cap")
        sweep = start_sweep(
            row.pk,
            actor_id=request.actor.pk,
            cap_cents=cap,
            is_full=request.POST.get("full") == "1",
        )
    except (PullRefused, QueryRefused) as refused:
        return _show(request, row, status=422, error=str(refused))
    tasks.pull_soon(request.tenant.pk, row.pk)
    return redirect("messaging:pull-sweep", slug, sweep.pk)


# --- the form ---------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@door("configure")
def new(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: the form of a new query."""
    if request.method == "POST":
        return _save(request, slug, None)
    values = {"page_size": "100", "enabled": "1", "quick_lists": [], "every_minutes": ""}
    return _form(request, values, None)


@require_http_methods(["GET", "POST"])
@door("configure")
def edit(request: TenantRequest, slug: str, pull_query: str) -> HttpResponse:
    """Page: the form of a saved query."""
    row = found(PullQuery.objects.select_related("integration"), pull_query)
    if request.method == "POST":
        return _save(request, slug, row)
    values = {
        **fields_of(row.params),
        "name": row.name,
        "integration": row.integration_id,
        "cap": _dollars(row.run_cap_cents),
        "price": _dollars(row.price_cents),
        "page_size": str(row.page_size),
        "every_minutes": str(row.every_minutes or ""),
        "next_run": f"{timezone.localtime(row.next_run_at):%Y-%m-%dT%H:%M}"
        if row.next_run_at
        else "",
        "enabled": "1" if row.enabled else "",
    }
    return _form(request, values, row)


def _form(
    request: TenantRequest, values: Mapping[str, Any], row: PullQuery | None, error: str = ""
) -> HttpResponse:
    every = str(values.get("every_minutes", ""))
    rhythms = RHYTHMS if every in RHYTHMS else {**RHYTHMS, every: _rhythm(_whole(every))}
    context = {
        "query": row,
        "values": values,
        "error": error,
        "accounts": _accounts(),
        "property_types": PROPERTY_TYPES,
        "quick_lists": QUICK_LISTS,
        "rhythms": rhythms,
        "tab": "queries",
    }
    status = 422 if error else 200
    return render(request, "integrations/pulls/form.html", context, status=status)


def _save(request: TenantRequest, slug: str, row: PullQuery | None) -> HttpResponse:
    given = request.POST
    try:
        saved = save_query(row, _values(given), actor_id=request.actor.pk)
    except (PullRefused, QueryRefused) as refused:
        typed = {**given.dict(), "quick_lists": given.getlist("quick_lists")}
        current = found(PullQuery.objects.all(), row.pk) if row else None
        return _form(request, typed, current, str(refused))
    ask_count(saved)
    tasks.count_soon(request.tenant.pk, saved.pk)
    messages.success(request, "Saved.")
    return redirect("messaging:pull-query", slug, saved.pk)


def _values(given: QueryDict) -> QueryValues:
    fields = {**given.dict(), "quick_lists": given.getlist("quick_lists")}
    cap = cents_of(given.get("cap", ""), "The cap")
    if cap is None:
        raise QueryRefused("Say what a sweep may cost at most.")
    every = given.get("every_minutes", "")
    page_size = _whole(given.get("page_size", ""))
    if page_size is None or (every and _whole(every) is None):
        raise QueryRefused("The page size and the rhythm are whole numbers.")
    return QueryValues(
        integration_id=_id(given.get("integration", "")),
        name=given.get("name", ""),
        criteria=criteria_of(fields, given.get("raw", "")),
        run_cap_cents=cap,
        price_cents=cents_of(given.get("price", ""), "The price"),
        page_size=page_size,
        every_minutes=_whole(every),
        first_run_at=_moment(given.get("next_run", "")),
        enabled=given.get("enabled") == "1",
    )


def _id(text: str) -> str:
    try:
        return found(Integration.objects.all(), text).pk
    except Http404 as error:
        raise PullRefused("Choose an account with a vendor that can be searched.") from error


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,7}", text) else None


def _moment(text: str) -> datetime | None:
    """Return a moment as typed on the tenant's clock."""
    if not text:
        return None
    try:
        typed = datetime.fromisoformat(text)
    except ValueError as error:
        raise QueryRefused("The next run is no date and time.") from error
    try:
        moment = timezone.make_aware(typed) if typed.tzinfo is None else typed
        timezone.localtime(moment)
    except (OverflowError, ValueError) as error:
        raise QueryRefused("The next run is too far away.") from error
    if not 2000 <= moment.year < 2200:
        raise QueryRefused("The next run is too far away.")
    return moment


def cents_of(text: str, name: str) -> int | None:
    """Return an amount as typed, such as ``$1,234.50``, in cents; None where nothing was.

    Raises:
        QueryRefused: it is no amount.
    """
    plain = re.sub(r"[\s$,]", "", text)
    if not plain:
        return None
    if not re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,2})?", plain):
        raise QueryRefused(f"{name} is no amount such as 25.00.")
    dollars, _, cents = plain.partition(".")
    return int(dollars) * 100 + int(cents.ljust(2, "0") or 0)


def _dollars(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


# --- the calendar -----------------------------------------------------------------------------


@require_GET
@door("view")
def calendar(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: what runs when in a week, and what it is expected to cost."""
    today = timezone.localdate()
    first = _monday(request.GET.get("week", ""), today)
    midnight = timezone.make_aware(datetime.combine(first, time()))
    days = week_of(midnight, database_now())
    context = {
        "days": days,
        "today": today,
        "total": sum(day.cents for day in days),
        "is_unsure": any(day.is_unsure for day in days),
        "before": first - timedelta(days=7),
        "next": first + timedelta(days=7),
        "budget": budget_of(request.tenant),
        "tab": "calendar",
    }
    return render(request, "integrations/pulls/calendar.html", context)


def _monday(text: str, today: date) -> date:
    """Return the Monday of the week that *text* names; one far away, or none, is this week's."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = today
    if abs((day - today).days) > 366:
        day = today
    return day - timedelta(days=day.weekday())
