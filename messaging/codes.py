"""What carriers' error codes mean: for counting, and in words for people."""

from __future__ import annotations

from typing import Literal

ErrorClass = Literal["", "suppress", "bad_number", "filtered", "config", "transient"]

CLASSES: dict[ErrorClass, str] = {
    "": "Not known to us",
    "suppress": "The person opted out",
    "bad_number": "This number takes no texts",
    "filtered": "Taken for spam",
    "config": "Account or sender set up wrongly",
    "transient": "May work later",
}

#: Code → class and meaning. Twilio's numbers serve most carriers; SignalHouse adds words.
_CODES: dict[str, tuple[ErrorClass, str]] = {
    "21610": ("suppress", "The person opted out at the carrier"),
    "OUT": ("suppress", "The person opted out of the campaign"),
    "DNC": ("suppress", "On the carrier's own list of opt-outs"),
    "21211": ("bad_number", "No valid number"),
    "21614": ("bad_number", "A number that cannot take texts"),
    "30005": ("bad_number", "Unknown handset"),
    "30006": ("bad_number", "Landline or unreachable carrier"),
    "30007": ("filtered", "A carrier filtered it as spam"),
    "20003": ("config", "The credentials are wrong"),
    "21408": ("config", "The region is switched off"),
    "21606": ("config", "The sender is not ours"),
    "21617": ("config", "Longer than 1,600 characters"),
    "21659": ("config", "The sender is no number of this account"),
    "30034": ("config", "The sender is not registered for 10DLC"),
    "CAMPAIGN_NOT_ACTIVE": ("config", "The campaign of this number is not active"),
    "20429": ("transient", "Too many requests"),
    "429": ("transient", "Too many requests"),
    "30001": ("transient", "Queue overflow"),
    "30003": ("transient", "Handset switched off or out of reach"),
    "30008": ("transient", "Unknown error on the way"),
    "30022": ("transient", "Rate cap of the 10DLC campaign"),
    "30023": ("transient", "Daily cap of the 10DLC brand"),
}


def error_class(code: str) -> ErrorClass:
    """Return what an error code of any carrier asks of us; ``""`` for one we do not know."""
    return _CODES.get(code.strip().upper(), ("", ""))[0]


def meaning(code: str) -> str:
    """Say an error code in words; empty for one we do not know."""
    return _CODES.get(code.strip().upper(), ("", ""))[1]
