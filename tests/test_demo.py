"""The demo: its data, its tie to the sandbox, its processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import datetime
from io import StringIO
from itertools import pairwise
from zoneinfo import ZoneInfo

import httpx
import psutil
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from campaigns.demo import info
from campaigns.demo.build import CARRIER, build_demo
from campaigns.demo.cast import COMPANIES, PASSWORD
from campaigns.demo.link import link_all
from campaigns.demo.lists import LIST, ROWS
from campaigns.demo.people import make_people
from campaigns.demo.stories import LEADS_PER_TENANT, STORIES
from campaigns.demo.telling import Tale
from campaigns.models import CallItem
from integrations.models import Integration
from integrations.sandbox.app import Sandbox
from integrations.sandbox.server import running
from leads.models import Consent, Import, Lead, LeadScore, LeadTimer, Stage, Worker
from messaging.models import Conversation, Message, Notification, StageMembership
from tenants.context import tenant_context
from tenants.models import Actor, Tenant, User

pytestmark = pytest.mark.django_db(transaction=True)


def tenants():
    return [Tenant.objects.get(slug=company.slug) for company in COMPANIES]


def eventually(question, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = question()
        if answer:
            return answer
        time.sleep(0.1)
    return question()


@pytest.fixture
def demo():
    return build_demo(sandbox_url="http://127.0.0.1:9")


def test_the_demo_is_made_once_and_quickly():
    started = time.monotonic()
    made = build_demo(sandbox_url="http://127.0.0.1:9")
    took = time.monotonic() - started

    assert made == 2 * LEADS_PER_TENANT == 300
    assert took < 10  # 1.5 s on an idle machine
    assert build_demo(sandbox_url="http://127.0.0.1:9") == 0
    assert Tenant.objects.filter(slug__in=[c.slug for c in COMPANIES]).count() == 2


def test_every_inbox_has_somebody_waiting_and_a_bell_that_rang(demo):
    for tenant in tenants():
        with tenant_context(tenant.pk):
            stages = set(Stage.objects.values_list("key", flat=True))
            waiting = Conversation.objects.filter(waiting_since__isnull=False, status="open")
            assert {c.stage for c in waiting} == stages
            agent = Actor.objects.filter(role="agent").first()
            rang = Notification.objects.filter(actor=agent, read_at=None)
            assert {n.stage for n in rang} == stages
            statuses = Counter(Conversation.objects.values_list("status", flat=True))
            assert min(statuses[name] for name in ("open", "snoozed", "done")) >= 4


def test_leads_stand_where_their_stories_left_them(demo):
    wanted = Counter()
    for story in STORIES:
        moves = [move.to for move in story.moves if move.to]
        wanted[moves[-1] if moves else "new"] += story.count
    for tenant in tenants():
        with tenant_context(tenant.pk):
            told = Lead.objects.exclude(source="upload")
            assert Counter(told.values_list("state", flat=True)) == wanted
            listed = Import.objects.get(name=LIST)
            assert (listed.state, listed.created, listed.errors) == ("imported", ROWS, 1)
            assert Lead.objects.filter(run=listed.run).count() == ROWS
            assert LeadScore.objects.count() == Lead.objects.count()
            assert set(CallItem.objects.values_list("reason", flat=True)) == {
                "gold", "email", "wants_call",
            }  # fmt: skip
            states = Counter(Consent.objects.values_list("state", flat=True))
            assert states == {"opted_out": 5, "held": 2}
            live = LeadTimer.objects.filter(fired_at=None, cancelled_at=None)
            assert live.count() > 40
            texts = list(Message.objects.order_by("conversation_id", "id"))
            assert "{" not in "".join(text.body for text in texts)
            for older, newer in pairwise(texts):
                if older.conversation_id == newer.conversation_id:
                    assert older.occurred_at < newer.occurred_at


@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_steps_of_a_story_keep_their_order_at_any_hour_of_the_day(hour):
    zone = ZoneInfo("America/Chicago")
    now = datetime(2026, 11, 3, hour, 10, tzinfo=zone)
    for story in STORIES:
        steps = sorted({step.hours for step in (*story.texts, *story.moves)}, reverse=True)
        for turn in range(story.count):
            tale = Tale(story=story, person=None, turn=turn, now=now, zone=zone)
            moments = [tale.at(hours) for hours in steps]
            assert moments == sorted(moments), story.name
            assert all(moment <= now for moment in moments), story.name


def test_people_are_made_up_and_all_different():
    people = [
        person
        for company in COMPANIES
        for person in make_people(
            LEADS_PER_TENANT, seed=company.slug, first_ending=company.first_ending
        )
    ]

    assert len({person.phone for person in people}) == 300
    assert all(person.phone[5:9] == "5550" and person.phone[9] == "1" for person in people)
    ours = {number for company in COMPANIES for _, number in company.numbers}
    assert not ours & {person.phone for person in people}
    again = make_people(3, seed=COMPANIES[0].slug, first_ending=10)
    assert again == people[:3]


def test_everybody_can_log_in(demo):
    for login in info.logins():
        assert User.objects.get(username=login["username"]).check_password(login["password"])


def test_the_demo_ties_itself_to_a_sandbox_and_keeps_the_tie(demo):
    sandbox = Sandbox(pace=0.0, answers=False)
    with running(sandbox) as url, httpx.Client(base_url=url, trust_env=False) as client:
        link_all(url)
        first = secrets_of()
        link_all(url)

        assert secrets_of() == first
        assert all(first.values())
        assert len(sandbox.carrier.state.endpoints) == 2
        assert len(sandbox.carrier.state.numbers) == 10
        handsets = client.get("/_control/handsets").json()["handsets"]
        assert len([handset for handset in handsets if handset["name"]]) == 300

        client.post("/_control/reset")
        link_all(url)
        assert secrets_of().keys() == first.keys()
        assert secrets_of() != first


def test_data_vendors_are_connected_once_and_follow_the_sandbox(demo):
    with running(Sandbox(pace=0.0, answers=False)) as url:
        with tenant_context(tenants()[0].pk):
            Integration.objects.filter(provider="twilio").update(
                settings={"lookup_url": "http://x"}
            )
        link_all(url)
        link_all(url)

        for tenant in tenants():
            with tenant_context(tenant.pk):
                rows = {row.provider: row for row in Integration.objects.exclude(base_url="")}
                for provider in ("batchdata", "melissa", "instantly", "apollo"):
                    assert rows[provider].base_url == url
                    urls = rows[provider].endpoints.values_list("signed", flat=True)
                    assert list(urls) == ([] if provider == "melissa" else [False])
                assert rows["twilio"].settings["lookup_url"] == url
                assert Integration.objects.filter(provider="apollo").count() == 1


def secrets_of():
    found = {}
    for tenant in tenants():
        with tenant_context(tenant.pk):
            found[tenant.slug] = str(Integration.objects.get(name=CARRIER).secret)
    return found


def test_demo_info_says_what_scripts_need(demo, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLEAD_DEMO_DIR", str(tmp_path))
    info.write_addresses(base_url="http://127.0.0.1:8123", sandbox_url="http://127.0.0.1:8222")

    out = StringIO()
    call_command("demo_info", "--json", stdout=out)
    told = json.loads(out.getvalue())

    assert set(told) == {"base_url", "sandbox_url", "logins", "tenants", "control"}
    assert told["control"]["faults"] == "http://127.0.0.1:8222/_control/faults"
    assert {login["role"] for login in told["logins"]} == {
        "agent", "observer", "operator", "tenant_admin", "superuser",
    }  # fmt: skip
    for tenant in told["tenants"]:
        assert set(tenant) == {"slug", "id", "integrations"}
        signalhouse, unsigned, generic, *others = tenant["integrations"]
        assert [one["provider"] for one in others] == [
            "twilio", "ghl", "aloware", "batchdata", "instantly", "apollo", "custom",
        ]  # fmt: skip
        assert set(signalhouse) == {"provider", "name", "webhook_url", "secret", "numbers"}
        assert signalhouse["webhook_url"].startswith("http://127.0.0.1:8123/hooks/signalhouse/")
        assert len(signalhouse["numbers"]) == 4
        assert len(others[0]["numbers"]) == 1
        assert unsigned["secret"] is None
        assert len(unsigned["numbers"]) == 1
        assert generic["provider"] == "standard_webhooks"
        assert generic["secret"].startswith("whsec_")
    people = StringIO()
    call_command("demo_info", stdout=people)
    assert PASSWORD in people.getvalue()


def test_demo_info_without_a_demo_says_what_to_do():
    with pytest.raises(CommandError, match=r"manage\.py demo"):
        call_command("demo_info")


@pytest.mark.parametrize("command", ["demo", "demo_info"])
def test_there_is_no_demo_in_production(settings, command):
    settings.PRODUCTION = True

    with pytest.raises(CommandError, match="production"):
        call_command(command)


@pytest.mark.parametrize("variable", ["PORT", "SANDBOX_PORT"])
def test_a_taken_port_is_named_before_anything_starts(settings, monkeypatch, variable):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings.PORT = port if variable == "PORT" else free_port()
        monkeypatch.setenv("SANDBOX_PORT", str(port if variable != "PORT" else free_port()))

        with pytest.raises(CommandError, match=f"Port {port} is in use.*{variable}"):
            call_command("demo")


def test_create_tenant_makes_stages_workers_and_an_admin():
    out = StringIO()
    call_command(
        "create_tenant", "acme", "--name", "Acme", "--admin-email", "Ann@Example.com", stdout=out
    )

    tenant = Tenant.objects.get(slug="acme")
    password = out.getvalue().split("password ")[1].split()[0]
    user = User.objects.get(username="ann@example.com")
    assert user.check_password(password)
    with tenant_context(tenant.pk):
        assert Stage.objects.count() == 5
        assert Worker.objects.count() == 3
        actor = Actor.objects.get(user=user)
        assert actor.role == "tenant_admin"
        assert StageMembership.objects.filter(actor=actor, role="active").count() == 5


@pytest.mark.parametrize(
    ("slug", "email", "match"),
    [
        ("platform", "a@example.com", "already"),
        ("no spaces", "a@example.com", "slug"),
        ("fine", "nobody", "valid email"),
    ],
)
def test_create_tenant_refuses_what_is_wrong_and_writes_nothing(slug, email, match):
    before = Tenant.objects.count(), User.objects.count()

    with pytest.raises(CommandError, match=match):
        call_command("create_tenant", slug, "--name", "X", "--admin-email", email)

    assert (Tenant.objects.count(), User.objects.count()) == before


# The processes


class Demo:
    """A running `manage.py demo` on the test database."""

    def __init__(self, folder):
        self.port, self.sandbox_port = free_port(), free_port()
        self.lines = []
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "demo"],
            cwd=settings.BASE_DIR,
            env={
                **os.environ,
                "DB_NAME": connection.settings_dict["NAME"],
                "PORT": str(self.port),
                "SANDBOX_PORT": str(self.sandbox_port),
                "FAIRLEAD_DEMO_DIR": str(folder),
                "FAIRLEAD_BASE_URL": f"http://127.0.0.1:{self.port}",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def output(self):
        return "".join(self.lines)

    def says(self, words, seconds=60):
        eventually(lambda: words in self.output or self.process.poll() is not None, seconds)
        assert words in self.output, self.output
        return self.output

    def child(self, words):
        for process in psutil.Process(self.process.pid).children():
            if words in " ".join(process.cmdline()):
                return process
        return None


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


@pytest.fixture
def running_demo(tmp_path):
    demo = Demo(tmp_path)
    yield demo
    demo.process.kill()
    demo.process.wait()


@pytest.mark.chaos
def test_the_demo_starts_takes_a_text_mends_itself_and_stops(running_demo):
    output = running_demo.says("Ctrl-C stops")
    assert f"http://127.0.0.1:{running_demo.port}/" in output
    assert "harbor-agent" in output
    with httpx.Client(trust_env=False, timeout=5) as http:
        assert http.get(f"http://127.0.0.1:{running_demo.port}/login/").status_code == 200

        phones = f"http://127.0.0.1:{running_demo.sandbox_port}"
        text_in(http, phones, "before the kill")
        assert eventually(lambda: filed("before the kill"), 15)

        for words in ("sandbox", "worker", "config.web"):
            victim = running_demo.child(words)
            family = [victim, *victim.children(recursive=True)]
            victim.send_signal(signal.SIGKILL)
            running_demo.says(f"{words.removeprefix('config.')} ended (SIGKILL)", 10)
            assert eventually(lambda family=family: not any(map(is_alive, family)), 10)
        assert eventually(lambda: answers(http, running_demo.port), 30)
        assert eventually(lambda: text_in(http, phones, "after the kill"), 10)
        assert eventually(lambda: filed("after the kill"), 20)

    running_demo.process.send_signal(signal.SIGINT)
    assert running_demo.process.wait(10) == 0
    assert "Traceback" not in running_demo.output
    with socket.create_server(("127.0.0.1", running_demo.port)):
        pass  # the port is free again


def is_alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def answers(http, port):
    try:
        return http.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def text_in(http, phones, words):
    body = {"from": "+12025550117", "to": "+12025550100", "text": words}
    try:
        return http.post(f"{phones}/_control/inbound", json=body).status_code == 202
    except httpx.HTTPError:
        return False


def filed(words):
    tenant = Tenant.objects.filter(slug="harbor-homes").first()
    with tenant_context(tenant.pk):
        return Message.objects.filter(body=words, direction="in").count() == 1
