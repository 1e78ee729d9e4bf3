"""One record that is matched and written by its own door: contacts of other systems."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from leads.actions import owner, sql_id
from tenants.correlation import correlation_id
from tenants.ulids import to_text


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """Whom a record met.

    Attributes:
        verdict: ``lead``, ``many`` or ``new``.
        by: the key that found the lead.
        lead_id: ``lead_…`` where it is one.
        others: ``lead`` ids: the candidates of ``many``, else who shares a key and is not it.
    """

    verdict: str
    by: str
    lead_id: str | None
    others: tuple[str, ...]


def meet(source: str, record: Mapping[str, Any]) -> Meeting:
    """Return whose record it is, by the rules of the engine.

    Args:
        source: who says it.
        record: columns of ``Lead``, and ``phones`` and ``emails``, normal.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT verdict, found_by, lead_id, others FROM identity_of(%s, %s, %s::jsonb)",
            [owner(), source, json.dumps(dict(record))],
        )
        verdict, by, lead, others = cursor.fetchone()
    return Meeting(
        verdict=verdict,
        by=by,
        lead_id=to_text("lead", lead) if lead else None,
        others=tuple(to_text("lead", other) for other in others),
    )


def ask(
    one: str,
    others: Sequence[str],
    *,
    by: str,
    surety: int,
    asker: str,
    incoming: Mapping[str, Any] | None = None,
) -> None:
    """Ask a person whether *one* and each of the others are one lead, or whose *incoming* is."""
    reasons = json.dumps([{"field": by or "phone or e-mail", "agrees": True}])
    found = [sql_id(other) for other in others if other != one]
    kept = None if incoming is None else json.dumps(dict(incoming))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT lead_propose(%s, %s, o, %s, %s::jsonb, %s, NULL, %s::jsonb, %s)"
            " FROM unnest(%s::uuid[]) AS o",
            [owner(), sql_id(one), surety, reasons, asker, kept, correlation_id(), found],
        )
