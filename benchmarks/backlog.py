"""The backlog that once stood for two weeks in another system, drained in order.

42,430 contact updates of a CRM, 565 unread marks and 527 inbound messages, all waiting when the two
loops are let go. Updates are spread over 4,000 contacts; each contact must end as its last update
says, and its updates must have been worked on in the order in which they came.
"""

from __future__ import annotations

import json
import random
import sys
from datetime import UTC, datetime, timedelta

from common import connection, note, prepare, report, settle
from drain import drain_all
from world import make_world

from integrations.actions import create_endpoint
from integrations.endpoints import find_endpoint
from integrations.intake import Intake, take
from integrations.models import ExternalId, Integration, WebhookWork
from integrations.providers import Delivery, providers
from leads.models import Lead
from tenants.context import tenant_context

UPDATES, UNREAD, INBOUND = 42_430, 565, 527
CONTACTS, LOOPS = 4_000, 2
WITHIN_S = 120
LOCATION = "locBENCH0000000000001"


def main() -> bool:
    prepare()
    world = make_world("backlog")
    with tenant_context(world.tenant.pk):
        crm = Integration.objects.create(provider="ghl", name="GoHighLevel", account_id=LOCATION)
        token = create_endpoint(crm).token
    expected = fill(token)
    settle()
    began = drain_all(LOOPS)
    with tenant_context(world.tenant.pk):
        refuse_loss()
        refuse_disorder(expected)
        last = WebhookWork.objects.order_by("-processed_at").values_list("processed_at", flat=True)
        seconds = (last[0] - began).total_seconds()
    events = UPDATES + UNREAD + INBOUND
    return report(
        "backlog",
        value=seconds,
        unit="s for 43,522 events, two loops",
        against=f"bar {WITHIN_S} s",
        ratio=seconds / WITHIN_S,
        bar=f"< {WITHIN_S} s, nothing lost, each contact as its last update says, in order",
        ok=seconds < WITHIN_S,
        events_per_s=round(events / seconds),
    )


def fill(token: str) -> dict[str, str]:
    """Take all of them in; return the last name of each contact by its last update."""
    endpoint = find_endpoint(token)
    assert endpoint is not None
    provider = providers["ghl"](endpoint.config)
    chance, expected = random.Random(1), {}
    kinds = ["update"] * UPDATES + ["unread"] * UNREAD + ["inbound"] * INBOUND
    chance.shuffle(kinds)
    moment = datetime.now(UTC) - timedelta(days=1)
    for serial, kind in enumerate(kinds):
        contact = f"con{chance.randrange(CONTACTS):06d}"
        payload = PAYLOADS[kind](serial, contact, moment + timedelta(seconds=serial / 10))
        if kind == "update":
            expected[contact] = payload["lastName"]
        body = json.dumps(payload).encode()
        take(
            Intake(
                endpoint=endpoint,
                provider=provider,
                delivery=Delivery(body=body, content_type="application/json"),
                parsed=provider.read(body, "application/json"),
                signature_state="valid",
            )
        )
        if serial % 10_000 == 0:
            note(f"  {serial} taken in")
    return expected


def _envelope(kind: str, serial: int, at: datetime) -> dict:
    return {
        "type": kind,
        "timestamp": at.isoformat().replace("+00:00", "Z"),
        "webhookId": f"bench-{serial:08d}",
        "locationId": LOCATION,
    }


def _update(serial: int, contact: str, at: datetime) -> dict:
    phone = f"+1{2_040_000_000 + int(contact[3:])}"
    return _envelope("ContactUpdate", serial, at) | {
        "id": contact, "firstName": "Lee", "lastName": f"No{serial}", "phone": phone,
        "email": f"{contact}@example.com", "dateAdded": "2025-12-29T00:00:00.000Z",
        "tags": ["owner"], "dnd": False,
    }  # fmt: skip


def _unread(serial: int, contact: str, at: datetime) -> dict:
    return _envelope("ConversationUnreadUpdate", serial, at) | {
        "id": f"conv{contact}", "contactId": contact, "unreadCount": 1,
    }  # fmt: skip


def _inbound(serial: int, contact: str, at: datetime) -> dict:
    return _envelope("InboundMessage", serial, at) | {
        "contactId": contact, "conversationId": f"conv{contact}", "messageId": f"m{serial}",
        "messageType": "SMS", "direction": "inbound", "status": "delivered",
        "dateAdded": at.isoformat(), "body": "Maybe. What would you pay?",
    }  # fmt: skip


PAYLOADS = {"update": _update, "unread": _unread, "inbound": _inbound}


def refuse_loss() -> None:
    states = WebhookWork.objects.exclude(state="done").count()
    if states or WebhookWork.objects.count() != UPDATES + UNREAD + INBOUND:
        raise SystemExit(f"{states} events are not done")


def refuse_disorder(expected: dict[str, str]) -> None:
    found = dict(
        ExternalId.objects.filter(kind="contact", external_id__in=list(expected)).values_list(
            "external_id", "lead__last_name"
        )
    )
    wrong = {contact for contact, name in expected.items() if found.get(contact) != name}
    if wrong:
        raise SystemExit(f"{len(wrong)} contacts are not as their last update says")
    if Lead.objects.count() < len(expected):
        raise SystemExit("two contacts became one lead")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM (SELECT processed_at < lag(processed_at)"
            "   OVER (PARTITION BY lane ORDER BY seq) AS earlier FROM webhook_work) AS w"
            " WHERE earlier"
        )
        (early,) = cursor.fetchone()
    if early:
        raise SystemExit(f"{early} events were worked on before an older one of their lane")


if __name__ == "__main__":
    sys.exit(not main())
