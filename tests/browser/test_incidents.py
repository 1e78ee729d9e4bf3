"""Incidents in a real browser: what is wrong now and what was, light and dark, wide and narrow."""

from __future__ import annotations

import pytest
from django.db.models.functions import Now
from playwright.sync_api import expect

from pipelines.models import Incident
from tenants.context import tenant_context
from tests.browser.test_access import AXE, SCREENS, violations


@pytest.fixture
def troubled(world):
    world.person("olga", role="operator")
    said = {"advice": "Look at its settings.", "path": "integrations/"}
    with tenant_context(world.tenant.pk):
        Incident.objects.create(kind="t.silent", severity="critical", title="It is silent", **said)
        Incident.objects.create(kind="t.late", severity="warning", title="It is late", **said)
        Incident.objects.create(
            kind="t.was", severity="warning", title="It was late", closed_at=Now()
        )
    return world.url("incidents/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_and_the_worst_comes_first(world, troubled, visit, scheme, screen):
    width, height = SCREENS[screen]
    context = visit(world.people["olga"], width=width, height=height, color_scheme=scheme)
    context.add_init_script(path=AXE)
    page = context.new_page()
    page.goto(troubled)

    expect(page.get_by_text("It is silent", exact=True)).to_be_visible()
    content = page.locator("#content")
    text = content.inner_text()
    assert text.index("It is silent") < text.index("It is late") < text.index("It was late")
    assert violations(page) == []
    assert content.evaluate("one => one.scrollWidth <= one.clientWidth")
