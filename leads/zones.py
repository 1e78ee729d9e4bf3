"""Time zones a phone number may be in, offline. Area codes are coarse: often it is several."""

from __future__ import annotations

from functools import lru_cache

import phonenumbers
from phonenumbers import timezone as phone_zones

#: More candidates than this (toll-free numbers have dozens) narrow nothing down.
MOST_ZONES = 6

_EASTERN, _CENTRAL = "America/New_York", "America/Chicago"
_MOUNTAIN, _PACIFIC = "America/Denver", "America/Los_Angeles"
#: State → the zones it lies in.
STATE_ZONES: dict[str, tuple[str, ...]] = {}
for _states, _zones in (
    ("CT DC DE GA MA MD ME NC NH NJ NY OH PA RI SC VA VT WV", (_EASTERN,)),
    ("AL AR IA IL LA MN MO MS OK WI", (_CENTRAL,)),
    ("CO MT NM UT WY", (_MOUNTAIN,)),
    ("CA WA", (_PACIFIC,)),
    ("FL IN KY MI TN", (_EASTERN, _CENTRAL)),
    ("KS ND NE SD TX", (_CENTRAL, _MOUNTAIN)),
    ("ID NV OR", (_MOUNTAIN, _PACIFIC)),
    ("AZ", ("America/Phoenix",)),
    ("AK", ("America/Anchorage",)),
    ("HI", ("Pacific/Honolulu",)),
):
    STATE_ZONES.update(dict.fromkeys(_states.split(), _zones))


@lru_cache(maxsize=50_000)
def number_zones(address: str) -> frozenset[str]:
    """Return the zones of an E.164 number's area; empty when unknown or too many."""
    try:
        parsed = phonenumbers.parse(address)
    except phonenumbers.NumberParseException:
        return frozenset()
    zones = frozenset(phone_zones.time_zones_for_number(parsed)) - {"Etc/Unknown"}
    return zones if len(zones) <= MOST_ZONES else frozenset()


def candidate_zones(address: str, region: str = "") -> frozenset[str]:
    """Return every zone the person may be in: of the number, and of the state of the address."""
    return number_zones(address) | frozenset(STATE_ZONES.get(region.upper(), ()))
