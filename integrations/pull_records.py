"""What a vendor lists, in the words of the identity engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from integrations.providers.data import Person, Point, VendorRecord
from leads.identity import records

_OF_PERSON = (
    "first_name",
    "last_name",
    "full_name",
    "title",
    "linkedin",
    "age",
    "is_deceased",
    "is_litigator",
    "confidence",
)


def incoming_of(record: VendorRecord) -> records.Incoming:
    """Return a vendor's record as the engine takes it; its key is the vendor's id.

    What the vendor said besides stays in the page that is kept: ``raw`` would store it twice.
    """
    return records.Incoming(
        key=record.vendor_id,
        source_id=record.vendor_id,
        fields=record.fields,
        points=[point_of(one) for one in record.points],
        property=record.property or None,
        contacts=[contact_of(one) for one in record.persons if one.full_name],
        business=record.business if record.business.get("name") else None,
    )


def point_of(point: Point) -> records.Point:
    """Return a phone or e-mail as the engine takes it."""
    return records.Point(**{name: getattr(point, name) for name in records.Point.__slots__})


def contact_of(person: Person) -> Mapping[str, Any]:
    """Return columns of ``Contact``: only what was told."""
    told = {name: getattr(person, name) for name in _OF_PERSON}
    told["date_of_birth"] = person.born or None
    told["address_history"] = [dict(one) for one in person.addresses]
    return {name: value for name, value in told.items() if value not in (None, "", [])}
