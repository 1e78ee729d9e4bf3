"""Doing an event again: what it would write, and doing it.

A replay is a new piece of work for the same event. Effects are unique by what they are about, so a
replay of something that was done adds nothing; one whose handler has changed adds the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from django.db import connection, transaction

from integrations.actions_work import NAMED
from integrations.diffs import Change, read_changes
from integrations.models import WorkEvent
from integrations.processing import handle
from integrations.work import Source, Work, WorkSettled, read_work
from leads.actions import lock_consents, owner, sql_id
from tenants.actions import note
from tenants.context import broken
from tenants.dispatch import emit

#: Events of one dry run, which is one transaction.
MAX_DRY_RUN = 200


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What one event would do: every row written, in order, or the error it would meet."""

    seq: int
    event_id: str
    event_type: str
    outcome: str
    error: str = ""
    changes: list[Change] = field(default_factory=list)


@transaction.atomic
def replay_work(seqs: Sequence[int], *, actor_id: str | None, reason: str = "") -> int:
    """Have finished events done again; return how many.

    *seqs* are their newest runs. What is not finished is left alone: retry or release it. Of two
    people at once, one replays.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq FROM webhook_work WHERE tenant_id = %s AND seq = ANY(%s)"
            " AND state IN ('done', 'discarded') ORDER BY seq FOR UPDATE",
            [owner(), list(seqs)],
        )
        finished = [seq for (seq,) in cursor.fetchall()]
        cursor.execute(
            "WITH new AS ("
            "  INSERT INTO webhook_work (tenant_id, event, received_at, lane, their_number,"
            "                            is_inbound, run_no)"
            "  SELECT w.tenant_id, w.event, w.received_at, w.lane, w.their_number, w.is_inbound,"
            "         w.run_no + 1"
            "  FROM webhook_work AS w WHERE w.tenant_id = %(owner)s AND w.seq = ANY(%(seqs)s)"
            "  ORDER BY w.event"
            "  ON CONFLICT ON CONSTRAINT ux_webhook_work_run DO NOTHING"
            "  RETURNING seq, event, run_no)"
            " SELECT new.seq, old.seq, new.run_no FROM new JOIN webhook_work AS old"
            "  ON old.tenant_id = %(owner)s AND old.event = new.event"
            "  AND old.run_no = new.run_no - 1"
            " ORDER BY new.seq",
            {"owner": owner(), "seqs": finished},
        )
        pairs = cursor.fetchall()
    WorkEvent.objects.bulk_create(
        WorkEvent(work=work, what="replay", reason=words, actor_id=actor_id)
        for new, old, run_no in pairs
        for work, words in (
            (old, f"run {run_no} is work {new}" + (f": {reason}" if reason else "")),
            (new, f"run {run_no} of work {old}" + (f": {reason}" if reason else "")),
        )
    )
    if pairs:
        after = {"count": len(pairs), "work": [new for new, *_ in pairs[:NAMED]]}
        note("work.replay", actor_id=actor_id, after=after, reason=reason)
        emit(WorkSettled(count=len(pairs)))
    return len(pairs)


def dry_run(seqs: Sequence[int]) -> list[Rehearsal]:
    """Let events do all they would do, keep what that writes, and take all of it back.

    The events run one after the other, in their order, each on what those before it left, so the
    whole says what replaying them all would do. Whoever is texted or called meanwhile waits: the
    rows are locked as they would be.

    Args:
        seqs: at most ``MAX_DRY_RUN`` pieces of work, of any state.
    """
    work = read_work(list(seqs)[:MAX_DRY_RUN])
    rehearsals: list[Rehearsal] = []
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('app.dry_run', 'on', true)")
        lock_consents([item.their_number for item in work if item.their_number])
        read_changes()  # the consents that were only made to be locked
        for item in work:
            rehearsals.append(_rehearse(replace(item, source=_next_run(item))))
        transaction.set_rollback(True)
    return rehearsals


def _next_run(item: Work) -> Source:
    return replace(item.source, run_no=item.source.run_no + 1, notes=[])


def _rehearse(item: Work) -> Rehearsal:
    error, changes = "", []
    try:
        with transaction.atomic():
            handle(item)
            if broken():
                raise RuntimeError("a handler swallowed a database error")
            with connection.cursor() as cursor:  # what would be checked at the commit
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        changes = read_changes()
    except Exception as problem:  # whatever a handler raises is shown
        error = f"{type(problem).__name__}: {problem}"[:2000]
    return Rehearsal(
        seq=item.seq,
        event_id=item.source.event_id,
        event_type=item.event_type,
        outcome=item.source.outcome,
        error=error,
        changes=changes,
    )


def newest_runs(event_ids: Sequence[str]) -> list[int]:
    """Return the number of the newest work of each event, in the order of the events."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT ON (event) seq FROM webhook_work"
            " WHERE tenant_id = %s AND event = ANY(%s::uuid[]) ORDER BY event, run_no DESC",
            [owner(), [sql_id(event) for event in event_ids]],
        )
        return [seq for (seq,) in cursor.fetchall()]
