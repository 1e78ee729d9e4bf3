"""Suppression lists: checked first, applied and undone in steps, never deleted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, BinaryIO

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.utils import timezone

from leads.actions import owner, sql_id
from messaging.models import SuppressionList
from messaging.suppression_files import Row, read_addresses
from pipelines.actions import begin_run, end_run
from pipelines.models import PipelineRun
from tenants.actions import note
from tenants.context import tenant_context
from tenants.correlation import correlation_id

#: Addresses per step: a second or two, so that nobody waits long for a lock of one of them.
CHUNK = 5000
PIPELINE = "suppression list"


class ListRefused(Exception):
    """The list is not in a state for this; nothing was written."""


@transaction.atomic
def check_file(
    stream: BinaryIO,
    *,
    name: str,
    source: str,
    reason: str,
    channel: str = "sms",
    expires_at: datetime | None = None,
    file_name: str = "",
    actor_id: str | None = None,
) -> SuppressionList:
    """Read a file into a list that is checked and not applied: nobody is blocked yet.

    Args:
        stream: the file, at its beginning.
        name: how people call the list.
        source: where it is from, such as ``national DNC``.
        reason: why these people must not be contacted.
        channel: of ``Consent.CHANNELS``.
        expires_at: when its rows stop to block; None: never.
        file_name: as uploaded.
        actor_id: who brings it.

    Raises:
        UnreadableFile: it is no list of addresses.
        ListRefused: name, source or reason is missing, or it ends in the past.
    """
    if not (name.strip() and source.strip() and reason.strip()):
        raise ListRefused("Say how the list is called, where it is from, and why.")
    if expires_at is not None and expires_at <= timezone.now():
        raise ListRefused("The list would have ended already.")
    layout, rows = read_addresses(stream, channel=channel)
    made = SuppressionList.objects.create(
        name=name.strip()[:120],
        source=source.strip()[:40],
        reason=reason.strip()[:500],
        channel=channel,
        expires_at=expires_at,
        file_name=file_name[:200],
        layout=str(layout)[:80],
        actor_id=actor_id,
    )
    _copy(made.pk, rows)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT * FROM suppression_check(%s, %s, %s)", [owner(), sql_id(made.pk), channel]
        )
        made.total, made.fresh, made.known, made.invalid, made.duplicates = cursor.fetchone()
    made.save(update_fields=["total", "fresh", "known", "invalid", "duplicates"])
    return made


def _copy(list_id: str, rows: Iterable[Row]) -> None:
    key = sql_id(list_id)
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY suppression_rows (list_id, line, raw, address, problem, outcome) FROM STDIN"
        ) as copy,
    ):
        for row in rows:
            outcome = "ready" if row.address else "invalid"
            raw = row.raw if not row.address else ""
            copy.write_row((key, row.line, raw, row.address, row.problem, outcome))


def _lock(list_id: str, *states: str) -> SuppressionList:
    found = SuppressionList.objects.select_for_update(no_key=True).get(pk=list_id)
    if found.state not in states:
        raise ListRefused(f"This list is “{found.get_state_display().lower()}”.")
    return found


@transaction.atomic
def apply_list(list_id: str, *, actor_id: str | None) -> SuppressionList:
    """Begin to apply a list, or go on where it was stopped; the worker does it step by step.

    Raises:
        ListRefused: it is applied, undone or on its way already.
        SuppressionList.DoesNotExist: no such list.
    """
    found = _lock(list_id, "checked", "paused")
    before = found.state
    found.state, found.run = "applying", begin_run(PIPELINE, trigger="manual")
    _save(found, "run")
    note("suppression_list.applied", actor_id=actor_id, subject=found, before={"state": before})
    return found


@transaction.atomic
def stop(list_id: str, *, actor_id: str | None) -> SuppressionList:
    """Stop applying; what is in the registry stays, the rest can go on later.

    Raises:
        ListRefused: it is not being applied.
    """
    found = _lock(list_id, "applying")
    found.state = "paused"
    _save(found)
    if found.run is not None:
        end_run(found.run.pk, status="cancelled", stats=_stats(found))
    note("suppression_list.stopped", actor_id=actor_id, subject=found, after=_stats(found))
    return found


@transaction.atomic
def undo(list_id: str, *, reason: str, actor_id: str | None) -> SuppressionList:
    """Begin to take a list back: each of its rows is released, none is deleted.

    Raises:
        ListRefused: no reason was given, or nothing of it is in the registry.
    """
    if not reason.strip():
        raise ListRefused("Say why the list is taken back.")
    found = _lock(list_id, "applied", "paused")
    found.state, found.undo_reason, found.done = "undoing", reason.strip()[:500], 0
    found.run = begin_run(f"{PIPELINE} undo", trigger="manual")
    _save(found, "run", "undo_reason", "done")
    note("suppression_list.undone", actor_id=actor_id, subject=found, reason=reason.strip())
    return found


@transaction.atomic
def discard(list_id: str, *, actor_id: str | None) -> SuppressionList:
    """Throw a checked list away that was never applied.

    Raises:
        ListRefused: something of it was applied.
    """
    found = _lock(list_id, "checked")
    found.state = "discarded"
    _save(found)
    _forget_rows(found, "ready", "duplicate", "invalid")
    note("suppression_list.discarded", actor_id=actor_id, subject=found)
    return found


def advance(tenant_id: str) -> int:
    """Do one step of one list of a tenant that is on its way; return how many rows it moved.

    One transaction: a process that dies in it has done nothing, and any other goes on.
    """
    with tenant_context(tenant_id, durable=True):
        found = (
            SuppressionList.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
            .filter(state__in=["applying", "undoing"])
            .order_by("updated_at", "id")
            .first()
        )
        return _step(found) if found is not None else 0


def _step(found: SuppressionList) -> int:
    is_undo = found.state == "undoing"
    moved = _undo_chunk(found) if is_undo else _apply_chunk(found)
    found.done += moved
    if not moved:
        found.state = "undone" if is_undo else "applied"
        found.finished_at = timezone.now()
        _forget_rows(found, "applied", *(["ready"] if is_undo else []))
        if found.run is not None:
            end_run(found.run.pk, status="completed", stats=_stats(found))
    elif found.run is not None:
        PipelineRun.objects.filter(pk=found.run.pk).update(stats=_stats(found))
    _save(found, "done", "stopped", "finished_at")
    return max(moved, 1)  # the step that found the end has moved the list, too


def _apply_chunk(found: SuppressionList) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT taken, stopped FROM suppression_apply(%s, %s::jsonb, %s)",
            [owner(), _json(found, found.reason), CHUNK],
        )
        taken, stopped = cursor.fetchone()
    found.stopped += stopped
    return int(taken)


def _undo_chunk(found: SuppressionList) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT suppression_undo(%s, %s::jsonb, %s)",
            [owner(), _json(found, found.undo_reason), CHUNK],
        )
        return int(cursor.fetchone()[0])


def _json(found: SuppressionList, reason: str) -> str:
    values: dict[str, Any] = {
        "id": sql_id(found.pk),
        "scope": found.scope,
        "channel": found.channel,
        "source": found.source,
        "reason": reason,
        "expires_at": found.expires_at,
        "actor": sql_id(found.actor_id),
        "correlation_id": (found.run.correlation_id if found.run else "") or correlation_id(),
    }
    return json.dumps(values, cls=DjangoJSONEncoder)


def _stats(found: SuppressionList) -> dict[str, Any]:
    return {
        "list": found.pk,
        "done": found.done,
        "of": found.addresses,
        "texts_stopped": found.stopped,
    }


def _save(found: SuppressionList, *fields: str) -> None:
    found.updated_at = timezone.now()
    found.save(update_fields=["state", "updated_at", *fields])


def _forget_rows(found: SuppressionList, *outcomes: str) -> None:
    """Drop staged rows that are no longer needed; those with a problem stay for the reject file."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM suppression_rows WHERE list_id = %s AND outcome = ANY(%s)",
            [sql_id(found.pk), list(outcomes)],
        )


def problems_of(found: SuppressionList, *, most: int | None = None) -> list[tuple[int, str, str]]:
    """Return the rows that were not taken: line, value, why; the first *most* of them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT line, coalesce(nullif(raw, ''), address), problem FROM suppression_rows"
            " WHERE list_id = %s AND problem <> '' ORDER BY line LIMIT %s",
            [sql_id(found.pk), most],
        )
        return cursor.fetchall()
