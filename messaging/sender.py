"""Sending: claim under the gate, ask the gate again, call once, record; never send in doubt."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import structlog
from django.conf import settings
from django.db import Error, connection
from django.db.models.functions import Now
from django.utils import timezone

from integrations.models import Integration, WebhookEndpoint, hash_token
from integrations.pauses import sends_paused, words
from integrations.providers import Account, Carrier, HttpCall, OutboundText, SendResult, providers
from integrations.transport import Answer, NoAnswer, NotWritten, call
from leads.actions import lock_consents, owner
from messaging.actions.live import wake
from messaging.actions.sending import facts_for
from messaging.models import OutboundMessage, SendAttempt
from messaging.outcomes import REPEATS_S, Outcome, conversation_of, record_outcome
from messaging.verdict import decide
from tenants.context import tenant_context
from tenants.correlation import correlated
from tenants.faultpoints import hit
from tenants.ulids import to_text

#: Texts claimed at once, and calls made at once, per process: about two seconds of sending.
BATCH = CALLS = 8
#: Seconds until a claimed text that a spool stopped is looked at again.
PAUSE_S = 2.0
#: Seconds to wait for one of the calls in flight before looking for more to claim.
FLIGHT_LOOK_S = 0.1

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One attempt that this process may make."""

    tenant_id: str
    outbound_id: str
    attempt: int
    repeats: bool = False  # asks again about an unknown, with the same idempotency key


def attempt_token(outbound_id: str, attempt: int) -> str:
    """Return the secret part of an attempt's callback URL: it vouches for this attempt alone.

    Derived, not stored: a repeat after a crash knows it again.
    """
    message = f"attempt:{outbound_id}.{attempt}".encode()
    digest = hmac.new(settings.SECRET_KEY.encode(), message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class SendLoop:
    """Claims and sends; one per drain process.

    Calls fly side by side: a provider that hangs on one text holds one slot, not the others'.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=CALLS, thread_name_prefix="send")
        self._flying: set[Future[None]] = set()

    def step(self) -> int:
        """Claim for the free slots and let fly; return how many texts moved, 0 when all rest."""
        self._flying = {flight for flight in self._flying if not flight.done()}
        claims = self._claim(BATCH - len(self._flying))
        self._flying |= {self._pool.submit(_send_in_thread, one) for one in claims}
        if claims:
            return len(claims)
        return len(wait(self._flying, timeout=FLIGHT_LOOK_S, return_when=FIRST_COMPLETED).done)

    def finish(self) -> int:
        """Wait for what is in flight; return how many texts that were."""
        flights, self._flying = self._flying, set()
        return len(wait(flights).done)

    def _claim(self, most: int) -> list[Claim]:
        claims: list[Claim] = []
        tenants = _tenants_with_sends() if most > 0 else []
        random.shuffle(tenants)
        for tenant_id in tenants:
            _give_up_on_silent(tenant_id)
            claims += claim(tenant_id, most=most - len(claims))
            if len(claims) >= most:
                break
        return claims


def _lease_s() -> float:
    return settings.SEND_DEADLINE + settings.SEND_LEASE


def _tenants_with_sends() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_sends(make_interval(secs => %s))", [_lease_s()])
        return [to_text("tenant", row[0]) for row in cursor.fetchall()]


def claim(tenant_id: str, *, most: int) -> list[Claim]:
    """Claim up to *most* attempts of a tenant and write them down before any call is made."""
    with tenant_context(tenant_id, durable=True):
        if sends_paused():
            return []
        claims = _claim_repeats(tenant_id, most)
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM claim_sends(%s, %s)", [owner(), most - len(claims)])
            rows = cursor.fetchall()
        attempts = [
            SendAttempt(
                outbound_id=to_text("obm", outbound),
                attempt=attempt,
                consent_rev=rev,
                token_hash=hash_token(attempt_token(to_text("obm", outbound), attempt)),
            )
            for outbound, attempt, rev in rows
        ]
        SendAttempt.objects.bulk_create(attempts)
        hit("sender.before_claim_commit")
        return claims + [
            Claim(tenant_id=tenant_id, outbound_id=row.outbound_id, attempt=row.attempt)
            for row in attempts
        ]


def _claim_repeats(tenant_id: str, most: int) -> list[Claim]:
    """Unknowns whose time has come to be asked about again, where the provider has a key."""
    pause = settings.SEND_DEADLINE + settings.SEND_LEASE
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE outbound_messages AS o SET repeats = o.repeats + 1,"
            " retry_at = clock_timestamp() + make_interval(secs => %s)"
            " FROM (SELECT id FROM outbound_messages WHERE tenant_id = %s AND state = 'unknown'"
            "         AND retry_at <= clock_timestamp()"
            "       ORDER BY retry_at, id LIMIT %s FOR UPDATE SKIP LOCKED) AS due"
            " WHERE o.tenant_id = %s AND o.id = due.id RETURNING o.id, o.attempt",
            [pause, owner(), most, owner()],
        )
        return [
            Claim(
                tenant_id=tenant_id,
                outbound_id=to_text("obm", row[0]),
                attempt=row[1],
                repeats=True,
            )
            for row in cursor.fetchall()
        ]


def _give_up_on_silent(tenant_id: str) -> None:
    """An attempt without any outcome long after its deadline: its process died. It is unknown."""
    with tenant_context(tenant_id, durable=True), connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, attempt, to_address FROM outbound_messages WHERE tenant_id = %s"
            " AND state = 'sending' AND claimed_at <= clock_timestamp() - make_interval(secs => %s)"
            " ORDER BY id",
            [owner(), _lease_s()],
        )
        silent = cursor.fetchall()
    for outbound, attempt, address in silent:
        # One at a time, and the person before the text: the order in which everybody locks.
        with tenant_context(tenant_id, durable=True):
            lock_consents([address])
            row = (
                OutboundMessage.objects.select_for_update(no_key=True, of=("self",))
                .select_related("phone_number__integration")
                .filter(pk=outbound, attempt=attempt, state="sending")
                .first()
            )
            if row is not None:
                record_outcome(row.pk, attempt, _silence(row))


def _silence(outbound: OutboundMessage) -> Outcome:
    return Outcome(
        kind="ambiguous",
        source="lease",
        detail="the sending process died before it knew",
        may_repeat=_carrier(outbound).has_idempotency_key,
    )


def _send_in_thread(one: Claim) -> None:
    try:
        send(one)
    except Error:
        # The attempt stays as it is, without outcome: silence makes it unknown in time.
        logger.exception("a send could not be recorded", outbound=one.outbound_id)
        connection.close()
    except Exception:  # one text must not take those of other people down with it
        logger.exception("a send failed in a way nobody foresaw", outbound=one.outbound_id)
    else:
        wake()
    finally:
        connection.close_if_unusable_or_obsolete()


def send(one: Claim) -> None:
    """Make one claimed attempt: gate, call, record. Two short transactions around the call."""
    hit("sender.after_claim")
    with tenant_context(one.tenant_id, durable=True):
        request = _pass_gate(one)
    if request is None:
        return
    carrier, http_call, recipient, correlation = request
    with correlated(correlation):
        hit("sender.before_call")
        outcome = _call(carrier, http_call, recipient)
        hit("sender.after_call")
        with tenant_context(one.tenant_id, durable=True):
            outbound = record_outcome(one.outbound_id, one.attempt, outcome)
            if one.repeats and outbound.state == "unknown":
                _plan_next_repeat(outbound)
            hit("sender.before_record_commit")
        hit("sender.after_record")
        logger.info("sent", outbound=one.outbound_id, attempt=one.attempt, outcome=outcome.kind)


def _pass_gate(one: Claim) -> tuple[Carrier, HttpCall, str, str] | None:
    """Ask the gate right before the call; None when the text must not go now.

    A repeat passes it too: where the person opted out meanwhile, the text stays unknown.
    """
    address = OutboundMessage.objects.values_list("to_address", flat=True).get(pk=one.outbound_id)
    lock_consents([address])
    outbound = OutboundMessage.objects.select_for_update(no_key=True, of=("self",)).get(
        pk=one.outbound_id
    )
    expected = "unknown" if one.repeats else "sending"
    if outbound.state != expected or outbound.attempt != one.attempt:
        return None  # somebody else settled it: we are too late, or were frozen
    conversation = conversation_of(outbound)
    verdict = decide(
        facts_for(
            conversation,
            body=outbound.body,
            purpose=outbound.purpose,
            is_automated=outbound.is_automated,
        )
    )
    if verdict.outcome == "deny":
        if not one.repeats:
            _stop(one, verdict.words)
        else:
            OutboundMessage.objects.filter(pk=outbound.pk).update(retry_at=None)
        return None
    if verdict.outcome == "hold" and not one.repeats:
        OutboundMessage.objects.filter(pk=outbound.pk).update(
            state="queued", due_at=verdict.hold_until, verdict=verdict.as_json()
        )
        _stop(one, verdict.words)
        return None
    carrier = _carrier(outbound)
    integration = outbound.phone_number.integration
    text = OutboundText(
        sender=outbound.phone_number.number,
        recipient=outbound.to_address,
        body=outbound.body,
        idempotency_key=f"{outbound.pk}.{one.attempt}",
        status_callback_url=_callback_url(outbound, one.attempt),
    )
    http_call = carrier.build_send(text, account_of(integration))
    if sends_paused():  # the last question before the call
        _put_back(one)
        return None
    return carrier, http_call, outbound.to_address, outbound.correlation_id


def _put_back(one: Claim) -> None:
    """Nothing was written, and no fault of the text: it waits until the spools are empty."""
    soon = Now() + timedelta(seconds=PAUSE_S)
    outbound = OutboundMessage.objects.filter(pk=one.outbound_id)
    if one.repeats:
        outbound.update(retry_at=soon)
        return
    outbound.update(state="queued", due_at=soon)
    record_outcome(
        one.outbound_id, one.attempt, Outcome(kind="not_written", source="gate", detail=words())
    )


def account_of(integration: Integration) -> Account:
    """Return what a provider needs of an integration to call its API."""
    return Account(
        base_url=integration.base_url,
        api_key=integration.api_key,
        account_id=integration.account_id or "",
        settings=integration.settings,
    )


def _stop(one: Claim, words: str) -> None:
    record_outcome(
        one.outbound_id, one.attempt, Outcome(kind="stopped", source="gate", detail=words)
    )


def _carrier(outbound: OutboundMessage) -> Carrier:
    return cast(Carrier, providers[outbound.phone_number.integration.provider]())


def _callback_url(outbound: OutboundMessage, attempt: int) -> str:
    endpoints: Iterable[WebhookEndpoint] = (
        WebhookEndpoint.objects.filter(
            integration=outbound.phone_number.integration, signed=True, retired_at=None
        )
        .select_related("integration")
        .order_by("id")[:1]
    )
    for endpoint in endpoints:
        return f"{endpoint.url}{attempt_token(outbound.pk, attempt)}/"
    return ""


def _call(carrier: Carrier, http_call: HttpCall, recipient: str) -> Outcome:
    try:
        answer = call(http_call, deadline_s=settings.SEND_DEADLINE)
    except NotWritten as error:
        return Outcome(kind="not_written", source="call", detail=str(error))
    except NoAnswer as error:
        return Outcome(
            kind="ambiguous",
            source="call",
            detail=str(error),
            may_repeat=carrier.has_idempotency_key,
        )
    return _outcome(carrier, answer, recipient)


def _outcome(carrier: Carrier, answer: Answer, recipient: str) -> Outcome:
    result: SendResult = carrier.read_send(
        answer.status, answer.headers, answer.body, recipient=recipient
    )
    return Outcome(
        kind="not_written" if result.kind == "refused" else result.kind,
        source="call",
        http_status=answer.status,
        provider_id=result.provider_id,
        error_code=result.error_code,
        detail=result.error,
        latency_ms=answer.latency_ms,
        retry_after_s=result.retry_after_s,
        may_repeat=carrier.has_idempotency_key,
    )


def _plan_next_repeat(outbound: OutboundMessage) -> None:
    pauses = REPEATS_S[outbound.repeats :]
    retry_at = timezone.now() + timedelta(seconds=pauses[0]) if pauses else None
    OutboundMessage.objects.filter(pk=outbound.pk).update(retry_at=retry_at)
