"""The pages of duplicates and merges, as people get them."""

from __future__ import annotations

import re

import pytest

from leads.actions import create_lead
from leads.duplicates import counts
from leads.merging import merge
from leads.models import ContactPoint, Lead, Merge, MergeReview
from leads.pairs import propose
from messaging.models import OutboundMessage
from pipelines.models import PipelineRun
from tenants.models import AuditEntry
from tests.messaging.pages import client_of, person, url

pytestmark = pytest.mark.django_db

PHONE, OTHER = "+12025550142", "+12025550143"


@pytest.fixture
def operator(office):
    return person(office, role="operator")[1]


@pytest.fixture
def pair(office):
    with office.inside():
        left = create_lead(phone=PHONE, full_name="Ann Lee", company="One")
        right = create_lead(phone=OTHER, full_name="Anne Lee", company="Two", title="CEO")
        reasons = [{"field": "phone", "agrees": True, "points": 35, "text": "Both have a dog"}]
        review = propose(left.pk, right.pk, score=80, reasons=reasons, source="finder")
    return left.pk, right.pk, review


def text_of(answer):
    return re.sub(r"\s+", " ", answer.content.decode())


def many(office, scores):
    with office.inside():
        for score in scores:
            a, b = create_lead().pk, create_lead().pk
            propose(a, b, score=score, reasons=[], source="finder")


def test_the_queue_shows_the_surest_first_and_goes_on_page_by_page(office, operator):
    many(office, [66 + n % 30 for n in range(60)])
    first = operator.get(url(office, "duplicates/"))
    shown = re.findall(r"(\d+) of 100</span>", first.content.decode())
    after = re.search(r"after=([\w.]+)", first.content.decode())[1]
    second = operator.get(url(office, "duplicates/"), {"after": after})
    rest = re.findall(r"(\d+) of 100</span>", second.content.decode())

    assert len(shown) == 50
    assert [*shown, *rest] == sorted((str(66 + n % 30) for n in range(60)), reverse=True)


def test_an_empty_queue_says_what_to_do(office, operator):
    text = text_of(operator.get(url(office, "duplicates/")))

    assert "No pair to look at." in text
    assert "Look through all leads" in text


@pytest.mark.parametrize("after", ["x", "80", "80.x", "999.mrv_x", "\x00", "80.mrv_\x00"])
def test_a_place_in_the_queue_that_is_none_is_no_error(office, operator, after):
    assert operator.get(url(office, "duplicates/"), {"after": after}).status_code in (200, 404)


@pytest.mark.parametrize(("review", "automatic"), [(65, 85), (70, 90), (25, 25), (100, 100)])
def test_the_preview_counts_what_the_queue_then_shows(office, operator, review, automatic):
    many(office, [24, 25, 60, 65, 70, 85, 90, 99, 100])
    values = {"review": review, "automatic": automatic}
    preview = text_of(operator.get(url(office, "duplicates/preview/part/"), values))
    admin = person(office, role="tenant_admin", name="Tara")[1]
    assert admin.post(url(office, "duplicates/thresholds/"), values).status_code == 302
    queue = operator.get(url(office, "duplicates/")).content.decode()

    shown = len(re.findall(r" of 100</span>", queue))
    with office.inside():
        assert counts(review, automatic)["review"] == shown
    assert f"{shown} open pair" in preview


@pytest.mark.parametrize(
    "values", [{}, {"review": "x", "automatic": "9"}, {"review": "9" * 40, "automatic": "²"}]
)
def test_odd_thresholds_are_refused_in_words(office, operator, values):
    preview = operator.get(url(office, "duplicates/preview/part/"), values)
    saved = operator.post(url(office, "duplicates/thresholds/"), values)

    assert (preview.status_code, saved.status_code) == (200, 422)
    assert "whole numbers" in text_of(preview)
    assert "whole numbers" in text_of(saved)


def test_looking_is_begun_once_and_stopped(office, operator):
    for _ in range(2):
        operator.post(url(office, "duplicates/look/"), {"do": "whole"})
    with office.inside():
        run = PipelineRun.objects.get(pipeline_name="find_duplicates")
    assert "Looking: 0 of" in text_of(operator.get(url(office, "duplicates/")))
    operator.post(url(office, "duplicates/look/"), {"do": "stop"})

    with office.inside():
        run.refresh_from_db()
        assert run.status == "cancelled"


def test_a_pair_stands_side_by_side_with_what_would_stay(office, operator, pair):
    left, right, review = pair
    page = text_of(operator.get(url(office, f"duplicates/{review}/")))

    assert "Both have a dog" in page
    assert re.search(rf'name="field.company" value="{left}" checked', page)
    assert re.search(rf'name="field.title" value="{right}" checked', page)
    assert "nothing known" in page


def test_what_was_chosen_is_merged_and_the_next_pair_shown(office, operator, pair):
    left, right, review = pair
    many(office, [70])
    with office.inside():
        following = MergeReview.objects.exclude(pk=review).get().pk
    answer = operator.post(
        url(office, f"duplicates/{review}/decide/"),
        {"do": "merge", "survivor": right, "field.company": left, "reason": "same"},
    )

    assert answer.url == url(office, f"duplicates/{following}/")
    with office.inside():
        survivor = Lead.objects.get(pk=right)
        assert (survivor.company, survivor.full_name) == ("One", "Anne Lee")
        assert Merge.objects.get().reason == "same"
        assert MergeReview.objects.get(pk=review).status == "merged"
        assert AuditEntry.objects.filter(action="review.merge").exists()
    assert operator.get(url(office, f"leads/{left}/")).url == url(office, f"leads/{right}/")
    again = operator.post(url(office, f"duplicates/{review}/decide/"), {"do": "merge"})
    assert again.status_code == 422
    assert "decided already" in text_of(again)
    assert "They are one lead by now" in text_of(again)


@pytest.mark.parametrize(
    ("do", "status"), [("not_duplicate", "not_duplicate"), ("drop", "dropped"), ("later", "open")]
)
def test_other_answers(office, operator, pair, do, status):
    *_, review = pair
    answer = operator.post(url(office, f"duplicates/{review}/decide/"), {"do": do})

    assert answer.url == url(office, "duplicates/")
    with office.inside():
        assert MergeReview.objects.get().status == status


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"do": "x"},
        {"do": "merge", "survivor": "lead_x"},
        {"do": "merge", "field.company": "\x00"},
        {"do": "merge", "field.state": "x"},
    ],
)
def test_nonsense_is_refused_in_words(office, operator, pair, values):
    *_, review = pair
    answer = operator.post(url(office, f"duplicates/{review}/decide/"), values)

    assert answer.status_code == 422
    with office.inside():
        assert not Merge.objects.exists()


def test_a_waiting_record_asks_whose_it_is(office, operator, pair):
    left, right, review = pair
    with office.inside():
        record = {"source": "upload", "fields": {"age": 70}, "points": []}
        propose(left, right, score=80, reasons=[], source="import", incoming=record)
    page = text_of(operator.get(url(office, f"duplicates/{review}/")))
    assert "1 record fits both" in page
    refused = operator.post(url(office, f"duplicates/{review}/decide/"), {"do": "not_duplicate"})
    assert "A record waits" in text_of(refused)
    operator.post(
        url(office, f"duplicates/{review}/decide/"), {"do": "not_duplicate", "give_to": right}
    )

    with office.inside():
        assert Lead.objects.get(age=70).pk == right


def test_two_are_merged_by_hand_and_taken_apart_on_the_leads_page(office, operator):
    with office.inside():
        left = create_lead(phone=PHONE, full_name="Ann Lee").pk
        right = create_lead(phone=OTHER, full_name="Bob Ray").pk
    base = url(office, "duplicates/merge/")
    found = text_of(operator.get(base, {"lead": left, "q": "(202) 555-0143"}))
    assert f"with={right}" in found
    assert right in text_of(operator.get(base, {"q": right}))
    assert "No other lead has that." in text_of(operator.get(base, {"q": "\x00nobody"}))
    assert "What stays" in text_of(operator.get(base, {"lead": left, "with": right}))
    answer = operator.post(url(office, "duplicates/merge/do/"), {"left": left, "right": right})
    assert answer.url == url(office, f"leads/{left}/")
    history = text_of(operator.get(url(office, f"duplicates/of/{left}/part/")))
    assert "Bob Ray is part of this lead" in history
    with office.inside():
        one = Merge.objects.get().pk
    operator.post(url(office, f"duplicates/merges/{one}/undo/"))

    with office.inside():
        assert Lead.objects.filter(superseded_at=None).count() == 2
    assert "was part of" in text_of(operator.get(url(office, f"duplicates/of/{left}/part/")))


def test_the_same_lead_twice_is_refused(office, operator):
    with office.inside():
        one = create_lead(phone=PHONE).pk
    page = operator.get(url(office, "duplicates/merge/"), {"lead": one, "with": one})
    answer = operator.post(url(office, "duplicates/merge/do/"), {"left": one, "right": one})

    assert "Choose two different leads" in text_of(page)
    assert answer.status_code == 422


def test_agents_look_and_operators_decide(office, pair):
    left, _, review = pair
    agent = client_of(office.agent)
    with office.inside():
        other = create_lead().pk
        one = merge(left, other).pk

    assert agent.get(url(office, "duplicates/")).status_code == 200
    page = text_of(agent.get(url(office, f"duplicates/{review}/")))
    assert "Not a duplicate" not in page
    for path in (
        f"duplicates/{review}/decide/",
        f"duplicates/merges/{one}/undo/",
        "duplicates/merge/do/",
        "duplicates/look/",
        "duplicates/thresholds/",
    ):
        assert agent.post(url(office, path), {"do": "merge"}).status_code == 403, path


def test_a_first_text_tells_who_shares_the_number_and_asks_before_the_second(office):
    agent = client_of(office.agent)
    with office.inside():
        jane = create_lead(phone=PHONE, full_name="Jane Ray").pk
        bob = create_lead(phone=PHONE, full_name="Bob Ray").pk
        points = dict(ContactPoint.objects.values_list("lead_id", "pk"))
    page = re.sub(r"<[^>]+>", "", text_of(agent.get(url(office, f"leads/{jane}/"))))
    assert "Bob Ray also has this number" in page

    def send(lead, **more):
        values = {"to": points[lead], "number": office.number.pk, "body": "Hi"}
        key = {"send_key": f"key-{lead[-8:]}-{len(more)}"}
        return agent.post(url(office, f"leads/{lead}/text/"), {**values, **key, **more})

    assert send(jane).status_code == 302
    refused = send(bob)
    assert refused.status_code == 422
    assert "Somebody else with this number was texted" in text_of(refused)
    assert 'name="override"' in text_of(refused)
    assert send(bob, override="household").status_code == 302
    with office.inside():
        assert OutboundMessage.objects.count() == 2
