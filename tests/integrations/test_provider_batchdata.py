"""BatchData: what is asked, and what its recorded, odd and hostile answers mean."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from integrations.providers import Account, kind_of, providers
from integrations.providers.data import Point, Subject
from tests.integrations.vendor_answers import (
    BODIES,
    HEADERS,
    STATUSES,
    check,
    mutations,
    recorded,
)

ACCOUNT = Account(base_url="http://127.0.0.1:8099/", api_key="secret-token")
BATCH = providers["batchdata"]()
LEAD = "lead_01JD3ZK9W3ZC6Y1V8G2Q5T7R4N"
SUBJECT = Subject(
    request_id=LEAD,
    first_name="Jordan",
    last_name="Sample",
    address_line1="100 Example St",
    city="Springfield",
    region="IL",
    postal_code="62701-0001",
    county_fips="17167",
    apn="14-28.0-000-001",
)
QUERY = {"query": "90028", "quickLists": ["owner-occupied"]}


def body_of(call):
    return json.loads(call.body)


def read_trace(body, service="skip_trace", status=200, headers=None, request_id=LEAD):
    return BATCH.read_enrich(service, status, headers or {}, body, request_id)


# --- search -----------------------------------------------------------------------------------


def test_a_search_passes_the_criteria_on_and_keeps_the_paging_to_itself():
    call = BATCH.build_search(QUERY, 200, 100, ACCOUNT)

    assert (call.method, call.url) == ("POST", "http://127.0.0.1:8099/api/v1/property/search")
    assert call.headers["Authorization"] == "Bearer secret-token"
    assert "secret-token" not in repr(call)
    assert body_of(call) == {
        "searchCriteria": QUERY,
        "options": {"dateFormat": "iso-date", "skipTrace": False, "skip": 200, "take": 100},
    }
    whole = {"searchCriteria": QUERY, "options": {"skip": 7, "take": 9, "sort": {"order": "desc"}}}
    options = body_of(BATCH.build_search(whole, 0, 50, ACCOUNT))["options"]
    assert (options["skip"], options["take"], options["sort"]) == (0, 50, {"order": "desc"})
    assert body_of(BATCH.build_search(QUERY, 0, 0, ACCOUNT))["options"]["quicklistCounts"] is True


@pytest.mark.parametrize(
    ("params", "skip", "take"),
    [
        ({}, 0, 10),
        ({"query": ""}, 0, 10),
        ({"searchCriteria": {}}, 0, 10),
        ({"searchCriteria": "90028"}, 0, 10),
        (QUERY, -1, 10),
        (QUERY, 0, 501),
        (QUERY, 0, -1),
    ],
)
def test_a_search_for_everything_or_nothing_is_not_built(params, skip, take):
    with pytest.raises(ValueError, match=r"search for|A page has"):
        BATCH.build_search(params, skip, take, ACCOUNT)


def test_a_recorded_page_becomes_leads_and_properties():
    status, body = recorded("batchdata", "property_search")

    page = BATCH.read_search(status, {}, body)

    assert (page.kind, page.results_found, page.unread) == ("ok", 1234, 0)
    [record] = page.records
    assert record.vendor_id == "0f2c6d5c7c1b4a1e9a0d3b7c5e8f1a22"
    assert record.fields == {
        "first_name": "Jordan",
        "last_name": "Sample",
        "full_name": "Jordan Sample",
        "address_line1": "100 Example St",
        "city": "Springfield",
        "region": "IL",
        "postal_code": "62701",
        "county": "Sangamon",
        "county_fips": "17167",
        "apn": "14-28.0-000-001",
        "property_value": 410_000,
        "estimated_equity": 250_000,
        "owner_occupied": True,
    }
    assert record.property["loan_to_value"] == 39
    assert record.property["flags"] == {
        "owner_occupied": True,
        "high_equity": True,
        "free_and_clear": False,
        "senior_owner": True,
        "tax_default": False,
        "vacant": False,
    }
    assert record.property["mailing_address"]["city"] == "Springfield"
    assert [person.full_name for person in record.persons] == ["Jordan Sample"]
    assert record.raw["_id"] == record.vendor_id


def listed(**changes):
    """The recorded page with its one record changed."""
    answer = json.loads(recorded("batchdata", "property_search")[1])
    answer["results"]["properties"][0] |= changes
    return BATCH.read_search(200, {}, json.dumps(answer).encode())


def test_two_owners_are_two_people_and_a_company_is_none():
    two = [{"first": "Jordan", "last": "Sample"}, {"full": "Robin Sample", "first": "Robin"}]
    company = [{"first": None, "last": None, "full": "Sample Holdings LLC"}]

    [both] = listed(owner={"names": two}).records
    [firm] = listed(owner={"names": company}).records

    assert [person.full_name for person in both.persons] == ["Jordan Sample", "Robin Sample"]
    assert both.fields["full_name"] == "Jordan Sample"
    assert firm.persons == ()
    assert firm.fields["owner_company"] == firm.fields["company"] == "Sample Holdings LLC"
    assert "full_name" not in firm.fields


@pytest.mark.parametrize(
    "address",
    [
        {"street": "100 Example St Unit 4", "streetNoUnit": "100 Example St", "unitNumber": "4"},
        {"street": "100 Example St Apt. 4", "unitNumber": "4"},
        {"street": "100 Example St # 4", "unitNumber": "4"},
        {"street": "100 Example St, 4", "unitNumber": "4"},
    ],
)
def test_a_unit_stands_by_itself(address):
    [record] = listed(address=address).records

    assert (record.fields["address_line1"], record.fields["unit"]) == ("100 Example St", "4")


def test_what_is_not_told_is_not_known_rather_than_no():
    [record] = listed(quickLists={"vacant": None}, valuation={"estimatedValue": "n/a"}).records

    assert "owner_occupied" not in record.fields
    assert "property_value" not in record.fields
    assert "flags" not in record.property


def test_a_record_without_an_id_is_counted_and_left_out():
    page = listed(_id=None)

    assert (page.kind, page.records, page.unread) == ("ok", (), 1)


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (403, recorded("batchdata", "insufficient_balance")[1], "balance", "Top it up"),
        (403, b'{"status": {"code": 403, "message": "Invalid token permission"}}', "refused", "ri"),
        (200, b'{"status": {"code": 403, "message": "Insufficient balance"}}', "balance", "Top it"),
        (401, b"{}", "refused", "Check it in the integration"),
        (429, b"{}", "throttled", "slow down"),
        (400, b'{"status": {"message": "take is too large"}}', "refused", "take is too large"),
        (500, b"", "ambiguous", "may have been done"),
        (503, b"", "ambiguous", "may have been done"),
        (200, b"<html>", "ambiguous", "cannot be read"),
        (200, b'{"results": {"properties": []}}', "ambiguous", "how many records"),
    ],
)
def test_answers_that_are_no_page_say_what_to_do(status, body, kind, words):
    page = BATCH.read_search(status, {"Retry-After": "12"}, body)

    assert (page.kind, page.records) == (kind, ())
    assert words in page.error
    assert page.retry_after_s == (12.0 if kind == "throttled" else None)


# --- skip trace -------------------------------------------------------------------------------


def test_a_trace_says_explicitly_what_is_to_become_of_tcpa_phones():
    for service, wanted, path in (
        ("skip_trace", True, "/api/v3/property/skip-trace"),
        ("skip_trace_v1", False, "/api/v1/property/skip-trace"),
    ):
        call = BATCH.build_enrich(service, [SUBJECT], ACCOUNT)
        assert call.url.endswith(path)
        assert body_of(call)["options"]["includeTCPABlacklistedPhones"] is wanted
        assert body_of(call)["requests"] == [
            {
                "requestId": LEAD,
                "name": {"first": "Jordan", "last": "Sample"},
                "propertyAddress": {
                    "street": "100 Example St",
                    "city": "Springfield",
                    "state": "IL",
                    "zip": "62701",
                },
            }
        ]


def test_an_asynchronous_trace_names_where_answers_and_errors_go():
    call = BATCH.build_enrich("skip_trace_async", [SUBJECT], ACCOUNT, "https://x.example.com/h/")

    options = body_of(call)["options"]
    assert options["webhookUrl"] == options["errorWebhookUrl"] == "https://x.example.com/h/"
    status, ack = recorded("batchdata", "skip_trace_async_ack")
    found = read_trace(ack, "skip_trace_async", status)
    assert (found.kind, found.request_id, found.units) == ("pending", LEAD, 0)


def test_the_same_question_is_the_same_whoever_asks_and_however_it_is_spelt():
    other = replace(
        SUBJECT, request_id="lead_2", address_line1="100  example st", city="SPRINGFIELD"
    )

    assert BATCH.asks("skip_trace", SUBJECT) == BATCH.asks("skip_trace", other)
    assert BATCH.asks("skip_trace", SUBJECT) != BATCH.asks("skip_trace", replace(SUBJECT, unit="4"))
    assert LEAD not in BATCH.asks("skip_trace", SUBJECT).values()


@pytest.mark.parametrize(
    ("changes", "can_ask"),
    [
        ({}, True),
        ({"city": "", "region": ""}, True),
        ({"postal_code": ""}, True),
        ({"address_line1": ""}, True),  # the parcel is enough
        ({"address_line1": "", "county_fips": ""}, False),
        ({"address_line1": "", "county_fips": "", "county": "Sangamon"}, True),
        ({"address_line1": "", "apn": ""}, False),
        ({"postal_code": "", "city": "", "apn": ""}, False),
    ],
)
def test_who_has_too_little_to_ask_with_is_not_asked_about(changes, can_ask):
    subject = replace(SUBJECT, **changes)

    assert bool(BATCH.asks("skip_trace", subject)) is can_ask


def test_a_recorded_trace_becomes_a_person_with_points():
    status, body = recorded("batchdata", "skip_trace_v3")

    found = read_trace(body, status=status)

    assert (found.kind, found.units) == ("hit", 1)
    [person] = found.persons
    assert (person.full_name, person.born, person.born_year) == ("Jordan Sample", "", 1958)
    assert (person.is_owner, person.is_litigator, person.is_deceased) == (True, False, False)
    assert person.addresses[0]["postal_code"] == "62701"
    assert found.points[0] == Point(
        kind="phone",
        value="+12025550142",
        line_type="mobile",
        carrier="Example Wireless",
        dnc=False,
        tcpa=False,
        litigator=False,
        reachable=True,
        person=0,
    )
    assert [(p.value, p.line_type, p.dnc) for p in found.points[1:]] == [
        ("+12025550143", "landline", True),
        ("jordan@example.com", "unknown", None),
    ]


def test_an_answer_is_found_by_its_id_and_never_by_its_place():
    answer = json.loads(recorded("batchdata", "skip_trace_v3")[1])
    [item] = answer["result"]["data"]
    other = json.loads(json.dumps(item).replace(LEAD, "lead_2").replace("0142", "0177"))
    answer["result"]["data"] = [other, item]
    body = json.dumps(answer).encode()

    assert read_trace(body).points[0].value == "+12025550142"
    assert read_trace(body, request_id="lead_2").points[0].value == "+12025550177"
    missing = read_trace(body, request_id="lead_3")
    assert (missing.kind, missing.units) == ("ambiguous", None)


def test_a_missing_boolean_is_unknown_and_owners_come_first():
    answer = json.loads(recorded("batchdata", "skip_trace_v3")[1])
    [item] = answer["result"]["data"]
    tenant = {"name": {"full": "Robin Other"}, "phones": [{"number": "2025550111"}]}
    item["persons"] = [tenant, *item["persons"], tenant, tenant]
    item["persons"][1]["phones"] = [{"number": "(202) 555-0142", "rank": 2}, {"number": "911"}]

    found = read_trace(json.dumps(answer).encode())

    assert len(found.persons) == 3
    assert [(p.value, p.person) for p in found.points] == [
        ("+12025550142", 1),
        ("jordan@example.com", 1),
        ("+12025550111", 0),
    ]
    first = found.points[0]
    assert (first.dnc, first.tcpa, first.reachable) == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "kind", "units"),
    [
        ({"meta": {"matched": False}}, "miss", 0),
        ({"persons": []}, "miss", 0),
        ({"persons": None}, "miss", 0),
        ({"meta": {"matched": True, "error": True}}, "failed", 0),
    ],
)
def test_a_miss_costs_nothing(changes, kind, units):
    answer = json.loads(recorded("batchdata", "skip_trace_v3")[1])
    answer["result"]["data"][0] |= changes

    found = read_trace(json.dumps(answer).encode())

    assert (found.kind, found.units, found.points) == (kind, units, ())


def test_version_1_scores_in_text_and_speaks_of_tcpa_by_person():
    answer = json.loads(recorded("batchdata", "skip_trace_v1")[1])
    answer["results"]["persons"][0]["phoneNumbers"][0]["score"] = "95"
    answer["results"]["persons"][0]["dnc"]["tcpa"] = True

    found = read_trace(json.dumps(answer).encode(), "skip_trace_v1")

    assert found.kind == "hit"
    assert [(p.value, p.score, p.dnc, p.tcpa) for p in found.points] == [
        ("+12025550143", 95, True, True),
        ("+12025550188", 90, False, True),
        ("john@example.com", None, None, None),
    ]
    answer["results"]["persons"][0]["request"] = {"requestId": "lead_2"}
    assert read_trace(json.dumps(answer).encode(), "skip_trace_v1").kind == "miss"


def test_a_webhook_answers_every_request_in_it():
    answer = json.loads(recorded("batchdata", "skip_trace_v3")[1])
    [item] = answer["result"]["data"]
    other = json.loads(json.dumps(item).replace(LEAD, "lead_2"))
    answer["result"]["data"] = [item, other, {"input": None}]

    events = BATCH.parse(answer)

    assert [event.external_id for event in events] == [LEAD, "lead_2"]
    found = BATCH.read_answer("skip_trace_async", events[1].result, "lead_2")
    assert (found.kind, found.units) == ("hit", 1)


def test_a_webhook_that_answers_a_hundred_requests_is_read_whole():
    answer = json.loads(recorded("batchdata", "skip_trace_v3")[1])
    [item] = answer["result"]["data"]
    item["persons"] *= 3
    text = json.dumps(item)
    answer["result"]["data"] = [json.loads(text.replace(LEAD, f"lead_{n}")) for n in range(100)]
    body = json.dumps(answer).encode()

    parsed = BATCH.read(body)

    assert 256 * 1024 < len(body) <= BATCH.max_body
    assert parsed.state == "clean"
    assert len(BATCH.parse(parsed.payload)) == 100


# --- phones, and everything odd ---------------------------------------------------------------


def test_a_phone_check_asks_for_ten_digits_and_reads_its_own_number():
    call = BATCH.build_phone_check("phone_dnc", "+12025550142", ACCOUNT)
    assert call.url.endswith("/api/v1/phone/dnc")
    assert body_of(call) == {"requests": ["2025550142"]}

    listed = [{"number": "2025550111", "dnc": True}, {"number": "2025550142", "dnc": False}]
    body = json.dumps({"results": {"phoneNumbers": listed}}).encode()
    found = BATCH.read_phone_check("phone_dnc", 200, {}, body, "+12025550142")
    assert (found.kind, found.code, found.dnc, found.verdict) == (
        "hit",
        "not_dnc",
        False,
        "unknown",
    )
    other = BATCH.read_phone_check("phone_dnc", 200, {}, body, "+12025550199")
    assert (other.kind, other.units) == ("ambiguous", None)


def read_everything(status, headers, body):
    check(BATCH.read_search(status, headers, body))
    for service in ("skip_trace", "skip_trace_async", "skip_trace_v1"):
        check(BATCH.read_enrich(service, status, headers, body, LEAD))
    for service in ("phone_verification", "phone_dnc", "phone_tcpa"):
        check(BATCH.read_phone_check(service, status, headers, body, "+12025550142"))


@pytest.mark.parametrize("body", BODIES)
def test_no_answer_is_too_odd_to_read(body):
    for status in STATUSES:
        for headers in HEADERS:
            read_everything(status, headers, body)


@pytest.mark.parametrize("name", ["property_search", "skip_trace_v3", "skip_trace_v1"])
def test_no_mutation_of_a_good_answer_breaks_a_column(name):
    for body in mutations(recorded("batchdata", name)[1], seed=len(name), pairs=300):
        read_everything(200, {}, body)


def test_prices_are_those_of_the_services():
    service = BATCH.services["skip_trace"]

    assert (service.price_cents, service.cost_cents(0), service.cost_cents(None)) == (15, 0, 15)
    assert BATCH.newly_billed(310, 0) * BATCH.record_cents == 3_100
    assert kind_of("nobody").has_webhooks
