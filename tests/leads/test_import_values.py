"""What a cell means: the functions that preview and import share."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.raw import rows

pytestmark = pytest.mark.django_db


def ask(call, *args):
    marks = ", ".join(["%s"] * len(args))
    (found,) = rows(f"SELECT (f).value, (f).problem FROM (SELECT {call}({marks}) AS f) AS x", *args)
    return found


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("$900K", "900000"),
        ("$1,234.56", "1235"),
        ("1.2M", "1200000"),
        ("$1.5 million", "1500000"),
        ("(1,200)", "-1200"),
        ("-$5", "-5"),
        ("$ 410,000", "410000"),
        ("425k", "425000"),
        (".5M", "500000"),
        ("0", "0"),
        ("", None),
        ("N/A", None),
        ("-", None),
    ],
)
def test_money_is_whole_dollars(raw, value):
    assert ask("import_money", raw) == (value, None)


@pytest.mark.parametrize("raw", ["$850K-$900K", "lots", "12 34 x", "1.2.3", "NaN", "1e5", "€", "$"])
def test_what_is_no_amount_is_told(raw):
    value, problem = ask("import_money", raw)

    assert value is None
    assert problem == "is no amount of money" or raw in ("€", "$")


def test_more_money_than_there_is_is_refused():
    assert ask("import_money", "999999999999 B")[1] == "is more money than a lead can have"


@pytest.mark.parametrize(
    ("raw", "value", "problem"),
    [
        ("(202) 555-0143", "+12025550143", None),
        ("+1 202-555-0143", "+12025550143", None),
        ("1.202.555.0143", "+12025550143", None),
        ("202-555-0143 ext. 12", "+12025550143", None),
        ("2025550143x9", "+12025550143", None),
        ("2025550143.0", "+12025550143", None),
        ("'+12025550143", "+12025550143", None),
        ("+44 20 7946 0018", "+442079460018", None),
        ("", None, None),
        ("n/a", None, None),
        ("202555014", None, "has 9 digits"),
        ("20255501433", None, "has 11 digits"),
        ("5", None, "has 1 digit"),
        ("+4420", None, "has 4 digits"),
        ("555-0143", None, "has 7 digits"),
        ("2.02555E+09", None, "was rounded by a spreadsheet"),
        ("call me", None, "is no phone number"),
        ("0025550143", None, "is a number that nobody has"),
        ("2021550143", None, "is a number that nobody has"),
    ],
)
def test_phones_are_read_or_told(raw, value, problem):
    assert ask("import_phone", raw) == (value, problem)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("2011-06-01", "2011-06-01"),
        ("6/1/2011", "2011-06-01"),
        ("06/01/11", "2011-06-01"),
        ("6/1/75", "1975-06-01"),
        ("20110601", "2011-06-01"),
        ("Jun 1, 2011", "2011-06-01"),
        ("September 30 2019", "2019-09-30"),
        ("2011-06-01T10:00:00Z", "2011-06-01"),
        ("6/1/2011 12:00:00 AM", "2011-06-01"),
        ("2/29/2024", "2024-02-29"),
    ],
)
def test_dates_are_days(raw, value):
    assert ask("import_date", raw) == (value, None)


@pytest.mark.parametrize(
    "raw", ["2/29/2023", "13/1/2011", "2011-00-10", "soon", "44000", "Foo 1, 2011", "0/0/00"]
)
def test_what_is_no_day_is_told(raw):
    value, problem = ask("import_date", raw)

    assert value is None
    assert problem.startswith("is no date")


@pytest.mark.parametrize(
    ("call", "raw", "value"),
    [
        ("import_yes_no", "Yes", "true"),
        ("import_yes_no", "x", "true"),
        ("import_yes_no", "N", "false"),
        ("import_yes_no", "Unknown", None),
        ("import_region", "New York", "NY"),
        ("import_region", "ny", "NY"),
        ("import_region", "N.Y.", "NY"),
        ("import_region", "District of Columbia", "DC"),
        ("import_zip", "8014", "08014"),
        ("import_zip", "12207-1234", "12207-1234"),
        ("import_zip", "122071234", "12207-1234"),
        ("import_zip", "12207.0", "12207"),
        ("import_zip", "k1a0b1", "K1A 0B1"),
        ("import_fips", "6037", "06037"),
        ("import_line_type", "Wireless", "mobile"),
        ("import_line_type", "Fixed Line", "landline"),
        ("import_line_type", "pager", "unknown"),
        ("import_email", " Jane@Example.COM ", "jane@example.com"),
        ("import_email", "mailto:jane@example.com", "jane@example.com"),
        ("import_email", "<jane@example.com>", "jane@example.com"),
        ("import_zone", "America/New_York", "America/New_York"),
    ],
)
def test_other_values_get_their_form(call, raw, value):
    assert ask(call, raw) == (value, None)


@pytest.mark.parametrize(
    ("call", "raw", "problem"),
    [
        ("import_yes_no", "maybe", "is neither yes nor no"),
        ("import_region", "ZZ", "is no state"),
        ("import_region", "Bavaria", "is no state"),
        ("import_zip", "1220712", "is no ZIP code"),
        ("import_zip", "00000", "is no ZIP code"),
        ("import_fips", "12", "is no county code"),
        ("import_email", "jane@", "is no e-mail address"),
        ("import_email", "jane@example", "is no e-mail address"),
        ("import_email", "ja ne@example.com", "is no e-mail address"),
        ("import_zone", "Mars/Olympus", "is no time zone we know"),
    ],
)
def test_what_cannot_be_read_is_told(call, raw, problem):
    assert ask(call, raw) == (None, problem)


def test_numbers_keep_their_bounds():
    assert ask("import_integer", "1,480", 2000) == ("1480", None)
    assert ask("import_integer", "5.0", 10) == ("5", None)
    assert ask("import_integer", "131", 130) == (None, "is more than 130")
    assert ask("import_integer", "10-19", 100) == (None, "is no whole number")
    assert ask("import_percent", "39%", 100) == ("39", None)
    assert ask("import_percent", "2.50", 100) == ("2.5", None)
    assert ask("import_text", "  a b ", 10) == ("a b", None)
    assert ask("import_text", "abcdef", 5) == ("abcde", "is longer than 5 characters")


@pytest.mark.parametrize(
    ("raw", "first", "last", "full"),
    [
        ("Jane Doe", "Jane", "Doe", "Jane Doe"),
        ("Doe, Jane", "Jane", "Doe", "Jane Doe"),
        ("Dr. Jane M. Doe Jr", "Jane", "Doe", "Jane M. Doe Jr"),
        ("Doe, Jane M", "Jane", "Doe", "Jane M Doe"),
        ("Ludwig van Beethoven", "Ludwig", "van Beethoven", "Ludwig van Beethoven"),
        ("John Doe, Jr.", "John", "Doe", "John Doe Jr."),
        ("Oak Plumbing LLC", None, None, "Oak Plumbing LLC"),
        ("The Doe Family Trust", None, None, "The Doe Family Trust"),
        ("Cher", None, None, "Cher"),
        ("", None, None, None),
    ],
)
def test_names_are_taken_apart(raw, first, last, full):
    assert ask("import_name", raw, "first") == (first, None)
    assert ask("import_name", raw, "last") == (last, None)
    assert ask("import_name", raw, "full") == (full, None)


def test_several_values_in_a_cell_are_told_apart():
    def items(raw):
        return [rows("SELECT import_item(%s, %s)", raw, n)[0][0] for n in (1, 2, 3)]

    assert items("2025550143; 2025550144") == ["2025550143", "2025550144", None]
    assert items("a@x.com|b@x.com,c@x.com") == ["a@x.com", "b@x.com", "c@x.com"]
    assert items("202 555 0143") == ["202 555 0143", None, None]
    assert items("(202) 555-0143; (202) 555-0144") == ["(202) 555-0143", "(202) 555-0144", None]


CALLS = [
    ("import_money", ()), ("import_phone", ()), ("import_email", ()), ("import_date", ()),
    ("import_yes_no", ()), ("import_region", ()), ("import_zip", ()), ("import_fips", ()),
    ("import_line_type", ()), ("import_zone", ()), ("import_integer", (100,)),
    ("import_percent", (100,)), ("import_text", (20,)), ("import_name", ("first",)),
    ("import_name", ("last",)), ("import_name", ("full",)),
]  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40)
DIGITS = st.text("0123456789.,-+$%()/ xkmbe@'", max_size=24)


@settings(max_examples=150, deadline=None)
@given(st.one_of(TEXT, DIGITS))
def test_no_cell_breaks_a_function_and_each_gives_a_value_or_a_problem(raw):
    for call, more in CALLS:
        value, problem = ask(call, raw, *more)
        if call != "import_text":
            assert value is None or problem is None, (call, raw)
        assert value != "", (call, raw)


@settings(max_examples=60, deadline=None)
@given(st.one_of(TEXT, DIGITS))
def test_a_value_read_twice_is_itself(raw):
    for call, more in CALLS:
        if call == "import_name":
            continue
        value, _ = ask(call, raw, *more)
        if value is not None:
            assert ask(call, value, *more)[0] == value, (call, raw)


def test_the_functions_may_run_in_parallel_and_depend_on_nothing():
    found = rows(
        "SELECT proname, provolatile, proparallel FROM pg_proc"
        " WHERE proname ~ '^import_' AND pronamespace = 'public'::regnamespace"
    )

    assert len(found) == 15
    assert {(volatile, parallel) for _, volatile, parallel in found} == {("i", "s")}
