from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.utils import timezone

from leads.actions import Choice, flag_wrong_number, move_lead, record_choice
from leads.models import LeadEvent
from messaging.actions.consent import opt_out
from messaging.models import Conversation, LiveEvent, Notification, PhoneNumber, StageMembership
from messaging.thread import weave
from tests.messaging.pages import client_of, fresh, make_thread, person, queries, say, url

pytestmark = pytest.mark.django_db


def page(office, conversation, client=None):
    client = client or client_of(office.agent)
    path = f"inbox/{conversation.stage}/c/{conversation.pk}/"
    return client.get(url(office, path)).content.decode()


def part(office, conversation, name, client=None):
    client = client or client_of(office.agent)
    return client.get(url(office, f"c/{conversation.pk}/{name}"))


def test_a_thread_shows_messages_and_moves_in_order(office):
    conversation = make_thread(office, "Maybe. What would you pay?", minutes=30)
    with office.inside():
        say(conversation, "It depends.", direction="out", actor=office.agent)

    text = page(office, conversation)

    order = [
        text.index(words) for words in ("Lead created", "Maybe. What would you pay?", "It depends.")
    ]
    assert text.index("Maybe. What would you pay?") < text.index("It depends.")
    assert len(order) == 3
    assert "Delivered" in text


def test_the_fragment_and_the_page_show_the_same_pane(office):
    conversation = make_thread(office)

    fragment = part(office, conversation, "thread/").content.decode()

    assert 'id="thread-pane"' in fragment
    assert 'id="context"' in fragment
    assert "What would you pay?" in fragment
    assert "<html" not in fragment


def test_text_of_a_lead_is_never_markup(office):
    conversation = make_thread(office, "<script>alert(1)</script>", name="<b>Bo</b> Ld")

    text = page(office, conversation)

    assert "<script>alert" not in text
    assert "<b>Bo</b>" not in text


def test_older_messages_come_page_by_page(office):
    conversation = make_thread(office)
    with office.inside():
        for number in range(120):
            say(conversation, f"text {number}", at=timezone.now() + timedelta(seconds=number))
    client, seen = client_of(office.agent), []
    text = page(office, conversation, client)

    while True:
        seen = [int(n) for n in re.findall(r">text (\d+)<", text)] + seen
        more = re.search(r'id="older".*?hx-get="([^"]+)"', text, re.DOTALL)
        if not more:
            break
        text = client.get(unescape(more[1])).content.decode()

    assert seen == list(range(120))


def test_news_are_appended_once_and_the_cursor_moves_on(office):
    conversation = make_thread(office)
    client = client_of(office.agent)
    first = page(office, conversation, client)
    address = unescape(re.search(r'id="thread-live" hx-get="([^"]+)"', first)[1])
    with office.inside():
        say(conversation, "Are you there?")

    news = client.get(address).content.decode()
    address = unescape(re.search(r'id="thread-live" hx-get="([^"]+)"', news)[1])

    assert "Are you there?" in news
    assert "beforeend:" in news
    assert "Are you there?" not in client.get(address).content.decode()


def test_news_never_replace_a_composer_in_use(office):
    conversation = make_thread(office)
    client = client_of(office.agent)
    address = unescape(
        re.search(r'id="thread-live" hx-get="([^"]+)"', page(office, conversation, client))[1]
    )
    with office.inside():
        say(conversation, "Hello?")

    news = client.get(address).content.decode()

    assert "<textarea" not in news
    assert 'id="base-message"' in news


def test_stop_while_typing_swaps_the_composer_for_the_banner(office):
    conversation = make_thread(office)
    client = client_of(office.agent)
    address = unescape(
        re.search(r'id="thread-live" hx-get="([^"]+)"', page(office, conversation, client))[1]
    )
    with office.inside():
        opt_out(Choice(address=conversation.their_number, kind="opt_out", keyword="STOP"))

    news = client.get(address).content.decode()

    assert "data-optout-banner" in news
    assert "data-draft-copy" in news
    assert 'id="composer"' not in news


def test_an_opted_out_number_has_no_composer_at_all(office):
    conversation = make_thread(office)
    with office.inside():
        opt_out(
            Choice(
                address=conversation.their_number,
                kind="opt_out",
                source="texting",
                keyword="STOP",
            )
        )

    text = page(office, conversation)

    assert 'id="composer"' not in text
    assert 'role="status" data-optout-banner' in text
    assert "by text “STOP”" in text
    assert f"optouts/{conversation.their_number}/" in text


def test_a_wrong_number_is_not_texted(office):
    conversation = make_thread(office)
    with office.inside():
        flag_wrong_number(conversation.lead_id, address=conversation.their_number)

    text = page(office, conversation)

    assert 'id="composer"' not in text
    assert "not the lead" in text


def test_a_retired_number_of_ours_sends_no_more(office):
    conversation = make_thread(office)
    with office.inside():
        PhoneNumber.objects.filter(pk=office.number.pk).update(status="retired")

    assert 'id="composer"' not in page(office, conversation)


def test_a_hold_asks_a_person_to_decide_and_leaves_the_composer(office):
    conversation = make_thread(office, "take me off your list")
    with office.inside():
        record_choice(Choice(address=conversation.their_number, kind="hold"))

    text = page(office, conversation)

    assert "Did they refuse?" in text
    assert 'id="composer"' in text


def test_an_observer_reads_and_has_no_composer(office):
    conversation = make_thread(office)
    _, observer = person(office, role="observer")

    text = page(office, conversation, observer)

    assert "What would you pay?" in text
    assert 'id="composer"' not in text
    assert 'id="done"' not in text
    assert "You watch Initial Message" in text


def test_an_agent_watches_the_stages_they_do_not_work(office):
    conversation = make_thread(office)
    with office.inside():
        StageMembership.objects.filter(actor=office.agent).update(role="observer")

    assert 'id="composer"' not in page(office, conversation)
    answer = client_of(office.agent).post(url(office, f"c/{conversation.pk}/done/"))
    assert answer.status_code == 403
    assert b"You watch Initial Message" in answer.content


def test_an_answer_within_a_day_goes_at_any_hour_a_later_one_waits_for_the_morning(
    office, monkeypatch
):
    night = timezone.now().replace(hour=8, minute=0)  # 3 or 4 in the morning in New York
    conversation = make_thread(office)
    with office.inside():
        Conversation.objects.filter(pk=conversation.pk).update(
            last_inbound_at=night - timedelta(hours=2)
        )
    monkeypatch.setattr("messaging.views.gate.timezone.now", lambda: night)
    assert "Send at" not in page(office, conversation)

    with office.inside():
        Conversation.objects.filter(pk=conversation.pk).update(
            last_inbound_at=night - timedelta(days=2)
        )
    assert "Send at 8:00 AM (lead time)" in page(office, conversation)


def test_a_draft_is_kept_and_comes_back_to_its_author_only(office):
    conversation = make_thread(office)
    client = client_of(office.agent)
    address = url(office, f"c/{conversation.pk}/draft/")

    put = client.put(address, "body=half+a+tho", content_type="application/x-www-form-urlencoded")
    _, other = person(office)

    assert put.status_code == 204
    assert ">half a tho</textarea>" in page(office, conversation, client)
    assert "half a tho" not in page(office, conversation, other)
    client.post(address, {"body": ""})
    assert "half a tho" not in page(office, conversation, client)


def test_looking_changes_nothing_seeing_clears_my_unread_only(office):
    other, _ = person(office)
    conversation = make_thread(office, unread_for=office.agent)
    with office.inside():
        Notification.objects.create(
            actor=other, conversation=conversation, stage=conversation.stage
        )
    client = client_of(office.agent)
    page(office, conversation, client)
    with office.inside():
        assert Notification.objects.filter(read_at=None).count() == 2

    answer = client.post(url(office, f"c/{conversation.pk}/seen/part/"))

    with office.inside():
        left = Notification.objects.get(read_at=None)
        told = LiveEvent.objects.filter(kind="bell").values_list("actor", flat=True)
        assert list(told) == [office.agent.pk]
    assert left.actor_id == other.pk
    assert fresh(office, conversation).waiting_since == conversation.waiting_since
    assert 'id="cnt-initial_message" class="badge" data-count="0"' in answer.content.decode()


def test_mark_unread_is_for_me_and_stays_one_row(office):
    conversation = make_thread(office)
    client = client_of(office.agent)

    for _ in range(2):
        client.post(url(office, f"c/{conversation.pk}/unread/"))

    with office.inside():
        assert Notification.objects.get().actor_id == office.agent.pk


def test_the_fragments_of_a_thread_are_cheap(office):
    conversation = make_thread(office)
    client = client_of(office.agent)
    address = unescape(
        re.search(r'id="thread-live" hx-get="([^"]+)"', page(office, conversation, client))[1]
    )
    door = 5

    with queries() as opened:
        part(office, conversation, "thread/", client)
    with queries() as news:
        client.get(address)

    assert len(opened) - door <= 5
    assert len(news) - door <= 5


@pytest.mark.parametrize("name", ["thread/", "since/start/", "older/?before=x", "older/"])
def test_a_thread_of_another_tenant_or_kind_is_not_found(office, other_office, name):
    foreign = make_thread(other_office)

    for conv in (foreign.pk, foreign.lead_id, "conv_x", "x"):
        answer = client_of(office.agent).get(url(office, f"c/{conv}/{name}"))
        assert answer.status_code == 404


def test_events_of_one_moment_stand_in_the_order_they_happened(office):
    conversation = make_thread(office)
    with office.inside():
        move_lead(conversation.lead_id, to="touched")
        move_lead(conversation.lead_id, to="responded")
        move_lead(conversation.lead_id, to="high_intent")
        events = list(LeadEvent.objects.filter(lead=conversation.lead_id).order_by("-seq"))
        for event in events:
            event.at = events[0].at

        items = weave([], events)

    assert [item.event.to_state for item in items][-3:] == ["touched", "responded", "high_intent"]
