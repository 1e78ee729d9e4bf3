"""Pages of vendor pulls: saved queries, estimates, sweeps, what the vendor said."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from integrations import pull_asking
from integrations.models import PullPage, PullQuery, PullSweep
from integrations.pull_estimates import count_query
from integrations.pulls import pull
from leads.models import Lead
from pipelines.models import DeadLetter
from tenants.context import database_now
from tenants.models import AuditEntry
from tests.integrations.pull_world import AT_FIRST, CRITERIA, make_pull_world
from tests.messaging.conftest import _carrier, carrier
from tests.messaging.pages import person, url

__all__ = ["_carrier", "carrier"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(committed_office, carrier, settings, tmp_path, monkeypatch):
    settings.FAIRLEAD_OBJECT_DIR = tmp_path
    monkeypatch.setattr(pull_asking, "PAUSE_S", 0.01)
    return make_pull_world(committed_office, carrier)


@pytest.fixture
def operator(world):
    return person(world.office, role="operator")[1]


def form(world, **values):
    return {
        "name": "Seniors of Hollywood",
        "integration": world.account.pk,
        "zips": "90028, 90038\n90028",
        "quick_lists": ["senior-owner"],
        "occupied": "yes",
        "min_equity": "$100,000",
        "cap": "1,250.50",
        "page_size": "100",
        "every_minutes": "60",
        "enabled": "1",
        "raw": '{"demographics": {"age": {"min": 62}}}',
        **values,
    }


def at(world, path=""):
    return url(world.office, f"pulls/{path}")


def text_of(client, address, **query):
    answer = client.get(address, query)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def test_without_a_vendor_the_list_says_what_to_do(office):
    _, client = person(office, role="operator")

    text = text_of(client, url(office, "pulls/"))

    assert "No vendor is connected" in text
    assert "New query" not in text


def test_a_query_is_saved_from_fields_and_json_and_comes_back_as_typed(world, operator):
    answer = operator.post(at(world, "new/"), form(world))

    with world.inside():
        row = PullQuery.objects.get()
        assert AuditEntry.objects.filter(action="pull_query.created").exists()
    assert answer.status_code == 302
    assert row.params["searchCriteria"] == {
        "address": {"zip": ["90028", "90038"]},
        "quickLists": ["owner-occupied", "senior-owner"],
        "valuation": {"equityCurrentEstimatedBalance": {"min": 100000}},
        "demographics": {"age": {"min": 62}},
    }
    assert (row.run_cap_cents, row.price_cents, row.every_minutes) == (125_050, 10, 60)
    page = text_of(operator, at(world, f"queries/{row.pk}/edit/"))
    assert "90028 90038" in page
    assert 'value="100,000"' in page
    assert "&quot;min&quot;: 62" in page
    sig = row.query_sig
    operator.post(at(world, f"queries/{row.pk}/edit/"), form(world, name="Renamed"))
    with world.inside():
        row.refresh_from_db()
    assert (row.name, row.query_sig) == ("Renamed", sig)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("zips", "9002", "no ZIP code"),
        ("state", "C4", "two letters"),
        ("raw", "{", "no JSON"),
        ("raw", "[]", "JSON object"),
        ("raw", '{"a": 1e999}', "too large"),
        ("raw", "[" * 9000, "no JSON"),
        ("raw", '{"a":' * 20 + "1" + "}" * 20, "nested"),
        ("raw", '{"a": "\\u0000"}', "cannot be kept"),
        ("min_equity", "-5", "no amount"),
        ("cap", "", "at most"),
        ("cap", "1e5", "no amount"),
        ("cap", "0", "from $0.01"),
        ("price", "999999", "price"),
        ("page_size", "9", "10 to 500"),
        ("page_size", "x", "whole numbers"),
        ("every_minutes", "1", "every 5 minutes"),
        ("next_run", "0001-01-01T00:00", "far away"),
        ("next_run", "soon", "no date"),
        ("integration", "intg_x", "Choose an account"),
        ("name", " ", "name"),
        ("name", "x" * 121, "name"),
    ],
)
def test_what_makes_no_query_is_refused_in_words(world, operator, field, value, words):
    answer = operator.post(at(world, "new/"), form(world, **{field: value}))

    assert answer.status_code == 422
    assert words in answer.content.decode()
    with world.inside():
        assert not PullQuery.objects.exists()


def test_a_query_for_everything_is_refused(world, operator):
    nothing = dict.fromkeys(("zips", "occupied", "min_equity", "raw"), "")

    answer = operator.post(at(world, "new/"), form(world, **nothing, quick_lists=[]))

    assert answer.status_code == 422
    assert "costs everything" in answer.content.decode()


def test_two_queries_that_ask_the_same_are_one_too_many(world, operator):
    operator.post(at(world, "new/"), form(world))

    answer = operator.post(at(world, "new/"), form(world, name="Again"))

    assert answer.status_code == 422
    assert "asks for exactly this already" in answer.content.decode()


def test_the_estimate_says_count_price_cap_and_what_is_known(world, operator):
    query = world.query(run_cap_cents=1000)
    page = at(world, f"queries/{query.pk}/")
    assert "Nobody counted it yet" in text_of(operator, page)

    assert operator.post(f"{page}count/").status_code == 302
    assert "The vendor counts" in text_of(operator, f"{page}estimate/part/")
    count_query(world.tenant_id, query.pk)
    text = text_of(operator, page)

    assert f">{AT_FIRST}<" in text
    assert "$50.70" in text
    assert "would stop it before it pays" in text
    assert "We know none of them yet" in text
    assert "hx-get" not in text_of(operator, f"{page}estimate/part/")
    assert world.invoice() == 0, "a count costs nothing"

    world.sweep(query, cap_cents=6000)
    world.insert(3)
    count_query(world.tenant_id, query.pk)
    text = text_of(operator, page)
    assert "about 3 would be new, at $0.10 each" in text
    assert "$0.30" in text


def test_a_vendor_that_cannot_count_is_quoted(world, operator):
    query = world.query(criteria={"nonsense": {"a": 1}})

    count_query(world.tenant_id, query.pk)

    assert "The vendor could not count it" in text_of(operator, at(world, f"queries/{query.pk}/"))


def test_a_sweep_is_run_paused_resumed_and_cancelled_with_reasons(world, operator):
    query = world.query(page_size=100)
    page = at(world, f"queries/{query.pk}/")

    run = operator.post(f"{page}run/", {"cap": "60"})
    with world.inside():
        sweep = PullSweep.objects.get()
    assert run.url == at(world, f"sweeps/{sweep.pk}/")
    assert sweep.cap_cents == 6000
    twice = operator.post(f"{page}run/", {"cap": ""})
    assert twice.status_code == 422
    act = at(world, f"sweeps/{sweep.pk}/act/")
    operator.post(act, {"do": "pause", "reason": " "})
    assert status(world, sweep) == ("open", "")
    operator.post(act, {"do": "pause", "reason": "too dear"})
    assert status(world, sweep) == ("paused", "person")
    assert pull(world.tenant_id, query.pk) is None
    assert "too dear" in text_of(operator, run.url)
    operator.post(act, {"do": "resume", "cap": "70"})
    assert status(world, sweep) == ("open", "")
    assert world.read(query).status == "closed"
    operator.post(act, {"do": "cancel", "reason": "late"})
    assert status(world, sweep) == ("closed", "")

    operator.post(f"{page}run/", {"full": "1"})
    with world.inside():
        second = PullSweep.objects.get(is_full=True)
    operator.post(at(world, f"sweeps/{second.pk}/act/"), {"do": "cancel", "reason": "changed"})
    assert status(world, second) == ("cancelled", "")
    with world.inside():
        reasons = set(AuditEntry.objects.exclude(reason="").values_list("reason", flat=True))
    assert {"too dear", "changed"} <= reasons


def status(world, sweep):
    with world.inside():
        row = PullSweep.objects.get(pk=sweep.pk)
    return row.status, row.pause_kind


def test_who_may_not_configure_may_look_and_not_spend(world):
    query = world.query()
    sweep = world.start(query)
    _, agent = person(world.office, role="agent", name="Ann Agent")

    assert "Run now" not in text_of(agent, at(world, f"queries/{query.pk}/"))
    assert "Cancel" not in text_of(agent, at(world, f"sweeps/{sweep.pk}/"))
    for path in (
        f"queries/{query.pk}/run/",
        f"queries/{query.pk}/count/",
        f"sweeps/{sweep.pk}/act/",
        "new/",
    ):
        assert agent.post(at(world, path)).status_code == 403


def test_a_sweeps_page_shows_its_pages_and_leads_lead_to_their_rows(world, operator):
    query = world.query(page_size=250)
    sweep = world.sweep(query)

    text = text_of(operator, at(world, f"sweeps/{sweep.pk}/"))
    assert text.count('<rect class="mark"') == sweep.pages + 1
    assert f"{AT_FIRST + 2:,} records listed" in text
    assert "hx-get" not in text_of(operator, at(world, f"sweeps/{sweep.pk}/part/"))
    with world.inside():
        lead = Lead.objects.filter(source="batchdata").order_by("?").first()
    answer = operator.get(url(world.office, f"leads/{lead.pk}/vendor-row/"), follow=True)
    row = answer.content.decode()
    assert answer.status_code == 200
    assert lead.source_id in row
    assert lead.address_line1.split()[0] in row
    assert f"leads/{lead.pk}/" in row


def test_a_running_sweep_is_polled_and_the_page_comes_anew_when_it_ends(world, operator):
    query = world.query()
    sweep = world.start(query)
    part = at(world, f"sweeps/{sweep.pk}/part/")
    assert 'hx-trigger="every 2s"' in text_of(operator, part, was="open")

    world.read(query)

    assert operator.get(part, {"was": "open"})["HX-Refresh"] == "true"
    for odd in ("x", "-1", "9" * 30, "\u00b2"):
        assert operator.get(part, {"before": odd}).status_code == 404


def test_the_calendar_says_what_runs_when_and_what_it_costs(world, operator):
    hourly = world.query(every_minutes=60)
    world.query(
        criteria={"query": "90038"},
        every_minutes=10_080,
        first_run_at=database_now() + timedelta(days=7),
    )
    count_query(world.tenant_id, hourly.pk)
    monday = timezone.localdate() + timedelta(days=7)

    text = text_of(operator, at(world, "calendar/"), week=str(monday))

    assert re.search(r"24 runs from <time [^>]*>12:\d\d AM<", text)
    assert "$50.70" in text
    assert "not counted" in text
    for odd in ("x", "9999-12-31", "0001-01-01", ""):
        assert "Week of" in text_of(operator, at(world, "calendar/"), week=odd)


def test_the_list_goes_on_page_by_page_and_counts_the_month(world, operator, monkeypatch):
    monkeypatch.setattr("messaging.views.pulls.PAGE", 2)
    rows = [world.query(criteria={"query": f"9000{n}"}) for n in range(3)]
    query = world.query()
    world.sweep(query)

    first = text_of(operator, at(world))
    after = re.search(r"after=(plq_\w+)", first)[1]
    second = text_of(operator, at(world), after=after)

    assert "$50.70" in first
    assert [row.name in second for row in rows] == [True, True, False]
    assert operator.get(at(world), {"after": "plq_x"}).status_code == 404


def test_letters_of_a_sweep_are_retried_by_a_person(world, operator):
    query = world.query(page_size=250)
    sweep = world.sweep(query)
    with world.inside():
        page = PullPage.objects.first()
        letter = DeadLetter.objects.create(
            stage="pull",
            ref=page.pk,
            subject="batchdata search",
            error_class="RecordRefused",
            error="1 of 250 records",
            fingerprint="f",
            correlation_id=PullSweep.objects.select_related("run").get().run.correlation_id,
        )
    assert "became no leads" in text_of(operator, at(world, f"sweeps/{sweep.pk}/"))

    answer = operator.post(at(world, f"failures/{letter.pk}/retry/"))

    assert answer.url == at(world, f"sweeps/{sweep.pk}/")
    with world.inside():
        letter.refresh_from_db()
    assert (letter.status, letter.retries) == ("resolved", 1)
    assert world.invoice() == world.ledger()
    assert operator.post(at(world, f"failures/{letter.pk}/retry/")).status_code == 302


def test_criteria_of_strangers_are_text(world, operator):
    query = world.query(criteria={**CRITERIA, "query": "<script>alert(1)</script>"})

    for path in (f"queries/{query.pk}/", f"queries/{query.pk}/edit/", ""):
        assert "<script>alert" not in text_of(operator, at(world, path))
    assert json.loads(json.dumps(query.params))
