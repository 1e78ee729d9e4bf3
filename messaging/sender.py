"""Sending: claim under the gate, ask the gate again, call once, record; never send in doubt."""

from __future__ import annotations

import random
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import Error, connection
from django.db.models.functions import Now

from integrations.models import hash_token
from integrations.pauses import sends_paused, words
from integrations.providers import Carrier, HttpCall, SendResult
from integrations.transport import Answer, NoAnswer, NotWritten, call
from leads.actions import lock_consents, owner
from messaging.actions.facts import facts_for
from messaging.actions.live import wake
from messaging.actions.numbers import tend
from messaging.attempts import Claim, account_of, attempt_token, carrier_of, text_of
from messaging.lookups import claim_looks, look
from messaging.models import OutboundMessage, SendAttempt
from messaging.outcomes import (
    REPEATS_S,
    Outcome,
    give_up_unknown,
    lock_recipient,
    record_outcome,
)
from messaging.verdict import HOLDING, Verdict, decide
from tenants.context import database_now, tenant_context
from tenants.correlation import correlated
from tenants.faultpoints import hit
from tenants.ulids import to_text

#: Texts claimed at once, and calls made at once, per process: about two seconds of sending.
BATCH = CALLS = 8
#: Seconds until a claimed text that a spool stopped is looked at again.
PAUSE_S = 2.0
#: Seconds to wait for one of the calls in flight before looking for more to claim.
FLIGHT_LOOK_S = 0.1
#: Seconds in which a tenant that had nothing to claim is not asked again.
QUIET_S = 0.25
#: Seconds to let more calls end before claiming for a few free slots.
GATHER_S = 0.02
#: Seconds between two looks of a process at numbers that rest or fail, and at old unknowns.
TEND_EVERY_S = 2.0

#: Columns that cost a decryption each and are of no use to a send.
_SECRETS = [f"phone_number__integration__{name}" for name in ("secret", "previous_secret")]

logger = structlog.get_logger(__name__)


class SendLoop:
    """Claims and sends; one per drain process.

    Calls fly side by side: a provider that hangs on one text holds one slot, not the others'.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=CALLS, thread_name_prefix="send")
        self._flying: set[Future[None]] = set()
        self._tends_at = 0.0
        self._quiet_until: dict[str, float] = {}

    def step(self) -> int:
        """Claim for the free slots and let fly; return how many texts moved, 0 when all rest."""
        self._flying = {flight for flight in self._flying if not flight.done()}
        if 0 < BATCH - len(self._flying) < BATCH // 2:  # rather claim for several at once
            wait(self._flying, timeout=GATHER_S)
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
        tenants = self._not_quiet(_tenants_with_sends()) if most > 0 else []
        random.shuffle(tenants)
        tends = bool(tenants) and self._is_time_to_tend()
        for tenant_id in tenants:
            _give_up_on_silent(tenant_id)
            if tends:
                give_up_unknown(tenant_id)
                tend(tenant_id)
            mine = claim(tenant_id, most=most - len(claims))
            if not mine:
                self._quiet_until[tenant_id] = time.monotonic() + QUIET_S
            claims += mine
            if len(claims) >= most:
                break
        return claims

    def _not_quiet(self, tenants: list[str]) -> list[str]:
        """Leave out who had nothing to claim a moment ago: a spent cap, numbers at rest."""
        now = time.monotonic()
        self._quiet_until = {one: at for one, at in self._quiet_until.items() if at > now}
        return [tenant_id for tenant_id in tenants if tenant_id not in self._quiet_until]

    def _is_time_to_tend(self) -> bool:
        now = time.monotonic()
        if now < self._tends_at:
            return False
        self._tends_at = now + TEND_EVERY_S
        return True


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
        claims += claim_looks(tenant_id, most - len(claims))
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
        may_repeat=carrier_of(outbound).has_idempotency_key,
        may_look=carrier_of(outbound).has_lookup,
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
    if one.looks:
        look(one)
        return
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
    lock_recipient(one.outbound_id)
    outbound = (
        OutboundMessage.objects.select_for_update(no_key=True, of=("self",))
        .select_related("phone_number__integration", "conversation__lead", "conversation__tenant")
        .defer("verdict", *_SECRETS)
        .get(pk=one.outbound_id)
    )
    expected = "unknown" if one.repeats else "sending"
    if outbound.state != expected or outbound.attempt != one.attempt:
        return None  # somebody else settled it: we are too late, or were frozen
    conversation = outbound.conversation
    conversation.phone_number = outbound.phone_number
    verdict = decide(
        facts_for(
            conversation,
            body=outbound.body,
            purpose=outbound.purpose,
            is_automated=outbound.is_automated,
            outbound_id=outbound.pk,
        )
    )
    if verdict.outcome == "deny":
        _refuse(one, outbound, verdict)
        return None
    if verdict.outcome == "hold" and not one.repeats:
        OutboundMessage.objects.filter(pk=outbound.pk).update(
            state="queued", due_at=verdict.hold_until, verdict=verdict.as_json()
        )
        _stop(one, verdict.words)
        return None
    carrier = carrier_of(outbound)
    integration = outbound.phone_number.integration
    http_call = carrier.build_send(text_of(outbound, one.attempt), account_of(integration))
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


def _refuse(one: Claim, outbound: OutboundMessage, verdict: Verdict) -> None:
    """Keep a text from going. Where only its number rests, it waits with it and is not lost."""
    for_good = set(verdict.reasons) - HOLDING
    rests = for_good == {"number_inactive"} and outbound.phone_number.status == "resting"
    if one.repeats and rests:
        _plan_next_repeat(outbound)
    elif one.repeats:
        OutboundMessage.objects.filter(pk=outbound.pk).update(retry_at=None)
    else:
        if rests:
            OutboundMessage.objects.filter(pk=outbound.pk).update(state="queued")
        _stop(one, verdict.words)


def _stop(one: Claim, words: str) -> None:
    record_outcome(
        one.outbound_id, one.attempt, Outcome(kind="stopped", source="gate", detail=words)
    )


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
            may_look=carrier.has_lookup,
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
        may_look=carrier.has_lookup,
    )


def _plan_next_repeat(outbound: OutboundMessage) -> None:
    pauses = REPEATS_S[outbound.repeats :]
    retry_at = database_now() + timedelta(seconds=pauses[0]) if pauses else None
    OutboundMessage.objects.filter(pk=outbound.pk).update(retry_at=retry_at)
