"""One verdict for one text: allow, hold until, or deny, with every reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from leads.zones import candidate_zones

RULE_VERSION = "2026-11-1"
#: A person's answer within this time of a text from the lead may go at any hour.
REPLY_WINDOW = timedelta(hours=24)
#: Where no zone of the recipient is known: hours, in the tenant's zone, that lie within 8 to 21
#: from the Pacific to the Atlantic.
FALLBACK_HOURS = (11, 20)

Outcome = Literal["allow", "hold", "deny"]

#: Reason → words for the person who wants to send.
REASONS = {
    "opted_out": "This number opted out.",
    "held": "This number is on hold: its last text looks like a refusal.",
    "wrong_number": "The person there said this is not the lead's number.",
    "lead_closed": "This lead is closed.",
    "lead_merged": "This lead was merged into another one.",
    "paused": "The lead asked to be left alone for now.",
    "number_inactive": "This number of ours is not active.",
    "integration_off": "The integration of this number is switched off or does not send.",
    "quiet_hours": "It is too early or too late where the recipient is.",
    "too_long": "The text is too long.",
    "empty": "The text is empty.",
}
HOLDING = {"quiet_hours"}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a verdict depends on, all read in one transaction."""

    at: datetime  # the database's clock
    purpose: str
    is_automated: bool
    consent_block: str | None = None  # opted_out or held
    is_wrong_number: bool = False
    lead_state: str = "new"
    lead_is_merged: bool = False
    paused_until: datetime | None = None
    number_is_active: bool = True
    integration_is_on: bool = True
    last_inbound_at: datetime | None = None
    zones: frozenset[str] = frozenset()
    tenant_zone: str = "America/New_York"
    legal_hours: tuple[int, int] = (8, 21)
    segments: int = 1
    max_segments: int = 6


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """``hold`` has a time from which the text may go; ``reasons`` has everything that speaks."""

    outcome: Outcome
    reasons: tuple[str, ...] = ()
    hold_until: datetime | None = None
    rule_version: str = RULE_VERSION
    zones: tuple[str, ...] = field(default=())

    @property
    def words(self) -> str:
        """Return the reasons as sentences."""
        return " ".join(REASONS[reason] for reason in self.reasons)

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as it is stored beside the text."""
        stored = asdict(self)
        stored["hold_until"] = self.hold_until.isoformat() if self.hold_until else None
        return stored


def decide(facts: Facts) -> Verdict:
    """Judge one text. Pure: the same facts give the same verdict, in composer and sender."""
    reasons = [reason for reason, speaks in _reasons(facts) if speaks]
    zones = tuple(sorted(facts.zones))
    if any(reason not in HOLDING for reason in reasons):
        return Verdict(outcome="deny", reasons=tuple(reasons), zones=zones)
    if reasons:
        until = next_legal(facts.at, facts)
        return Verdict(outcome="hold", reasons=tuple(reasons), hold_until=until, zones=zones)
    return Verdict(outcome="allow", zones=zones)


def _reasons(facts: Facts) -> Iterable[tuple[str, bool]]:
    confirms = facts.purpose == "opt_out_confirmation"
    automated = facts.is_automated and not confirms
    yield "opted_out", facts.consent_block == "opted_out" and not confirms
    yield "held", facts.consent_block == "held" and automated
    yield "wrong_number", facts.is_wrong_number
    yield "lead_closed", facts.lead_state == "closed" and automated
    yield "lead_merged", facts.lead_is_merged
    yield (
        "paused",
        automated
        and facts.purpose != "help"
        and facts.paused_until is not None
        and facts.paused_until > facts.at,
    )
    yield "number_inactive", not facts.number_is_active
    yield "integration_off", not facts.integration_is_on
    yield "empty", facts.segments == 0
    yield "too_long", facts.segments > facts.max_segments
    yield "quiet_hours", not _any_hour(facts) and not is_legal(facts.at, facts)


def _any_hour(facts: Facts) -> bool:
    """Answers may go at any hour: the person has just written, or asked for exactly this."""
    if facts.purpose in ("opt_out_confirmation", "help"):
        return True
    recent = facts.last_inbound_at is not None and facts.at - facts.last_inbound_at <= REPLY_WINDOW
    return recent and not facts.is_automated


def is_legal(at: datetime, facts: Facts) -> bool:
    """Tell whether *at* lies within the legal hours of every zone the recipient may be in."""
    if not facts.zones:
        hours = at.astimezone(ZoneInfo(facts.tenant_zone))
        return FALLBACK_HOURS[0] <= hours.hour < FALLBACK_HOURS[1]
    start, end = facts.legal_hours
    return all(start <= at.astimezone(ZoneInfo(zone)).hour < end for zone in facts.zones)


def next_legal(at: datetime, facts: Facts) -> datetime:
    """Return the first moment from *at* on that is legal, to the quarter of an hour."""
    quarter = timedelta(minutes=15)
    moment = at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0)
    for _ in range(4 * 24 * 4):
        moment += quarter
        if is_legal(moment, facts):
            return moment
    return at + timedelta(days=1)  # zones so far apart that no hour suits all: a person decides


def zones_of(lead_zone: str, region: str, address: str) -> frozenset[str]:
    """Return the zones a recipient may be in; empty when that cannot be narrowed down."""
    return frozenset({lead_zone}) if lead_zone else candidate_zones(address, region)
