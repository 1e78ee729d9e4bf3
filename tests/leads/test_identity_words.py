"""How addresses, names, phones and e-mails are compared."""

from __future__ import annotations

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leads.captures import normalize_email

pytestmark = pytest.mark.django_db

FAST = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def ask(call: str, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {call}", list(arguments))
        return cursor.fetchone()[0]


def fold(line1, line2="", unit=""):
    return ask("address_fold(%s, %s, %s)", line1, line2, unit)


@pytest.mark.parametrize(
    ("given", "folded"),
    [
        ("123 Main St", "123 MAIN ST|"),
        ("123 N. Main Street", "123 N MAIN ST|"),
        ("123 north main str.", "123 N MAIN ST|"),
        ("123 Main St Apt 4B", "123 MAIN ST|4B"),
        ("123 Main St, #4-B", "123 MAIN ST|4B"),
        ("123 Main St # 4 B", "123 MAIN ST|4B"),
        ("123 Main St Unit 04B", "123 MAIN ST|4B"),
        ("123 Main St 4B", "123 MAIN ST|4B"),
        ("123 Main St APT4B", "123 MAIN ST|4B"),
        ("123 Main St N 4B", "123 MAIN ST N|4B"),
        ("123 Main St Apt 0", "123 MAIN ST|0"),
        ("123 Main St 2nd Floor", "123 MAIN ST|FL2"),
        ("123 Main St Fl 2", "123 MAIN ST|FL2"),
        ("123 Main St Bldg 2 Apt 4", "123 MAIN ST|BLDG2/4"),
        ("123 Main St Bldg 24", "123 MAIN ST|BLDG24"),
        ("123 Main St Rear", "123 MAIN ST|REAR"),
        ("12-34 45th Avenue", "12 34 45TH AVE|"),
        ("500 Fifth Avenue", "500 5TH AVE|"),
        ("123 1/2 Oak Ln", "123 1/2 OAK LN|"),
        ("100 Highway 6", "100 HWY 6|"),
        ("1500 Avenue B", "1500 AVE B|"),
        ("P.O. Box 12", "PO BOX 12|"),
        ("PO BOX #12", "PO BOX 12|"),
        ("Post Office Box 12", "PO BOX 12|"),
        ("POB 12", "PO BOX 12|"),
        ("12 Saint Charles Ave", "12 ST CHARLES AVE|"),
        ("12 José Ct", "12 JOSE CT|"),
        ("12 O'Neil Dr", "12 ONEIL DR|"),
        ("  ", "|"),
        ("", ""),
    ],
)
def test_an_address_has_one_form(given, folded):
    assert fold(given) == folded


@pytest.mark.parametrize("unit", ["Apt 4B", "#4B", "4b", "Unit 4-B", "APARTMENT 4B", "Ste. 4B"])
def test_a_unit_is_the_same_wherever_it_stands(unit):
    assert fold("9 Oak Dr", unit) == fold("9 Oak Dr", "", unit) == "9 OAK DR|4B"
    assert fold(f"9 Oak Dr {unit}") in ("9 OAK DR|4B",)
    assert fold(f"9 Oak Dr {unit}", "", unit) == "9 OAK DR|4B"


def test_a_second_line_that_is_no_unit_does_not_count():
    assert fold("9 Oak Dr", "c/o Jordan Sample") == "9 OAK DR|"
    assert fold("9 Oak Dr", "PO Box 12") == "9 OAK DR|"


SUFFIXES = [
    ("St", "Street"),
    ("Ave", "Avenue"),
    ("Blvd", "Boulevard"),
    ("Ln", "Lane"),
    ("Rd", "Road"),
]
STREETS = st.sampled_from(["Oak", "N Main", "Lake Shore", "5th", "Old Mill", "Van Buren"])
NUMBERS = st.integers(1, 99_999)


def hash_of(line1, *more, zip="89501"):
    return ask("compute_addr_hash(%s, 'Reno', 'NV', %s, %s, %s)", line1, zip, *(more or ("", "")))


@given(number=NUMBERS, street=STREETS, suffix=st.sampled_from(SUFFIXES), unit=st.integers(1, 999))
@FAST
def test_spelling_does_not_make_another_address(number, street, suffix, unit):
    short, long = suffix
    plain = f"{number} {street} {short}"
    same = [
        f"{number} {street} {long}",
        plain.upper(),
        f" {number}  {street.lower()} {short}. ",
        f"{number}, {street}, {short}",
    ]
    assert {hash_of(line) for line in same} == {hash_of(plain)}
    flats = [f"{plain} Apt {unit}", f"{plain}, Unit #{unit}", f"{plain} #{unit}"]
    assert {hash_of(line) for line in flats} == {hash_of(plain, str(unit), "")}
    assert hash_of(plain, "", f"apt {unit}") == hash_of(plain, str(unit), "") != hash_of(plain)
    assert hash_of(plain, str(unit), "") != hash_of(plain, str(unit + 1), "")
    assert hash_of(f"{number + 1} {street} {short}") != hash_of(plain)
    assert hash_of(plain, zip="89501-1234") == hash_of(plain) != hash_of(plain, zip="89502")


@given(line=st.text("0123456789 ABstreNhapu#.-,/", max_size=30))
@FAST
def test_folding_a_folded_address_changes_nothing(line):
    street, _, unit = fold(line).partition("|")

    again = fold(street, "", unit)

    assert again.partition("|")[0] == street or not street


def test_the_seed_call_has_four_arguments():
    four = ask("compute_addr_hash('123 Main St', 'Los Angeles', 'CA', '90028')")

    assert len(four) == 64
    assert four == ask("compute_addr_hash('123 main street', 'LOS ANGELES', 'ca', '90028-1234')")
    for nothing in (
        "NULL, 'Reno', 'NV', '89501'",
        "'', 'Reno', 'NV', '89501'",
        "'1 Oak', '', '', ''",
    ):
        assert ask(f"compute_addr_hash({nothing})") is None


@pytest.mark.parametrize(
    ("given", "zip"),
    [
        ("90028-1234", "90028"),
        ("900281234", "90028"),
        (" 90028 ", "90028"),
        ("9002", None),
        ("9002A", None),
        ("", None),
        (None, None),
        ("00000", None),
        ("90028-12", None),
    ],
)
def test_a_zip_is_five_digits_or_nothing(given, zip):
    assert ask("normalize_zip(%s)", given) == zip


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("(202) 555-0142", "+12025550142"),
        ("202.555.0142", "+12025550142"),
        ("1-202-555-0142", "+12025550142"),
        ("+1 202 555 0142", "+12025550142"),
        ("2025550142.0", "+12025550142"),
        ("202-555-0142 x12", "+12025550142"),
        ("202-555-0142 ext. 12", "+12025550142"),
        ("tel:+12025550142;ext=5", "+12025550142"),
        ("+44 20 7946 0958", "+442079460958"),
        ("011 44 20 7946 0958", "+442079460958"),
        ("555-0142", "?no area code"),
        ("12345", "?too short"),
        ("2.02555E+09", "?rounded by a spreadsheet"),
        ("1-800-FLOWERS", "?not only digits"),
        ("102 555 0142", "?no such area code: 102"),
        ("911 555 0142", "?no such area code: 911"),
        ("202 911 0142", "?no such exchange: 911"),
        ("202 055 0142", "?no such exchange: 055"),
        ("22025550142", "?eleven digits that do not begin with 1"),
        ("+1 202 555", "?too short"),
        ("+0 202 555 0142", "?no country code"),
        ("  ", None),
        ("", None),
    ],
)
def test_a_phone_is_read_or_it_is_said_why_not(given, read):
    assert ask("phone_read(%s)", given) == read


LOCALS = st.text("aZ09.+-_!\u0131", min_size=1, max_size=12)
DOMAINS = st.text("aZ9.-_\u00fc\u00df\u03b1", min_size=1, max_size=16)
EMAILS = st.builds(
    "{}@{}.{}".format, LOCALS, DOMAINS, st.sampled_from(["com", "co.uk", "x", "de", "9a"])
)


@given(raw=EMAILS | st.text("a@. \t", max_size=9))
@FAST
def test_sql_folds_e_mails_as_python_does(raw):
    assert (ask("normalize_email(%s)", raw) or "") == normalize_email(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "Jo@Example.COM ",
        "jo+x@b\u00fccher.example",
        "jo@stra\u00dfe.de",
        "a..b@c.de",
        "@c.de",
        "a@b",
        "\uff4ao@example.com",
        "jo@" + "a" * 64 + ".com",
        "jo@" + "a." * 12 + "com",
        "jo@xn--a.xn--b",
        "x" * 65 + "@b.com",
        "jo@m\u00fcnchen.\u03b1\u03b2",
        "jo@example.com.",
        "jo@-a.com",
    ],
)
def test_odd_e_mails_are_folded_alike(raw):
    assert (ask("normalize_email(%s)", raw) or "") == normalize_email(raw)


@pytest.mark.parametrize(
    ("names", "owner"),
    [
        (("Smith, John A.", "", "", "Acme", ""), "JOHN SMITH"),
        (("", "John", "Smith", "Acme", ""), "JOHN SMITH"),
        (("", "", "", "Acme Homes, L.L.C.", ""), "ACME HOMES"),
        (("", "", "", "Acme", "The Oak Trust"), "OAK TRUST"),
        (("", "", "", "", ""), ""),
        (("Mr. Jos\u00e9 O'Neil Jr", None, None, None, None), "JOSE JR ONEIL"),
        (("A", "", "", "", ""), "A"),
    ],
)
def test_the_owner_of_an_address_is_a_person_else_a_company(names, owner):
    assert ask("addr_owner_of(%s, %s, %s, %s, %s)", *names) == owner
