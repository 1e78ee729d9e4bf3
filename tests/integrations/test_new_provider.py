"""A new provider is one file and its payloads: no migration, no change anywhere else."""

from __future__ import annotations

import hashlib
import hmac
import importlib
import json
import sys
from datetime import UTC, datetime

import pytest
from django.core.management import call_command

import integrations.providers as package
from integrations.actions import create_endpoint
from integrations.models import Integration, WebhookEvent, WebhookWork
from integrations.providers import provider_choices, providers
from messaging.models import Conversation, Message
from tests.conftest import OURS, THEIRS, drain

pytestmark = pytest.mark.django_db

#: All that is added: what a vendor named Pigeon sends, and how it signs.
MODULE = '''
"""Webhooks of Pigeon, which signs with a hex HMAC in one header."""

import hashlib
import hmac

from integrations.addresses import normalize_address
from integrations.events import BadPayload, MessageReceived
from integrations.payloads import read_identifier, read_instant, read_note, read_text
from integrations.providers.base import (
    Provider, SignatureState, any_match, body_key, providers,
)


@providers.register("pigeon")
class Pigeon(Provider):
    name = "pigeon"
    label = "Pigeon Post"

    def verify(self, delivery, secrets, now):
        given = delivery.header("x-pigeon")
        if not given:
            return SignatureState.MISSING
        expected = [self._sign(delivery.body, secret).encode() for secret in secrets if secret]
        is_right = any_match(expected, [given.encode("utf-8", "replace")])
        return SignatureState.VALID if is_right else SignatureState.INVALID

    def sign(self, body, secret, now, delivery_id, url=""):
        return {"x-pigeon": self._sign(body, secret)}

    @staticmethod
    def _sign(body, secret):
        return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()

    def delivery_key(self, delivery, payload):
        return body_key(delivery.body)

    def event_type(self, payload):
        return read_note((payload or {}).get("coo"))

    def external_id(self, payload):
        return read_identifier(payload.get("ring"), "ring")

    def parties(self, payload):
        return normalize_address(payload.get("to")), normalize_address(payload.get("from"))

    def parse(self, payload):
        if payload.get("coo") != "landed":
            return []
        ours, theirs = self.parties(payload)
        return [
            MessageReceived(
                external_id=self.external_id(payload),
                occurred_at=read_instant(payload.get("at"), "at"),
                sender=theirs,
                recipient=ours,
                body=read_text(payload.get("scroll"), "scroll"),
            )
        ]
'''

#: And its payloads.
LANDED = {
    "coo": "landed", "ring": "p-1", "from": THEIRS, "to": OURS,
    "at": "2026-11-20T18:40:00Z", "scroll": "Yes, tell me more",
}  # fmt: skip
MOULTED = {"coo": "moulted", "ring": "p-2", "feathers": 40}
SECRET = "grain"


@pytest.fixture
def pigeon(tmp_path, monkeypatch):
    """Drop the file beside the other providers, as a release would."""
    (tmp_path / "pigeon.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    importlib.import_module(f"{package.__name__}.pigeon")
    yield providers["pigeon"]
    providers._plugins.pop("pigeon")
    sys.modules.pop(f"{package.__name__}.pigeon")
    vars(package).pop("pigeon", None)


@pytest.fixture
def loft(office, pigeon):
    with office.inside():
        integration = Integration.objects.create(provider="pigeon", name="Loft", secret=SECRET)
        integration.full_clean()
        return create_endpoint(integration)


def post(office, endpoint, payload, *, secret=SECRET):
    body = json.dumps(payload).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return office.client.post(
        f"/hooks/pigeon/{endpoint.token}/",
        body,
        content_type="application/json",
        headers={"X-Pigeon": signature},
    )


def test_a_file_and_its_payloads_bring_texts_in(office, loft):
    answer = post(office, loft, LANDED)
    drain()

    assert answer.status_code == 202, answer.content
    with office.inside():
        message = Message.objects.get(external_id="p-1")
        conversation = Conversation.objects.get()
    assert (message.provider, message.body, message.sender) == ("pigeon", LANDED["scroll"], THEIRS)
    assert message.occurred_at == datetime(2026, 11, 20, 18, 40, tzinfo=UTC)
    assert conversation.waiting_since is not None

    assert post(office, loft, LANDED).status_code == 200  # a redelivery changes nothing
    assert drain() == 0
    assert post(office, loft, LANDED, secret="stolen").status_code == 401


def test_an_event_the_file_does_not_know_is_kept_and_shown_as_unmapped(office, loft):
    answer = post(office, loft, MOULTED)
    drain()

    assert answer.status_code == 202
    with office.inside():
        event = WebhookEvent.objects.get()
        work = WebhookWork.objects.get()
    assert (event.source, event.event_type, event.payload) == ("pigeon", "moulted", MOULTED)
    assert (work.state, work.outcome, work.attempts) == ("done", "unmapped", 0)


def test_no_migration_is_needed_and_people_can_choose_it(pigeon):
    assert ("pigeon", "Pigeon Post") in provider_choices()
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
