"""What is learnt about a send, and what follows: by answer, by callback, or by silence.

An attempt's facts are only ever added (``send_outcomes``); the state of the text is derived from
them, forward only, and only by the attempt it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from integrations.events import MessageStatus
from leads.actions import (
    SILENCE_DAYS,
    Choice,
    arm_timer,
    lock_consents,
    owner,
    record_event,
    sql_id,
)
from leads.events import LeadMoved
from leads.states import LeadState
from messaging.actions.consent import opt_out
from messaging.codes import error_class
from messaging.models import Message, OutboundMessage, SendAttempt, SendOutcome
from tenants.context import database_now, tenant_context
from tenants.correlation import correlation_id
from tenants.dispatch import emit

#: A text that never reached the provider is tried again after 2^n x 2 s, at most 10 minutes.
BACKOFF_S, MAX_BACKOFF_S, MAX_ATTEMPTS = 2.0, 600.0, 10
#: A text that is only ever throttled waits this long in all, after ten tries with longer pauses.
LONGEST_WAIT, PATIENCE_S = timedelta(hours=24), 30.0
#: An unknown is repeated, with the same idempotency key, after these pauses; then a callback or a
#: person must settle it. It is never sent anew.
REPEATS_S = (5, 15, 60, 300, 900, 3600)

#: A doubt is looked up this long after it began, in seconds, where the provider lists its texts.
LOOKS_S = (30, 120, 600)
#: Nobody could tell within this time: a person decides. ``tenants_with_sends`` says the same.
GIVE_UP_AFTER = timedelta(hours=24)

#: The reason of a text that failed because nobody could tell.
UNKNOWN = "unknown"

_OPEN = ("sending", "unknown")
#: What proves that the provider took a text.
_TAKEN = ("accepted", "delivered", "undelivered")


class StatusTooEarly(Exception):
    """A report about a text whose sending is not recorded yet: it is worth another look."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One fact about one attempt. ``kind`` and ``source`` are those of ``SendOutcome``."""

    kind: str
    source: str
    http_status: int | None = None
    provider_id: str = ""
    error_code: str = ""
    detail: str = ""
    latency_ms: int | None = None
    retry_after_s: float | None = None
    may_repeat: bool = False  # the provider replays its answer for the same idempotency key
    may_look: bool = False  # the provider lists its texts


@transaction.atomic
def record_outcome(outbound_id: str, attempt: int, outcome: Outcome) -> OutboundMessage:
    """Add a fact about an attempt and move its text as far as it goes.

    An outcome of an older attempt, or of a text that is settled, is kept and moves nothing, but
    for the carrier's own report that it has the text. One that was given up is not settled.
    """
    lock_recipient(outbound_id)
    locked = OutboundMessage.objects.select_for_update(no_key=True)
    outbound = locked.defer("verdict").get(pk=outbound_id)
    attempts = SendAttempt.objects.filter(outbound=outbound, attempt=attempt)
    SendOutcome.objects.create(
        attempt_id=attempts.values_list("pk", flat=True).get(),
        kind=outcome.kind,
        source=outcome.source,
        http_status=outcome.http_status,
        provider_id=outcome.provider_id,
        error_code=outcome.error_code[:40],
        detail=outcome.detail[:2000],
        latency_ms=outcome.latency_ms,
    )
    if outcome.kind in _TAKEN:
        _note_second_text(outbound, attempt)
    if outbound.attempt == attempt and (outbound.state in (*_OPEN, "sent") or _given_up(outbound)):
        _derive(outbound, outcome)
    elif _proves_acceptance(outcome) and outbound.state in ("queued", *_OPEN):
        _derive(outbound, outcome)  # an older attempt did get through: no other one is made
    return outbound


def lock_recipient(outbound_id: str) -> None:
    """Lock the person a text goes to, before the text: the order in which everybody locks."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM outbound_messages AS o JOIN consents AS c ON c.tenant_id = o.tenant_id"
            " AND c.channel = 'sms' AND c.address = o.to_address AND c.scope = ''"
            " WHERE o.tenant_id = %s AND o.id = %s FOR NO KEY UPDATE OF c",
            [owner(), sql_id(outbound_id)],
        )


def _proves_acceptance(outcome: Outcome) -> bool:
    return outcome.source in ("callback", "lookup") and outcome.kind in _TAKEN


def _given_up(outbound: OutboundMessage) -> bool:
    """Tell whether a text failed only because nobody could tell, and nobody decided since."""
    return (
        outbound.state == "failed"
        and outbound.gave_up_at is not None
        and outbound.decided_at is None
    )


def _note_second_text(outbound: OutboundMessage, attempt: int) -> None:
    """Two attempts were taken: the person has the text twice. People are shown that."""
    others = SendOutcome.objects.filter(attempt__outbound=outbound, kind__in=_TAKEN)
    if outbound.attempt == 1 or outbound.went_twice:
        return
    if others.exclude(attempt__attempt=attempt).exists():
        outbound.went_twice = True
        outbound.save(update_fields=["went_twice"])
        record_event(
            outbound.lead_id,
            kind="text_went_twice",
            cause=f"{outbound.pk}:twice",
            payload={"message": outbound.message_id},
        )


def _derive(outbound: OutboundMessage, outcome: Outcome) -> None:
    match outcome.kind:
        case "accepted":
            _accept(outbound, outcome)
        case "delivered" | "undelivered" | "failed":
            _accept(outbound, outcome)
            _conclude(outbound, outcome)
        case "opted_out":
            _carrier_opt_out(outbound, outcome)
        case "stopped" if outbound.state == "sending":
            _settle(outbound, "suppressed", outcome.detail)
        case "not_written" | "throttled" if outbound.state == "sending":
            _requeue(outbound, outcome)
        case "ambiguous" if outbound.state == "sending":
            _doubt(outbound, outcome)
        case "gave_up" if outbound.state == "unknown":
            outbound.gave_up_at = database_now()
            _settle(outbound, "failed", outcome.detail)


def _accept(outbound: OutboundMessage, outcome: Outcome) -> None:
    """The provider has the text: from here on it counts as sent."""
    is_named = outcome.provider_id and not outbound.provider_message_id
    if is_named:
        outbound.provider_message_id = outcome.provider_id
    may_begin = outbound.state in ("queued", *_OPEN) or _given_up(outbound)
    if may_begin and outcome.kind != "failed":
        _settle(outbound, "sent", "")  # and the message takes over the provider's id
        after_acceptance(outbound)
    elif is_named:
        outbound.save(update_fields=["provider_message_id"])
        Message.objects.filter(pk=outbound.message_id, external_id=None).update(
            external_id=outcome.provider_id
        )


def _conclude(outbound: OutboundMessage, outcome: Outcome) -> None:
    """The provider says how it ended: delivered stands against everything, failures once."""
    error = outcome.detail or outcome.error_code
    if _given_up(outbound):  # it failed, as was assumed: now it is known
        outbound.decided_at, outbound.error = database_now(), error
        outbound.save(update_fields=["decided_at", "error"])
    elif outcome.kind == "delivered" or outbound.state in (*_OPEN, "sent"):
        _settle(outbound, outcome.kind, error, code=outcome.error_code)


def _settle(outbound: OutboundMessage, state: str, error: str, *, code: str = "") -> None:
    if outbound.state == state:
        return
    outbound.state = state
    outbound.error = error
    outbound.error_code, outbound.error_class = code[:40], error_class(code)
    outbound.retry_at = outbound.look_at = None
    outbound.updated_at = timezone.now()
    if outbound.gave_up_at is not None and state != "failed":
        outbound.decided_at = outbound.updated_at
    outbound.save(update_fields=_SETTLED)


_SETTLED = [
    "state",
    "error",
    "error_code",
    "error_class",
    "provider_message_id",
    "retry_at",
    "look_at",
    "gave_up_at",
    "decided_at",
    "updated_at",
]


def _requeue(outbound: OutboundMessage, outcome: Outcome) -> None:
    """Nothing was written, or the provider asked for patience: a new attempt, later."""
    throttled = outcome.kind == "throttled"
    # A storm of 429 costs time and no text; what cannot be written is a fault that people see.
    too_old = database_now() - outbound.created_at > LONGEST_WAIT
    if too_old if throttled else outbound.attempt >= MAX_ATTEMPTS:
        _settle(outbound, "failed", f"gave up after {outbound.attempt} tries: {outcome.detail}")
        return
    delay = min(BACKOFF_S * 2 ** min(outbound.attempt, MAX_ATTEMPTS), MAX_BACKOFF_S)
    if throttled:
        if outcome.retry_after_s is not None and outbound.attempt < MAX_ATTEMPTS:
            delay = outcome.retry_after_s
        elif outcome.retry_after_s is not None:
            delay = max(outcome.retry_after_s, PATIENCE_S)
        _slow_down(outbound, delay)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE outbound_messages SET state = 'queued', error = %s,"
            " due_at = clock_timestamp() + make_interval(secs => %s * (0.75 + random() / 2)),"
            " updated_at = clock_timestamp() WHERE tenant_id = %s AND id = %s",
            [outcome.detail[:500], delay, owner(), sql_id(outbound.pk)],
        )


def _slow_down(outbound: OutboundMessage, pause_s: float) -> None:
    """The number waits as long as it was told to, and starts again with half a bucket."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE phone_numbers SET tokens = least(tokens, burst) / 2,"
            " throttled_until = clock_timestamp() + make_interval(secs => %s)"
            " WHERE tenant_id = %s AND id = %s",
            [pause_s, owner(), sql_id(outbound.phone_number_id)],
        )


def _doubt(outbound: OutboundMessage, outcome: Outcome) -> None:
    """The text may have gone out: it is never sent anew, only asked about."""
    outbound.state = "unknown"
    outbound.error = outcome.detail
    now = database_now()
    outbound.retry_at = now + timedelta(seconds=REPEATS_S[0]) if outcome.may_repeat else None
    outbound.look_at = now + timedelta(seconds=LOOKS_S[0]) if outcome.may_look else None
    outbound.looks = 0
    outbound.updated_at = now
    outbound.save(update_fields=["state", "error", "retry_at", "look_at", "looks", "updated_at"])


def give_up_unknown(tenant_id: str) -> int:
    """Leave the unknowns of a day ago to a person; return how many. Nothing is sent anew."""
    with tenant_context(tenant_id, durable=True):
        old = list(
            OutboundMessage.objects.filter(state="unknown")
            .filter(claimed_at__lte=Now() - GIVE_UP_AFTER)
            .order_by("claimed_at")
            .values_list("pk", "attempt", "to_address")[:100]
        )
    given_up = 0
    for pk, attempt, address in old:
        with tenant_context(tenant_id, durable=True):
            lock_consents([address])
            row = OutboundMessage.objects.select_for_update(no_key=True).filter(
                pk=pk, attempt=attempt, state="unknown"
            )
            if row.exists():
                record_outcome(pk, attempt, Outcome(kind="gave_up", source="lease", detail=UNKNOWN))
                given_up += 1
    return given_up


def _carrier_opt_out(outbound: OutboundMessage, outcome: Outcome) -> None:
    """The carrier knows an opt-out that we did not: it becomes ours, and counts for everything."""
    words = outcome.detail or "the carrier says: opted out"
    if outbound.state == "sending":
        _settle(outbound, "suppressed", words, code=outcome.error_code)
    else:
        _settle(outbound, "failed", words, code=outcome.error_code)
    if outbound.purpose == "opt_out_confirmation":
        return  # that the carrier was faster than our confirmation is no second opt-out
    opt_out(
        Choice(
            address=outbound.to_address,
            kind="opt_out",
            source="carrier",
            keyword=outcome.error_code,
            reason=outcome.detail,
        )
    )


def after_acceptance(outbound: OutboundMessage) -> None:
    """A text is out: the lead is touched, its timers are armed, nobody waits for it any more."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT text_accepted(%s, %s, %s)", [owner(), sql_id(outbound.pk), correlation_id()]
        )
        (touches,) = cursor.fetchone()
    if touches:
        emit(LeadMoved(lead_id=outbound.lead_id, to=LeadState.TOUCHED))
        arm_timer(outbound.lead_id, kind="7D", days=SILENCE_DAYS["7D"])
        arm_timer(outbound.lead_id, kind="14D", days=SILENCE_DAYS["14D"])


# --- reports ----------------------------------------------------------------------------------

_KIND_OF_STATUS = {
    "accepted": "accepted",
    "sent": "accepted",
    "delivered": "delivered",
    "undelivered": "undelivered",
    "failed": "failed",
}


def apply_status(event: MessageStatus, *, provider: str, attempt_token_hash: str | None) -> str:
    """Apply a carrier's report to the text it is about; return what became of it, in words.

    The attempt's token finds it before its id is known; else the provider's id of the text does.

    Raises:
        StatusTooEarly: nothing matches, but a text between these numbers is being sent right now.
    """
    attempt = _attempt_of(event, provider, attempt_token_hash)
    if attempt is None:
        in_flight = OutboundMessage.objects.filter(
            to_address=event.recipient, state__in=_OPEN, provider_message_id=""
        )
        if in_flight.exists():
            raise StatusTooEarly(f"{event.external_id} is not recorded yet")
        return f"no text of ours is {event.external_id}"
    outbound = record_outcome(
        attempt.outbound_id,
        attempt.attempt,
        Outcome(
            kind=_KIND_OF_STATUS[event.status],
            source="callback",
            provider_id=event.external_id,
            error_code=event.error_code,
            detail=event.error,
        ),
    )
    return f"{event.status}: {outbound.message_id} is {outbound.state}"


def _attempt_of(event: MessageStatus, provider: str, token_hash: str | None) -> SendAttempt | None:
    attempts = SendAttempt.objects.select_related("outbound")
    if token_hash is not None and (found := attempts.filter(token_hash=token_hash).first()):
        return found
    # Whichever attempt the provider gave this id; of a text sent again that may be an older one.
    told = SendOutcome.objects.filter(
        provider_id=event.external_id, attempt__outbound__message__provider=provider
    ).exclude(provider_id="")
    first = told.select_related("attempt__outbound").order_by("id").first()
    return first.attempt if first else None
