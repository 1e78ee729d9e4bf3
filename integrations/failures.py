"""What becomes of work that fails: tried again soon, then a dead letter, tried again later."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from datetime import timedelta

import structlog
from django.db import connection
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from integrations.events import BadPayload
from integrations.models import WorkEvent
from leads.actions import owner
from pipelines.models import DeadLetter
from tenants.context import tenant_context
from tenants.correlation import correlated
from tenants.ulids import to_text

#: Tries before an event is a dead letter and its lane goes on.
MAX_ATTEMPTS = 5
#: Back-off after the nth failure: 2^n x 2 s, at most 10 minutes, x 0.5 to 1.5.
BACKOFF_S, MAX_BACKOFF_S = 2.0, 600.0
#: A dead letter is tried again by itself after 5 min x 2^n, x 0.75 to 1.25, at most six times.
LETTER_BACKOFF = timedelta(minutes=5)
MAX_RETRIES = 6
#: Due letters looked at in one step of a tenant.
BATCH = 50

#: What differs between two errors of one cause: ids, uuids, quoted values, long hex, numbers.
_PARTICULARS = re.compile(
    r"\b[a-z]{2,8}_[0-9A-HJKMNP-TV-Z]{26}\b"
    r"|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"
    r"|'[^']*'|\"[^\"]*\"|“[^”]*”|‘[^’]*’"  # noqa: RUF001
    r"|\b(?=[0-9a-f]*[0-9])[0-9a-f]{8,}\b"
    r"|[-+]?\d+(?:\.\d+)?"
)

logger = structlog.get_logger(__name__)


def fingerprint_of(error_class: str, message: str) -> str:
    """Return 16 hex digits that errors of one cause share, whatever row they happened to."""
    lines = message.strip().splitlines()
    cause = " ".join(_PARTICULARS.sub("#", lines[0] if lines else "").split()).lower()
    return hashlib.sha256(f"{error_class}\n{cause[:300]}".encode()).hexdigest()[:16]


def note_failure(
    seq: int, error: Exception, *, attempts: int, subject: str, correlation: str = ""
) -> bool:
    """Write down that work failed; return whether it is dead now.

    Args:
        seq: of the work, locked by the open transaction.
        error: what its handlers raised.
        attempts: how often it had failed before.
        subject: provider and event type, for people.
        correlation: ``corr_…`` of the event.
    """
    reason = f"{type(error).__name__}: {error}"[:2000]
    attempts += 1
    # Bytes that make no sense now will make none later.
    dead = attempts >= MAX_ATTEMPTS or isinstance(error, BadPayload)
    delay = min(BACKOFF_S * 2**attempts, MAX_BACKOFF_S) * random.uniform(0.5, 1.5)  # noqa: S311
    fingerprint = fingerprint_of(type(error).__name__, str(error))
    logger.warning("an event failed", work=seq, attempts=attempts, dead=dead, error=reason)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE webhook_work SET attempts = %s, last_error = %s, fingerprint = %s, state = %s,"
            " available_at = clock_timestamp() + make_interval(secs => %s)"
            " WHERE tenant_id = %s AND seq = %s",
            [attempts, reason, fingerprint, "dead" if dead else "ready", delay, owner(), seq],
        )
    WorkEvent.objects.create(
        work=seq, what="dead" if dead else "failed", reason=reason, correlation_id=correlation
    )
    if dead:
        _open_letter(
            DeadLetter(
                stage="webhook",
                ref=str(seq),
                subject=subject[:120],
                error_class=type(error).__name__[:80],
                error=reason,
                fingerprint=fingerprint,
                correlation_id=correlation,
            ),
            by_itself=not isinstance(error, BadPayload),
        )
    return dead


def _open_letter(letter: DeadLetter, *, by_itself: bool) -> None:
    """Open a letter, or lay the one back that was being retried, with the newest error."""
    known = (
        DeadLetter.objects.select_for_update(no_key=True, of=("self",))
        .filter(stage=letter.stage, ref=letter.ref, status__in=["open", "retrying"])
        .first()
    )
    retries = known.retries if known else 0
    after = _pause(retries) if by_itself and retries < MAX_RETRIES else None
    if known is None:
        letter.save(force_insert=True)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE dead_letters SET status = 'open', error_class = %s, error = %s,"
            " fingerprint = %s, updated_at = clock_timestamp(),"
            " retry_after = clock_timestamp() + make_interval(secs => %s)"
            " WHERE tenant_id = %s AND stage = %s AND ref = %s"
            "   AND status IN ('open', 'retrying')",
            [
                letter.error_class,
                letter.error,
                letter.fingerprint,
                None if after is None else after.total_seconds(),
                owner(),
                letter.stage,
                letter.ref,
            ],
        )


def _pause(retries: int) -> timedelta:
    return LETTER_BACKOFF * 2**retries * random.uniform(0.75, 1.25)  # noqa: S311


def close_letters(
    seqs: Sequence[int], *, status: str = "resolved", reason: str = "", actor_id: str | None = None
) -> None:
    """Close the letters of this work: it was done, or given up for good.

    The work's rows are locked by the open transaction.
    """
    letters_of(seqs).update(
        status=status,
        reason=reason,
        actor=actor_id,
        retry_after=None,
        closed_at=Now(),
        updated_at=Now(),
    )


def mark_retried(seqs: Sequence[int], *, actor_id: str | None = None) -> None:
    """Note on the letters of this work that it is being tried again."""
    letters_of(seqs).update(
        status="retrying",
        retries=F("retries") + 1,
        retry_after=None,
        actor=actor_id,
        updated_at=Now(),
    )


def letters_of(seqs: Sequence[int]) -> QuerySet[DeadLetter]:
    """Return the letters of this work that are not closed."""
    return DeadLetter.objects.filter(
        stage="webhook", ref__in=[str(seq) for seq in seqs], status__in=["open", "retrying"]
    )


def open_letters(most: int = 100) -> int:
    """Count the tenant's open letters, of all stages, up to *most*; an index alone answers."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM (SELECT stage FROM dead_letters WHERE tenant_id = %s"
            " AND status IN ('open', 'retrying') ORDER BY stage, fingerprint LIMIT %s) AS few",
            [owner(), most],
        )
        return int(cursor.fetchone()[0])


def retry_due() -> int:
    """Try dead letters again whose time has come; return how many.

    Their work is ready again under its old number, so it comes first in its lane; one more failure
    and it is dead again, and the lane goes on.
    """
    retried = 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_letters('webhook')")
        tenants = [to_text("tenant", row[0]) for row in cursor.fetchall()]
    for tenant_id in tenants:
        with tenant_context(tenant_id, durable=True), correlated():
            retried += _retry_due_here()
    return retried


def _retry_due_here() -> int:
    due = DeadLetter.objects.filter(stage="webhook", status="open", retry_after__lte=Now())
    refs = due.order_by("retry_after", "id").values_list("ref", "retries")[:BATCH]
    retries = {int(ref): count for ref, count in refs}
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE webhook_work AS w SET state = 'ready', available_at = clock_timestamp()"
            " FROM (SELECT seq FROM webhook_work"
            "       WHERE tenant_id = %(owner)s AND seq = ANY(%(seqs)s) AND state = 'dead'"
            "       ORDER BY seq FOR UPDATE SKIP LOCKED) AS due"
            " WHERE w.tenant_id = %(owner)s AND w.seq = due.seq"
            " RETURNING w.seq",
            {"owner": owner(), "seqs": list(retries)},
        )
        seqs = [seq for (seq,) in cursor.fetchall()]
    mark_retried(seqs)
    WorkEvent.objects.bulk_create(
        WorkEvent(work=seq, what="retry", reason=f"by itself, {retries[seq] + 1} of {MAX_RETRIES}")
        for seq in seqs
    )
    return len(seqs)
