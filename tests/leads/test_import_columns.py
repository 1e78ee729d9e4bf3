"""What columns are taken for, how mappings are checked, and what a preview shows."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from django.conf import settings

from leads.identity.targets import choices
from leads.imports import presets
from leads.imports.columns import OURS, Column, fingerprint, suggest
from leads.imports.transforms import (
    BadMapping,
    check_mapping,
    options_for,
    preview,
    readings_of,
    stage_columns,
    targets_of_problem,
)

FILES = sorted((Path(settings.BASE_DIR) / "tests/fixtures/csv").glob("*.csv"))


def table(path):
    with path.open(newline="") as stream:
        rows = list(csv.reader(stream))
    return rows[0], rows[1:]


def targets(header, samples=()):
    return {one.header: one.target for one in suggest(header, samples)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_we_know_is_mapped_without_a_choice(path):
    header, rows = table(path)

    columns = suggest(header, rows[:50])

    check_mapping(columns)
    assert all(one.target for one in columns)
    assert any(one.target.startswith(("phone", "email")) for one in columns)


def test_the_columns_of_propstream_go_where_they_belong():
    header, rows = table(next(path for path in FILES if path.stem == "propstream"))

    found = targets(header, rows)

    assert found["Address"] == "address_line1"
    assert found["Mailing Address"] == "mailing.address_line1"
    assert found["Owner 1 First Name"] == "first_name"
    assert found["Owner 2 First Name"] == "contact2.first_name"
    assert found["Est. Value"] == "property_value"
    assert found["Est. Loan-to-Value"] == "property.loan_to_value"
    assert (found["Phone 2"], found["Phone 2 Type"], found["Phone 2 DNC"]) == (
        "phone2",
        "phone2_type",
        "phone2_dnc",
    )
    assert found["Litigator"] == "raw.litigator"


def test_kinds_of_lines_are_taken_from_the_names_of_columns():
    columns = {one.header: one for one in suggest(["primary_phone", "mobile_1", "landline_1"], [])}

    assert [columns[name].transform for name in columns] == ["", "mobile", "landline"]
    read = {one.target: one.value_sql for one in stage_columns(list(columns.values()), frozenset())}
    assert "'mobile'" in read["phone2_type"]
    assert "phone1_type" not in read


def test_values_decide_where_names_say_nothing():
    rows = [
        ["ann@x.com", "2025550143", "12207", "NY", "blue"],
        ["bob@x.com", "202-555-0144", "12208", "NJ", "red"],
    ]

    found = targets(["A", "B", "C", "D", "E"], rows)

    assert found == {
        "A": "email1", "B": "phone1", "C": "postal_code", "D": "region", "E": "raw.e",
    }  # fmt: skip


def test_no_field_is_suggested_twice_and_nothing_is_lost():
    found = suggest(["Name", "Full name", "Note", "note!", "Phone", "Phone (2)"], [])

    used = [one.target for one in found]
    assert len(used) == len(set(used))
    assert used == ["full_name", "raw.full_name", "raw.note", "raw.note_2", "phone1", "phone2"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ([("A", "phone1"), ("B", "phone1")], "A and B are both Phone 1"),
        ([("A", "favourite_colour")], "there is no field"),
        ([("A", "raw.x'; DROP TABLE leads")], "there is no field"),
        ([("A", "raw.note")], "Choose a field"),
        ([("A", "city")], "No column says who a lead is"),
        ([("A", "")], "Choose a field"),
    ],
)
def test_a_mapping_nobody_can_have_meant_is_refused(columns, words):
    with pytest.raises(BadMapping, match=words):
        check_mapping([Column(header=name, target=target) for name, target in columns])


def test_a_way_to_read_must_fit_its_field():
    check_mapping([Column(header="A", target="phone1", transform="mobile")])
    for target, transform in (("city", "mobile"), ("phone1", "name"), ("phone1", "x'")):
        with pytest.raises(BadMapping):
            check_mapping([Column(header="A", target=target, transform=transform)])
    assert [key for key, _ in options_for("email1")] == ["list"]


@pytest.mark.django_db
def test_a_preview_shows_values_and_problems_as_the_import_reads_them():
    columns = [
        Column(header="Name", target="full_name"),
        Column(header="Cell", target="phone1", transform="list"),
        Column(header="Worth", target="property_value"),
        Column(header="Skip"),
    ]

    first, second = preview(
        columns, [["Doe, Jane", "2025550143; 202", "$900K", "x"], ["Oak LLC", "", "lots", ""]]
    )

    assert first["full_name"] == ("Jane Doe", "")
    assert (first["first_name"][0], first["last_name"][0]) == ("Jane", "Doe")
    assert first["phone1"] == ("+12025550143", "")
    assert first["phone2"] == ("", "has 3 digits")
    assert first["property_value"] == ("900000", "")
    assert second["property_value"] == ("", "is no amount of money")


@pytest.mark.django_db
def test_every_field_there_is_can_be_read():
    names = [name for _, group in choices() for name, _ in group]
    columns = [Column(header=name, target=name) for name in names]

    (row,) = preview(columns, [["7"] * len(columns)])

    assert set(row) >= set(names)


def test_a_problem_leads_to_the_value_that_a_rule_may_drop():
    columns = [
        Column(header="Cell", target="phone1"),
        Column(header="Post", target="mailing.postal_code"),
    ]

    assert targets_of_problem("Phone 1 has 9 digits", columns) == ["phone1"]
    assert targets_of_problem("Mailing address: zip is no ZIP code", columns) == [
        "mailing.postal_code"
    ]
    assert targets_of_problem("The row has 2 columns, the header has 3", columns) == []
    dropped = stage_columns(columns, frozenset({"phone1"}))
    assert [bool(one.problem_sql) for one in dropped] == [False, True]


def test_files_are_known_again_by_their_header():
    assert fingerprint(["Phone", "E-mail"]) == fingerprint([" phone ", "E-MAIL"])
    assert fingerprint(["phone", "e-mail"]) != fingerprint(["e-mail", "phone"])


@pytest.mark.django_db
def test_what_people_chose_comes_before_what_the_product_knows(office, other_office):
    header = presets.BUILTIN["lead-lab"]
    with office.inside():
        assert presets.known(header)[2] == "lead-lab"
        columns = [Column(header=name) for name in header[:-1]]
        columns = [*columns, Column(header="zip", target="source_id")]
        presets.remember(header, columns, fixes=["phone1"], name="Ours")
        found, saved, name = presets.known(header)

    assert (name, found[-1].target, saved.options) == ("Ours", "source_id", {"fixes": ["phone1"]})
    with other_office.inside():
        assert presets.known(header)[2] == "lead-lab"


@pytest.mark.django_db
def test_presets_are_found_by_name_and_matched_by_columns(office):
    with office.inside():
        found = presets.named("propstream", ["Zip", "Phone 1", "Else"])
        with pytest.raises(presets.NoPreset, match="no preset"):
            presets.named("nothing", ["Zip"])
        with pytest.raises(presets.NoPreset, match="none of the columns"):
            presets.named("PropStream", ["Foo"])

    assert [one.target for one in found] == ["postal_code", "phone1", ""]


def test_every_preset_of_ours_reads_every_column():
    for name in presets.BUILTIN:
        columns = presets.builtin(presets.BUILTIN[name])
        check_mapping(columns)
        assert {one.header for one in columns if not one.target} <= OURS, name
        assert readings_of(columns)
