"""Taking a merge back: both leads as if never merged, what came since with the one it is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from leads.actions import SILENCE_DAYS, cancel_timers, owner, sql_id
from leads.events import LeadsUnmerged
from leads.mergeable import children, put, put_back
from leads.merging import MergeRefused, meet, merge_event
from leads.models import Lead, LeadEvent, LeadTimer, Merge
from leads.pairs import part
from leads.states import LeadState, may_move
from tenants.actions import note
from tenants.dispatch import emit


@dataclass(frozen=True, kw_only=True)
class Unmerged:
    """What came of it; ``kept``: table → what was changed or added since, and so stays."""

    merge: Merge
    kept: dict[str, list[str]] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """Return what stayed with the survivor, as a sentence; empty: nothing."""
        if not self.kept:
            return ""
        told = "; ".join(f"{table}: {', '.join(what)}" for table, what in self.kept.items())
        return f"Changed since, and so left with the first lead: {told}."


@transaction.atomic
def unmerge(merge_id: str, *, actor_id: str | None, reason: str = "") -> Unmerged:
    """Take a merge back.

    The survivor's fields and all rows that moved become what they were, as far as nobody changed
    them since; what was changed stays with the survivor and is told. Texts that came since go to
    the lead whose number they are from, with their effect on its state. Opt-outs stay on both.

    Raises:
        MergeRefused: it was taken back already; or a later merge must be taken back first; or
            another lead has taken the second one's address since.
        Merge.DoesNotExist: no such merge in this tenant.
    """
    one = Merge.objects.get(pk=merge_id)
    survivor, merged = meet(one.survivor_id, one.merged_id)
    one = Merge.objects.select_for_update(no_key=True).get(pk=merge_id)
    _refuse(one, survivor)
    try:
        with transaction.atomic():
            kept = _come_apart(one, survivor, merged, actor_id)
    except IntegrityError as error:
        raise MergeRefused(
            f"Another lead has the address or parcel of {merged.display_name} now. Change or "
            "merge that one first."
        ) from error
    note(
        "lead.unmerged",
        actor_id=actor_id,
        subject=survivor,
        after={"merged": merged.pk, "merge": one.pk, "kept": kept},
        reason=reason,
    )
    one.refresh_from_db()
    return Unmerged(merge=one, kept=kept)


def _refuse(one: Merge, survivor: Lead) -> None:
    if one.undone_at is not None:
        raise MergeRefused("This merge was taken back already.")
    if survivor.superseded_at is not None:
        raise MergeRefused(
            f"{survivor.display_name} was merged into another lead since. Take that back first."
        )
    later = Merge.objects.filter(survivor=survivor, undone_at=None, pk__gt=one.pk)
    if newest := later.select_related("merged").order_by("-pk").first():
        raise MergeRefused(
            f"{newest.merged.display_name} was merged into this lead later. Take that back first."
        )


def _come_apart(
    one: Merge, survivor: Lead, merged: Lead, actor_id: str | None
) -> dict[str, list[str]]:
    kept: dict[str, list[str]] = {}
    fields = one.before["fields"]
    if left := put_back("leads", str(sql_id(survivor.pk)), fields):
        left = _without_shares(survivor, fields, left)
        kept |= {"fields": left} if left else {}
    Lead.objects.filter(pk=merged.pk).update(merged_into=None, superseded_at=None, updated_at=Now())
    _rows_back(one, kept)
    part(one.moved["pairs"])
    Merge.objects.filter(pk=one.pk).update(undone_at=Now(), undone_by=actor_id)
    told = LeadsUnmerged(
        survivor_id=survivor.pk, merged_id=merged.pk, merge_id=one.pk, since=one.at
    )
    emit(told)
    _states(one, told, actor_id)
    _timers(told)
    for child in children():
        if added := _added(child.table, child.column, one):
            kept.setdefault(child.table.replace("_", " "), []).append(f"{added} new")
    return kept


def _rows_back(one: Merge, kept: dict[str, list[str]]) -> None:
    for place, ids in one.moved["rows"].items():
        table, column = place.split(".")
        put(table, column, ids, one.survivor_id, one.merged_id)
    for table, rows in one.moved["changed"].items():
        for row_id, change in rows.items():
            try:
                with transaction.atomic():
                    left = put_back(table, row_id, change)
            except IntegrityError:  # its place was taken since: a timer armed again, a new call
                left = sorted(change["was"])
            if left:
                kept.setdefault(table.replace("_", " "), []).extend(
                    name for name in left if name not in kept.get(table, [])
                )


def _without_shares(survivor: Lead, fields: dict[str, Any], left: list[str]) -> list[str]:
    """Take the other lead's share out of the counters that went on counting."""
    if "attempt_count" in left:
        share = fields["is"]["attempt_count"] - fields["was"]["attempt_count"]
        Lead.objects.filter(pk=survivor.pk).update(attempt_count=survivor.attempt_count - share)
    return [name for name in left if name not in ("attempt_count", "last_response_at")]


def _added(table: str, column: str, one: Merge) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM {table} WHERE tenant_id = %s AND {column} = %s"  # noqa: S608
            " AND created_at > %s",
            [owner(), sql_id(one.survivor_id), one.at],
        )
        return int(cursor.fetchone()[0])


# --- states and timers ------------------------------------------------------------------------


def _states(one: Merge, told: LeadsUnmerged, actor_id: str | None) -> None:
    """Let what happened since have happened to the lead it was about."""
    joined = LeadEvent.objects.get(lead=told.survivor_id, merge=one.pk, kind="merged_in").seq
    # Merges since were taken back before this one, and with them what they did.
    since = list(
        LeadEvent.objects.filter(lead=told.survivor_id, seq__gt=joined, merge=None).order_by("seq")
    )
    theirs = [event for event in since if event.payload.get("message") in told.returned]
    ours = [event for event in since if event not in theirs]
    second = Lead.objects.get(pk=told.merged_id)
    last = second.last_response_at
    for lead_id, start, answered, events in (
        (told.survivor_id, one.before["state"], one.before["last_response_at"], ours),
        (told.merged_id, second.state, last.isoformat() if last else None, theirs),
    ):
        lead = Lead.objects.get(pk=lead_id)
        state = _replayed(start, events)
        proof = told.opted_out.get(lead_id)
        if proof:
            state = LeadState.SUPPRESSED
        merge_event(
            lead_id,
            one,
            kind="unmerged",
            to=state if state != lead.state else None,
            actor_id=actor_id,
            proof=proof,
            messages=len(told.returned),
        )
        _answered(lead_id, answered, events)


def _replayed(state: str, events: list[LeadEvent]) -> str:
    for event in events:
        if event.kind == "opted_out" or (
            event.kind == "opted_in" and state != LeadState.SUPPRESSED
        ):
            continue  # of an address, not of a lead: the registry says whom it concerns
        moved = event.from_state != event.to_state
        if moved and (event.from_state == state or may_move(state, event.to_state)):
            state = event.to_state
    return state


def _answered(lead_id: str, was: str | None, events: list[LeadEvent]) -> None:
    """Say when a lead last answered, of what it said itself."""
    heard = [event.at.isoformat() for event in events if event.kind == "message_received"]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE leads SET last_response_at ="
            " (SELECT max(x) FROM unnest(%s::timestamptz[]) AS x)"
            " WHERE tenant_id = %s AND id = %s",
            [[*heard, *([was] if was else [])], owner(), sql_id(lead_id)],
        )


def _timers(told: LeadsUnmerged) -> None:
    """An answer stopped the silence timers of both; only who answered is no longer silent."""
    if told.merged_id in told.heard:
        cancel_timers(told.merged_id, reason="reply", kinds=list(SILENCE_DAYS))
    if told.survivor_id in told.heard:
        return
    stopped = LeadTimer.objects.filter(
        lead=told.survivor_id, cancelled_at__gt=told.since, cancel_reason="reply"
    )
    for timer in stopped.order_by("-pk"):
        live = LeadTimer.objects.filter(
            lead=told.survivor_id, kind=timer.kind, fired_at=None, cancelled_at=None
        )
        if not live.exists():
            LeadTimer.objects.filter(pk=timer.pk).update(cancelled_at=None, cancel_reason="")
