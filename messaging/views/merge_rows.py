"""Two leads as rows of a page: per field both values, where they are from, and which one stays."""

from __future__ import annotations

from typing import Any

from leads.merge_fields import FIELDS, STATE, is_empty, origin
from leads.merging import Plan
from leads.models import ContactPoint, Lead, LeadLabel
from leads.states import LeadState
from messaging.views.story import Line

LABELS = {
    "name": "Name",
    "title": "Title",
    "company": "Company",
    "owner_company": "Owner company",
    "address": "Address",
    "parcel": "Parcel",
    "mak": "Address key",
    "time_zone": "Time zone",
    "sector": "Sector",
    "sic": "SIC",
    "employee_count": "Employees",
    "annual_revenue": "Annual revenue",
    "website": "Website",
    "age": "Age",
    "owner_occupied": "Owner occupied",
    "property_value": "Property value",
    "estimated_equity": "Estimated equity",
    "is_decision_maker": "Decision maker",
    "property_owner_likelihood": "Owner likelihood",
    "campaign_context": "Campaign context",
    "microsite_url": "Microsite",
    "assigned_agent": "Agent",
    "assigned_persona": "Worker",
}
_YES_NO = {True: "Yes", False: "No"}


def rows_of(wanted: Plan) -> list[dict[str, Any]]:
    """Return the fields on which two leads differ.

    Each with ``field``, ``label`` and two ``sides``: lead_id, text, source, stays.
    """
    leads = (wanted.survivor, wanted.merged)
    rows = []
    for field in FIELDS:
        texts = [_text(lead, field) for lead in leads]
        if texts[0] == texts[1]:
            continue
        sides = [
            {
                "lead_id": lead.pk,
                "text": text,
                "source": "" if is_empty(lead, field) else origin(lead, field)["source"],
                "stays": wanted.choices[field] == lead.pk,
            }
            for lead, text in zip(leads, texts, strict=True)
        ]
        rows.append({"field": field, "label": LABELS[field], "sides": sides})
    if state := _state(wanted, leads):
        rows.append(state)
    return rows


def _state(wanted: Plan, leads: tuple[Lead, Lead]) -> dict[str, Any] | None:
    states = {lead.state for lead in leads}
    if len(states) == 1 or LeadState.SUPPRESSED in states:
        return None  # an opt-out is nobody's to choose away
    return {
        "field": STATE,
        "label": "State",
        "sides": [
            {
                "lead_id": lead.pk,
                "text": LeadState(lead.state).label,
                "source": "",
                "stays": wanted.choices[STATE] == lead.pk,
            }
            for lead in leads
        ],
    }


def _text(lead: Lead, field: str) -> str:
    if field == "name":
        return lead.full_name or f"{lead.first_name} {lead.last_name}".strip()
    if field == "assigned_agent":
        return str(lead.assigned_agent or "")
    if field == "assigned_persona":
        return str(lead.assigned_persona or "")
    values = (getattr(lead, column) for column in FIELDS[field])
    return ", ".join(_YES_NO.get(v, str(v)) if isinstance(v, bool) else str(v)
                     for v in values if v not in (None, ""))  # fmt: skip


def card(lead: Lead, lines: list[Line]) -> dict[str, Any]:
    """Return what stands at the head of each side: the lead, its numbers, labels, last lines."""
    points = ContactPoint.objects.filter(lead=lead).order_by("kind", "-is_primary", "id")[:20]
    labels = LeadLabel.objects.filter(lead=lead).select_related("label")[:20]
    return {"lead": lead, "points": list(points), "labels": list(labels), "lines": lines}
