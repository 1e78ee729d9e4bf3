"""Reading and answering in real browsers: nothing typed is lost, nothing is sent twice."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Page, expect

from leads.models import Lead
from messaging.models import Conversation, Draft, Message, OutboundMessage
from messaging.segments import count
from tenants.context import tenant_context
from tests.browser.test_bell import TEXT, patience, wait_for

#: Text, and what it is sent as: encoding, units, segments.
VECTORS = [
    ("a" * 160, "GSM-7", 160, 1),
    ("a" * 161, "GSM-7", 161, 2),
    ("a" * 306, "GSM-7", 306, 2),
    ("a" * 307, "GSM-7", 307, 3),
    ("{" * 80, "GSM-7", 160, 1),
    ("{" * 81, "GSM-7", 162, 2),
    ("é", "GSM-7", 1, 1),
    ("“", "UCS-2", 1, 1),
    ("a" * 69 + "😀", "UCS-2", 71, 2),
    ("a" * 68 + "😀", "UCS-2", 70, 1),
    ("a" * 152 + "€" * 5, "GSM-7", 162, 2),
]


def field(page: Page):
    return page.locator("#reply-body")


def stored(world, conversation: Conversation) -> Conversation:
    with tenant_context(world.tenant.pk):
        return Conversation.objects.get(pk=conversation.pk)


def sent(world, conversation: Conversation) -> list[str]:
    with tenant_context(world.tenant.pk):
        rows = OutboundMessage.objects.filter(conversation=conversation).order_by("id")
        return list(rows.values_list("body", flat=True))


def test_b08_text_caret_and_focus_survive_ten_arrivals(world, agent):
    conversation = world.conversation()
    others = [world.conversation() for _ in range(10)]
    page = agent(world.people["ann"], world.inbox(conversation=conversation))
    field(page).click()
    page.keyboard.type("hello")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")

    for other in others:
        world.inbound(other, TEXT)
    world.inbound(conversation, TEXT)

    expect(page.locator("#msgs .msg--in").last).to_contain_text(TEXT)
    expect(page.locator("#cnt-nudger")).to_have_attribute("data-count", "10")
    state = page.evaluate(
        "(({id, value, selectionStart, selectionEnd}) =>"
        " [id, value, selectionStart, selectionEnd])(document.activeElement)"
    )
    assert state == ["reply-body", "hello", 3, 3]


@pytest.mark.parametrize("top", [0, 200])
def test_b09_new_rows_do_not_move_the_list(world, agent, top):
    for place in range(14):
        world.conversation(waiting=timedelta(minutes=30 - place))
    page = agent(world.people["ann"], world.inbox())
    page.evaluate("(top) => { document.querySelector('.inbox__scroll').scrollTop = top }", top)
    first = """() => {
        const box = document.querySelector(".inbox__scroll").getBoundingClientRect();
        const row = [...document.querySelectorAll("#rows .row")]
            .find((row) => row.getBoundingClientRect().bottom > box.top);
        return [row.id, Math.round(row.getBoundingClientRect().top)];
    }"""
    before = page.evaluate(first)

    for hot in (False, False, True):  # high intent belongs at the top
        world.inbound(world.conversation(waiting=None), "Call me please" if hot else TEXT)
    expect(page.locator("#cnt-nudger")).to_have_attribute("data-count", "3")
    expect(page.locator("#new-pill")).to_be_visible()

    assert page.evaluate(first) == before


def test_b10_j_j_enter_opens_the_third_row_and_esc_returns_to_it(world, agent):
    conversations = [world.conversation(waiting=timedelta(minutes=9 - n)) for n in range(4)]
    page = agent(world.people["ann"], world.inbox())

    for key in ("j", "j", "Enter"):
        page.keyboard.press(key)

    third = conversations[2]
    expect(page.locator("#thread-pane")).to_have_attribute("data-conversation", third.pk)
    expect(page).to_have_url(re.compile(third.pk))
    expect(page.locator("#thread :focus, #thread-pane:focus")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(f"#open-{third.pk}")).to_be_focused()

    page.keyboard.press("k")
    page.keyboard.press("o")
    expect(page.locator("#thread-pane")).to_have_attribute("data-conversation", conversations[1].pk)


def test_b11_a_reader_is_not_moved_and_the_end_stays_pinned(world, agent):
    conversation = world.conversation()
    for number in range(30):
        world.write(conversation, f"Message number {number} of many")
    page = agent(world.people["ann"], world.inbox(conversation=conversation))
    place = "Math.round(document.getElementById('msgs-scroll').scrollTop)"
    from_end = (
        "(({scrollHeight, scrollTop, clientHeight}) =>"
        " Math.round(scrollHeight - scrollTop - clientHeight))"
        "(document.getElementById('msgs-scroll'))"
    )
    assert page.evaluate(from_end) <= 1

    world.inbound(conversation, "First of two")
    expect(page.locator("#msgs .msg--in").last).to_contain_text("First of two")
    wait_for(lambda: page.evaluate(from_end) <= 1)

    page.evaluate("document.getElementById('msgs-scroll').scrollTop = 300")
    before = page.evaluate(place)
    world.inbound(conversation, "Second of two")
    below = page.get_by_text("New message below")
    expect(below).to_be_visible()
    assert page.evaluate(place) == before

    below.click()
    expect(below).to_be_hidden()
    assert page.evaluate(from_end) <= 1


def test_b12_browser_and_server_count_segments_alike(world, agent):
    conversation = world.conversation()
    page = agent(world.people["ann"], world.inbox(conversation=conversation))
    in_browser = page.evaluate(
        "(texts) => texts.map((text) => fairleadSegments.count(text))",
        [text for text, *_ in VECTORS],
    )

    for (text, encoding, units, segments), found in zip(VECTORS, in_browser, strict=True):
        on_server = count(text)
        assert (found["encoding"], found["units"], found["segments"]) == (encoding, units, segments)
        assert (on_server.encoding, on_server.units, on_server.segments) == (
            encoding, units, segments,
        )  # fmt: skip

    field(page).fill("a" * 103)
    expect(page.locator("#segment-counter")).to_have_text("103 of 160, 1 segment, GSM-7")
    field(page).fill("It\u2019s fine")
    expect(page.locator("#segment-counter")).to_have_text(
        "9 of 70, 1 segment, UCS-2 because of \u2019"
    )
    page.get_by_role("button", name="Use plain characters").click()
    expect(field(page)).to_have_value("It's fine")
    expect(page.locator("#segment-counter")).to_have_text("9 of 160, 1 segment, GSM-7")
    field(page).fill("a" * 1500)
    expect(page.locator("#send")).to_be_disabled()


def test_b13_stop_while_typing_puts_the_banner_in_place_of_the_composer(world, agent):
    conversation = world.conversation()
    page = agent(world.people["ann"], world.inbox(conversation=conversation))
    field(page).fill("We could pay about 300")

    world.inbound(conversation, "STOP")

    expect(page.locator("[data-optout-banner]")).to_be_visible(timeout=patience(2))
    expect(page.locator("#composer")).to_have_count(0)
    expect(page.locator("[data-draft-copy]")).to_have_value("We could pay about 300")
    expect(page.get_by_role("button", name="Copy my draft")).to_be_visible()


def alone(page: Page) -> None:
    """Keep a page from hearing what others do."""
    for part in ("claim/part", "since"):
        page.route(f"**/{part}/**", lambda route: route.abort())


def test_b14_of_two_replies_to_the_same_message_one_is_sent_and_the_other_keeps_its_text(
    world, agent
):
    conversation = world.conversation()
    pages = [
        agent(world.people[name], world.inbox(conversation=conversation)) for name in ("ann", "ben")
    ]
    statuses = []
    for page, text in zip(pages, ("From Ann", "From Ben"), strict=True):
        alone(page)
        field(page).fill(text)
    for page in pages:
        with page.expect_response("**/reply/part/") as answer:
            page.locator("#send").click()
        statuses.append(answer.value.status)

    assert statuses == [200, 409]
    expect(field(pages[0])).to_have_value("")
    expect(field(pages[1])).to_have_value("From Ben")
    expect(pages[1].locator("#composer-note")).not_to_be_empty()
    assert sent(world, conversation) == ["From Ann"]


def test_b14b_two_replies_in_the_same_instant_make_one(world, agent):
    conversation = world.conversation()
    pages = [
        agent(world.people[name], world.inbox(conversation=conversation)) for name in ("ann", "ben")
    ]
    answers = []
    for page in pages:
        alone(page)
        field(page).fill("Me first")
        page.on(
            "response",
            lambda answer: answers.append(answer.status) if "reply/part" in answer.url else None,
        )
        page.evaluate("setTimeout(() => document.getElementById('composer').requestSubmit(), 300)")

    wait_for_page(pages[0], lambda: len(answers) == 2)

    assert sorted(answers) == [200, 409]
    assert sent(world, conversation) == ["Me first"]


def wait_for_page(page: Page, condition) -> None:
    """Wait while the browser's events go on being read."""
    for _ in range(80):
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError("waited in vain")


def test_b15_an_unfilled_field_blocks_sending_without_a_request(world, agent):
    conversation = world.conversation()
    page = agent(world.people["ann"], world.inbox(conversation=conversation))
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    field(page).fill("Hi {{ first_name }}, still interested?")

    page.keyboard.press("Control+Enter")

    expect(page.locator("#composer-note")).to_contain_text("first_name")
    page.wait_for_timeout(200)
    assert not [url for url in requests if "reply" in url]


def test_b16_undo_after_done_restores_the_row_where_it_was(world, agent):
    conversations = [world.conversation(waiting=timedelta(minutes=9 - n)) for n in range(3)]
    middle = conversations[1]
    before = stored(world, middle)
    page = agent(world.people["ann"], world.inbox(conversation=middle))

    page.keyboard.press("e")
    expect(page.locator(f"#row-{middle.pk}")).to_have_count(0)
    wait_for_page(page, lambda: stored(world, middle).status == "done")
    page.get_by_role("button", name="Undo").click()

    wait_for_page(page, lambda: stored(world, middle).status == "open")
    after = stored(world, middle)
    assert (after.waiting_since, after.snoozed_until) == (before.waiting_since, None)
    page.reload()
    rows = page.locator("#rows .row").evaluate_all("rows => rows.map(row => row.id)")
    assert rows == [f"row-{one.pk}" for one in conversations]


def test_b17_at_night_the_button_says_when_it_is_sent(world, agent):
    conversation = world.conversation(waiting=timedelta(days=3))
    # Somewhere it is 3 AM now; both zones of a lead count.
    offset = (3 - datetime.now(UTC).hour + 12) % 24 - 12
    zone = f"Etc/GMT{-offset:+d}" if offset else "Etc/GMT"
    with tenant_context(world.tenant.pk):
        Lead.objects.filter(pk=conversation.lead_id).update(time_zone=zone)
    page = agent(world.people["ann"], world.inbox(conversation=conversation))

    expect(page.locator("#send")).to_contain_text("Send at")
    field(page).fill("Good morning")
    page.locator("#send").click()

    expect(page.locator("#msgs .msg--out").last).to_contain_text("Good morning")
    page.wait_for_timeout(700)
    with tenant_context(world.tenant.pk):
        queued = OutboundMessage.objects.get(conversation=conversation)
    assert (queued.state, queued.attempt) == ("queued", 0)
    assert queued.due_at > queued.created_at


def test_a_double_send_makes_one_message_and_empties_the_field_once(world, agent):
    conversation = world.conversation()
    page = agent(world.people["ann"], world.inbox(conversation=conversation))
    key = page.locator("#send-key").input_value()
    field(page).fill("Only once")

    page.keyboard.press("Control+Enter")
    page.keyboard.press("Control+Enter")

    expect(field(page)).to_have_value("")
    expect(page.locator("#msgs .msg--out", has_text="Only once")).to_have_count(1)
    expect(field(page)).to_be_focused()
    page.wait_for_timeout(800)
    expect(page.locator("#msgs .msg--out", has_text="Only once")).to_have_count(1)
    assert sent(world, conversation) == ["Only once"]
    assert page.locator("#send-key").input_value() != key


def test_a_draft_is_kept_on_the_server_and_follows_the_person(world, agent):
    conversation, other = world.conversation(), world.conversation()
    page = agent(world.people["ann"], world.inbox(conversation=conversation))
    with page.expect_request("**/draft/") as request:
        field(page).fill("Half a sen")
    assert parse_qs(request.value.post_data)["body"] == ["Half a sen"]
    field(page).fill("Half a sentence")

    page.locator(f"#open-{other.pk}").click()  # at once: nothing typed may be lost
    expect(page.locator("#thread-pane")).to_have_attribute("data-conversation", other.pk)

    def draft() -> str:
        with tenant_context(world.tenant.pk):
            row = Draft.objects.filter(conversation=conversation).first()
            return row.body if row else ""

    wait_for_page(page, lambda: draft() == "Half a sentence")
    elsewhere = agent(world.people["ann"], world.inbox(conversation=conversation))
    expect(field(elsewhere)).to_have_value("Half a sentence")
    ben = agent(world.people["ben"], world.inbox(conversation=conversation))
    expect(field(ben)).to_have_value("")


def test_typing_claims_and_others_see_it(world, agent):
    conversation = world.conversation()
    ann = agent(world.people["ann"], world.inbox(conversation=conversation))
    ben = agent(world.people["ben"], world.inbox(conversation=conversation))

    field(ann).press_sequentially("I take this one")

    expect(ben.get_by_role("button", name=re.compile("Ann Example is replying"))).to_be_visible()
    field(ben).fill("Mine stays here")
    ben.get_by_role("button", name=re.compile("Take over")).click()
    expect(ben.locator("#send")).to_be_visible()
    expect(field(ben)).to_have_value("Mine stays here")


def test_older_messages_come_in_above_and_leave_the_view(world, agent):
    conversation = world.conversation()
    with tenant_context(world.tenant.pk):
        Message.objects.bulk_create(
            Message(
                conversation=conversation, lead=conversation.lead, direction="in", body=f"Old {n}",
                sender="+15035550000", recipient="+12025550000", status="received",
                provider="signalhouse", external_id=f"old-{n}-{conversation.pk}",
            )
            for n in range(120)
        )  # fmt: skip
    page = agent(world.people["ann"], world.inbox(conversation=conversation))
    older = page.get_by_role("link", name="Load older")
    older.scroll_into_view_if_needed()
    first = page.locator("#msgs .msg").first
    name, top = first.get_attribute("id"), round(first.bounding_box()["y"])
    lines = page.locator("#msgs .msg").count()

    older.click()

    expect(page.locator("#msgs .msg")).not_to_have_count(lines)
    assert abs(page.locator(f"#{name}").bounding_box()["y"] - top) < 60


def test_an_ended_session_asks_to_log_in_again_and_keeps_the_text(world, agent):
    conversation = world.conversation()
    page = agent(world.people["ann"], world.inbox(conversation=conversation))
    page.context.clear_cookies(name="sessionid")

    field(page).fill("Do not lose me")

    expect(page.locator("#login-again")).to_be_visible()
    expect(field(page)).to_have_value("Do not lose me")
