"""The leads list and a lead's sides in a real browser: light and dark, wide and narrow."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from leads.actions import add_contact_point, create_lead, put_label
from leads.models import Contact, LeadScore, Property, QualityScore
from messaging.views.lead import TABS
from pipelines.artifacts import keep
from tenants.context import tenant_context
from tests.browser.test_access import AXE, SCREENS, violations


@pytest.fixture
def lead(world):
    world.person("olga", role="tenant_admin")
    with tenant_context(world.tenant.pk):
        made = create_lead(
            full_name="Marisol Ortega",
            phone="+12025550142",
            address_line1="12 Elm St",
            city="Austin",
            region="TX",
            source="batchdata",
        )
        add_contact_point(made.pk, kind="email", value="marisol@example.com", source="melissa")
        put_label(made.pk, key="GOLD", source="x")
        parts = {"email": 40, "phone": 30, "parcel": 0}
        LeadScore.objects.create(lead=made, score=70, band="contactable", rule_version=1, **parts)
        for points in (10, 30):
            QualityScore.objects.create(
                lead=made, score=points, band="low", rule_version=1, phone=points
            )
        Contact.objects.create(lead=made, full_name="Luis Ortega")
        Property.objects.create(lead=made, source="batchdata", address_line1="12 Elm St")
        return made, keep(b'{"city": "Austin"}', artifact_type="vendor_answer")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_and_nothing_scrolls_sideways(world, lead, visit, scheme, screen):
    made, artifact = lead
    pages = {
        "list": world.url("leads/?band=contactable"),
        "edit": world.url(f"leads/{made.pk}/edit/"),
        "artifact": world.url(f"artifacts/{artifact.pk}/"),
        "keys": world.url("keys/"),
        **{tab: world.url(f"leads/{made.pk}/?tab={tab}") for tab in TABS},
    }
    width, height = SCREENS[screen]
    context = visit(world.people["olga"], width=width, height=height, color_scheme=scheme)
    context.add_init_script(path=AXE)
    page = context.new_page()
    found = []
    for name, url in pages.items():
        page.goto(url)
        page.wait_for_load_state("networkidle")
        found += [f"{name}: {text}" for text in violations(page)]
        wide = page.evaluate("document.querySelector('#content').scrollWidth")
        seen = page.evaluate("document.querySelector('#content').clientWidth")
        found += [f"{name}: {wide} wide in {seen}"] if wide > seen else []

    assert not found, "\n".join(found)


def test_a_filter_is_saved_and_the_ticked_lead_is_labelled(world, lead, agent):
    made, _ = lead
    page = agent(world.people["olga"], world.url("leads/?region=TX"))
    expect(page.locator("#count")).to_have_text("1 lead")
    page.get_by_text("Save this list").click()
    page.get_by_label("Name", exact=True).fill("Texans")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("link", name="Texans")).to_have_attribute("aria-current", "page")

    page.get_by_role("checkbox", name="Marisol Ortega").check()
    page.get_by_role("button", name="Act on ticked leads…").click()
    page.get_by_label("Or a new name").fill("Call first")
    page.get_by_role("button", name="Label them").click()
    expect(page.get_by_text("1 leads got the label.")).to_be_visible()
    page.goto(world.url(f"leads/{made.pk}/"))
    expect(page.get_by_text("Call first")).to_be_visible()
