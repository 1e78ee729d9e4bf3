"""What a saved query asks for: its parameters, their signature, and the fields of its form."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

#: Longest parameters of a query, as JSON.
MAX_PARAMS = 20_000
#: Deepest nesting: nobody asks deeper, and reading is recursive.
MAX_DEPTH = 12
#: Most ZIP codes of one query.
MAX_ZIPS = 500

PROPERTY_TYPES = {
    "Single Family": "Single family",
    "Condominium": "Condominium",
    "Townhouse": "Townhouse",
    "Multi-Family": "Multi-family",
    "Mobile/Manufactured": "Mobile or manufactured",
    "Land": "Land",
    "Commercial": "Commercial",
}
QUICK_LISTS = {
    "absentee-owner": "Absentee owner",
    "active-listing": "Active listing",
    "cash-buyer": "Cash buyer",
    "corporate-owned": "Owned by a company",
    "free-and-clear": "Free and clear",
    "high-equity": "High equity",
    "inherited": "Inherited",
    "involuntary-lien": "Involuntary lien",
    "long-term-owner": "Long-term owner",
    "low-equity": "Low equity",
    "out-of-state-owner": "Owner out of state",
    "pending-listing": "Pending listing",
    "preforeclosure": "Preforeclosure",
    "recently-sold": "Recently sold",
    "senior-owner": "Senior owner",
    "tax-default": "Tax default",
    "tired-landlord": "Tired landlord",
    "trust-owned": "Owned by a trust",
    "vacant": "Vacant",
}
OCCUPIED, NOT_OCCUPIED = "owner-occupied", "not-owner-occupied"


class QueryRefused(Exception):
    """The parameters make no query; the text says why."""


def canonical(value: Any, *, depth: int = 0) -> Any:
    """Return *value* so that what means the same is the same: 1 and 1.0, whatever order of keys.

    Lists keep their order: only the vendor knows where it matters.

    Raises:
        QueryRefused: it is no JSON, or is nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise QueryRefused("The criteria are nested too deeply.")
    match value:
        case bool() | None:
            return value
        case str() if "\x00" not in value:
            return value
        case int() | float():
            return _number(value)
        case list() | tuple():
            return [canonical(one, depth=depth + 1) for one in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {canonical(key): canonical(value[key], depth=depth + 1) for key in sorted(value)}
    raise QueryRefused("The criteria hold something that cannot be kept as JSON.")


def _number(value: float) -> float:
    if not math.isfinite(value) or abs(value) >= 2**53:
        raise QueryRefused("The criteria hold a number that is too large.")
    return int(value) if value == int(value) else value


def query_params(criteria: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stored of a query: its criteria and options, less the paging, which is ours.

    Args:
        criteria: the vendor's search criteria, or an object with those and ``options``.

    Raises:
        QueryRefused: see ``canonical``; or it is too long.
    """
    whole: dict[str, Any] = canonical(dict(criteria))
    if "searchCriteria" not in whole:
        whole = {"searchCriteria": whole}
    options = whole.get("options")
    if options is not None and not isinstance(options, dict):
        raise QueryRefused("“options” must be an object.")
    kept = {key: one for key, one in (options or {}).items() if key not in ("skip", "take")}
    params = {"searchCriteria": whole["searchCriteria"], **({"options": kept} if kept else {})}
    if len(json.dumps(params)) > MAX_PARAMS:
        raise QueryRefused("The criteria are too long.")
    return params


def query_signature(provider: str, params: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hexadecimal, of a provider's name and *all* parameters.

    Nothing nested is left out: a query with another number anywhere inside is another query.
    """
    text = json.dumps(
        [provider, canonical(dict(params))],
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# --- the form's fields ------------------------------------------------------------------------


def zips_of(text: str) -> list[str]:
    """Return the ZIP codes that were typed, each once, in order.

    Raises:
        QueryRefused: one is none, or there are too many.
    """
    words = [word for word in re.split(r"[\s,;]+", text) if word]
    for word in words:
        if not re.fullmatch(r"[0-9]{5}", word):
            raise QueryRefused(f"“{word[:20]}” is no ZIP code of five digits.")
    if len(words) > MAX_ZIPS:
        raise QueryRefused(f"At most {MAX_ZIPS} ZIP codes in one query.")
    return sorted(set(words))


def dollars_of(text: str, name: str) -> int | None:
    """Return whole dollars as typed, such as ``$100,000``; None where nothing was.

    Raises:
        QueryRefused: it is no amount.
    """
    plain = re.sub(r"[\s$,]", "", text)
    if not plain:
        return None
    if not re.fullmatch(r"[0-9]{1,12}", plain):
        raise QueryRefused(f"{name} is no amount in dollars.")
    return int(plain)


def criteria_of(fields: Mapping[str, Any], raw: str = "") -> dict[str, Any]:
    """Return search criteria made of the form's fields; what stands in *raw* wins.

    Args:
        fields: ``zips``, ``county``, ``state``, ``property_type``, ``occupied`` (yes, no or ""),
            ``min_equity``, ``min_value``, and the list ``quick_lists``.
        raw: a JSON object of further criteria.

    Raises:
        QueryRefused: something typed is not what it should be, or nothing was.
    """
    made: dict[str, Any] = {
        "address": _address(fields),
        "quickLists": _lists(fields.get("quick_lists", ()), fields.get("occupied", "")),
        "general": {},
        "valuation": {
            "equityCurrentEstimatedBalance": _least(fields.get("min_equity", ""), "Least equity"),
            "estimatedValue": _least(fields.get("min_value", ""), "Least value"),
        },
    }
    if (kind := fields.get("property_type", "")) in PROPERTY_TYPES:
        made["general"]["propertyTypeCategory"] = kind
    made["valuation"] = {key: one for key, one in made["valuation"].items() if one}
    made = {key: one for key, one in made.items() if one}
    more = _object(raw)
    if "searchCriteria" in more:
        inner = more["searchCriteria"]
        if not isinstance(inner, dict):
            raise QueryRefused("“searchCriteria” must be an object.")
        made = {**more, "searchCriteria": _merged(made, inner)}
    else:
        made = _merged(made, more)
    if not any((made.get("searchCriteria") or made).values()):
        raise QueryRefused("Say what to search for: a search for everything costs everything.")
    return made


def _address(fields: Mapping[str, Any]) -> dict[str, Any]:
    address: dict[str, Any] = {
        "zip": zips_of(fields.get("zips", "")),
        "county": fields.get("county", "").strip()[:80],
        "state": fields.get("state", "").strip().upper(),
    }
    if address["state"] and not re.fullmatch(r"[A-Z]{2}", address["state"]):
        raise QueryRefused("The state is two letters, such as CA.")
    return {key: one for key, one in address.items() if one}


def _least(text: str, name: str) -> dict[str, int] | None:
    amount = dollars_of(text, name)
    return None if amount is None else {"min": amount}


def _lists(chosen: Iterable[str], occupied: str) -> list[str]:
    own = {"yes": [OCCUPIED], "no": [NOT_OCCUPIED]}.get(occupied, [])
    return sorted({*own, *(one for one in chosen if one in QUICK_LISTS)})


def _object(raw: str) -> dict[str, Any]:
    if not raw.strip():
        return {}
    if len(raw) > MAX_PARAMS:
        raise QueryRefused("The criteria are too long.")
    try:
        read = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise QueryRefused(f"The criteria are no JSON: {str(error)[:120]}.") from error
    if not isinstance(read, dict):
        raise QueryRefused("The criteria must be a JSON object: {…}.")
    checked: dict[str, Any] = canonical(read)
    return checked


def _merged(one: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return *one* with what *other* says; objects are merged, all else is replaced."""
    both = dict(one)
    for key, value in other.items():
        mine = both.get(key)
        is_deeper = isinstance(mine, dict) and isinstance(value, dict)
        both[key] = _merged(mine, value) if is_deeper else value  # type: ignore[arg-type]
    return both


def fields_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the form's fields for stored *params*; what has no field of its own is ``raw``."""
    whole = dict(params)
    rest: dict[str, Any] = json.loads(json.dumps(whole.get("searchCriteria") or {}))
    fields: dict[str, Any] = {"quick_lists": []}
    _take_address(rest, fields)
    _take_lists(rest, fields)
    general = rest.get("general")
    if isinstance(general, dict) and general.get("propertyTypeCategory") in list(PROPERTY_TYPES):
        fields["property_type"] = general.pop("propertyTypeCategory")
    _take_least(rest, fields)
    before = whole.get("searchCriteria") or {}
    rest = {key: one for key, one in rest.items() if one != {} or before[key] == {}}
    if options := whole.get("options"):
        rest = {"searchCriteria": rest, "options": options}
    fields["raw"] = json.dumps(rest, indent=2, ensure_ascii=False) if rest else ""
    return fields


def _take_address(rest: dict[str, Any], fields: dict[str, Any]) -> None:
    address = rest.get("address")
    if not isinstance(address, dict):
        return
    zips = address.get("zip")
    if isinstance(zips, list) and all(isinstance(one, str) for one in zips):
        fields["zips"] = " ".join(address.pop("zip"))
    for key in ("county", "state"):
        if isinstance(address.get(key), str):
            fields[key] = address.pop(key)


def _take_lists(rest: dict[str, Any], fields: dict[str, Any]) -> None:
    """Move the quick lists out of *rest*, unless it has one that the form does not show."""
    lists = rest.get("quickLists")
    if not isinstance(lists, list):
        return
    occupied = [one for one in lists if one in (OCCUPIED, NOT_OCCUPIED)]
    words = [one for one in lists if isinstance(one, str) and one in QUICK_LISTS]
    if len(words) + len(occupied) == len(lists) and len(occupied) < 2:
        fields["quick_lists"] = words
        fields["occupied"] = {OCCUPIED: "yes", NOT_OCCUPIED: "no"}.get("".join(occupied), "")
        del rest["quickLists"]


def _take_least(rest: dict[str, Any], fields: dict[str, Any]) -> None:
    """Move the least amounts out of *rest* into their fields."""
    valuation = rest.get("valuation")
    if not isinstance(valuation, dict):
        return
    for key, name in (
        ("equityCurrentEstimatedBalance", "min_equity"),
        ("estimatedValue", "min_value"),
    ):
        told = valuation.get(key)
        if isinstance(told, dict) and set(told) == {"min"} and isinstance(told["min"], int):
            fields[name] = f"{told['min']:,}"
            del valuation[key]
