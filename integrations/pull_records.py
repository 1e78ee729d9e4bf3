"""What a vendor lists, in the words of the identity engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import Error, transaction

from integrations.providers.data import Person, Point, VendorRecord
from leads.identity import records
from leads.identity.engine import resolve
from leads.identity.records import Incoming, Resolved
from tenants.context import is_passing

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


def incoming_of(record: VendorRecord) -> Incoming:
    """Return a vendor's record as the engine takes it; its key is the vendor's id.

    What the vendor said besides stays in the page that is kept: ``raw`` would store it twice.
    """
    return Incoming(
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


def resolve_records(
    records: Sequence[VendorRecord], *, source: str, run_id: str | None, artifact_id: str | None
) -> list[Resolved]:
    """Resolve a page's records; one that the database refuses does not hold up the others."""
    incoming = [incoming_of(one) for one in records]
    try:
        with transaction.atomic():
            return _engine(incoming, source, run_id, artifact_id)
    except Error as error:
        if is_passing(error) or len(incoming) < 2:
            if is_passing(error):
                raise
            return [_refused(one, error) for one in incoming]
    half = len(records) // 2
    both = (records[:half], records[half:])
    return [
        result
        for part in both
        for result in resolve_records(part, source=source, run_id=run_id, artifact_id=artifact_id)
    ]


def _engine(
    incoming: list[Incoming], source: str, run_id: str | None, artifact_id: str | None
) -> list[Resolved]:
    if not incoming:
        return []
    return resolve(incoming, source=source, kind="pull", run_id=run_id, artifact_id=artifact_id)


def _refused(one: Incoming, error: Exception) -> Resolved:
    words = str(error).partition("\n")[0][:200]
    return Resolved(key=one.key, outcome="error", problem=f"{type(error).__name__}: {words}")
