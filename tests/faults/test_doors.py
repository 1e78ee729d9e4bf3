"""The doors of webhooks: who is refused, what a refusal leaves behind, and what a guess costs."""

from __future__ import annotations

import json
import random
import string
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver

from integrations import guesses, webhooks
from integrations.endpoints import _memory
from integrations.models import WebhookEvent, WebhookReceipt, WebhookRejection
from integrations.providers import providers
from messaging.urls import urlpatterns as pages
from tests.conftest import make_office
from tests.integrations.test_fuzz import NOW, door, recorded, written
from tests.raw import rows

__all__ = ["door"]

pytestmark = pytest.mark.django_db(transaction=True)


# --- 38: signatures -----------------------------------------------------------------------------


def signature_headers(signed):
    """Return the names of the headers that carry a proof, not a time or an id."""
    return [
        name for name in signed
        if any(word in name.lower() for word in ("signature", "authorization", "auth"))
    ]  # fmt: skip


def spoiled(signed, name):
    """Return (what is wrong, headers) for everything one can do to a proof."""
    value = signed[name]
    half = len(value) // 2
    flipped = value[:-2] + ("A" if value[-2] != "A" else "B") + value[-1]
    return [
        ("missing", {key: other for key, other in signed.items() if key != name}),
        ("empty", {**signed, name: ""}),
        ("N/A", {**signed, name: "N/A"}),
        ("truncated", {**signed, name: value[:half]}),
        ("one letter", {**signed, name: flipped}),
        ("another's", {**signed, name: "0" * len(value)}),
        ("huge", {**signed, name: "0" * 9000}),
    ]


@pytest.mark.parametrize("name", sorted(providers))
def test_fault_38_only_the_right_signature_opens(door, committed_office, name):
    opened, client = door(name), Client(raise_request_exception=False)
    one = recorded(name)[0]
    raw = written(one.body, one.content_type)
    url = f"{webhooks.settings.BASE_URL}{opened.path}"
    extra = {key: value for key, value in one.headers.items() if not signature_headers({key: ""})}

    def post(body, headers):
        return client.post(
            opened.path, body, content_type=one.content_type, headers={**extra, **headers}
        ).status_code

    def sign(body, secret=opened.secret, at=NOW):
        return providers[name]().sign(body, secret, at, "d-1", url)

    good = sign(raw)
    proofs = signature_headers(good)
    assert proofs, name
    for proof in proofs:
        others = {key: "" for key in proofs if key != proof}  # no second proof may save it
        for wrong, headers in spoiled({**good, **others}, proof):
            assert post(raw, headers) == 401, (proof, wrong)
    if not providers[name].has_vendor_key:
        assert post(raw, sign(raw, "another-tenants-secret")) == 401
        assert post(raw, sign(raw, "")) == 401
    if name != "aloware":  # its secret comes as it is, and signs nothing
        assert post(raw + b" ", good) == 401  # the same meaning, other bytes
        if isinstance(one.body, dict):
            assert post(json.dumps(one.body, indent=1).encode(), good) == 401
    with committed_office.inside():
        assert not WebhookEvent.objects.exists()
        assert not WebhookReceipt.objects.exists()
        samples = WebhookRejection.objects.count()
    assert 0 < samples <= 50

    assert post(raw, good) in (200, 202)
    assert post(raw, good) == 200


@pytest.mark.parametrize("name", sorted(providers))
def test_fault_39_an_old_delivery_is_not_taken_as_a_new_one(door, committed_office, name):
    """Where a signature has a time: captured long ago, and sent once more."""
    opened, client = door(name), Client(raise_request_exception=False)
    one = recorded(name)[0]
    raw = written(one.body, one.content_type)
    url = f"{webhooks.settings.BASE_URL}{opened.path}"
    old = providers[name]().sign(raw, opened.secret, NOW - timedelta(minutes=6), "d-old", url)
    fresh = providers[name]().sign(raw, opened.secret, NOW, "d-new", url)
    if old == fresh or _same_but_ids(old, fresh):
        pytest.skip("this sender's proof has no time; receipts alone keep replays out")

    answer = client.post(opened.path, raw, content_type=one.content_type, headers=old)

    assert answer.status_code == 401
    with committed_office.inside():
        assert not WebhookEvent.objects.exists()


def _same_but_ids(old, fresh):
    return {k: v for k, v in old.items() if v != "d-old"} == {
        k: v for k, v in fresh.items() if v != "d-new"
    }


# --- 40: guesses --------------------------------------------------------------------------------

COUNTED = (
    "webhook_events", "webhook_receipts", "webhook_work", "webhook_rejections", "work_events",
    "webhook_endpoints", "audit_log",
)  # fmt: skip


def counts(office):
    with office.inside():
        return {table: rows(f"SELECT count(*) FROM {table}")[0][0] for table in COUNTED}


def guess(chance):
    return "".join(chance.choices(string.ascii_letters + string.digits + "_-", k=43))


def test_fault_40_guesses_are_404_then_429_and_leave_nothing(committed_office):
    office, chance = committed_office, random.Random("guesses")
    office.post(office.payload("hello"))
    before, remembered = counts(office), len(_memory.entries)
    client = Client(raise_request_exception=False)

    answers = [
        client.post(f"/hooks/signalhouse/{guess(chance)}/", b"{}", content_type="application/json")
        for _ in range(300)
    ]

    statuses = [answer.status_code for answer in answers]
    assert statuses == [404] * guesses.A_MINUTE + [429] * (300 - guesses.A_MINUTE)
    assert answers[-1]["Retry-After"] == "60"
    assert counts(office) == before
    assert len(_memory.entries) == remembered
    # Who has a URL is served from the guesser's own address, too.
    assert office.post(office.payload("still there")).status_code == 202


def test_fault_40_guessers_are_told_apart_by_addresses_that_proxies_vouch_for(settings):
    def ask(**headers):
        return Client(raise_request_exception=False).post(
            f"/hooks/signalhouse/{'x' * 43}/", b"{}", content_type="application/json", **headers
        ).status_code  # fmt: skip

    for n in range(guesses.A_MINUTE):
        ask(HTTP_X_FORWARDED_FOR=f"192.0.2.{n}")
    assert ask(HTTP_X_FORWARDED_FOR="192.0.2.200") == 429  # its own invention
    assert ask(REMOTE_ADDR="203.0.113.5") == 404
    settings.PROXIES = 1
    assert ask(HTTP_X_FORWARDED_FOR="198.51.100.1, 192.0.2.201") == 404


def test_fault_40_the_memory_of_guessers_is_bounded(monkeypatch):
    monkeypatch.setattr(guesses, "MOST", 50)
    for n in range(500):
        guesses.guesses_too_much(f"192.0.2.{n}")

    assert len(guesses._misses) <= 50


def test_fault_40_a_token_is_looked_up_by_its_hash_alone(committed_office):
    """The database compares digests: how long it takes says nothing about a token."""
    plan = "\n".join(
        line
        for (line,) in rows("EXPLAIN SELECT FROM webhook_endpoints WHERE token_hash = %s", "0" * 64)
    )
    columns = {
        name
        for (name,) in rows(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = 'webhook_endpoints' AND column_name LIKE %s",
            "token%",
        )
    }
    assert "token_hash" in plan
    assert columns == {"token", "token_hash"}
    with committed_office.inside():
        stored = rows("SELECT token FROM webhook_endpoints")[0][0]
    assert committed_office.endpoint.token not in stored  # encrypted


# --- 41: every door is known --------------------------------------------------------------------

#: Addresses outside a tenant's pages and the admin, and why none of them shows a tenant's row.
ELSEWHERE = {
    "webhook": "tests/integrations/test_webhooks.py: a token names its tenant",
    "webhook-attempt": "the same",
    "healthz": "says ok",
    "readyz": "counts over all tenants",
    "live": "tests/messaging/test_live.py and tests/browser/test_stream.py: its own tenant alone",
    "landing": "redirects to a tenant of the person",
    "login": "before any tenant",
    "logout": "after any tenant",
}


def every_pattern(patterns, prefix=""):
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield route, pattern
        else:
            yield from every_pattern(pattern.url_patterns, route)


def test_fault_41_every_address_is_walked_by_a_test():
    """A new page is in the walk of ``tests/test_urls_isolation.py``, or in the list above."""
    walked = {pattern.name for pattern in pages}
    unknown = {
        (route, pattern.name)
        for route, pattern in every_pattern(get_resolver().url_patterns)
        if not route.startswith("admin/")
        and not (route.startswith("t/<slug:slug>/") and pattern.name in walked)
        and (pattern.name or route) not in ELSEWHERE
        # Walked with another tenant's ids, and without a key, in tests/leads/test_api.py.
        and not route.startswith("api/v1/")
    }

    assert unknown == set()
    assert None not in walked


def test_fault_41_pages_outside_of_tenants_tell_of_none(committed_office, login):
    other = make_office("zanzibar", "+13125550100")
    client = login(committed_office)
    for path in ("/", "/login/", "/healthz", "/readyz", "/admin/"):
        html = client.get(path, follow=True).content.decode().lower()
        assert other.tenant.slug not in html, path
