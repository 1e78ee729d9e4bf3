"""Apollo: the person at once, the phones later, and what either costs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from integrations.providers import Account, providers
from integrations.providers.data import Subject
from tests.integrations.vendor_answers import (
    BODIES,
    FIXTURES,
    HEADERS,
    STATUSES,
    check,
    mutations,
    recorded,
)

APOLLO = providers["apollo"]()
ACCOUNT = Account(base_url="http://127.0.0.1:8099", api_key="k")
SUBJECT = Subject(
    request_id="lead_1",
    first_name="Jordan",
    last_name="Sample",
    company="Example LLC",
    website="https://www.example.com/about",
    email="jordan@example.com",
)
PHONES = json.loads((FIXTURES / "apollo" / "phones.json").read_text())["body"]
ID = str(PHONES["request_id"])


def read(body, service="match", status=200, headers=None):
    return APOLLO.read_enrich(service, status, headers or {}, body, "lead_1")


def poll(body, status=200, headers=None):
    return APOLLO.read_poll("match_phone", status, headers or {}, body, ID)


def test_a_request_reveals_a_phone_only_where_one_is_bought():
    plain = json.loads(APOLLO.build_enrich("match", [SUBJECT], ACCOUNT).body)
    call = APOLLO.build_enrich("match_phone", [SUBJECT], ACCOUNT, "https://x.example.com/h/")
    phone = json.loads(call.body)

    assert (plain["reveal_phone_number"], "webhook_url" in plain) == (False, False)
    assert phone["reveal_phone_number"] is True
    assert phone["webhook_url"] == "https://x.example.com/h/"
    assert phone["domain"] == "example.com"
    assert call.headers["X-Api-Key"] == "k"


@pytest.mark.parametrize(
    ("changes", "can_ask"),
    [
        ({}, True),
        ({"email": ""}, True),
        ({"email": "", "website": "", "company": ""}, False),
        ({"email": "", "first_name": "", "full_name": ""}, False),
        ({"email": "", "first_name": "", "full_name": "Jordan Sample"}, True),
        ({"email": "", "website": "//[broken", "company": ""}, False),
    ],
)
def test_who_has_too_little_to_ask_with_is_not_asked_about(changes, can_ask):
    assert bool(APOLLO.asks("match", replace(SUBJECT, **changes))) is can_ask


def test_a_recorded_match_becomes_person_company_and_email():
    found = read(recorded("apollo", "match")[1])

    assert (found.kind, found.units, found.request_id) == ("hit", 1, "1039995589705121900")
    assert found.fields == {
        "title": "Owner",
        "company": "Example LLC",
        "website": "example.com",
        "employee_count": 12,
        "annual_revenue": 1_500_000,
        "sic_code": "6531",
    }
    assert found.business["name"] == "Example LLC"
    assert found.persons[0].linkedin.endswith("/in/example")
    assert [(p.value, p.codes) for p in found.points] == [("jordan@example.com", ("verified",))]
    assert APOLLO.services["match"].cost_cents(found.units) == 2


def test_a_match_with_a_phone_on_its_way_is_pending_and_says_what_is_known():
    found = read(recorded("apollo", "match")[1], "match_phone")

    assert (found.kind, found.units, found.request_id) == ("pending", 0, "1039995589705121900")
    assert found.fields["company"] == "Example LLC"
    without_id = json.loads(recorded("apollo", "match")[1]) | {"request_id": None}
    assert read(json.dumps(without_id).encode(), "match_phone").kind == "hit"


def test_nobody_costs_nothing_and_silence_is_not_nobody():
    nobody = read(b'{"request_id": -5, "person": null}')
    silence = read(b'{"request_id": -5}')

    assert (nobody.kind, nobody.units, nobody.request_id) == ("miss", 0, "-5")
    assert (silence.kind, silence.units) == ("ambiguous", None)


def test_phones_come_by_webhook_or_poll_and_cost_the_same():
    [event] = APOLLO.parse(PHONES)
    told = APOLLO.read_answer("match_phone", event.result, event.external_id)
    polled = poll(json.dumps({"webhook_result": PHONES}).encode())

    assert event.external_id == ID == "-1039995589705121900"
    assert told == polled == poll(json.dumps(PHONES).encode())
    [phone] = told.points
    assert (phone.value, phone.line_type, phone.dnc) == ("+12025550142", "mobile", False)
    service = APOLLO.services["match_phone"]
    assert service.cost_cents(told.units) == service.price_cents == 18


def numbered(**phone):
    people = [{"id": "p", "phone_numbers": [{"sanitized_number": "+12025550142", **phone}]}]
    return poll(json.dumps(PHONES | {"people": people, "credits_consumed": None}).encode())


def test_switchboards_and_wrong_numbers_are_no_phones_of_a_person():
    assert numbered(type_cd="work_hq").kind == "miss"
    assert numbered(status_cd="invalid_number").kind == "miss"
    assert numbered(type_cd="work_hq").units == 1
    assert numbered(dnc_status_cd="on_dnc").points[0].dnc is True
    assert numbered().points[0].dnc is None
    assert numbered().units == 9


@pytest.mark.parametrize(
    ("status", "body", "kind", "pause"),
    [
        (404, {"error_code": "result_pending", "retry_after_seconds": 17}, "pending", 17.0),
        (404, {"error_code": "result_pending"}, "pending", None),
        (404, {"error_code": "result_pending", "retry_after_seconds": 10**9}, "pending", None),
        (404, {"error_code": "request_id_unknown"}, "failed", None),
        (400, {"error_code": "invalid_request_id"}, "failed", None),
        (410, {}, "failed", None),
        (404, {}, "refused", None),
        (429, {}, "throttled", 4.0),
        (500, {}, "ambiguous", None),
    ],
)
def test_a_poll_waits_or_ends(status, body, kind, pause):
    found = poll(json.dumps(body).encode(), status, {"retry-after": "4"})

    assert (found.kind, found.retry_after_s, found.request_id) == (kind, pause, ID)


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (422, "You have insufficient credits", "balance"),
        (422, "Not enough to find somebody by", "refused"),
        (401, "Invalid API key", "refused"),
        (402, "", "balance"),
        (403, "no credits", "balance"),
        (403, "api/v1/people/match is not accessible", "refused"),
    ],
)
def test_no_credits_are_told_from_a_wrong_request(status, said, kind):
    found = read(json.dumps({"error": said}).encode(), status=status)

    assert (found.kind, found.units) == (kind, 0)


@pytest.mark.parametrize("body", BODIES)
def test_no_answer_is_too_odd_to_read(body):
    for status in STATUSES:
        for headers in HEADERS:
            for service in ("match", "match_phone"):
                check(read(body, service, status, headers))
            check(poll(body, status, headers))


def test_no_mutation_of_a_good_answer_breaks_a_column():
    for body in mutations(recorded("apollo", "match")[1], seed=7, pairs=300):
        check(read(body))
        check(read(body, "match_phone"))
    for body in mutations(json.dumps(PHONES).encode(), seed=8, pairs=300):
        check(poll(body))
