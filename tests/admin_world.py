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
    Enrichment,
    ExternalId,
    FieldMapping,
    ProviderCircuit,
    PullBill,
    PullPage,
    PullQuery,
    PullSweep,
    QuarantineRule,
    ReconcileRun,
    SpendCounter,
    SpoolHost,
    SyncState,
    VendorAnswer,
    VendorCall,
    VendorInput,
    VendorSeen,
    VerificationCode,
    WaterfallStage,
    WorkEvent,
)
from integrations.providers import Delivery
from leads.actions import (
    Choice,
    add_contact_point,
    arm_timer,
    create_lead,
    put_label,
    record_choice,
)
from leads.models import (
    Business,
    ConsentEvent,
    Contact,
    ContactPoint,
    IdentityTurn,
    Import,
    ImportChange,
    ImportPart,
    ImportPreset,
    ImportRow,
    LeadActivity,
    LeadCard,
    LeadScore,
    Merge,
    MergeReview,
    Ownership,
    Property,
    PropertyDistressScore,
    QualityScore,
    Redaction,
    SavedView,
    ScoreRule,
    Verification,
)
from messaging.actions.consent import opt_out
from messaging.actions.sending import send_reply
from messaging.models import (
    Brand,
    BrandDay,
    ConsentAck,
    ConsentEffect,
    Conversation,
    DailySend,
    DossierExport,
    Draft,
    ReadCursor,
    SendAttempt,
    SendOutcome,
    StageMembership,
    SuppressionList,
)
from pipelines.models import Artifact, ArtifactParent, DeadLetter, Incident, PipelineRun
from tenants.actions import note
from tenants.models import Actor, ApiAnswer, ApiKey, User
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
    with office.inside():
        twin = create_lead(full_name="Twin")  # before the others: the newest lead is the main one
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
        _fill_registry(office, word)
        fill_lead_records(office, lead, twin, word)
        fill_vendor_records(office, lead, word)
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


def fill_lead_records(office, lead, twin, word):
    """Put rows into the tables around leads: people, properties, files, scores, merges."""
    run = PipelineRun.objects.create(pipeline_name=word)
    artifact, parent = (
        Artifact.objects.create(
            run=run, artifact_type=word, content=word.encode(), size=len(word), checksum="0" * 64
        )
        for _ in range(2)
    )
    ArtifactParent.objects.create(artifact=artifact, parent=parent)
    contact = Contact.objects.create(lead=lead, full_name=f"{word} Jones")
    business = Business.objects.create(lead=lead, name=word)
    home = Property.objects.create(lead=lead, source=word, external_id=word)
    PropertyDistressScore.objects.create(property=home, provider=word, external_id=word, score=10)
    Ownership.objects.create(contact=contact, business=business)
    card = LeadCard.objects.create(contact=contact, lead=lead)
    LeadActivity.objects.create(lead=lead, card=card, kind="note", subject=word)
    point = ContactPoint.objects.filter(lead=lead).order_by("id").first()
    Verification.objects.create(point=point, provider="test", code=word, verdict="unknown")
    version = ScoreRule.objects.count() + 1
    ScoreRule.objects.create(version=version, reason=word)
    scored = {"score": 10, "band": "low", "parcel": 10, "rule_version": version}
    LeadScore.objects.update_or_create(lead=lead, defaults=scored)
    QualityScore.objects.create(lead=lead, **scored)
    Merge.objects.create(survivor=lead, merged=twin, reason=word)
    left, right = sorted([lead, twin], key=lambda one: one.pk)
    MergeReview.objects.create(left=left, right=right, score=50, source="finder", reason=word)
    one = Import.objects.create(name=word, total=1)
    ImportPart.objects.create(imported=one, number=1, content=b"x")
    ImportChange.objects.create(imported=one, lead=lead, row_no=1)
    IdentityTurn.objects.update_or_create(defaults={"runner": word})
    ImportRow.objects.create(imported=one, row_no=1, outcome="error", problem=word, raw=[word])
    ImportPreset.objects.create(name=word, fingerprint=word, mapping=[])
    SavedView.objects.create(name=word)
    key = ApiKey.objects.create(name=word, hint="fl_x", key_hash="a" * 64, actor=office.agent)
    ApiAnswer.objects.create(api_key=key, idempotency_key=word, request_hash="0" * 64)


def fill_vendor_records(office, lead, word):
    """Put rows into the tables of pulls, the waterfall and its money."""
    of = {"integration": office.integration}
    query = PullQuery.objects.create(
        name=word, params={}, query_sig="0" * 64, price_cents=1, run_cap_cents=100, **of
    )
    sweep = PullSweep.objects.create(
        query=query, source=word, query_sig="0" * 64, params={}, cap_cents=100
    )
    PullPage.objects.create(sweep=sweep, page_no=1, skip=0, epoch=1, ids=[], results_found=0)
    VendorSeen.objects.create(sweep=sweep, source=word, query_sig="0" * 64, vendor_id=word)
    stage = WaterfallStage.objects.create(name=word, service=word, position=90, price_cents=1, **of)
    run = PipelineRun.objects.create(pipeline_name=word)
    Enrichment.objects.create(lead=lead, run=run)
    call = VendorCall.objects.create(
        provider=word,
        service=word,
        stage=stage,
        lead=lead,
        fingerprint="0" * 64,
        reserved_cents=1,
        day=timezone.localdate(),
        **of,
    )
    VendorAnswer.objects.create(call=call, result="miss", request_id=word)
    VendorInput.objects.create(
        provider=word, service=word, fingerprint="0" * 64, call=call, fresh_until=timezone.now()
    )
    PullBill.objects.create(query_sig="0" * 64, day=timezone.localdate(), **of)
    SpendCounter.objects.create(scope=word, period="day", starts=timezone.localdate())
    ProviderCircuit.objects.create(**of)
    VerificationCode.objects.get_or_create(
        provider="test", channel="email", code="ok", defaults={"is_verified": True}
    )


def _fill_registry(office, word):
    """An opt-out, what it stopped, who was told of it, its dossier, a list, and an erasure."""
    event = opt_out(Choice(address="+13125550179", kind="opt_out", reason=word))
    consent_event = ConsentEvent.objects.get(pk=event)
    ConsentEffect.objects.create(
        consent_event=consent_event, kind="lead_suppressed", subject=f"lead_{word}"
    )
    ConsentAck.objects.create(
        consent_event=consent_event,
        integration=office.integration,
        due_at=timezone.now(),
        last_error=word,
    )
    DossierExport.objects.create(address="+13125550179", head="0" * 64, records=1)
    SuppressionList.objects.create(name=word, source=word, reason=word)
    Redaction.objects.create(digest=f"erased:{word.lower()}", reason=word)


def _row(model, office):
    if model.__name__ == "Tenant":
        return office.tenant
    if model is Actor:
        return office.agent
    return model._default_manager.order_by("-pk").first()
