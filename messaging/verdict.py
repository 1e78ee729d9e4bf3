"""One verdict for one text: allow, hold until, or deny, with every reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from leads.zones import candidate_zones
from messaging.rules import Rule, limit, window

#: Of the code below; a verdict adds the version of the tenant's table of rules.
RULE_VERSION = "2026-11-3"
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
    "lead_suppressed": "This lead opted out: no machine writes to it, at any number.",
    "lead_merged": "This lead was merged into another one.",
    "paused": "The lead asked to be left alone for now.",
    "number_inactive": "This number of ours is not active.",
    "integration_off": "The integration of this number is switched off or does not send.",
    "quiet_hours": "It is too early or too late where the recipient is.",
    "too_many": "This person has had as many texts in 24 hours as the rules allow.",
    "household": "Somebody else with this number was texted in the last 24 hours.",
    "too_long": "The text is too long.",
    "empty": "The text is empty.",
}
HOLDING = {"quiet_hours", "too_many"}
#: What a person may wave through, once they were told.
OVERRIDABLE = frozenset({"household"})
DAY = timedelta(hours=24)
QUARTER = timedelta(minutes=15)
#: How far ahead a legal moment is looked for: over a weekend without a single one.
HORIZON = timedelta(days=4)


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
    legal_hours: tuple[int, int] = (8, 21)  # of the tenant; rules only narrow them
    fallback_hours: tuple[int, int] = FALLBACK_HOURS
    rules: tuple[Rule, ...] = ()  # of every jurisdiction the recipient may be in
    rules_version: int = 0
    texted_at: tuple[datetime, ...] = ()  # earlier texts of the last 24 hours, oldest first
    household: str | None = None  # another lead with this number, texted within 24 hours
    overridden: frozenset[str] = frozenset()  # reasons that a person has waved through
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
    jurisdictions: tuple[str, ...] = field(default=())
    overridden: tuple[str, ...] = field(default=())

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
    speaking = [reason for reason, speaks in _reasons(facts) if speaks]
    waved = facts.overridden & OVERRIDABLE if not facts.is_automated else frozenset()
    reasons = tuple(reason for reason in speaking if reason not in waved)
    outcome: Outcome = "allow"
    if reasons:
        outcome = "hold" if HOLDING.issuperset(reasons) else "deny"
    return Verdict(
        outcome=outcome,
        reasons=reasons,
        hold_until=_hold_until(facts) if outcome == "hold" else None,
        rule_version=f"{RULE_VERSION}.{facts.rules_version}",
        zones=tuple(sorted(facts.zones)),
        jurisdictions=tuple(sorted({rule.jurisdiction for rule in facts.rules})),
        overridden=tuple(reason for reason in speaking if reason in waved),
    )


def _reasons(facts: Facts) -> Iterable[tuple[str, bool]]:
    confirms = facts.purpose == "opt_out_confirmation"
    automated = facts.is_automated and not confirms
    yield "opted_out", facts.consent_block == "opted_out" and not confirms
    yield "held", facts.consent_block == "held" and automated
    yield "wrong_number", facts.is_wrong_number
    yield "lead_closed", facts.lead_state == "closed" and automated
    yield (
        "lead_suppressed",
        facts.lead_state == "suppressed" and automated and facts.purpose != "help",
    )
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
    yield "household", facts.household is not None and _begins(facts)
    yield "empty", facts.segments == 0
    yield "too_long", facts.segments > facts.max_segments
    yield "quiet_hours", not _any_hour(facts) and not is_legal(facts.at, facts)
    yield "too_many", not _any_hour(facts) and _room_at(facts) > facts.at


def _begins(facts: Facts) -> bool:
    """Tell whether the text is one that a household gets once: a first or an automated one."""
    if facts.purpose in ("opt_out_confirmation", "help"):
        return False
    return facts.is_automated or facts.purpose == "first_text"


def _any_hour(facts: Facts) -> bool:
    """Answers may go at any hour: the person has just written, or asked for exactly this."""
    if facts.purpose in ("opt_out_confirmation", "help"):
        return True
    recent = facts.last_inbound_at is not None and facts.at - facts.last_inbound_at <= REPLY_WINDOW
    return recent and not facts.is_automated


def _room_at(facts: Facts) -> datetime:
    """Return when the number of texts in 24 hours leaves room for this one."""
    most = limit(facts.rules)
    if most is None or len(facts.texted_at) < most:
        return facts.at
    return facts.texted_at[-most] + DAY


def _hold_until(facts: Facts) -> datetime:
    room = _room_at(facts)
    if room > facts.at and is_legal(room, facts):
        return room
    return next_legal(max(room, facts.at), facts)


def is_legal(at: datetime, facts: Facts) -> bool:
    """Tell whether *at* lies within every window, in every zone the recipient may be in.

    Where no zone is known, within the tenant's fallback hours on the tenant's clock.
    """
    if facts.zones:
        return all(_open(at, zone, facts.legal_hours, facts.rules) for zone in facts.zones)
    return _open(at, facts.tenant_zone, facts.fallback_hours, facts.rules)


def _open(at: datetime, zone: str, hours: tuple[int, int], rules: tuple[Rule, ...]) -> bool:
    local = at.astimezone(ZoneInfo(zone))
    start, end = window(rules, local.weekday())
    return max(start, hours[0]) <= local.hour < min(end, hours[1])


def next_legal(at: datetime, facts: Facts) -> datetime:
    """Return the first moment after *at* that is legal, to the quarter of an hour."""
    moment = at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0)
    for _ in range(HORIZON // QUARTER):
        moment += QUARTER
        if is_legal(moment, facts):
            return moment
    return at + timedelta(days=1)  # zones so far apart that no hour suits all: a person decides


def zones_of(lead_zone: str, region: str, address: str) -> frozenset[str]:
    """Return the zones a recipient may be in; empty when that cannot be narrowed down."""
    return frozenset({lead_zone}) if lead_zone else candidate_zones(address, region)
