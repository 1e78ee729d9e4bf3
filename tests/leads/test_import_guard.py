"""Lists that look wrong are not imported before a person says so."""

from __future__ import annotations

import pytest

from leads.actions import Choice, add_contact_point, create_lead, record_choice
from leads.imports import actions
from leads.imports.actions import ImportRefused
from leads.models import ContactPoint, Lead
from tenants.models import AuditEntry
from tests.leads.importing import checked, confirm, figures, fresh, run, table

pytestmark = pytest.mark.django_db


def numbers(count, step=7, start=2025550000):
    return [f"+1{start + n * step}" for n in range(count)]


def keys(one):
    return [warning["key"] for warning in one.warnings]


def test_numbers_in_a_row_block_the_import_until_a_person_accepts_them(office):
    one = checked(office, table("phone", *numbers(250, step=1)))

    assert keys(one) == ["sequential"]
    with office.inside():
        with pytest.raises(ImportRefused, match="warnings"):
            actions.confirm(one.pk)
        assert Lead.objects.count() == 0
        actions.accept_warnings(one.pk, actor_id=office.agent.pk)
        note = AuditEntry.objects.get(action="import.warnings_accepted")
    assert note.after["warnings"] == [one.warnings[0]["text"]]
    one = confirm(office, fresh(office, one))
    assert figures(one) == {"created": 250}
    assert one.warnings_accepted_by_id == office.agent.pk


def test_249_numbers_in_a_row_are_no_warning(office):
    assert keys(checked(office, table("phone", *numbers(249, step=1)))) == []


def test_landlines_are_told_from_the_file_and_from_what_we_know(office):
    phones = numbers(40)
    told = checked(office, table("landline 1", *phones))
    assert keys(told) == ["landlines"]

    mixed = [f"{phone},{'Landline' if n < 20 else 'Mobile'}" for n, phone in enumerate(phones)]
    assert keys(checked(office, table("phone,phone type", *mixed))) == ["landlines"]
    fewer = [f"{phone},{'Landline' if n < 19 else 'Mobile'}" for n, phone in enumerate(phones)]
    assert keys(checked(office, table("phone,phone type", *fewer))) == []


def test_opted_out_numbers_are_counted_kept_and_blocked(office):
    phones = numbers(40)
    with office.inside():
        for phone in phones[:2]:
            record_choice(Choice(address=phone, kind="opt_out"))

    one = checked(office, table("phone", *phones))

    assert keys(one) == ["opted_out"]
    assert figures(one) == {"created": 38, "blocked": 2}
    assert figures(confirm(office, one)) == {"created": 38, "blocked": 2}
    with office.inside():
        assert Lead.objects.count() == 40


def test_do_not_call_lists_and_litigators_are_told(office):
    phones = numbers(40)
    with office.inside():
        add_contact_point(create_lead().pk, kind="phone", value=phones[0], source="x")
        ContactPoint.objects.update(litigator=True)

    rows = [f"{phone},{'Yes' if n < 4 else 'No'}" for n, phone in enumerate(phones)]
    one = checked(office, table("phone,phone dnc", *rows))

    assert keys(one) == ["do_not_call", "litigators"]


def test_one_number_on_many_rows_and_mostly_duplicates_are_told(office):
    rows = [f"Jane,{'2025550143'}" for _ in range(20)] + ["Joe,2025550199"]

    one = checked(office, table("name,phone", *rows))

    assert keys(one) == ["duplicates", "same_phone"]


def test_a_small_list_has_no_percents(office):
    assert keys(checked(office, table("landline 1", *numbers(19)))) == []


def test_a_new_warning_must_be_accepted_anew(office):
    phones = numbers(40)
    one = checked(office, table("landline 1", *phones))
    with office.inside():
        actions.accept_warnings(one.pk, actor_id=office.agent.pk)
        assert not actions.warnings_open(fresh(office, one))
        record_choice(Choice(address=phones[0], kind="opt_out"))
        record_choice(Choice(address=phones[1], kind="opt_out"))
        actions.check(one.pk)
    one = run(office, one)

    assert keys(one) == ["landlines", "opted_out"]
    assert actions.warnings_open(one)
