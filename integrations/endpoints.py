"""Which endpoint a token belongs to, remembered for a moment so that a burst asks once."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import Error, connection

from integrations.models import hash_token
from tenants.fields import Secret, decrypt
from tenants.ulids import to_text

#: Seconds an answer is trusted. A retired URL or a rotated secret works that much longer.
FRESH_S = 1.0
#: Seconds a stale answer may still serve while the database cannot be asked.
STALE_S = 3600.0
#: Tokens remembered per process; more make room by starting over.
MOST = 10_000


class EndpointsUnknown(Exception):
    """The database could not be asked, and nothing usable is remembered."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """What intake must know of a URL before it trusts anything in the request."""

    id: str  # wep_…
    tenant_id: str
    integration_id: str
    provider: str
    signed: bool
    our_number: str
    retired: bool
    secret: Secret
    previous_secret: Secret
    previous_valid_until: datetime | None
    config: Mapping[str, Any] = field(default_factory=dict)  # as a provider is given it

    def secrets(self, now: datetime) -> list[str]:
        """Return the secrets that count at *now*, the newest first."""
        found = [self.secret] if self.secret else []
        if self.previous_secret and (
            self.previous_valid_until is None or self.previous_valid_until > now
        ):
            found.append(self.previous_secret)
        return list(found)


@dataclass
class _Memory:
    entries: dict[str, tuple[float, Endpoint | None]] = field(default_factory=dict)


_memory = _Memory()


def forget() -> None:
    """Drop what is remembered, for tests and after a change in this process."""
    _memory.entries.clear()


def find_endpoint(token: str, *, fresh: bool = False, is_away: bool = False) -> Endpoint | None:
    """Return the endpoint of a URL token, or None when there is none.

    Args:
        token: as it stands in the URL.
        fresh: ask the database whatever is remembered.
        is_away: rather remember than ask: the database was away a moment ago, and may hang.

    Raises:
        EndpointsUnknown: neither the database nor memory can tell.
    """
    digest = hash_token(token)
    known = _memory.entries.get(digest)
    age = time.monotonic() - known[0] if known else STALE_S
    if known and not fresh and age < (STALE_S if is_away and known[1] else FRESH_S):
        return known[1]
    try:
        endpoint = _ask(digest)
    except Error as error:
        if known and known[1] is not None and age < STALE_S:
            return known[1]
        raise EndpointsUnknown from error
    if endpoint is not None:  # what does not exist is not remembered: guesses must not fill memory
        if len(_memory.entries) >= MOST:
            forget()
        _memory.entries[digest] = (time.monotonic(), endpoint)
    else:
        _memory.entries.pop(digest, None)
    return endpoint


def _ask(digest: str) -> Endpoint | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM endpoint_by_token(%s)", [digest])
        row = cursor.fetchone()
    if row is None:
        return None
    until = row[10]
    return Endpoint(
        id=to_text("wep", row[1]),
        tenant_id=to_text("tenant", row[0]),
        integration_id=to_text("intg", row[2]),
        provider=row[3],
        signed=row[4],
        our_number=row[5],
        retired=row[6],
        secret=_secret(row[8]),
        previous_secret=_secret(row[9]),
        previous_valid_until=until.astimezone(UTC) if until else None,
        config=config_of(row[11], row[12]),
    )


def config_of(settings: Any, mappings: Any) -> dict[str, Any]:
    """Return what a provider is configured with, from two jsonb columns as they are read."""
    settings, mappings = (
        json.loads(value) if isinstance(value, str) else value for value in (settings, mappings)
    )
    return {**(settings if isinstance(settings, dict) else {}), "mappings": mappings or []}


def _secret(stored: str) -> Secret:
    return Secret(decrypt(stored) if stored else "")
