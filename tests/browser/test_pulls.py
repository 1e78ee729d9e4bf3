"""Vendor pulls in a real browser: everybody can use the pages, and a sweep is seen running."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from integrations.pull_estimates import count_query
from tests.browser.test_access import AXE, SCREENS, violations
from tests.carrier import carrier_running
from tests.conftest import Office
from tests.integrations.pull_world import make_pull_world


@pytest.fixture
def vendor(world, tmp_path, settings):
    settings.FAIRLEAD_OBJECT_DIR = tmp_path
    person = world.person("olga", role="tenant_admin")
    office = Office(
        tenant=world.tenant, integration=None, endpoint=None, number=None, agent=person.actor
    )
    with carrier_running() as carrier:
        yield make_pull_world(office, carrier)


@pytest.fixture
def shown(world, vendor):
    """Every page of pulls, with something in it."""
    query = vendor.query(every_minutes=60, page_size=100)
    sweep = vendor.sweep(query)
    count_query(vendor.tenant_id, query.pk)
    page = vendor.pages(sweep)[0]
    return {
        "list": world.url("pulls/"),
        "estimate": world.url(f"pulls/queries/{query.pk}/"),
        "form": world.url(f"pulls/queries/{query.pk}/edit/"),
        "sweep": world.url(f"pulls/sweeps/{sweep.pk}/"),
        "record": world.url(f"pulls/pages/{page.pk}/?record={page.first_id}"),
        "calendar": world.url("pulls/calendar/"),
    }


def test_axe_finds_nothing_in_the_pages_of_pulls(world, shown, visit):
    found = []
    for scheme in ("light", "dark"):
        for screen, (width, height) in SCREENS.items():
            context = visit(world.people["olga"], width=width, height=height, color_scheme=scheme)
            context.add_init_script(path=AXE)
            page = context.new_page()
            for name, address in shown.items():
                page.goto(address)
                for fold in page.locator("details.fold > summary").all():
                    fold.click()
                found += [f"{scheme} {screen} {name}: {text}" for text in violations(page)]
                wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                if wide > 0:
                    found.append(f"{screen} {name} scrolls sideways by {wide} px")

    assert found == []


def test_a_sweep_is_seen_running_and_ending_without_a_reload(world, vendor, agent):
    query = vendor.query(page_size=100)
    page = agent(world.people["olga"], world.url(f"pulls/queries/{query.pk}/"), live=False)

    page.get_by_role("button", name="Run now").click()
    expect(page.get_by_text("No page was read yet.")).to_be_visible()
    vendor.read(query, seconds=0)
    expect(page.get_by_role("img", name="Records per page")).to_be_visible()
    vendor.read(query)

    expect(page.get_by_text("the list ends here")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
