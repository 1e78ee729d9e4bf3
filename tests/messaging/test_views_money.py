"""Pages about money: figures, stages with their what-if, runs, unknown calls."""

from __future__ import annotations

import re
from datetime import timedelta

import httpx
import pytest

from integrations.models import Enrichment, SpendCounter, VendorAnswer, WaterfallStage
from integrations.sandbox.server import running
from pipelines.models import PipelineRun
from tenants.models import AuditEntry
from tests.integrations.waterfall_world import MOBILE, make_world
from tests.messaging.pages import client_of, person, queries, url

pytestmark = pytest.mark.django_db

MELISSA = "/v3/WEB/ContactVerify/doContactVerify"


@pytest.fixture(scope="module")
def _vendors():
    with running() as base, httpx.Client(base_url=base, trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture
def world(office, _vendors):
    _vendors.post("/_control/reset")
    return make_world(office, _vendors)


@pytest.fixture
def operator(office):
    return person(office, role="operator")[1]


@pytest.fixture
def agent(office):
    return client_of(office.agent)


def text_of(client, office, path, **query) -> str:
    answer = client.get(url(office, path), query)
    assert answer.status_code == 200, answer.content
    return re.sub(r"\s+", " ", answer.content.decode())


def post(client, office, path, **data):
    return client.post(url(office, path), data)


@pytest.mark.parametrize(
    "path", ["money/", "money/stages/", "money/unknown/", "money/start/", "money/stages/add/"]
)
def test_an_empty_tenant_is_told_what_to_do_next(office, operator, path):
    assert re.search(r"[Nn]o |Nothing|None|Of every|New stage", text_of(operator, office, path))


def test_the_money_page_says_what_was_spent_and_saved(world, office, agent):
    leads = [world.lead(world.house(phones=[MOBILE])) for _ in range(2)]
    world.enrich(*leads)
    world.enrich(*leads)

    page = text_of(agent, office, "money/")

    spent = f"${world.invoice() / 100:,.2f}"
    assert page.count(spent) >= 2  # the figure, and the chart's words
    assert "Show table" in page
    assert '<rect class="series series--1"' in page
    saved = re.search(
        r"Saved by kept answers</span><span class=\"figure__value\">\$([0-9.]+)", page
    )
    assert float(saved[1]) > 0
    assert "Melissa Personator" in text_of(agent, office, "money/", by="stage", days="7")


@pytest.mark.parametrize("query", [{"days": "9" * 40}, {"days": "x"}, {"by": "\x00"}])
def test_odd_questions_get_the_usual_answer(office, agent, query):
    assert agent.get(url(office, "money/"), query).status_code == 200


def test_the_page_needs_no_more_queries_for_more_days(world, office, agent):
    with world.inside():
        for n in range(20):
            SpendCounter.objects.create(
                scope="provider:melissa",
                period="day",
                starts=world.day() - timedelta(days=n),
                calls=1,
                cents=5,
            )
    agent.get(url(office, "money/"))
    with queries() as few:
        text_of(agent, office, "money/", days="7")
    with queries() as many:
        text_of(agent, office, "money/", days="90")
    assert len(many) == len(few) < 60


# --- stages -----------------------------------------------------------------------------------


def form(stage, **changed):
    return {
        "name": stage.name,
        "buys": f"{stage.integration_id}:{stage.service}",
        "price": f"{stage.price_cents / 100:.2f}",
        "fresh_days": stage.fresh_days,
        "cool_down_days": stage.cool_down_days,
        "without": stage.gate.get("without", []),
        "with": stage.gate.get("with", []),
        "wanted_lines": stage.wanted_lines,
        "enabled": "1",
        **changed,
    }


def test_the_usual_stages_are_added_once(world, office, operator):
    with world.inside():
        names = list(WaterfallStage.objects.order_by("position").values_list("name", flat=True))
    post(operator, office, "money/stages/act/", do="seed")

    with world.inside():
        again = list(WaterfallStage.objects.order_by("position").values_list("name", flat=True))
    assert names == again
    assert names[0] == "Melissa Personator"
    assert not world.stage("apollo").enabled


def test_a_stage_is_saved_and_the_log_says_who(world, office, operator):
    stage = world.stage("batchdata")

    answer = post(
        operator,
        office,
        f"money/stages/{stage.pk}/",
        **form(stage, price="0.12", daily_call_cap="500", score_below="50", bands=["low"]),
    )

    assert answer.status_code == 302
    stage = world.stage("batchdata")
    assert (stage.price_cents, stage.daily_call_cap) == (12, 500)
    assert stage.gate == {"without": ["mobile", "email"], "bands": ["low"], "score_below": 50}
    with world.inside():
        entry = AuditEntry.objects.get(action="waterfall_stage.changed")
    assert (entry.before["price_cents"], entry.after["price_cents"]) == (15, 12)


@pytest.mark.parametrize(
    "odd",
    [
        {"price": ""},
        {"price": "-1"},
        {"price": "1e9"},
        {"price": "0.123"},
        {"price": "٣"},
        {"score_below": "101"},
        {"score_below": "9" * 30},
        {"without": ["shoe size"]},
        {"bands": ["gold"]},
        {"wanted_lines": ["pager"]},
        {"buys": "intg_x:y"},
        {"buys": ""},
        {"name": ""},
        {"name": "x" * 81},
        {"name": "Verify e-mail"},
        {"daily_call_cap": "many"},
        {"fresh_days": "99999"},
        {"most": "11"},
    ],
)
def test_an_odd_stage_is_refused_in_words(world, office, operator, odd):
    stage = world.stage("batchdata")

    answer = post(operator, office, f"money/stages/{stage.pk}/", **form(stage, **odd))

    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode()
    assert world.stage("batchdata").updated_at == stage.updated_at


def test_a_new_stage_goes_to_the_end(world, office, operator):
    account = world.accounts["batchdata"]
    answer = post(
        operator,
        office,
        "money/stages/add/",
        name="Do-not-call check",
        buys=f"{account.pk}:phone_dnc",
        price="0.01",
        fresh_days="30",
        cool_down_days="0",
    )

    assert answer.status_code == 302
    with world.inside():
        made = WaterfallStage.objects.order_by("-position").first()
    assert (made.name, made.kind, made.enabled) == ("Do-not-call check", "verify_phone", False)


def test_a_stage_moves_up(world, office, operator):
    post(operator, office, "money/stages/act/", do="up", stage=world.stage("batchdata").pk)

    with world.inside():
        first = WaterfallStage.objects.select_related("integration").order_by("position").first()
    assert first.integration.provider == "batchdata"


def test_the_bar_and_the_caps_are_saved(world, office, operator):
    post(operator, office, "money/stages/act/", do="bar", bar="70")
    post(operator, office, "money/stages/act/", do="caps", day_cents="12.50", month_cents="")

    with world.inside():
        office.tenant.refresh_from_db()
    assert office.tenant.settings["waterfall"]["stop_at"] == 70
    assert office.tenant.settings["spend_caps"] == {"day_cents": 1250}
    page = text_of(operator, office, "money/stages/")
    assert 'value="70"' in page
    assert 'value="12.50"' in page


def test_a_what_if_tells_what_a_gate_had_saved_and_saves_nothing(world, office, operator):
    world.change("batchdata", gate={})
    leads = [world.lead(world.house(phones=[MOBILE])) for _ in range(3)]
    world.enrich(*leads)
    assert world.calls("batchdata") == 3
    stage = world.stage("batchdata")
    path = f"money/stages/{stage.pk}/what-if/"

    same = post(operator, office, path, **form(stage)).content.decode()
    closed = post(operator, office, path, **form(stage, **{"with": ["apn"]})).content.decode()

    def runs(page):
        cells = re.search(
            r"BatchData skip trace</th><td class=\"num\">(\d+)</td><td class=\"num\">(\d+)", page
        )
        return int(cells[1]), int(cells[2])

    assert runs(same) == (3, 3)
    assert runs(closed) == (0, 3)
    assert world.stage("batchdata").gate == {}
    assert "notice" in post(operator, office, path, **form(stage, price="x")).content.decode()


# --- starting, runs, unknown calls ------------------------------------------------------------


def test_a_lead_is_enriched_after_its_price_was_shown(world, office, operator):
    world.only("melissa", "batchdata")
    lead = world.lead()
    page = text_of(operator, office, "money/start/", lead=lead.pk)
    assert "At most $0.20" in page

    answer = post(operator, office, "money/start/go/", lead=[lead.pk], expected="1")

    with world.inside():
        run = PipelineRun.objects.get(pipeline_name="waterfall")
    assert answer["Location"].endswith(f"/money/runs/{run.pk}/")
    world.work()
    page = text_of(operator, office, f"money/runs/{run.pk}/")
    assert "Completed" in page
    assert f"${world.invoice() / 100:.2f}" in page
    assert "Melissa Personator" in text_of(operator, office, f"money/runs/{run.pk}/part/")


def test_another_number_than_was_shown_starts_nothing(world, office, operator):
    lead = world.lead()

    post(operator, office, "money/start/go/", lead=[lead.pk], expected="2")

    with world.inside():
        assert not Enrichment.objects.exists()


def test_leads_of_others_and_nonsense_are_left_out(world, office, other_office, operator):
    theirs = other_office.lead()
    for odd in (theirs.pk, "lead_x", "\x00", "actor_01J", "9" * 500):
        assert "None of these leads can go" in text_of(operator, office, "money/start/", lead=odd)
    post(operator, office, "money/start/go/", lead=[theirs.pk], expected="1")
    with other_office.inside():
        assert not Enrichment.objects.exists()


def test_a_run_is_cancelled_and_goes_on(world, office, operator):
    world.only("melissa")
    run_id = world.start(world.lead(), world.lead())

    post(operator, office, f"money/runs/{run_id}/act/", do="cancel")
    assert "Cancelled" in text_of(operator, office, f"money/runs/{run_id}/")
    post(operator, office, f"money/runs/{run_id}/act/", do="resume")
    world.work()

    assert "Completed" in text_of(operator, office, f"money/runs/{run_id}/")
    assert world.calls() == 2


def test_an_unknown_call_is_settled_by_a_person(world, office, operator):
    world.only("melissa")
    world.fault("500_after_accept", match={"path": MELISSA}, count=1)
    lead = world.lead()
    world.enrich(lead)
    page = text_of(operator, office, "money/unknown/")
    call = re.search(r"strace_[0-9A-Z]{26}", page)[0]

    post(operator, office, f"money/unknown/{call}/settle/", billed="yes", reason=" ")
    with world.inside():
        assert VendorAnswer.objects.count() == 1
    post(operator, office, f"money/unknown/{call}/settle/", billed="yes", reason="invoice 12")
    post(operator, office, f"money/unknown/{call}/settle/", billed="no", reason="twice")

    assert "Of every paid call" in text_of(operator, office, "money/unknown/")
    assert world.spent() == world.invoice() == 5


def test_agents_look_and_do_not_spend(world, office, agent):
    stage, lead = world.stage("melissa"), world.lead()
    run_id = world.start(lead)
    for path, data in (
        ("money/start/go/", {"lead": [lead.pk]}),
        (f"money/runs/{run_id}/act/", {"do": "cancel"}),
        ("money/stages/act/", {"do": "seed"}),
        (f"money/stages/{stage.pk}/", form(stage)),
        ("money/stages/add/", form(stage)),
    ):
        assert post(agent, office, path, **data).status_code == 403, path
    for path in ("money/", "money/stages/", f"money/stages/{stage.pk}/", f"money/runs/{run_id}/"):
        assert agent.get(url(office, path)).status_code == 200


def test_a_stranger_name_is_shown_as_text(world, office, operator):
    world.only("melissa")
    world.change("melissa", name="<script>alert(1)</script>")
    lead = world.lead(full_name="<img src=x onerror=alert(1)>")
    run_id = world.start(lead)
    world.work()

    for path in ("money/", "money/stages/", f"money/runs/{run_id}/", "money/start/"):
        page = operator.get(url(office, path), {"lead": lead.pk, "by": "stage"}).content.decode()
        assert "<script>alert" not in page
        assert "<img src=x" not in page
