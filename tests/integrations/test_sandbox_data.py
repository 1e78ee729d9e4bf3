"""The data vendors of the sandbox over real HTTP, read by our own adapters."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from urllib.parse import quote

import httpx
import pytest

from integrations.providers import Account, providers
from integrations.providers.data import Subject
from integrations.sandbox.app import Sandbox
from integrations.sandbox.people import SIZE, Population
from integrations.sandbox.server import running
from tests.integrations.test_sandbox import Hooks, eventually

KEY = "key-of-acme"
QUERY = {"address": {"zip": ["90028"]}, "quickLists": ["high-equity", "not-active-listing"]}
PEOPLE = Population(0)


@pytest.fixture
def hooks():
    hooks = Hooks()
    hooks.thread.start()
    yield hooks
    hooks.server.shutdown()
    hooks.server.server_close()
    hooks.thread.join()


@pytest.fixture
def client():
    with running() as url, httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        yield client


def vendor(name):
    return providers[name]()


def account(client, key=KEY, **settings):
    return Account(
        base_url=str(client.base_url), api_key=key, account_id="AC0001", settings=settings
    )


def make(client, call):
    return client.request(call.method, call.url, headers=call.headers, content=call.body)


def search(client, skip=0, take=100, query=QUERY, key=KEY):
    batch = vendor("batchdata")
    answer = make(client, batch.build_search(query, skip, take, account(client, key)))
    return batch.read_search(answer.status_code, answer.headers, answer.content)


def enrich(client, name, service, *subjects, key=KEY, callback=""):
    """What the vendor says of each subject."""
    asked = vendor(name)
    answer = make(client, asked.build_enrich(service, subjects, account(client, key), callback))
    return [
        asked.read_enrich(
            service, answer.status_code, answer.headers, answer.content, one.request_id
        )
        for one in subjects
    ]


def check_email(client, email, key=KEY, callback=""):
    asked, service = vendor("instantly"), "email_verification"
    answer = make(client, asked.build_email_check(service, email, account(client, key), callback))
    return asked.read_email_check(
        service, answer.status_code, answer.headers, answer.content, email
    )


def poll_email(client, email):
    asked, service = vendor("instantly"), "email_verification"
    answer = make(client, asked.build_email_poll(service, email, account(client)))
    return asked.read_email_check(
        service, answer.status_code, answer.headers, answer.content, email
    )


def check_phone(client, name, service, number, **settings):
    asked = vendor(name)
    answer = make(client, asked.build_phone_check(service, number, account(client, **settings)))
    return asked.read_phone_check(
        service, answer.status_code, answer.headers, answer.content, number
    )


def poll_apollo(client, request_id, key=KEY):
    asked = vendor("apollo")
    answer = make(client, asked.build_poll("match_phone", request_id, account(client, key)))
    return asked.read_poll(
        "match_phone", answer.status_code, answer.headers, answer.content, request_id
    )


def control(client, path, body=None, method="POST"):
    answer = client.request(method, f"/_control/{path}", json=body)
    assert answer.status_code < 300, answer.text
    return answer.json()


def invoice(client, name=None, key=KEY):
    params = {"api_key": key} | ({"vendor": name} if name else {})
    return client.get("/_control/invoice", params=params).json()


def subject_at(index, request_id="lead_1"):
    address = PEOPLE.address(index)
    owner = PEOPLE.owners(index)[0]
    return Subject(
        request_id=request_id,
        first_name=owner.first,
        last_name=owner.last,
        address_line1=address["street"],
        unit=address["unit"],
        city=address["city"],
        region="CA",
        postal_code=address["zip"],
        county_fips=address["countyFipsCode"],
        apn=address["apn"],
    )


def first_where(test, start=0):
    """The first place of the list whose household is as wanted."""
    return next(i for i in range(start, SIZE) if test(PEOPLE.household_at(i)))


def fault(client, kind, path, **rule):
    control(client, "faults", {"kind": kind, "match": {"path": path}, **rule})


# --- search -----------------------------------------------------------------------------------


def test_pages_list_every_record_once_newest_first(client):
    counted = search(client, take=0)
    pages = [search(client, skip=skip, take=100) for skip in range(0, counted.results_found, 100)]
    ids = [record.vendor_id for page in pages for record in page.records]

    assert counted.records == ()
    assert len(ids) == len(set(ids)) == counted.results_found > 300
    assert {page.results_found for page in pages} == {counted.results_found}
    assert all(r.fields["postal_code"] == "90028" for page in pages for r in page.records)
    assert all(r.property["flags"]["high_equity"] for page in pages for r in page.records)
    assert not any(r.property["flags"]["active_listing"] for p in pages for r in p.records)
    assert search(client, skip=counted.results_found, take=100).records == ()


def test_two_sandboxes_of_one_seed_agree_and_of_another_do_not(client):
    other = Sandbox(pace=0.0, answers=False, seed=7)
    with running() as same, running(other) as different:
        with httpx.Client(base_url=same, trust_env=False) as second:
            assert search(second).records == search(client).records
        with httpx.Client(base_url=different, trust_env=False) as third:
            assert search(third).records != search(client).records


def test_what_arrives_shifts_what_is_behind_it(client):
    first = search(client, take=50)
    made = control(
        client,
        "batchdata/records",
        {"count": 3, "zip": "90028", "quickLists": ["high-equity"]},
    )["ids"]
    second = search(client, skip=50, take=50)

    assert second.results_found >= first.results_found + 1
    shift = second.results_found - first.results_found
    assert [r.vendor_id for r in second.records[:shift]] == [
        r.vendor_id for r in first.records[-shift:]
    ]
    newest = [r.vendor_id for r in search(client, take=5).records]
    assert newest[0] in made


def test_records_can_be_made_to_arrive_in_the_middle_of_a_pull(client):
    control(client, "batchdata/records", {"count": 25, "zip": "90028", "after": 2})

    found = [search(client, skip=skip, take=50).results_found for skip in (0, 50, 100)]

    assert found[0] == found[1] < found[2]


def test_a_record_that_leaves_pulls_the_rest_forward(client):
    before = search(client, take=10)
    control(client, "batchdata/records", {"searchCriteria": QUERY, "count": 2}, method="DELETE")
    after = search(client, take=10)

    assert after.results_found == before.results_found - 2
    assert after.records[0].vendor_id == before.records[2].vendor_id


def test_the_whole_result_set_is_billed_once_a_day_and_then_what_is_new(client):
    """The rule that a pull reckons with: the page size does not limit the bill."""
    count = search(client, take=0).results_found
    assert invoice(client)["total_cents"] == 0

    search(client, take=1)
    assert invoice(client)["total_cents"] == count * 10
    search(client, skip=1, take=500)
    assert invoice(client)["total_cents"] == count * 10

    control(client, "batchdata/records", {"count": 4, "zip": "90028", "quickLists": []})
    grown = search(client, take=1).results_found
    batch = vendor("batchdata")
    assert batch.newly_billed(grown, count) == grown - count
    assert invoice(client)["total_cents"] == grown * 10

    control(client, "batchdata/records", {"searchCriteria": QUERY, "count": 9}, method="DELETE")
    shrunk = search(client, take=1).results_found
    assert batch.newly_billed(shrunk, grown) == 0
    assert invoice(client)["total_cents"] == grown * 10

    control(client, "day", {"offset": 1})
    search(client, take=1)
    assert invoice(client)["total_cents"] == (grown + shrunk) * 10
    control(client, "day", {"offset": 0})


def test_another_query_and_another_key_have_bills_of_their_own(client):
    search(client, take=1)
    narrower = QUERY | {"demographics": {"age": {"min": 62}}}
    found = search(client, take=1, query=narrower).results_found
    reordered = {name: QUERY[name] for name in reversed(list(QUERY))}
    search(client, take=1, query=reordered)
    search(client, take=1, key="key-of-bolt")

    items = invoice(client, "batchdata")["invoices"][0]["items"]
    assert [item["units"] for item in items][1:] == [found]
    assert 0 < found < items[0]["units"]
    assert all(item["cents"] == item["units"] * 10 for item in items)
    assert len({item["fingerprint"] for item in items}) == 2
    both = client.get("/_control/invoice", params={"vendor": "batchdata"}).json()
    assert both["total_cents"] == sum(one["total_cents"] for one in both["invoices"])


def test_an_empty_account_is_told_before_anything_is_billed(client):
    count = search(client, take=0).results_found
    control(
        client,
        "account",
        {"vendor": "batchdata", "api_key": KEY, "balance_cents": count * 10 - 1},
    )

    page = search(client, take=1)

    assert (page.kind, page.records) == ("balance", ())
    assert "Top it up" in page.error
    assert invoice(client)["total_cents"] == 0
    control(client, "account", {"vendor": "batchdata", "api_key": KEY, "balance_cents": count * 10})
    assert search(client, take=1).kind == "ok"
    assert invoice(client)["invoices"][0]["balance_cents"] == 0
    assert search(client, skip=1, take=1).kind == "ok"


def test_keys_and_questions_that_are_wrong_are_refused(client):
    assert search(client, key="expired").kind == "refused"
    unknown = search(client, query={"astrology": {"sign": "leo"}})
    assert unknown.kind == "refused"
    assert "refused the request with 400" in unknown.error
    raw = {"searchCriteria": QUERY, "options": {"skip": 0, "take": 501}}
    headers = {"Authorization": f"Bearer {KEY}"}
    assert client.post("/api/v1/property/search", json=raw, headers=headers).status_code == 400
    assert client.post("/api/v1/property/search", content=b"[", headers=headers).status_code == 400
    assert invoice(client)["total_cents"] == 0


@pytest.mark.parametrize(
    ("kind", "expected", "billed"),
    [("429", "throttled", 0), ("500", "ambiguous", 0), ("500_after_accept", "ambiguous", 1)],
)
def test_faults_hit_a_search_before_or_after_it_is_billed(client, kind, expected, billed):
    count = search(client, take=0).results_found
    fault(client, kind, "/api/v1/property/search", retry_after=7)

    page = search(client, take=10)

    assert page.kind == expected
    assert page.retry_after_s == (7.0 if expected == "throttled" else None)
    assert invoice(client)["total_cents"] == billed * count * 10
    assert search(client, take=10).kind == "ok"
    assert invoice(client)["total_cents"] == count * 10


@pytest.mark.parametrize("kind", ["reset", "reset_after_accept"])
def test_a_connection_that_breaks_says_nothing_of_the_bill(client, kind):
    fault(client, kind, "/api/v1/property/search")

    with pytest.raises(httpx.HTTPError):
        search(client, take=10)
    is_billed = invoice(client)["total_cents"] > 0
    assert is_billed is (kind == "reset_after_accept")


def test_the_largest_page_is_read_whole(client):
    page = search(client, take=500, query={"query": "CA"})

    assert (page.kind, len(page.records), page.unread) == ("ok", 500, 0)
    assert page.results_found == SIZE
    batch = vendor("batchdata")
    answer = make(client, batch.build_search({"query": "CA"}, 500, 500, account(client)))
    assert len(answer.content) < batch.max_answer


# --- skip trace -------------------------------------------------------------------------------


def test_a_skip_trace_is_correlated_by_id_and_billed_by_match(client):
    places = range(40, 60)
    subjects = [subject_at(place, f"lead_{place}") for place in places]

    found = enrich(client, "batchdata", "skip_trace", *subjects)

    for place, answer in zip(places, found, strict=True):
        household = PEOPLE.household_at(place)
        assert answer.kind == ("hit" if household.batchdata else "miss"), place
        if household.batchdata:
            owner = household.residents[0]
            assert answer.persons[0].full_name == owner.full
            expected = [f"+1{phone.number}" for phone in owner.phones]
            mine = [p for p in answer.points if p.kind == "phone" and p.person == 0]
            assert [point.value for point in mine] == expected
            assert [point.dnc for point in mine] == [phone.dnc for phone in owner.phones]
            assert answer.persons[0].is_litigator is owner.litigator
    kinds = Counter(answer.kind for answer in found)
    assert set(kinds) == {"hit", "miss"}
    service = vendor("batchdata").services["skip_trace"]
    spent = sum(service.cost_cents(answer.units) for answer in found)
    assert spent == invoice(client)["total_cents"] == kinds["hit"] * 15


def test_both_versions_keep_their_promises_about_tcpa_phones(client):
    place = first_where(
        lambda house: (
            house.batchdata
            and not house.residents[0].litigator
            and any(phone.tcpa for phone in house.residents[0].phones)
            and any(not phone.tcpa for phone in house.residents[0].phones)
        )
    )
    flagged = {f"+1{p.number}" for p in PEOPLE.owners(place)[0].phones if p.tcpa}

    [third] = enrich(client, "batchdata", "skip_trace", subject_at(place))
    [first] = enrich(client, "batchdata", "skip_trace_v1", subject_at(place))

    assert flagged == {p.value for p in third.points if p.tcpa}
    assert first.kind == "hit"
    assert not flagged & {p.value for p in first.points}
    assert first.points[0].score == 100


def test_a_parcel_is_traced_without_an_address(client):
    place = first_where(lambda house: house.batchdata)
    whole = subject_at(place)
    parcel = replace(whole, address_line1="", city="", postal_code="", first_name="")

    [answer] = enrich(client, "batchdata", "skip_trace", parcel)

    assert answer.persons[0].full_name == f"{whole.first_name} {whole.last_name}"
    assert answer.fields["county_fips"] == whole.county_fips


def test_an_asynchronous_trace_comes_by_webhook_and_is_billed_then(client, hooks):
    place = first_where(lambda house: house.batchdata)
    batch = vendor("batchdata")
    control(client, "hold", {"vendor": "batchdata"})

    [ack] = enrich(
        client, "batchdata", "skip_trace_async", subject_at(place), callback=f"{hooks.url}/cb"
    )
    assert (ack.kind, ack.request_id) == ("pending", "lead_1")
    assert invoice(client)["total_cents"] == 0
    assert hooks.requests == []

    assert control(client, "hold", {"vendor": "batchdata", "enabled": False})["released"] == 1
    [(_path, _headers, raw)] = hooks.requests
    [event] = batch.parse(batch.read(raw).payload)
    answer = batch.read_answer("skip_trace_async", event.result, event.external_id)
    assert (event.external_id, answer.kind, answer.units) == ("lead_1", "hit", 1)
    [sync] = enrich(client, "batchdata", "skip_trace", subject_at(place))
    assert (answer.points, answer.persons) == (sync.points, sync.persons)
    assert invoice(client)["total_cents"] == 30


def test_an_asynchronous_trace_needs_an_address_to_tell(client):
    [answer] = enrich(client, "batchdata", "skip_trace_async", subject_at(1))

    assert answer.kind == "refused"
    assert "webhookUrl" in answer.error


def test_phones_are_checked_as_they_were_set(client):
    control(client, "facts", {"phone": "+12025550111", "reachable": False, "line": "landline"})
    control(client, "facts", {"phone": "+12025550112", "dnc": True, "tcpa": True})

    bad = check_phone(client, "batchdata", "phone_verification", "+12025550111")
    good = check_phone(client, "batchdata", "phone_verification", "+12025550112")
    none = check_phone(client, "batchdata", "phone_verification", "+12025550199")
    listed = check_phone(client, "batchdata", "phone_dnc", "+12025550112")
    sues = check_phone(client, "batchdata", "phone_tcpa", "+12025550112")

    assert (bad.verdict, bad.code, bad.line_type) == ("invalid", "unreachable", "landline")
    assert (good.verdict, good.code) == ("verified", "reachable")
    assert none.kind == "miss"
    assert (listed.code, listed.dnc, listed.tcpa) == ("dnc", True, None)
    assert (sues.code, sues.tcpa) == ("tcpa", True)
    assert invoice(client)["total_cents"] == 5


# --- Melissa ----------------------------------------------------------------------------------


def test_melissa_knows_seven_of_ten_addresses_and_bills_those(client):
    places = range(300, 400)
    subjects = [subject_at(place, f"lead_{place}") for place in places]

    found = enrich(client, "melissa", "personator", *subjects)

    for place, answer in zip(places, found, strict=True):
        household = PEOPLE.household_at(place)
        assert answer.kind == ("hit" if household.melissa else "miss"), place
        if household.melissa:
            assert answer.fields["mak"] == household.mak
            assert answer.persons[0].full_name == household.residents[0].full
    hits = sum(answer.kind == "hit" for answer in found)
    assert 55 <= hits <= 85
    phones = [p for answer in found for p in answer.points if p.kind == "phone"]
    assert phones
    assert all(point.codes == ("DA30",) for point in phones)
    assert invoice(client, "melissa")["total_cents"] == hits * 5


def test_facts_of_an_address_can_be_set(client):
    subject = Subject(
        request_id="lead_9", address_line1="12 Test Rd.", city="Springfield", region="IL",
        postal_code="62701-0001",
    )  # fmt: skip
    control(
        client,
        "facts",
        {
            "address": {"street": "12 TEST RD", "zip": "62701"},
            "melissa": True,
            "melissa_phone": True,
            "melissa_email": False,
            "batchdata": False,
            "first": "Robin",
            "last": "Fable",
            "mak": "1234567890",
            "phones": [{"number": "2025550142", "line": "mobile"}],
        },
    )

    [melissa] = enrich(client, "melissa", "personator", subject)
    [batch] = enrich(client, "batchdata", "skip_trace", subject)

    assert melissa.fields["mak"] == "1234567890"
    assert [point.value for point in melissa.points] == ["+12025550142"]
    assert melissa.persons[0].full_name == "Robin Fable"
    assert batch.kind == "miss"
    answer = client.post("/_control/facts", json={"address": {}, "phones": [{"no": 1}]})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("key", "balance", "kind", "word"),
    [("expired", None, "refused", "license key"), (KEY, 4, "balance", "credits are used up")],
)
def test_melissa_says_in_a_good_answer_what_is_wrong(client, key, balance, kind, word):
    if balance is not None:
        control(client, "account", {"vendor": "melissa", "api_key": key, "balance_cents": balance})

    [answer] = enrich(client, "melissa", "personator", subject_at(1), key=key)

    assert answer.kind == kind
    assert word in answer.error
    assert invoice(client)["total_cents"] == 0


# --- Instantly --------------------------------------------------------------------------------


def test_an_address_is_verified_invalid_or_behind_a_catch_all(client):
    for verdict in ("verified", "invalid", "catch_all", "unknown"):
        control(client, "facts", {"email": f"{verdict}@example.com", "verdict": verdict})

    found = {
        verdict: check_email(client, f"{verdict}@example.com")
        for verdict in ("verified", "invalid", "catch_all", "unknown")
    }

    assert {name: answer.verdict for name, answer in found.items()} == {
        name: name for name in found
    }
    assert check_email(client, "anybody@catchall.example.com").verdict == "catch_all"
    assert check_email(client, "an.invalid.one@example.com").verdict == "invalid"
    assert invoice(client, "instantly")["total_cents"] == 6
    assert check_email(client, "nobody").kind == "refused"
    assert invoice(client, "instantly")["total_cents"] == 6


def test_a_pending_address_is_told_by_webhook_and_by_polling(client, hooks):
    instantly, email = vendor("instantly"), "pending.one@example.com"
    control(client, "facts", {"email": email, "pending": True, "verdict": "verified"})
    control(client, "hold", {"vendor": "instantly"})

    asked = check_email(client, email, callback=f"{hooks.url}/cb")
    assert (asked.kind, asked.verdict) == ("pending", "pending")
    assert poll_email(client, email).kind == "pending"

    control(client, "hold", {"vendor": "instantly", "enabled": False})
    assert poll_email(client, email).verdict == "verified"
    [(_path, _headers, raw)] = hooks.requests
    [event] = instantly.parse(instantly.read(raw).payload)
    told = instantly.read_email_answer("email_verification", event.result, event.external_id)
    assert (event.external_id, told.verdict) == (email, "verified")
    assert invoice(client, "instantly")["total_cents"] == 1


def test_an_empty_account_at_instantly_is_told(client):
    control(client, "account", {"vendor": "instantly", "api_key": KEY, "balance_cents": 0})

    answer = check_email(client, "jordan@example.com")

    assert answer.kind == "balance"
    assert "Top it up" in answer.error


# --- Apollo -----------------------------------------------------------------------------------

JORDAN = Subject(
    request_id="lead_1", first_name="Jordan", last_name="Sample", company="Sample LLC",
    website="https://www.sample.example.com/about", email="jordan@example.com",
)  # fmt: skip


def test_a_person_is_matched_at_once_and_the_phone_comes_later(client, hooks):
    apollo = vendor("apollo")
    control(client, "facts", {"email": JORDAN.email, "apollo": True, "apollo_phone": True})
    control(client, "hold", {"vendor": "apollo"})

    [asked] = enrich(client, "apollo", "match_phone", JORDAN, callback=f"{hooks.url}/cb")
    assert asked.kind == "pending"
    assert asked.fields["company"] == "Sample LLC"
    waiting = poll_apollo(client, asked.request_id)
    assert (waiting.kind, waiting.retry_after_s) == ("pending", 2.0)
    assert invoice(client)["total_cents"] == 2

    control(client, "hold", {"vendor": "apollo", "enabled": False})
    polled = poll_apollo(client, asked.request_id)
    [(_path, _headers, raw)] = hooks.requests
    [event] = apollo.parse(apollo.read(raw).payload)
    told = apollo.read_answer("match_phone", event.result, event.external_id)
    assert event.external_id == asked.request_id
    assert told.points == polled.points
    assert [point.line_type for point in told.points] == ["mobile"]
    service = apollo.services["match_phone"]
    assert service.cost_cents(told.units) == service.price_cents == 18
    assert invoice(client)["total_cents"] == 18


def test_no_phone_and_no_person_cost_less(client, hooks):
    control(client, "facts", {"email": JORDAN.email, "apollo": True, "apollo_phone": False})
    [asked] = enrich(client, "apollo", "match_phone", JORDAN, callback=f"{hooks.url}/cb")
    assert eventually(lambda: poll_apollo(client, asked.request_id).kind == "miss")
    polled = poll_apollo(client, asked.request_id)
    assert polled.units == 1
    assert invoice(client)["total_cents"] == 2

    control(client, "facts", {"email": JORDAN.email, "apollo": False})
    [nobody] = enrich(client, "apollo", "match", JORDAN)
    assert (nobody.kind, nobody.units) == ("miss", 0)
    assert invoice(client)["total_cents"] == 2


def test_answers_that_apollo_no_longer_has_end_the_wait(client):
    control(client, "facts", {"email": JORDAN.email, "apollo": True})
    [asked] = enrich(client, "apollo", "match_phone", JORDAN, callback="http://127.0.0.1:9/cb")
    control(client, "apollo/expire", {"request_id": asked.request_id})

    assert poll_apollo(client, asked.request_id).kind == "failed"
    assert poll_apollo(client, "12345").kind == "failed"
    assert poll_apollo(client, "no-number").kind == "failed"
    assert poll_apollo(client, asked.request_id, key="another").kind == "failed"


def test_a_webhook_of_apollo_may_come_twice(client, hooks):
    control(client, "facts", {"email": JORDAN.email, "apollo": True})
    fault(client, "duplicate_callbacks", "/apollo")

    enrich(client, "apollo", "match_phone", JORDAN, callback=f"{hooks.url}/cb")

    assert eventually(lambda: len(hooks.requests) == 2)
    bodies = {raw for _path, _headers, raw in hooks.requests}
    assert len(bodies) == 1


def test_phones_need_a_webhook_and_credits(client):
    control(client, "facts", {"email": JORDAN.email, "apollo": True})
    [answer] = enrich(client, "apollo", "match_phone", JORDAN)
    assert answer.kind == "refused"
    assert "webhook_url is required" in answer.error

    control(client, "account", {"vendor": "apollo", "api_key": KEY, "balance_cents": 1})
    [answer] = enrich(client, "apollo", "match", JORDAN)
    assert answer.kind == "balance"
    assert invoice(client)["total_cents"] == 0


# --- Twilio Lookup ----------------------------------------------------------------------------


def test_lines_are_those_of_the_population_and_can_be_set(client):
    place = first_where(lambda house: len(house.residents[0].phones) == 3)
    phones = PEOPLE.owners(place)[0].phones
    control(client, "facts", {"phone": "+12025550110", "line": "voip"})
    control(client, "facts", {"phone": "+12025550111", "line": "none"})

    def look_up(number):
        return check_phone(client, "twilio", "lookup", number, lookup_url=str(client.base_url))

    kinds = [look_up(f"+1{phone.number}").line_type for phone in phones]
    assert kinds == ["mobile", "landline", "voip"]
    assert look_up("+12025550110").code == "voip"
    unknown = look_up("+12025550111")
    assert (unknown.verdict, unknown.code, unknown.units) == ("invalid", "invalid", 1)
    assert look_up("+12025550198").line_type == "landline"
    assert invoice(client, "twilio", key="AC0001")["total_cents"] == 6


# --- the rest ---------------------------------------------------------------------------------


def test_a_reset_forgets_bills_facts_and_what_was_promised(client, hooks):
    control(client, "facts", {"email": "a@example.com", "verdict": "invalid"})
    control(client, "batchdata/records", {"count": 5, "zip": "90028"})
    control(client, "hold", {"vendor": "apollo"})
    before = search(client, take=1).results_found

    control(client, "reset")

    assert client.get("/_control/invoice").json() == {"invoices": [], "total_cents": 0}
    assert search(client, take=0).results_found < before
    assert check_email(client, "a@example.com").verdict != "invalid"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("account", {"vendor": "acme", "api_key": "x"}),
        ("account", {"vendor": "melissa", "api_key": "x", "prices": {"lunch": 5}}),
        ("account", {"vendor": "melissa", "api_key": "x", "balance_cents": "a lot"}),
        ("account", {"vendor": [], "api_key": "x"}),
        ("day", {"offset": "tomorrow"}),
        ("facts", {"colour": "red"}),
        ("batchdata/records", {"count": "5"}),
        ("batchdata/records", {"count": 5, "after": "soon"}),
        ("hold", {"vendor": "acme"}),
        ("batchdata/records", {"count": 0}),
        ("batchdata/records", {"count": 1, "zip": "00000"}),
        ("apollo/expire", {"request_id": 5}),
    ],
)
def test_control_says_what_it_cannot_do(client, path, body):
    answer = client.post(f"/_control/{path}", json=body)

    assert answer.status_code in (400, 404)
    assert answer.json()["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/property/search", {"searchCriteria": {"demographics": {"age": {"min": "x"}}}}),
        ("/api/v1/property/search", {"searchCriteria": {"query": "CA"}, "options": {"skip": "x"}}),
        ("/api/v1/property/search", {"searchCriteria": {"quickLists": "high-equity"}}),
        ("/api/v1/property/search", {"searchCriteria": []}),
        ("/api/v3/property/skip-trace", {"requests": [5]}),
        ("/api/v3/property/skip-trace", {"requests": [{"requestId": "a"}] * 101}),
        ("/api/v1/property/skip-trace", {}),
        ("/api/v1/phone/dnc", {"requests": "2025550142"}),
        ("/api/v1/phone/horoscope", {"requests": ["2025550142"]}),
        ("/api/v2/email-verification", {"email": 5}),
    ],
)
def test_wrong_requests_are_refused_and_not_billed(client, path, body):
    answer = client.post(path, json=body, headers={"Authorization": f"Bearer {KEY}"})

    assert answer.status_code in (400, 404)
    assert invoice(client)["total_cents"] == 0


@pytest.mark.parametrize("records", [None, [], [5], "x", [{}] * 101])
def test_melissa_refuses_records_that_are_none(client, records):
    body = {"CustomerID": KEY, "Records": records}

    told = client.post("/v3/WEB/ContactVerify/doContactVerify", json=body).json()

    assert told["TransmissionResults"] in ("GE02", "GE03")
    assert invoice(client)["total_cents"] == 0


def test_prices_can_be_changed(client):
    control(
        client,
        "account",
        {"vendor": "instantly", "api_key": KEY, "prices": {"email_verification": 7}},
    )

    check_email(client, "jordan@example.com")

    assert invoice(client)["total_cents"] == 7


def test_an_address_in_a_path_is_read_as_it_was_sent(client):
    email = "o'neil+test@example.com"
    check_email(client, email)

    assert poll_email(client, email).kind == "hit"
    key = {"Authorization": f"Bearer {KEY}"}
    strange = quote("never@asked.example.com")
    answer = client.get(f"/api/v2/email-verification/{strange}", headers=key)
    assert answer.status_code == 404
    assert json.loads(answer.content)["message"]
