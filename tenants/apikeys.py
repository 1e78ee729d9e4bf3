"""Keys of programs: making, rotating and revoking them, and letting a call in."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction

from tenants.actions import note
from tenants.context import current_tenant_id, database_now, tenant_context
from tenants.fields import Secret
from tenants.models import Actor, ApiKey
from tenants.ulids import to_text, to_uuid

#: What a key may do → how people read it.
SCOPES = {
    "leads:read": "Read leads, contacts and labels",
    "leads:write": "Create and change leads",
    "imports:write": "Upload files and see what became of them",
}
START = "fl_"
#: Letters of a key that are kept, to tell keys apart.
HINT = 8
#: How long a rotated key may still be used.
OVERLAPS = {0: "At once", 24: "For a day", 24 * 7: "For a week"}
#: Calls a minute that a key may be given.
MOST_PER_MINUTE = 6000


class KeyRefused(Exception):
    """The key cannot be made or changed so; nothing was written."""


class KeyUnknown(Exception):
    """No key of ours, or one that ended."""


class TooManyCalls(Exception):
    """The key used up its calls of this minute."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"Wait {retry_after} seconds: this key used up its calls of the minute.")
        self.retry_after = retry_after


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A key with the only sight of its text."""

    key: ApiKey
    secret: Secret


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls: ``tenant_…``, ``key_…``, ``actor_…`` and what the key may do."""

    tenant_id: str
    key_id: str
    actor_id: str
    scopes: frozenset[str]
    per_minute: int
    left: int


def hash_key(text: str) -> str:
    """Return what is kept of a key: they are long and random, so a plain hash will do."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _new_text() -> Secret:
    return Secret(START + secrets.token_urlsafe(32))


@transaction.atomic
def make_key(
    *,
    name: str,
    scopes: Iterable[str],
    by_id: str | None,
    expires_at: datetime | None = None,
    per_minute: int = 600,
) -> Issued:
    """Make a key in the running tenant, and the actor its calls act as.

    Args:
        name: what it is for; unique in the tenant, revoked keys included.
        scopes: of ``SCOPES``, at least one.
        by_id: ``actor_…`` of who makes it.
        expires_at: when it ends by itself; None: never.
        per_minute: calls it may make a minute.

    Raises:
        KeyRefused: no name, a name that is taken, no or an unknown scope, an end in the past.
    """
    name, wanted = name.strip()[:80], sorted(set(scopes))
    if not name:
        raise KeyRefused("Say what the key is for.")
    if not wanted or not set(wanted) <= set(SCOPES):
        raise KeyRefused("Choose what the key may do.")
    if expires_at is not None and expires_at <= database_now():
        raise KeyRefused("The key would have ended already.")
    if not 1 <= per_minute <= MOST_PER_MINUTE:
        raise KeyRefused(f"Allow between 1 and {MOST_PER_MINUTE:,} calls a minute.")
    acts_as = f"API: {name}"
    if ApiKey.objects.filter(name=name).exists() or Actor.objects.filter(name=acts_as).exists():
        raise KeyRefused("There is a key of this name; revoked ones keep theirs.")
    text = _new_text()
    actor = Actor.objects.create(kind="automation", name=acts_as, role="agent")
    key = ApiKey.objects.create(
        name=name,
        hint=text[:HINT],
        key_hash=hash_key(text),
        scopes=wanted,
        actor=actor,
        expires_at=expires_at,
        per_minute=per_minute,
    )
    after = {"name": name, "scopes": wanted, "hint": key.hint}
    note("apikey.made", actor_id=by_id, subject=key, after=after)
    return Issued(key=key, secret=text)


@transaction.atomic
def rotate_key(key_id: str, *, overlap_hours: int, by_id: str | None) -> Issued:
    """Give a key a new text; the old one still works for *overlap_hours*.

    A text that an earlier rotation left working ends now.

    Raises:
        KeyRefused: the key is revoked or has ended, or the overlap is none that is offered.
        ApiKey.DoesNotExist: no such key in this tenant.
    """
    if overlap_hours not in OVERLAPS:
        raise KeyRefused("Choose how long the old key may still be used.")
    key = ApiKey.objects.select_for_update(no_key=True).get(pk=key_id)
    now = database_now()
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        raise KeyRefused("This key has ended: make a new one.")
    text = _new_text()
    if overlap_hours:
        key.previous_hash, key.previous_until = (
            key.key_hash,
            now + timedelta(hours=overlap_hours),
        )
    else:
        key.previous_hash, key.previous_until = "", None
    before, key.key_hash, key.hint = {"hint": key.hint}, hash_key(text), text[:HINT]
    key.save(update_fields=["key_hash", "hint", "previous_hash", "previous_until"])
    after = {"hint": key.hint, "overlap_hours": overlap_hours}
    note("apikey.rotated", actor_id=by_id, subject=key, before=before, after=after)
    return Issued(key=key, secret=text)


@transaction.atomic
def revoke_key(key_id: str, *, reason: str, by_id: str | None) -> ApiKey:
    """End a key now, with the one a rotation left working; ending it again changes nothing.

    Raises:
        ApiKey.DoesNotExist: no such key in this tenant.
    """
    key = ApiKey.objects.select_for_update(no_key=True).get(pk=key_id)
    if key.revoked_at is None:
        key.revoked_at = database_now()
        key.previous_hash, key.previous_until = "", None
        key.save(update_fields=["revoked_at", "previous_hash", "previous_until"])
        Actor.objects.filter(pk=key.actor_id).update(is_active=False)
        note("apikey.revoked", actor_id=by_id, subject=key, reason=reason.strip())
    return key


def admit(text: str) -> Caller:
    """Let a call in by its key and count it, in a transaction of its own.

    Calls are counted per minute of the database's clock, over all processes.

    Raises:
        KeyUnknown: no key of ours, a revoked one, or one that ended.
        TooManyCalls: the minute's calls are used up; it counts as none.
    """
    digest = hash_key(text)
    with connection.cursor() as cursor:
        cursor.execute("SELECT tenant_id, key_id FROM api_key_by_hash(%s)", [digest])
        found = cursor.fetchone()
    if found is None:
        raise KeyUnknown
    tenant_id, key_id = to_text("tenant", found[0]), to_text("key", found[1])
    with tenant_context(tenant_id):
        key = ApiKey.objects.select_related("actor").get(pk=key_id)
        if not _opens(key, digest, database_now()):
            raise KeyUnknown
        calls = _count(key)
        return Caller(
            tenant_id=tenant_id,
            key_id=key_id,
            actor_id=key.actor_id,
            scopes=frozenset(key.scopes),
            per_minute=key.per_minute,
            left=key.per_minute - calls,
        )


def _opens(key: ApiKey, digest: str, now: datetime) -> bool:
    current = hmac.compare_digest(key.key_hash, digest)
    previous = hmac.compare_digest(key.previous_hash, digest)
    if previous and not current and (key.previous_until is None or key.previous_until <= now):
        return False
    if not (current or previous) or key.revoked_at is not None or not key.actor.is_active:
        return False
    return key.expires_at is None or key.expires_at > now


_COUNT = """
UPDATE api_keys
SET minute_calls = CASE WHEN minute_at = date_trunc('minute', clock_timestamp())
                        THEN minute_calls + 1 ELSE 1 END,
    minute_at = date_trunc('minute', clock_timestamp()),
    last_used_at = CASE WHEN last_used_at > clock_timestamp() - interval '1 minute'
                        THEN last_used_at ELSE clock_timestamp() END
WHERE tenant_id = %s AND id = %s
  AND (minute_at IS DISTINCT FROM date_trunc('minute', clock_timestamp())
       OR minute_calls < per_minute)
RETURNING minute_calls
"""


def _count(key: ApiKey) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [to_uuid(current_tenant_id() or ""), to_uuid(key.pk)])
        counted = cursor.fetchone()
        if counted is not None:
            return int(counted[0])
        cursor.execute("SELECT 60 - floor(extract(second FROM clock_timestamp()))::int")
        raise TooManyCalls(int(cursor.fetchone()[0]))
