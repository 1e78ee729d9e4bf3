"""Looking an unknown up in its provider's list. A look sends nothing, so it needs no gate."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import Min

from integrations.providers import Carrier, FoundText, HttpCall
from integrations.transport import NoAnswer, NotWritten, call
from leads.actions import lock_consents, owner
from messaging.attempts import Claim, account_of, carrier_of, text_of
from messaging.codes import error_class
from messaging.models import OutboundMessage, SendAttempt, SendOutcome
from messaging.outcomes import LOOKS_S, Outcome, record_outcome
from tenants.context import database_now, tenant_context
from tenants.correlation import correlated
from tenants.ulids import to_text

#: A look that got no answer is taken again after this many seconds, and is not counted.
LOOK_AGAIN_S = 600

_KINDS = {"accepted": "accepted", "sent": "accepted"}

logger = structlog.get_logger(__name__)


def claim_looks(tenant_id: str, most: int) -> list[Claim]:
    """Claim unknowns whose look-up is due, in the open transaction of their tenant.

    Each is put off before it is made: a process that dies over it costs one look, not the rest.
    """
    if most <= 0:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE outbound_messages AS o"
            " SET look_at = clock_timestamp() + make_interval(secs => %s)"
            " FROM (SELECT id FROM outbound_messages WHERE tenant_id = %s AND state = 'unknown'"
            "         AND look_at <= clock_timestamp()"
            "       ORDER BY look_at, id LIMIT %s FOR UPDATE SKIP LOCKED) AS due"
            " WHERE o.tenant_id = %s AND o.id = due.id RETURNING o.id, o.attempt",
            [LOOK_AGAIN_S, owner(), most, owner()],
        )
        return [
            Claim(
                tenant_id=tenant_id,
                outbound_id=to_text("obm", row[0]),
                attempt=row[1],
                looks=True,
            )
            for row in cursor.fetchall()
        ]


def look(one: Claim) -> None:
    """Ask the provider's list about one unknown, and write down what it says."""
    with tenant_context(one.tenant_id, durable=True):
        question = _question(one)
    if question is None:
        return
    carrier, http_call, correlation = question
    with correlated(correlation):
        found, trouble = _ask(carrier, http_call)
        with tenant_context(one.tenant_id, durable=True):
            kind = _record(one, found, trouble)
        logger.info("looked up", outbound=one.outbound_id, attempt=one.attempt, outcome=kind)


def _question(one: Claim) -> tuple[Carrier, HttpCall, str] | None:
    outbound = OutboundMessage.objects.select_related("phone_number__integration").get(
        pk=one.outbound_id
    )
    carrier = carrier_of(outbound)
    if outbound.state != "unknown" or outbound.attempt != one.attempt or not carrier.has_lookup:
        return None  # somebody else settled it
    since, _ = _window(outbound)
    account = account_of(outbound.phone_number.integration)
    http_call = carrier.build_lookup(text_of(outbound, one.attempt), since, account)
    return carrier, http_call, outbound.correlation_id


def _ask(carrier: Carrier, http_call: HttpCall) -> tuple[list[FoundText] | None, str]:
    try:
        answer = call(http_call, deadline_s=settings.SEND_DEADLINE)
    except (NotWritten, NoAnswer) as error:
        return None, str(error)
    return carrier.read_lookup(answer.status, answer.body), f"answered {answer.status}"


def _record(one: Claim, found: list[FoundText] | None, trouble: str) -> str:
    """Match under the lock of the person: no two texts to them are given the same find."""
    outbound = OutboundMessage.objects.select_related("phone_number").get(pk=one.outbound_id)
    lock_consents([outbound.to_address])
    outbound.refresh_from_db()
    if outbound.state != "unknown" or outbound.attempt != one.attempt:
        return "too late"
    outcome = _outcome(outbound, found, trouble)
    record_outcome(one.outbound_id, one.attempt, outcome)
    if outcome.kind == "not_found":
        _plan_next_look(outbound)
    return outcome.kind


def _outcome(outbound: OutboundMessage, found: list[FoundText] | None, trouble: str) -> Outcome:
    if found is None:
        return Outcome(kind="look_failed", source="lookup", detail=trouble)
    match = _match(outbound, found)
    if match is None:
        words = f"none of {len(found)} texts listed is this one"
        return Outcome(kind="not_found", source="lookup", detail=words)
    kind = _KINDS.get(match.status, match.status)
    if kind in ("failed", "undelivered") and error_class(match.error_code) == "suppress":
        kind = "opted_out"
    return Outcome(
        kind=kind,
        source="lookup",
        provider_id=match.provider_id,
        error_code=match.error_code,
        detail=f"listed as {match.status}" if kind != "accepted" else "",
    )


def _match(outbound: OutboundMessage, found: Iterable[FoundText]) -> FoundText | None:
    """Return the first listed text that can only be this attempt's.

    Same people, same words, taken while no later attempt at the same words had begun, and not
    known as another text of ours.
    """
    since, until = _window(outbound)
    ours = [
        text
        for text in found
        if (text.sender, text.recipient) == (outbound.phone_number.number, outbound.to_address)
        and text.body == outbound.body
        and since <= text.at
        and (until is None or text.at < until)
    ]
    ids = [text.provider_id for text in ours]
    told = SendOutcome.objects.filter(provider_id__in=ids).exclude(
        attempt__outbound=outbound, attempt__attempt=outbound.attempt
    )
    taken = set(told.values_list("provider_id", flat=True))
    free = [text for text in ours if text.provider_id not in taken]
    return min(free, key=lambda text: (text.at, text.provider_id), default=None)


def _window(outbound: OutboundMessage) -> tuple[datetime, datetime | None]:
    """Return when this attempt can have been taken: from its start to that of the next alike.

    To the second, as vendors write their times.
    """
    alike = SendAttempt.objects.filter(
        outbound__to_address=outbound.to_address,
        outbound__phone_number=outbound.phone_number_id,
        outbound__body=outbound.body,
    )
    began = alike.get(outbound=outbound, attempt=outbound.attempt).started_at
    following = alike.filter(started_at__gt=began).aggregate(at=Min("started_at"))["at"]
    return _second(began), _second(following) if following else None


def _second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _plan_next_look(outbound: OutboundMessage) -> None:
    looks = outbound.looks + 1
    look_at = None
    if looks < len(LOOKS_S):  # counted from the doubt, not from the look before
        pause = LOOKS_S[looks] - LOOKS_S[looks - 1]
        look_at = database_now() + timedelta(seconds=pause)
    OutboundMessage.objects.filter(pk=outbound.pk, state="unknown").update(
        looks=looks, look_at=look_at
    )
