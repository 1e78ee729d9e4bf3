"""GoHighLevel's API v2 as far as we call it, and a hand on what happens in it."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from integrations.sandbox.carrier import now_iso
from integrations.sandbox.courier import Delivery
from integrations.sandbox.crm import BURST, DAILY, TEST_PRIVATE_KEY, Hook, post_webhook
from integrations.sandbox.vendor import EXPIRED_KEY
from integrations.sandbox.wire import Refused, Request, Response, Router, json_response
from integrations.vendor_keys import sign_ed25519

if TYPE_CHECKING:
    from integrations.sandbox.app import Sandbox

router = Router()

#: After 429 they try up to six more times, ten minutes apart.
PAUSES_SECONDS = (600.0,) * 6
MAX_PAGE = 500
TOKEN_SECONDS = 86_399


def authenticate(sandbox: Sandbox, request: Request) -> dict[str, str]:
    """Check token and version; return the rate headers of the answer.

    Raises:
        Refused: 401, or 429 above the burst limit.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or token.strip() == EXPIRED_KEY:
        raise Refused(401, "Invalid JWT")
    if not request.headers.get("version"):
        raise Refused(401, "version header was not found.")
    left = sandbox.crm.count(token)
    return {
        "X-RateLimit-Max": str(BURST),
        "X-RateLimit-Remaining": str(left),
        "X-RateLimit-Interval-Milliseconds": "10000",
        "X-RateLimit-Limit-Daily": str(DAILY),
        "X-RateLimit-Daily-Remaining": str(DAILY),
    }


def _answer(data: Any, headers: dict[str, str]) -> Response:
    return Response(body=json.dumps(data).encode(), headers=headers)


@router.route("POST", "/oauth/token")
async def oauth_token(sandbox: Sandbox, request: Request) -> Response:
    """Give tokens. A refresh token works once: its answer holds the next one."""
    form = request.form()
    if not form.get("client_id") or not form.get("client_secret"):
        raise Refused(400, "client_id and client_secret are required")
    grant = form.get("grant_type")
    if grant == "refresh_token":
        if form.get("refresh_token") not in sandbox.crm.refresh_tokens:
            raise Refused(400, "Invalid grant: refresh token is invalid")
        sandbox.crm.refresh_tokens.discard(form["refresh_token"])
    elif grant != "authorization_code" or not form.get("code"):
        raise Refused(400, "grant_type must be authorization_code or refresh_token")
    fresh = uuid.uuid4().hex
    sandbox.crm.refresh_tokens.add(fresh)
    return json_response(
        {
            "access_token": uuid.uuid4().hex,
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "refresh_token": fresh,
            "scope": "contacts.readonly contacts.write conversations/message.readonly",
            "userType": form.get("user_type") or "Location",
            "locationId": form.get("location_id") or "locSANDBOX0000000001",
            "companyId": "cmpSANDBOX0000000001",
            "userId": "usrSANDBOX0000000001",
        }
    )


# --- contacts ---------------------------------------------------------------------------------


@router.route("GET", "/contacts/<id>")
async def get_contact(sandbox: Sandbox, request: Request, id: str) -> Response:
    """One contact."""
    headers = authenticate(sandbox, request)
    return _answer({"contact": _known(sandbox, id)}, headers)


@router.route("PUT", "/contacts/<id>")
async def put_contact(sandbox: Sandbox, request: Request, id: str) -> Response:
    """Change a contact. Its own webhook comes back, as with the vendor."""
    headers = authenticate(sandbox, request)
    contact, data = _known(sandbox, id), request.json()
    settings = data.pop("dndSettings", None)
    contact.update(data, id=id, dateUpdated=now_iso())
    if isinstance(settings, dict):
        contact["dndSettings"] = {**contact.get("dndSettings", {}), **settings}
        if settings.get("SMS", {}).get("status") in ("active", "permanent"):
            sandbox.crm.opt_outs.append({"vendor": "ghl", "contactId": id, "at": now_iso()})
    kind = "ContactDndUpdate" if settings else "ContactUpdate"
    _tell(sandbox, kind, contact, identifier=id)
    return _answer({"succeded": True, "contact": contact}, headers)


@router.route("POST", "/contacts/search")
async def search_contacts(sandbox: Sandbox, request: Request) -> Response:
    """Contacts of a location changed since a time, oldest change first."""
    headers = authenticate(sandbox, request)
    query = request.json()
    limit = query.get("pageLimit", 20)
    if not query.get("locationId") or not isinstance(limit, int) or not 1 <= limit <= MAX_PAGE:
        raise Refused(422, f"locationId is required, pageLimit is 1 to {MAX_PAGE}")
    since = _since(query.get("filters"))
    after = tuple(query.get("searchAfter") or ())
    mine = [
        contact | {"searchAfter": [contact["dateUpdated"], contact["id"]]}
        for contact in sandbox.crm.contacts.values()
        if contact["locationId"] == query["locationId"]
        and contact["dateUpdated"] >= since
        and not contact.get("deleted")
    ]
    mine.sort(key=lambda contact: tuple(contact["searchAfter"]))
    found = [contact for contact in mine if tuple(contact["searchAfter"]) > after]
    return _answer({"contacts": found[:limit], "total": len(mine)}, headers)


def _since(filters: Any) -> str:
    for rule in filters if isinstance(filters, list) else ():
        if rule.get("field") == "dateUpdated" and rule.get("operator") == "range":
            return str(rule.get("value", {}).get("gte", ""))
    return ""


def _known(sandbox: Sandbox, id: str) -> dict[str, Any]:
    contact = sandbox.crm.contacts.get(id)
    if contact is None or contact.get("deleted"):
        raise Refused(400, "Contact not found")
    return contact


# --- conversations ----------------------------------------------------------------------------


@router.route("GET", "/conversations/messages/export")
async def export_messages(sandbox: Sandbox, request: Request) -> Response:
    """Messages of a location, oldest first; `nextCursor` is where the next page begins."""
    headers = authenticate(sandbox, request)
    query = request.query
    limit = int(query.get("limit", "100"))
    if not query.get("locationId") or not 1 <= limit <= MAX_PAGE:
        raise Refused(422, f"locationId is required, limit is 1 to {MAX_PAGE}")
    since, after = query.get("startDate", ""), query.get("cursor", "")
    mine = [
        message
        for message in sandbox.crm.messages.values()
        if message["locationId"] == query["locationId"] and message["dateAdded"] >= since
    ]
    mine.sort(key=lambda message: (message["dateAdded"], message["id"]))
    found = [one for one in mine if f"{one['dateAdded']}|{one['id']}" > after]
    page = found[:limit]
    goes_on = len(found) > limit
    cursor = f"{page[-1]['dateAdded']}|{page[-1]['id']}" if goes_on else None
    return _answer({"messages": page, "nextCursor": cursor, "total": len(mine)}, headers)


@router.route("GET", "/conversations/search")
async def search_conversations(sandbox: Sandbox, request: Request) -> Response:
    """One entry for each contact that has messages, newest first."""
    headers = authenticate(sandbox, request)
    location = request.query.get("locationId")
    last: dict[str, dict[str, Any]] = {}
    for message in sandbox.crm.messages.values():
        if message["locationId"] == location:
            last[message["conversationId"]] = message
    found = [
        {
            "id": message["conversationId"],
            "contactId": message["contactId"],
            "locationId": location,
            "lastMessageBody": message["body"],
            "lastMessageDate": message["dateAdded"],
            "lastMessageDirection": message["direction"],
        }
        for message in sorted(last.values(), key=lambda one: one["dateAdded"], reverse=True)
    ]
    return _answer({"conversations": found, "total": len(found)}, headers)


# --- control ----------------------------------------------------------------------------------


@router.route("POST", "/_control/ghl/hook")
async def set_hook(sandbox: Sandbox, request: Request) -> Response:
    """Say where webhooks go: ``{url}``."""
    url = request.json().get("url")
    if not isinstance(url, str):
        raise Refused(400, "url is required")
    sandbox.crm.hooks["ghl"] = Hook(url=url)
    return json_response({"url": url}, 201)


@router.route("POST", "/_control/ghl/contacts")
async def make_contact(sandbox: Sandbox, request: Request) -> Response:
    """Make, change or delete a contact: ``{id?, locationId, lose?, delete?, …fields}``.

    With `lose` its webhook never leaves.
    """
    data = request.json()
    lose, delete = bool(data.pop("lose", False)), bool(data.pop("delete", False))
    if not isinstance(data.get("locationId"), str):
        raise Refused(400, "locationId is required")
    id = str(data.pop("id", "") or sandbox.crm.next_id("con"))
    known = sandbox.crm.contacts.get(id)
    contact = {"dateAdded": now_iso(), "tags": [], **(known or {}), **data}
    contact |= {"id": id, "dateUpdated": now_iso()}
    if delete:
        contact["deleted"] = True
    sandbox.crm.contacts[id] = contact
    kind = "ContactDelete" if delete else "ContactUpdate" if known else "ContactCreate"
    delivery = None if lose else _tell(sandbox, kind, contact, identifier=id)
    return json_response({"contact": contact, "told": delivery is not None}, 201)


@router.route("POST", "/_control/ghl/messages")
async def make_message(sandbox: Sandbox, request: Request) -> Response:
    """Let a message appear: ``{contactId, body, direction?, messageType?, lose?}``."""
    data = request.json()
    contact = _known(sandbox, str(data.get("contactId", "")))
    inbound = data.get("direction", "inbound") == "inbound"
    message = {
        "id": sandbox.crm.next_id("msg"),
        "locationId": contact["locationId"],
        "contactId": contact["id"],
        "conversationId": f"cv{contact['id'][:18]}",
        "direction": "inbound" if inbound else "outbound",
        "messageType": str(data.get("messageType") or "SMS"),
        "body": str(data.get("body", "")),
        "status": "delivered",
        "dateAdded": now_iso(),
    }
    sandbox.crm.messages[message["id"]] = message
    told = {name: value for name, value in message.items() if name != "id"}
    kind = "InboundMessage" if inbound else "OutboundMessage"
    delivery = None
    if not data.get("lose"):
        told["messageId"] = message["id"]
        delivery = _tell(sandbox, kind, told, identifier=message["id"])
    return json_response({"message": message, "told": delivery is not None}, 201)


@router.route("GET", "/_control/crm/opt-outs")
async def opt_outs(sandbox: Sandbox, request: Request) -> Response:
    """Every opt-out that a vendor's API was told of, oldest first."""
    return json_response({"optOuts": sandbox.crm.opt_outs})


def _tell(
    sandbox: Sandbox, kind: str, fields: dict[str, Any], *, identifier: str
) -> Delivery | None:
    body = {
        "type": kind,
        "timestamp": now_iso(),
        "webhookId": str(uuid.uuid4()),
        **{name: value for name, value in fields.items() if name != "deleted"},
    }
    return post_webhook(
        sandbox,
        "ghl",
        json.loads(json.dumps(body)),
        identifier=identifier,
        headers=lambda raw: {"X-GHL-Signature": sign_ed25519(raw, TEST_PRIVATE_KEY)},
        pauses=PAUSES_SECONDS,
    )
