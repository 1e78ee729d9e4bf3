"""A tenant of one's own for a test: people, numbers, leads, and texts that really arrive."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from itertools import count

import httpx
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.utils import timezone

from campaigns.actions_tenants import add_member, create_tenant
from integrations.models import Integration, WebhookEndpoint
from integrations.providers import providers
from leads.actions import create_lead
from leads.models import Worker
from messaging.models import Conversation, Message, PhoneNumber, StageMembership
from tenants.context import tenant_context
from tenants.models import Actor, Tenant, User
from tenants.ulids import new_id

NAMES = (
    "Marisol Ortega", "Dwayne Whitfield", "Priya Raman", "Janet Fairbanks", "Tomas Novak",
    "Ines Carvalho", "Yusuf Demir", "Hannah Lindqvist", "Kwame Boateng", "Mei Tanaka",
)  # fmt: skip
_numbers = count(100)


@dataclass
class Person:
    """Somebody who is logged in: ``cookie`` is their session."""

    user: User
    actor: Actor

    @property
    def cookie(self) -> str:
        session = import_module(settings.SESSION_ENGINE).SessionStore()
        session[SESSION_KEY] = str(self.user.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = self.user.get_session_auth_hash()
        session.save()
        return session.session_key


@dataclass
class World:
    base: str
    tenant: Tenant
    number: PhoneNumber
    endpoint: WebhookEndpoint
    people: dict[str, Person] = field(default_factory=dict)

    def url(self, path: str = "") -> str:
        return f"{self.base}/t/{self.tenant.slug}/{path}"

    def inbox(self, stage: str = "nudger", conversation: Conversation | None = None) -> str:
        part = f"c/{conversation.pk}/" if conversation else ""
        return self.url(f"inbox/{stage}/{part}")

    def person(self, name: str, role: str = "agent", **options: object) -> Person:
        if name not in self.people:
            user = User.objects.create(
                username=f"{name}-{self.tenant.slug}", first_name=name.capitalize(),
                last_name="Example", email=f"{name}@{self.tenant.slug}.example", **options,
            )  # fmt: skip
            actor = add_member(self.tenant.pk, user=user, role=role)
            self.people[name] = Person(user, actor)
        return self.people[name]

    def conversation(
        self, stage: str = "nudger", name: str = "", waiting: timedelta | None = timedelta(hours=1)
    ) -> Conversation:
        """Make a lead who was texted, and who answered *waiting* ago (None: did not answer)."""
        place = next(_numbers)
        phone = f"+1503555{place:04d}"
        name = name or f"{NAMES[place % len(NAMES)]} {place}"
        first, _, last = name.partition(" ")
        now = timezone.now()
        with tenant_context(self.tenant.pk):
            lead = create_lead(
                phone=phone, phone_line_type="mobile", first_name=first, last_name=last,
                full_name=name, time_zone="America/Los_Angeles", stage=stage,
            )  # fmt: skip
            conversation = Conversation.objects.create(
                lead=lead, phone_number=self.number, our_number=self.number.number,
                their_number=phone, stage=stage, last_snippet="Hi, is the house for sale?",
                waiting_since=now - waiting if waiting is not None else None,
                last_inbound_at=now - waiting if waiting is not None else None,
            )  # fmt: skip
            self.write(conversation, "Hi, this is Cathy. Is the house for sale?", direction="out")
            if waiting is not None:
                self.write(conversation, "Maybe. What would you pay?")
        return conversation

    def write(self, conversation: Conversation, body: str, direction: str = "in") -> Message:
        """Put a message into a thread without any of its consequences."""
        ends = (conversation.their_number, conversation.our_number)
        sender, recipient = ends if direction == "in" else ends[::-1]
        with tenant_context(self.tenant.pk):
            return Message.objects.create(
                conversation=conversation, lead=conversation.lead, direction=direction,
                sender=sender, recipient=recipient, body=body, provider="signalhouse",
                status="received" if direction == "in" else "delivered",
                external_id=secrets.token_hex(8),
            )  # fmt: skip

    def inbound(self, conversation: Conversation, text: str) -> str:
        """Send a really signed webhook; return the provider's id of the text."""
        external = secrets.token_hex(12)
        now = timezone.now()
        message = {
            "_id": external,
            "direction": "INBOUND",
            "messageBody": text,
            "senderPhoneNumber": conversation.their_number.lstrip("+"),
            "recipientPhoneNumber": conversation.our_number.lstrip("+"),
            "status": "RECEIVED",
            "createdAt": now.isoformat(),
        }
        body = json.dumps(
            {
                "event": "SMS_RECEIVED",
                "timestamp": now.isoformat(),
                "metaData": {"Message": message},
            }
        ).encode()
        secret = self.endpoint.integration.secret
        headers = providers["signalhouse"]().sign(body, secret, now, new_id("del"))
        answer = httpx.post(
            f"{self.base}/hooks/signalhouse/{self.endpoint.token}/",
            content=body,
            headers={**headers, "Content-Type": "application/json"},
            timeout=10,
        )
        assert answer.status_code == 202, answer.text
        return external

    def membership(self, person: Person, stage: str = "nudger", **values: object) -> None:
        with tenant_context(self.tenant.pk):
            StageMembership.objects.filter(actor=person.actor, stage=stage).update(**values)


def make_world(base: str) -> World:
    slug = f"t-{secrets.token_hex(5)}"
    tenant = create_tenant(slug=slug, name="Harbor", time_zone="America/Los_Angeles")
    with tenant_context(tenant.pk):
        integration = Integration.objects.create(
            provider="signalhouse", name="SignalHouse", secret=secrets.token_hex(16),
            base_url="http://127.0.0.1:9", api_key="none",
        )  # fmt: skip
        token = secrets.token_urlsafe(32)
        endpoint = WebhookEndpoint.objects.create(
            integration=integration, token=token, token_hash=_hash(token)
        )
        number = PhoneNumber.objects.create(
            number=f"+1202555{next(_numbers):04d}", integration=integration,
            worker=Worker.objects.get(key="cathy"),
        )  # fmt: skip
    return World(base=base, tenant=tenant, number=number, endpoint=endpoint)


def _hash(token: str) -> str:
    return import_module("integrations.models").hash_token(token)
