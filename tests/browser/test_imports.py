"""The import wizard in a real browser: from a file to five hundred leads, for everybody."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from leads.imports.work import due, work
from leads.models import Import, Lead
from tenants.context import tenant_context
from tests.browser.test_access import AXE, SCREENS, violations
from tests.leads.importing import FIXTURES


@pytest.fixture
def operator(world):
    world.person("olga", role="operator")
    return world.people["olga"]


def work_on(world):
    """Be the worker."""
    for tenant_id, import_id in due():
        if tenant_id == world.tenant.pk:
            work(tenant_id, import_id)


def newest(world):
    with tenant_context(world.tenant.pk):
        return Import.objects.order_by("-id").first()


def test_us_500_becomes_five_hundred_leads(world, operator, visit):
    page = visit(operator).new_page()
    page.goto(world.url("imports/"))
    page.get_by_role("link", name="Import a file").first.click()
    page.get_by_label("File").set_input_files(FIXTURES / "us-500.csv")
    page.get_by_role("button", name="Continue").click()

    expect(page.locator("ol.steps [aria-current=step]")).to_have_text("Map")
    expect(page.get_by_label("Field for phone1")).to_have_value("phone1")
    page.get_by_role("button", name="Check the file").click()
    expect(page.locator("#progress")).to_contain_text("Checking")
    work_on(world)
    expect(page.locator("#n-created")).to_have_text("500")  # the page loads itself again
    page.get_by_role("link", name="Continue").click()
    page.get_by_label("Tag (optional)").fill("US 500")
    page.get_by_role("button", name="Import 500 rows").click()
    work_on(world)
    expect(page.locator("#progress")).to_contain_text("Imported")

    with tenant_context(world.tenant.pk):
        assert Lead.objects.filter(run=newest(world).run).count() == 500
    page.get_by_label("Reason").fill("wrong list")
    page.get_by_role("button", name="Take it back").click()
    work_on(world)
    expect(page.get_by_text("500 leads taken back")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_in_the_wizard(world, operator, visit, scheme, screen, tmp_path):
    width, height = SCREENS[screen]
    context = visit(operator, width=width, height=height, color_scheme=scheme)
    context.add_init_script(path=AXE)
    page = context.new_page()
    found = []

    def look(name):
        found.extend(f"{name}: {text}" for text in violations(page))
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            found.append(f"{name} scrolls sideways by {wide} px")

    path = tmp_path / "numbers.csv"
    rows = [f"Ann Lee{n},+1202555{n:04d}" for n in range(250)]
    path.write_text("\n".join(["name,phone", *rows, "Bad,12", "Bad,13"]) + "\n")
    page.goto(world.url("imports/"))
    look("empty")
    page.goto(world.url("imports/new/"))
    look("new")
    page.get_by_label("File").set_input_files(path)
    page.get_by_role("button", name="Continue").click()
    look("map")
    page.get_by_role("button", name="Check the file").click()
    expect(page.locator("#progress")).to_contain_text("Checking")
    look("checking")
    work_on(world)
    expect(page.get_by_text("follow one another")).to_be_visible()
    page.locator("summary", has_text="Phone 1 has 2 digits").click()
    look("check")
    page.get_by_role("button", name="I know").click()
    expect(page.get_by_text("Accepted by")).to_be_visible()
    look("confirm")
    page.get_by_role("button", name="Import 250 rows").click()
    expect(page.locator("#progress")).to_contain_text("Importing")
    look("importing")
    work_on(world)
    expect(page.locator("#progress")).to_contain_text("Imported")
    look("result")
    page.goto(world.url("imports/"))
    look("list")

    assert not found, "\n".join(found)
