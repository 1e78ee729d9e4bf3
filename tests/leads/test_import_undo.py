"""Imports taken back: what nobody touched goes or is put back, the rest is kept and named."""

from __future__ import annotations

import pytest

from leads.actions import record_event
from leads.imports import actions
from leads.imports.actions import ImportRefused
from leads.imports.undoing import first_message_sent
from leads.models import ImportRow, Lead, LeadEvent
from tenants.actions import save_record
from tests.leads.importing import figures, fresh, imported, row_counts, run, table, undone
from tests.messaging.pages import make_thread

pytestmark = pytest.mark.django_db

HEADER = "name,phone,email,address,city,state,zip"
JANE = "Jane Doe,2025550143,jane@example.com,12 Oak St,Albany,NY,12207"
JOE = "Joe Roe,2025550144,joe@example.com,14 Oak St,Albany,NY,12207"
ANN = "Ann Lee,2025550145,ann@example.com,16 Oak St,Albany,NY,12207"


def lead_of(office, name):
    with office.inside():
        return Lead.objects.get(first_name=name)


def kept(office, one):
    with office.inside():
        rows = ImportRow.objects.filter(imported=one, outcome="kept").select_related("lead")
        return {row.lead.first_name: row.problem for row in rows}


def edit(office, lead, **values):
    with office.inside():
        for name, value in values.items():
            setattr(lead, name, value)
        save_record(lead, fields=list(values), actor_id=office.agent.pk, is_new=False)


def test_leads_that_nobody_touched_go_and_say_why(office):
    one = undone(office, imported(office, table(HEADER, JANE, JOE)))

    assert (one.state, one.undone, one.kept) == ("undone", 2, 0)
    with office.inside():
        assert not Lead.objects.filter(superseded_at=None).exists()
        event = LeadEvent.objects.get(lead__first_name="Jane", kind="import_undone")
        assert (event.seq, event.payload) == (1, {"import": one.pk})
        assert one.undo_run_id


def test_what_people_touched_since_is_kept_and_named(office):
    one = imported(office, table(HEADER, JANE, JOE, ANN, "Bo Ek,2025550146,,,,,"))
    edit(office, lead_of(office, "Joe"), city="Troy")
    with office.inside():
        record_event(lead_of(office, "Ann").pk, kind="note")
    conversation = make_thread(office)
    with office.inside():
        conversation.lead = Lead.objects.get(first_name="Bo")
        conversation.save()
        assert first_message_sent(one)

    one = undone(office, one)

    assert (one.undone, one.kept) == (1, 3)
    assert kept(office, one) == {
        "Joe": "Somebody edited it since",
        "Ann": "Something happened with it since",
        "Bo": "A text was sent or received since",
    }
    assert lead_of(office, "Jane").superseded_at is not None
    assert lead_of(office, "Joe").superseded_at is None


def test_changed_fields_are_put_back_where_nobody_changed_them_again(office):
    imported(office, table(HEADER, JANE, JOE))
    one = imported(
        office,
        table(
            "phone,city,company,website",
            "2025550143,Troy,Oak LLC,oak.example",
            "2025550144,Utica,Elm LLC,elm.example",
        ),
    )
    assert figures(one) == {"updated": 2}
    edit(office, lead_of(office, "Joe"), city="Rome")

    one = undone(office, one)

    jane, joe = lead_of(office, "Jane"), lead_of(office, "Joe")
    assert (jane.city, jane.company, jane.website) == ("Albany", "", "")
    assert (joe.city, joe.company, joe.website) == ("Rome", "", "")
    assert not {"city", "company"} & set(jane.provenance)
    assert (one.undone, one.kept) == (2, 1)
    assert kept(office, one) == {"Joe": "Edited since: city"}


def test_an_undone_file_can_be_imported_again(office):
    data = table(HEADER, JANE, JOE)
    undone(office, imported(office, data))

    again = imported(office, data)

    assert figures(again) == {"created": 2}


def test_a_lead_a_later_import_changed_is_kept(office):
    one = imported(office, table(HEADER, JANE, JOE))
    imported(office, table("phone,company", "2025550143,Oak LLC"))

    one = undone(office, one)

    assert kept(office, one) == {"Jane": "Something happened with it since"}


def test_many_leads_go_in_steps_and_nothing_is_deleted(office):
    body = [f"A B{n},{2025550000 + n},,,,," for n in range(2_500)]
    one = imported(office, table(HEADER, *body))
    before = row_counts(office)

    one = undone(office, one)

    after = row_counts(office)
    assert one.undone == 2_500
    assert all(after[name] >= before[name] for name in after)


def test_a_place_that_somebody_else_has_now_is_not_taken_back(office):
    imported(office, table("mak,name,phone", "M1,Jane Doe,2025550143", "M5,Joe Roe,2025550144"))
    one = imported(office, table("mak,phone", "M2,2025550143", "M6,2025550144"))
    assert figures(one) == {"updated": 2}
    imported(office, table("mak,name,phone", "M1,Ann Lee,2025550145"))

    one = undone(office, one)

    assert kept(office, one) == {"Jane": "Another lead has its place now"}
    assert (lead_of(office, "Jane").mak, lead_of(office, "Joe").mak) == ("M2", "M5")
    assert one.undone == 1


def test_an_undo_needs_a_reason_and_something_to_undo(office):
    one = imported(office, table(HEADER, JANE))
    with office.inside():
        with pytest.raises(ImportRefused, match="Say why"):
            actions.undo(one.pk, reason=" ")
        actions.undo(one.pk, reason="wrong list")
        with pytest.raises(ImportRefused):
            actions.undo(one.pk, reason="again")
    run(office, one)
    with office.inside(), pytest.raises(ImportRefused):
        actions.undo(one.pk, reason="again")
    assert fresh(office, one).options["undo_reason"] == "wrong list"
