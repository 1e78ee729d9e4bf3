"""What an answer changes: fields, people, phones and e-mails, what was verified, who is held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from integrations.models import VerificationCode
from integrations.providers.data import Checked, Enriched, Person, Point
from leads.actions import Choice, lock_consents, record_choice
from leads.identity import records
from leads.identity.engine import resolve
from leads.models import Consent, ContactPoint, Lead
from leads.scoring import score_leads
from leads.verifying import Finding, record_verification
from tenants.context import database_now

#: Why a litigator's number is held: no opt-out, since the person said nothing.
LITIGATOR = "named as a litigator"


@dataclass(frozen=True, kw_only=True)
class Found:
    """An answer to write down: who gave it, for how long it holds, and where it is kept."""

    provider: str
    run_id: str | None
    artifact_id: str
    fresh_days: int


def is_wanted(points: Sequence[Point], wanted_lines: Sequence[str], *, has_more: bool) -> bool:
    """Tell whether an answer is a hit for a stage.

    Where the stage wants certain lines, only a phone on one of them that may be called is;
    otherwise anything that was found is.
    """
    if not wanted_lines:
        return has_more or bool(points)
    return any(
        point.kind == "phone"
        and point.line_type in wanted_lines
        and not (point.dnc or point.litigator or point.tcpa)
        and point.reachable is not False
        for point in points
    )


def apply_enriched(lead: Lead, result: Enriched, found: Found) -> str:
    """Write what was found about a lead, in the running transaction.

    Returns:
        What the identity engine could not do, in words; "" when all is done.
    """
    _hold_litigators(result)
    incoming = records.Incoming(
        key=lead.pk,
        lead_id=lead.pk,
        fields=dict(result.fields),
        points=[_point(one) for one in result.points],
        property=dict(result.property) or None,
        business=dict(result.business) or None,
        contacts=[_contact(one) for one in result.persons if one.full_name],
    )
    [resolved] = resolve(
        [incoming],
        source=found.provider,
        kind="enrichment",
        run_id=found.run_id,
        artifact_id=found.artifact_id,
    )
    _verify_by_codes(lead, result.points, found)
    score_leads([lead.pk])
    if resolved.outcome == "review":
        return "A merge review decides about this answer."
    return resolved.problem if resolved.outcome == "error" else ""


def apply_checked(lead: Lead, point: ContactPoint, result: Checked, found: Found) -> None:
    """Write what was found about one phone or e-mail, in the running transaction."""
    now = database_now()
    expires_at = now + timedelta(days=found.fresh_days)
    if point.kind == "phone":
        told = records.Point(
            kind="phone",
            value=point.normalized,
            line_type=result.line_type,
            carrier=result.carrier,
            dnc=result.dnc,
            tcpa=result.tcpa,
            reachable=result.reachable,
        )
        resolve(
            [records.Incoming(key=lead.pk, lead_id=lead.pk, points=[told])],
            source=found.provider,
            kind="enrichment",
            run_id=found.run_id,
            artifact_id=found.artifact_id,
        )
    ContactPoint.objects.filter(pk=point.pk).update(checked_at=now, expires_at=expires_at)
    verdict = "unknown" if result.verdict == "pending" else result.verdict
    record_verification(
        point.pk,
        Finding(
            provider=found.provider,
            code=result.code or verdict,
            verdict=verdict,
            details={"line_type": result.line_type} if point.kind == "phone" else {},
            expires_at=expires_at,
        ),
        artifact_id=found.artifact_id,
        run_id=found.run_id,
    )
    score_leads([lead.pk])


def _verify_by_codes(lead: Lead, points: Sequence[Point], found: Found) -> None:
    """Let a vendor's own codes verify what it names, where the installation knows them as proof.

    A code that proves nothing leaves no record: the address was named, and nobody looked it up.
    """
    proving = set(
        VerificationCode.objects.filter(provider=found.provider, is_verified=True).values_list(
            "channel", "code"
        )
    )
    expires_at = database_now() + timedelta(days=found.fresh_days)
    for point in points:
        code = next((code for code in point.codes if (point.kind, code) in proving), None)
        if code is None:
            continue
        row = ContactPoint.objects.filter(
            lead=lead, kind=point.kind, normalized=point.value
        ).first()
        if row is not None:
            finding = Finding(
                provider=found.provider, code=code, verdict="verified", expires_at=expires_at
            )
            record_verification(row.pk, finding, artifact_id=found.artifact_id, run_id=found.run_id)


def _hold_litigators(result: Enriched) -> None:
    """Stop automation to the numbers of people who sue: a hold, which a person may lift."""
    suing = {n for n, person in enumerate(result.persons) if person.is_litigator}
    numbers = sorted(
        {
            point.value
            for point in result.points
            if point.kind == "phone" and (point.litigator or point.person in suing)
        }
    )
    if not numbers:
        return
    lock_consents(numbers)
    decided = set(
        Consent.objects.filter(address__in=numbers, channel="sms", scope="")
        .exclude(state="unknown")
        .values_list("address", flat=True)
    )
    for number in numbers:
        if number not in decided:
            record_choice(
                Choice(address=number, kind="hold", source="enrichment", reason=LITIGATOR)
            )


def _point(point: Point) -> records.Point:
    return records.Point(
        kind=point.kind,
        value=point.value,
        line_type=point.line_type,
        dnc=point.dnc,
        litigator=point.litigator,
        tcpa=point.tcpa,
        reachable=point.reachable,
        score=point.score,
        carrier=point.carrier,
        is_primary=point.is_primary,
    )


def _contact(person: Person) -> Mapping[str, Any]:
    told: dict[str, Any] = {
        "full_name": person.full_name,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "title": person.title,
        "linkedin": person.linkedin,
        "date_of_birth": person.born or None,
        "age": person.age,
        "is_deceased": person.is_deceased,
        "is_litigator": person.is_litigator,
        "confidence": person.confidence,
        "address_history": [dict(one) for one in person.addresses],
    }
    return {name: value for name, value in told.items() if value not in (None, "", [])}
