"""The business days of the United States: what a deadline of the law is counted in. Pure."""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache

#: Days by which an opt-out must be honoured everywhere, 47 CFR 64.1200(a)(10).
OPT_OUT_DAYS = 10

SATURDAY, SUNDAY = 5, 6
MONDAY, THURSDAY = 0, 3

#: Federal holidays (5 U.S.C. 6103) on a date: month, day.
_DATED = ((1, 1), (6, 19), (7, 4), (11, 11), (12, 25))
#: Federal holidays on a weekday: month, weekday, which one of the month; -1 is the last.
_FLOATING = (
    (1, MONDAY, 3),  # Martin Luther King
    (2, MONDAY, 3),  # Washington
    (5, MONDAY, -1),  # Memorial Day
    (9, MONDAY, 1),  # Labor Day
    (10, MONDAY, 2),  # Columbus
    (11, THURSDAY, 4),  # Thanksgiving
)


@lru_cache(maxsize=64)
def holidays(year: int) -> frozenset[date]:
    """Return the days on which federal offices are closed for a holiday of *year*.

    One that falls on a Saturday is kept on the Friday before, on a Sunday on the Monday after.
    """
    kept = {_observed(date(year, month, day)) for month, day in _DATED}
    return frozenset(kept | {_nth(year, *floating) for floating in _FLOATING})


def _observed(day: date) -> date:
    shift = {SATURDAY: -1, SUNDAY: 1}.get(day.weekday(), 0)
    return day + timedelta(days=shift)


def _nth(year: int, month: int, weekday: int, which: int) -> date:
    if which < 0:
        day = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
        return day - timedelta(days=(day.weekday() - weekday) % 7)
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (which - 1))


def is_business_day(day: date) -> bool:
    """Tell whether federal offices are open on *day*."""
    # The first of January may be kept in the year before.
    return day.weekday() < SATURDAY and day not in holidays(day.year) | holidays(day.year + 1)


def add_business_days(day: date, many: int) -> date:
    """Return the *many*th business day after *day*."""
    while many > 0:
        day += timedelta(days=1)
        many -= is_business_day(day)
    return day


def business_days_until(today: date, due: date) -> int:
    """Return how many business days are left after *today* up to *due*; negative when late."""
    step = 1 if due >= today else -1
    left, day = 0, today
    while day != due:
        day += timedelta(days=step)
        # Going back, the day that is already over is the one we came from.
        left += step * is_business_day(day if step > 0 else day - timedelta(days=step))
    return left
