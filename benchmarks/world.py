"""An office to measure in: one tenant, three agents, leads that were texted and wait to answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

from django.utils import timezone

from campaigns.actions_tenants import add_member, create_tenant, make_user
from integrations.actions import create_endpoint
from integrations.models import Integration, WebhookEndpoint
from integrations.providers import providers
from leads.models import Consent, ContactPoint, Lead, LeadEvent, LeadTimer, Worker
from messaging.models import Conversation, PhoneNumber
from tenants.context import tenant_context
from tenants.models import Tenant
from tenants.ulids import new_id

OURS = "+12025550100"
SECRET = "shwhsec_benchmark_0001"
AGENTS = 3
_serial = count(1)


@dataclass(kw_only=True)
class World:
    tenant: Tenant
    integration: Integration
    endpoint: WebhookEndpoint
    number: PhoneNumber

    @property
    def path(self) -> str:
        return f"/hooks/signalhouse/{self.endpoint.token}/"


def make_world(prefix: str) -> World:
    """Make a tenant of this run's own; earlier runs stay in the database beside it."""
    slug = f"{prefix}-{new_id('x')[-8:].lower()}"
    tenant = create_tenant(slug=slug, name=slug)
    for turn in range(AGENTS):
        user = make_user(
            username=f"{slug}-{turn}", name=f"Agent {turn}", email="", password_hash="!"
        )
        add_member(tenant.pk, user=user, role="agent")
    with tenant_context(tenant.pk):
        integration = Integration.objects.create(
            provider="signalhouse",
            name="SignalHouse",
            base_url="http://127.0.0.1:9",
            api_key="key",
            secret=SECRET,
        )
        number = PhoneNumber.objects.create(
            number=OURS,
            worker=Worker.objects.get(key="gianna"),
            integration=integration,
        )
        endpoint = create_endpoint(integration)
    return World(tenant=tenant, integration=integration, endpoint=endpoint, number=number)


def add_leads(world: World, how_many: int) -> list[str]:
    """Leads that were texted, with a conversation and two live timers; returns their numbers."""
    phones = [f"+1{2_020_000_000 + next(_serial):010d}" for _ in range(how_many)]
    now = timezone.now()
    with tenant_context(world.tenant.pk):
        leads = [
            Lead(source="bench", source_id=phone, first_name="Lee", last_name=phone[-6:])
            for phone in phones
        ]
        Lead.objects.bulk_create(leads, batch_size=1000)
        for seq, (before, state) in enumerate([(None, "new"), ("new", "touched")]):
            LeadEvent.objects.bulk_create(
                [
                    LeadEvent(
                        lead=lead,
                        seq=seq,
                        kind="created" if before is None else "touched",
                        from_state=before,
                        to_state=state,
                        payload={},
                        at=now,
                    )
                    for lead in leads
                ],
                batch_size=1000,
            )
        ContactPoint.objects.bulk_create(
            [
                ContactPoint(
                    lead=lead,
                    kind="phone",
                    raw=phone,
                    normalized=phone,
                    source="bench",
                    is_primary=True,
                )
                for lead, phone in zip(leads, phones, strict=True)
            ],
            batch_size=1000,
        )
        Consent.objects.bulk_create([Consent(address=phone) for phone in phones], batch_size=1000)
        Conversation.objects.bulk_create(
            [
                Conversation(
                    lead=lead,
                    phone_number=world.number,
                    our_number=OURS,
                    their_number=phone,
                    stage="initial_message",
                )
                for lead, phone in zip(leads, phones, strict=True)
            ],
            batch_size=1000,
        )
        LeadTimer.objects.bulk_create(
            [
                LeadTimer(lead=lead, kind=kind, armed_at=now, fire_at=now + timedelta(days=days))
                for lead in leads
                for kind, days in (("7D", 7), ("14D", 14))
            ],
            batch_size=1000,
        )
    return phones


def text_payload(phone: str, body: str = "Yes, I am still thinking about it.") -> bytes:
    """One inbound text as SignalHouse posts it; every call makes another one."""
    serial = new_id("in")
    return json.dumps(
        {
            "timestamp": datetime.now(UTC).isoformat(),
            "event": "MESSAGE_RECEIVED",
            "identifier": serial,
            "metaData": {
                "Message": {
                    "direction": "INBOUND",
                    "senderPhoneNumber": phone.lstrip("+"),
                    "recipientPhoneNumber": OURS.lstrip("+"),
                    "messageBody": body,
                }
            },
        }
    ).encode()


def signed(body: bytes) -> dict[str, str]:
    """The headers of a delivery of its own."""
    headers: dict[str, str] = providers["signalhouse"]().sign(
        body, SECRET, datetime.now(UTC), new_id("dlv")
    )
    return {"Content-Type": "application/json", "User-Agent": "SignalHouse/2.0", **headers}
