"""The control API: be a lead, look into handsets, break things. Everything below ``/_control``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from integrations.sandbox.carrier import Number, Text, group_of
from integrations.sandbox.faults import digits, parse_fault
from integrations.sandbox.network import VOICES
from integrations.sandbox.scripts import SCRIPTS, script_for
from integrations.sandbox.wire import Refused, Request, Response, Router, json_response

if TYPE_CHECKING:
    from integrations.sandbox.app import Sandbox

router = Router()


@router.route("POST", "/_control/inbound")
async def inbound(sandbox: Sandbox, request: Request) -> Response:
    """Text one of our numbers as the person with handset `from`: ``{from, to, text, …}``."""
    data = request.json()
    for name in ("from", "to", "text"):
        if not isinstance(data.get(name), str):
            raise Refused(400, f"{name} is required")
    text, deliveries = sandbox.network.inbound(data["from"], data["to"], data["text"], options=data)
    return json_response(
        {
            "identifier": text.id,
            "delivery_id": deliveries[0].delivery_id if deliveries else None,
            "deliveries": len(deliveries),
        },
        202,
    )


@router.route("GET", "/_control/handsets")
async def handsets(sandbox: Sandbox, request: Request) -> Response:
    """All handsets known by name or by a text."""
    state = sandbox.carrier.state
    numbers = sorted(set(state.handsets) | set(state.people))
    return json_response({"handsets": [summary(sandbox, number) for number in numbers]})


@router.route("GET", "/_control/handsets/<number>")
async def handset(sandbox: Sandbox, request: Request, number: str) -> Response:
    """One handset and every text on it, oldest first."""
    number = digits(number)
    thread = [shown(text) for text in sandbox.carrier.thread(number)]
    return json_response({**summary(sandbox, number), "texts": thread})


def summary(sandbox: Sandbox, number: str) -> dict[str, Any]:
    """What a list of handsets shows: ``{number, name, script, received, sent, last}``."""
    person = sandbox.carrier.state.people.get(number, {})
    thread = sandbox.carrier.thread(number)
    received = sum(text.direction == "OUTBOUND" for text in thread)
    return {
        "number": f"+{number}",
        "name": person.get("name", ""),
        "script": person.get("script") or script_for(number),
        "received": received,
        "sent": len(thread) - received,
        "last": shown(thread[-1]) if thread else None,
    }


def shown(text: Text) -> dict[str, Any]:
    """A text from the handset's point of view: `direction` is received or sent."""
    received = text.direction == "OUTBOUND"
    return {
        "id": text.id,
        "direction": "received" if received else "sent",
        "with": f"+{text.sender if received else text.recipient}",
        "text": text.body,
        "at": text.created_at,
        "scripted": text.is_scripted,
    }


@router.route("GET", "/_control/faults")
async def list_faults(sandbox: Sandbox, request: Request) -> Response:
    """The rules in force and how often each has fired."""
    return json_response({"faults": [fault.public() for fault in sandbox.faults.rules]})


@router.route("POST", "/_control/faults")
async def add_fault(sandbox: Sandbox, request: Request) -> Response:
    """Add a rule: ``{kind, match?, count?, retry_after?, error_code?}``."""
    fault = parse_fault(request.json())
    sandbox.faults.add(fault)
    return json_response(fault.public(), 201)


@router.route("DELETE", "/_control/faults")
async def clear_faults(sandbox: Sandbox, request: Request) -> Response:
    """Make everything work again."""
    sandbox.faults.clear()
    return json_response({"faults": []})


@router.route("GET", "/_control/deliveries")
async def deliveries(sandbox: Sandbox, request: Request) -> Response:
    """Webhook deliveries, newest last; `identifier` and `event` filter."""
    query = request.query
    found = [
        delivery.public()
        for delivery in sandbox.courier.log
        if query.get("identifier") in (None, delivery.identifier)
        and query.get("event") in (None, delivery.event)
    ]
    return json_response({"deliveries": found})


@router.route("GET", "/_control/texts")
async def texts(sandbox: Sandbox, request: Request) -> Response:
    """Every accepted text; `to` and `from` filter."""
    wanted = {side: digits(value) for side, value in request.query.items()}
    found = [
        text.document()
        for text in sandbox.carrier.state.texts.values()
        if wanted.get("to") in (None, text.recipient) and wanted.get("from") in (None, text.sender)
    ]
    return json_response({"texts": found})


@router.route("POST", "/_control/numbers")
async def register_numbers(sandbox: Sandbox, request: Request) -> Response:
    """Give numbers to the account of `api_key`: ``{numbers, api_key, inbound_url?}``.

    Of another vendor than SignalHouse also ``{vendor, account_id}``; its key is the auth token.
    """
    data = request.json()
    numbers, key = data.get("numbers"), data.get("api_key")
    if not isinstance(numbers, list) or not isinstance(key, str):
        raise Refused(400, "numbers (a list) and api_key are required")
    vendor = str(data.get("vendor") or "signalhouse")
    if vendor not in ("signalhouse", *VOICES):
        raise Refused(400, f"Unknown vendor {vendor!r}")
    group = str(data.get("account_id") or "") if vendor in VOICES else group_of(key)
    if not group or (vendor in VOICES and not sandbox.carrier.knows(group, key)):
        raise Refused(400, "account_id is required, and api_key must be its token")
    for number in numbers:
        wanted = Number(
            number=digits(number),
            group=group,
            inbound_url=data.get("inbound_url"),
            vendor=vendor,
        )
        # Registering again is what a restart does: it must not grow the journal.
        if sandbox.carrier.state.numbers.get(wanted.number) != wanted:
            sandbox.carrier.commit("number", **asdict(wanted))
    return json_response({"groupId": group, "numbers": [f"+{digits(n)}" for n in numbers]}, 201)


@router.route("POST", "/_control/people")
async def register_people(sandbox: Sandbox, request: Request) -> Response:
    """Name handsets and choose their scripts: ``{people: [{number, name?, script?}]}``."""
    people = request.json().get("people")
    if not isinstance(people, list):
        raise Refused(400, "people must be a list")
    for person in people:
        script = person.get("script")
        if script is not None and script not in SCRIPTS:
            raise Refused(400, f"Unknown script {script!r}; one of {', '.join(SCRIPTS)}")
        fields = {name: str(person[name]) for name in ("name", "script") if person.get(name)}
        number = digits(person.get("number", ""))
        known = sandbox.carrier.state.people.get(number)
        if known is None or {**known, **fields} != known:
            sandbox.carrier.commit("person", number=number, **fields)
    return json_response({"people": len(people)}, 201)


@router.route("POST", "/_control/scripts")
async def switch_scripts(sandbox: Sandbox, request: Request) -> Response:
    """Let handsets answer by themselves or not: ``{enabled}``."""
    sandbox.network.answers = bool(request.json().get("enabled", True))
    return json_response({"enabled": sandbox.network.answers, "scripts": list(SCRIPTS)})


@router.route("POST", "/_control/dnc")
async def block(sandbox: Sandbox, request: Request) -> Response:
    """Have the carrier block a number for the account of `api_key`: ``{number, api_key}``."""
    data = request.json()
    if not isinstance(data.get("number"), str) or not isinstance(data.get("api_key"), str):
        raise Refused(400, "number and api_key are required")
    sandbox.carrier.commit(
        "dnc",
        group=group_of(data["api_key"]),
        number=digits(data["number"]),
        sender=digits(data.get("from", "")),
        keyword=str(data.get("keyword") or "STOP"),
        enforced=True,
    )
    return json_response({"number": f"+{digits(data['number'])}"}, 201)


@router.route("POST", "/_control/reset")
async def reset(sandbox: Sandbox, request: Request) -> Response:
    """Forget texts, handsets, endpoints, numbers, opt-outs, faults and the log."""
    await sandbox.reset()
    return json_response({"reset": True})
