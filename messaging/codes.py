"""What carriers' error codes mean, in words for people."""

from __future__ import annotations

from integrations.providers.twilio_codes import ErrorClass, error_class

CLASSES: dict[ErrorClass, str] = {
    "": "Not known to us",
    "suppress": "The person opted out",
    "bad_number": "This number takes no texts",
    "filtered": "Taken for spam",
    "config": "Account or sender set up wrongly",
    "transient": "May work later",
}

#: Code → meaning. Twilio's numbers serve most carriers; SignalHouse adds words.
_MEANINGS = {
    "21610": "The person opted out at the carrier",
    "OUT": "The person opted out of the campaign",
    "DNC": "On the carrier's own list of opt-outs",
    "21211": "No valid number",
    "21614": "A number that cannot take texts",
    "30005": "Unknown handset",
    "30006": "Landline or unreachable carrier",
    "30007": "A carrier filtered it as spam",
    "20003": "The credentials are wrong",
    "21408": "The region is switched off",
    "21606": "The sender is not ours",
    "21617": "Longer than 1,600 characters",
    "21659": "The sender is no number of this account",
    "30034": "The sender is not registered for 10DLC",
    "CAMPAIGN_NOT_ACTIVE": "The campaign of this number is not active",
    "20429": "Too many requests",
    "429": "Too many requests",
    "30001": "Queue overflow",
    "30003": "Handset switched off or out of reach",
    "30008": "Unknown error on the way",
    "30022": "Rate cap of the 10DLC campaign",
    "30023": "Daily cap of the 10DLC brand",
}

__all__ = ["CLASSES", "error_class", "meaning"]


def meaning(code: str) -> str:
    """Say an error code in words; empty for one we do not know."""
    return _MEANINGS.get(code.strip().upper(), "")
