"""The unassigned queue: events of shared senders whose account no tenant, or several, claim.

They wait, withheld, in the platform tenant. Everything here is called inside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from integrations.providers import providers
from leads.actions import owner
from tenants.ulids import to_text

#: Most waiting events that are looked at.
MOST = 10_000
PART = 2000


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """One event that waits for somebody to say whose it is; ``account`` may be "", for none."""

    seq: int
    event_id: str
    received_at: datetime
    source: str
    account: str
    reason: str


@dataclass(kw_only=True)
class Account:
    """What waits of one account of one sender."""

    source: str
    account: str
    count: int
    oldest: datetime
    newest_seq: int
    reason: str
    event_id: str  # the newest: an example


def shared_providers() -> list[str]:
    """Return the names of the senders with one URL for all tenants."""
    return [name for name in providers if providers[name].is_shared]


def read_waiting(*, source: str = "", account: str | None = None) -> Iterator[Waiting]:
    """Yield what waits, oldest first; of one sender and account where they are given."""
    after = 0
    for _ in range(MOST // PART):
        part = _part(after, [source] if source else shared_providers())
        for waiting in part:
            if account is None or waiting.account == account:
                yield waiting
        if len(part) < PART:
            return
        after = part[-1].seq


def waiting_accounts() -> list[Account]:
    """Return what waits by account, the largest first."""
    found: dict[tuple[str, str], Account] = {}
    for waiting in read_waiting():
        key = (waiting.source, waiting.account)
        if key not in found:
            found[key] = Account(
                source=waiting.source,
                account=waiting.account,
                count=0,
                oldest=waiting.received_at,
                newest_seq=0,
                reason=waiting.reason,
                event_id="",
            )
        group = found[key]
        group.count += 1
        group.newest_seq, group.event_id = waiting.seq, waiting.event_id
    return sorted(found.values(), key=lambda group: (-group.count, group.oldest))


def account_of(source: str, payload: Any) -> str:
    """Return the account an event names, "" for none."""
    return providers[source]().route(payload) or ""


def _part(after: int, sources: list[str]) -> list[Waiting]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT w.seq, e.id, e.received_at, e.source, e.payload::text, w.last_error"
            " FROM webhook_work AS w JOIN webhook_events AS e"
            "  ON e.tenant_id = w.tenant_id AND e.id = w.event AND e.received_at = w.received_at"
            " WHERE w.tenant_id = %s AND w.state = 'quarantined' AND w.seq > %s"
            "   AND e.source = ANY(%s)"
            " ORDER BY w.seq LIMIT %s",
            [owner(), after, sources, PART],
        )
        rows = cursor.fetchall()
    return [
        Waiting(
            seq=seq,
            event_id=to_text("wh", event),
            received_at=received_at,
            source=source,
            account=account_of(source, json.loads(text) if text else None),
            reason=reason,
        )
        for seq, event, received_at, source, text, reason in rows
    ]
