"""What apps above add to an import: what its enrichment may cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leads.models import Import


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What enriching the leads of an import may cost, in cents, and what is left of the cap."""

    most_cents: int
    cap_cents: int | None = None
    words: str = ""


_estimators: list[Callable[[Import], Estimate | None]] = []


def estimator(function: Callable[[Import], Estimate | None]) -> Callable[..., Estimate | None]:
    """Register what prices the enrichment of an import; without one none is offered."""
    _estimators.append(function)
    return function


def estimate_for(one: Import) -> Estimate | None:
    """Return the estimate of the first estimator that has one."""
    return next((found for ask in _estimators if (found := ask(one)) is not None), None)
