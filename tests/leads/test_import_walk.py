"""A file all the way: check, confirm, result; what it writes, and what it leaves alone."""

from __future__ import annotations

import csv
import io

import pytest

from leads.imports import actions
from leads.imports.actions import ImportRefused, UnreadableFile
from leads.imports.rejects import reject_file
from leads.models import ContactPoint, ImportChange, ImportPreset, Label, Lead, LeadEvent, LeadLabel
from pipelines.models import PipelineRun
from tests.leads.importing import (
    FIXTURES,
    OWN,
    begin,
    checked,
    confirm,
    figures,
    fresh,
    imported,
    problems,
    row_counts,
    run,
    table,
)

pytestmark = pytest.mark.django_db

HEADER = "name,phone,email,address,city,state,zip"
JANE = "Jane Doe,2025550143,jane@example.com,12 Oak St,Albany,NY,12207"
JOE = "Joe Roe,2025550144,joe@example.com,14 Oak St,Albany,NY,12207"


def test_the_five_hundred_of_us_500_become_five_hundred_leads(office):
    one = imported(office, (FIXTURES / "us-500.csv").read_bytes())

    assert (one.state, one.total, figures(one)) == ("imported", 500, {"created": 500})
    with office.inside():
        assert Lead.objects.filter(run=one.run).count() == 500
        # Nine of the thousand are numbers that nobody can have: left out, and the rows kept.
        assert ContactPoint.objects.filter(kind="phone").count() == 991
        art = Lead.objects.get(last_name="Venere", first_name="Art")
        assert (art.postal_code, art.region, art.source) == ("08014", "NJ", "upload")


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.csv")), ids=lambda path: path.stem)
def test_every_file_we_know_goes_all_the_way_and_again_changes_nothing(office, path):
    data = path.read_bytes()
    if len(data.splitlines()) < 2:  # a header alone: give it a row
        names = data.decode().strip().split(",")
        row = {"Email": "jane@example.com", "First Name": "Jane", "property_value": "$1"}
        data = table(names, [row.get(name, "") for name in names])

    one = imported(office, data)
    before = row_counts(office)
    again = imported(office, data)

    assert (one.state, one.errors, problems(office, one)) == ("imported", 0, {})
    assert one.created == one.total > 0
    assert figures(again) == {"unchanged": one.total}
    after = row_counts(office)
    assert {name for name in after if after[name] != before[name]} <= OWN
    with office.inside():
        assert actions.same_file(again).pk == one.pk


def test_a_check_writes_no_row_of_any_table_but_its_own(office):
    imported(office, table(HEADER, JANE))
    before = row_counts(office)

    one = checked(office, table(HEADER, JANE, JOE, JOE, "Bad,12,,,,,"))

    assert one.state == "checked"
    after = row_counts(office)
    assert {name for name in after if after[name] != before[name]} <= OWN


def test_a_preview_and_its_import_give_the_same_numbers(office):
    imported(office, table(HEADER, JANE))
    file = table(
        HEADER,
        JANE.replace("12207", "12208"),
        JOE,
        JOE,
        "Bad,12,,,,,",
        "Ann Lee,2025550199,ann@example.com,1 Elm St,Troy,NY,12180",
    )

    one = checked(office, file)
    told = figures(one)
    done = confirm(office, one)

    assert told == {"created": 2, "updated": 1, "duplicates": 1, "errors": 1}
    assert figures(done) == told
    assert one.matched_by == done.matched_by
    assert sum(one.matched_by.values()) == 1


def test_ten_thousand_rows_with_37_bad_ones_leave_37_in_the_reject_file(office):
    body = [
        f"Ann Lee{n},{2025550000 + n if n % 271 else 20255},a{n}@x.com,{n} Oak St,Albany,NY,12207"
        for n in range(10_000)
    ]
    bad = sum(n % 271 == 0 for n in range(10_000))
    assert bad == 37

    one = imported(office, table(HEADER, *body))

    assert figures(one) == {"created": 9_963, "errors": 37}
    file = b"".join(reject_file(one, tenant_id=office.tenant.pk))
    rejected = list(csv.DictReader(io.StringIO(file.decode())))
    assert len(rejected) == 37
    assert {row["Import problem"] for row in rejected} == {"Phone 1 has 5 digits"}
    assert rejected[1]["name"] == "Ann Lee271"

    mended = file.replace(b",20255,", b",2025559999,")
    again = checked(office, mended)
    assert (again.header, again.errors) == (one.header, 0)
    assert again.created + again.duplicates + again.updated == 37


def test_three_rows_with_one_number_are_one_lead_and_two_are_reported(office):
    one = imported(office, table("phone,note", "2025550143,a", "(202) 555-0143,b", "12025550143,c"))

    assert figures(one) == {"created": 1, "duplicates": 2}
    assert problems(office, one, "duplicate") == {2: "Repeats row 1", 3: "Repeats row 1"}
    with office.inside():
        assert Lead.objects.count() == 1


def test_bad_values_are_told_and_a_rule_keeps_their_rows(office):
    one = checked(office, table(HEADER, JANE, JOE.replace("2025550144", "555")))
    assert problems(office, one) == {2: "Phone 1 has 3 digits"}

    with office.inside():
        actions.drop_values(one.pk, problems=["Phone 1 has 3 digits"])
    one = confirm(office, run(office, one))

    assert figures(one) == {"created": 2}
    with office.inside():
        assert ContactPoint.objects.filter(kind="phone").count() == 1
        # and the next file with this header knows it
    assert figures(checked(office, table(HEADER, "X Y,1,x@y.com,,,,"))) == {"created": 1}


def test_a_problem_that_no_rule_can_mend_is_refused(office):
    one = checked(office, table(HEADER, JANE, "too,short"))

    assert problems(office, one) == {2: "The row has 2 columns, the header has 7"}
    with office.inside(), pytest.raises(ImportRefused, match="mend the file"):
        actions.drop_values(one.pk, problems=["The row has 2 columns, the header has 7"])


def test_torn_rows_are_in_the_reject_file_and_come_back_as_they_were(office):
    one = imported(office, table(HEADER, JANE, "a,b", "1,2,3,4,5,6,7,8"))

    file = b"".join(reject_file(one, tenant_id=office.tenant.pk))

    assert figures(one) == {"created": 1, "errors": 2}
    again = checked(office, file)
    assert problems(office, again) == problems_moved(problems(office, one))


def problems_moved(found):
    return dict(enumerate(found.values(), 1))


def test_a_second_file_with_a_known_header_needs_no_choice(office):
    data = table("Kundenname,Mobil", "Jane Doe,2025550143")
    one = begin(office, data, columns={"Kundenname": "full_name", "Mobil": "phone1"})
    with office.inside():
        assert ImportPreset.objects.get().name == "list.csv"

    other = begin(office, table("kundenname,mobil", "Joe Roe,2025550144"), name="b.csv")

    assert [column["target"] for column in other.mapping] == ["full_name", "phone1"]
    assert other.preset_id == fresh(office, one).preset_id
    assert other.options["preset"] == "list.csv"


def test_accents_survive_from_every_encoding_to_the_lead(office):
    for number, encoding in enumerate(("utf-8", "utf-8-sig", "utf-16", "cp1252")):
        text = f"name,phone\nJosé Núñez,202555012{number}\n"
        assert imported(office, text.encode(encoding)).created == 1
    with office.inside():
        assert set(Lead.objects.values_list("first_name", "last_name")) == {("José", "Núñez")}


def test_a_tag_is_put_on_every_lead_of_the_file(office):
    imported(office, table(HEADER, JANE))
    confirm(office, checked(office, table(HEADER, JANE, JOE)), label="May list")

    with office.inside():
        label = Label.objects.get(kind="tag")
        assert (label.key, label.name) == ("may list", "May list")
        assert LeadLabel.objects.filter(label=label).count() == 2


def test_a_run_tells_what_an_import_did(office):
    one = imported(office, table(HEADER, JANE, JOE))

    with office.inside():
        run_ = PipelineRun.objects.get(pk=one.run_id)
        assert (run_.status, run_.stats["created"], run_.stats["total"]) == ("completed", 2, 2)
        born = LeadEvent.objects.filter(payload__run=one.run_id)
        assert born.count() == 2
        assert set(born.values_list("correlation_id", flat=True)) == {run_.correlation_id}


def test_what_changed_of_known_leads_is_kept_for_an_undo(office):
    imported(office, table(HEADER, JANE))
    one = imported(office, table(HEADER, JANE.replace("Albany", "Troy")))

    with office.inside():
        change = ImportChange.objects.get(imported=one)
    assert (change.before["city"], change.after["city"]) == ("Albany", "Troy")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"name,phone\n", "header and no rows"),
        (b"PK\x03\x04xxxx", "Excel"),
    ],
)
def test_what_cannot_be_imported_leaves_nothing_behind(office, data, words):
    before = row_counts(office)

    with pytest.raises(UnreadableFile, match=words):
        begin(office, data)

    assert row_counts(office) == before


def test_a_file_that_ends_inside_a_quote_fails_with_its_line(office):
    data = b"name,phone\nAnn,2025550143\n" + b'"Bob,2025550144\n' + b"x,1\n" * 1_100_000

    one = checked(office, data)

    assert one.state == "failed"
    assert "Line 3" in one.error or "never ends" in one.error


def test_nothing_is_written_without_a_confirmation(office):
    one = checked(office, table(HEADER, JANE))

    with office.inside():
        assert Lead.objects.count() == 0
        for act in (actions.resume, actions.cancel):
            with pytest.raises(ImportRefused):
                act(one.pk)
        with pytest.raises(ImportRefused):
            actions.undo(one.pk, reason="x")
        actions.discard(one.pk)
        with pytest.raises(ImportRefused):
            actions.confirm(one.pk)
    assert row_counts(office)["import_parts"] == 0


def test_another_tenant_sees_nothing_of_it(office, other_office):
    imported(office, table(HEADER, JANE))

    one = imported(other_office, table(HEADER, JANE))

    assert figures(one) == {"created": 1}
    with other_office.inside():
        assert actions.same_file(one) is None
