"""Shared fixtures: a small office of one tenant, and texts that arrive the way texts do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from django.test import Client

from campaigns.actions_tenants import add_member, create_tenant, make_user
from integrations.actions import create_endpoint
from integrations.endpoints import forget
from integrations.guesses import forget_guesses
from integrations.models import Integration, WebhookEndpoint
from integrations.processing import drain_once
from integrations.providers import providers
from leads.actions import create_lead
from leads.models import Lead, Worker
from messaging.models import Conversation, Message, PhoneNumber
from tenants.context import tenant_context
from tenants.models import Actor, Tenant
from tenants.ulids import new_id

OURS = "+12025550100"
THEIRS = "+12025550142"
SECRET = "shwhsec_test_secret_0001"
_serial = count(1)


@dataclass
class Office:
    """One tenant with a number, an integration and an agent."""

    tenant: Tenant
    integration: Integration
    endpoint: WebhookEndpoint
    number: PhoneNumber
    agent: Actor
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    @property
    def path(self) -> str:
        return f"/hooks/signalhouse/{self.endpoint.token}/"

    def inside(self):
        return tenant_context(self.tenant.pk)

    def payload(self, text: str, *, theirs: str = THEIRS, ours: str = "", id: str = "") -> dict:
        return {
            "timestamp": datetime.now(UTC).isoformat(),
            "event": "MESSAGE_RECEIVED",
            "identifier": id or f"in_{next(_serial):06d}",
            "metaData": {
                "Message": {
                    "direction": "INBOUND",
                    "senderPhoneNumber": theirs.lstrip("+"),
                    "recipientPhoneNumber": (ours or self.number.number).lstrip("+"),
                    "messageBody": text,
                }
            },
        }

    def status(self, message_id: str, status: str, *, theirs: str = THEIRS, **extra: Any) -> dict:
        return {
            "timestamp": datetime.now(UTC).isoformat(),
            "event": f"MESSAGE_{status}",
            "identifier": message_id,
            "metaData": {
                "_id": message_id,
                "direction": "OUTBOUND",
                "senderPhoneNumber": self.number.number.lstrip("+"),
                "recipientPhoneNumber": theirs.lstrip("+"),
                "status": status,
                **extra,
            },
        }

    def post(
        self,
        payload: dict | bytes,
        *,
        delivery: str = "",
        secret: str = SECRET,
        path: str = "",
        headers: dict | None = None,
        content_type: str = "application/json",
    ):
        """Post a signed webhook as SignalHouse would."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        if headers is None:
            delivery = delivery or f"delivery-{next(_serial)}"
            headers = providers["signalhouse"]().sign(body, secret, datetime.now(UTC), delivery)
        return self.client.post(path or self.path, body, content_type=content_type, headers=headers)

    def receive(self, text: str, **options: Any) -> Message:
        """Post a text, process it, and return the message it became."""
        payload = self.payload(text, **options)
        answer = self.post(payload)
        assert answer.status_code == 202, answer.content
        drain()
        with self.inside():
            return Message.objects.select_related("conversation", "lead").get(
                external_id=payload["identifier"]
            )

    def lead(self, phone: str = THEIRS, **fields: Any) -> Lead:
        with self.inside():
            return create_lead(phone=phone, **fields)

    def conversation(self, theirs: str = THEIRS) -> Conversation:
        with self.inside():
            return Conversation.objects.select_related("lead", "phone_number__integration").get(
                their_number=theirs
            )


def drain(limit: int = 10_000) -> int:
    """Process everything that is ready now."""
    finished = 0
    while (step := drain_once()) and finished < limit:
        finished += step
    return finished


def make_office(slug: str, ours: str = OURS) -> Office:
    tenant = create_tenant(slug=slug, name=slug.replace("-", " ").title())
    user = make_user(
        username=f"agent-{slug}", name="Cam Agent", email=f"cam@{slug}.example", password_hash="!"
    )
    agent = add_member(tenant.pk, user=user, role="agent")
    with tenant_context(tenant.pk):
        integration = Integration.objects.create(
            provider="signalhouse",
            name="SignalHouse",
            base_url="http://127.0.0.1:9",
            api_key="key",
            secret=SECRET,
        )
        endpoint = create_endpoint(integration)
        number = PhoneNumber.objects.create(
            number=ours,
            worker=Worker.objects.get(key="gianna"),
            integration=integration,
            rate_per_second=1000,
            burst=1000,
            tokens=1000,
            daily_cap=1000,
        )
    return Office(
        tenant=tenant, integration=integration, endpoint=endpoint, number=number, agent=agent
    )


@pytest.fixture(autouse=True)
def _forget_endpoints() -> Iterator[None]:
    forget()
    forget_guesses()
    yield
    forget()


@pytest.fixture
def office(db) -> Office:
    return make_office("harbor")


@pytest.fixture
def other_office(db) -> Office:
    return make_office("prairie", "+13125550100")


@pytest.fixture
def committed_office(transactional_db) -> Office:
    """An office other connections and processes can see."""
    return make_office(f"office-{new_id('x')[-6:].lower()}")


@pytest.fixture
def login() -> Callable[[Office], Client]:
    def log_in(office: Office) -> Client:
        client = Client(raise_request_exception=False)
        client.force_login(office.agent.user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return log_in
