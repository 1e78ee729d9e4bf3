"""Batches through the engine: who a record is, what it changes, what a person is asked."""

from __future__ import annotations

import pytest
from django.db import connection

from leads.identity.engine import MOST, TooMany, check, resolve
from leads.identity.records import Incoming, Point
from leads.models import (
    Business,
    Contact,
    ContactPoint,
    Lead,
    LeadEvent,
    MergeReview,
    Property,
)
from tests.conftest import THEIRS

pytestmark = pytest.mark.django_db

HOUSE = {"address_line1": "123 Main St", "city": "Reno", "region": "NV", "postal_code": "89501"}
JO = {"first_name": "Jo", "last_name": "Sample"}
PAT = {"first_name": "Pat", "last_name": "Lee"}


def phone(value=THEIRS, **more):
    return Point(kind="phone", value=value, **more)


def email(value="jo@example.com", **more):
    return Point(kind="email", value=value, **more)


@pytest.fixture
def inside(office):
    with office.inside():
        yield office


def put(*records, source="upload", **options):
    """Resolve records and return (outcome, by) of each."""
    return [(one.outcome, one.by) for one in resolve(records, source=source, **options)]


def record(key="1", points=(), **fields):
    extra = {name: fields.pop(name) for name in EXTRA if name in fields}
    return Incoming(key=key, fields=fields, points=points, **extra)


EXTRA = ("source_id", "lead_id", "property", "contacts", "business", "raw")


def test_a_record_that_nobody_is_becomes_a_lead(inside):
    [done] = resolve(
        [
            record(
                **HOUSE,
                **JO,
                points=[
                    phone("(202) 555-0142", line_type="mobile", dnc=False),
                    email("JO@Example.com"),
                ],
                source_id="b-1",
                property_value="$850,000",
                owner_occupied=True,
                raw={"list": "spring"},
            )
        ],
        source="batchdata",
    )

    lead = Lead.objects.get(pk=done.lead_id)
    assert done.outcome == "created"
    assert (lead.source, lead.source_id, lead.property_value) == ("batchdata", "b-1", 850_000)
    assert (lead.owner_occupied, lead.raw_data) == (True, {"list": "spring"})
    assert lead.addr_hash and lead.addr_owner == "JO SAMPLE"
    points = ContactPoint.objects.filter(lead=lead).order_by("kind")
    assert [(p.normalized, p.is_primary, p.sources, p.line_type) for p in points] == [
        ("jo@example.com", True, ["batchdata"], "unknown"),
        (THEIRS, True, ["batchdata"], "mobile"),
    ]
    event = LeadEvent.objects.get(lead=lead)
    assert (event.seq, event.kind, event.payload) == (0, "created", {"source": "batchdata"})


def test_the_same_batch_again_changes_nothing(inside):
    batch = [
        record("1", **HOUSE, **JO, points=[phone()], raw={"a": 1}, property={"value": 5}),
        record("2", **PAT, points=[phone("+12025550143"), email("pat@example.com")]),
        record("3", source_id="v3", company="Acme", contacts=[{"full_name": "Al Bo"}]),
    ]
    assert [one for one, _ in put(*batch)] == ["created"] * 3
    tables = ("leads", "contact_points", "lead_events", "contacts", "properties", "merge_reviews")

    def versions():
        with connection.cursor() as cursor:
            found = {}
            for table in tables:
                cursor.execute(f"SELECT id, xmin::text, ctid::text FROM {table} ORDER BY id")
                found[table] = cursor.fetchall()
        return found

    before = versions()
    assert put(*batch) == [
        ("unchanged", "address"),
        ("unchanged", "phone"),
        ("unchanged", "vendor"),
    ]
    assert versions() == before
