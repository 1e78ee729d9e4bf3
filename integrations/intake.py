"""Take one delivery into the database: one statement, one commit. Nothing else happens here."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from psycopg import Cursor
from psycopg.types.json import Jsonb

from integrations.endpoints import Endpoint
from integrations.events import BadPayload, ContactOptedOut, Event, MessageReceived, MessageStatus
from integrations.providers import Delivery, Provider
from integrations.tolerant import Parsed
from leads.actions import Choice
from leads.reading import read_refusal
from tenants.correlation import correlation_id
from tenants.faultpoints import hit
from tenants.models import PLATFORM_TENANT_ID
from tenants.ulids import new_uuid, to_text, to_uuid

#: Bytes of headers that are kept beside an event.
MAX_HEADERS = 16 * 1024
#: Pause before another try while the database is away, in seconds.
RETRY_PAUSE_S = 0.1

_SECRET_HEADERS = ("authorization", "cookie", "token", "secret", "api-key", "apikey", "password")
_KEPT_PREFIXES = ("x-", "webhook-", "content-type", "user-agent", "date")

logger = structlog.get_logger(__name__)


class DatabaseAway(Exception):
    """The delivery could not be stored within the time its source waits; nothing was."""


@dataclass(frozen=True, kw_only=True)
class Intake:
    """A verified delivery, read as far as it can be read."""

    endpoint: Endpoint
    provider: Provider
    delivery: Delivery
    parsed: Parsed
    signature_state: str  # valid, unsigned, token or pulled
    attempt_token_hash: str | None = None
    event_id: str = ""  # wh_… when it was chosen before; "" makes a new one
    key: str = ""  # of the delivery, when it was read before; "" asks the provider
    withhold: str = ""  # why a person must look first


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Whose event it is: a tenant and its integration, or why that is not known."""

    tenant_id: str
    integration_id: str
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What became of a delivery: ``new``, ``duplicate``, ``clash``, ``retired`` or ``spooled``."""

    outcome: str
    event_id: str  # wh_…; "" of a retired endpoint, where nothing is stored
    destination: Destination | None = None  # of a new event


def events_of(intake: Intake) -> list[Event]:
    """Return the canonical events of a delivery that its proof covers.

    A callback that only its attempt's token vouches for may speak of that attempt, and of
    nothing else.

    Raises:
        BadPayload: the provider sent something odd, or a number's own URL got another's text.
    """
    events = intake.provider.parse(intake.parsed.payload or {})
    if intake.signature_state == "token":
        return [event for event in events if isinstance(event, MessageStatus)]
    ours = intake.endpoint.our_number
    for event in events:
        if ours and isinstance(event, MessageReceived) and event.recipient != ours:
            raise BadPayload(f"this URL is for {ours}, the text is for {event.recipient}")
    return events


def choices_of(events: Iterable[Event]) -> list[Choice]:
    """Return the consent changes that must not wait for processing: opt-outs and holds."""
    choices = []
    for event in events:
        if isinstance(event, ContactOptedOut):
            choices.append(
                Choice(
                    address=event.address,
                    kind="opt_out",
                    channel=event.channel,
                    source="carrier",
                    keyword=event.keyword,
                    reason=event.reason,
                )
            )
        elif isinstance(event, MessageReceived):
            by_carrier = event.carrier_keyword == "opt_out"
            reading = read_refusal(event.body)
            if by_carrier or reading:
                certain = by_carrier or (reading is not None and reading.kind == "opt_out")
                choices.append(
                    Choice(
                        address=event.sender,
                        kind="opt_out" if certain else "hold",
                        source="carrier" if by_carrier else "texting",
                        keyword=reading.keyword if reading else "",
                        reason=event.body[:500],
                    )
                )
    return choices


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers worth keeping: an allow-list, without secrets, at most 16 kB."""
    kept: dict[str, str] = {}
    size = 0
    for name, value in sorted(headers.items()):
        size += len(name) + len(value)
        if size > MAX_HEADERS:
            break
        if name.startswith(_KEPT_PREFIXES) and not any(word in name for word in _SECRET_HEADERS):
            kept[name] = value.replace("\x00", "")
    return kept


def key_of(intake: Intake) -> str:
    """Return what a redelivery of the same webhook repeats."""
    return intake.key or intake.provider.delivery_key(intake.delivery, intake.parsed.payload)


def take(
    intake: Intake, *, hold_s: float | None = None, when_away: Callable[[], None] | None = None
) -> Taken:
    """Store a delivery, once; apply its opt-outs in the same transaction.

    Tries again, on a new connection, for as long as the provider holds its request.

    Args:
        intake: a verified delivery.
        hold_s: seconds to try for, instead of the provider's.
        when_away: called when the database fails for the first time.

    Raises:
        DatabaseAway: it could not be stored in that time.
    """
    arguments = _arguments(intake)
    deadline = time.monotonic() + (intake.provider.hold_s if hold_s is None else hold_s)
    while True:
        try:
            destination = _find_destination(intake)
            taken = _store(arguments | _sent_to(destination, arguments))
            return replace(taken, destination=destination)
        except (OperationalError, InterfaceError) as error:
            # Outcome unknown, perhaps committed: the receipt makes another try harmless.
            connection.close()
            if when_away is not None:
                when_away()
                when_away = None
            if time.monotonic() + RETRY_PAUSE_S >= deadline:
                raise DatabaseAway from error
            time.sleep(RETRY_PAUSE_S)
        except DatabaseError:
            if arguments["payload"] is None:
                raise
            # jsonb refused what Python took for clean: keep the bytes, which are the truth.
            logger.warning("payload is kept as bytes only", event_type=arguments["kind"])
            arguments |= {"payload": None, "parse": "unstorable"}


def take_within(intake: Intake) -> Taken:
    """Store a delivery in the running transaction, which is its tenant's; commits with it.

    Raises:
        DatabaseError: it could not be stored; the transaction can go on.
    """
    arguments = _arguments(intake)
    arguments |= _sent_to(_own(intake.endpoint), arguments)
    try:
        with transaction.atomic():
            return _store(arguments)
    except (OperationalError, InterfaceError):
        raise
    except DatabaseError:
        if arguments["payload"] is None:
            raise
        with transaction.atomic():
            return _store(arguments | {"payload": None, "parse": "unstorable"})


def _own(endpoint: Endpoint) -> Destination:
    return Destination(tenant_id=endpoint.tenant_id, integration_id=endpoint.integration_id)


def _find_destination(intake: Intake) -> Destination:
    """Return whose event it is; the platform keeps those that nobody, or several, may claim."""
    endpoint, provider = intake.endpoint, intake.provider
    own = _own(endpoint)
    if not provider.is_shared or endpoint.tenant_id != PLATFORM_TENANT_ID:
        return own
    account = provider.route(intake.parsed.payload)
    if not account:
        return replace(own, problem="it names no account")
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenant_of_account(%s, %s)", [provider.name, account])
        found = cursor.fetchall()
    if len(found) != 1:
        who = "several tenants have" if found else "no tenant has"
        return replace(own, problem=f"{who} the account {account}")
    return Destination(
        tenant_id=to_text("tenant", found[0][0]), integration_id=to_text("intg", found[0][1])
    )


def _sent_to(destination: Destination, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "tenant": to_uuid(destination.tenant_id),
        "target": to_uuid(destination.integration_id),
        "withhold": arguments["withhold"] or destination.problem or None,
    }


_TAKE = """
    SELECT outcome, taken FROM take_delivery(
        %(owner)s, %(tenant)s, %(integration)s, %(endpoint)s, %(provider)s, %(key)s, %(hash)s,
        %(event)s, %(kind)s, %(lane)s, %(theirs)s, %(inbound)s, %(happened)s, %(body)s,
        %(payload)s, %(headers)s, %(token)s, %(signed)s, %(parse)s, %(correlation)s,
        %(withhold)s, %(choices)s, %(target)s)
"""


def _store(arguments: dict[str, Any]) -> Taken:
    # Not through connection.cursor(), which pings first (a fifth of a request; a lost connection is
    # retried instead) and writes all values into the statement's text, in Python.
    with connection.wrap_database_errors:
        connection.ensure_connection()
        with Cursor(connection.connection) as cursor:
            # Not prepared: a pooler in front of the database may not keep statements.
            hit("intake.before_commit")
            row = cursor.execute(_TAKE, arguments, prepare=False).fetchone()
    hit("intake.after_commit")
    outcome, event = row or ("", None)
    return Taken(outcome=outcome, event_id=to_text("wh", event) if event else "")


def _arguments(intake: Intake) -> dict[str, Any]:
    provider, delivery, parsed = intake.provider, intake.delivery, intake.parsed
    key = key_of(intake)
    lane = provider.lane(parsed.payload, key)
    withhold, events = parsed.reason if parsed.payload is None else intake.withhold or None, []
    if withhold is None:
        try:
            events = events_of(intake)
        except BadPayload as error:
            withhold = str(error)
    choices = [choice.as_json() for choice in choices_of(events)]
    return {
        "owner": to_uuid(intake.endpoint.tenant_id),
        "tenant": to_uuid(intake.endpoint.tenant_id),
        "target": None,
        "integration": to_uuid(intake.endpoint.integration_id),
        "endpoint": to_uuid(intake.endpoint.id) if intake.endpoint.id else None,
        "provider": intake.endpoint.provider,
        "key": hashlib.sha256(key.encode()).digest(),
        "hash": hashlib.sha256(delivery.body).digest()[:16],
        "event": to_uuid(intake.event_id) if intake.event_id else new_uuid(),
        "kind": provider.event_type(parsed.payload)[:80] or "unmapped",
        "lane": lane.text,
        "theirs": lane.theirs,
        "inbound": any(isinstance(event, MessageReceived) for event in events),
        "happened": _happened(events),
        "body": delivery.body,
        "payload": None if parsed.storable is None else Jsonb(parsed.storable),
        "headers": Jsonb(kept_headers(delivery.headers)),
        "token": intake.attempt_token_hash,
        "signed": intake.signature_state,
        "parse": parsed.state,
        "correlation": correlation_id(),
        "withhold": withhold,
        "choices": json.dumps(choices) if choices else None,
    }


def _happened(events: list[Event]) -> datetime | None:
    return events[0].occurred_at if events else None
