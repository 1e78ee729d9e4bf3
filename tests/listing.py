"""A carrier without an idempotency key whose texts can be listed, spoken by the sandbox."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from integrations.payloads import read_instant
from integrations.providers import FoundText, HttpCall, providers
from integrations.sandbox.carrier import group_of
from integrations.tolerant import parse_json
from tests.conftest import Office

SignalHouse = providers["signalhouse"]

STATUSES = {
    "ENQUEUED": "accepted",
    "DEQUEUED": "accepted",
    "SENT": "sent",
    "DELIVERED": "delivered",
    "UNDELIVERED": "undelivered",
    "FAILED": "failed",
}


class Listing(SignalHouse):
    """The sandbox's own list of texts, asked for by dates and recipient."""

    name = "listing"
    has_idempotency_key = False
    has_lookup = True

    def build_lookup(self, text, since, account):
        query = {
            "groupId": group_of(account.api_key),
            "startDate": since.astimezone(UTC).isoformat(timespec="milliseconds"),
            "endDate": (datetime.now(UTC) + timedelta(days=1)).date().isoformat(),
            "recipientPhoneNumber": text.recipient.lstrip("+"),
        }
        return HttpCall(
            method="GET",
            url=f"{account.base_url}/message?{urlencode(query)}",
            headers={"Authorization": f"Bearer {account.api_key}"},
            body=b"",
        )

    def read_lookup(self, status, body):
        texts = (parse_json(body).payload or {}).get("messages")
        if status != 200 or not isinstance(texts, list):
            return None
        return [
            FoundText(
                provider_id=text["_id"],
                sender=f"+{text['senderPhoneNumber']}",
                recipient=f"+{text['recipientPhoneNumber']}",
                body=text["messageBody"],
                at=read_instant(text["createdAt"], "createdAt"),
                status=STATUSES[text["status"]],
                error_code=text["errorCode"] or "",
            )
            for text in texts
        ]


def use_listing(office: Office, monkeypatch) -> None:
    """Let the office send through a carrier that can only be asked by its list."""
    monkeypatch.setitem(providers._plugins, "listing", Listing)
    with office.inside():
        office.integration.provider = "listing"
        office.integration.save(update_fields=["provider"])
