"""Integrations in a real browser: a test event, the live preview, small screens, no scripts."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, expect

from integrations.actions import create_endpoint
from integrations.actions_mappings import rows_of, save_mappings, save_reading
from integrations.mapping import Row
from integrations.models import Integration, WebhookEvent
from tenants.context import tenant_context
from tests.browser.test_access import AXE, SCREENS, SIDEWAYS, SMALL, violations

KEY = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
PAYLOAD = {"event": "sms.in", "sms": {"from": "2025550142", "to": "2025550100", "text": "Yes"}}


@pytest.fixture
def olga(world):
    return world.person("olga", role="operator")


@pytest.fixture
def tara(world):
    return world.person("tara", role="tenant_admin")


@pytest.fixture
def custom(world) -> Integration:
    with tenant_context(world.tenant.pk):
        integration = Integration.objects.create(
            provider="custom", name="Automations", secret=KEY, silence_minutes=60
        )
        create_endpoint(integration)
        rows = [
            Row(target="sender", source="sms.from", transform="e164"),
            Row(target="recipient", source="sms.to", transform="e164"),
        ]
        save_mappings(integration.pk, module="message.received", rows=rows, base=0, actor_id=None)
        save_reading(
            integration.pk, event_path="event", events={"sms.in": "message.received"},
            default_event="", id_path="", base=1, actor_id=None,
        )  # fmt: skip
    return integration


def pages(world, custom):
    yield "list", world.url("integrations/")
    yield "detail", world.url(f"integrations/{custom.pk}/")
    yield "mapping", world.url(f"integrations/{custom.pk}/mapping/")
    yield "contact", world.url(f"integrations/{custom.pk}/mapping/?module=contact.updated")


def paste(page: Page, payload: object = PAYLOAD) -> None:
    page.get_by_label("Pasted payload").fill(json.dumps(payload))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_on_the_pages_of_integrations(world, custom, tara, visit, scheme, screen):
    width, height = SCREENS[screen]
    context = visit(tara, width=width, height=height, color_scheme=scheme)
    context.add_init_script(path=AXE)
    page = context.new_page()
    found = []
    for name, url in pages(world, custom):
        page.goto(url)
        found += [f"{name}: {text}" for text in violations(page)]
    page.goto(world.url(f"integrations/{custom.pk}/mapping/"))
    paste(page, PAYLOAD | {"sms": {"from": "12", "to": "2025550100"}})
    expect(page.locator("#preview")).to_contain_text("No event.")
    found += [f"preview: {text}" for text in violations(page)]
    page.goto(world.url(f"integrations/{custom.pk}/"))
    page.get_by_role("button", name="Send me a test event").click()
    expect(page.locator("#tested")).to_contain_text("Answer 202")
    found += [f"tested: {text}" for text in violations(page)]

    assert not found, "\n".join(found)


@pytest.mark.parametrize(("width", "least"), [(1440, 24), (390, 40), (320, 40)])
def test_nothing_scrolls_sideways_and_targets_are_large_enough(
    world, custom, tara, visit, width, least
):
    page = visit(tara, width=width, height=844).new_page()
    found = []
    for name, url in pages(world, custom):
        page.goto(url)
        if page.evaluate(SIDEWAYS) > 0:
            found.append(f"{name}: scrolls sideways by {page.evaluate(SIDEWAYS)}")
        found += [f"{name}: {text}" for text in page.evaluate(SMALL, least)]

    assert not found, "\n".join(found)


def test_the_preview_follows_every_change_and_stores_nothing(world, custom, olga, agent):
    page = agent(olga, world.url(f"integrations/{custom.pk}/mapping/"))
    preview = page.locator("#preview")
    paste(page)
    expect(preview).to_contain_text("No event.")
    expect(preview).to_contain_text("Map one of them")

    body = page.get_by_label("Source path of Text")
    body.press_sequentially("sms.text")
    expect(preview).to_contain_text("Becomes MessageReceived.")
    expect(preview).to_contain_text("+12025550142")
    expect(body).to_be_focused()
    expect(page.locator("#status")).to_contain_text("Becomes MessageReceived.")

    page.get_by_label("Transform of Text").select_option("epoch_ms")
    expect(preview).to_contain_text("“Yes” is not milliseconds since 1970")
    with tenant_context(world.tenant.pk):
        assert len(rows_of(custom, "message.received")) == 2

    page.get_by_label("Transform of Text").select_option("strip_blank")
    page.get_by_role("button", name="Save mapping").click()
    expect(page.locator("#toasts")).to_contain_text("Saved: text received.")
    expect(page.get_by_label("Source path of Text")).to_have_value("sms.text")
    with tenant_context(world.tenant.pk):
        assert len(rows_of(custom, "message.received")) == 3


def test_a_test_event_is_answered_and_can_be_chosen_for_the_preview(world, custom, olga, agent):
    page = agent(olga, world.url(f"integrations/{custom.pk}/"))
    page.get_by_role("button", name="Send me a test event").click()

    expect(page.locator("#tested")).to_contain_text("Answer 202")
    link = page.get_by_role("link", name="See the stored event")
    stored = re.search(r"wh_\w+", link.get_attribute("href"))[0]
    with tenant_context(world.tenant.pk):
        assert WebhookEvent.objects.get(pk=stored).signature_state == "valid"

    page.goto(world.url(f"integrations/{custom.pk}/mapping/"))
    page.get_by_label("Payload", exact=True).select_option(stored)
    expect(page.locator("#preview")).to_contain_text("“fairlead.test”: it would be stored")


def test_without_scripts_one_previews_saves_and_tests(world, custom, tara, visit):
    page = visit(tara, java_script_enabled=False).new_page()
    page.goto(world.url(f"integrations/{custom.pk}/mapping/"))
    page.get_by_label("Source path of Text").fill("sms.text")
    paste(page)
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#preview")).to_contain_text("Becomes MessageReceived.")
    expect(page.get_by_label("Source path of Text")).to_have_value("sms.text")
    page.get_by_role("button", name="Save mapping").click()
    with tenant_context(world.tenant.pk):
        assert len(rows_of(custom, "message.received")) == 3

    page.goto(world.url(f"integrations/{custom.pk}/"))
    page.get_by_role("button", name="Make one for me").click()
    expect(page.locator("#made-secret")).to_contain_text("whsec_")
    page.get_by_role("button", name="Send me a test event").click()
    expect(page.locator("#tested")).to_contain_text("Answer 202")


def test_urls_are_copied(world, custom, tara, agent):
    page = agent(tara, world.url(f"integrations/{custom.pk}/"))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("section[aria-labelledby=urls]").get_by_role("button", name="Copy").click()

    expect(page.locator("#toasts")).to_contain_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"{world.base}/hooks/custom/")
