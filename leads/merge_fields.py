"""Which of two leads' values survive a merge. Pure: nothing here reads or writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from leads.models import Lead
from leads.states import LeadState as S

#: What a person chooses between: name → columns that only make sense together.
FIELDS: dict[str, tuple[str, ...]] = {
    "name": ("first_name", "last_name", "full_name"),
    "title": ("title",),
    "company": ("company",),
    "owner_company": ("owner_company",),
    "address": (
        "address_line1",
        "address_line2",
        "unit",
        "city",
        "region",
        "postal_code",
        "county",
    ),
    "parcel": ("county_fips", "apn"),
    "mak": ("mak",),
    "time_zone": ("time_zone",),
    "sector": ("sector",),
    "sic": ("sic_code", "sic_description"),
    "employee_count": ("employee_count",),
    "annual_revenue": ("annual_revenue",),
    "website": ("website",),
    "age": ("age",),
    "owner_occupied": ("owner_occupied",),
    "property_value": ("property_value",),
    "estimated_equity": ("estimated_equity",),
    "is_decision_maker": ("is_decision_maker",),
    "property_owner_likelihood": ("property_owner_likelihood",),
    "campaign_context": ("campaign_context",),
    "microsite_url": ("microsite_url",),
    "assigned_agent": ("assigned_agent_id",),
    "assigned_persona": ("assigned_persona_id",),
}
#: Chosen, too, but between the two states only, and never out of an opt-out.
STATE = "state"

#: The further a lead is, the less automation may do with it: of two, the further state stays.
STATES = (
    S.NEW,
    S.TOUCHED,
    S.RETARGETING,
    S.CONTENT_NURTURE,
    S.RESPONDED,
    S.SOFT_INTEREST,
    S.EMAIL_CAPTURED,
    S.HIGH_INTENT,
    S.IN_CALL_QUEUE,
    S.APPOINTMENT_BOOKED,
    S.CLOSED,
    S.SUPPRESSED,
)


def _known(choose: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def chosen(mine: Any, theirs: Any) -> Any:
        if mine is None or theirs is None:
            return theirs if mine is None else mine
        return choose(mine, theirs)

    return chosen


_later, _earlier = _known(max), _known(min)

#: Columns nobody chooses: both leads' facts become the survivor's.
COMPUTED: dict[str, Callable[[Any, Any], Any]] = {
    "flags": lambda mine, theirs: [*mine, *(flag for flag in theirs if flag not in mine)],
    "first_seen_at": _earlier,
    "last_seen_at": _later,
    "added_to_campaign_at": _earlier,
    "attempt_count": lambda mine, theirs: mine + theirs,
    "last_attempt_at": _later,
    "last_response_at": _later,
    "paused_until": _later,
    "priority_score": max,
    "last_enriched_at": _later,
    "enrichment_status": lambda mine, theirs: theirs if mine == "none" else mine,
}


def is_empty(lead: Lead, field: str) -> bool:
    """Tell whether nothing is known of a field."""
    return all(getattr(lead, column) in (None, "") for column in FIELDS[field])


def origin(lead: Lead, field: str) -> dict[str, Any]:
    """Return where a field's value is from: ``source`` and what else is known of it."""
    noted = [lead.provenance.get(column) for column in FIELDS[field]]
    newest = max(
        (one for one in noted if one), key=lambda one: str(one.get("at", "")), default=None
    )
    return newest or {"source": lead.source, "at": _text(lead.created_at)}


def rank(source: str, ranks: Mapping[str, int]) -> int:
    """Return how far a source's word counts, 0 to 100 (``source_ranks`` in SQL)."""
    return int(ranks.get(source, ranks[""]))


def preferred(survivor: Lead, merged: Lead, ranks: Mapping[str, int]) -> dict[str, str]:
    """Return field → lead whose value stays when nobody chooses: known, then better sourced.

    Of two that count the same the survivor's stays.
    """
    return {field: _better(survivor, merged, field, ranks).pk for field in FIELDS}


def _better(survivor: Lead, merged: Lead, field: str, ranks: Mapping[str, int]) -> Lead:
    if is_empty(merged, field):
        return survivor
    if is_empty(survivor, field):
        return merged
    mine, theirs = (rank(origin(one, field)["source"], ranks) for one in (survivor, merged))
    return merged if theirs > mine else survivor


def state_of(survivor: Lead, merged: Lead) -> Lead:
    """Return the lead whose state stays when nobody chooses: the one that restricts more."""
    return max((survivor, merged), key=lambda lead: (STATES.index(S(lead.state)), lead is survivor))


def survivor_values(survivor: Lead, merged: Lead, choices: Mapping[str, str]) -> dict[str, Any]:
    """Return the survivor's columns after a merge with these *choices*, but for its state."""
    values: dict[str, Any] = {}
    provenance = dict(survivor.provenance)
    for field, columns in FIELDS.items():
        if choices[field] != merged.pk:
            continue
        for column in columns:
            values[column] = getattr(merged, column)
            if values[column] not in (None, ""):
                source = {"source": merged.source, "at": _text(merged.created_at)}
                known = merged.provenance.get(column, {**source, "run": merged.run_id})
                provenance[column] = {**known, "lead": merged.pk}
            else:
                provenance.pop(column, None)
    for column, both in COMPUTED.items():
        values[column] = both(getattr(survivor, column), getattr(merged, column))
    values["provenance"] = provenance
    return values


def _text(at: datetime | None) -> str:
    return at.isoformat() if at else ""
