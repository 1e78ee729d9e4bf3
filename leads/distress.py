"""How distressed a property is: ten points a sign, at most a hundred."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from leads.models import Property, PropertyDistressScore
from tenants.ulids import new_id

POINTS, MOST = 10, 100
#: A loan that ends within so long presses; one that ended long ago says nothing.
SOON = timedelta(days=365)
HIGH_EQUITY, LOW_EQUITY = 0.80, 0.30
SIGNS = {
    "preforeclosure": "Pre-foreclosure",
    "reverse_loan": "Reverse mortgage",
    "vacant": "Vacant",
    "high_equity": "Equity above 80 %",
    "low_equity": "Equity of 0 to 30 %",
    "negative_equity": "Owes more than it is worth",
    "loan_ends": "Loan ends within a year",
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a property; None and absent are unknown, and no sign of anything."""

    preforeclosure: bool | None = None
    reverse_loan: bool | None = None
    vacant: bool | None = None
    value: int | None = None
    equity: int | None = None
    loan_ends_on: date | None = None


def signs_of(facts: Facts, *, today: date) -> list[str]:
    """Return the keys of ``SIGNS`` that hold; equity is dollars, its share is of the value."""
    found = [name for name in ("preforeclosure", "reverse_loan", "vacant") if getattr(facts, name)]
    if facts.equity is not None and facts.equity < 0:
        found.append("negative_equity")
    elif facts.equity is not None and facts.value:
        share = facts.equity / facts.value
        if share > HIGH_EQUITY:
            found.append("high_equity")
        elif share <= LOW_EQUITY:
            found.append("low_equity")
    if facts.loan_ends_on is not None and today <= facts.loan_ends_on <= today + SOON:
        found.append("loan_ends")
    return found


def facts_of(row: Property) -> Facts:
    """Read the facts of a stored property; ``flags`` holds what has no column."""
    flags: dict[str, Any] = row.flags if isinstance(row.flags, dict) else {}
    ends = flags.get("loan_ends_on")
    try:
        loan_ends_on = date.fromisoformat(ends) if isinstance(ends, str) else None
    except ValueError:
        loan_ends_on = None
    return Facts(
        **{
            name: flags[name]
            for name in ("preforeclosure", "reverse_loan", "vacant")
            if isinstance(flags.get(name), bool)
        },
        value=row.value,
        equity=row.equity,
        loan_ends_on=loan_ends_on,
    )


@transaction.atomic
def record_distress(
    property_id: str,
    *,
    provider: str,
    external_id: str,
    today: date,
    facts: Facts | None = None,
    payload: dict[str, Any] | None = None,
) -> PropertyDistressScore:
    """Keep how distressed a property is by one provider's account; the newest account stands.

    Args:
        property_id: ``prop_…``.
        provider: whose facts they are.
        external_id: the provider's id of the property.
        today: the tenant's day.
        facts: None: those of the stored property.
        payload: what the provider said besides.

    Raises:
        Property.DoesNotExist: no such property in this tenant.
    """
    row = Property.objects.get(pk=property_id)
    signs = signs_of(facts if facts is not None else facts_of(row), today=today)
    made, _ = PropertyDistressScore.objects.update_or_create(
        provider=provider,
        external_id=external_id,
        defaults={
            "property": row,
            "score": min(MOST, POINTS * len(signs)),
            "signs": signs,
            "payload": payload or {},
            "updated_at": Now(),
        },
        create_defaults={
            "id": new_id("pds"),
            "property": row,
            "score": min(MOST, POINTS * len(signs)),
            "signs": signs,
            "payload": payload or {},
        },
    )
    return made
