"""Who said what of a lead: what decides whether the next source may overwrite it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import connection

from leads.actions import owner, sql_id

#: Source of what a person of the tenant wrote; it outranks every other.
PERSON = "person"


def remember(
    lead_id: str, fields: Iterable[str], *, source: str = PERSON, actor_id: str | None = None
) -> None:
    """Note that *source* said these fields of a lead, now. Call it with every edit of a lead.

    Args:
        lead_id: ``lead_…``.
        fields: names of columns.
        source: who said it; a person, unless told otherwise.
        actor_id: ``actor_…`` of the person.
    """
    teller = {"source": source, **({"actor": actor_id} if actor_id else {})}
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE leads SET provenance = provenance || coalesce((SELECT jsonb_object_agg(k,"
            " %s::jsonb || jsonb_build_object('at', clock_timestamp()))"
            " FROM unnest(%s::text[]) AS k), '{}') WHERE tenant_id = %s AND id = %s",
            [json.dumps(teller), list(fields), owner(), sql_id(lead_id)],
        )


def allowed(lead_id: str, told: Mapping[str, Any], *, source: str) -> set[str]:
    """Return the fields that differ and that *source* ranks high enough to overwrite."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT lead_delta(l, %s::jsonb, %s, source_ranks(%s)) FROM leads AS l"
            " WHERE l.tenant_id = %s AND l.id = %s",
            [json.dumps(dict(told)), source, owner(), owner(), sql_id(lead_id)],
        )
        row = cursor.fetchone()
    delta = json.loads(row[0]) if row and isinstance(row[0], str) else (row[0] if row else {})
    return set(delta)
