"""What an operator decides about a text of which nobody knows whether it arrived."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from leads.actions import lock_consents
from messaging.actions.sending import lock_conversation, verdict_for
from messaging.models import OutboundMessage
from messaging.outcomes import Outcome, record_outcome
from tenants.actions import note

#: Action → how it is written down.
DECISIONS = {"arrived": "send.arrived", "lost": "send.lost", "resend": "send.resent"}


class DecisionRefused(Exception):
    """Nothing was written; the words say why."""


@transaction.atomic
def decide_unknown(
    outbound_id: str, *, decision: str, reason: str, actor_id: str
) -> OutboundMessage:
    """Settle an unknown by a person's word, or send it again as a new attempt.

    Args:
        outbound_id: ``obm_…``.
        decision: ``arrived`` (becomes sent), ``lost`` (becomes failed) or ``resend``.
        reason: how the person knows, or why the text must go; kept in the audit log.
        actor_id: who decides.

    Raises:
        DecisionRefused: no reason, settled meanwhile, or a rule forbids to send.
        OutboundMessage.DoesNotExist: no such text in this tenant.
    """
    reason = reason.strip()[:500]
    if not reason:
        raise DecisionRefused("Say how you know, or why it must go again.")
    outbound = _locked(outbound_id)
    before = {"state": outbound.state, "attempt": outbound.attempt}
    match decision:
        case "arrived":
            _record(outbound, "accepted", reason)
        case "lost":
            _record(outbound, "failed", reason)
        case "resend":
            _resend(outbound, actor_id)
        case _:
            raise DecisionRefused("Choose what happened.")
    if decision != "resend":
        decided = {"decided_at": timezone.now(), "decided_by_id": actor_id}
        OutboundMessage.objects.filter(pk=outbound.pk).update(**decided)
    outbound.refresh_from_db()
    after = {"state": outbound.state, "resends": outbound.resends}
    note(
        DECISIONS[decision],
        actor_id=actor_id,
        subject=outbound,
        before=before,
        after=after,
        reason=reason,
    )
    return outbound


def _locked(outbound_id: str) -> OutboundMessage:
    address = OutboundMessage.objects.values_list("to_address", flat=True).get(pk=outbound_id)
    lock_consents([address])
    return OutboundMessage.objects.select_for_update(no_key=True).get(pk=outbound_id)


def _is_open(outbound: OutboundMessage) -> bool:
    """Tell whether nobody knows yet what became of a text."""
    given_up = outbound.gave_up_at is not None and outbound.decided_at is None
    return outbound.state == "unknown" or (outbound.state == "failed" and given_up)


def _record(outbound: OutboundMessage, kind: str, reason: str) -> None:
    if not _is_open(outbound):
        raise DecisionRefused(f"It is settled already: {outbound.get_state_display().lower()}.")
    record_outcome(
        outbound.pk, outbound.attempt, Outcome(kind=kind, source="operator", detail=reason)
    )


def _resend(outbound: OutboundMessage, actor_id: str) -> None:
    """Queue the next attempt, through the gate that a new text goes through.

    Any failed text may be sent again; the confirmation of an opt-out has five minutes, once.
    """
    if outbound.state not in ("unknown", "failed"):
        raise DecisionRefused(f"It is settled already: {outbound.get_state_display().lower()}.")
    if outbound.purpose == "opt_out_confirmation":
        raise DecisionRefused("The confirmation of an opt-out is not sent again.")
    conversation = lock_conversation(outbound.conversation_id)
    verdict = verdict_for(
        conversation,
        body=outbound.body,
        purpose=outbound.purpose,
        is_automated=outbound.is_automated,
    )
    if verdict.outcome == "deny":
        raise DecisionRefused(verdict.words)
    OutboundMessage.objects.filter(pk=outbound.pk).update(
        state="queued",
        resends=outbound.resends + 1,
        resent_by_id=actor_id,
        due_at=verdict.hold_until or timezone.now(),
        verdict=verdict.as_json(),
        retry_at=None,
        look_at=None,
        looks=0,
        repeats=0,
        error="",
        error_code="",
        error_class="",
        provider_message_id="",
        gave_up_at=None,
        decided_at=None,
        decided_by=None,
        updated_at=timezone.now(),
    )
