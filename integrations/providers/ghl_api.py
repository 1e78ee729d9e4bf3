"""What we ask of GoHighLevel's API v2: note an opt-out, list what its webhooks should have told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from integrations.events import BadPayload
from integrations.payloads import Payload, pick, read_identifier, read_instant, read_note
from integrations.providers.base import (
    Account,
    HttpCall,
    Pulled,
    PullPage,
    Reconciles,
    TakesOptOuts,
)
from integrations.tolerant import parse_json

#: The version header of each part of the API; ``settings["api_version"]`` replaces both.
CONTACTS_VERSION = "2021-07-28"
CONVERSATIONS_VERSION = "2021-04-15"

PAGE = 50  # an answer of more than 256 kB is not read
MAX_CURSOR = 450  # of theirs; ours is kept in a column of 500
MAX_NODES = 200_000  # of an answer: a page of contacts with their custom fields


class GhlApi(TakesOptOuts, Reconciles):
    """The calls of GoHighLevel. *account_id* of an account is its location."""

    def build_opt_out(self, address: str, contact_id: str, account: Account) -> HttpCall | None:
        if not contact_id:
            return None  # they know people by their own id alone
        setting = {"status": "active", "message": "Opted out by text", "code": "fairlead"}
        return _call(
            account,
            "PUT",
            f"/contacts/{quote(contact_id, safe='')}",
            {"dndSettings": {"SMS": setting}},
        )

    def read_opt_out(self, status: int, body: bytes) -> str:
        if 200 <= status < 300:
            return ""
        answer = parse_json(body).payload or {}
        return read_note(pick(answer, "message", "error")) or f"answered {status}"

    def build_pull(self, since: datetime, cursor: str, account: Account) -> HttpCall:
        """Ask for changed contacts first, then for messages; the cursor says where we are."""
        part, _, place = cursor.partition(":")
        if part == "messages":
            query = {
                "locationId": account.account_id,
                "limit": str(PAGE),
                "sortBy": "createdAt",
                "sortOrder": "asc",
                "startDate": _written(since),
            }
            query |= {"cursor": place} if place else {}
            return _call(account, "GET", f"/conversations/messages/export?{urlencode(query)}")
        search: dict[str, Any] = {
            "locationId": account.account_id,
            "pageLimit": PAGE,
            "filters": [
                {"field": "dateUpdated", "operator": "range", "value": {"gte": _written(since)}}
            ],
            "sort": [{"field": "dateUpdated", "direction": "asc"}],
        }
        search |= {"searchAfter": json.loads(place)} if place else {"page": 1}
        return _call(account, "POST", "/contacts/search", search)

    def read_pull(self, status: int, body: bytes) -> PullPage | None:
        answer = parse_json(body, max_nodes=MAX_NODES).payload
        if status not in (200, 201) or answer is None:
            return None
        if isinstance(answer.get("contacts"), list):
            records = _records(answer["contacts"])
            # A page that is not full is the last one.
            after = records[-1].get("searchAfter") if len(records) >= PAGE else None
            place = json.dumps(after, separators=(",", ":")) if after else ""
            cursor = f"contacts:{place}" if place else "messages:"
            return PullPage(items=_readable(_pulled_contact, records), cursor=cursor)
        if isinstance(answer.get("messages"), list):
            records = _records(answer["messages"])
            token = answer.get("nextCursor")
            goes_on = records and isinstance(token, str) and 0 < len(token) <= MAX_CURSOR
            cursor = f"messages:{token}" if goes_on else ""
            return PullPage(items=_readable(_pulled_message, records), cursor=cursor)
        return None


def _call(account: Account, method: str, path: str, body: Payload | None = None) -> HttpCall:
    part = CONVERSATIONS_VERSION if path.startswith("/conversations") else CONTACTS_VERSION
    headers = {
        "Authorization": f"Bearer {account.api_key}",
        "Version": str(account.settings.get("api_version") or part),
        "Accept": "application/json",
    }
    if body is not None:
        headers["Content-Type"] = "application/json"
    return HttpCall(
        method=method,
        url=f"{account.base_url.rstrip('/')}{path}",
        headers=headers,
        body=b"" if body is None else json.dumps(body).encode(),
    )


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _records(value: object) -> list[Payload]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _readable(make: Callable[[Payload], Pulled], records: list[Payload]) -> tuple[Pulled, ...]:
    """Leave out what has no id or time: one odd record must not stop the list."""
    items = []
    for record in records:
        try:
            items.append(make(record))
        except BadPayload:
            continue
    return tuple(items)


def _pulled_contact(record: Payload) -> Pulled:
    contact_id = read_identifier(record.get("id"), "id")
    written = pick(record, "dateUpdated", "dateAdded")
    at = read_instant(written, "dateUpdated")
    body = {"type": "ContactUpdate", **record, "timestamp": _written(at)}
    body.pop("searchAfter", None)
    return Pulled(
        key=f"contact:{contact_id}:{int(at.timestamp() * 1000)}",
        external_id=contact_id,
        body=json.dumps(body).encode(),
        at=at,
    )


def _pulled_message(record: Payload) -> Pulled:
    message_id = read_identifier(record.get("id"), "id")
    at = read_instant(record.get("dateAdded"), "dateAdded")
    inbound = read_note(record.get("direction")).lower() == "inbound"
    body = {
        **record,
        "type": "InboundMessage" if inbound else "OutboundMessage",
        "messageId": message_id,
        "timestamp": _written(at),
    }
    return Pulled(
        key=f"message:{message_id}:{read_note(record.get('status'))}",
        external_id=message_id,
        body=json.dumps(body).encode(),
        at=at,
    )
