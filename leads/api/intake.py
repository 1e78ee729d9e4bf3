"""Leads that programs tell us: the identity engine finds whose they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leads.actions_leads import EDITABLE
from leads.identity.engine import resolve
from leads.identity.records import Incoming, Point, Resolved
from leads.scoring import score_leads


def take_lead(
    said: Mapping[str, Any], points: Sequence[Mapping[str, Any]], *, actor_id: str
) -> Resolved:
    """Make a lead of what a program says, or bring up to date the one it is.

    Args:
        said: cleaned fields of a lead, with ``source`` and perhaps ``source_id``.
        points: ``kind``, ``value`` and ``line_type`` each, best first.
        actor_id: ``actor_…`` of the key.
    """
    record = Incoming(
        key="lead",
        fields={name: said[name] for name in EDITABLE if said.get(name) not in (None, "")},
        points=[
            Point(kind=one["kind"], value=one["value"], line_type=one["line_type"])
            for one in points
        ],
        source_id=said.get("source_id", ""),
    )
    resolved = resolve([record], source=said["source"], kind="manual", actor_id=actor_id)[0]
    if resolved.lead_id:
        score_leads([resolved.lead_id])
    return resolved
