"""The page of scores: figures, the rule with its preview, versions, progress."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from leads import scoring
from leads.actions import create_lead
from leads.models import ScoreRule
from leads.score_figures import figures
from leads.scoring import Draft, score_leads
from pipelines.models import PipelineRun
from tenants.models import AuditEntry
from tests.leads.test_scoring import point, proved
from tests.messaging.pages import person, url

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(office):
    return person(office, "operator")[1]


@pytest.fixture
def scored(office):
    with office.inside():
        good, poor = create_lead(owner_occupied=True), create_lead()
        proved(point(good, "email"))
        proved(point(good, "phone", line_type="mobile"))
        score_leads([good.pk, poor.pk])
    return office


def form(**changes) -> dict:
    return asdict(Draft()) | {"based_on": 1, "reason": "Phones answer"} | changes


def test_the_page_shows_how_leads_are_spread(scored, operator):
    html = operator.get(url(scored, "scores/")).content.decode()

    assert "80 to 89: 1 leads" in html
    assert "Verified e-mail" in html
    assert "50% of 2" in html
    assert "The rule every account starts with" in html


def test_an_empty_account_is_told_what_to_do(office, operator):
    html = operator.get(url(office, "scores/")).content.decode()

    assert "No lead has a score yet" in html
    assert "Score all leads anew" in html


def test_figures_add_up(scored):
    with scored.inside():
        found = figures()

    assert found.leads == 2
    assert found.bands == {"contactable": 1, "enriched": 0, "low": 1}
    email = found.parts[0]
    assert (email.earned, email.refused, email.unknown) == (1, 0, 1)
    assert {part.earned + part.refused + part.unknown for part in found.parts} == {2}


def test_a_preview_writes_nothing_and_names_the_moves(scored, operator):
    answer = operator.get(url(scored, "scores/preview/part/"), form(contactable_from=90))
    html = answer.content.decode()

    assert "1 lead would change band" in html
    assert "<td>Contactable</td><td>Enriched</td>" in html
    with scored.inside():
        assert ScoreRule.objects.count() == 1


def test_a_preview_works_without_javascript(scored, operator):
    html = operator.get(url(scored, "scores/"), form(contactable_from=90)).content.decode()

    assert "1 lead would change band" in html
    assert 'value="90"' in html


@pytest.mark.parametrize(
    "change",
    [
        {"email": "x"}, {"email": ""}, {"email": "1" * 40}, {"email": "-5"}, {"email": "\0"},
        {"email": "٣"}, {"email": "99"}, {"contactable_from": "30"}, {"value_min": "9999999999"},
    ],
)  # fmt: skip
def test_nonsense_is_answered_with_words(scored, operator, change):
    for path in ("scores/", "scores/preview/part/"):
        answer = operator.get(url(scored, path), form(**change))
        assert answer.status_code == 200
        assert 'class="late"' in answer.content.decode()
    saved = operator.post(url(scored, "scores/save/"), form(**change), follow=True)
    assert "Nothing was saved" in saved.content.decode()
    with scored.inside():
        assert ScoreRule.objects.count() == 1


def test_saving_puts_a_version_in_force_and_begins_to_score(scored, operator):
    html = operator.post(
        url(scored, "scores/save/"), form(email=30, phone=40), follow=True
    ).content.decode()

    assert "Version 2 is in force" in html
    assert "Phones answer" in html
    with scored.inside():
        assert ScoreRule.objects.get(version=2).actor.name == "Dana Other"
        assert PipelineRun.objects.get(pipeline_name="rescore").status == "running"
        assert AuditEntry.objects.filter(action="score_rule.changed").count() == 1


@pytest.mark.parametrize("based_on", ["0", "7", "x", "", "9" * 30])
def test_a_form_that_is_too_old_saves_nothing(scored, operator, based_on):
    html = operator.post(
        url(scored, "scores/save/"), form(email=30, based_on=based_on), follow=True
    ).content.decode()

    assert "Nothing was saved" in html


def test_agents_look_and_do_not_change(scored, login):
    agent = login(scored)
    html = agent.get(url(scored, "scores/")).content.decode()

    assert "Put in force" not in html
    assert agent.post(url(scored, "scores/save/"), form(email=30)).status_code == 403
    assert agent.post(url(scored, "scores/rescore/"), {"do": "begin"}).status_code == 403


def test_scoring_all_is_begun_watched_and_stopped(scored, operator):
    operator.post(url(scored, "scores/rescore/"), {"do": "begin"})
    part = operator.get(url(scored, "scores/progress/part/")).content.decode()
    assert "Running" in part
    assert "0 of 2 leads" in part
    assert "hx-get" in part
    operator.post(url(scored, "scores/rescore/"), {"do": "stop"})

    part = operator.get(url(scored, "scores/progress/part/")).content.decode()
    assert "Cancelled" in part
    assert "hx-get" not in part
    html = operator.post(url(scored, "scores/rescore/"), {"do": "stop"}, follow=True)
    assert "It had ended already" in html.content.decode()


def test_the_page_asks_the_database_a_fixed_number_of_times(
    scored, operator, django_assert_max_num_queries
):
    with scored.inside():
        scoring.begin_rescore()
    with django_assert_max_num_queries(18):
        operator.get(url(scored, "scores/"))
