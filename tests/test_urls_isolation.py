"""Every address of a tenant's pages, asked with another tenant's ids: 404, and not a word of it."""

from __future__ import annotations

import io

import pytest
from django.urls import NoReverseMatch, URLPattern, reverse
from django.utils import timezone

from integrations.models import (
    Integration,
    PullPage,
    PullQuery,
    PullSweep,
    QuarantineRule,
    VendorCall,
    WaterfallStage,
    WebhookEvent,
)
from leads.actions import Choice, add_contact_point, arm_timer, create_lead
from leads.imports.actions import begin as begin_import
from leads.merging import merge
from leads.models import ContactPoint, LeadEvent, SavedView, Stage
from leads.pairs import propose
from messaging import urls as pages
from messaging.actions.consent import opt_out
from messaging.actions.sending import send_reply
from messaging.models import (
    Conversation,
    Message,
    Notification,
    OutboundMessage,
    SuppressionList,
)
from pipelines.artifacts import keep
from pipelines.models import DeadLetter, PipelineRun
from tenants.apikeys import make_key
from tenants.ulids import new_id
from tests.messaging.pages import person

pytestmark = pytest.mark.django_db

#: A word that stands in every row of the other tenant, and so must never be answered.
CANARY = "ZANZIBAR"
FOREIGN_NUMBER = "+13125550177"
#: A web host is nobody's but the platform's, whatever its id.
HOST = "01a21235-80bb-43c3-a146-94733915db3f"

#: Ids that name nothing: another kind, an alias letter, too long, too large, bytes that hurt.
GARBAGE = (
    "x",
    "conv_01ARZ3NDEKTSV4RRFFQ69G5FAO",
    "\u0000",
    "0",
    "-1",
    "conv_",
    "lead_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "conv_8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
    "00000000-0000-0000-0000-000000000000",
    "' OR 1=1 --",
    "../../etc",
    "a" * 300,
    "\u017f" * 26,
    "\U0001f600",
    "None",
)

#: Pages that look a phone number up: an unknown one is no error, but must tell nothing.
LOOK_UPS = {"optout"}

NAMES = sorted(
    {pattern.name for pattern in pages.urlpatterns if isinstance(pattern, URLPattern)} - {None}
)


def parameters_of(name):
    pattern = next(p for p in pages.urlpatterns if p.name == name)
    return sorted(set(pattern.pattern.converters) - {"slug"})


def address_of(name, slug, values):
    try:
        for namespace in ("messaging:", ""):
            try:
                return reverse(f"{namespace}{name}", kwargs={"slug": slug, **values})
            except NoReverseMatch as error:
                if "not a registered namespace" not in str(error):
                    raise
    except NoReverseMatch:
        return None  # the converter itself refuses the value
    return None


@pytest.fixture
def foreign(other_office):
    """Rows of a second tenant, of every kind, all with the canary in them."""
    message = other_office.receive(f"call me, {CANARY}@example.com", theirs=FOREIGN_NUMBER)
    with other_office.inside():
        lead = message.lead
        lead.full_name = f"{CANARY} Smith"
        lead.save(update_fields=["full_name"])
        add_contact_point(lead.pk, kind="phone", value="+13125550178", source=CANARY)
        arm_timer(lead.pk, kind="CALLBACK", days=1)
        agent, conversation = other_office.agent.pk, message.conversation_id
        sent = send_reply(conversation, body=CANARY, actor_id=agent, send_key="foreign-01")
        opt_out(Choice(address=FOREIGN_NUMBER, kind="opt_out", reason=CANARY))
        stage = Stage.objects.create(
            key="zanzibar", label=CANARY, short_label=CANARY, position=90, sla_minutes=5
        )
        return {
            "conv": Conversation.objects.get().pk,
            "message": message.pk,
            "lead_id": lead.pk,
            "stage": stage.key,
            "address": FOREIGN_NUMBER,
            "contact_point": ContactPoint.objects.filter(kind="phone").first().pk,
            "phone_number": other_office.number.pk,
            "outbound": sent.pk,
            "event": LeadEvent.objects.first().pk,
            "actor": other_office.agent.pk,
            "note": Notification.objects.first().pk,
            **repair_rows(CANARY),
            **money_rows(CANARY),
            **pull_rows(CANARY),
            **merging_rows(CANARY),
            "import_id": import_row(CANARY),
            "step": "zanzibar",
            "integration": other_office.integration.pk,
            "endpoint": other_office.endpoint.pk,
            "list_id": SuppressionList.objects.create(name=CANARY, source=CANARY, reason=CANARY).pk,
            "host": HOST,
        }


def merging_rows(word):
    """A proposed pair and a merge of the running tenant, with that word in them."""
    first, second, third = (create_lead(full_name=f"{word} {n}").pk for n in range(3))
    review = propose(first, second, score=90, reasons=[], source=word)
    return {"review_id": review, "merge_id": merge(first, third, reason=word).pk}


def repair_rows(word):
    """A webhook, a dead letter, a rule and a run of the running tenant, all with that word."""
    event = WebhookEvent.objects.order_by("id").first()
    letter = DeadLetter.objects.create(
        stage="sync", ref=word, subject=word, error=word, fingerprint="f"
    )
    rule = QuarantineRule.objects.create(source=word, reason=word)
    run = PipelineRun.objects.create(
        pipeline_name="bulk_work", stats={"action": "retry", "total": 1, "done": 0, "skipped": 0}
    )
    kept = keep(f'{{"word": "{word}"}}'.encode(), artifact_type=word, run_id=run.pk)
    view = SavedView.objects.create(name=word, query={"city": [word]})
    key = make_key(name=word, scopes=["leads:read"], by_id=None).key
    return {
        "artifact_id": kept.pk,
        "view_id": view.pk,
        "key_id": key.pk,
        "event_id": event.pk,
        "letter_id": letter.pk,
        "rule_id": rule.pk,
        "run_id": run.pk,
    }


def money_rows(word):
    """What the pages of money show: a stage, and a call that nobody knows about."""
    account = Integration.objects.order_by("id").first()
    stage = WaterfallStage.objects.create(
        integration=account, name=word, service="s", position=1, price_cents=5
    )
    call = VendorCall.objects.create(
        integration=account,
        provider=word,
        service=word,
        stage=stage,
        fingerprint="0" * 64,
        reserved_cents=5,
        day=timezone.localdate(),
    )
    return {"stage_id": stage.pk, "call_id": call.pk}


def pull_rows(name):
    """A saved query of the running tenant, with a sweep and a page of it, all called *name*."""
    query = PullQuery.objects.create(
        integration=Integration.objects.first(),
        name=name,
        params={"searchCriteria": {"query": name}},
        query_sig="0" * 64,
        price_cents=1,
        run_cap_cents=1,
    )
    sweep = PullSweep.objects.create(
        query=query, source=name, query_sig=query.query_sig, params=query.params, cap_cents=1
    )
    page = PullPage.objects.create(
        sweep=sweep, page_no=1, skip=0, epoch=1, ids=[name], results_found=1
    )
    return {"pull_query": query.pk, "sweep": sweep.pk, "pull_page": page.pk}


def import_row(word):
    """A file of the running tenant that waits to be mapped, its name and rows that word."""
    stream = io.BytesIO(f"name,phone\n{word},2025550143\n".encode())
    return begin_import(stream, name=f"{word}.csv").pk


@pytest.fixture
def own(office):
    message = office.receive("hello there")
    with office.inside():
        return {
            "conv": message.conversation_id,
            "message": message.pk,
            "lead_id": message.lead_id,
            "stage": "initial_message",
            "address": message.sender,
            "anything": message.pk,
            "phone_number": office.number.pk,
            "outbound": new_id("obm"),
            **repair_rows("own"),
            **money_rows("own"),
            **pull_rows("own"),
            **merging_rows("own"),
            "import_id": import_row("own"),
            "step": "map",
            "integration": office.integration.pk,
            "endpoint": office.endpoint.pk,
            "list_id": SuppressionList.objects.create(name="own", source="own", reason="own").pk,
            "host": HOST,
        }


def ask(client, method, address):
    """Follow what only points elsewhere: the page behind it must not exist."""
    answer = getattr(client, method)(address)
    if "/go/" in address and answer.status_code == 302 and "/login/" not in answer["Location"]:
        return client.get(answer["Location"])
    return answer


def walk(office, own, bad):
    """Yield (name, address) with one bad parameter among good ones; *bad*: parameter → values."""
    for name in NAMES:
        parameters = parameters_of(name)
        for parameter in parameters:
            for value in bad[parameter]:
                values = {p: own[p] for p in parameters} | {parameter: value}
                address = address_of(name, office.tenant.slug, values)
                if address is not None:
                    yield name, address


def test_every_page_is_walked():
    assert len(NAMES) > 40
    assert {p for name in NAMES for p in parameters_of(name)} <= {
        "address",
        "anything",
        "call_id",
        "artifact_id",
        "conv",
        "event_id",
        "endpoint",
        "host",
        "import_id",
        "integration",
        "key_id",
        "lead_id",
        "letter_id",
        "list_id",
        "merge_id",
        "message",
        "outbound",
        "phone_number",
        "pull_page",
        "pull_query",
        "review_id",
        "rule_id",
        "run_id",
        "stage",
        "stage_id",
        "sweep",
        "step",
        "view_id",
    }


def test_rows_of_another_tenant_do_not_exist(office, own, foreign):
    _, client = person(office, role="tenant_admin")  # who may open every page
    asked = 0
    bad = {parameter: [foreign[parameter]] for parameter in own if parameter in foreign}
    bad["anything"] = [foreign[kind] for kind in ("conv", "message", "lead_id", "event")]
    bad["anything"] += [foreign["artifact_id"], foreign["contact_point"], foreign["run_id"]]
    bad["conv"] += [foreign["lead_id"]]
    for name, address in walk(office, own, bad):
        for method in ("get", "post"):
            answer = ask(client, method, address)
            asked += 1
            if name in LOOK_UPS and answer.status_code == 200:
                assert method == "get", address
            else:
                assert answer.status_code in (404, 405), (method, address, answer.status_code)
            assert CANARY not in answer.content.decode(), address
    assert asked > 100


def test_garbage_is_404_and_never_an_error(office, own):
    _, client = person(office, role="tenant_admin")  # who may open every page
    everywhere = dict.fromkeys(own, GARBAGE[:2])
    thoroughly = dict.fromkeys(own, GARBAGE[2:])
    known = {"thread", "draft", "since", "lead", "bell-panel", "optout", "go"}
    addresses = [
        *walk(office, own, everywhere),
        *((name, address) for name, address in walk(office, own, thoroughly) if name in known),
    ]
    for name, address in addresses:
        for method in ("get", "post"):
            answer = ask(client, method, address)
            if name in LOOK_UPS and answer.status_code == 200:
                continue
            assert answer.status_code in (404, 405), (method, address, answer.status_code)


def test_ids_of_the_right_tenant_and_the_wrong_kind_are_404(office, own):
    _, client = person(office, role="tenant_admin")  # who may open every page
    with office.inside():
        wrong = {
            "conv": own["lead_id"],
            "message": own["conv"],
            "lead_id": own["conv"],
            "stage": "conv",
            "address": own["conv"],
            "list_id": own["conv"],
            "review_id": own["merge_id"],
            "merge_id": own["review_id"],
            "anything": new_id("msg"),
            "phone_number": own["conv"],
            "outbound": own["conv"],
            "event_id": own["message"],
            "letter_id": own["event_id"],
            "rule_id": own["letter_id"],
            "run_id": own["rule_id"],
            "stage_id": own["call_id"],
            "call_id": own["stage_id"],
            "pull_query": own["sweep"],
            "sweep": own["pull_query"],
            "pull_page": own["sweep"],
            "import_id": own["run_id"],
            "step": "conv",
            "artifact_id": own["run_id"],
            "view_id": own["key_id"],
            "key_id": own["view_id"],
            "integration": own["endpoint"],
            "endpoint": own["integration"],
            "host": HOST,
        }
    for name in NAMES:
        for parameter in parameters_of(name):
            values = {p: own[p] for p in parameters_of(name)} | {parameter: wrong[parameter]}
            address = address_of(name, office.tenant.slug, values)
            if address is None:
                continue
            for method in ("get", "post"):
                answer = ask(client, method, address)
                if name in LOOK_UPS and answer.status_code == 200:
                    continue
                assert answer.status_code in (404, 405), (method, address, answer.status_code)


def every_page(slug, values):
    for name in NAMES:
        address = address_of(name, slug, {p: values[p] for p in parameters_of(name)})
        assert address is not None, name
        yield name, address


@pytest.mark.parametrize("slug", ["prairie", "nobody", "HARBOR", "har_bor", "platform"])
def test_tenants_of_others_do_not_exist(office, foreign, login, slug):
    client = login(office)
    for _, address in every_page(slug, {**foreign, "anything": foreign["message"]}):
        for method in ("get", "post"):
            answer = ask(client, method, address)
            assert answer.status_code in (404, 405), (method, address, answer.status_code)
            assert CANARY not in answer.content.decode()


def test_strangers_are_sent_to_log_in(office, own, client):
    for _, address in every_page(office.tenant.slug, own):
        for method in ("get", "post"):
            answer = ask(client, method, address)
            assert answer.status_code in (302, 401, 405), (method, address, answer.status_code)
            if answer.status_code == 302:
                assert answer["Location"].startswith("/login/?next="), address


def test_a_colleague_who_left_sees_nothing_any_more(office, own, login):
    client = login(office)
    with office.inside():
        office.agent.is_active = False
        office.agent.save()

    answer = client.get(f"/t/{office.tenant.slug}/inbox/initial_message/")

    assert answer.status_code == 404


def test_a_platform_visit_ends(office, own, login):
    client = login(office)
    with office.inside():
        office.agent.expires_at = timezone.now()
        office.agent.save()

    assert client.get(f"/t/{office.tenant.slug}/").status_code == 404


def test_foreign_ids_in_a_form_change_nothing(office, own, foreign, login, other_office):
    """Whatever field takes an id: a contact point, a number of ours, a person, a stage."""
    client = login(office)
    slug = office.tenant.slug
    fields = {
        "body": "Hello",
        "text": "Hello",
        "send_key": "k1",
        "contact_point": foreign["contact_point"],
        "contact_point_id": foreign["contact_point"],
        "phone_number": foreign["phone_number"],
        "phone_number_id": foreign["phone_number"],
        "to": foreign["actor"],
        "from": foreign["phone_number"],
        "actor": foreign["actor"],
        "tenant": other_office.tenant.pk,
        "base": foreign["message"],
        "base_message": foreign["message"],
        "lead": foreign["lead_id"],
        "conversation": foreign["conv"],
        "stage": foreign["stage"],
        "state": "suppressed",
        "address": FOREIGN_NUMBER,
        "token": "forged",
        "until": "forged",
        "next": "//evil.example/",
    }
    with other_office.inside():
        before = Message.objects.count(), OutboundMessage.objects.count()
    for name, address in every_page(slug, own):
        if name in (
            "lead-text",
            "assign",
            "stage",
            "state",
            "lead-state",
            "undo",
            "snooze",
            "assign-part",
            "stage-part",
            "state-part",
            "undo-part",
            "snooze-part",
        ):
            answer = client.post(address, fields)
            assert answer.status_code < 500, (address, answer.status_code)
            assert CANARY not in answer.content.decode(), address
            assert "evil.example" not in answer.get("Location", "")
    with other_office.inside():
        assert (Message.objects.count(), OutboundMessage.objects.count()) == before
    with office.inside():
        assert not OutboundMessage.objects.exists()
        conversation = Conversation.objects.get()
        assert (conversation.assigned_to_id, conversation.stage) == (None, "initial_message")
