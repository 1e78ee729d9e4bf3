"""BatchData as its customers see it: property search over a list that grows at its front."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from integrations.sandbox.market import Account, bearer
from integrations.sandbox.people import QUICK_LISTS, SIZE, Traits, vendor_id
from integrations.sandbox.places import ZIPS
from integrations.sandbox.wire import Refused, Request, Response, Router, json_response

if TYPE_CHECKING:
    from integrations.sandbox.app import Sandbox

router = Router()

MAX_TAKE, DEFAULT_TAKE = 500, 25
MAX_ADDED = 3 * SIZE

#: As the vendor words it, whichever of the two it is.
NO_BALANCE = "Insufficient balance or invalid token permission"

GROUPS = {"query", "address", "quickLists", "orQuickLists", "valuation", "demographics"}
SIDES = ("min", "max")
RANGES = {
    "valuation": {"estimatedValue": "value", "equityCurrentEstimatedBalance": "equity"},
    "demographics": {"age": "age"},
}


def authenticate(sandbox: Sandbox, request: Request) -> Account:
    """The account of the caller's token.

    Raises:
        Refused: 401.
    """
    return sandbox.market.account("batchdata", bearer(request))


def answer(data: dict[str, Any], *, code: int = 200, message: str = "") -> Response:
    """An answer with the vendor's status object."""
    words = {200: "OK", 400: "Bad Request", 403: "Forbidden"}
    status = {"code": code, "text": words.get(code, "Error"), "message": message}
    return json_response({"status": status, **data}, code)


@router.route("POST", "/api/v1/property/search")
async def search(sandbox: Sandbox, request: Request) -> Response:
    """A page of the result set, newest first; `take` 0 counts, and is free."""
    account = authenticate(sandbox, request)
    data = request.json()
    criteria, options = data.get("searchCriteria"), data.get("options") or {}
    if not isinstance(criteria, dict) or not isinstance(options, dict):
        return answer({}, code=400, message="searchCriteria is required")
    skip, take = options.get("skip", 0), options.get("take", DEFAULT_TAKE)
    if not isinstance(skip, int) or not isinstance(take, int):
        return answer({}, code=400, message="skip and take must be numbers")
    if skip < 0 or not 0 <= take <= MAX_TAKE:
        return answer({}, code=400, message=f"take must be 0 to {MAX_TAKE}, skip 0 or more")
    arrive(sandbox)
    found = result_set(sandbox, criteria)
    if take and not pay(sandbox, account, request, criteria, len(found)):
        return answer({}, code=403, message=NO_BALANCE)
    page = found[skip : skip + take]
    meta = {"resultCount": len(page), "resultsFound": len(found)}
    results = {
        "properties": [listing(sandbox, index) for index in page],
        "meta": {"apiVersion": "1.0", "results": meta},
    }
    return answer({"results": results})


def pay(
    sandbox: Sandbox, account: Account, request: Request, criteria: dict[str, Any], found: int
) -> bool:
    """Bill what a query finds beyond what it was billed for today; tell whether it could be paid.

    The whole result set is billed, whatever the page: the first request pays for all of it, later
    ones only for what has arrived since.
    """
    mark = f"{signature(criteria)}:{sandbox.market.today()}"
    new = found - account.found.get(mark, 0)
    if new <= 0:
        return True
    if not account.can_pay("search", new):
        return False
    account.found[mark] = found
    sandbox.market.bill(account, "search", new, request, subject=signature(criteria)[:16])
    return True


def signature(criteria: dict[str, Any]) -> str:
    """What makes two searches one query: all of the criteria, whatever their order."""
    return hashlib.sha256(json.dumps(criteria, sort_keys=True).encode()).hexdigest()


# --- the list ---------------------------------------------------------------------------------


def traits_of(sandbox: Sandbox, index: int) -> Traits:
    """What a search filters a property by, with what the control API gave it."""
    traits = sandbox.market.population.traits(index)
    given = sandbox.market.added.get(index)
    if not given:
        return traits
    lists = frozenset(given.get("quickLists", ())) | traits.lists
    return traits._replace(zip=given.get("zip", traits.zip), lists=lists)


def listing(sandbox: Sandbox, index: int) -> dict[str, Any]:
    """A property as a page lists it."""
    listed = sandbox.market.population.listing(index)
    given = sandbox.market.added.get(index, {})
    if "zip" in given:
        listed = listed | {"address": listed["address"] | {"zip": given["zip"]}}
    return listed


def result_set(sandbox: Sandbox, criteria: dict[str, Any]) -> list[int]:
    """The places of all properties that a query finds, newest first.

    Raises:
        Refused: 400, when it asks for something that is not known here.
    """
    market = sandbox.market
    key = signature(criteria)
    if key not in market.results:
        fits = matcher(criteria)
        newest = SIZE + len(market.added) - 1
        market.results[key] = [
            index
            for index in range(newest, -1, -1)
            if index not in market.removed and fits(traits_of(sandbox, index))
        ]
    return market.results[key]


def matcher(criteria: dict[str, Any]) -> Any:
    """A test of traits.

    Raises:
        Refused: 400.
    """
    unknown = set(criteria) - GROUPS
    if unknown:
        raise Refused(400, f"The sandbox searches by {', '.join(sorted(GROUPS))} only")
    zips = zips_of(criteria)
    wanted, banned = split(criteria.get("quickLists") or [])
    one_of, _ = split(criteria.get("orQuickLists") or [])
    ranges = ranges_of(criteria)

    def fits(traits: Traits) -> bool:
        return (
            (zips is None or traits.zip in zips)
            and wanted <= traits.lists
            and not banned & traits.lists
            and (not one_of or bool(one_of & traits.lists))
            and all(least <= getattr(traits, name) <= most for name, least, most in ranges)
        )

    return fits


def zips_of(criteria: dict[str, Any]) -> set[str] | None:
    """The ZIPs that a query is about; None: all of them."""
    address = criteria.get("address") or {}
    listed = address.get("zip") if isinstance(address, dict) else None
    zips = {str(one) for one in (listed if isinstance(listed, list) else [listed]) if one}
    query = str(criteria.get("query") or "").strip()
    if query and query.upper() not in ("CA", "US"):
        zips |= {query}
    return zips or None


def split(names: Any) -> tuple[frozenset[str], frozenset[str]]:
    """Quick lists that are wanted, and those that are not (``not-…``).

    Raises:
        Refused: 400, when one is not known here.
    """
    if not isinstance(names, list):
        raise Refused(400, "quickLists must be an array")
    bare = {str(name).removeprefix("not-") for name in names}
    if bare - set(QUICK_LISTS):
        raise Refused(400, f"Quick lists here are {', '.join(QUICK_LISTS)}")
    banned = frozenset(name[4:] for name in names if name.startswith("not-"))
    return frozenset(name for name in names if not name.startswith("not-")), banned


def ranges_of(criteria: dict[str, Any]) -> list[tuple[str, float, float]]:
    """The ranges of a query: ``{"valuation": {"estimatedValue": {"min": …, "max": …}}}``."""
    found = []
    for group, names in RANGES.items():
        given = criteria.get(group) or {}
        for name, limits in given.items() if isinstance(given, dict) else ():
            if name not in names or not isinstance(limits, dict):
                raise Refused(400, f"{group} has ranges of {', '.join(names)}")
            try:
                least, most = (float(limits[side]) if side in limits else None for side in SIDES)
            except (TypeError, ValueError) as error:
                raise Refused(400, "min and max must be numbers") from error
            least = float("-inf") if least is None else least
            found.append((names[name], least, float("inf") if most is None else most))
    return found


# --- how it moves -----------------------------------------------------------------------------


def arrive(sandbox: Sandbox) -> None:
    """Let the records come that are due before this request."""
    due = []
    for arrival in sandbox.market.arrivals:
        arrival["after"] -= 1
        if arrival["after"] < 0:
            due.append(arrival)
    for arrival in due:
        sandbox.market.arrivals.remove(arrival)
        insert(sandbox, arrival)


def insert(sandbox: Sandbox, arrival: dict[str, Any]) -> list[int]:
    """Add records at the front of the list; every result set is found anew."""
    market = sandbox.market
    given = {name: arrival[name] for name in ("zip", "quickLists") if arrival.get(name)}
    places = list(range(SIZE + len(market.added), SIZE + len(market.added) + arrival["count"]))
    market.added |= dict.fromkeys(places, given)
    market.results.clear()
    return places


@router.route("POST", "/_control/batchdata/records")
async def add_records(sandbox: Sandbox, request: Request) -> Response:
    """Let records come: ``{count, zip?, quickLists?, after?}``, all over when no ZIP is given.

    At once or, with `after`, before the search that follows so many others.
    """
    data = request.json()
    count, after = data.get("count"), data.get("after", 0)
    if not isinstance(after, int) or not isinstance(count, int):
        raise Refused(400, "count and after must be numbers")
    if not 1 <= count <= MAX_ADDED - len(sandbox.market.added):
        raise Refused(400, "count must be a number of records")
    if data.get("zip") and data["zip"] not in ZIPS:
        raise Refused(400, f"ZIPs here are {', '.join(ZIPS)}")
    split(data.get("quickLists") or [])
    arrival = {"count": count, "zip": data.get("zip"), "quickLists": data.get("quickLists")}
    if after:
        sandbox.market.arrivals.append(arrival | {"after": after})
        return json_response({"arrives_before_request": after + 1}, 202)
    seed = sandbox.market.population.seed
    ids = [vendor_id(seed, place) for place in insert(sandbox, arrival)]
    return json_response({"ids": ids}, 201)


@router.route("DELETE", "/_control/batchdata/records")
async def remove_records(sandbox: Sandbox, request: Request) -> Response:
    """Take the newest `count` records of a query away: ``{searchCriteria, count}``."""
    data = request.json()
    count = data.get("count", 1)
    if not isinstance(count, int) or count < 1:
        raise Refused(400, "count must be a number of records")
    found = result_set(sandbox, data.get("searchCriteria") or {})[:count]
    sandbox.market.removed |= set(found)
    sandbox.market.results.clear()
    return json_response({"removed": len(found)})
