"""`manage.py import_leads`: the wizard in one line, with exit codes a script can go by."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from leads.imports import actions
from leads.imports.work import work
from leads.management.commands import import_leads
from leads.models import Import, Lead
from tests.leads.importing import FIXTURES, begin, table

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _one_connection(monkeypatch):
    """Tests share one transaction."""
    monkeypatch.setattr(import_leads, "CONNECTIONS", 1)


@pytest.fixture
def command(office):
    def run(*arguments):
        out, err = io.StringIO(), io.StringIO()
        code = 0
        try:
            call_command(
                "import_leads", *map(str, arguments), "--tenant", office.tenant.slug, stdout=out,
                stderr=err,
            )  # fmt: skip
        except CommandError as refused:
            code = refused.returncode
            out.write(str(refused))
        return code, out.getvalue(), err.getvalue()

    return run


@pytest.fixture
def file(tmp_path):
    def write(data):
        path = tmp_path / "list.csv"
        path.write_bytes(data)
        return path

    return write


def leads(office):
    with office.inside():
        return Lead.objects.filter(superseded_at=None).count()


def test_a_file_is_checked_imported_found_again_and_taken_back(office, command):
    path = FIXTURES / "us-500.csv"

    code, out, _ = command(path, "--check")
    assert (code, leads(office)) == (0, 0)
    assert "500 rows, 500 new, 0 known" in out

    code, out, err = command(path, "--yes", "--label", "US")
    assert (code, leads(office)) == (0, 500)
    assert "imported: 500 rows" in out
    assert "rows" not in err or "of 500" in err

    code, out, err = command(path, "--yes")
    assert "This file was imported" in err
    assert "500 unchanged" in out

    with office.inside():
        first = Import.objects.order_by("id").filter(created=500, state="imported").first()
    code, out, _ = command("--undo", first.pk, "--reason", "test")
    assert (code, leads(office)) == (0, 0)
    assert "500 leads taken back" in out


def test_nothing_is_written_without_yes(office, command, file):
    code, out, _ = command(file(table("phone", "2025550143")))

    assert (code, leads(office)) == (4, 0)
    assert "Say --yes" in out


def test_rejected_rows_go_to_a_file_and_into_the_exit_code(office, command, file, tmp_path):
    rejects = tmp_path / "rejects.csv"

    code, _, _ = command(
        file(table("phone,name", "2025550143,A B", "1,C D")), "--yes", "--rejects", rejects
    )

    assert (code, leads(office)) == (3, 1)
    assert rejects.read_bytes() == b"Import problem,phone,name\r\nPhone 1 has 1 digit,1,C D\r\n"


def test_bad_values_may_be_dropped(office, command, file):
    path = file(table("phone,email", "1,a@x.com", "2025550143,b@x.com"))

    assert command(path, "--yes", "--drop-bad-values")[0] == 0
    assert leads(office) == 2


def test_columns_are_mapped_by_hand_or_by_preset(office, command, file):
    path = file(table("Wer,Fon,Zip", "Jane Doe,2025550143,12207"))

    code, _, _ = command(path, "--yes", "--map", "wer=full_name", "Fon=phone1:mobile", "zip=")

    with office.inside():
        lead = Lead.objects.get()
        assert (code, lead.full_name, lead.postal_code) == (0, "Jane Doe", "")
        assert lead.contact_points.get().line_type == "mobile"
    path = file(table("first_name,phone_number", "Joe,2025550144"))
    assert command(path, "--yes", "--preset", "Aloware list")[0] == 0
    assert leads(office) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--map", "nothing=city"], "no column nothing"),
        (["--map", "phone"], "write COLUMN=FIELD"),
        (["--map", "phone=nowhere"], "there is no field"),
        (["--preset", "Nothing"], "no preset"),
        (["--source", "Bad Source"], "source is named"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(office, command, file, arguments, words):
    code, out, _ = command(file(table("phone", "2025550143")), "--yes", *arguments)

    assert (code, leads(office)) == (1, 0)
    assert words in out


def test_unreadable_files_and_unknown_names_are_refused(office, command, file, tmp_path):
    assert "Excel" in command(file(b"PK\x03\x04xx"), "--yes")[1]
    assert command(tmp_path / "none.csv", "--yes")[0] == 1
    assert command("--undo", "import_x", "--reason", "x")[0] == 1
    assert command()[0] == 1
    with pytest.raises(CommandError, match="no tenant"):
        call_command("import_leads", "x.csv", "--tenant", "nobody")


def test_a_broken_off_import_goes_on(office, command, file):
    data = table("phone", "2025550143", "2025550144")
    one = begin(office, data)
    with office.inside():
        actions.check(one.pk)
    work(office.tenant.pk, one.pk)
    with office.inside():
        actions.confirm(one.pk)

    code, _, err = command(file(data), "--yes")

    assert (code, leads(office)) == (0, 2)
    assert f"{one.pk} goes on" in err
