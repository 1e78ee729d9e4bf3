"""Secrets, logins, hosts, tasks: what must not get out, and who must not get in."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django_q.models import OrmQ, Schedule, Task

from campaigns.actions_tenants import add_member, make_user
from config.schedules import SCHEDULES
from integrations.models import Integration
from integrations.providers import providers
from messaging.models import OutboundMessage
from tenants.cluster import locate_task
from tests.admin_world import boss, enter, tables, url, visitor
from tests.carrier import send_due
from tests.conftest import drain
from tests.messaging.conftest import _carrier, carrier, queue
from tests.raw import connected
from tests.test_urls_isolation import HOST, every_page

__all__ = ["_carrier", "carrier", "queue"]

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(settings.BASE_DIR)

# --- 48: a canary for every secret --------------------------------------------------------------

CANARIES = {
    "api_key": "canary-api-key-4711",
    "secret": "canary-secret-4712",
    "previous_secret": "canary-previous-4713",
}


@pytest.fixture
def canaries(committed_office, carrier):
    office = committed_office
    with office.inside():
        for name, value in CANARIES.items():
            setattr(office.integration, name, value)
        office.integration.base_url = carrier.url
        office.integration.save()
    return office


def everything_stored():
    """Return every value of every table as text, as the owner sees it."""
    with connected(as_owner=True) as own:
        names = own.execute(
            "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class AS c"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE n.nspname IN ('public', 'parts') AND c.relkind = 'r'"
        ).fetchall()
        for (name,) in names:
            for (row,) in own.execute(f"SELECT t::text FROM {name} AS t"):
                yield name, row
            for (row,) in own.execute(
                f"SELECT encode(convert_to(to_jsonb(t)::text, 'UTF8'), 'escape') FROM {name} AS t"
            ):
                yield name, row


def test_fault_48_secrets_are_nowhere(canaries, carrier, queue, own_pages, caplog, capsys):
    """Accepted and refused webhooks, sends that work and fail, errors: no secret is written."""
    office = canaries
    caplog.set_level(logging.DEBUG)
    body = json.dumps(office.payload("hello")).encode()
    sign = providers["signalhouse"]().sign
    now = datetime.now(UTC)
    good = sign(body, CANARIES["secret"], now, "d-1")
    hidden = {"Authorization": f"Bearer {CANARIES['api_key']}", "Cookie": "s=canary-cookie-4714",
              "X-Api-Key": CANARIES["api_key"], "X-Secret": CANARIES["secret"]}  # fmt: skip
    assert office.post(body, headers={**good, **hidden}).status_code == 202
    assert office.post(body, headers={**hidden}).status_code == 401
    assert office.post(b"{", headers={**hidden}).status_code == 401
    drain()
    queue(office, "one")
    carrier.fault("500")
    send_due(office)
    with office.inside():
        Integration.objects.update(base_url="http://127.0.0.1:1")
    queue(office, "two", theirs="+12025550143")
    send_due(office)
    with office.inside():
        Integration.objects.update(base_url="http://[bad")
    queue(office, "three", theirs="+12025550144")
    send_due(office)

    html = own_pages(office)
    error = Client(raise_request_exception=False)
    error.cookies["sessionid"] = "canary-cookie-4714"
    html += error.get("/admin/").content.decode()

    words = [*CANARIES.values(), "canary-cookie-4714", office.endpoint.token]
    said = caplog.text + "".join(capsys.readouterr())
    for word in words:
        assert word not in said, "a log"
        assert word not in html, "a page"
    for name, row in everything_stored():
        for word in words:
            assert word not in row, name
    assert all(word not in repr(office.integration) + str(office.integration) for word in words)


class Values(dict):
    """What addresses are filled with; whatever a page asks for besides does not exist."""

    def __missing__(self, name):
        return HOST if name == "host" else "nothing"


@pytest.fixture
def own_pages(login):
    """Render what operators and agents may look at."""

    def render(office):
        with office.inside():
            outbound = OutboundMessage.objects.select_related("conversation").first()
            values = Values(
                {
                    "conv": outbound.conversation_id,
                    "message": outbound.message_id,
                    "lead_id": outbound.lead_id,
                    "stage": outbound.conversation.stage,
                    "address": outbound.to_address,
                    "anything": outbound.message_id,
                    "integration": office.integration.pk,
                }
            )
        agent, clerk = login(office), boss(office)
        pages = [agent.get(path) for _, path in every_page(office.tenant.slug, values)]
        for model in tables():
            pages.append(clerk.get(url(model, "changelist")))
        pages.append(clerk.get(url(Integration, "change", office.integration.pk)))
        return "".join(page.content.decode() for page in pages if not page.streaming)

    return render


def test_fault_48_a_secret_is_no_argument_of_a_task():
    """Arguments of tasks are pickled into a table: only ids go there."""
    code = [
        line
        for app in [*settings.LOCAL_APPS, "config"]
        for path in (ROOT / app).rglob("*.py")
        for line in path.read_text().splitlines()
        if "async_task(" in line or "schedule(" in line
    ]
    assert not [line for line in code if re.search("secret|token|password|api_key", line)]


# --- 49: logging in -----------------------------------------------------------------------------

PASSWORD = "correct horse battery 4711"


@pytest.fixture
def person(committed_office):
    client = Client()
    user = make_user(username="dana", name="Dana", email="dana@x.example", password_hash="!")
    user.set_password(PASSWORD)
    user.save()
    add_member(committed_office.tenant.pk, user=user, role="agent")
    return client


def try_login(password, address="198.51.100.7", name="dana", **headers):
    client = Client(raise_request_exception=False)
    return client, client.post(
        "/login/", {"username": name, "password": password}, REMOTE_ADDR=address, **headers
    )


def test_fault_49_guessing_locks_the_name_from_that_address(person):
    for _ in range(5):
        try_login("wrong")
    _, locked = try_login(PASSWORD)
    _, elsewhere = try_login(PASSWORD, address="203.0.113.9")

    assert locked.status_code in (403, 429)
    assert elsewhere.status_code == 302


def test_fault_49_a_forwarded_address_that_nobody_vouches_for_helps_no_guesser(person):
    """Without a proxy of ours the header is the guesser's own invention."""
    for n in range(5):
        try_login("wrong", HTTP_X_FORWARDED_FOR=f"192.0.2.{n}", HTTP_X_REAL_IP=f"192.0.2.{n}")
    _, answer = try_login(PASSWORD, HTTP_X_FORWARDED_FOR="192.0.2.99")

    assert answer.status_code in (403, 429)


def test_fault_49_a_forwarded_address_locks_nobody_else_out(person):
    for _ in range(6):
        try_login("wrong", HTTP_X_FORWARDED_FOR="203.0.113.9")
    _, victim = try_login(PASSWORD, address="203.0.113.9")

    assert victim.status_code == 302


def test_fault_49_a_session_begins_anew_at_login(person):
    client = Client()
    client.get("/login/")
    session = client.session
    session["planted"] = "yes"
    session.save()
    planted = client.cookies[settings.SESSION_COOKIE_NAME].value if client.cookies else ""

    client.post("/login/", {"username": "dana", "password": PASSWORD})

    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    assert cookie.value not in ("", planted)
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "a b", "x/../y", ""])
def test_fault_49_a_host_that_is_not_ours_is_refused(committed_office, host):
    answers = [
        Client(raise_request_exception=False).get(path, HTTP_HOST=host)
        for path in ("/login/", "/t/x/", "/admin/")
    ]

    assert {answer.status_code for answer in answers} <= {400, 302} if not host else {400}
    for answer in answers:
        if host:
            assert answer.status_code == 400
            assert host not in answer.get("Location", "")


PRODUCTION = {
    "FAIRLEAD_ENV": "production",
    "FAIRLEAD_SECRET_KEY": "proof-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWX",
    "FAIRLEAD_ENCRYPTION_KEYS": "bGludC1saW50LWxpbnQtbGludC1saW50LWxpbnQtbGk=",
    "FAIRLEAD_BASE_URL": "https://fairlead.example",
    "FAIRLEAD_ALLOWED_HOSTS": "fairlead.example",
}


def test_fault_49_production_is_strict():
    script = (
        "import json, django; django.setup(); from django.conf import settings as s;"
        "from django.core.management import call_command;"
        "call_command('check', deploy=True, fail_level='WARNING');"
        "print(json.dumps([s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE,"
        " s.SESSION_COOKIE_HTTPONLY, s.SESSION_COOKIE_SAMESITE,"
        " s.SECURE_HSTS_SECONDS > 31_000_000, s.SECURE_SSL_REDIRECT,"
        " s.DEBUG, s.ALLOWED_HOSTS]))"
    )
    # Browser tests of the same run set it for Playwright's thread.
    environment = {key: os.environ[key] for key in os.environ if "ASYNC_UNSAFE" not in key}
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**environment, **PRODUCTION, "DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout.splitlines()[-1])
    assert said == [True, True, True, "Lax", True, True, False, ["fairlead.example"]]


@pytest.mark.parametrize(
    "missing", ["FAIRLEAD_SECRET_KEY", "FAIRLEAD_ENCRYPTION_KEYS", "FAIRLEAD_BASE_URL"]
)
def test_fault_49_production_has_no_default_for_what_is_secret(missing):
    environment = {name: value for name, value in PRODUCTION.items() if name != missing}
    ran = subprocess.run(
        [sys.executable, "-c", "import config.settings"],
        cwd=ROOT,
        env={**{k: v for k, v in os.environ.items() if k != missing}, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode != 0
    assert ImproperlyConfigured.__name__ in ran.stderr


# --- 50: tasks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [Schedule, OrmQ, Task], ids=lambda model: model.__name__)
@pytest.mark.parametrize("page", ["", "add/", "1/change/", "1/delete/"])
def test_fault_50_tasks_have_no_page(committed_office, model, page):
    address = f"/admin/django_q/{model._meta.model_name}/{page}"
    for client in (boss(committed_office), enter(visitor(), committed_office.tenant)):
        assert client.get(address).status_code == 404
        assert client.post(address, {"func": "os.system", "args": "'id'"}).status_code == 404


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "subprocess.run",
        "builtins.eval",
        "config.schedules_evil.x",
        "config.settings.env",
        "config.schedules",
        "django.core.management.call_command",
        "",
    ],
)
def test_fault_50_a_task_that_is_none_of_ours_is_not_run(name):
    assert locate_task(name) is None


def test_fault_50_our_own_tasks_are_run():
    for function, _ in SCHEDULES.values():
        assert callable(locate_task(function)), function
