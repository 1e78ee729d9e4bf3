"""Every page for everybody: axe, keyboard alone, narrow screens, no script, strict policy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from playwright.sync_api import Page, expect

from tests.browser.test_bell import TEXT, wait_for
from tests.browser.test_thread import field, sent, stored

AXE = Path(__file__).with_name("axe.min.js")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SCREENS = {"wide": (1440, 900), "narrow": (390, 844)}


class Pages:
    """The pages of a tenant with something on them, and how to get each into its states."""

    def __init__(self, world) -> None:
        self.world = world
        self.open = world.conversation()
        world.conversation(waiting=timedelta(days=1))
        self.stopped = world.conversation()
        world.inbound(self.stopped, "STOP")
        wait_for(lambda: stored(world, self.stopped).status == "done")

    def __iter__(self) -> Iterator[tuple[str, str]]:
        world = self.world
        yield "home", world.url()
        yield "list", world.inbox()
        yield "thread", world.inbox(conversation=self.open)
        yield "opted-out", world.inbox(conversation=self.stopped)
        yield "empty", world.inbox("retarget")
        yield "leads", world.url("leads/")
        yield "lead", world.url(f"leads/{self.open.lead_id}/")
        yield "opt-outs", world.url("optouts/")
        yield "opt-out", world.url(f"optouts/{self.stopped.their_number}/")
        yield "account", world.url("account/")
        yield "missing", world.url("leads/lead_01M7Z2GEGKAC81GMS4QMG0RKY0/")


@pytest.fixture
def pages(world) -> Pages:
    world.person("olga", role="operator")
    return Pages(world)


def violations(page: Page) -> list[str]:
    found = page.evaluate(
        "(tags) => axe.run(document, {runOnly: {type: 'tag', values: tags}})"
        ".then(({violations}) => violations.flatMap(({id, impact, nodes}) => nodes.map("
        "({target, failureSummary}) => `${id} (${impact}) ${target}: ${failureSummary}`)))",
        TAGS,
    )
    return [text.replace("\n", " ")[:400] for text in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_b18_axe_finds_nothing_on_any_page(world, pages, visit, scheme, screen):
    width, height = SCREENS[screen]
    context = visit(world.people["olga"], width=width, height=height, color_scheme=scheme)
    context.add_init_script(path=AXE)
    page = context.new_page()
    found = []
    for name, url in pages:
        page.goto(url)
        found += [f"{name}: {text}" for text in violations(page)]
    page.goto(world.inbox())
    world.inbound(pages.open, TEXT)
    expect(page.locator("#cnt-nudger")).to_have_attribute("data-count", "1")
    page.locator("#bell").click()
    expect(page.locator("#bell-popover")).to_be_visible()
    found += [f"popover: {text}" for text in violations(page)]
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    found += [f"dialog: {text}" for text in violations(page)]
    page.context.clear_cookies()
    page.goto(f"{world.base}/login/")
    found += [f"login: {text}" for text in violations(page)]

    assert not found, "\n".join(found)


TAB_STOPS = """() => {
    const reachable = "a[href], button, input:not([type=hidden]), select, textarea, summary," +
        "[tabindex='0'], [onclick], [hx-get]:not([hx-trigger]), [hx-post]:not(form)";
    const shown = (element) => element.checkVisibility({visibilityProperty: true}) &&
        !element.disabled && !element.closest("[inert]") && element.tabIndex !== -1 ||
        element.matches("[onclick]");
    window.stops = [...document.querySelectorAll(reachable)].filter(shown);
    // Of radio buttons only the chosen one is a stop.
    window.stops = stops.filter((stop) => stop.type !== "radio" || stop.checked);
    window.reached = new Set();
    document.body.focus();
    document.activeElement.blur();
    return stops.length;
}"""
MISSED = """() => stops.filter((stop) => !reached.has(stop) && stop.checkVisibility())
    .map((stop) => stop.outerHTML.slice(0, 160))"""


def test_b19_the_tab_key_reaches_everything_that_does_something(world, pages, agent):
    page = agent(world.people["olga"], world.url())
    missed = []
    for name, url in pages:
        page.goto(url)
        stops = page.evaluate(TAB_STOPS)
        for _ in range(stops + 12):
            page.keyboard.press("Tab")
            page.evaluate("reached.add(document.activeElement)")
        missed += [f"{name}: {text}" for text in page.evaluate(MISSED)]

    assert not missed, "\n".join(missed)


def test_b19b_log_out_is_reached_by_keyboard_and_the_first_stop_skips_to_the_content(world, agent):
    page = agent(world.people["ann"], world.inbox())
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()

    page.locator(".rail details.menu > summary").focus()
    page.keyboard.press("Enter")
    page.locator(".rail").get_by_role("button", name="Log out").press("Enter")

    expect(page).to_have_url(f"{world.base}/login/")


def test_b20_single_keys_can_be_switched_off_and_never_fire_in_fields(world, agent):
    first, second = world.conversation(), world.conversation()
    off = world.person("dora", shortcuts=False)
    page = agent(off, world.inbox(conversation=first))
    page.locator(f"#open-{first.pk}").focus()
    page.keyboard.press("e")
    page.wait_for_timeout(300)
    assert stored(world, first).status == "open"

    page = agent(world.people["ann"], world.inbox(conversation=second))
    field(page).press_sequentially("even here")
    page.locator("#q").press_sequentially("e")
    page.wait_for_timeout(300)
    assert stored(world, second).status == "open"
    page.locator("#thread-pane").focus()
    page.keyboard.press("e")
    wait_for(lambda: stored(world, second).status == "done")


SMALL = """(least) => [...document.querySelectorAll(
        "a[href], button, input:not([type=hidden]):not([type=checkbox]):not([type=radio])," +
        "select, textarea, summary")]
    .filter((target) => target.checkVisibility({visibilityProperty: true}))
    .filter((target) => !target.closest(".visually-hidden, .skip, p, td, dd, .prose"))
    .map((target) => [target, target.getBoundingClientRect()])
    .filter(([target, {width, height}]) => width && (height < least - 0.5 || width < 24))
    .map(([target, {width, height}]) =>
        `${Math.round(width)}x${Math.round(height)} ${target.outerHTML.slice(0, 120)}`)"""
SIDEWAYS = "document.documentElement.scrollWidth - innerWidth"


@pytest.mark.parametrize(("width", "least"), [(1440, 24), (390, 40), (320, 40)])
def test_b21_nothing_scrolls_sideways_and_targets_are_large_enough(
    world, pages, visit, width, least
):
    page = visit(world.people["olga"], width=width, height=844).new_page()
    found = []
    for name, url in pages:
        page.goto(url)
        if page.evaluate(SIDEWAYS) > 0:
            found.append(f"{name}: scrolls sideways by {page.evaluate(SIDEWAYS)}")
        found += [f"{name}: {text}" for text in page.evaluate(SMALL, least)]

    assert not found, "\n".join(found)


def test_b21b_a_phone_shows_the_list_or_the_thread_and_a_way_back(world, visit):
    conversation = world.conversation()
    page = visit(world.people["ann"], width=390, height=844, has_touch=True).new_page()
    page.goto(world.inbox())
    page.locator(f"#open-{conversation.pk}").tap()
    expect(field(page)).to_be_in_viewport()
    expect(page.locator("#rows")).to_be_hidden()

    page.locator("[data-back]").tap()

    expect(page.locator(f"#open-{conversation.pk}")).to_be_visible()
    expect(page.locator("#thread-pane")).to_be_hidden()


def test_b23_without_scripts_one_reads_and_answers(world, visit):
    conversation = world.conversation()
    page = visit(world.people["ann"], java_script_enabled=False).new_page()
    page.goto(world.inbox())
    page.locator("#rows a.row__link").click()
    expect(page.locator("#msgs .msg--in")).to_contain_text("Maybe. What would you pay?")

    field(page).fill("About 300 thousand")
    page.locator("#send").click()

    expect(page).to_have_url(world.inbox(conversation=conversation))
    expect(page.locator("#msgs .msg--out").last).to_contain_text("About 300 thousand")
    assert sent(world, conversation) == ["About 300 thousand"]
    page.get_by_role("button", name="Done").click()
    wait_for(lambda: stored(world, conversation).status == "done")


def test_b24_the_strict_policy_is_sent_with_every_page_and_nothing_breaks_it(world, pages, agent):
    page = agent(world.people["olga"], world.url())
    for _, url in pages:
        policy = page.goto(url).headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "style-src 'self'" in policy
        assert "unsafe" not in policy
        assert page.locator("[style], [onclick], script:not([src]), style").count() == 0


def test_logging_in_by_form_leads_to_work_and_back_out(world, visit):
    password = "correct horse battery"
    user = world.people["ann"].user
    user.password = PBKDF2PasswordHasher().encode(password, "salt", iterations=1000)
    user.save(update_fields=["password"])
    page = visit().new_page()
    page.goto(world.inbox())
    expect(page).to_have_url(f"{world.base}/login/?next=/t/{world.tenant.slug}/inbox/nudger/")

    page.get_by_label("User").fill(user.username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()

    expect(page).to_have_url(world.inbox())
    expect(page.locator("body[data-live-state=live]")).to_be_attached()


def test_static_files_are_there_without_logging_in(world):
    for path in ("css/app.css", "js/live.js", "vendor/htmx.min.js", "vendor/inter.woff2"):
        assert httpx.get(f"{world.base}/static/{path}").status_code == 200
