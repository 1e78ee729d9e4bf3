"""The registry in a real browser: everybody can use it, and a list goes all the way."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone
from playwright.sync_api import expect

from integrations.models import Integration
from leads.actions import Choice, record_choice
from leads.models import ConsentEvent
from messaging.actions.suppressions import check_file
from messaging.models import ConsentAck
from tenants.context import tenant_context
from tests.browser.test_access import AXE, SCREENS, violations
from tests.browser.test_bell import wait_for
from tests.browser.test_thread import stored


@pytest.fixture
def registry(world):
    """A tenant whose registry has something of everything; yields its pages."""
    world.person("tara", role="tenant_admin")
    stopped, held = world.conversation(), world.conversation()
    world.inbound(stopped, "STOP")
    world.inbound(held, "stop by tomorrow?")
    wait_for(lambda: stored(world, stopped).status == "done")
    with tenant_context(world.tenant.pk):
        event = ConsentEvent.objects.get(consent__address=stopped.their_number, kind="opt_out")
        ConsentAck.objects.create(
            consent_event=event,
            integration=Integration.objects.get(),
            due_at=timezone.now() - timedelta(days=9),
            last_error="HTTP 500",
        )
        record_choice(
            Choice(address="+15035550199", kind="opt_out", scope="list:sup_1", reason="by law")
        )
        path = world_file(world)
        with path.open("rb") as stream:
            made = check_file(stream, name="DNC", source="registry", reason="by law")
    return {
        "registry": world.url("optouts/"),
        "number": world.url(f"optouts/{stopped.their_number}/"),
        "held": world.url(f"optouts/{held.their_number}/"),
        "listed": world.url("optouts/+15035550199/"),
        "nothing": world.url("optouts/?until=2001-01-01&q=1"),
        "figures": world.url("optouts/figures/"),
        "rules": world.url("optouts/rules/"),
        "lists": world.url("optouts/lists/"),
        "list": world.url(f"optouts/lists/{made.pk}/"),
    }


def world_file(world):
    path = settings.DATA_DIR / f"{world.tenant.slug}.csv"
    path.write_text("name,phone\nAnn,+12025550111\nBea,+12025550112\nCal,none\n")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_in_the_registry(world, registry, visit, scheme, screen):
    width, height = SCREENS[screen]
    context = visit(world.people["tara"], width=width, height=height, color_scheme=scheme)
    context.add_init_script(path=AXE)
    page = context.new_page()
    found = []
    for name, url in registry.items():
        page.goto(url)
        for proof in page.locator("details.proof > summary").all():
            proof.click()
        found += [f"{name}: {text}" for text in violations(page)]
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name} scrolls sideways by {wide} px"

    assert not found, "\n".join(found)


def test_a_list_goes_from_file_to_block_and_back(world, visit):
    world.person("olga", role="operator")
    page = visit(world.people["olga"]).new_page()
    page.goto(world.url("optouts/lists/"))
    page.get_by_label("File").set_input_files(world_file(world))
    page.get_by_label("Name").fill("National list")
    page.get_by_label("Source").fill("registry")
    page.get_by_label("Reason").fill("by law")
    page.get_by_role("button", name="Check the file").click()

    expect(page.get_by_role("heading", name="National list")).to_be_visible()
    expect(page.get_by_text("Nothing is blocked yet.")).to_be_visible()
    expect(page.get_by_text("this is no phone number with its area code")).to_be_visible()
    page.get_by_role("button", name="Block 2 addresses").click()
    expect(page.locator("#progress")).to_contain_text("Applied")  # told by the fragment

    page.goto(world.url("optouts/?check=202-555-0111"))
    expect(page.get_by_role("heading", name="Blocked since")).to_be_visible()

    page.go_back()
    page.goto(world.url("optouts/lists/"))
    page.get_by_role("link", name="National list").click()
    page.get_by_label("Reason to take it back").fill("wrong file")
    page.get_by_role("button", name="Take the list back").click()
    expect(page.locator("#progress")).to_contain_text("Undone")
    page.goto(world.url("optouts/+12025550111/"))
    expect(page.get_by_role("heading", name="No choice recorded")).to_be_visible()


def test_a_dossier_is_downloaded_and_the_script_passes_it(world, registry, visit, tmp_path):
    page = visit(world.people["tara"], accept_downloads=True).new_page()
    page.goto(registry["number"])
    with page.expect_download() as caught:
        page.get_by_role("button", name="Download the dossier").click()
    caught.value.save_as(tmp_path / "dossier.jsonl")
    with page.expect_download() as caught:
        page.get_by_role("link", name="verify_dossier.py").click()
    caught.value.save_as(tmp_path / "verify.py")

    said = subprocess.run(
        [sys.executable, str(tmp_path / "verify.py"), str(tmp_path / "dossier.jsonl")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said
    page.reload()
    head = said.stdout.split()[-1]
    expect(page.get_by_text(head)).to_be_visible()


def test_the_proof_is_copied(world, registry, visit):
    context = visit(world.people["tara"], permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(registry["number"])
    page.get_by_role("button", name="Copy proof").click()

    wait_for(lambda: "cev_" in page.evaluate("navigator.clipboard.readText()"))
