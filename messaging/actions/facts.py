"""What a verdict depends on, read from the database in one query."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from integrations.models import Integration
from integrations.providers import Carrier, providers
from leads.actions import owner, sql_id
from messaging.models import Conversation
from messaging.rules import places_of, read_rules
from messaging.segments import count
from messaging.verdict import FALLBACK_HOURS, Facts, zones_of
from tenants.models import Tenant
from tenants.ulids import to_text

#: Segments a text may have unless the tenant's settings say otherwise (``max_segments``).
MAX_SEGMENTS = 6


def facts_for(
    conversation: Conversation,
    *,
    body: str,
    purpose: str,
    is_automated: bool,
    outbound_id: str | None = None,
    overridden: Iterable[str] = (),
) -> Facts:
    """Read everything a verdict depends on: one query beside the conversation's relations.

    *outbound_id*: the text that asks, once it has a row; it counts those claimed before it, and
    what was waved through when it was queued still is. *overridden*: what a person waves through
    now.
    """
    lead, line, tenant = conversation.lead, conversation.phone_number, conversation.tenant
    gate = _read_gate(conversation, is_automated, outbound_id)
    at, block, wrong, rules, texted, household, waved = gate
    segments = count(body)
    return Facts(
        at=at,
        purpose=purpose,
        is_automated=is_automated,
        consent_block=block,
        is_wrong_number=wrong,
        lead_state=lead.state,
        lead_is_merged=lead.superseded_at is not None,
        paused_until=lead.paused_until,
        number_is_active=line is not None and line.carries(purpose),
        integration_is_on=line is not None and _sends(line.integration),
        last_inbound_at=conversation.last_inbound_at,
        zones=zones_of(lead.time_zone, lead.region, conversation.their_number),
        rules=read_rules(rules["rules"]),
        rules_version=rules["version"],
        texted_at=tuple(texted),
        household=None if household is None else to_text("lead", household),
        overridden=frozenset({*overridden, *waved}),
        segments=segments.segments if body.strip() else 0,
        max_segments=int(tenant.settings.get("max_segments", MAX_SEGMENTS)),
        **hours_of(tenant),
    )


def hours_of(tenant: Tenant) -> dict[str, Any]:
    """Return the facts that are the tenant's own: zone, hours, and what to do without a zone."""
    start, end = tenant.settings.get("fallback_hours", FALLBACK_HOURS)
    return {
        "tenant_zone": tenant.time_zone,
        "legal_hours": (tenant.legal_start, tenant.legal_end),
        "fallback_hours": (int(start), int(end)),
    }


def _sends(integration: Integration) -> bool:
    return integration.enabled and issubclass(providers[integration.provider], Carrier)


def _read_gate(
    conversation: Conversation, is_automated: bool, outbound_id: str | None
) -> tuple[datetime, str | None, bool, dict[str, Any], list[datetime], UUID | None, list[str]]:
    """Read clock, consent, wrong number, contact rules and earlier texts of one recipient.

    And who else with the number was texted, and what of it was waved through.
    """
    places = places_of(conversation.lead.region, conversation.their_number)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT clock_timestamp(), consent_block(%(t)s, %(theirs)s, %(ours)s, %(auto)s),"
            " EXISTS (SELECT FROM contact_points WHERE tenant_id = %(t)s AND lead_id = %(lead)s"
            "         AND normalized = %(theirs)s AND wrong_number_at IS NOT NULL),"
            " contact_rules_of(%(t)s, %(places)s)::text, texted_at(%(t)s, %(theirs)s, %(mine)s),"
            " household_texted(%(t)s, %(theirs)s, %(lead)s, %(mine)s),"
            " coalesce((SELECT verdict -> 'overridden' FROM outbound_messages"
            "           WHERE tenant_id = %(t)s AND id = %(mine)s), '[]')::text",
            {
                "t": owner(),
                "theirs": conversation.their_number,
                "ours": conversation.our_number,
                "auto": is_automated,
                "lead": sql_id(conversation.lead_id),
                "places": list(places),
                "mine": sql_id(outbound_id),
            },
        )
        at, block, wrong, rules, texted, household, waved = cursor.fetchone()
        return at, block, wrong, json.loads(rules), texted, household, json.loads(waved)


def rule_facts(places: Iterable[str]) -> dict[str, Any]:
    """Return the facts of a verdict that are contact rules, for these jurisdictions."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT contact_rules_of(%s, %s)::text", [owner(), list(places)])
        found = json.loads(cursor.fetchone()[0])
    return {"rules": read_rules(found["rules"]), "rules_version": found["version"]}
