"""BatchData's skip trace, in both versions, and its phone checks."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from integrations.sandbox.batchdata import NO_BALANCE, answer, authenticate
from integrations.sandbox.market import Account, Job, promise
from integrations.sandbox.people import Household, Phone, Resident, line_of
from integrations.sandbox.wire import Request, Response, Router

if TYPE_CHECKING:
    from integrations.sandbox.app import Sandbox

router = Router()

MAX_ITEMS = 100
TYPES = {"mobile": "Mobile", "landline": "Land Line", "voip": "VoIP"}
CARRIER = "Sandbox Wireless"


@router.route("POST", "/api/v3/property/skip-trace")
async def trace(sandbox: Sandbox, request: Request) -> Response:
    """Who owns these properties, and how to reach them; matches are billed."""
    account = authenticate(sandbox, request)
    items, options, problem = read(request)
    if problem:
        return answer({}, code=400, message=problem)
    if not account.can_pay("skip_trace", len(items)):
        return answer({}, code=403, message=NO_BALANCE)
    return answer({"result": traced(sandbox, account, request, items, options)})


@router.route("POST", "/api/v3/property/skip-trace/async")
async def trace_later(sandbox: Sandbox, request: Request) -> Response:
    """The same, by webhook; billed when it comes."""
    account = authenticate(sandbox, request)
    items, options, problem = read(request)
    urls = [options.get(name) for name in ("webhookUrl", "errorWebhookUrl")]
    if problem or not all(isinstance(url, str) and url.startswith("http") for url in urls):
        return answer({}, code=400, message=problem or "webhookUrl and errorWebhookUrl are needed")
    if not account.can_pay("skip_trace", len(items)):
        return answer({}, code=403, message=NO_BALANCE)

    def finish(job: Job) -> dict[str, Any]:
        result = traced(sandbox, account, request, items, options)
        return {"status": {"code": 200, "text": "OK", "message": ""}, "result": result}

    number = sandbox.market.next_serial()
    promise(
        sandbox,
        Job(
            id=f"batchdata:{number}",
            vendor="batchdata",
            account=account,
            url=str(urls[0]),
            finish=finish,
        ),
    )
    return answer({})


@router.route("POST", "/api/v1/property/skip-trace")
async def trace_1(sandbox: Sandbox, request: Request) -> Response:
    """Version 1: one list of persons; phones on the TCPA list do not come unless asked for."""
    account = authenticate(sandbox, request)
    items, options, problem = read(request)
    if problem:
        return answer({}, code=400, message=problem)
    if not account.can_pay("skip_trace", len(items)):
        return answer({}, code=403, message=NO_BALANCE)
    with_tcpa = options.get("includeTCPABlacklistedPhones") is True
    persons, matches = [], 0
    for item in items:
        found = known(sandbox, item)
        if found is not None:
            matches += 1
            persons += [person_1(one, item, with_tcpa) for one in found.residents[:1]]
            sandbox.market.bill(account, "skip_trace", 1, request, subject=subject_of(item))
    counts = {"requestCount": len(items), "matchCount": matches, "errorCount": 0}
    counts["noMatchCount"] = len(items) - matches
    meta = {"apiVersion": "1.0", "results": counts, "requestId": secrets.token_hex(8)}
    return answer({"results": {"persons": persons, "meta": meta}})


def read(request: Request) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """The items and options of a request, and what is wrong with it."""
    data = request.json()
    items, options = data.get("requests"), data.get("options") or {}
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        return [], {}, f"requests must have 1 to {MAX_ITEMS} items"
    for item in items:
        if not isinstance(item, dict) or not (has_address(item) or has_parcel(item)):
            return [], {}, "An item needs street and zip, street, city and state, or a parcel"
    return items, options if isinstance(options, dict) else {}, ""


def has_address(item: dict[str, Any]) -> bool:
    address = item.get("propertyAddress")
    if not isinstance(address, dict) or not address.get("street"):
        return False
    return bool(address.get("zip") or (address.get("city") and address.get("state")))


def has_parcel(item: dict[str, Any]) -> bool:
    where = item.get("countyFipsCode") or (item.get("county") and item.get("state"))
    return bool(item.get("apn") and where)


def known(sandbox: Sandbox, item: dict[str, Any]) -> Household | None:
    """The household of an item, if BatchData knows it."""
    if has_address(item):
        address = item["propertyAddress"]
        where = str(address.get("zip") or address.get("city"))
        found: Household | None = sandbox.market.household(str(address["street"]), where)
    else:
        found = sandbox.market.parcel(str(item.get("countyFipsCode")), str(item["apn"]))
    return found if found is not None and found.batchdata else None


def subject_of(item: dict[str, Any]) -> str:
    return str(item.get("requestId", ""))


def traced(
    sandbox: Sandbox,
    account: Account,
    request: Request,
    items: list[dict[str, Any]],
    options: dict[str, Any],
) -> dict[str, Any]:
    """The result of version 3, billed; its items come in another order than the request's."""
    with_tcpa = options.get("includeTCPABlacklistedPhones") is not False
    data, matches = [], 0
    for place, item in enumerate(items):
        found = known(sandbox, item)
        entry: dict[str, Any] = {
            "inputIndex": place,
            "input": {**item, "inputIndex": place},
            "persons": [],
            "meta": {"matched": found is not None, "error": False},
        }
        if found is not None:
            matches += 1
            entry["property"] = {
                "id": found.key,
                "owners": [{"name": name_of(one)} for one in found.residents],
                "address": {"countyFipsCode": found.fips} if found.fips else {},
            }
            entry["persons"] = [person_3(one, with_tcpa) for one in found.residents[:3]]
            sandbox.market.bill(account, "skip_trace", 1, request, subject=subject_of(item))
        data.append(entry)
    counts = {
        "requestCount": len(items),
        "matchCount": matches,
        "noMatchCount": len(items) - matches,
        "errorCount": 0,
    }
    meta = {"apiVersion": "3.0", "results": counts, "requestId": secrets.token_hex(8)}
    return {"data": data[::-1], "options": options, "meta": meta}


def name_of(person: Resident) -> dict[str, str]:
    return {"first": person.first, "middle": "", "last": person.last, "full": person.full}


def person_3(person: Resident, with_tcpa: bool) -> dict[str, Any]:
    """A person as version 3 tells it: whether a phone was tested is not always told."""
    phones = [
        {
            "rank": rank,
            "number": phone.number,
            "type": TYPES[phone.line],
            "carrier": CARRIER,
            "reachable": phone.reachable,
            "dnc": phone.dnc,
            "tcpa": phone.tcpa,
        }
        for rank, phone in enumerate(person.phones, 1)
        if with_tcpa or not phone.tcpa
    ]
    emails = [{"rank": rank, "email": one} for rank, one in enumerate(person.emails, 1)]
    return {
        "propertyOwner": True,
        "name": name_of(person),
        "addresses": [],
        "phones": phones,
        "emails": emails,
        "litigator": person.litigator,
        "deceased": person.deceased,
        "dob": person.born,
    }


def person_1(person: Resident, item: dict[str, Any], with_tcpa: bool) -> dict[str, Any]:
    """A person as version 1 tells it: scores are text, and a litigator's phones do not come."""
    kept = [one for one in person.phones if with_tcpa or not one.tcpa]
    phones = [
        {
            "number": phone.number,
            "type": TYPES[phone.line],
            "carrier": CARRIER,
            "dnc": phone.dnc,
            "reachable": phone.reachable,
            "score": str(100 - 5 * place),
        }
        for place, phone in enumerate([] if person.litigator else kept)
    ]
    return {
        "request": {"requestId": item.get("requestId")},
        "name": name_of(person),
        "phoneNumbers": phones,
        "emails": [{"email": one, "tested": True} for one in person.emails],
        "dnc": {"tcpa": any(phone.tcpa for phone in person.phones)},
        "litigator": person.litigator,
        "death": {"deceased": person.deceased},
        "meta": {"matched": True, "error": False},
    }


# --- phone checks -----------------------------------------------------------------------------


@router.route("POST", "/api/v1/phone/<check>")
async def check_phones(sandbox: Sandbox, request: Request, check: str) -> Response:
    """Whether numbers work (verification) or are on a list (dnc, tcpa); each is billed."""
    account = authenticate(sandbox, request)
    numbers = request.json().get("requests")
    service = f"phone_{check}"
    if check not in ("verification", "dnc", "tcpa"):
        return answer({}, code=404, message="Not found")
    if not isinstance(numbers, list) or not 1 <= len(numbers) <= MAX_ITEMS:
        return answer({}, code=400, message=f"requests must have 1 to {MAX_ITEMS} numbers")
    if not account.can_pay(service, len(numbers)):
        return answer({}, code=403, message=NO_BALANCE)
    sandbox.market.bill(account, service, len(numbers), request, subject=json.dumps(numbers)[:80])
    found = [checked(sandbox, check, str(number)[-10:]) for number in numbers]
    return answer({"results": {"phoneNumbers": found}})


def checked(sandbox: Sandbox, check: str, number: str) -> dict[str, Any]:
    """What is true of a number: what was set by hand, else by its last two digits."""
    phone = phone_of(sandbox, number)
    if phone is None:
        return {"number": number, "meta": {"matched": False}}
    told: dict[str, Any] = {"number": number, "meta": {"matched": True}}
    if check == "verification":
        told |= {"type": TYPES[phone.line], "carrier": CARRIER, "reachable": phone.reachable}
    else:
        told[check] = getattr(phone, check)
    return told


def phone_of(sandbox: Sandbox, number: str) -> Phone | None:
    """A number with its facts; one that ends in 99 does not exist, in 96 does not work."""
    given = sandbox.market.facts.get(f"phone:{number}", {})
    if given.get("line") == "none" or (not given and number.endswith("99")):
        return None
    line = given.get("line") or line_of(number) or "mobile"
    return Phone(
        number=number,
        line=line,
        dnc=bool(given.get("dnc", number.endswith("95"))),
        tcpa=bool(given.get("tcpa", number.endswith("94"))),
        reachable=bool(given.get("reachable", not number.endswith("96"))),
    )
