"""When the database is away: keep verified deliveries on this host, and tell their senders so.

A delivery is stored within the time its source waits, or else appended to a file that is on the
disk before the answer goes out. While anything waits there, what comes to this host queues up
behind it, so that no delivery overtakes another of its lane. Before a host says "accepted" it
waits until no sender can still believe that its spool is empty (``spool_lease``): an opt-out that
only lies in a file stops texts all the same.
"""

from __future__ import annotations

import base64
import fcntl
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import connection
from django.utils import timezone

from integrations.endpoints import Endpoint
from integrations.intake import DatabaseAway, Intake, Taken, kept_headers, key_of, take
from integrations.providers import Delivery, providers
from integrations.spool_files import SpoolBusy, SpoolFiles, SpoolFull, try_lock
from integrations.spool_lease import Lease, now_s
from tenants.correlation import correlation_id
from tenants.fields import Secret, decrypt, encrypt
from tenants.ulids import new_id

#: Signature state of a delivery that only the token of a send attempt vouches for, as long as the
#: database cannot be asked whether that attempt is ours.
UNPROVEN = "unproven"
#: File that says the database knows this directory: senders then wait for it.
REGISTERED = "registered"
#: Seconds a process waits for the directory's lock where nothing depends on it.
LOCK_S = 0.5

logger = structlog.get_logger(__name__)


class NotASpooledDelivery(ValueError):
    """The record is whole, but holds no delivery that this release can read."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A delivery out of the spool."""

    intake: Intake
    secret_no: int
    correlation: str
    spooled_at: datetime  # by the host's clock


class Spool:
    """This host's spool, shared by its web processes."""

    def __init__(self, folder: Path, *, limit: int) -> None:
        self.files = SpoolFiles(folder, limit=limit)
        self.lease = Lease(self.files)
        self._membership: int | None = None

    def join(self) -> None:
        """Count as a process that may add to the spool, until this one ends, however it ends."""
        if self._membership is None:
            self._membership = self.files.open("users")
            fcntl.flock(self._membership, fcntl.LOCK_SH)

    def is_behind(self) -> bool:
        """Tell whether deliveries wait here, so that a new one must not pass them."""
        return not self.files.is_empty()

    def expect_outage(self, seconds: float) -> None:
        """Let the lease run out while a delivery still waits for the database."""
        with suppress(SpoolBusy, OSError), self.files.locked(LOCK_S):
            self.lease.quieten(seconds)

    def keep(self, intake: Intake, *, secret_no: int, only_behind: bool = False) -> bool:
        """Append a delivery; return once it may be acknowledged.

        Args:
            intake: with its event id and key already chosen.
            secret_no: see ``note_use``.
            only_behind: not when the spool is empty by now: return False then.

        Raises:
            SpoolFull, SpoolBusy, OSError: it is not kept.
        """
        record = encrypt(json.dumps(_as_json(intake, secret_no))).encode()
        with self.files.locked(intake.provider.hold_s):
            if only_behind and self.files.is_empty():
                return False
            if not self.files.has(REGISTERED):
                raise SpoolFull("the database does not know this spool yet: no sender would wait")
            self.files.append(record)
            ends = self.lease.ends()
        time.sleep(max(0.0, ends - now_s()))
        return True

    def end(self, mark: Callable[[], None]) -> bool:
        """Leave in order: call *mark* when nothing waits and no process can add anything.

        Returns:
            False when something waits, or others still use the directory.
        """
        users = self.files.open("users")
        with self.files.locked(LOCK_S):
            if self.is_behind() or not try_lock(users):
                return False
            self.files.remove(REGISTERED)
        mark()
        return True


_open: list[Spool] = []


def open_spool(*, joins: bool = True) -> Spool | None:
    """Open this host's spool for this process; None where it is switched off or has no disk.

    Args:
        joins: False to look at it only, as a process that adds nothing.
    """
    if not settings.SPOOL:
        return None
    folder = Path(settings.DATA_DIR) / "spool" / str(connection.settings_dict["NAME"])
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        spool = Spool(folder, limit=settings.SPOOL_MB * 1024 * 1024)
        if joins:
            spool.join()
            _open[:] = [spool]
    except OSError as error:
        logger.error("no spool: deliveries are refused while the database is away", why=str(error))
        return None
    return spool


def close_spool() -> None:
    """Go on without a spool, as before ``open_spool``."""
    _open.clear()


def is_behind() -> bool:
    """Tell whether deliveries wait on this host, most likely because the database is away."""
    return bool(_open) and _open[0].is_behind()


def is_open() -> bool:
    """Tell whether this process may keep deliveries while the database is away."""
    return bool(_open)


def deliver(intake: Intake, *, secret_no: int = 0) -> Taken:
    """Store a delivery in the database, or else keep it in the spool: outcome ``spooled``.

    Raises:
        DatabaseAway: neither worked within the time its source waits.
    """
    if not _open:
        if intake.signature_state == UNPROVEN:
            raise DatabaseAway("nothing vouches for it yet, and it cannot be kept")
        return take(intake)
    spool = _open[0]
    intake = replace(intake, event_id=new_id("wh"), key=key_of(intake))
    spooled = Taken(outcome="spooled", event_id=intake.event_id)
    try:
        if intake.signature_state == UNPROVEN:
            spool.keep(intake, secret_no=secret_no)
            return spooled
        if spool.is_behind() and spool.keep(intake, secret_no=secret_no, only_behind=True):
            return spooled
        hold_s = intake.provider.hold_s
        try:
            return take(intake, when_away=lambda: spool.expect_outage(hold_s + LOCK_S))
        except DatabaseAway:
            spool.keep(intake, secret_no=secret_no)
            return spooled
    except (SpoolFull, SpoolBusy, OSError) as error:
        logger.error("a delivery could not be kept; its sender must repeat it", why=str(error))
        raise DatabaseAway(str(error)) from error


# --- a delivery as a record -------------------------------------------------------------------


def _as_json(intake: Intake, secret_no: int) -> dict[str, Any]:
    """Return all that is needed to store it later: no URL, no secret, no kept-back header."""
    endpoint, delivery = intake.endpoint, intake.delivery
    return {
        "version": 1,
        "event": intake.event_id,
        "key": intake.key,
        "at": timezone.now().isoformat(),
        "correlation": correlation_id(),
        "endpoint": endpoint.id,
        "tenant": endpoint.tenant_id,
        "integration": endpoint.integration_id,
        "provider": endpoint.provider,
        "signed": endpoint.signed,
        "our_number": endpoint.our_number,
        "config": dict(endpoint.config),
        "state": str(intake.signature_state),
        "attempt": intake.attempt_token_hash,
        "secret_no": secret_no,
        "content_type": delivery.content_type,
        "headers": kept_headers(delivery.headers),
        "body": base64.b64encode(delivery.body).decode(),
    }


def waiting(payload: bytes) -> Waiting:
    """Return the delivery in a record.

    Raises:
        NotASpooledDelivery: there is none.
        ImproperlyConfigured: its key is missing from ``FAIRLEAD_ENCRYPTION_KEYS``.
    """
    text = decrypt(payload.decode("ascii", "replace"))
    try:
        stored = json.loads(text)
        if stored["version"] != 1:
            raise NotASpooledDelivery(f"version {stored['version']} of a record")
        return Waiting(
            intake=_intake(stored),
            secret_no=int(stored["secret_no"]),
            correlation=stored["correlation"],
            spooled_at=datetime.fromisoformat(stored["at"]).astimezone(UTC),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NotASpooledDelivery(f"{type(error).__name__}: {error}") from error


def _intake(stored: dict[str, Any]) -> Intake:
    delivery = Delivery(
        body=base64.b64decode(stored["body"]),
        headers=stored["headers"],
        content_type=stored["content_type"],
    )
    provider = providers[stored["provider"]](stored["config"])
    return Intake(
        endpoint=Endpoint(
            id=stored["endpoint"],
            tenant_id=stored["tenant"],
            integration_id=stored["integration"],
            provider=stored["provider"],
            signed=stored["signed"],
            our_number=stored["our_number"],
            retired=False,
            secret=Secret(),
            previous_secret=Secret(),
            previous_valid_until=None,
            config=stored["config"],
        ),
        provider=provider,
        delivery=delivery,
        parsed=provider.read(delivery.body, delivery.content_type),
        signature_state=stored["state"],
        attempt_token_hash=stored["attempt"],
        event_id=stored["event"],
        key=stored["key"],
    )
