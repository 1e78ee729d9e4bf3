"""People of each kind in the admin, and one row of every table to look at."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from django.contrib import admin
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from campaigns.actions import queue_call
from campaigns.actions_tenants import add_member, make_user
from integrations.actions import sample_rejection
from integrations.endpoints import find_endpoint
from integrations.models import (
    BroadcastStat,
    ExternalId,
    FieldMapping,
    QuarantineRule,
    ReconcileRun,
    SpoolHost,
    SyncState,
    WorkEvent,
)
from integrations.providers import Delivery
from leads.actions import Choice, add_contact_point, arm_timer, put_label, record_choice
from messaging.actions.sending import send_reply
from messaging.models import (
    Brand,
    BrandDay,
    Conversation,
    DailySend,
    Draft,
    ReadCursor,
    SendAttempt,
    SendOutcome,
    StageMembership,
)
from pipelines.models import DeadLetter, Incident, PipelineRun
from tenants.actions import note
from tenants.models import Actor, User
from tenants.ulids import to_uuid

BACKEND = "django.contrib.auth.backends.ModelBackend"


def staff(office, role="tenant_admin", **user):
    """Make a person with *role* in the office who may open the admin."""
    name = f"staff-{role}-{office.tenant.slug}"
    person = make_user(
        username=name,
        name=f"{role} staff",
        email=f"{name}@x.example",
        password_hash="!",
        is_staff=True,
        **user,
    )
    return add_member(office.tenant.pk, user=person, role=role)


def enter(user, tenant=None):
    """Log *user* in, and into *tenant* when given."""
    client = Client(raise_request_exception=False)
    client.force_login(user, backend=BACKEND)
    if tenant is not None:
        session = client.session
        session["tenant"] = tenant.pk
        session.save()
    return client


def boss(office):
    """Return a client of the office's tenant admin."""
    return enter(staff(office).user)


def visitor():
    """Make platform staff: a superuser who is member nowhere."""
    return User.objects.create(username="platform", is_staff=True, is_superuser=True)


def names(model: type[Model]) -> str:
    return f"admin:{model._meta.app_label}_{model._meta.model_name}"


def url(model: type[Model], page: str, *args) -> str:
    return reverse(f"{names(model)}_{page}", args=args)


def tables() -> list[type[Model]]:
    """Return the tables of a tenant in the admin; logins and hosts are the installation's."""
    return [model for model in admin.site._registry if model not in (User, SpoolHost)]


@dataclass
class Filled:
    """An office with at least one row in every table of the admin."""

    office: object
    word: str
    rows: dict[type[Model], Model] = field(default_factory=dict)


def fill(office, word):
    """Put rows with *word* in them into every table of the office; return one of each."""
    theirs = "+13105550177" if word.startswith("F") else "+13105550188"
    office.receive(f"call me at {word.lower()}@example.com", theirs=theirs)
    message = office.receive("what is this about?", theirs=theirs)
    delivery = Delivery(body=word.encode(), headers={"X-Word": word})
    sample_rejection(find_endpoint(office.endpoint.token), delivery, reason="signature")
    with office.inside():
        lead = message.lead
        lead.full_name = f"{word} Smith"
        lead.save(update_fields=["full_name"])
        conversation = Conversation.objects.get(pk=message.conversation_id)
        add_contact_point(lead.pk, kind="phone", value="+13125550178", source="manual")
        arm_timer(lead.pk, kind="CALLBACK", days=1)
        put_label(lead.pk, key=word, source="manual")
        record_choice(Choice(address=theirs, kind="opt_in", reason=word))
        queue_call(lead.pk, reason="wants_call")
        outbound = send_reply(
            conversation.pk, body=f"Hello {word}", actor_id=office.agent.pk, send_key=f"{word}-1"
        )
        attempt = SendAttempt.objects.create(
            outbound=outbound, attempt=1, token_hash=word.ljust(64, "0"), consent_rev=1
        )
        SendOutcome.objects.create(attempt=attempt, kind="accepted", source="call", detail=word)
        DailySend.objects.create(day=timezone.localdate(), cap=10)
        brand = Brand.objects.create(name=word)
        BrandDay.objects.create(brand=brand, day=timezone.localdate(), cap=10)
        Draft.objects.create(actor=office.agent, conversation=conversation, body=word)
        ReadCursor.objects.get_or_create(actor=office.agent, conversation=conversation)
        PipelineRun.objects.create(pipeline_name=word)
        WorkEvent.objects.create(work=1, what="released", reason=word)
        StageMembership.objects.get_or_create(actor=office.agent, stage="nudger")
        FieldMapping.objects.create(
            integration=office.integration,
            module="message.received",
            target_field="sender",
            source_path=word,
        )
        fill_other_systems(office, lead, word)
        note("test.done", actor_id=office.agent.pk, reason=word)
        found = {model: _row(model, office) for model in tables()}
    missing = [model.__name__ for model, row in found.items() if row is None]
    assert not missing, missing
    return Filled(office, word, found)


def fill_other_systems(office, lead, word):
    """Put rows into the tables of other systems and of trouble."""
    of = {"integration": office.integration}
    ExternalId.objects.create(lead=lead, external_id=word, **of)
    SyncState.objects.create(entity_type=word, **of)
    ReconcileRun.objects.create(job_name=word, **of)
    BroadcastStat.objects.create(broadcast_id=word, snapshot_at=timezone.now(), **of)
    QuarantineRule.objects.create(contains=word, reason=word)
    DeadLetter.objects.create(
        stage="send", ref=word, subject=word, error_class=word, error=word, fingerprint="f"
    )
    Incident.objects.create(kind=word, severity="warning", title=word)
    SpoolHost.objects.get_or_create(
        id=uuid.UUID(int=7),
        defaults={"name": "web-1", "clear_until": timezone.now(), "stopped_at": timezone.now()},
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT flight_begin(%s, gen_random_uuid(), ARRAY[1::bigint])",
            [to_uuid(office.tenant.pk)],
        )


def _row(model, office):
    if model.__name__ == "Tenant":
        return office.tenant
    if model is Actor:
        return office.agent
    return model._default_manager.order_by("-pk").first()
