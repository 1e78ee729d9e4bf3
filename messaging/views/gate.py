"""Whether a conversation has a composer, and what stands in its place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.urls import reverse
from django.utils import timezone

from leads.models import Lead
from messaging.actions.facts import hours_of, rule_facts
from messaging.models import Conversation
from messaging.rules import Rule, places_of
from messaging.templatetags.ui import absolute, clock, how, phone
from messaging.verdict import Facts, Verdict, decide, zones_of
from messaging.views.shell import Bell
from tenants.models import Tenant


@dataclass(frozen=True, kw_only=True)
class Gate:
    """``mode`` is ``open`` (there is a composer), ``watch``, ``opted_out`` or ``blocked``.

    ``hold`` marks an open one whose last text looks like a refusal.
    """

    mode: str
    title: str = ""
    text: str = ""
    icon: str = "shield-off"
    link: str = ""
    link_text: str = ""
    send_at: str = ""
    hold: bool = False

    @property
    def key(self) -> str:
        """What a page compares to know whether its composer still fits."""
        return f"{self.mode}{'-held' if self.hold else ''}{'-later' if self.send_at else ''}"


def gate_of(conversation: Conversation, *, may_reply: bool, bell: Bell, tenant: Tenant) -> Gate:
    """Judge from what is already read, by the rules of the send itself, which judges again."""
    consents: list[dict[str, Any]] = getattr(conversation, "consent", [])
    address, slug = conversation.their_number, tenant.slug
    out = next((one for one in consents if _blocks(one, conversation)), None)
    if out is not None:
        return Gate(
            mode="opted_out",
            title=f"{phone(address)} has opted out",
            text=f"{_how(out)}. Nobody can text this number.",
            link=reverse("messaging:optout", args=[slug, address]),
            link_text="See the record",
        )
    if not may_reply:
        return Gate(
            mode="watch",
            title=f"You watch {bell.label}",
            text="You can read everything here. A tenant admin can let you reply.",
            icon="eye",
        )
    verdict = decide(_facts(conversation, tenant))
    if verdict.outcome == "deny":
        return Gate(
            mode="blocked",
            title="No text can go here",
            text=verdict.words,
            icon="message-square-off",
            link=reverse("messaging:lead", args=[slug, conversation.lead_id]),
            link_text="Open the lead",
        )
    held = any(one["state"] == "held" for one in consents)
    return Gate(mode="open", hold=held, send_at=_send_at(verdict))


def first_text_at(lead: Lead, address: str, tenant: Tenant) -> str:
    """Say when a first text to *address* would go: empty for now, else a clock."""
    facts = Facts(
        at=timezone.now(),
        purpose="first_text",
        is_automated=False,
        zones=zones_of(lead.time_zone, lead.region, address),
        **rule_facts(places_of(lead.region, address)),
        **hours_of(tenant),
    )
    return _send_at(decide(facts))


def _facts(conversation: Conversation, tenant: Tenant) -> Facts:
    lead, line = conversation.lead, conversation.phone_number
    return Facts(
        at=timezone.now(),
        purpose="reply",
        is_automated=False,
        is_wrong_number=_is_wrong(conversation),
        lead_state=lead.state,
        lead_is_merged=lead.superseded_at is not None,
        paused_until=lead.paused_until,
        number_is_active=line is not None and line.carries("reply"),
        integration_is_on=line is not None and line.integration.enabled,
        last_inbound_at=conversation.last_inbound_at,
        zones=zones_of(lead.time_zone, lead.region, conversation.their_number),
        rules=tuple(
            Rule(*rule)
            for rule in getattr(conversation, "contact_rules", [])
            if rule[0] in places_of(lead.region, conversation.their_number)
        ),
        **hours_of(tenant),
    )


def _send_at(verdict: Verdict) -> str:
    """Say when a held text goes, on the clock of the lead where there is only one."""
    if verdict.hold_until is None:
        return ""
    zone = verdict.zones[0] if len(verdict.zones) == 1 else ""
    if zone:
        return f"{clock(verdict.hold_until.astimezone(ZoneInfo(zone)))} (lead time)"
    return f"{clock(timezone.localtime(verdict.hold_until))} (our time)"


def _blocks(consent: dict[str, Any], conversation: Conversation) -> bool:
    scope = consent["scope"]
    is_meant = scope in ("", f"number:{conversation.our_number}") or scope.startswith("list:")
    return consent["state"] == "opted_out" and is_meant


def _is_wrong(conversation: Conversation) -> bool:
    return any(
        point["wrong"] and point["value"] == conversation.their_number
        for point in getattr(conversation, "points", [])
    )


def _how(consent: dict[str, Any]) -> str:
    keyword = f" “{consent['keyword']}”" if consent["keyword"] else ""
    when = absolute(datetime.fromisoformat(consent["at"])) if consent["at"] else ""
    return f"Since {when}, {how(consent['source']).lower()}{keyword}"
