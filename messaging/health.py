"""How well our numbers do: counters per day, rates over days, and when one must rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Sum

from leads.actions import owner, sql_id
from messaging.models import NumberDay, PhoneNumber
from tenants.context import database_now
from tenants.models import Tenant

#: A text handed over this long ago without a bad report counts as well sent: some carriers never
#: report a delivery.
QUIET = timedelta(minutes=5)
PACIFIC = ZoneInfo("America/Los_Angeles")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a number rests. Each may be set in the tenant's ``settings`` as ``rest_<name>``."""

    failures_in_a_row: int = 5
    min_sends: int = 20  # a day's rates say nothing before
    filtered: float = 0.05  # shares of what was sent on the day
    opt_outs: float = 0.08
    failed: float = 0.30
    hours: float = 24.0


def limits_of(tenant: Tenant) -> Limits:
    """Return a tenant's limits; what is set wrongly counts as not set."""
    given = {}
    for name, default in vars(Limits()).items():
        value = tenant.settings.get(f"rest_{name}")
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            given[name] = type(default)(value)
    return Limits(**given)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What happened on a number in some days. See ``NumberDay`` for what each counts."""

    sent: int = 0
    delivered: int = 0
    undelivered: int = 0
    failed: int = 0
    refused: int = 0
    filtered: int = 0
    opt_outs: int = 0
    unknown: int = 0
    inbound: int = 0
    codes: Mapping[str, int] = field(default_factory=dict)

    @property
    def tried(self) -> int:
        """Texts whose handing over had a certain end: accepted or refused."""
        return self.sent + self.refused

    @property
    def lost(self) -> int:
        return self.failed + self.undelivered

    def rate(self, part: int) -> float | None:
        """Return *part* as a share of what was tried; None when nothing was."""
        return part / self.tried if self.tried else None

    @property
    def delivered_rate(self) -> float | None:
        return self.rate(self.delivered)

    @property
    def lost_rate(self) -> float | None:
        return self.rate(self.lost)

    @property
    def filtered_rate(self) -> float | None:
        return self.rate(self.filtered)

    @property
    def opt_out_rate(self) -> float | None:
        return self.rate(self.opt_outs)


def total(days: Iterable[Counts]) -> Counts:
    """Add days up."""
    sums: dict[str, int] = dict.fromkeys(NumberDay.COUNTERS, 0)
    codes: dict[str, int] = {}
    for one in days:
        for name in sums:
            sums[name] += getattr(one, name)
        for code, count in one.codes.items():
            codes[code] = codes.get(code, 0) + count
    return Counts(**sums, codes=codes)


def counts_since(first: date, number_ids: Iterable[str]) -> dict[str, dict[date, Counts]]:
    """Return what happened from the day *first* on: number → day → counts, in one query."""
    rows = NumberDay.objects.filter(phone_number__in=list(number_ids), day__gte=first)
    found: dict[str, dict[date, Counts]] = {}
    names = ("phone_number_id", "day", *NumberDay.COUNTERS, "codes")
    for row in rows.values(*names):
        days = found.setdefault(row.pop("phone_number_id"), {})
        day = row.pop("day")
        days[day] = total([days.get(day, Counts()), Counts(**row)])
    return found


def day_of(tenant: Tenant) -> date:
    """Return the tenant's day."""
    return database_now().astimezone(ZoneInfo(tenant.time_zone)).date()


def pacific_day() -> date:
    """Return the day by which brands are capped."""
    return database_now().astimezone(PACIFIC).date()


# --- rest -------------------------------------------------------------------------------------

_LAST = """
SELECT bool_and(state IN ('failed', 'undelivered')), count(*) FROM (
    SELECT o.state FROM outbound_messages AS o
    WHERE o.tenant_id = %(owner)s AND o.phone_number_id = %(number)s
      AND o.claimed_at IS NOT NULL AND o.claimed_at >= coalesce(%(since)s, o.claimed_at)
      AND (o.state = 'delivered'
           OR o.state IN ('failed', 'undelivered') AND o.gave_up_at IS NULL
           OR o.state = 'sent' AND o.updated_at < clock_timestamp() - %(quiet)s)
    ORDER BY o.claimed_at DESC LIMIT %(most)s) AS last
"""


def why_rest(number: PhoneNumber, limits: Limits) -> str:
    """Return why a number must rest now, in words; empty when it need not.

    What happened before it last woke is not held against it.
    """
    if _fails_in_a_row(number, limits.failures_in_a_row):
        return f"{limits.failures_in_a_row} texts in a row failed"
    today = _since_awake(number)
    if today.tried < limits.min_sends:
        return ""
    shares = (
        ("were filtered as spam", today.filtered, limits.filtered),
        ("were answered with STOP", today.opt_outs, limits.opt_outs),
        ("failed", today.lost, limits.failed),
    )
    for words, count, limit in shares:
        if count / today.tried > limit:
            return f"{count} of {today.tried} texts today {words}, more than {limit:.0%}"
    return ""


def _fails_in_a_row(number: PhoneNumber, most: int) -> bool:
    values: dict[str, Any] = {
        "owner": owner(),
        "number": sql_id(number.pk),
        "since": number.active_since,
        "quiet": QUIET,
        "most": most,
    }
    with connection.cursor() as cursor:
        cursor.execute(_LAST, values)
        all_failed, count = cursor.fetchone()
    return bool(all_failed) and count == most


def _since_awake(number: PhoneNumber) -> Counts:
    """Return today's counts since the number last woke."""
    rows = NumberDay.objects.filter(phone_number=number, day=day_of(number.tenant))
    if number.active_since is not None:
        rows = rows.filter(created_at__gte=number.active_since)
    sums = rows.aggregate(**{name: Sum(name, default=0) for name in NumberDay.COUNTERS})
    return Counts(**sums)
