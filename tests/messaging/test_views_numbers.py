"""Pages: numbers with their health, and the queue of unknown sends."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from leads.actions import Choice, record_choice
from messaging.actions.unknowns import decide_unknown
from messaging.health import pacific_day
from messaging.models import Brand, BrandDay, OutboundMessage, PhoneNumber
from messaging.outcomes import Outcome, give_up_unknown, record_outcome
from messaging.sender import claim
from tenants.models import AuditEntry
from tests.conftest import THEIRS
from tests.messaging.pages import client_of, person, queries, url
from tests.messaging.test_number_health import end

pytestmark = pytest.mark.django_db


@pytest.fixture
def agent(desk):
    return client_of(desk.agent)


@pytest.fixture
def operator(desk):
    return person(desk, role="operator")[1]


def text_of(client, office, path, **query):
    answer = client.get(url(office, path), query)
    assert answer.status_code == 200, answer.content
    return re.sub(r"\s+", " ", answer.content.decode())


def unknown(office, queue, body="Hi there", theirs=THEIRS):
    outbound = queue(office, body, theirs=theirs)
    claim(office.tenant.pk, most=50)
    with office.inside():
        record_outcome(
            outbound.pk,
            1,
            Outcome(kind="ambiguous", source="call", detail="cut off", may_repeat=True),
        )
    return outbound


def given_up(office, queue, **more):
    outbound = unknown(office, queue, **more)
    with office.inside():
        OutboundMessage.objects.filter(pk=outbound.pk).update(
            claimed_at=timezone.now() - timedelta(hours=25)
        )
    give_up_unknown(office.tenant.pk)
    return outbound


def number_path(office, verb=""):
    return f"numbers/{office.number.pk}/{verb}"


# --- numbers ----------------------------------------------------------------------------------


def test_the_list_shows_caps_rates_and_status(desk, agent, queue):
    end(desk, queue, "delivered", 3)
    end(desk, queue, "undelivered", 1, "30007")
    with desk.inside():
        brand = Brand.objects.create(name="Harbor Homes", daily_segment_cap=2000)
        BrandDay.objects.create(brand=brand, day=pacific_day(), used=4, cap=2000)
        PhoneNumber.objects.update(brand=brand)

    text = text_of(agent, desk, "numbers/")

    assert "4 of 1000 texts" in text
    assert "4 of 2000 segments" in text
    assert "Harbor Homes" in text
    assert re.search(r'data-label="Delivered"> <span class="nowrap"><span>75%</span>.*?75%', text)
    late = '<span class="nowrap"><span class="late">25%</span>'
    assert f'data-label="Filtered"> {late}' in text
    assert re.search(r"Sent a day, oldest first: 0, 0, 0, 0, 0, 0, 4", text)
    assert "4 of 2,000 texts today" in text


def test_a_number_without_a_past_has_rates_of_nothing(desk, agent):
    text = text_of(agent, desk, "numbers/")

    assert re.search(r'data-label="Failed"> <span class="nowrap"><span>\u2013</span>', text)


def test_the_page_of_a_number_shows_days_codes_and_what_waits(desk, agent, queue):
    end(desk, queue, "undelivered", 2, "30007")
    end(desk, queue, "failed", 1, "99999")
    queue(desk, "This one waits")

    text = text_of(agent, desk, number_path(desk))

    assert re.search(r"30007</td><td class=\"num\">2</td>.*?filtered it as spam", text)
    assert re.search(r"99999</td><td class=\"num\">1</td>.*?Not known to us", text)
    assert "This one waits" in text
    assert "<button" in text
    assert ">Rest<" not in text  # an agent changes nothing


def test_an_operator_rests_and_wakes_a_number_with_a_reason(desk, operator):
    text = text_of(operator, desk, number_path(desk))
    assert "Let it rest" in text

    operator.post(url(desk, number_path(desk, "rest/")), {"reason": "Carrier asked", "hours": "48"})
    text = text_of(operator, desk, number_path(desk))
    assert "Carrier asked" in text
    assert "Wake it" in text
    listed = text_of(operator, desk, "numbers/")
    assert "Carrier asked, until" in listed

    operator.post(url(desk, number_path(desk, "wake/")), {"reason": "Sorted out"})
    with desk.inside():
        assert PhoneNumber.objects.get().status == "active"
        told = AuditEntry.objects.filter(action__startswith="phone_number.").order_by("id")
        assert list(told.values_list("action", "reason")) == [
            ("phone_number.rested", "Carrier asked"),
            ("phone_number.woken", "Sorted out"),
        ]


@pytest.mark.parametrize(
    "form",
    [
        {"reason": "", "hours": "24"},
        {"reason": "x", "hours": ""},
        {"reason": "x", "hours": "0"},
        {"reason": "x", "hours": "721"},
        {"reason": "x", "hours": "-1"},
        {"reason": "x", "hours": "\u0664"},
    ],
)
def test_a_form_that_says_too_little_changes_nothing(desk, operator, form):
    answer = operator.post(url(desk, number_path(desk, "rest/")), form)

    assert answer.status_code == 302
    with desk.inside():
        number = PhoneNumber.objects.get()
        if form["hours"] == "\u0664":  # a four, in Arabic
            assert number.status == "resting"
        else:
            assert number.status == "active"


@pytest.mark.parametrize("role", ["observer", "agent"])
def test_only_who_may_configure_rests_a_number(desk, role):
    _, client = person(desk, role=role)
    for verb in ("rest/", "wake/"):
        answer = client.post(url(desk, number_path(desk, verb)), {"reason": "x", "hours": "1"})
        assert answer.status_code == 403
    with desk.inside():
        assert PhoneNumber.objects.get().status == "active"


def test_numbers_go_on_page_by_page_and_cost_the_same(desk, agent):
    def add(first, last):
        with desk.inside():
            PhoneNumber.objects.bulk_create(
                PhoneNumber(number=f"+1303555{n:04d}", integration=desk.integration)
                for n in range(first, last)
            )

    add(0, 2)
    with queries() as few:
        text_of(agent, desk, "numbers/")
    add(2, 60)
    with queries() as many:
        first = text_of(agent, desk, "numbers/")

    assert len(many) == len(few) <= 12, many
    after = re.search(r"after=([^\"]+)\"", first)[1]
    second = text_of(agent, desk, f"numbers/?after={after}")
    shown = re.findall(r"numbers/(wphone_\w+)/", first + second)
    assert len(shown) == len(set(shown)) == 61


# --- unknown sends ----------------------------------------------------------------------------


def test_the_queue_shows_what_was_tried_and_what_comes_next(desk, operator, queue):
    unknown(desk, queue, "Young and in doubt")
    given_up(desk, queue, body="Given up", theirs="+12025550199")

    young = text_of(operator, desk, "sends/unknown/", tab="asked")
    assert "Young and in doubt" in young
    assert "cut off" in young
    assert "Asked again with the same key" in young
    assert "A person decides from" in young
    assert "Given up" not in young

    old = text_of(operator, desk, "sends/unknown/")
    assert "Given up" in old
    assert "Nobody could tell within a day" in old
    assert "Young and in doubt" not in old


@pytest.mark.parametrize(
    ("decision", "state"), [("arrived", "sent"), ("lost", "failed"), ("resend", "queued")]
)
def test_an_operator_decides(desk, operator, queue, decision, state):
    outbound = given_up(desk, queue)

    answer = operator.post(
        url(desk, f"sends/unknown/{outbound.pk}/decide/"),
        {"decision": decision, "reason": "The carrier's log"},
    )

    assert answer.status_code == 302
    with desk.inside():
        outbound.refresh_from_db()
        assert outbound.state == state
        assert AuditEntry.objects.get(action__startswith="send.").reason == "The carrier's log"
    assert "Nothing to decide." in text_of(operator, desk, "sends/unknown/")


@pytest.mark.parametrize(
    "form", [{"decision": "resend"}, {"decision": "x", "reason": "y"}, {"reason": "y"}]
)
def test_a_decision_that_says_too_little_changes_nothing(desk, operator, queue, form):
    outbound = given_up(desk, queue)

    answer = operator.post(url(desk, f"sends/unknown/{outbound.pk}/decide/"), form, follow=True)

    assert "Nothing was changed." in answer.content.decode()
    with desk.inside():
        outbound.refresh_from_db()
        assert (outbound.state, outbound.decided_at) == ("failed", None)


def test_who_opted_out_is_not_sent_to_again_and_the_page_says_so(desk, operator, queue):
    outbound = given_up(desk, queue)
    with desk.inside():
        record_choice(Choice(address=THEIRS, kind="opt_out"))

    answer = operator.post(
        url(desk, f"sends/unknown/{outbound.pk}/decide/"),
        {"decision": "resend", "reason": "x"},
        follow=True,
    )

    assert "This number opted out." in answer.content.decode()


def test_agents_read_the_queue_and_decide_nothing(desk, agent, queue):
    outbound = given_up(desk, queue)

    assert "It arrived" not in text_of(agent, desk, "sends/unknown/")
    answer = agent.post(
        url(desk, f"sends/unknown/{outbound.pk}/decide/"), {"decision": "lost", "reason": "x"}
    )
    assert answer.status_code == 403


def test_texts_that_went_out_twice_are_shown(desk, operator, queue):
    outbound = given_up(desk, queue, body="Twice on a handset")
    with desk.inside():
        decide_unknown(outbound.pk, decision="resend", reason="x", actor_id=desk.agent.pk)
    claim(desk.tenant.pk, most=5)
    with desk.inside():
        for attempt in (2, 1):
            told = Outcome(kind="accepted", source="callback", provider_id=f"SM{attempt}")
            record_outcome(outbound.pk, attempt, told)

    text = text_of(operator, desk, "sends/unknown/")

    assert re.search(r"Went out twice.*Twice on a handset", text)


def test_the_queue_goes_on_page_by_page_and_costs_the_same(desk, operator, queue):
    for n in range(2):
        unknown(desk, queue, f"doubt {n:02d}", theirs=f"+1202555{n:04d}")
    with queries() as few:
        text_of(operator, desk, "sends/unknown/", tab="asked")
    for n in range(2, 55):
        unknown(desk, queue, f"doubt {n:02d}", theirs=f"+1202555{n:04d}")
    with queries() as many:
        first = text_of(operator, desk, "sends/unknown/", tab="asked")

    assert len(many) == len(few) <= 12, many
    after = re.search(r"after=([^\"]+)\"", first)[1].replace("%2B", "+").replace("%3A", ":")
    second = text_of(operator, desk, "sends/unknown/", tab="asked", after=after)
    shown = re.findall(r"doubt \d\d", first) + re.findall(r"doubt \d\d", second)
    assert len(shown) == len(set(shown)) == 55


@pytest.mark.parametrize("after", ["x", "~", "2026-01-01", "2026-01-01~obm_x"])
def test_an_odd_page_is_the_first_one(desk, operator, queue, after):
    given_up(desk, queue)
    assert "Hi there" in text_of(operator, desk, "sends/unknown/", after=after)
