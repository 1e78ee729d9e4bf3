"""The bell in real browsers: who hears what, how soon, and through which outages."""

from __future__ import annotations

import http.server
import os
import re
import threading
import time
from contextlib import contextmanager

import httpx
from playwright.sync_api import Page, expect

from messaging.models import Notification
from tenants.context import tenant_context
from tests.browser.processes import Process, Web, free_port

STAGES = ("initial_message", "retarget", "nudger", "content_nurture", "book_appointment")
#: A text that asks for nothing: the lead stays in its stage.
TEXT = "Which house do you mean?"


def counts(page: Page) -> dict[str, int]:
    return {
        stage: int(page.locator(f"#cnt-{stage}").get_attribute("data-count")) for stage in STAGES
    }


def badge(page: Page, stage: str = "nudger"):
    return page.locator(f"#cnt-{stage}")


def patience(seconds: float) -> float:
    """Return milliseconds to wait: as promised, and longer where other programs want the cores."""
    is_quiet = os.getloadavg()[0] < 0.75 * (os.cpu_count() or 1)
    return seconds * (1000 if is_quiet else 6000)


def expect_unread(page: Page, count: int, *, within: float = 2) -> None:
    timeout = patience(within)
    expect(badge(page)).to_have_attribute("data-count", str(count), timeout=timeout)


def hide(page: Page, hidden: bool) -> None:
    """Make the tab look hidden, or visible again."""
    page.evaluate(
        """(hidden) => {
            Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_b01_a_text_raises_the_badge_of_its_stage_within_two_seconds(world, agent):
    conversation = world.conversation()
    page = agent(world.people["ann"], world.inbox())
    before = counts(page)

    world.inbound(conversation, TEXT)

    expect_unread(page, before["nudger"] + 1)
    assert counts(page) == before | {"nudger": before["nudger"] + 1}
    expect(page.locator("#bell")).to_have_accessible_name("Nudger notifications, 1 unread")


def test_b02_opening_a_thread_clears_only_my_unread_and_nobodys_waiting(world, agent):
    conversation = world.conversation()
    ann = agent(world.people["ann"], world.inbox())
    ben = agent(world.people["ben"], world.inbox())
    world.inbound(conversation, TEXT)
    expect_unread(ann, 1)
    expect_unread(ben, 1)

    ann.locator("#rows a.row__link").click()

    expect_unread(ann, 0, within=4)
    expect_unread(ben, 1)
    for page in (ann, ben):
        expect(page.locator("#count-waiting")).to_have_text("1")
    expect(ann.locator(f"#row-{conversation.pk}")).not_to_have_class(re.compile("row--unread"))


def test_b03_a_muted_bell_shows_grey_and_makes_no_sound_until_it_is_on_again(world, agent):
    first, second = world.conversation(), world.conversation()
    world.membership(world.people["ann"], sound="always", desktop=True)
    page = agent(world.people["ann"], world.inbox(), permissions=["notifications"])
    page.locator("#bell").click()
    page.locator("#bell-mute").click()
    page.get_by_role("button", name="For an hour").click()
    expect(page.get_by_text("Bell muted")).to_be_visible()

    world.inbound(first, TEXT)

    expect_unread(page, 1)
    expect(badge(page)).to_have_class(re.compile("badge--muted"))
    expect(page).not_to_have_title(re.compile(r"^\("))
    page.wait_for_timeout(500)
    assert page.evaluate("[__lo.sounds, __lo.notes]") == [0, 0]

    page.locator("#bell-on").click()
    expect(badge(page)).not_to_have_class(re.compile("badge--muted"))
    hide(page, True)
    world.inbound(second, TEXT)

    expect_unread(page, 2)
    expect(page).to_have_title(re.compile(r"^\(2\)"))
    wait_for(lambda: page.evaluate("[__lo.sounds, __lo.notes]") == [1, 1])


def test_b04_a_thread_one_looks_at_gets_the_bubble_and_rings_no_bell(world, agent):
    conversation = world.conversation()
    world.membership(world.people["ann"], sound="always")
    page = agent(world.people["ann"], world.inbox(conversation=conversation))

    world.inbound(conversation, TEXT)

    expect(page.locator("#msgs .msg--in").last).to_contain_text(TEXT, timeout=patience(2))
    page.wait_for_timeout(1800)
    expect_unread(page, 0)
    assert page.evaluate("__lo.sounds") == 0
    expect(page).not_to_have_title(re.compile(r"^\("))


def test_b05_a_text_during_an_outage_appears_when_the_server_is_back(world, agent, database, logs):
    conversation = world.conversation()
    own = Web(logs / "outage.log", database, free_port())
    own.start()
    url = world.inbox(conversation=conversation).replace(world.base, own.base)
    page = agent(world.people["ann"], url)
    page.evaluate("window.same = true")

    own.stop()
    with unavailable(own):
        world.inbound(conversation, TEXT)
        expect(page.locator("#connection")).to_contain_text("Reconnecting", timeout=patience(9))
        time.sleep(1)
    own.start()
    back = time.monotonic()

    bubble = page.locator("#msgs .msg--in", has_text=TEXT)
    expect(bubble).to_have_count(1, timeout=patience(10))
    assert time.monotonic() - back < patience(10) / 1000
    expect(page.locator("body")).to_have_attribute("data-live-state", "live")
    expect(page.locator("#connection")).to_be_hidden()
    page.wait_for_timeout(1000)
    expect(bubble).to_have_count(1)
    assert page.evaluate("window.same")  # no reload
    own.stop()


@contextmanager
def unavailable(web: Web):
    """Answer 503 in the server's place."""

    class Busy(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    port = int(web.base.rpartition(":")[2])
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Busy) as busy:
        thread = threading.Thread(target=busy.serve_forever, daemon=True)
        thread.start()
        yield
        busy.shutdown()
        thread.join()


def test_b06_without_an_event_loop_pages_poll(world, agent, database, logs):
    conversation = world.conversation()
    port = free_port()
    wsgi = Process(
        ["manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"],
        logs / "wsgi.log",
        DB_NAME=database,
        PORT=str(port),
    )
    wsgi.start()
    base = f"http://127.0.0.1:{port}"
    wait_for_port(port)
    page = agent(world.people["ann"], world.inbox().replace(world.base, base))

    world.inbound(conversation, TEXT)

    expect_unread(page, 1, within=20)
    wsgi.stop()


def test_b07_the_title_counts_what_is_unread(world, agent):
    page = agent(world.people["ann"], world.inbox())
    for conversation in [world.conversation() for _ in range(4)]:
        world.inbound(conversation, TEXT)

    expect(page).to_have_title(re.compile(r"^\(4\) Nudger"))

    page.keyboard.press("n")
    page.get_by_role("button", name="Mark all read").click()
    expect(page).to_have_title(re.compile("^Nudger"))
    expect_unread(page, 0)
    expect(page.locator(".row--unread")).to_have_count(0)

    page.get_by_role("button", name="Undo").click()
    expect(page).to_have_title(re.compile(r"^\(4\) Nudger"))
    expect(page.locator(".row--unread")).to_have_count(4)


def test_b22_arrivals_are_announced_once_in_fifteen_seconds_and_move_no_focus(world, agent):
    conversations = [world.conversation() for _ in range(3)]
    page = agent(world.people["ann"], world.inbox())
    page.locator("#q").focus()
    page.evaluate(
        """() => { window.told = []; new MutationObserver(() =>
            told.push(document.getElementById("status").textContent))
            .observe(document.getElementById("status"), {childList: true}); }"""
    )

    for conversation in conversations:
        world.inbound(conversation, TEXT)
        expect_unread(page, conversations.index(conversation) + 1)
    page.wait_for_timeout(1500)

    assert page.evaluate("told") == ["1 new response in Nudger"]
    assert page.evaluate("document.activeElement.id") == "q"
    expect(page.locator("#status")).to_have_text("2 new responses in Nudger", timeout=16_000)
    assert page.evaluate("told.length") == 2


def test_eight_tabs_share_one_stream_and_all_hear(world, visit):
    conversation = world.conversation()
    context = visit(world.people["ann"])
    pages = [context.new_page() for _ in range(8)]
    for page in pages:
        page.goto(world.inbox(), timeout=patience(5))
    for page in pages:
        expect(page.locator("body[data-live-state=live]")).to_be_attached()

    world.inbound(conversation, TEXT)

    for page in pages:
        expect_unread(page, 1, within=4)
    assert sum(page.evaluate("document.body.dataset.liveLeader === '1'") for page in pages) == 1

    pages.pop(0).close()  # the leader: another tab takes over
    wait_for(
        lambda: any(page.evaluate("document.body.dataset.liveLeader === '1'") for page in pages)
    )
    world.inbound(world.conversation(), TEXT)
    for page in pages:
        expect_unread(page, 2, within=4)


def test_a_person_who_does_not_work_a_stage_is_not_rung(world, agent):
    conversation = world.conversation()
    world.membership(world.people["ann"], role="observer")
    page = agent(world.people["ann"], world.inbox())

    world.inbound(conversation, TEXT)

    expect(page.locator(f"#row-{conversation.pk}")).to_contain_text(TEXT, timeout=patience(2))
    page.wait_for_timeout(500)
    expect_unread(page, 0)


def test_a_hidden_tab_keeps_its_bell_and_lets_its_list_wait(world, agent):
    conversation = world.conversation()
    page = agent(world.people["ann"], world.inbox())
    hide(page, True)

    world.inbound(conversation, TEXT)

    expect_unread(page, 1)
    row = page.locator(f"#row-{conversation.pk}")
    expect(row).not_to_contain_text(TEXT)
    hide(page, False)
    expect(row).to_contain_text(TEXT)


def test_a_burst_in_one_thread_is_one_unread_with_its_count(world, agent):
    conversation = world.conversation()
    page = agent(world.people["ann"], world.inbox())
    for _ in range(3):
        world.inbound(conversation, TEXT)
    expect_unread(page, 1)
    wait_for(lambda: unread_count(world) == 3)

    page.locator("#bell").click()

    popover = page.get_by_role("dialog", name="Nudger · 1 unread")
    expect(popover).to_contain_text("3 messages")
    page.keyboard.press("Escape")
    expect(popover).to_have_count(0)
    expect(page.locator("#bell")).to_be_focused()


def unread_count(world) -> int:
    with tenant_context(world.tenant.pk):
        note = Notification.objects.filter(actor=world.people["ann"].actor, read_at=None).first()
        return note.count if note else 0


def wait_for(condition, seconds: float = 8) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def wait_for_port(port: int) -> None:
    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        except httpx.HTTPError:
            return False

    wait_for(answers, 30)
