"""Twilio's Messages API and Lookup v2 as clients see them, and SignalWire's copy of the first."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from integrations.sandbox import faults
from integrations.sandbox.carrier import Text, fields_of, now_iso, segment_count
from integrations.sandbox.faults import Fault, digits
from integrations.sandbox.network import VOICES
from integrations.sandbox.people import line_of
from integrations.sandbox.twilio_voice import block_scope, status_of
from integrations.sandbox.vendor import EXPIRED_KEY, MAX_BODY_CHARACTERS, answer_fault, spoil
from integrations.sandbox.wire import Request, Response, Router, json_response

if TYPE_CHECKING:
    from integrations.sandbox.app import Sandbox

router = Router()

#: Path before ``/Accounts`` and the vendor that it belongs to.
ROOTS = {"/api/laml/2010-04-01": "signalwire", "/2010-04-01": "twilio"}
MAX_PAGE, DEFAULT_PAGE = 1_000, 50

WORDS = {"mobile": "mobile", "landline": "landline", "voip": "nonFixedVoip"}
#: Kinds of line by the last two digits of a number; all others are mobiles.
LINES = {"98": "landline", "97": "nonFixedVoip"}


def vendor_of(request: Request) -> tuple[str, str]:
    """The root of the path that was called, and its vendor."""
    return next((root, name) for root, name in ROOTS.items() if request.path.startswith(root))


def problem(status: int, code: int, message: str, **headers: str) -> Response:
    """An error as the vendor words it."""
    about = f"https://www.twilio.com/docs/errors/{code}"
    body = {"code": code, "message": message, "more_info": about, "status": status}
    return json_response(body, status, **headers)


def credentials(request: Request) -> tuple[str, str]:
    """The SID and the token of a Basic authorization; empty when there is none."""
    scheme, _, coded = request.headers.get("authorization", "").partition(" ")
    try:
        pair = base64.b64decode(coded, validate=True).decode() if scheme.lower() == "basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        pair = ""
    account, _, token = pair.partition(":")
    return account, token


def is_known(sandbox: Sandbox, request: Request, account: str) -> bool:
    """Whether the caller may act for the account; the first token seen opens it."""
    given, token = credentials(request)
    if not token or token == EXPIRED_KEY or given != account:
        return False
    return sandbox.carrier.knows(account, token)


def stranger() -> Response:
    """The answer to wrong credentials."""
    return problem(401, 20003, "Authenticate")


@router.route("POST", "/2010-04-01/Accounts/<account>/Messages.json")
@router.route("POST", "/api/laml/2010-04-01/Accounts/<account>/Messages.json")
async def send_message(sandbox: Sandbox, request: Request, account: str) -> Response:
    """Accept a text. There is no idempotency key: the same request twice is two texts."""
    if not is_known(sandbox, request, account):
        return stranger()
    form = request.form()
    facts = {
        "path": faults.SEND_PATH,
        "from": digits(form.get("From", "")),
        "to": digits(form.get("To", "")),
        "text": form.get("Body", ""),
    }
    refusal = sandbox.faults.take(faults.REFUSALS, facts)
    if refusal is not None:
        return refuse(refusal)
    response = check(sandbox, account, form) or accept(sandbox, request, account, form, facts)
    if response.status != 201:
        return response
    spoiled = sandbox.faults.take(faults.AFTER_ACCEPTING, facts)
    return response if spoiled is None else spoil(response, spoiled)


def refuse(fault: Fault) -> Response:
    """The answer of a rule under which nothing is accepted."""
    if fault.kind == "429":
        wait = 1 if fault.retry_after is None else fault.retry_after
        return problem(429, 20429, "Too Many Requests", Retry_After=str(wait))
    if fault.kind == "500":
        return problem(500, 20500, "Internal Server Error")
    return answer_fault(fault)


def check(sandbox: Sandbox, account: str, form: dict[str, str]) -> Response | None:
    """What is wrong with a send, if anything."""
    sender, recipient, body = form.get("From", ""), form.get("To", ""), form.get("Body", "")
    owner = sandbox.carrier.state.numbers.get(digits(sender))
    if not re.fullmatch(r"\+[1-9]\d{9,14}", recipient):
        return problem(400, 21211, f"Invalid 'To' Phone Number: {recipient}")
    if not sender and not form.get("MessagingServiceSid"):
        return problem(400, 21603, "A 'From' or 'MessagingServiceSid' parameter is required")
    if sender and (not re.fullmatch(r"\+[1-9]\d{9,14}|\d{3,8}", sender)):
        return problem(400, 21212, f"Invalid From Number: {sender}")
    if owner is not None and owner.group != account:
        return problem(400, 21606, f"The From phone number {sender} is not of this account")
    if not body:
        return problem(400, 21602, "Message body is required.")
    if len(body) > MAX_BODY_CHARACTERS:
        return problem(400, 21617, "The concatenated message body exceeds the 1600 character limit")
    return None


def accept(
    sandbox: Sandbox, request: Request, account: str, form: dict[str, str], facts: dict[str, str]
) -> Response:
    """Take the text in and set it moving, unless the person opted out or a rule says no."""
    _root, vendor = vendor_of(request)
    sender = facts["from"] or own_number(sandbox, account)
    says_no = sandbox.faults.take(faults.CONTENT, facts)
    reports = sandbox.faults.take(faults.CALLBACKS, facts)
    blocked = sandbox.carrier.blocks(block_scope(account, sender), facts["to"])
    if blocked or (says_no and says_no.kind == "dnc"):
        return problem(400, 21610, "Attempt to send to unsubscribed recipient")
    if says_no is not None:
        code = says_no.error_code or "21606"
        return problem(400, int(code) if code.isdecimal() else 21606, "Not accepted")
    text = Text(
        id=VOICES[vendor].new_id(),
        group=account,
        direction="OUTBOUND",
        sender=sender,
        recipient=facts["to"],
        body=form["Body"],
        status="ENQUEUED",
        created_at=now_iso(),
        fails_with=undelivered(reports),
        callback_url=form.get("StatusCallback") or None,
        callbacks="normal" if reports is None else reports.kind,
        vendor=vendor,
    )
    sandbox.carrier.commit("send", texts=[fields_of(text)], answer=None)
    if sender not in sandbox.carrier.state.numbers:
        sandbox.carrier.commit(
            "number", number=sender, group=account, inbound_url=None, vendor=vendor
        )
    answer = json_response(shown(text, request), 201)
    sandbox.network.carry(sandbox.carrier.state.texts[text.id])
    return answer


def own_number(sandbox: Sandbox, account: str) -> str:
    """What a messaging service would choose: any number of the account."""
    mine = [one.number for one in sandbox.carrier.state.numbers.values() if one.group == account]
    return min(mine, default="")


def undelivered(reports: Fault | None) -> str | None:
    """The code under which a rule lets a text fail on the network."""
    if reports is None or reports.kind != "undelivered":
        return None
    return reports.error_code or "30003"


def shown(text: Text, request: Request) -> dict[str, Any]:
    """A text as the API shows it."""
    root, _vendor = vendor_of(request)
    at = format_datetime(datetime.fromisoformat(text.created_at))
    is_out = text.direction == "OUTBOUND"
    code = text.error_code or ""
    return {
        "account_sid": text.group,
        "api_version": "2010-04-01",
        "body": text.body,
        "date_created": at,
        "date_sent": None if text.status == "ENQUEUED" else at,
        "date_updated": at,
        "direction": "outbound-api" if is_out else "inbound",
        "error_code": int(code) if code.isdecimal() else None,
        "error_message": text.reason,
        "from": f"+{text.sender}",
        "messaging_service_sid": None,
        "num_media": "0",
        "num_segments": str(segment_count(text.body)),
        "sid": text.id,
        "status": status_of(text),
        "to": f"+{text.recipient}",
        "uri": f"{root}/Accounts/{text.group}/Messages/{text.id}.json",
    }


@router.route("GET", "/2010-04-01/Accounts/<account>/Messages.json")
@router.route("GET", "/api/laml/2010-04-01/Accounts/<account>/Messages.json")
async def list_messages(sandbox: Sandbox, request: Request, account: str) -> Response:
    """The account's texts, both ways, newest first; ``To``, ``From`` and ``DateSent`` filter."""
    if not is_known(sandbox, request, account):
        return stranger()
    query = request.query
    page, size = query.get("Page", "0"), query.get("PageSize", str(DEFAULT_PAGE))
    if not page.isdecimal() or not size.isdecimal() or not 1 <= int(size) <= MAX_PAGE:
        return problem(400, 20001, "Invalid Page or PageSize")
    texts = reversed(sandbox.carrier.state.texts.values())
    found = [text for text in texts if text.group == account and matches(text, query)]
    start, end = int(page) * int(size), (int(page) + 1) * int(size)
    following = None
    if end < len(found):
        rest = {**query, "PageSize": size, "Page": str(int(page) + 1), "PageToken": found[end].id}
        following = f"{request.path}?{urlencode(rest)}"
    body = {
        "messages": [shown(text, request) for text in found[start:end]],
        "page": int(page),
        "page_size": int(size),
        "next_page_uri": following,
        "uri": request.path,
    }
    return json_response(body)


def matches(text: Text, query: dict[str, str]) -> bool:
    """Whether a text is meant by the filters of a list; days are days of UTC."""
    day = text.created_at[:10]
    return (
        query.get("To") in (None, "", f"+{text.recipient}")
        and query.get("From") in (None, "", f"+{text.sender}")
        and query.get("DateSent>", day)[:10] <= day <= query.get("DateSent<", day)[:10]
        and query.get("DateSent", day)[:10] == day
    )


@router.route("GET", "/2010-04-01/Accounts/<account>/Messages/<sid>.json")
@router.route("GET", "/api/laml/2010-04-01/Accounts/<account>/Messages/<sid>.json")
async def show_message(sandbox: Sandbox, request: Request, account: str, sid: str) -> Response:
    """One text of the account."""
    if not is_known(sandbox, request, account):
        return stranger()
    text = sandbox.carrier.state.texts.get(sid)
    if text is None or text.group != account:
        return problem(404, 20404, f"The requested resource {request.path} was not found")
    return json_response(shown(text, request))


@router.route("GET", "/v2/PhoneNumbers/<number>")
async def look_up_number(sandbox: Sandbox, request: Request, number: str) -> Response:
    """Whether a number exists, and its kind of line; each answer is billed.

    As set by hand, else of the population, else by the last two digits, of which 99 is none.
    """
    account, token = credentials(request)
    if not token or token == EXPIRED_KEY or not sandbox.carrier.knows(account, token):
        return stranger()
    if not re.fullmatch(r"\+[1-9]\d{6,14}", number):
        return problem(404, 20404, f"The requested resource {request.path} was not found")
    vendor = sandbox.market.account("twilio", account)
    wanted = "line_type_intelligence" in request.query.get("Fields", "").split(",")
    if wanted:
        sandbox.market.bill(vendor, "lookup", 1, request, subject=number)
    given = sandbox.market.facts.get(f"phone:{number[-10:]}", {}).get("line")
    is_valid = given != "none" if given else not number.endswith("99")
    kind = given or line_of(number[-10:])
    line = {
        "type": WORDS.get(kind or "", LINES.get(number[-2:], "mobile")),
        "carrier_name": "Sandbox Wireless",
        "mobile_country_code": "311",
        "mobile_network_code": "480",
        "error_code": None,
    }
    body = {
        "phone_number": number,
        "valid": is_valid,
        "validation_errors": [] if is_valid else ["INVALID_BUT_POSSIBLE"],
        "line_type_intelligence": line if wanted and is_valid else None,
        "url": f"https://lookups.twilio.com/v2/PhoneNumbers/{number}",
    }
    return json_response(body)
