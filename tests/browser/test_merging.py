"""Two leads side by side in a real browser: usable by everybody, by keyboard, and taken back."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from leads.actions import add_contact_point, create_lead, put_label
from leads.models import Merge
from leads.pairs import propose
from tenants.context import tenant_context
from tests.browser.test_access import AXE, SCREENS, violations


@pytest.fixture
def pair(world):
    """Two leads that may be one, with a record that fits both; the addresses of their pages."""
    world.person("olga", role="operator")
    with tenant_context(world.tenant.pk):
        left = create_lead(
            phone="+12025550142", full_name="Ann Lee", company="One", address_line1="12 Main St"
        ).pk
        right = create_lead(phone="+12025550142", full_name="Anne Lee", title="CEO", age=70).pk
        add_contact_point(right, kind="email", value="ann@example.com", source="upload")
        put_label(right, key="GOLD", source="manual")
        reasons = [{"field": "phone", "agrees": True, "points": 35, "text": "Both have a phone"}]
        record = {"source": "upload", "fields": {"company": "Acme"}, "points": []}
        waits = propose(
            left, create_lead().pk, score=70, reasons=reasons, source="import", incoming=record
        )
        review = propose(left, right, score=80, reasons=reasons, source="finder")
    return {
        "queue": world.url("duplicates/"),
        "review": world.url(f"duplicates/{review}/"),
        "record": world.url(f"duplicates/{waits}/"),
        "search": world.url(f"duplicates/merge/?lead={left}&q=%2B12025550142"),
        "by hand": world.url(f"duplicates/merge/?lead={left}&with={right}"),
        "lead": world.url(f"leads/{left}/"),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_in_duplicates(world, pair, visit, scheme, screen):
    width, height = SCREENS[screen]
    context = visit(world.people["olga"], width=width, height=height, color_scheme=scheme)
    context.add_init_script(path=AXE)
    page = context.new_page()
    found = []
    for name, url in pair.items():
        page.goto(url)
        if name == "lead":
            expect(page.get_by_text("Never merged.")).to_be_visible()
        found += [f"{name}: {text}" for text in violations(page)]
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name} scrolls sideways by {wide} px"

    assert not found, "\n".join(found)


def test_a_pair_is_merged_by_keyboard_and_taken_back(world, pair, visit):
    page = visit(world.people["olga"]).new_page()
    page.goto(pair["review"])
    company = page.get_by_role("group", name="Company").get_by_role("radio")
    expect(company.first).to_be_checked()
    company.first.focus()
    page.keyboard.press("ArrowDown")
    expect(company.last).to_be_checked()
    page.keyboard.press("ArrowUp")
    page.locator("body").click(position={"x": 5, "y": 5})
    page.keyboard.press("m")
    expect(page.get_by_text("Merged. The page of Ann Lee can take it back.")).to_be_visible()

    page.goto(pair["lead"])
    page.get_by_role("button", name="Undo this merge").click()
    expect(page.get_by_text("They are two leads again.")).to_be_visible()
    with tenant_context(world.tenant.pk):
        assert Merge.objects.get().undone_at is not None


def test_a_threshold_is_previewed_while_it_is_typed(world, pair, visit):
    world.person("tara", role="tenant_admin")
    page = visit(world.people["tara"]).new_page()
    page.goto(pair["queue"])
    expect(page.locator("#preview")).to_contain_text("2 open pairs from 65")
    page.get_by_label("Show pairs from").fill("75")
    expect(page.locator("#preview")).to_contain_text("1 open pair from 75")
