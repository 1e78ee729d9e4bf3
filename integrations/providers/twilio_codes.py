"""What carriers' error codes ask of us. Twilio's numbers serve most carriers; some add words."""

from __future__ import annotations

from typing import Literal

#: ``suppress``: the person opted out. ``bad_number``: this number takes no texts, ever.
#: ``filtered``: a carrier took it for spam. ``config``: our account or sender is set up wrongly.
#: ``transient``: later it may work. ``""``: not known.
ErrorClass = Literal["", "suppress", "bad_number", "filtered", "config", "transient"]

OPTED_OUT = "21610"
THROTTLED = "20429"

_CLASSES: dict[str, ErrorClass] = {
    OPTED_OUT: "suppress",
    "OUT": "suppress",  # SignalHouse: opted out of the campaign
    "DNC": "suppress",  # SignalHouse: on the carrier's own list
    "21211": "bad_number",  # no valid number
    "21614": "bad_number",  # cannot take texts
    "30005": "bad_number",  # unknown handset
    "30006": "bad_number",  # landline or unreachable carrier
    "30007": "filtered",
    "20003": "config",  # credentials
    "21408": "config",  # region switched off
    "21606": "config",  # sender is not ours
    "21617": "config",  # longer than 1,600 characters
    "21659": "config",  # sender is no number of this account
    "30034": "config",  # sender not registered for 10DLC
    "CAMPAIGN_NOT_ACTIVE": "config",
    THROTTLED: "transient",
    "429": "transient",
    "30001": "transient",  # queue overflow
    "30003": "transient",  # handset switched off or out of reach
    "30008": "transient",  # unknown error on the way
    "30022": "transient",  # rate cap of the 10DLC campaign
    "30023": "transient",  # daily cap of the 10DLC brand
}


def error_class(code: str) -> ErrorClass:
    """Return what an error code of any carrier asks of us; ``""`` for one we do not know."""
    return _CLASSES.get(code.strip().upper(), "")
