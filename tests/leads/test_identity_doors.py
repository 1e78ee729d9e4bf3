"""One record at a time: the trigger, the functions of SQL, verification records."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from leads.actions import create_lead
from leads.models import ContactPoint, Lead, LeadEvent, MergeReview, Verification
from leads.verifying import Finding, record_verification
from tenants.ulids import to_text, to_uuid
from tests.conftest import THEIRS

pytestmark = pytest.mark.django_db

HOUSE = {"address_line1": "123 Main St", "city": "Reno", "region": "NV", "postal_code": "89501"}


@pytest.fixture(autouse=True)
def inside(office):
    with office.inside():
        yield office


def ask(call: str, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {call}", list(arguments))
        return cursor.fetchone()[0]


# --- the trigger ------------------------------------------------------------------------------


def test_an_edited_address_is_hashed_anew_and_an_edited_name_is_another_owner():
    lead = create_lead(**HOUSE, first_name="Jo", last_name="Sample")
    lead.refresh_from_db()
    first = (lead.addr_hash, lead.addr_owner)
    assert first == (
        ask("compute_addr_hash('123 main street','reno','nv','89501-0001')"),
        "JO SAMPLE",
    )

    Lead.objects.filter(pk=lead.pk).update(address_line1="124 Main St", first_name="Al")

    lead.refresh_from_db()
    assert lead.addr_hash not in (None, first[0])
    assert (lead.addr_owner, lead.addr_hash_version) == ("AL SAMPLE", 1)
    Lead.objects.filter(pk=lead.pk).update(address_line1="")
    lead.refresh_from_db()
    assert lead.addr_hash is None


def test_a_second_lead_at_an_address_has_no_hash_and_a_person_is_asked():
    one = create_lead(**HOUSE)
    two = create_lead(**HOUSE)
    three = create_lead(address_line1="9 Oak Dr", city="Reno", region="NV")
    Lead.objects.filter(pk=three.pk).update(**HOUSE)

    hashes = dict(Lead.objects.values_list("pk", "addr_hash"))
    assert hashes[one.pk] is not None
    assert hashes[two.pk] is hashes[three.pk] is None
    pairs = set(MergeReview.objects.values_list("left_id", "right_id", "status"))
    assert pairs == {(one.pk, two.pk, "open"), (one.pk, three.pk, "open")}


# --- functions --------------------------------------------------------------------------------


def upsert(**values):
    names = ", ".join(f"p_{name} := %({name})s" for name in values)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT upsert_lead({names})", values)
        found = cursor.fetchone()[0]
    return to_text("lead", found) if found else None


SEED = {
    "source": "batchdata",
    "vendor_record_id": "batch-123",
    "vendor_list_id": "hollywood-pull-1",
    "address_line1": "123 Sunset Blvd",
    "address_line2": None,
    "city": "Los Angeles",
    "state": "CA",
    "postal_code": "90028",
    "apn": "5544-003-021",
    "owner_first_name": "John",
    "owner_last_name": "Smith",
    "owner_full_name": "John Smith",
    "owner_company": None,
    "property_value": 850000,
    "estimated_equity": 425000,
    "age": 68,
}


def test_the_seed_call_makes_a_lead_once_and_brings_it_up_to_date():
    lead_id = upsert(**SEED)

    assert upsert(**SEED) == lead_id
    assert upsert(**SEED | {"vendor_record_id": None, "address_line1": "123 SUNSET BOULEVARD"}) == (
        lead_id
    )
    assert upsert(**SEED | {"age": 69, "city": None}) == lead_id
    lead = Lead.objects.get()
    assert (lead.age, lead.city, lead.region, lead.apn) == (69, "Los Angeles", "CA", "5544-003-021")
    assert (lead.property_value, lead.raw_data) == (850_000, {"vendor_list_id": "hollywood-pull-1"})
    events = LeadEvent.objects.filter(lead=lead).order_by("seq").values_list("kind", flat=True)
    assert list(events) == ["created", "pulled", "pulled"]


def test_a_seed_call_that_bridges_two_leads_asks_and_changes_nothing():
    one = upsert(source="batchdata", vendor_record_id="a", owner_full_name="A B")
    two = upsert(
        source="batchdata",
        **{k: v for k, v in SEED.items() if k[:3] in ("add", "cit", "sta", "pos")},
    )

    assert upsert(**SEED | {"vendor_record_id": "a"}) is None
    review = MergeReview.objects.get()
    assert {review.left_id, review.right_id} == {one, two}
    assert review.incoming["fields"]["age"] == 68


def merge(lead, kind, value, source, *more):
    marks = ", ".join(["%s"] * (4 + len(more)))
    return ask(f"merge_contact_point({marks})", to_uuid(lead.pk), kind, value, source, *more)


def test_s18_a_point_is_one_row_whoever_names_it_and_nothing_but_a_record_verifies_it():
    lead = create_lead()
    ids = {
        merge(lead, "phone", "(202) 555-0142", "melissa", 85),
        merge(lead, "phone", "+1 202 555 0142", "apollo", None, "mobile"),
        merge(lead, "phone", THEIRS, "batchdata"),
        merge(lead, "phone", THEIRS, "melissa"),
    }

    point = ContactPoint.objects.get()
    assert len(ids) == 1
    assert point.sources == ["melissa", "apollo", "batchdata"]
    assert (point.score, point.line_type, point.is_primary) == (85, "mobile", True)
    assert point.verified_at is None
    assert merge(lead, "phone", "555-0142", "melissa") is None
    with pytest.raises(DatabaseError, match="a phone or an email"), transaction.atomic():
        merge(lead, "fax", THEIRS, "melissa")


def test_a_verification_record_verifies_and_takes_it_back():
    lead = create_lead(phone=THEIRS)
    point = lead.contact_points.get()

    record = record_verification(
        point.pk, Finding(provider="twilio", code="ok", verdict="verified")
    )
    point.refresh_from_db()
    assert (point.verified_by, point.verification_id) == ("twilio", record.pk)

    for verdict, verified in (("unknown", "twilio"), ("catch_all", "twilio"), ("invalid", "")):
        record_verification(point.pk, Finding(provider="x", code="c", verdict=verdict))
        point.refresh_from_db()
        assert point.verified_by == verified
    assert Verification.objects.count() == 4
