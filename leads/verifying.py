"""Verification records: the only thing that makes a contact point verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from leads.models import ContactPoint, Verification
from tenants.correlation import correlation_id


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a provider, or a person, found out about one phone or e-mail.

    Attributes:
        provider: who found it out; ``person`` for somebody of the tenant.
        code: the provider's own word for it.
        verdict: of ``Verification.VERDICTS``.
        details: plain values.
        expires_at: when it is too old to go by; None: never.
    """

    provider: str
    code: str
    verdict: str
    details: Mapping[str, Any] = field(default_factory=dict)
    expires_at: datetime | None = None


@transaction.atomic
def record_verification(
    point_id: str,
    finding: Finding,
    *,
    artifact_id: str | None = None,
    run_id: str | None = None,
    actor_id: str | None = None,
) -> Verification:
    """Write a finding down, and what follows from it.

    ``verified`` makes the point verified; ``invalid`` takes that back; ``catch_all`` and
    ``unknown`` leave the point as it is. Earlier records stay.

    Args:
        point_id: ``cpt_…``.
        finding: what was found out.
        artifact_id: ``art_…`` that keeps the answer.
        run_id: ``run_…`` that asked.
        actor_id: ``actor_…`` of the person who says so.

    Raises:
        ContactPoint.DoesNotExist: the tenant has no such point.
    """
    point = ContactPoint.objects.select_for_update(no_key=True).get(pk=point_id)
    record = Verification.objects.create(
        point=point,
        provider=finding.provider,
        code=finding.code[:40],
        verdict=finding.verdict,
        details=dict(finding.details),
        expires_at=finding.expires_at,
        artifact_id=artifact_id,
        run_id=run_id,
        actor_id=actor_id,
        correlation_id=correlation_id(),
    )
    proof: dict[str, Any] = {}
    if finding.verdict == "verified":
        proof = {
            "verified_at": Now(),
            "verified_by": finding.provider,
            "verification": record,
            "expires_at": finding.expires_at,
        }
    elif finding.verdict == "invalid":
        proof = {"verified_at": None, "verified_by": "", "verification": None}
    ContactPoint.objects.filter(pk=point.pk).update(checked_at=Now(), **proof)
    return record
