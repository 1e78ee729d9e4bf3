"""Every point named in the code, one by one: the process that reaches it dies there and then."""

from __future__ import annotations

import ast
import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from integrations.models import WebhookEvent, WebhookWork
from integrations.providers import providers
from leads.actions import arm_timer, move_lead
from leads.models import Consent, Lead, LeadEvent, LeadTimer
from messaging.models import OutboundMessage, SendAttempt
from messaging.timers import fire_due
from tests import invariants
from tests.browser.processes import Web, free_port
from tests.carrier import eventually, send_due
from tests.conftest import SECRET, drain

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.chaos]

ROOT = Path(settings.BASE_DIR)


def named_points():
    """Return every point that the code names: ``hit("intake.after_commit")``."""
    found = []
    for app in [*settings.LOCAL_APPS, "config"]:
        for path in (ROOT / app).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "hit":
                    assert isinstance(node.args[0], ast.Constant), path
                    found.append(node.args[0].value)
    return sorted(found)


POINTS = named_points()
#: Part of the house → the test below that kills at its points.
KILLED_BY = {"intake", "drain", "sender", "timers", "pulls", "ledger"}
#: Killed at in a file of its own.
ELSEWHERE = {"waterfall"}


def points_of(part):
    return [point for point in POINTS if point.startswith(f"{part}.")]


def test_points_are_named_once_and_each_is_killed_at():
    assert len(POINTS) == len(set(POINTS))
    assert len(POINTS) >= 12
    assert {point.partition(".")[0] for point in POINTS} <= KILLED_BY | ELSEWHERE


@pytest.fixture
def arm(tmp_path):
    """Arm a point for the processes that get ``arm.environment``."""

    class Arm:
        environment = {"FAIRLEAD_ENV": "test", "FAIRLEAD_FAULTPOINTS": str(tmp_path / "points")}

        def __call__(self, point):
            self.file = Path(self.environment["FAIRLEAD_FAULTPOINTS"], point)
            self.file.parent.mkdir(exist_ok=True)
            self.file.touch()

        def was_hit(self):
            return not self.file.exists()

    return Arm()


def died(process, arm):
    """Wait until a drain dies at the armed point."""
    assert eventually(lambda: process.process.poll() is not None, 20), "it never came by"
    assert process.process.returncode == -signal.SIGKILL
    assert arm.was_hit()


# --- intake: the whole server, and a sender that repeats until it hears 2xx ---------------------


@pytest.fixture
def web(arm, tmp_path):
    server = Web(tmp_path / "web.log", connection.settings_dict["NAME"], free_port())
    server.environment |= arm.environment
    server.start()
    yield server
    server.stop()


def test_fault_01_and_02_kill_9_around_the_commit_of_intake(committed_office, web, arm):
    office = committed_office
    for n, point in enumerate(points_of("intake")):
        body = office.payload("STOP", theirs=f"+1202555{n:04d}", id=f"in_{n}")
        arm(point)

        with pytest.raises(httpx.TransportError):
            deliver(web, office, body)
        assert arm.was_hit(), point
        with office.inside():
            kept = WebhookEvent.objects.count() - n
        assert kept == (1 if point == "intake.after_commit" else 0)

        answer = eventually(lambda b=body: repeat(web, office, b), 30)
        assert answer == (200 if kept else 202), point
        with office.inside():
            assert WebhookEvent.objects.count() == WebhookWork.objects.count() == n + 1
            assert Consent.objects.filter(state="opted_out").count() == n + 1
    invariants.assert_sound()


def deliver(web, office, payload):
    body = json.dumps(payload).encode()
    headers = providers["signalhouse"]().sign(
        body, SECRET, datetime.now(UTC), f"d-{payload['identifier']}"
    )
    return httpx.post(
        web.base + office.path,
        content=body,
        headers={**headers, "Content-Type": "application/json"},
        timeout=20,
        trust_env=False,
    ).status_code


def repeat(web, office, payload):
    """Deliver again; None while the server is not back."""
    try:
        return deliver(web, office, payload)
    except httpx.TransportError:
        return None


# --- the drain ----------------------------------------------------------------------------------


@pytest.mark.parametrize("point", points_of("drain"))
def test_fault_09_kill_9_of_a_drain_at(committed_office, run_drain, arm, point):
    office = committed_office
    for n in range(9):
        words = "STOP" if n == 4 else f"text {n}"
        office.post(office.payload(words, theirs=f"+1202555{n % 3:04d}", id=f"in_{n}"))
    arm(point)

    died(run_drain("--only", "events", **arm.environment), arm)

    invariants.assert_sound()
    assert eventually(lambda: drain() or not unfinished(office), 10)
    invariants.assert_sound()
    assert invariants.unsettled() == {"texts in flight": invariants.unsettled()["texts in flight"]}
    with office.inside():
        assert LeadEvent.objects.filter(kind="message_received").count() == 9
        assert set(WebhookWork.objects.values_list("attempts", flat=True)) == {0}
        assert Lead.objects.filter(state="suppressed").count() == 1
        assert OutboundMessage.objects.filter(purpose="opt_out_confirmation").count() == 1


def unfinished(office):
    with office.inside():
        return WebhookWork.objects.exclude(state="done").count()


# --- the sender ---------------------------------------------------------------------------------


@pytest.mark.parametrize("point", points_of("sender"))
def test_fault_15_and_16_kill_9_of_a_sender_at(
    committed_office, carrier, queue, run_drain, arm, settings, point
):
    office, settings.BASE_URL = committed_office, "http://127.0.0.1:9"
    with office.inside():
        office.integration.base_url = carrier.url
        office.integration.save()
    people = [f"+1202555{n:04d}" for n in range(3)]
    for n, theirs in enumerate(people):
        queue(office, f"text {n}", theirs=theirs)
    arm(point)

    died(run_drain("--only", "sends", FAIRLEAD_BASE_URL=settings.BASE_URL, **arm.environment), arm)

    invariants.assert_sound()
    office.post(office.payload("STOP", theirs=people[0]))  # while nobody sends
    before = carrier.accepted(people[0])
    drain()
    for _ in range(4):
        time_passes(office)
        send_due(office)

    invariants.assert_sound()
    assert invariants.sent_more_than_once(carrier) == {}
    confirmations = [body for body in carrier.accepted(people[0]) if "opted out" in body]
    assert carrier.accepted(people[0]) == before + confirmations
    assert len(confirmations) == 1
    for n, theirs in enumerate(people[1:], 1):
        assert carrier.accepted(theirs) == [f"text {n}"]
    with office.inside():
        assert set(
            OutboundMessage.objects.filter(to_address__in=people[1:]).values_list(
                "state", flat=True
            )
        ) == {"sent"}
        assert SendAttempt.objects.filter(attempt__gt=1).count() == 0


def time_passes(office):
    """The claim is older than any call may last, and unknowns are due to be asked about."""
    with office.inside():
        OutboundMessage.objects.filter(state="sending").update(
            claimed_at=timezone.now() - timedelta(minutes=5)
        )
        OutboundMessage.objects.filter(state="unknown").exclude(retry_at=None).update(
            retry_at=timezone.now()
        )


# --- timers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", points_of("timers"))
def test_kill_9_of_the_timers_at(committed_office, run_drain, arm, point):
    office = committed_office
    for n in range(4):
        lead = office.lead(f"+1202555{n:04d}")
        with office.inside():
            move_lead(lead.pk, to="touched")
            arm_timer(lead.pk, kind="7D", days=7)
    with office.inside():
        LeadTimer.objects.update(fire_at=timezone.now() - timedelta(seconds=1))
    arm(point)

    died(run_drain("--only", "timers", **arm.environment), arm)

    invariants.assert_sound()
    assert fire_due() == (3 if point == "timers.after_commit" else 4)
    invariants.assert_sound()
    assert invariants.unsettled() == {}
    with office.inside():
        assert LeadEvent.objects.filter(kind="timer_7d").count() == 4
        assert Lead.objects.filter(state="retargeting").count() == 4


def test_points_mean_nothing_outside_tests(committed_office, run_drain, arm):
    office = committed_office
    office.post(office.payload("hello"))
    arm("drain.after_claim")

    everywhere = {**arm.environment, "FAIRLEAD_ENV": "development"}
    run_drain("--only", "events", "--once", **everywhere).finish()

    assert not arm.was_hit()
    assert unfinished(office) == 0
