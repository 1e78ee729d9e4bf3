"""SignalHouse v2 as its clients see it (package signalhouse 1.5.1 and its guidance files)."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

from integrations.sandbox import faults
from integrations.sandbox.carrier import Endpoint, Text, fields_of, group_of, new_id, now_iso
from integrations.sandbox.faults import Fault, digits
from integrations.sandbox.wire import (
    Manner,
    Refused,
    Request,
    Response,
    Router,
    json_response,
)

if TYPE_CHECKING:
    from integrations.sandbox.app import Sandbox

router = Router()

MAX_BODY_CHARACTERS = 1_600
MAX_GRACE_SECONDS = 604_800
DEFAULT_GRACE_SECONDS = 86_400
MAX_PAGE = 100

#: A key that the vendor has let expire, to try a 401 with.
EXPIRED_KEY = "expired"


def authenticate(request: Request) -> str:
    """The account group of the caller's key; any key but the expired one opens an account.

    Raises:
        Refused: 401.
    """
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip() or key.strip() == EXPIRED_KEY:
        raise Refused(401, "Invalid or expired API key")
    return group_of(key.strip())


def answer_fault(fault: Fault) -> Response:
    """The answer of a rule under which nothing is accepted."""
    if fault.kind == "429":
        wait = 1 if fault.retry_after is None else fault.retry_after
        return json_response({"message": "Too many requests"}, 429, Retry_After=str(wait))
    if fault.kind == "500":
        return json_response({"message": "Internal server error"}, 500)
    manner: Manner = "hang" if fault.kind == "hang" else "reset"
    return Response(manner=manner)


def spoil(response: Response, fault: Fault) -> Response:
    """A good answer as the caller gets it when something breaks after acceptance."""
    if fault.kind == "500_after_accept":
        return json_response({"message": "Internal server error"}, 500)
    manners: dict[str, Manner] = {
        "hang_after_accept": "hang",
        "reset_after_accept": "reset",
        "drip": "drip",
    }
    return Response(
        status=response.status,
        body=response.body,
        headers=response.headers,
        manner=manners[fault.kind],
    )


@router.route("POST", "/message/sms")
async def send_sms(sandbox: Sandbox, request: Request) -> Response:
    """Accept a text for one or more recipients. 201 is not acceptance: the counts are."""
    group = authenticate(request)
    data = request.json()
    facts = send_facts(data)
    refusal = sandbox.faults.take(faults.REFUSALS, facts)
    if refusal is not None:
        return answer_fault(refusal)
    response = remembered(sandbox, group, request)
    if response is None:
        check_send(sandbox, group, data)
        response = accept(sandbox, group, request, data)
    spoiled = sandbox.faults.take(faults.AFTER_ACCEPTING, facts)
    return response if spoiled is None else spoil(response, spoiled)


def send_facts(data: dict[str, Any]) -> dict[str, str]:
    """What fault rules are matched against."""
    recipients = data.get("recipientPhoneNumber")
    first = recipients[0] if isinstance(recipients, list) and recipients else ""
    return {
        "path": faults.SEND_PATH,
        "from": digits(data.get("senderPhoneNumber", "")),
        "to": digits(first),
        "text": str(data.get("messageBody", "")),
    }


def remembered(sandbox: Sandbox, group: str, request: Request) -> Response | None:
    """The first response under this idempotency key, if there was one.

    Raises:
        Refused: 409, when the key comes back with another request.
    """
    key = request.headers.get("idempotency-key")
    answer = sandbox.carrier.state.answers.get(f"{group}:{key}") if key else None
    if answer is None:
        return None
    if answer["fingerprint"] != fingerprint(request):
        raise Refused(409, "Idempotency-Key was used with a different request")
    return json_response(answer["body"], answer["status"], Idempotency_Replayed="true")


def fingerprint(request: Request) -> str:
    """What makes two requests the same."""
    line = f"{request.method} {request.path}\n".encode()
    return hashlib.sha256(line + request.body).hexdigest()


def check_send(sandbox: Sandbox, group: str, data: dict[str, Any]) -> None:
    """Validate a send.

    Raises:
        Refused: 400, saying what is wrong.
    """
    sender, recipients = data.get("senderPhoneNumber"), data.get("recipientPhoneNumber")
    body = data.get("messageBody")
    if not isinstance(sender, str) or not re.fullmatch(r"\d{5,6}|\d{10,15}", sender):
        raise Refused(400, "senderPhoneNumber must be digits only")
    if not isinstance(recipients, list) or not recipients:
        raise Refused(400, "recipientPhoneNumber must be a non-empty array")
    if not all(isinstance(n, str) and re.fullmatch(r"\d{10,15}", n) for n in recipients):
        raise Refused(400, "recipientPhoneNumber must hold digits only")
    if len(sender) < 10 and len(recipients) != 1:
        raise Refused(400, "A short code sends to exactly one recipient")
    if not isinstance(body, str) or not body.strip() or len(body) > MAX_BODY_CHARACTERS:
        raise Refused(400, f"messageBody must have 1 to {MAX_BODY_CHARACTERS} characters")
    owner = sandbox.carrier.state.numbers.get(digits(sender))
    if owner is not None and owner.group != group:
        raise Refused(400, "senderPhoneNumber does not belong to this group")


def accept(sandbox: Sandbox, group: str, request: Request, data: dict[str, Any]) -> Response:
    """Take the texts in, remember the answer, set them moving."""
    facts = send_facts(data)
    says_no = sandbox.faults.take(faults.CONTENT, facts)
    reports = sandbox.faults.take(faults.CALLBACKS, facts)
    texts, blocked = [], []
    for recipient in data["recipientPhoneNumber"]:
        if sandbox.carrier.blocks(group, digits(recipient)) or (says_no and says_no.kind == "dnc"):
            blocked.append(recipient)
            continue
        texts.append(new_text(group, data, recipient, says_no, reports))
    enqueued = [text for text in texts if text.status == "ENQUEUED"]
    body = {
        "requestedRecipientCount": len(data["recipientPhoneNumber"]),
        "enqueuedCount": len(enqueued),
        "failedCount": len(texts) - len(enqueued),
        "dncBlockedNumbers": blocked,
        "insertedMessages": [
            {"_id": text.id, "status": text.status, "errorCode": text.error_code} for text in texts
        ],
    }
    key = request.headers.get("idempotency-key")
    answer = {
        "key": f"{group}:{key}",
        "fingerprint": fingerprint(request),
        "status": 201,
        "body": body,
    }
    sandbox.carrier.commit(
        "send", texts=[fields_of(text) for text in texts], answer=answer if key else None
    )
    sender = digits(data["senderPhoneNumber"])
    if sender not in sandbox.carrier.state.numbers:
        sandbox.carrier.commit("number", number=sender, group=group, inbound_url=None)
    for text in enqueued:
        sandbox.network.carry(sandbox.carrier.state.texts[text.id])
    return json_response(body, 201)


def new_text(
    group: str, data: dict[str, Any], recipient: str, says_no: Fault | None, reports: Fault | None
) -> Text:
    """One outbound text with the fate that the rules chose for it."""
    fails_with = None
    if reports is not None and reports.kind == "undelivered":
        fails_with = reports.error_code or "30003"
    return Text(
        id=new_id(),
        group=group,
        direction="OUTBOUND",
        sender=digits(data["senderPhoneNumber"]),
        recipient=digits(recipient),
        body=data["messageBody"],
        status="ENQUEUED" if says_no is None else "FAILED",
        created_at=now_iso(),
        error_code=None if says_no is None else says_no.error_code or "CAMPAIGN_NOT_ACTIVE",
        fails_with=fails_with,
        callback_url=data.get("statusCallbackUrl") or None,
        callbacks="normal" if reports is None else reports.kind,
    )


@router.route("GET", "/message")
async def list_messages(sandbox: Sandbox, request: Request) -> Response:
    """Look texts up by id, or by group and dates; also by recipient and body."""
    group = authenticate(request)
    query = request.query
    if not query.get("id") and not all(query.get(k) for k in ("groupId", "startDate", "endDate")):
        raise Refused(400, "groupId, startDate and endDate are required unless id is given")
    found = [
        text.document()
        for text in sandbox.carrier.state.texts.values()
        if text.group == group and matches(text, query)
    ]
    return json_response(paged("messages", found, query))


def matches(text: Text, query: dict[str, str]) -> bool:
    """Whether a text is meant by the filters of ``GET /message``."""
    if query.get("id"):
        return text.id == query["id"]
    wanted = {
        "direction": text.direction,
        "status": text.status,
        "senderPhoneNumber": text.sender,
        "recipientPhoneNumber": text.recipient,
        "messageBody": text.body,
    }
    if any(query[name] != value for name, value in wanted.items() if query.get(name)):
        return False
    # Dates compare as text; a bare end date means its whole day.
    return query["startDate"] <= text.created_at <= query["endDate"].ljust(25, "\x7f")


def paged(name: str, items: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    """One page in the vendor's wrapper.

    Raises:
        Refused: 400, for a page or limit that is not a positive number.
    """
    try:
        page, limit = int(query.get("page", 1)), int(query.get("limit", MAX_PAGE))
    except ValueError as error:
        raise Refused(400, "page and limit must be numbers") from error
    if page < 1 or not 1 <= limit <= MAX_PAGE:
        raise Refused(400, f"page starts at 1, limit is 1 to {MAX_PAGE}")
    start = (page - 1) * limit
    return {
        name: items[start : start + limit],
        "page": page,
        "limit": limit,
        "totalCount": len(items),
    }


@router.route("POST", "/message/delivery-report")
async def delivery_report(sandbox: Sandbox, request: Request) -> Response:
    """Statuses of up to 100 texts by id."""
    group = authenticate(request)
    ids = request.json().get("messageIds")
    if not isinstance(ids, list) or not 1 <= len(ids) <= MAX_PAGE:
        raise Refused(400, f"messageIds must hold 1 to {MAX_PAGE} ids")
    known = (sandbox.carrier.state.texts.get(str(id)) for id in ids)
    return json_response(
        {"messages": [text.document() for text in known if text and text.group == group]}
    )


@router.route("GET", "/notification")
async def list_notifications(sandbox: Sandbox, request: Request) -> Response:
    """Every event, written before its delivery and whether or not that succeeded."""
    group = authenticate(request)
    if request.query.get("groupId") not in (None, "", group):
        raise Refused(403, "The key does not belong to this group")
    wanted = {name for name in request.query.get("eventTypes", "").split(",") if name}
    status = request.query.get("status")
    found = [
        event
        for event in reversed(sandbox.carrier.state.notifications.get(group, []))
        if (not wanted or event["event"] in wanted) and status in (None, "", event["status"])
    ]
    return json_response(paged("notifications", found, request.query))


@router.route("GET", "/message/dnc")
async def list_opt_outs(sandbox: Sandbox, request: Request) -> Response:
    """Opt-outs the carrier knows of."""
    group = authenticate(request)
    found = [
        {
            "phoneNumber": entry["number"],
            "senderPhoneNumber": entry["sender"],
            "campaignId": "C1234567",
            "optOutKeyword": entry["keyword"],
            "carrierFamily": "SANDBOX",
        }
        for entry in sandbox.carrier.state.dnc.values()
        if entry["group"] == group
    ]
    return json_response(paged("dnc", found, request.query))


@router.route("POST", "/webhook")
async def create_webhook(sandbox: Sandbox, request: Request) -> Response:
    """Register an endpoint; the only answer that shows its signing secret."""
    group = authenticate(request)
    data = request.json()
    url, events = data.get("url"), data.get("subscribedEvents")
    if not isinstance(url, str) or not re.match(r"https?://", url):
        raise Refused(400, "url must be an http or https address")
    if not isinstance(events, list) or not events:
        raise Refused(400, "subscribedEvents must be a non-empty array")
    endpoint = Endpoint(
        id=new_id(),
        group=group,
        name=str(data.get("name") or "webhook"),
        url=url,
        events=[str(event) for event in events],
        auth_type=str(data.get("authType") or "NONE"),
        secret=f"shwhsec_{secrets.token_urlsafe(32)}",
    )
    sandbox.carrier.commit("endpoint", **fields_of(endpoint))
    return json_response({**endpoint.document(), "signingSecret": endpoint.secret}, 201)


@router.route("GET", "/webhook")
async def list_webhooks(sandbox: Sandbox, request: Request) -> Response:
    """The group's endpoints, without secrets."""
    group = authenticate(request)
    mine = [e.document() for e in sandbox.carrier.state.endpoints.values() if e.group == group]
    return json_response({"webhooks": mine})


@router.route("DELETE", "/webhook/<id>")
async def delete_webhook(sandbox: Sandbox, request: Request, id: str) -> Response:
    """Remove an endpoint."""
    endpoint = own_endpoint(sandbox, request, id)
    sandbox.carrier.commit("endpoint_removed", id=endpoint.id)
    return json_response({"_id": endpoint.id, "isActive": False})


@router.route("POST", "/webhook/<id>/rotate-secret")
async def rotate_secret(sandbox: Sandbox, request: Request, id: str) -> Response:
    """A new secret; the old one stays good for `graceSeconds` (default a day, at most a week)."""
    endpoint = own_endpoint(sandbox, request, id)
    grace = request.json().get("graceSeconds", DEFAULT_GRACE_SECONDS)
    if not isinstance(grace, int) or not 0 <= grace <= MAX_GRACE_SECONDS:
        raise Refused(400, f"graceSeconds must be 0 to {MAX_GRACE_SECONDS}")
    secret = f"shwhsec_{secrets.token_urlsafe(32)}"
    sandbox.carrier.commit("rotated", id=id, secret=secret, until=time.time() + grace)
    return json_response({**endpoint.document(), "signingSecret": secret, "graceSeconds": grace})


def own_endpoint(sandbox: Sandbox, request: Request, id: str) -> Endpoint:
    """The caller's endpoint.

    Raises:
        Refused: 404, also for somebody else's.
    """
    group = authenticate(request)
    endpoint = sandbox.carrier.state.endpoints.get(id)
    if endpoint is None or endpoint.group != group:
        raise Refused(404, "Webhook not found")
    return endpoint
