from __future__ import annotations

import re
from datetime import timedelta
from itertools import count, pairwise

import pytest
from django.utils import timezone

from messaging.models import Conversation, LiveEvent
from tests.messaging.pages import client_of, make_thread, person, queries, url

pytestmark = pytest.mark.django_db

INBOX = "inbox/initial_message/"
LINES = count(2_020_000_000)
#: What stands before every page: session, user, memberships, tenant, actor.
DOOR = 5


def names(answer) -> list[str]:
    return re.findall(r'class="row__name">([^<]*)<', answer.content.decode())


def attribute(answer, pattern: str) -> str:
    return re.search(pattern, answer.content.decode())[1].replace("&amp;", "&")


def fill(office, number: int) -> None:
    """Add *number* waiting conversations of one lead."""
    first = make_thread(office)
    start = timezone.now() - timedelta(days=2)
    with office.inside():
        Conversation.objects.bulk_create(
            Conversation(
                lead=first.lead,
                phone_number=office.number,
                our_number=office.number.number,
                their_number=f"+1{next(LINES):010d}",
                stage="initial_message",
                waiting_since=start + timedelta(seconds=row),
                last_message_at=start + timedelta(seconds=row),
                last_snippet="Hello",
            )
            for row in range(number)
        )


def test_who_waits_longest_stands_first_and_high_intent_before_all(office):
    make_thread(office, name="Long Wait", minutes=300)
    make_thread(office, name="Short Wait", minutes=3)
    make_thread(office, name="Hot Lead", minutes=1, band=0)

    answer = client_of(office.agent).get(url(office, INBOX))

    assert names(answer) == ["Hot Lead", "Long Wait", "Short Wait"]


def test_each_tab_shows_its_own(office):
    make_thread(office, name="Waits")
    make_thread(office, name="Mine", waiting_since=None, assigned_to=office.agent)
    make_thread(office, name="Asleep", status="snoozed")
    make_thread(office, name="Finished", status="done", waiting_since=None)
    make_thread(office, name="Elsewhere", stage="nudger")
    client = client_of(office.agent)

    shown = {
        tab: set(names(client.get(url(office, f"{INBOX}?tab={tab}"))))
        for tab in ("waiting", "mine", "snoozed", "done", "all")
    }

    assert shown == {
        "waiting": {"Waits"},
        "mine": {"Mine"},
        "snoozed": {"Asleep"},
        "done": {"Finished"},
        "all": {"Waits", "Mine", "Asleep", "Finished"},
    }


def test_pages_follow_each_other_without_gap_or_double(office):
    fill(office, 120)
    client = client_of(office.agent)
    address, seen = url(office, INBOX), []

    while address:
        answer = client.get(address)
        seen += re.findall(r'id="row-(conv_\w+)"', answer.content.decode())
        more = re.search(r'id="rows-more".*?href="([^"]+)"', answer.content.decode(), re.DOTALL)
        address = more[1].replace("&amp;", "&") if more else ""

    with office.inside():
        expected = list(
            Conversation.objects.order_by("band", "waiting_since", "id").values_list(
                "pk", flat=True
            )
        )
    assert seen == expected


@pytest.mark.parametrize("after", ["x", "0~1~lead_01ARZ3NDEKTSV4RRFFQ69G5FAV", "~~~", "9" * 400])
def test_a_page_key_that_makes_no_sense_starts_anew(office, after):
    make_thread(office, name="Marisol Ortega")

    answer = client_of(office.agent).get(url(office, INBOX), {"after": after})

    assert answer.status_code == 200
    assert names(answer) == ["Marisol Ortega"]


def test_search_finds_by_name_and_by_the_end_of_a_number(office):
    wanted = make_thread(office, name="Priya Raman")
    make_thread(office, name="Dwayne Whitfield")
    client = client_of(office.agent)

    by_name = client.get(url(office, INBOX), {"tab": "all", "q": "raman"})
    by_number = client.get(url(office, INBOX), {"tab": "all", "q": wanted.their_number[-4:]})

    assert names(by_name) == names(by_number) == ["Priya Raman"]


def test_an_empty_list_says_so_and_where_to_look(office):
    answer = client_of(office.agent).get(url(office, INBOX)).content.decode()

    assert "Nobody is waiting in Initial." in answer
    assert "?tab=snoozed" in answer


@pytest.mark.parametrize(
    "path", ["inbox/nowhere/", "inbox/initial_message/?tab=x", "inbox/initial_message/?sort=x"]
)
def test_what_does_not_exist_is_not_found(office, path):
    assert client_of(office.agent).get(url(office, path)).status_code == 404


def test_another_tenants_inbox_is_not_found(office, other_office):
    make_thread(other_office)

    answer = client_of(office.agent).get(url(other_office, INBOX))

    assert answer.status_code == 404
    assert b"Marisol" not in answer.content


def test_strangers_log_in_first_and_fragments_say_401(office, client):
    page = client.get(url(office, INBOX))
    fragment = client.get(url(office, INBOX + "rows/"), headers={"HX-Request": "true"})

    assert page.status_code == 302
    assert page.url.startswith("/login/")
    assert fragment.status_code == 401


def test_an_inbox_costs_the_same_at_ten_and_at_a_thousand_rows(office):
    client, costs = client_of(office.agent), []
    for number in (10, 990):
        fill(office, number)
        thread = make_thread(office, unread_for=office.agent)
        with queries() as page:
            assert client.get(url(office, f"{INBOX}c/{thread.pk}/")).status_code == 200
        with queries() as part:
            assert client.get(url(office, f"{INBOX}rows/")).status_code == 200
        with queries() as news:
            client.get(url(office, f"{INBOX}changes/?since=0"))
        costs.append((len(page), len(part), len(news)))

    assert costs[0] == costs[1]
    page, part, news = costs[0]
    assert page <= 12
    assert part - DOOR <= 5
    assert news - DOOR <= 5


def test_no_list_counts_everything_or_skips_rows(office):
    thread = make_thread(office)
    client = client_of(office.agent)

    with queries() as collected:
        for path in (INBOX, f"{INBOX}c/{thread.pk}/", f"{INBOX}changes/", "leads/", "optouts/"):
            client.get(url(office, path))

    assert not [sql for sql in collected if "OFFSET" in sql or "SELECT DISTINCT" in sql]
    assert not [sql for sql in collected if "COUNT(*)" in sql and "LIMIT" not in sql]


# --- changes -----------------------------------------------------------------------------------


@pytest.fixture
def watcher(office):
    """A page that shows the list: call it for what changed since it last asked."""
    client = client_of(office.agent)
    first = client.get(url(office, INBOX))
    state = {
        "url": attribute(first, r'id="list-live" hx-get="([^"]+)"'),
        "rows": re.findall(r'name="r" value="(\w+)"', first.content.decode()),
    }

    def ask() -> str:
        answer = client.get(state["url"] + "".join(f"&r={row}" for row in state["rows"]))
        assert answer.status_code == 200
        state["url"] = attribute(answer, r'id="list-live" hx-get="([^"]+)"')
        text = answer.content.decode()
        added = text.partition("beforeend:#rows")[2].partition("</ul>")[0]
        state["rows"] += re.findall(r'name="r" value="(\w+)"', added)
        return text

    return ask


def touch(office, conversation, stage="initial_message"):
    with office.inside():
        LiveEvent.objects.create(
            tenant_id=office.tenant.pk, kind="conv", stage=stage, conversation=conversation.pk
        )


def test_a_response_that_belongs_at_the_end_is_appended(office, watcher):
    late = make_thread(office, name="Came Last", minutes=0)
    touch(office, late)

    news = watcher()

    assert 'hx-swap-oob="beforeend:#rows"' in news
    assert "Came Last" in news
    assert 'hx-swap-oob="delete"' in news  # the sentence that nobody waits
    assert "Came Last" not in watcher().partition("beforeend")[2]


def test_a_response_that_belongs_above_waits_in_the_pill(office):
    make_thread(office, name="First", minutes=60)
    client = client_of(office.agent)
    first = client.get(url(office, INBOX))
    shown = re.findall(r'name="r" value="(\w+)"', first.content.decode())
    address = attribute(first, r'id="list-live" hx-get="([^"]+)"')
    hot = make_thread(office, name="Hot", minutes=0, band=0)
    touch(office, hot)

    news = client.get(f"{address}&r={shown[0]}").content.decode()

    assert "1 new response<" in news
    assert "beforeend:#rows" not in news
    again = re.search(r'id="list-live" hx-get="([^"]+)"', news)[1].replace("&amp;", "&")
    touch(office, hot)
    assert "1 new response<" in client.get(f"{again}&r={shown[0]}").content.decode()


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"status": "done", "waiting_since": None}, "Done"),
        ({"status": "snoozed"}, "Snoozed"),
        ({"waiting_since": None}, "Answered"),
        ({"stage": "retarget"}, "Retarget"),
    ],
)
def test_a_row_that_left_stays_in_place_and_says_why(office, fields, word):
    conversation = make_thread(office)
    client = client_of(office.agent)
    first = client.get(url(office, INBOX))
    address = attribute(first, r'id="list-live" hx-get="([^"]+)"')
    with office.inside():
        Conversation.objects.filter(pk=conversation.pk).update(**fields)
    touch(office, conversation)

    news = client.get(f"{address}&r={conversation.pk[-12:]}").content.decode()

    assert "row--gone" in news
    assert f'chip--outline">{word}<' in news


def test_unread_is_mine_and_waiting_is_ours(office):
    make_thread(office, unread_for=office.agent)
    _, other = person(office)

    mine = client_of(office.agent).get(url(office, INBOX)).content.decode()
    theirs = other.get(url(office, INBOX)).content.decode()

    assert 'id="cnt-initial_message" class="badge" data-count="1"' in mine
    assert 'id="cnt-initial_message" class="badge" data-count="0"' in theirs
    assert "row--unread" in mine
    assert "row--unread" not in theirs
    assert 'id="count-waiting">1<' in mine
    assert 'id="count-waiting">1<' in theirs


def test_sorting_by_newest_reverses_the_queue(office):
    for minutes in (30, 20, 10):
        make_thread(office, name=f"Waits {minutes}", minutes=minutes)

    answer = client_of(office.agent).get(url(office, INBOX), {"sort": "newest"})

    minutes = [int(name.split()[1]) for name in names(answer)]
    assert all(one < other for one, other in pairwise(minutes))


def test_nothing_on_a_page_needs_an_exception_from_the_policy(office):
    thread = make_thread(office)

    for path in ("", INBOX, f"{INBOX}c/{thread.pk}/", "leads/", "optouts/", "account/"):
        answer = client_of(office.agent).get(url(office, path))
        text = answer.content.decode()
        assert answer.status_code == 200
        assert not re.search(r'\sstyle="|<style|\son\w+="|hx-on|javascript:', text), path
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), path
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
