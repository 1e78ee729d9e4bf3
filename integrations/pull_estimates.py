"""What a query would cost before it costs anything, and when what is planned to run."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Max
from django.db.models.functions import Now

from integrations.models import (
    UNFINISHED,
    Integration,
    PullBill,
    PullQuery,
    PullSweep,
    SpendCounter,
    VendorSeen,
)
from integrations.providers import providers
from integrations.providers.data import Searches
from integrations.pull_asking import count
from integrations.pull_money import Pause, Reading, price, vendor_day
from integrations.pulls import account_of
from tenants.context import database_now, tenant_context
from tenants.models import Tenant

#: Runs of one query that a day of the calendar lists; the others are counted.
MOST_RUNS = 48


def count_query(tenant_id: str, query_id: str) -> str:
    """Ask the vendor how many records a query has and keep the answer; costs nothing.

    Not inside a transaction: it waits for the vendor. Returns what the vendor said, in words.
    """
    with tenant_context(tenant_id, durable=True):
        query = PullQuery.objects.filter(pk=query_id).first()
        if query is None:
            return "gone"
        account = Integration.objects.get(pk=query.integration_id)
        reading = _only_counting(tenant_id, query, account)
    counted: int | None = None
    words = ""
    try:
        counted = count(reading)
    except Pause as pause:
        words = pause.words.replace("\x00", "")[:300]
    with tenant_context(tenant_id, durable=True):
        # Of the query as it was asked: one that was changed meanwhile is another.
        mine = PullQuery.objects.filter(pk=query_id, query_sig=query.query_sig)
        if counted is None:
            mine.update(count_error=words, count_asked_at=None, updated_at=Now())
        else:
            mine.update(
                counted=counted,
                counted_at=Now(),
                count_error="",
                count_asked_at=None,
                updated_at=Now(),
            )
    return words or f"{counted} records"


def _only_counting(tenant_id: str, query: PullQuery, account: Integration) -> Reading:
    return Reading(
        tenant_id=tenant_id,
        query_id=query.pk,
        sweep_id="",
        run_id=None,
        epoch=0,
        integration_id=account.pk,
        provider=providers[account.provider](account.settings),
        account=account_of(account),
        source=account.provider,
        query_sig=query.query_sig,
        params=query.params,
        page_size=query.page_size,
        price_cents=query.price_cents,
        is_full=False,
    )


def ask_count(query: PullQuery) -> None:
    """Note that a count was asked for, in the running transaction; a task then makes it."""
    PullQuery.objects.filter(pk=query.pk).update(
        count_asked_at=Now(), count_error="", updated_at=Now()
    )


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What may still be spent on vendors. None: nobody set a limit."""

    day_left: int | None
    month_left: int | None
    day_spent: int
    month_spent: int

    @property
    def left(self) -> int | None:
        told = [one for one in (self.day_left, self.month_left) if one is not None]
        return min(told) if told else None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a sweep of a query would cost now, by the vendor's newest count. Cents."""

    counted: int
    counted_at: datetime
    billed_today: int  # records of it that are paid for already
    cost_cents: int
    known: int  # records of it that completed sweeps have seen
    cap_cents: int
    budget: Budget

    @property
    def fresh(self) -> int:
        return max(0, self.counted - self.known)

    @property
    def known_percent(self) -> int:
        return min(100, round(100 * self.known / self.counted)) if self.counted else 0

    @property
    def is_within_cap(self) -> bool:
        return self.cost_cents <= self.cap_cents

    @property
    def is_within_budget(self) -> bool:
        return self.budget.left is None or self.cost_cents <= self.budget.left

    @property
    def cents_per_new(self) -> int | None:
        """What one record that is new to us costs; None when none is."""
        return -(-self.cost_cents // self.fresh) if self.fresh else None


def estimate_of(query: PullQuery, tenant: Tenant) -> Estimate | None:
    """Return what a sweep would cost; None as long as nobody counted."""
    if query.counted is None or query.counted_at is None:
        return None
    bill = PullBill.objects.filter(
        integration=query.integration_id, query_sig=query.query_sig, day=vendor_day()
    ).first()
    source = Integration.objects.values_list("provider", flat=True).get(pk=query.integration_id)
    newly = Searches.newly_billed(query.counted, bill.records if bill else 0)
    known = VendorSeen.objects.filter(source=source, query_sig=query.query_sig, closed=True)
    return Estimate(
        counted=query.counted,
        counted_at=query.counted_at,
        billed_today=min(query.counted, bill.records if bill else 0),
        cost_cents=price(newly, query.price_cents),
        known=known.count(),
        cap_cents=query.run_cap_cents,
        budget=budget_of(tenant),
    )


def budget_of(tenant: Tenant) -> Budget:
    """Return what is left of the tenant's day and month, by the counters of all paid calls."""
    from_settings = tenant.settings.get("spend_caps") or {}
    caps = from_settings if isinstance(from_settings, dict) else {}
    today = _today(tenant)
    spent = {
        (one.period, one.starts): one.cents
        for one in SpendCounter.objects.filter(
            scope="all", starts__in=[today, today.replace(day=1)]
        )
    }
    day, month = spent.get(("day", today), 0), spent.get(("month", today.replace(day=1)), 0)

    def left(name: str, used: int) -> int | None:
        cap = caps.get(name)
        return max(0, cap - used) if isinstance(cap, int) and not isinstance(cap, bool) else None

    return Budget(
        day_left=left("day_cents", day),
        month_left=left("month_cents", month),
        day_spent=day,
        month_spent=month,
    )


def _today(tenant: Tenant) -> date:
    """Return the day to which the ledger counts: of the tenant's zone."""
    return database_now().astimezone(ZoneInfo(tenant.time_zone)).date()


def month_spend(query_ids: list[str], tenant: Tenant) -> dict[str, int]:
    """Return what each query spent in the tenant's month, in cents."""
    scopes = {f"query:{one}": one for one in query_ids}
    rows = SpendCounter.objects.filter(
        scope__in=scopes, period="month", starts=_today(tenant).replace(day=1)
    )
    return {scopes[one.scope]: one.cents for one in rows}


# --- the calendar -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Planned:
    """Runs of one query on one day of the calendar."""

    query: PullQuery
    times: list[datetime]
    count: int  # may be more than ``times``
    cents: int | None  # expected; None: nobody knows


@dataclass(frozen=True, kw_only=True)
class Day:
    date: date
    planned: list[Planned]

    @property
    def cents(self) -> int:
        return sum(one.cents or 0 for one in self.planned)

    @property
    def is_unsure(self) -> bool:
        return any(one.cents is None for one in self.planned)


def week_of(first: datetime, now: datetime) -> list[Day]:
    """Return what is planned on the seven days from *first* (a local midnight) on.

    A day's first run of a query costs its whole result set, the others hardly anything: so the
    vendor bills. What was counted last, or found by its last sweep, is what is expected.
    """
    queries = list(
        PullQuery.objects.filter(enabled=True, next_run_at__isnull=False)
        .select_related("integration")
        .order_by("name", "id")
    )
    found = dict(
        PullSweep.objects.filter(query__in=queries)
        .values_list("query")
        .annotate(most=Max("results_found"))
    )
    held = set(
        PullSweep.objects.filter(query__in=queries, status="paused").values_list("query", flat=True)
    )
    days: dict[date, list[Planned]] = defaultdict(list)
    dates = [(first + timedelta(days=n)).date() for n in range(7)]
    for query in queries:
        if query.pk in held:
            continue
        expected = query.counted if query.counted is not None else found.get(query.pk)
        cents = None if expected is None else price(expected, query.price_cents)
        for day, times, many in _runs(query, dates, first, now):
            days[day].append(Planned(query=query, times=times, count=many, cents=cents))
    return [Day(date=day, planned=days[day]) for day in dates]


def _runs(
    query: PullQuery, dates: list[date], first: datetime, now: datetime
) -> list[tuple[date, list[datetime], int]]:
    """Return (day, times, how many) of a query's runs on *dates*, in the zone of *first*."""
    zone = first.tzinfo
    start = max(query.next_run_at or now, now).astimezone(UTC)
    step = timedelta(minutes=query.every_minutes or 0)
    found: list[tuple[date, list[datetime], int]] = []
    for day in dates:
        begin = datetime.combine(day, time(), zone).astimezone(UTC)
        end = datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
        at = start
        if step and at < begin:
            at += step * -((at - begin) // step)
        if not begin <= at < end:
            continue
        many = -((at - end) // step) if step else 1
        times = [(at + n * step).astimezone(zone) for n in range(min(many, MOST_RUNS))]
        found.append((day, times, many))
    return found


def unfinished_of(query_ids: list[str]) -> dict[str, PullSweep]:
    """Return the sweep of each query that has not ended."""
    rows = PullSweep.objects.filter(query__in=query_ids, status__in=UNFINISHED)
    return {one.query_id: one for one in rows}
