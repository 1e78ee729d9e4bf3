"""Two leads that are one: merged in one transaction, and taken apart again as if never merged.

Consent is by address and so needs no merging; what the leads themselves restrict (state, pauses,
wrong numbers) is restricted by the survivor, too. History stays where it was written: readers ask
``family_of`` for all leads that became one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from leads.actions import lock_consents, owner, sql_id
from leads.events import LeadsMeet, LeadsMerged
from leads.merge_fields import (
    COMPUTED,
    FIELDS,
    STATE,
    preferred,
    state_of,
    survivor_values,
)
from leads.mergeable import (
    as_they_are,
    children,
    differences,
    move,
    refusals,
)
from leads.models import ContactPoint, Lead, Merge
from leads.pairs import follow
from leads.states import LeadState
from tenants.actions import note
from tenants.correlation import correlation_id
from tenants.dispatch import emit
from tenants.ulids import to_text


class MergeRefused(Exception):
    """The two cannot become one; the text says why, and nothing was written."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a merge would do: the two leads, and per field the lead whose value stays."""

    survivor: Lead
    merged: Lead
    choices: dict[str, str]


def plan(survivor_id: str, merged_id: str, *, choices: Mapping[str, str] | None = None) -> Plan:
    """Return which values a merge keeps; writes nothing.

    Raises:
        MergeRefused: they are one lead, or one of them is merged already, or a choice is none.
        Lead.DoesNotExist: no such lead in this tenant.
    """
    if survivor_id == merged_id:
        raise MergeRefused("Choose two different leads.")
    return _plan(Lead.objects.get(pk=survivor_id), Lead.objects.get(pk=merged_id), choices or {})


@transaction.atomic
def merge(
    survivor_id: str,
    merged_id: str,
    *,
    choices: Mapping[str, str] | None = None,
    actor_id: str | None = None,
    reason: str = "",
    evidence: Mapping[str, Any] | None = None,
) -> Merge:
    """Make one lead part of another, and write down everything needed to take it back.

    Args:
        survivor_id: ``lead_…`` that stays.
        merged_id: ``lead_…`` that becomes part of it; its page then leads to the survivor.
        choices: field of ``merge_fields.FIELDS``, or ``state``, → lead whose value stays. For the
            others a known value beats an empty one, and a better source a worse one.
        actor_id: who did it, None for the system.
        reason: in the person's own words.
        evidence: why they are one, such as the review's reasons.

    Raises:
        MergeRefused: see ``plan``; or both are being enriched; or the survivor would take the
            address or parcel of a third lead.
        Lead.DoesNotExist: no such lead in this tenant.
    """
    if survivor_id == merged_id:
        raise MergeRefused("Choose two different leads.")
    survivor, merged = meet(survivor_id, merged_id)
    wanted = _plan(survivor, merged, choices or {})
    if words := refusals(survivor_id, merged_id):
        raise MergeRefused(" ".join(words))
    one = Merge.objects.create(
        survivor=survivor,
        merged=merged,
        choices=wanted.choices,
        evidence=dict(evidence or {}),
        actor_id=actor_id,
        reason=reason[:200],
        correlation_id=correlation_id(),
    )
    try:
        with transaction.atomic():
            _become_one(one, wanted)
    except IntegrityError as error:
        raise MergeRefused(
            "A third lead has that address or parcel already. Merge that one first, or keep the "
            "other address."
        ) from error
    emit(LeadsMerged(survivor_id=survivor_id, merged_id=merged_id, merge_id=one.pk))
    note(
        "lead.merged",
        actor_id=actor_id,
        subject=survivor,
        after={"merged": merged_id, "merge": one.pk},
        reason=reason,
    )
    one.refresh_from_db()
    return one


def _become_one(one: Merge, wanted: Plan) -> None:
    survivor, merged = wanted.survivor, wanted.merged
    Lead.objects.filter(pk=merged.pk).update(
        merged_into=survivor, superseded_at=Now(), updated_at=Now()
    )
    fields = _write_fields(wanted)
    state = _restricted(wanted)
    merge_event(survivor.pk, one, kind="merged_in", to=state, actor_id=one.actor_id)
    merge_event(merged.pk, one, kind="merged", to=None, actor_id=one.actor_id)
    suppresses = state == LeadState.SUPPRESSED and survivor.state != LeadState.SUPPRESSED
    rows: dict[str, list[str]] = {}
    changed: dict[str, Any] = {}
    for child in children():
        ids, change = move(child, survivor.pk, merged.pk, suppresses=suppresses)
        if ids:
            rows[f"{child.table}.{child.column}"] = ids
        if change:
            changed.setdefault(child.table, {}).update(change)
    Merge.objects.filter(pk=one.pk).update(
        before={
            "fields": fields,
            "state": survivor.state,
            "last_response_at": _iso(survivor.last_response_at),
        },
        moved={
            "rows": rows,
            "changed": changed,
            "pairs": follow(survivor.pk, merged.pk, actor_id=one.actor_id),
        },
    )


def _write_fields(wanted: Plan) -> dict[str, Any]:
    """Give the survivor its values; return its columns as they were and are."""
    survivor, merged = wanted.survivor, wanted.merged
    values = survivor_values(survivor, merged, wanted.choices)
    if wanted.choices[STATE] == merged.pk and merged.state != LeadState.SUPPRESSED:
        values["stage"] = merged.stage
    key = str(sql_id(survivor.pk))
    before = as_they_are("leads", [key])
    Lead.objects.filter(pk=survivor.pk).update(**values, updated_at=Now())
    changed = differences(before, as_they_are("leads", [key])).get(key, {"was": {}, "is": {}})
    mine = {*(column for columns in FIELDS.values() for column in columns), *COMPUTED}
    mine |= {"provenance", "stage"}
    return {
        part: {name: value for name, value in changed[part].items() if name in mine}
        for part in ("was", "is")
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _restricted(wanted: Plan) -> str:
    is_theirs = wanted.choices[STATE] == wanted.merged.pk
    return wanted.merged.state if is_theirs else wanted.survivor.state


def _plan(survivor: Lead, merged: Lead, choices: Mapping[str, str]) -> Plan:
    for lead in (survivor, merged):
        if lead.superseded_at is not None:
            raise MergeRefused(f"{lead.display_name} is part of another lead already.")
    both = {survivor.pk, merged.pk}
    for field, lead_id in choices.items():
        if field not in FIELDS and field != STATE:
            raise MergeRefused(f"There is no field {field!r} to choose.")
        if lead_id not in both:
            raise MergeRefused(f"The {field} must be of one of the two leads.")
    with connection.cursor() as cursor:
        cursor.execute("SELECT source_ranks(%s)::text", [owner()])
        ranks = json.loads(cursor.fetchone()[0])
    state = state_of(survivor, merged)
    kept: dict[str, str] = {**preferred(survivor, merged, ranks), STATE: str(state.pk), **choices}
    if state.state == LeadState.SUPPRESSED:
        kept[STATE] = str(state.pk)  # an opt-out is nobody's to choose away
    return Plan(survivor=survivor, merged=merged, choices=kept)


def merge_event(
    lead_id: str,
    one: Merge,
    *,
    kind: str,
    to: str | None,
    actor_id: str | None,
    proof: str | None = None,
    **payload: Any,
) -> None:
    """Add a merge, or its end, to the history of one of its leads."""
    other = one.survivor_id if lead_id == one.merged_id else one.merged_id
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT lead_merge_move(%s, %s, %s, %s, %s, %s::jsonb, %s, %s, %s)",
            [
                owner(),
                sql_id(lead_id),
                kind,
                to,
                sql_id(one.pk),
                json.dumps({"merge": one.pk, "lead": other, **payload}),
                sql_id(proof),
                sql_id(actor_id),
                correlation_id(),
            ],
        )


def meet(survivor_id: str, merged_id: str) -> tuple[Lead, Lead]:
    """Lock all people of two leads, then the leads; return them as they then are.

    Raises:
        MergeRefused: a new number came in between; the next try will know it.
        Lead.DoesNotExist: no such lead in this tenant.
    """
    ids = (survivor_id, merged_id)
    addresses = _addresses(ids)
    lock_consents(sorted(addresses))
    rows = Lead.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")
    found = {str(lead.pk): lead for lead in rows}
    if missing := set(ids) - set(found):
        raise Lead.DoesNotExist(f"no lead {missing.pop()}")
    if _addresses(ids) - addresses:
        raise MergeRefused("A text came in just now. Try again.")
    return found[survivor_id], found[merged_id]


def _addresses(ids: tuple[str, str]) -> set[str]:
    points = ContactPoint.objects.filter(lead__in=ids, kind="phone")
    met = LeadsMeet(lead_ids=ids, addresses=set(points.values_list("normalized", flat=True)))
    emit(met)
    return met.addresses


def family_of(lead_id: str) -> list[str]:
    """Return a lead and all that are part of it: whose events and activities are its own."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM lead_family(%s, %s)", [owner(), sql_id(lead_id)])
        return [to_text("lead", row[0]) for row in cursor.fetchall()]


def root_of(lead_id: str) -> str:
    """Return the lead that *lead_id* is part of now: itself, or the end of its merges."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT lead_living(%s, %s)", [owner(), sql_id(lead_id)])
        found = cursor.fetchone()[0]
    return lead_id if found is None else to_text("lead", found)
