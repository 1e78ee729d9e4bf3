"""Faults on demand: what goes wrong, for whom, and how often."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from integrations.sandbox.wire import Refused

#: Nothing is accepted; the caller may safely try again.
REFUSALS = frozenset({"429", "500", "hang", "reset"})
#: The text is accepted, and the caller cannot tell.
AFTER_ACCEPTING = frozenset({"500_after_accept", "hang_after_accept", "reset_after_accept", "drip"})
#: A clean answer that says no.
CONTENT = frozenset({"dnc", "not_accepted"})
#: The answer is good; what is reported later is not.
CALLBACKS = frozenset({"duplicate_callbacks", "reorder_callbacks", "no_callbacks", "undelivered"})
KINDS = REFUSALS | AFTER_ACCEPTING | CONTENT | CALLBACKS

SEND_PATH = "/message/sms"


def digits(number: object) -> str:
    """Digits of a number, a US one with its country code: ``(202) 555-0142`` → ``12025550142``."""
    only = re.sub(r"\D", "", str(number))
    return f"1{only}" if len(only) == 10 else only


@dataclass(kw_only=True)
class Fault:
    """One rule; `count` 0 means until cleared. `retry_after` is in seconds."""

    kind: str
    match: dict[str, str] = field(default_factory=dict)
    count: int = 1
    retry_after: int | None = None
    error_code: str | None = None
    fired: int = 0

    @property
    def is_spent(self) -> bool:
        return 0 < self.count <= self.fired

    def fits(self, facts: dict[str, str]) -> bool:
        """Whether a request with `facts` (path, from, to, text) is meant."""
        if facts.get("path") != self.match.get("path", SEND_PATH):
            return False
        for side in ("from", "to"):
            if side in self.match and digits(self.match[side]) != facts.get(side):
                return False
        return self.match.get("text", "").lower() in facts.get("text", "").lower()

    def public(self) -> dict[str, Any]:
        """The rule as the control API shows it."""
        return {
            "kind": self.kind,
            "match": self.match,
            "count": self.count,
            "fired": self.fired,
            "retry_after": self.retry_after,
            "error_code": self.error_code,
        }


def parse_fault(data: dict[str, Any]) -> Fault:
    """Read a rule; a plain string as `match` names the recipient.

    Raises:
        Refused: 400, saying which kinds exist.
    """
    kind = str(data.get("kind", ""))
    if kind not in KINDS:
        raise Refused(400, f"Unknown fault {kind!r}; one of {', '.join(sorted(KINDS))}")
    match = data.get("match") or {}
    if isinstance(match, str):
        match = {"to": match}
    try:
        return Fault(
            kind=kind,
            match={str(name): str(value) for name, value in dict(match).items()},
            count=int(data.get("count", 1)),
            retry_after=None if data.get("retry_after") is None else int(data["retry_after"]),
            error_code=data.get("error_code"),
        )
    except (TypeError, ValueError) as error:
        raise Refused(400, "match must be an object, count and retry_after numbers") from error


class Faults:
    """The rules in force, oldest first."""

    def __init__(self) -> None:
        self.rules: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.rules.append(fault)

    def clear(self) -> None:
        self.rules.clear()

    def take(self, kinds: frozenset[str], facts: dict[str, str]) -> Fault | None:
        """The first rule of these kinds that fits, counted as fired."""
        for fault in self.rules:
            if fault.kind in kinds and not fault.is_spent and fault.fits(facts):
                fault.fired += 1
                return fault
        return None
