"""How addresses, names, phones and e-mails are compared."""

from __future__ import annotations

import pytest
from django.db import connection
from hypothesis import HealthCheck, settings

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
