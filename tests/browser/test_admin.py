"""The admin in a browser: every page to look at, by keyboard alone, on narrow screens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from leads.models import Lead
from messaging.models import StageMembership
from tenants.context import tenant_context
from tests.browser.test_access import AXE, MISSED, SCREENS, SIDEWAYS, SMALL, TAB_STOPS, violations


class AdminPages:
    """The pages of the admin with something on them."""

    def __init__(self, world) -> None:
        self.world = world
        self.lead = world.conversation().lead
        world.person("hope", role="tenant_admin", is_staff=True)
        with tenant_context(world.tenant.pk):
            self.membership = StageMembership.objects.first()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        world, lead = self.world, self.lead
        base = f"{world.base}/admin/"
        yield "index", base
        yield "choose", f"{base}choose/"
        yield "list", f"{base}leads/lead/"
        yield "nothing", f"{base}leads/lead/?q=zzzz"
        yield "change", f"{base}leads/lead/{lead.pk}/change/"
        yield "history", f"{base}leads/lead/{lead.pk}/history/"
        yield "add", f"{base}leads/lead/add/"
        yield "picker", f"{base}leads/contactpoint/add/"
        yield "log", f"{base}messaging/message/"
        yield "url", f"{base}integrations/webhookendpoint/{world.endpoint.pk}/change/"
        yield "keys", f"{base}integrations/integration/{world.endpoint.integration_id}/change/"
        yield "delete", f"{base}messaging/stagemembership/{self.membership.pk}/delete/"


@pytest.fixture
def pages(world) -> AdminPages:
    return AdminPages(world)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_on_any_page_of_the_admin(world, pages, visit, scheme, screen):
    width, height = SCREENS[screen]
    context = visit(world.people["hope"], width=width, height=height, color_scheme=scheme)
    context.add_init_script(path=AXE)
    page = context.new_page()
    found = []
    for name, url in pages:
        assert page.goto(url).status == 200, url
        found += [f"{name}: {text}" for text in violations(page)]
    page.goto(f"{world.base}/admin/leads/lead/")
    page.locator(".filter > summary").first.click()
    found += [f"filter: {text}" for text in violations(page)]

    assert not found, "\n".join(found)


def test_the_tab_key_reaches_everything_in_the_admin_and_log_out(world, pages, visit):
    page = visit(world.people["hope"]).new_page()
    missed = []
    for name, url in pages:
        page.goto(url)
        stops = page.evaluate(TAB_STOPS)
        for _ in range(stops + 12):
            page.keyboard.press("Tab")
            page.evaluate("reached.add(document.activeElement)")
        missed += [f"{name}: {text}" for text in page.evaluate(MISSED)]
    assert not missed, "\n".join(missed)

    page.locator(".rail details.menu > summary").focus()
    page.keyboard.press("Enter")
    page.locator(".rail").get_by_role("button", name="Log out").press("Enter")
    expect(page).to_have_url(f"{world.base}/login/")


@pytest.mark.parametrize(("width", "least"), [(1440, 24), (390, 40), (320, 40)])
def test_the_admin_never_scrolls_sideways_and_its_targets_are_large(
    world, pages, visit, width, least
):
    page = visit(world.people["hope"], width=width, height=844).new_page()
    found = []
    for name, url in pages:
        page.goto(url)
        if page.evaluate(SIDEWAYS) > 0:
            found.append(f"{name}: scrolls sideways by {page.evaluate(SIDEWAYS)}")
        small = page.evaluate(SMALL, least)
        # The select behind a picker is out of sight and of the tab order: the picker stands for it.
        found += [f"{name}: {text}" for text in small if "select2-hidden" not in text]

    assert not found, "\n".join(found)


def test_a_picker_finds_a_lead_and_the_form_saves_it(world, pages, visit):
    page = visit(world.people["hope"]).new_page()
    page.goto(f"{world.base}/admin/leads/contactpoint/add/")

    page.get_by_role("combobox", name="Lead").click()
    page.get_by_role("searchbox", name="Search by name").fill(pages.lead.full_name)
    page.get_by_role("option", name=pages.lead.full_name).click()
    page.get_by_label("Kind").select_option("phone")
    page.get_by_label("Number or address").fill("(202) 555-0123")
    page.get_by_role("button", name="Save", exact=True).click()

    expect(page.get_by_role("status")).to_contain_text("+12025550123")
    with tenant_context(world.tenant.pk):
        assert Lead.objects.get(contact_points__normalized="+12025550123") == pages.lead


def test_leads_are_moved_and_the_theme_of_the_account_is_kept(world, pages, visit):
    hope = world.people["hope"]
    page = visit(hope, color_scheme="light").new_page()
    page.goto(f"{world.base}/admin/leads/lead/")

    page.get_by_label("Select record").first.check()
    page.get_by_label("With the ticked rows").select_option(label="Move to responded")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("status")).to_contain_text("now responded")

    page.locator(".rail details.menu > summary").click()
    page.locator(".rail").get_by_role("button", name="Dark").click()
    expect(page.locator("html.dark[data-theme=dark]")).to_be_attached()
    page.goto(f"{world.base}/admin/")
    expect(page.locator("html.dark[data-theme=dark]")).to_be_attached()


def test_a_webhook_url_is_copied_by_its_button(world, pages, visit):
    permissions = ["clipboard-read", "clipboard-write"]
    page = visit(world.people["hope"], permissions=permissions).new_page()
    page.goto(f"{world.base}/admin/integrations/webhookendpoint/{world.endpoint.pk}/change/")

    page.get_by_role("button", name="Copy").click()

    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.endswith(f"/{world.endpoint.token}/")
