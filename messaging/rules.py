"""Hours and limits of contact, as a verdict uses them. Pure; the rules are rows a tenant edits.

A rule never loosens another one: of everything that may apply to a person the strictest counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from leads.zones import STATE_ZONES, number_state

#: The jurisdiction that everybody is in.
FEDERAL = "US"


class Rule(NamedTuple):
    """One row of ``contact_rules``; hours are on the recipient's clock, *end* is not in."""

    jurisdiction: str
    weekday: int | None  # Monday is 0; None: every day that has no row of its own
    start: int
    end: int
    most: int | None  # texts to one person in 24 hours


def places_of(region: str, address: str) -> tuple[str, ...]:
    """Return the jurisdictions a person may be in: by postal address and by area code."""
    states = {region.upper(), number_state(address)} & STATE_ZONES.keys()
    return (FEDERAL, *(f"{FEDERAL}-{state}" for state in sorted(states)))


def read_rules(rows: Iterable[Any]) -> tuple[Rule, ...]:
    """Make rules of the arrays that SQL returns."""
    return tuple(Rule(*row) for row in rows)


def window(rules: Iterable[Rule], weekday: int) -> tuple[int, int]:
    """Return the hours that every jurisdiction allows on a day: ``start`` to ``end``.

    Empty, that is ``end <= start``, where one of them allows none.
    """
    chosen: dict[str, Rule] = {}
    for rule in rules:
        if rule.weekday == weekday or (rule.weekday is None and rule.jurisdiction not in chosen):
            chosen[rule.jurisdiction] = rule
    starts = [rule.start for rule in chosen.values()]
    ends = [rule.end for rule in chosen.values()]
    return max(starts, default=0), min(ends, default=24)


def limit(rules: Iterable[Rule]) -> int | None:
    """Return how many texts one person may get in 24 hours; None: no rule says."""
    return min((rule.most for rule in rules if rule.most is not None), default=None)
