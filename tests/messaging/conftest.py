"""An office whose number sends through the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.utils import timezone

from messaging.actions.sending import Text, queue_message
from messaging.models import Conversation, OutboundMessage
from tenants.ulids import new_id
from tests.carrier import Carrier, carrier_running
from tests.conftest import THEIRS, Office


@pytest.fixture(scope="module")
def _carrier() -> Iterator[Carrier]:
    with carrier_running() as carrier:
        yield carrier


@pytest.fixture
def carrier(_carrier: Carrier) -> Carrier:
    _carrier.reset()
    return _carrier


@pytest.fixture
def desk(office: Office, carrier: Carrier, settings) -> Office:
    """An office that sends through *carrier*; nobody listens for its callbacks."""
    settings.BASE_URL = "http://127.0.0.1:9"
    settings.SEND_DEADLINE = 5.0
    with office.inside():
        office.integration.base_url = carrier.url
        office.integration.save()
    return office


@pytest.fixture
def queue() -> Callable[..., OutboundMessage]:
    """Queue a text of an agent to a number, in a conversation that is made when missing."""

    def queue(office: Office, body: str = "Hi there", theirs: str = THEIRS, **more):
        with office.inside():
            conversation = Conversation.objects.filter(
                their_number=theirs, our_number=office.number.number
            ).first()
        if conversation is None:
            lead = office.lead(theirs, region="NY", time_zone="")
            with office.inside():
                conversation = Conversation.objects.create(
                    lead=lead,
                    phone_number=office.number,
                    our_number=office.number.number,
                    their_number=theirs,
                    stage="initial_message",
                    last_inbound_at=timezone.now(),  # a person's answer may go at any hour
                )
        values = {
            "purpose": "reply",
            "send_key": new_id("key"),
            "actor_id": office.agent.pk,
            **more,
        }
        with office.inside():
            conversation = Conversation.objects.select_related(
                "lead", "phone_number__integration"
            ).get(pk=conversation.pk)
            return queue_message(conversation, Text(body=body, **values))

    return queue
