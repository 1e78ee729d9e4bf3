"""What operators do to work that failed or is withheld; each leaves a work event per row.

A row keeps its number, so what is retried or released comes first in its lane again: order is
kept. Finished work is not touched here: see ``actions_replay``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now

from integrations.failures import close_letters, mark_retried
from integrations.models import QuarantineRule, WorkEvent
from integrations.rules import quarantine_rows
from integrations.work import WorkSettled
from leads.actions import owner
from tenants.actions import note
from tenants.dispatch import emit
from tenants.models import Actor

#: How many numbers of work an audit entry names.
NAMED = 50


class WorkRefused(Exception):
    """The action makes no sense as asked; nothing was written."""


@transaction.atomic
def retry_work(seqs: Sequence[int], *, actor_id: str | None, reason: str = "") -> int:
    """Make dead work ready again, once each; return how many pieces were dead."""
    taken = _take(seqs, ["dead"])
    _make_ready(taken)
    mark_retried(taken, actor_id=actor_id)
    _settle("retry", taken, actor_id=actor_id, reason=reason)
    return len(taken)


@transaction.atomic
def discard_work(seqs: Sequence[int], *, actor_id: str | None, reason: str) -> int:
    """Give up dead or quarantined work for good; return how many pieces.

    Automated texts to its sender do not wait for it any more. A replay can still do it.

    Raises:
        WorkRefused: no reason was given.
    """
    reason = _need(reason)
    taken = _take(seqs, ["dead", "quarantined"])
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE webhook_work SET state = 'discarded' WHERE tenant_id = %s AND seq = ANY(%s)",
            [owner(), taken],
        )
    close_letters(taken, status="discarded", reason=reason, actor_id=actor_id)
    _settle("discard", taken, actor_id=actor_id, reason=reason)
    return len(taken)


@transaction.atomic
def quarantine_work(seqs: Sequence[int], *, actor_id: str | None, reason: str) -> int:
    """Withhold ready or dead work until somebody releases it; return how many pieces.

    Raises:
        WorkRefused: no reason was given.
    """
    reason = _need(reason)
    taken = _take(seqs, ["ready", "dead"])
    quarantine_rows(dict.fromkeys(taken, reason), actor_id=actor_id)
    close_letters(taken, status="discarded", reason=f"quarantined: {reason}", actor_id=actor_id)
    _audit("quarantine", taken, actor_id=actor_id, reason=reason)
    return len(taken)


@transaction.atomic
def release_work(seqs: Sequence[int], *, actor_id: str | None, reason: str) -> int:
    """Let quarantined work be done, in its old place; return how many pieces.

    No rule withholds it again. Strikes stay: it runs alone, and one more death withholds it.

    Raises:
        WorkRefused: no reason was given.
    """
    reason = _need(reason)
    taken = _take(seqs, ["quarantined"])
    _make_ready(taken)
    _settle("release", taken, actor_id=actor_id, reason=reason)
    return len(taken)


@transaction.atomic
def create_rule(rule: QuarantineRule, *, actor_id: str | None) -> QuarantineRule:
    """Withhold from now on what *rule* meets, and what is ready now as it is met.

    Raises:
        WorkRefused: it says nothing about what to withhold, or not why.
    """
    rule.reason = _need(rule.reason)
    if not (rule.source or rule.event_type or rule.sender or rule.contains):
        raise WorkRefused("Say what to withhold: a rule without a criterion would stop everything.")
    if set(rule.event_type + rule.sender + rule.contains) == {"*"} and not rule.source:
        raise WorkRefused("This rule would stop everything.")
    rule.actor = Actor(pk=actor_id) if actor_id else None
    rule.save(force_insert=True)
    note("quarantine_rule.made", actor_id=actor_id, subject=rule, reason=rule.reason)
    return rule


@transaction.atomic
def end_rule(rule_id: str, *, actor_id: str | None) -> bool:
    """End a rule; what it withheld stays withheld. Returns whether it was live."""
    ended = QuarantineRule.objects.filter(pk=rule_id, ended_at=None).update(
        ended_at=Now(), ended_by=actor_id
    )
    if ended:
        note("quarantine_rule.ended", actor_id=actor_id, subject=QuarantineRule(pk=rule_id))
    return bool(ended)


def _need(reason: str) -> str:
    reason = reason.strip()[:500]
    if not reason:
        raise WorkRefused("Say why; the reason is kept with every event.")
    return reason


def _take(seqs: Sequence[int], states: list[str]) -> list[int]:
    """Lock those of *seqs* that are in one of *states* and return them in order."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq FROM webhook_work WHERE tenant_id = %s AND seq = ANY(%s)"
            " AND state = ANY(%s) ORDER BY seq FOR UPDATE",
            [owner(), list(seqs), states],
        )
        return [seq for (seq,) in cursor.fetchall()]


def _make_ready(seqs: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE webhook_work SET state = 'ready', available_at = clock_timestamp()"
            " WHERE tenant_id = %s AND seq = ANY(%s)",
            [owner(), seqs],
        )


def _settle(what: str, seqs: list[int], *, actor_id: str | None, reason: str) -> None:
    WorkEvent.objects.bulk_create(
        WorkEvent(work=seq, what=what, reason=reason, actor_id=actor_id) for seq in seqs
    )
    _audit(what, seqs, actor_id=actor_id, reason=reason)


def _audit(what: str, seqs: list[int], *, actor_id: str | None, reason: str, **more: Any) -> None:
    if not seqs:
        return
    after = {"count": len(seqs), "work": seqs[:NAMED], **more}
    note(f"work.{what}", actor_id=actor_id, after=after, reason=reason)
    emit(WorkSettled(count=len(seqs)))
