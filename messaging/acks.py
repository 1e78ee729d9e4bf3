"""Telling connected systems of opt-outs: claim, call once, record. A call may be repeated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from integrations.models import ExternalId, Integration
from integrations.providers import Account, HttpCall, providers
from integrations.providers.base import TakesOptOuts
from integrations.transport import NoAnswer, NotWritten, call
from leads.models import Consent
from messaging.actions import acks
from messaging.attempts import account_of
from messaging.models import ConsentAck
from tenants.context import tenant_context

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Errand:
    """One system to be told of one opt-out."""

    ack_id: str
    provider: str
    address: str
    contact_id: str
    account: Account


def tell(tenant_id: str, *, most: int) -> int:
    """Claim up to *most* errands of a tenant and do them, each call outside of any transaction."""
    with tenant_context(tenant_id, durable=True):
        errands = [_errand(ack) for ack in _claim(most)]
    for errand in errands:
        if isinstance(errand, Errand):
            _do(tenant_id, errand)
    return len(errands)


def _claim(most: int) -> list[ConsentAck]:
    """Lock what is due and lease it: who dies over a call leaves it to be asked again."""
    now = timezone.now()
    due = ConsentAck.objects.filter(state="pending", next_at__lte=now)
    found = list(
        due.select_for_update(no_key=True, skip_locked=True, of=("self",))
        .select_related("consent_event__consent", "integration")
        .order_by("next_at", "id")[:most]
    )
    for ack in found:
        ack.attempts += 1
        ack.next_at = now + timedelta(seconds=settings.SEND_DEADLINE + settings.SEND_LEASE)
    ConsentAck.objects.bulk_update(found, ["attempts", "next_at"])
    return found


def _errand(ack: ConsentAck) -> Errand | None:
    consent: Consent = ack.consent_event.consent
    integration: Integration = ack.integration
    if consent.state != "opted_out":
        acks.settle(ack.pk, needless=True, problem="the person opted in since")
        return None
    if consent.address.startswith("erased:"):
        acks.settle(ack.pk, needless=True, problem="the address was erased")
        return None
    if not integration.enabled:
        acks.settle(ack.pk, problem="the integration is switched off")
        return None
    known = ExternalId.objects.filter(
        Q(phone=consent.address) | Q(lead__contact_points__normalized=consent.address),
        integration=integration,
        deleted_at=None,
    ).order_by("id")
    return Errand(
        ack_id=ack.pk,
        provider=integration.provider,
        address=consent.address,
        contact_id=known.values_list("external_id", flat=True).first() or "",
        account=account_of(integration),
    )


def _do(tenant_id: str, errand: Errand) -> None:
    problem, needless = _ask(errand)
    with tenant_context(tenant_id, durable=True):
        ack = acks.settle(errand.ack_id, problem=problem, needless=needless)
    logger.info("told of an opt-out", ack=errand.ack_id, state=ack.state, problem=problem)


def _ask(errand: Errand) -> tuple[str, bool]:
    """Make the call; return why it was not taken ("" when it was), and whether none is needed."""
    provider = providers[errand.provider]()
    if not isinstance(provider, TakesOptOuts):
        return "the provider takes no opt-outs any more", True
    request: HttpCall | None = provider.build_opt_out(
        errand.address, errand.contact_id, errand.account
    )
    if request is None:
        return "it knows nobody with this number", True
    try:
        answer = call(request, deadline_s=settings.SEND_DEADLINE)
    except (NotWritten, NoAnswer) as error:
        return str(error), False  # asked again: telling twice changes nothing
    return provider.read_opt_out(answer.status, answer.body), False
