"""What goes wrong between us and a vendor: nobody is paid twice, and no lead is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from integrations import waterfall
from integrations.actions_enrich import (
    EnrichmentRefused,
    cancel,
    resume,
    retry_failed,
    settle_unknown,
)
from integrations.ledger import Reserved, reserve
from integrations.models import (
    Enrichment,
    Integration,
    ProviderCircuit,
    VendorAnswer,
    VendorCall,
    WebhookEndpoint,
)
from integrations.waterfall_work import due, retry_letters
from leads.models import ContactPoint
from pipelines.incidents import look_at
from pipelines.models import DeadLetter, Incident, PipelineRun
from tenants.context import database_now, tenant_context
from tests.conftest import drain
from tests.integrations.waterfall_world import MOBILE

pytestmark = pytest.mark.django_db

MELISSA = "/v3/WEB/ContactVerify/doContactVerify"
TRACE = "/api/v3/property/skip-trace"


def results(world) -> list[str]:
    with world.inside():
        return list(VendorAnswer.objects.order_by("id").values_list("result", flat=True))


def incidents(world) -> set[str]:
    look_at(world.tenant_id)
    with world.inside():
        return set(Incident.objects.filter(closed_at=None).values_list("kind", flat=True))


# --- unknown ----------------------------------------------------------------------------------


@pytest.fixture
def unknown(world):
    """A lead of whose call nobody knows, though the vendor has done it and billed it."""
    world.only("melissa", "batchdata")
    world.change("batchdata", gate={})
    world.fault("500_after_accept", match={"path": MELISSA}, count=1)
    lead = world.lead(world.house(phones=[MOBILE]))
    world.enrich(lead)
    return lead


def test_an_unknown_call_is_not_repeated_and_the_dearer_stage_waits(world, unknown):
    assert (world.enrichment(unknown).state, results(world)) == ("held", ["unknown"])
    for _ in range(3):
        world.let_pass()
        world.work()

    assert (world.calls(), len(world.billed("melissa"))) == (1, 1)
    assert world.enrichment(unknown).state == "held"
    assert "unknown_calls" in incidents(world)


def test_another_lead_of_the_same_address_does_not_buy_what_is_unknown(world, unknown):
    with world.inside():
        unknown.refresh_from_db()
    twin = world.lead(unknown.address_line1, last_name=unknown.last_name, company="")

    world.enrich(twin)

    assert world.calls("melissa") == 1
    assert world.did(twin)["Melissa Personator"] == "unknown"


def test_a_person_says_it_was_billed(world, unknown):
    with world.inside():
        call = VendorCall.objects.get()
        settle_unknown(
            call.pk,
            was_billed=True,
            cost_cents=5,
            reason="on the invoice",
            actor_id=world.office.agent.pk,
        )
        with pytest.raises(EnrichmentRefused, match="settled this call already"):
            settle_unknown(call.pk, was_billed=False, cost_cents=0, reason="x", actor_id=None)
    world.work()

    [_, batchdata] = world.did(unknown).values()
    assert (world.calls("melissa"), batchdata) == (1, "hit")
    assert world.enrichment(unknown).state == "done"
    assert world.spent() == world.invoice() == world.enrichment(unknown).cost_cents
    assert "unknown_calls" not in incidents(world)


def test_a_person_says_it_was_not_billed_so_it_is_asked_again(world):
    world.only("melissa")
    world.fault("500", match={"path": MELISSA}, count=1)
    lead = world.lead()
    world.enrich(lead)
    with world.inside():
        settle_unknown(
            VendorCall.objects.get().pk,
            was_billed=False,
            cost_cents=0,
            reason="not on the invoice",
            actor_id=world.office.agent.pk,
        )

    world.work()

    assert (world.calls(), world.enrichment(lead).state) == (2, "done")
    assert world.spent() == world.invoice() == 5


def test_after_a_day_the_next_stage_goes_on_without_it(world, unknown, monkeypatch):
    monkeypatch.setattr("integrations.waterfall_record.FIND_OUT", timedelta(0))
    world.let_pass()
    world.work()

    assert world.did(unknown) == {"Melissa Personator": "unknown", "BatchData skip trace": "hit"}
    assert world.calls("melissa") == 1


def test_who_dies_between_reserving_and_recording_has_bought_nothing_twice(world):
    world.only("melissa")
    lead = world.lead()
    world.start(lead)
    [mine] = waterfall.claim(world.tenant_id, most=1)
    with tenant_context(world.tenant_id):
        buy = waterfall._turn(mine)
    assert isinstance(reserve(world.tenant_id, buy.purchase), Reserved)  # and then: kill -9

    assert world.work() == 0  # the lease still goes on
    world.let_pass()
    world.work()

    assert (results(world), world.calls(), world.invoice()) == (["unknown"], 1, 0)
    assert world.enrichment(lead).state == "held"


def test_an_answer_after_the_lease_counts_its_money_once(world):
    world.only("melissa")
    lead = world.lead()
    world.start(lead)
    [slow] = waterfall.claim(world.tenant_id, most=1)
    with tenant_context(world.tenant_id):
        buy = waterfall._turn(slow)
    bought = reserve(world.tenant_id, buy.purchase)
    reply = waterfall._ask(buy, bought.call_id)
    world.let_pass()
    world.work()  # somebody else takes it over
    assert results(world) == ["unknown"]

    assert waterfall._record(slow, bought.call_id, buy.ask, reply) is False

    assert results(world) == ["unknown", "hit"]
    assert world.spent() == world.invoice() == 5
    world.let_pass()
    world.work()
    assert (world.did(lead), world.calls()) == ({"Melissa Personator": "kept"}, 1)


# --- failures, the breaker, busy and poor vendors ---------------------------------------------


def closed_port(world, vendor="melissa"):
    """Let a vendor refuse connections: nothing is written, so nothing can be billed."""
    with world.inside():
        Integration.objects.filter(provider=vendor).update(base_url="http://127.0.0.1:9")


def reopen(world, vendor="melissa"):
    with world.inside():
        Integration.objects.filter(provider=vendor).update(
            base_url=str(world.client.base_url).rstrip("/")
        )


def test_twenty_failures_pause_the_account_keep_the_work_and_one_call_tries(world):
    world.only("melissa")
    closed_port(world)
    leads = [world.lead() for _ in range(24)]
    world.enrich(*leads)

    with world.inside():
        circuit = ProviderCircuit.objects.get()
        states = set(Enrichment.objects.values_list("state", flat=True))
    assert (circuit.state, circuit.failures, world.calls()) == ("open", 20, 20)
    assert states == {"queued", "held"}
    assert "vendor_circuit" in incidents(world)
    world.let_pass()
    with world.inside():
        Enrichment.objects.filter(state="queued").update(
            available_at=database_now() + timedelta(hours=1)
        )
    world.work()
    assert world.calls() == 21  # the probe alone
    with world.inside():
        assert ProviderCircuit.objects.get().state == "open"

    reopen(world)
    world.let_pass()
    for _ in range(3):
        world.work()
        world.let_pass()

    assert {world.enrichment(lead).state for lead in leads} == {"done"}
    assert "vendor_circuit" not in incidents(world)
    assert world.spent() == world.invoice() == 24 * 5


def test_a_busy_vendor_is_left_alone_as_long_as_it_says(world):
    world.only("batchdata")
    world.fault("429", match={"path": TRACE}, count=1, retry_after=40)
    first, second = world.lead(), world.lead()
    world.enrich(first, second)

    assert results(world) == ["refused"]
    with world.inside():
        circuit = ProviderCircuit.objects.get()
    assert (circuit.state, circuit.failures) == ("closed", 0)
    assert circuit.throttled_until > database_now() + timedelta(seconds=30)
    assert {world.enrichment(lead).state for lead in (first, second)} == {"queued"}
    world.let_pass()
    world.work()
    assert {world.enrichment(lead).state for lead in (first, second)} == {"done"}
    assert world.spent() == world.invoice()


def test_an_account_without_money_holds_its_stage(world):
    world.only("melissa")
    key = world.accounts["melissa"].api_key
    world.control("account", vendor="melissa", api_key=key, balance_cents=5)
    leads = [world.lead() for _ in range(3)]
    world.enrich(*leads)

    assert sorted(world.enrichment(lead).state for lead in leads) == ["done", "held", "held"]
    assert results(world).count("refused") == 1
    assert "vendor_circuit" in incidents(world)
    world.control("account", vendor="melissa", api_key=key, balance_cents=1000)
    world.let_pass()
    world.work()
    world.let_pass()
    world.work()
    assert {world.enrichment(lead).state for lead in leads} == {"done"}
    assert world.spent() == world.invoice() == 15


def test_a_key_that_is_refused_holds_the_stage_before_a_dearer_one_is_asked(world):
    world.only("batchdata", "melissa")
    with world.inside():
        account = Integration.objects.get(provider="batchdata")
        account.api_key = "expired"
        account.save()
    world.change("batchdata", gate={}, position=0)

    lead = world.lead()
    world.enrich(lead)

    assert world.enrichment(lead).state == "held"
    assert world.calls("melissa") == 0


# --- letters ----------------------------------------------------------------------------------


def dead(world):
    world.only("melissa")
    closed_port(world)
    lead = world.lead()
    world.start(lead)
    for _ in range(3):
        world.work()
        world.let_pass()
    assert world.enrichment(lead).state == "failed"
    return lead


def letter(world) -> DeadLetter:
    with world.inside():
        return DeadLetter.objects.get()


def let_retry(world):
    with world.inside():
        DeadLetter.objects.filter(status="open").update(
            retry_after=database_now() - timedelta(seconds=1)
        )


def test_a_letter_is_closed_by_work_that_was_done_and_by_nothing_else(world):
    lead = dead(world)
    assert (letter(world).stage, letter(world).status) == ("enrich", "open")
    assert letter(world).retry_after > database_now() + timedelta(minutes=3)
    let_retry(world)
    assert world.tenant_id in due()

    # The retry fails like the first time: one letter, more patience, no second enrichment.
    assert retry_letters(world.tenant_id) == 1
    assert letter(world).status == "retrying"
    for _ in range(3):
        world.work()
        world.let_pass()
    assert (letter(world).status, letter(world).retries) == ("open", 1)
    assert letter(world).retry_after > database_now() + timedelta(minutes=7)

    reopen(world)
    let_retry(world)
    world.work()
    assert (letter(world).status, world.enrichment(lead).state) == ("resolved", "done")
    with world.inside():
        assert Enrichment.objects.count() == 1


def test_a_letter_is_not_tried_again_for_ever(world):
    dead(world)
    with world.inside():
        DeadLetter.objects.update(retries=6)
    let_retry(world)
    for _ in range(4):
        world.work()
        world.let_pass()

    assert (letter(world).status, letter(world).retry_after) == ("open", None)


def test_a_person_tries_the_failed_ones_again(world):
    lead = dead(world)
    reopen(world)
    with world.inside():
        run = PipelineRun.objects.get(pipeline_name="waterfall")
        assert run.status == "completed"
        assert retry_failed(run.pk, actor_id=world.office.agent.pk) == 1
    world.work()

    assert (world.enrichment(lead).state, letter(world).status) == ("done", "resolved")


def test_an_error_of_our_own_harms_one_lead_and_buys_nothing_twice(world, monkeypatch):
    world.only("melissa")
    first, second = world.lead(), world.lead()
    real = waterfall.read

    def stumble(ask, answer, call_id):
        if ask.subject.last_name == first.last_name:
            raise ValueError("nobody foresaw this")
        return real(ask, answer, call_id)

    monkeypatch.setattr(waterfall, "read", stumble)
    world.enrich(first, second)
    assert [world.enrichment(one).state for one in (first, second)] == ["failed", "done"]
    assert "nobody foresaw this" in letter(world).error

    monkeypatch.setattr(waterfall, "read", real)
    let_retry(world)
    world.work()
    world.let_pass()
    assert world.enrichment(first).state == "held"  # nobody knows of its call
    assert (world.calls(), world.invoice()) == (2, 10)


# --- stopping ---------------------------------------------------------------------------------


def test_a_cancelled_run_buys_nothing_more_and_goes_on_where_it_stopped(world):
    world.only("melissa", "batchdata")
    world.change("batchdata", gate={}, daily_call_cap=0)
    first, second = world.lead(), world.lead()
    run_id = world.start(first, second)
    world.work()
    assert world.calls("melissa") == 2
    with world.inside():
        assert cancel(run_id, actor_id=world.office.agent.pk) == 2
        with pytest.raises(EnrichmentRefused):
            cancel(run_id, actor_id=None)
    world.change("batchdata", daily_call_cap=None)
    world.let_pass()
    assert (world.work(), world.calls("batchdata")) == (0, 0)

    with world.inside():
        assert resume(run_id, actor_id=world.office.agent.pk) == 2
    world.work()

    assert {world.enrichment(lead).state for lead in (first, second)} == {"done"}
    assert (world.calls("melissa"), world.calls("batchdata")) == (2, 2)
    with world.inside():
        assert PipelineRun.objects.get(pk=run_id).status == "completed"


def test_what_is_promised_is_still_taken_in_after_a_cancel(world):
    lead, run_id = parked(world)
    with world.inside():
        cancel(run_id, actor_id=world.office.agent.pk)
    world.control("hold", vendor="apollo", enabled=False)
    world.let_pass()
    world.work()

    assert world.enrichment(lead).state == "cancelled"
    assert results(world)[-1] != "pending"
    assert world.spent() == world.invoice()


# --- answers that come later ------------------------------------------------------------------


def parked(world, wait=True):
    world.only("apollo")
    world.change("apollo", gate={})
    world.control("facts", email="ada@acme.example", apollo=True, apollo_phone=True)
    if wait:
        world.control("hold", vendor="apollo", enabled=True)
    lead = world.lead(company="Acme", website="acme.example")
    with world.inside():
        ContactPoint.objects.create(lead=lead, kind="email", normalized="ada@acme.example")
    run_id = world.start(lead)
    world.work()
    return lead, run_id


def test_apollo_parks_and_a_poll_brings_the_phone(world):
    lead, _ = parked(world)
    assert (world.enrichment(lead).state, results(world)) == ("parked", ["pending"])
    assert world.work() == 0
    with world.inside():
        lead.refresh_from_db()
        assert (lead.title, lead.enrichment_status) == ("Owner", "parked")

    world.let_pass()
    world.work()
    assert world.enrichment(lead).state == "parked"
    world.control("hold", vendor="apollo", enabled=False)
    world.let_pass()
    world.work()

    assert (world.enrichment(lead).state, world.calls()) == ("done", 1)
    assert world.spent() == world.invoice() == 18
    with world.inside():
        assert ContactPoint.objects.filter(lead=lead, kind="phone").count() == 1


def hook(world, body) -> int:
    with world.inside():
        endpoint = WebhookEndpoint.objects.get(integration__provider="apollo")
        path = f"/hooks/apollo/{endpoint.token}/"
    return Client().post(path, body, content_type="application/json").status_code


def told(request_id, number="9165550199"):
    phone = {"raw_number": number, "sanitized_number": f"+1{number}", "type_cd": "mobile"}
    return {
        "request_id": int(request_id),
        "status": "success",
        "people": [{"id": "p1", "status": "success", "phone_numbers": [phone]}],
    }


def test_apollo_resumes_by_a_webhook_that_may_come_twice(world):
    lead, _ = parked(world)
    with world.inside():
        request_id = VendorAnswer.objects.get().request_id

    for _ in range(2):
        assert hook(world, told(request_id)) in (200, 202)
        drain()
    world.work()

    assert (world.enrichment(lead).state, world.calls()) == ("done", 1)
    assert results(world) == ["pending", "hit"]
    with world.inside():
        assert ContactPoint.objects.filter(lead=lead, normalized="+19165550199").count() == 1


def test_an_answer_to_nothing_that_was_asked_changes_nothing(world):
    lead, _ = parked(world)

    assert hook(world, told("424242")) in (200, 202)
    drain()

    assert (world.enrichment(lead).state, results(world)) == ("parked", ["pending"])
    with world.inside():
        assert not ContactPoint.objects.filter(normalized="+19165550199").exists()


def test_an_answer_that_never_comes_is_unknown_after_a_day(world, monkeypatch):
    lead, _ = parked(world)
    monkeypatch.setattr("integrations.waterfall.PATIENCE", timedelta(0))
    monkeypatch.setattr("integrations.waterfall_record.FIND_OUT", timedelta(0))
    world.let_pass()
    world.work()

    assert results(world) == ["pending", "unknown"]
    assert (world.enrichment(lead).state, world.calls()) == ("done", 1)
