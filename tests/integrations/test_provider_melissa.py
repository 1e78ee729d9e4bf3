"""Melissa Personator: what is asked, and what its recorded, odd and hostile answers mean."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from integrations.actions_accounts import connect_integration
from integrations.actions_keys import NoWebhooks, make_endpoint
from integrations.providers import Account, providers
from integrations.providers.data import Subject
from tests.integrations.vendor_answers import (
    BODIES,
    HEADERS,
    STATUSES,
    check,
    mutations,
    recorded,
)

MELISSA = providers["melissa"]()
ACCOUNT = Account(base_url="", api_key="license-key")
SUBJECT = Subject(
    request_id="lead_01JD",
    full_name="Jordan Sample",
    address_line1="100 Example St",
    city="Springfield",
    region="IL",
    postal_code="62701",
)


def read(body, status=200):
    return MELISSA.read_enrich("personator", status, {}, body, "lead_01JD")


def answer(**changes):
    """The recorded answer with its one record changed."""
    whole = json.loads(recorded("melissa", "personator")[1])
    whole["Records"][0] |= changes
    return read(json.dumps(whole).encode())


def test_a_request_checks_verifies_appends_and_moves():
    call = MELISSA.build_enrich("personator", [SUBJECT, replace(SUBJECT, request_id="b")], ACCOUNT)

    asked = json.loads(call.body)
    assert call.url == ("https://personator.melissadata.net/v3/WEB/ContactVerify/doContactVerify")
    assert asked["Actions"] == "Check,Verify,Append,Move"
    assert asked["CustomerID"] == "license-key"
    assert "license-key" not in repr(call.headers)
    assert [record["RecordID"] for record in asked["Records"]] == ["lead_01JD", "b"]
    assert asked["Records"][0]["FullName"] == "Jordan Sample"


def test_a_recorded_answer_gives_the_address_key_and_checked_points():
    found = read(recorded("melissa", "personator")[1])

    assert (found.kind, found.units) == ("hit", 1)
    assert found.fields == {
        "address_line1": "100 Example St",
        "city": "Springfield",
        "region": "IL",
        "postal_code": "62701-0001",
        "mak": "1234567890",
    }
    assert found.codes == ("AS01", "VR01", "PS01")
    assert [(p.value, p.codes) for p in found.points] == [
        ("+12025550142", ("PS01",)),
        ("jordan@example.com", ()),
    ]
    assert found.persons[0].full_name == "Jordan Sample"


def test_the_short_shape_of_an_older_client_is_no_answer_to_us():
    """It repeats no record id, so nothing says whose phones these are."""
    body = (
        b'{"Records": [{"AddressKey": "90028123456", "Results": "AS01,VR01",'
        b' "Phone": "2025550143"}]}'
    )

    assert read(body).kind == "ambiguous"


def test_what_was_appended_has_been_checked_by_nobody():
    """A code of the checks is about what was sent, not about what was found instead."""
    found = answer(Results="AS01,DA30,DA40,PS01,PS07,ES01")

    assert [point.codes for point in found.points] == [("DA30",), ("DA40",)]
    assert [point.line_type for point in found.points] == ["unknown", "unknown"]


def test_a_checked_phone_has_its_line_and_its_place_on_the_list():
    [phone, _email] = answer(Results="AS01,PS01,PS08,PS18").points

    assert (phone.line_type, phone.dnc) == ("landline", True)
    assert phone.codes == ("PS01", "PS08", "PS18")


def test_an_address_that_is_wrong_is_not_taken():
    """AE is an error of the address in Melissa's words, and verifies no e-mail."""
    wrong = answer(Results="AE10", PhoneNumber=" ", EmailAddress=" ")
    moved = answer(Results="AE02,DA30", EmailAddress=" ")

    assert (wrong.kind, wrong.units, wrong.fields) == ("miss", 0, {})
    assert (moved.kind, moved.fields) == ("hit", {})
    assert all(not code.startswith("AE") for point in moved.points for code in point.codes)


def test_a_name_is_taken_only_where_it_was_appended():
    assert "full_name" not in answer(Results="AS01").fields
    assert answer(Results="AS01,DA10").fields["full_name"] == "Jordan Sample"


def test_blanks_are_nothing():
    found = answer(
        AddressLine1=" ", City=" ", MelissaAddressKey=" ", NameFull=" ", PhoneNumber=" ",
        EmailAddress=" ",
    )  # fmt: skip

    assert found.fields == {"region": "IL", "postal_code": "62701-0001"}
    assert (found.persons, found.points) == ((), ())


@pytest.mark.parametrize(
    ("codes", "kind", "words"),
    [
        ("GE05", "refused", "does not know the license key"),
        ("GE06", "refused", "disabled"),
        ("GE08", "balance", "does not cover"),
        (" GE14 ", "balance", "Buy more"),
    ],
)
def test_what_is_wrong_with_the_transmission_is_said(codes, kind, words):
    found = read(json.dumps({"TransmissionResults": codes, "Records": []}).encode())

    assert (found.kind, found.units) == (kind, 0)
    assert words in found.error


@pytest.mark.parametrize(
    ("changes", "can_ask"),
    [
        ({}, True),
        ({"postal_code": "", "city": ""}, False),
        ({"address_line1": ""}, False),
        ({"address_line1": "", "mak": "1234567890"}, True),
        ({"address_line1": "", "email": "a@example.com"}, True),
    ],
)
def test_who_has_too_little_to_ask_with_is_not_asked_about(changes, can_ask):
    assert bool(MELISSA.asks("personator", replace(SUBJECT, **changes))) is can_ask


@pytest.mark.parametrize("body", BODIES)
def test_no_answer_is_too_odd_to_read(body):
    for status in STATUSES:
        for headers in HEADERS:
            check(MELISSA.read_enrich("personator", status, headers, body, "lead_01JD"))


def test_no_mutation_of_a_good_answer_breaks_a_column():
    for body in mutations(recorded("melissa", "personator")[1], seed=3, pairs=300):
        check(read(body))


@pytest.mark.django_db
def test_who_sends_nothing_gets_no_url_and_who_never_signs_an_unsigned_one(office):
    with office.inside():
        melissa = connect_integration(provider="melissa", name="Melissa", api_key="k")
        batch = connect_integration(provider="batchdata", name="BatchData", api_key="k")
        carrier = connect_integration(provider="signalhouse", name="Carrier", api_key="k")
        with pytest.raises(NoWebhooks, match="Melissa sends no webhooks"):
            make_endpoint(melissa, actor_id=None)
        made = make_endpoint(batch, actor_id=None)

        assert not melissa.endpoints.exists()
        assert [one.signed for one in batch.endpoints.all()] == [False, False]
        assert not made.signed
        assert carrier.endpoints.get().signed
