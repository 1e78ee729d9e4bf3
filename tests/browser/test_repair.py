"""Webhooks and failures in a real browser: seen live, rehearsed, replayed, repaired as shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from integrations.actions_work import create_rule
from integrations.models import QuarantineRule, WebhookEvent, WebhookWork
from messaging.models import Message
from pipelines.models import DeadLetter
from tenants.context import tenant_context
from tests.browser.test_access import AXE, SIDEWAYS, SMALL, violations
from tests.browser.test_bell import TEXT, wait_for

SCREENS = {"wide": (1440, 900), "narrow": (390, 844)}


def settled(world) -> int:
    with tenant_context(world.tenant.pk):
        return WebhookWork.objects.exclude(state="ready").count()


def arrive(world, conversation, text: str) -> WebhookEvent:
    """Send a text and wait until it was processed; return its webhook."""
    before = settled(world)
    world.inbound(conversation, text)
    wait_for(lambda: settled(world) > before)
    with tenant_context(world.tenant.pk):
        return WebhookEvent.objects.order_by("-id").first()


def fail(world, event: WebhookEvent, error: str = "KeyError: ownerId") -> DeadLetter:
    """Put a dead letter in place of what was done with an event: a new run that failed."""
    with tenant_context(world.tenant.pk):
        work = WebhookWork.objects.get(event=event.pk)
        dead = WebhookWork.objects.create(
            tenant_id=world.tenant.pk,
            event=event.pk,
            received_at=work.received_at,
            lane=work.lane,
            their_number=work.their_number,
            is_inbound=True,
            state="dead",
            attempts=5,
            last_error=error,
            run_no=2,
        )
        return DeadLetter.objects.create(
            stage="webhook",
            ref=str(dead.seq),
            subject="signalhouse SMS_RECEIVED",
            error_class="KeyError",
            error=error,
            fingerprint="f1",
            retry_after=timezone.now() + timedelta(hours=1),
        )


class Pages:
    """The pages about repair with something on each."""

    def __init__(self, world) -> None:
        self.world = world
        conversation = world.conversation()
        self.done = arrive(world, conversation, "Maybe, who is asking and why?")
        self.letter = fail(world, arrive(world, conversation, "ok"))
        with tenant_context(world.tenant.pk):
            create_rule(QuarantineRule(contains="prize", reason="a flood"), actor_id=None)
        arrive(world, conversation, "win a prize")

    def __iter__(self) -> Iterator[tuple[str, str]]:
        url = self.world.url
        yield "webhooks", url("webhooks/")
        yield "nothing found", url("webhooks/?type=NOTHING")
        yield "refused", url("webhooks/?status=refused")
        for tab in ("summary", "payload", "headers", "attempts", "effects", "raw", "replays"):
            yield tab, url(f"webhooks/{self.done.pk}/?tab={tab}")
        yield "matching", url("webhooks/matching/")
        yield "failures", url("failures/")
        yield "quarantine", url("failures/?tab=quarantine")
        yield "sync", url("failures/?tab=sync")
        yield "group", url("failures/group/?fingerprint=f1")
        yield "letter", url(f"failures/{self.letter.pk}/")
        yield "rule", url("failures/rule/?contains=prize")


@pytest.fixture
def pages(world) -> Pages:
    world.person("olga", role="operator")
    return Pages(world)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_b18_axe_finds_nothing_and_nothing_scrolls_sideways(world, pages, visit, scheme, screen):
    width, height = SCREENS[screen]
    context = visit(world.people["olga"], width=width, height=height, color_scheme=scheme)
    context.add_init_script(path=AXE)
    page = context.new_page()
    found = []
    for name, url in pages:
        answer = page.goto(url)
        assert answer.status == 200, (name, answer.status)
        found += look_at(page, name, narrow=screen == "narrow")
    page.goto(world.url(f"webhooks/{pages.done.pk}/"))
    page.get_by_role("button", name="Dry run").click()
    expect(page.locator("#dry-run")).to_be_visible()
    found += look_at(page, "dry run", narrow=screen == "narrow")

    assert not found, "\n".join(found)


def look_at(page: Page, name: str, *, narrow: bool) -> list[str]:
    found = [f"{name}: {text}" for text in violations(page)]
    if page.evaluate(SIDEWAYS) > 0:
        found.append(f"{name}: scrolls sideways by {page.evaluate(SIDEWAYS)}")
    found += [f"{name}: {text}" for text in page.evaluate(SMALL, 40 if narrow else 24)]
    return found


def test_b25_an_event_appears_live_and_is_replayed_after_a_dry_run(world, agent):
    conversation = world.conversation()
    olga = world.person("olga", role="operator")
    page = agent(olga, world.url("webhooks/"))
    expect(page.get_by_text("No event has ever arrived")).to_be_visible()

    event = arrive(world, conversation, TEXT)
    expect(page.locator(f'a[href$="/webhooks/{event.pk}/"]')).to_be_visible()  # without a reload
    page.locator(f'a[href$="/webhooks/{event.pk}/"]').click()
    page.get_by_role("button", name="Dry run").click()
    expect(page.locator("#dry-run")).to_contain_text("writes nothing")
    page.get_by_role("button", name="Replay", exact=True).click()

    expect(page.locator(".toast")).to_contain_text("Replayed")
    wait_for(lambda: settled(world) == 2)
    page.reload()
    expect(page.locator("main")).to_contain_text("Run 2")
    expect(page.locator("main")).to_contain_text("duplicate of msg_…")
    with tenant_context(world.tenant.pk):
        assert Message.objects.filter(body=TEXT).count() == 1
        assert WebhookWork.objects.get(run_no=1).outcome.startswith("filed")


def test_b25_replay_all_acts_on_exactly_the_count_shown(world, agent):
    conversation = world.conversation()
    for text in ("one of many", "two of many"):
        arrive(world, conversation, text)
    page = agent(world.person("olga", role="operator"), world.url("webhooks/"))
    page.get_by_role("link", name="Replay all matching").click()
    expect(page.locator("#matching-count")).to_have_text("2")

    arrive(world, conversation, "one more, while the page is open")
    page.get_by_role("button", name="Replay 2 events").click()

    expect(page.locator(".toast")).to_contain_text("2 events were replayed")
    with tenant_context(world.tenant.pk):
        assert WebhookWork.objects.filter(run_no=2).count() == 2


def test_a_group_of_failures_is_retried_as_shown_and_resolved(world, pages, agent):
    page = agent(world.people["olga"], world.url("failures/"))
    expect(page.get_by_role("button", name="Retry 1")).to_be_visible()

    page.get_by_role("button", name="Retry 1").click()

    expect(page.locator(".toast")).to_contain_text("1 event was retried")
    wait_for(lambda: letter_status(world, pages.letter) == "resolved")
    page.reload()
    expect(page.locator("main")).to_contain_text("No failed work.")


def letter_status(world, letter) -> str:
    with tenant_context(world.tenant.pk):
        return DeadLetter.objects.get(pk=letter.pk).status


def test_without_scripts_one_sees_and_repairs(world, pages, visit):
    page = visit(world.people["olga"], java_script_enabled=False).new_page()
    page.goto(world.url("failures/?tab=quarantine"))
    page.get_by_text("Decide…").click()
    page.get_by_label("Reason").first.fill("a real prize")
    page.get_by_role("button", name="Release 1, in order").click()

    wait_for(lambda: withheld(world) == 0)


def withheld(world) -> int:
    with tenant_context(world.tenant.pk):
        return WebhookWork.objects.filter(state="quarantined").count()
