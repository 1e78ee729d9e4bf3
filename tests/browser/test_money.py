"""The pages of money in a real browser: light and dark, wide and narrow, and the what-if."""

from __future__ import annotations

from types import SimpleNamespace

import httpx
import pytest
from playwright.sync_api import expect

from integrations.sandbox.server import running
from tenants.context import tenant_context
from tests.browser.test_access import AXE, SCREENS, violations
from tests.integrations.waterfall_world import LAND, MOBILE, make_world


@pytest.fixture
def bought(world):
    """A tenant that bought something, and does not know what became of one call."""
    olga = world.person("olga", role="operator")
    office = SimpleNamespace(
        tenant=world.tenant,
        agent=olga.actor,
        inside=lambda: tenant_context(world.tenant.pk),
    )
    with running() as url, httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        made = make_world(office, client)
        made.enrich(*(made.lead(made.house(phones=[phone])) for phone in (MOBILE, LAND)))
        path = "/v3/WEB/ContactVerify/doContactVerify"
        made.fault("500_after_accept", match={"path": path}, count=1)
        made.waiting = made.lead()
        made.run_id = made.start(made.waiting)
        made.work()
        yield made


@pytest.fixture
def pages(world, bought):
    batchdata = bought.stage("batchdata")
    return {
        "money": world.url("money/"),
        "by stage": world.url("money/?by=stage&days=90"),
        "stages": world.url("money/stages/"),
        "stage": world.url(f"money/stages/{batchdata.pk}/"),
        "unknown": world.url("money/unknown/"),
        "run": world.url(f"money/runs/{bought.run_id}/"),
        "start": world.url(f"money/start/?lead={bought.lead().pk}"),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_and_nothing_scrolls_sideways(world, pages, visit, scheme, screen):
    width, height = SCREENS[screen]
    context = visit(world.people["olga"], width=width, height=height, color_scheme=scheme)
    context.add_init_script(path=AXE)
    page = context.new_page()
    found = []
    for name, url in pages.items():
        page.goto(url)
        for details in page.locator("#content details > summary").all():
            details.click()
        found += [f"{name}: {text}" for text in violations(page)]
        wide = page.evaluate("document.querySelector('#content').scrollWidth")
        seen = page.evaluate("document.querySelector('#content').clientWidth")
        found += [f"{name}: {wide} wide in {seen}"] if wide > seen else []

    assert not found, "\n".join(found)


def test_an_operator_asks_what_a_gate_would_save_and_settles_a_call(world, bought, pages, agent):
    page = agent(world.people["olga"], pages["stage"], width=390, height=844)
    page.get_by_label("Score below").fill("1")
    page.get_by_role("group", name="And all of these are known").get_by_label("apn").check()
    page.get_by_role("button", name="What if").click()
    expect(page.locator("#what-if")).to_contain_text("as it is saved now")
    row = page.locator("#what-if tr", has_text="BatchData skip trace")
    expect(row.locator("td").first).to_have_text("0")

    page.goto(pages["unknown"])
    page.get_by_label("How you know").fill("It is on their invoice")
    page.get_by_role("button", name="It was billed").click()
    expect(page.get_by_text("Of every paid call it is known")).to_be_visible()
    with bought.inside():
        assert bought.enrichment(bought.waiting).state == "held"  # due now, for the next slice
    bought.work()
    assert bought.enrichment(bought.waiting).state == "done"
