"""Everything that is recorded for one address, with its proofs, as a page and as a file.

The file is JSON lines. Each line is hashed together with the hash of the line before it and with
that of the last line about the same consent, so nothing can be changed, taken out or put in
without every later hash changing. ``docs/verify_dossier.py`` checks a file without us.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from django.utils import timezone

from leads.actions import consent_address, owner
from leads.models import Consent, ConsentEvent
from messaging.models import ConsentAck, ConsentEffect, OutboundMessage
from tenants.ulids import to_text, to_uuid

#: The hash before the first line, and before the first about a consent.
NOTHING = "0" * 64
#: Events and blocked texts on a page; the file has all.
SHOWN = 100
README = (
    "One JSON object per line. hash = SHA-256 of: the hash of the line before (64 zeros at first),"
    " the hash of the last line with the same consent (64 zeros at first), and the line's own bytes"
    " from after its hash on. verify_dossier.py checks it. Times are UTC. evidence.body_base64 is"
    " the request as it was received, byte for byte; evidence.sha256 is its hash."
)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The webhook that brought a choice, as it was received."""

    id: str
    provider: str
    event_type: str
    signature: str
    received_at: datetime
    body: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    @property
    def text(self) -> str:
        """The body as it can be read."""
        return self.body.decode("utf-8", "replace")

    @property
    def is_erased(self) -> bool:
        return not self.body

    def as_json(self) -> dict[str, Any]:
        """Return it for the file."""
        return {
            "webhook_event": self.id,
            "provider": self.provider,
            "event_type": self.event_type,
            "signature": self.signature,
            "received_at": self.received_at,
            "body_base64": base64.b64encode(self.body).decode(),
            "sha256": self.sha256,
        }


@dataclass(kw_only=True)
class Entry:
    """One choice with all that belongs to it."""

    event: ConsentEvent
    evidence: Evidence | None = None
    effects: list[ConsentEffect] = field(default_factory=list)
    acks: list[ConsentAck] = field(default_factory=list)

    @property
    def block_ms(self) -> float | None:
        """Milliseconds from the receipt of an opt-out or hold until it was recorded."""
        event = self.event
        if event.received_at is None or event.kind not in ("opt_out", "hold"):
            return None
        return max((event.at - event.received_at).total_seconds() * 1000, 0.0)

    def as_json(self) -> dict[str, Any]:
        """Return it for the file."""
        event = self.event
        return {
            "kind": "event",
            "consent": event.consent_id,
            "id": event.pk,
            "rev": event.rev,
            "choice": event.kind,
            "state": event.state,
            "source": event.source,
            "keyword": event.keyword,
            "rule_version": event.rule_version,
            "reason": event.reason,
            "by": str(event.actor) if event.actor else None,
            "position": event.position,
            "received_at": event.received_at,
            "recorded_at": event.at,
            "time_to_block_ms": self.block_ms,
            "correlation_id": event.correlation_id,
            "evidence": self.evidence.as_json() if self.evidence else None,
            "stopped": [
                {"kind": effect.kind, "id": effect.subject, "at": effect.at}
                for effect in self.effects
            ],
            "acknowledgements": [
                {
                    "system": ack.integration.name,
                    "state": ack.state,
                    "due_at": ack.due_at,
                    "acknowledged_at": ack.acked_at,
                    "attempts": ack.attempts,
                }
                for ack in self.acks
            ],
        }


@dataclass(frozen=True, kw_only=True)
class Dossier:
    """What is recorded for one address; ``known_as`` is its hash once it was erased."""

    address: str
    known_as: str
    consents: list[Consent]
    entries: list[Entry]  # oldest first within a consent
    blocked: list[OutboundMessage]

    @property
    def is_erased(self) -> bool:
        return self.known_as.startswith("erased:")


def dossier_of(address: str, *, most: int | None = None) -> Dossier:
    """Read the dossier of an address in a fixed number of queries.

    *most*: newest events and blocked texts at most; None: all of them.
    """
    known_as = consent_address(address)
    consents = list(Consent.objects.filter(address__in={address, known_as}).order_by("id"))
    events = ConsentEvent.objects.filter(consent__in=consents).select_related("actor", "consent")
    newest = list(events.order_by("-at", "-rev")[:most])
    entries = {
        event.pk: Entry(event=event)
        for event in sorted(newest, key=lambda event: (event.consent_id, event.rev))
    }
    _add_evidence(entries.values())
    for effect in ConsentEffect.objects.filter(consent_event__in=list(entries)).order_by("id"):
        entries[effect.consent_event_id].effects.append(effect)
    acks = ConsentAck.objects.filter(consent_event__in=list(entries)).select_related("integration")
    for ack in acks.order_by("integration__name", "id"):
        entries[ack.consent_event_id].acks.append(ack)
    blocked = OutboundMessage.objects.filter(
        to_address__in={address, known_as}, state="suppressed"
    ).order_by("-id")
    return Dossier(
        address=address,
        known_as=known_as,
        consents=consents,
        entries=list(entries.values()),
        blocked=list(blocked[:most]),
    )


def _add_evidence(entries: Iterable[Entry]) -> None:
    wanted = {entry.event.webhook_event for entry in entries} - {None}
    if not wanted:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, source, event_type, signature_state, received_at, body"
            " FROM webhook_events WHERE tenant_id = %s AND id = ANY(%s)",
            [owner(), [to_uuid(event_id) for event_id in wanted]],
        )
        found = {
            to_text("wh", row[0]): Evidence(
                id=to_text("wh", row[0]),
                provider=row[1],
                event_type=row[2],
                signature=row[3],
                received_at=row[4],
                body=bytes(row[5]),
            )
            for row in cursor.fetchall()
        }
    for entry in entries:
        entry.evidence = found.get(entry.event.webhook_event or "")


def file_lines(dossier: Dossier, *, tenant: str, by: str) -> tuple[list[bytes], str]:
    """Return the lines of the file, each with its newline, and its head."""
    head, lines = NOTHING, []
    chains: dict[str | None, str] = {}
    records = list(_records(dossier, tenant=tenant, by=by))
    records.append({"kind": "end", "records": len(records) + 1})
    for record in records:
        words = json.dumps(record, cls=DjangoJSONEncoder, ensure_ascii=True, separators=(",", ":"))
        rest = f',"record":{words}}}'.encode()
        consent = record.get("consent")
        before = chains.get(consent, NOTHING)
        head = chains[consent] = hashlib.sha256(f"{head}{before}".encode() + rest).hexdigest()
        lines.append(b'{"hash":"%s"%s\n' % (head.encode(), rest))
    return lines, head


def _records(dossier: Dossier, *, tenant: str, by: str) -> Iterator[dict[str, Any]]:
    yield {
        "kind": "dossier",
        "readme": README,
        "tenant": tenant,
        "address": dossier.known_as,
        "exported_at": timezone.now(),
        "exported_by": by,
    }
    for consent in dossier.consents:
        yield {
            "kind": "consent",
            "consent": consent.pk,
            "channel": consent.channel,
            "scope": consent.scope,
            "state": consent.state,
            "rev": consent.rev,
            "expires_at": consent.expires_at,
            "made_at": consent.created_at,
        }
        for entry in dossier.entries:
            if entry.event.consent_id == consent.pk:
                yield entry.as_json()
    for text in dossier.blocked:
        yield {
            "kind": "blocked",
            "id": text.pk,
            "purpose": text.purpose,
            "automated": text.is_automated,
            "queued_at": text.created_at,
            "stopped_at": text.updated_at,
            "why": text.error,
        }


def head_of(data: bytes) -> str | None:
    """Return the head of a dossier file, None where it does not hold together."""
    head, record = NOTHING, {}
    chains: dict[str | None, str] = {}
    *lines, rest = data.split(b"\n")
    for line in lines:
        try:
            record = json.loads(line)["record"]
            consent = record.get("consent")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        before = chains.get(consent, NOTHING)
        wanted = hashlib.sha256(f"{head}{before}".encode() + line[74:]).hexdigest()
        if line[:74] != b'{"hash":"%s"' % wanted.encode():
            return None
        head = chains[consent] = wanted
    is_whole = not rest and record.get("kind") == "end" and record.get("records") == len(lines)
    return head if is_whole else None
