"""Leads as CSV: what a list shows, safe in a spreadsheet, and read back without a change."""

from __future__ import annotations

import csv
import io

import pytest

from leads.actions import add_contact_point, create_lead
from leads.exports import COLUMNS, export_leads, plain
from leads.imports.reading import unmarked
from leads.models import Lead
from tenants.models import AuditEntry
from tests.leads.importing import FIXTURES, figures, imported, table

pytestmark = pytest.mark.django_db


def export(office, rows=None) -> list[dict[str, str]]:
    with office.inside():
        rows = Lead.objects.filter(superseded_at=None) if rows is None else rows
        pieces = export_leads(rows, tenant_id=office.tenant.pk, actor_id=office.agent.pk, what="q")
        return list(csv.DictReader(io.StringIO(b"".join(pieces).decode())))


def test_an_export_of_real_leads_comes_back_without_a_change(office):
    imported(office, (FIXTURES / "us-500.csv").read_bytes())
    imported(office, (FIXTURES / "propstream.csv").read_bytes())

    rows = export(office)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    again = imported(office, text.getvalue().encode())

    assert len(rows) == 501
    assert again.options["preset"] == "Fairlead export"
    assert figures(again) == {"unchanged": 501}


def test_cells_are_no_formulas_and_come_back_as_they_were(office):
    hostile = ["=1+1", "+1", "-2", "@x", "\tx", "'=1", "it's", "O'Neil"]
    with office.inside():
        for n, name in enumerate(hostile):
            create_lead(phone=f"+1202555{n:04d}", first_name=name, company="+cmd|' /C calc'!A0")

    rows = export(office)

    assert all(not row["first name"].startswith(("=", "+", "-", "@", "\t")) for row in rows)
    assert [unmarked(row["first name"]) for row in rows] == hostile
    assert {row["phone 1"] for row in rows} == {f"+1202555{n:04d}" for n in range(8)}
    assert [plain(name) for name in hostile] == [row["first name"] for row in rows]


def test_points_are_in_columns_with_what_is_known_of_them(office):
    with office.inside():
        lead = create_lead(phone="+12025550143", email="a@x.com", phone_line_type="mobile")
        add_contact_point(lead.pk, kind="phone", value="+12025550144", source="x")
        lead.contact_points.filter(normalized="+12025550144").update(dnc=True)
        create_lead()

    first, second = export(office)

    assert (first["phone 1"], first["phone 1 type"], first["phone 1 dnc"]) == (
        "+12025550143",
        "mobile",
        "",
    )
    assert (first["phone 2"], first["phone 2 type"], first["phone 2 dnc"]) == (
        "+12025550144",
        "",
        "yes",
    )
    assert first["email 1"] == "a@x.com"
    assert second["phone 1"] == ""


def test_an_export_has_the_rows_of_its_filter_in_their_order(office, other_office):
    with office.inside():
        for name in ("Ann", "Bob", "Cal"):
            create_lead(first_name=name)
    other_office.lead(first_name="Zed")

    with office.inside():
        wanted = Lead.objects.exclude(first_name="Bob").order_by("-first_name")
    assert [row["first name"] for row in export(office, wanted)] == ["Cal", "Ann"]


def test_an_export_is_written_down(office):
    export(office)

    with office.inside():
        entry = AuditEntry.objects.get(action="leads.exported")
    assert (entry.actor_id, entry.after) == (office.agent.pk, {"filters": "q"})


def test_a_list_with_quotes_and_lines_is_one_table(office):
    imported(office, table("company,phone", ['Oak, "the" LLC', "2025550143"]))

    assert export(office)[0]["company"] == 'Oak, "the" LLC'
