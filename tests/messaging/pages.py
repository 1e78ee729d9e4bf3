"""What the tests of the pages share: threads in an inbox, people, and counting queries."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from itertools import count

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from campaigns.actions_tenants import add_member, make_user
from leads.actions import create_lead
from messaging.models import Conversation, LiveEvent, Message, Notification
from tests.conftest import Office

_numbers = count(1)


def url(office: Office, path: str = "") -> str:
    return f"/t/{office.tenant.slug}/{path}"


def person(office: Office, role: str = "agent", name: str = "Dana Other"):
    """A member of the office; returns their actor and a client logged in as them."""
    username = f"{name.lower().replace(' ', '-')}-{office.tenant.slug}"
    user = make_user(
        username=username, name=name, email=f"{username}@example.com", password_hash="!"
    )
    actor = add_member(office.tenant.pk, user=user, role=role, name=name)
    return actor, client_of(actor)


def client_of(actor) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(actor.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def make_thread(
    office: Office,
    text: str = "What would you pay?",
    *,
    name: str = "Marisol Ortega",
    minutes: int = 10,
    stage: str = "initial_message",
    unread_for=None,
    **fields,
) -> Conversation:
    """An open conversation in which a lead has waited for *minutes*."""
    theirs = f"+1503555{next(_numbers):04d}"
    at = timezone.now() - timedelta(minutes=minutes)
    with office.inside():
        lead = create_lead(
            phone=theirs,
            full_name=name,
            first_name=name.split()[0],
            time_zone="America/New_York",
            region="NY",
        )
        values = {
            "lead": lead,
            "phone_number": office.number,
            "our_number": office.number.number,
            "their_number": theirs,
            "stage": stage,
            "waiting_since": at,
            "last_inbound_at": at,
            "last_message_at": at,
            "last_snippet": text,
            **fields,
        }
        conversation = Conversation.objects.create(**values)
        message = say(conversation, text, at=at)
        if unread_for is not None:
            Notification.objects.create(
                actor=unread_for,
                conversation=conversation,
                stage=stage,
                first_message=message,
                last_message=message,
            )
    return conversation


def say(conversation: Conversation, text: str, *, direction: str = "in", at=None, **fields):
    """Put a message into a thread, inside the tenant."""
    inbound = direction == "in"
    ours, theirs = conversation.our_number, conversation.their_number
    return Message.objects.create(
        conversation=conversation,
        lead_id=conversation.lead_id,
        direction=direction,
        sender=theirs if inbound else ours,
        recipient=ours if inbound else theirs,
        body=text,
        provider="signalhouse",
        status="received" if inbound else fields.pop("status", "delivered"),
        occurred_at=at or timezone.now(),
        **fields,
    )


def fresh(office: Office, conversation: Conversation) -> Conversation:
    with office.inside():
        return Conversation.objects.select_related("lead").get(pk=conversation.pk)


def hints(office: Office, kind: str = "conv") -> int:
    with office.inside():
        return LiveEvent.objects.filter(tenant_id=office.tenant.pk, kind=kind).count()


@contextmanager
def queries():
    """Collect the queries of a request as production sends them.

    Tests run in a transaction, so what opens and leaves the request's own is no transaction but
    savepoints, and the tenant of the outer one is put back: three statements nobody else pays.
    """
    collected: list[str] = []
    with CaptureQueriesContext(connection) as context:
        yield collected
    seen_tenant = False
    for query in context.captured_queries:
        sql = query["sql"]
        if sql.startswith(("SAVEPOINT", "RELEASE SAVEPOINT")):
            continue
        if "set_config('app.tenant_id'" in sql:
            if seen_tenant:
                continue
            seen_tenant = True
        collected.append(sql)
