"""What goes into the identity engine, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: What can become of a record. ``blocked``: it was written, and a number of it must not be texted.
OUTCOMES = (
    "created",
    "updated",
    "unchanged",
    "duplicate",
    "blocked",
    "review",
    "error",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A phone number or e-mail address, in any format; ``None`` is: the source does not say."""

    kind: str  # phone or email
    value: str
    line_type: str = "unknown"  # mobile, landline, voip, unknown
    dnc: bool | None = None
    litigator: bool | None = None
    tcpa: bool | None = None
    reachable: bool | None = None
    score: int | None = None  # 0-100
    carrier: str = ""
    is_primary: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Incoming:
    """One record of a page, an answer or an API call.

    Attributes:
        key: the caller's own name for it, unique in the batch.
        fields: columns of ``Lead`` (``leads.identity.targets.FIELDS``), text or typed; an empty
            value is not told, and never empties a field.
        points: phones and e-mails, best first.
        source_id: the source's own id of it.
        lead_id: ``lead_…`` when its lead is known already: nothing is searched then.
        property: columns of ``Property``, without lead, source and run.
        contacts: more people: columns of ``Contact``, each with at least ``full_name``.
        business: columns of ``Business``, with ``name``.
        raw: what else the source said; merged into ``raw_data``.
    """

    key: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    points: Sequence[Point] = ()
    source_id: str = ""
    lead_id: str | None = None
    property: Mapping[str, Any] | None = None
    contacts: Sequence[Mapping[str, Any]] = ()
    business: Mapping[str, Any] | None = None
    raw: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """What became of a record.

    Attributes:
        key: of the record.
        outcome: of ``OUTCOMES``.
        lead_id: ``lead_…`` it is now part of; None for ``review`` and ``error``.
        by: which key found the lead: given, vendor, mak, apn, address, phone or email.
        problem: what could not be read, in words; of ``blocked`` the number. A record can be
            created or updated and still have one.
        review_id: ``mrv_…`` that asks a person.
        duplicate_of: key of the record of this batch that it repeats.
    """

    key: str
    outcome: str
    lead_id: str | None = None
    by: str = ""
    problem: str = ""
    review_id: str | None = None
    duplicate_of: str | None = None


def from_json(kept: Mapping[str, Any], *, key: str, lead_id: str | None = None) -> list[Incoming]:
    """Return the records that wait in ``MergeReview.incoming``, each as if it were of *lead_id*.

    Its ``source`` and ``kind`` are beside the record: pass them to ``resolve``.
    """
    found = []
    for place, one in enumerate([kept, *kept.get("more", [])]):
        points = [Point(**point) for point in one.get("points", [])]
        found.append(
            Incoming(
                key=f"{key}.{place}",
                fields=one.get("fields", {}),
                points=points,
                source_id=one.get("source_id", ""),
                lead_id=lead_id,
                property=one.get("property"),
                contacts=one.get("contacts", ()),
                business=one.get("business"),
                raw=one.get("raw"),
            )
        )
    return found
