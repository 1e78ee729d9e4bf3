"""Aloware's few documented calls, and a hand on what its dialer reports."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from integrations.sandbox.crm import Hook, post_webhook
from integrations.sandbox.faults import digits
from integrations.sandbox.vendor import EXPIRED_KEY
from integrations.sandbox.wire import Refused, Request, Response, Router, json_response

if TYPE_CHECKING:
    from integrations.sandbox.app import Sandbox

router = Router()


def authenticated(request: Request) -> dict[str, Any]:
    """Return the request's fields once its `api_token` is checked.

    Raises:
        Refused: 401.
    """
    data = request.json()
    token = data.pop("api_token", None)
    if not isinstance(token, str) or not token or token == EXPIRED_KEY:
        raise Refused(401, "Unauthenticated.")
    return data


@router.route("POST", "/api/v1/webhook/forms")
async def take_form(sandbox: Sandbox, request: Request) -> Response:
    """Make a contact by its number; a known one changes only with `force_update`."""
    data = authenticated(request)
    number = digits(data.get("phone_number", ""))
    if not number:
        raise Refused(422, "The phone number field is required.")
    known = sandbox.crm.dialer_contacts.get(number)
    if known is None:
        sandbox.crm.serial += 1
        known = {"id": 6_890_000 + sandbox.crm.serial, "phone_number": f"+{number}", "lists": []}
        sandbox.crm.dialer_contacts[number] = known
        known |= {name: value for name, value in data.items() if name != "phone_number"}
    elif data.get("force_update"):
        known |= {name: value for name, value in data.items() if name != "phone_number"}
    return json_response({"message": "Lead received.", "contact": known})


@router.route("POST", "/api/v1/webhook/powerdialer-remove-contact-from-lists")
async def remove_from_lists(sandbox: Sandbox, request: Request) -> Response:
    """Take a contact off all lists of the power dialer."""
    wanted = str(authenticated(request).get("contact_id", ""))
    for contact in sandbox.crm.dialer_contacts.values():
        if str(contact["id"]) == wanted:
            contact["lists"] = []
            return json_response(
                {"message": "The contact has been removed from the Power Dialer lists."}
            )
    raise Refused(404, "The requested contact id does not exist.")


@router.route("POST", "/_control/aloware/hook")
async def set_hook(sandbox: Sandbox, request: Request) -> Response:
    """Say where webhooks go and what they bring along: ``{url, secret?}``.

    A secret with a colon is user and password, any other a token.
    """
    data = request.json()
    if not isinstance(data.get("url"), str):
        raise Refused(400, "url is required")
    sandbox.crm.hooks["aloware"] = Hook(url=data["url"], secret=str(data.get("secret") or ""))
    return json_response({"url": data["url"]}, 201)


@router.route("POST", "/_control/aloware/events")
async def report(sandbox: Sandbox, request: Request) -> Response:
    """Let the dialer report: ``{event, body, lose?}``. It is told once, or with `lose` never."""
    data = request.json()
    event, body = data.get("event"), data.get("body")
    if not isinstance(event, str) or not isinstance(body, dict):
        raise Refused(400, "event and body are required")
    delivery = None
    if not data.get("lose"):
        delivery = post_webhook(
            sandbox,
            "aloware",
            {"event": event, "body": body},
            identifier=str(body.get("id", "")),
            headers=lambda raw: _proof(sandbox),
        )
    return json_response({"told": delivery is not None}, 202)


def _proof(sandbox: Sandbox) -> dict[str, str]:
    secret = sandbox.crm.hooks["aloware"].secret
    if ":" in secret:
        return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
    return {"Authorization": f"Bearer {secret}"} if secret else {}
