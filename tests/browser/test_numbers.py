"""Numbers and unknown sends in a real browser: light and dark, wide and narrow, without help."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from messaging.actions.sending import Text, queue_message
from messaging.models import (
    Brand,
    Conversation,
    NumberDay,
    OutboundMessage,
    PhoneNumber,
    SendAttempt,
)
from messaging.outcomes import Outcome, give_up_unknown, record_outcome
from tenants.context import tenant_context
from tests.browser.test_access import AXE, SCREENS, violations


def doubtful(world, body):
    """A text whose answer got lost a day ago, so that a person must decide."""
    conversation = world.conversation(waiting=timedelta(minutes=5))
    with tenant_context(world.tenant.pk):
        PhoneNumber.objects.update(tokens=10, status="active")
        thread = Conversation.objects.select_related(
            "tenant", "lead", "phone_number__integration"
        ).get(pk=conversation.pk)
        text = Text(body=body, purpose="reply", send_key=f"key-{conversation.pk}")
        outbound = queue_message(thread, text)
        # In one transaction, so that the drain beside us does not get at it.
        one = OutboundMessage.objects.get(pk=outbound.pk)
        OutboundMessage.objects.filter(pk=one.pk).update(state="sending", attempt=1, consent_rev=0)
        SendAttempt.objects.create(
            outbound=one, attempt=1, token_hash=one.pk.ljust(64, "0"), consent_rev=0
        )
        record_outcome(one.pk, 1, Outcome(kind="ambiguous", source="call", detail="cut off"))
        OutboundMessage.objects.filter(pk=outbound.pk).update(
            claimed_at=timezone.now() - timedelta(hours=25)
        )
    give_up_unknown(world.tenant.pk)
    return outbound


@pytest.fixture
def pages(world):
    world.person("olga", role="operator")
    with tenant_context(world.tenant.pk):
        brand = Brand.objects.create(name="Harbor Homes", daily_segment_cap=2000)
        PhoneNumber.objects.filter(pk=world.number.pk).update(
            brand=brand,
            status="resting",
            resting_reason="5 texts in a row failed",
            resting_until=timezone.now() + timedelta(hours=20),
        )
        PhoneNumber.objects.create(number="+12025550199", integration=world.number.integration)
        today = timezone.now().date()
        for back in range(7):
            NumberDay.objects.create(
                phone_number=world.number,
                day=today - timedelta(days=back),
                sent=40 + 9 * back,
                delivered=30,
                failed=6,
                filtered=3,
                opt_outs=2,
                codes={"30007": 3, "30003": 2, "99999": 1},
            )
    return {
        "numbers": world.url("numbers/"),
        "number": world.url(f"numbers/{world.number.pk}/"),
        "unknown": world.url("sends/unknown/"),
        "asked": world.url("sends/unknown/?tab=asked"),
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


def test_an_operator_wakes_a_number_and_decides_a_doubt(world, pages, agent):
    olga = world.people["olga"]
    page = agent(olga, pages["number"], width=390, height=844)
    page.get_by_label("Reason").fill("The carrier sorted it out")
    page.get_by_role("button", name="Wake").click()
    expect(page.locator("#content").get_by_text("Active")).to_be_visible()

    outbound = doubtful(world, "Did this one arrive?")
    page.goto(pages["unknown"])
    expect(page.get_by_text("Did this one arrive?")).to_be_visible()
    page.get_by_label("Reason").fill("Their handset shows it")
    page.get_by_role("button", name="It arrived").click()

    expect(page.get_by_text("Recorded as sent")).to_be_visible()
    expect(page.get_by_text("Nothing to decide.")).to_be_visible()
    with tenant_context(world.tenant.pk):
        assert OutboundMessage.objects.get(pk=outbound.pk).state == "sent"
