"""Instantly: a verdict comes of one field, and a catch-all domain earns none."""

from __future__ import annotations

import json

import pytest

from integrations.providers import Account, providers
from tests.integrations.vendor_answers import (
    BODIES,
    HEADERS,
    STATUSES,
    check,
    mutations,
    recorded,
)

INSTANTLY = providers["instantly"]()
ACCOUNT = Account(base_url="http://127.0.0.1:8099", api_key="k")
EMAIL = "jordan@example.com"
SERVICE = "email_verification"


def read(body, status=200, headers=None):
    return INSTANTLY.read_email_check(SERVICE, status, headers or {}, body, EMAIL)


def answer(**changes):
    whole = json.loads(recorded("instantly", "verified")[1]) | changes
    return read(json.dumps(whole).encode())


def test_a_request_asks_for_an_answer_where_there_is_a_place_for_it():
    plain = INSTANTLY.build_email_check(SERVICE, EMAIL, ACCOUNT)
    called = INSTANTLY.build_email_check(SERVICE, EMAIL, ACCOUNT, "https://x.example.com/h/")

    assert plain.url == "http://127.0.0.1:8099/api/v2/email-verification"
    assert json.loads(plain.body) == {"email": EMAIL}
    assert json.loads(called.body)["webhook_url"] == "https://x.example.com/h/"
    poll = INSTANTLY.build_email_poll(SERVICE, "o'neil+a/b@example.com", ACCOUNT)
    assert (poll.method, poll.body) == ("GET", b"")
    assert poll.url.endswith("/email-verification/o%27neil%2Ba%2Fb%40example.com")


@pytest.mark.parametrize(
    ("changes", "kind", "verdict", "code"),
    [
        ({}, "hit", "verified", "verified"),
        ({"status": "error"}, "hit", "verified", "verified"),  # of the request, not the address
        ({"verification_status": "invalid"}, "hit", "invalid", "invalid"),
        ({"catch_all": True}, "hit", "catch_all", "catch_all"),
        ({"catch_all": "pending"}, "pending", "pending", "pending"),
        ({"catch_all": None}, "hit", "unknown", "unknown"),
        ({"catch_all": "no"}, "hit", "unknown", "unknown"),
        ({"verification_status": "pending"}, "pending", "pending", "pending"),
        ({"verification_status": "invalid", "catch_all": True}, "hit", "invalid", "invalid"),
        ({"verification_status": "VERIFIED"}, "miss", "unknown", "VERIFIED"),
        ({"verification_status": None}, "miss", "unknown", "unknown"),
    ],
)
def test_a_verdict_is_what_the_vendor_vouches_for(changes, kind, verdict, code):
    found = answer(**changes)

    assert (found.kind, found.verdict, found.code) == (kind, verdict, code)
    assert found.units == (0 if kind == "pending" else 1)


def test_an_answer_about_another_address_verifies_nothing():
    found = answer(email="somebody.else@example.com")

    assert (found.kind, found.verdict, found.units) == ("ambiguous", "unknown", None)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "refused"), (402, "balance"), (429, "throttled"), (500, "ambiguous"), (404, "refused")],
)
def test_answers_that_are_no_verdict(status, kind):
    found = read(b'{"message": "Insufficient credits"}', status, {"retry-after": "3"})

    assert (found.kind, found.verdict) == (kind, "unknown")
    assert "Insufficient credits" in found.error
    assert found.retry_after_s == (3.0 if kind == "throttled" else None)


def test_a_webhook_is_read_like_an_answer():
    [event] = INSTANTLY.parse(json.loads(recorded("instantly", "verified")[1]))

    found = INSTANTLY.read_email_answer(SERVICE, event.result, event.external_id)

    assert (event.external_id, found.verdict) == (EMAIL, "verified")
    assert INSTANTLY.parse({"event_type": "reply_received", "lead_email": EMAIL}) == []


@pytest.mark.parametrize("body", BODIES)
def test_no_answer_is_too_odd_to_read(body):
    for status in STATUSES:
        for headers in HEADERS:
            check(read(body, status, headers))


def test_no_mutation_of_a_good_answer_breaks_a_column():
    for body in mutations(recorded("instantly", "verified")[1], seed=5, pairs=300):
        found = read(body)
        check(found)
        if found.verdict == "verified":
            said = json.loads(body)
            assert (said["verification_status"], said["catch_all"]) == ("verified", False)
