"""Changes that people make to what is known of leads: edits, labels, agents, saved lists."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.utils.text import slugify

from leads.actions import owner, record_event, sql_id
from leads.models import Label, Lead, LeadLabel
from leads.scoring import score_leads
from tenants.actions import note
from tenants.context import database_now
from tenants.models import Actor
from tenants.ulids import to_text

#: Fields of a lead that people edit.
EDITABLE = (
    "first_name",
    "last_name",
    "full_name",
    "company",
    "title",
    "address_line1",
    "address_line2",
    "unit",
    "city",
    "region",
    "postal_code",
    "county",
    "county_fips",
    "apn",
    "mak",
    "time_zone",
    "age",
    "owner_occupied",
    "property_value",
    "estimated_equity",
    "owner_company",
    "website",
)
#: What two leads may not share → how people call it.
KEYS = {
    "ux_leads_addr": "address and owner",
    "ux_leads_mak": "address key",
    "ux_leads_apn": "parcel number",
    "ux_leads_vendor": "id of its source",
}
OLDEST = 130
#: Of a house.
MOST_DOLLARS = 1_000_000_000_000
#: Leads of one action on many.
MOST_AT_ONCE = 10_000
#: Leads written by one statement.
CHUNK = 1000


class EditRefused(Exception):
    """It cannot be changed so; nothing was written. ``field`` is what to correct, "" for all."""

    def __init__(self, words: str, field: str = "") -> None:
        super().__init__(words)
        self.field = field


class StaleEdit(EditRefused):
    """Somebody changed the lead since it was read."""


class LeadTaken(EditRefused):
    """Another lead has what makes leads unique. ``other_id`` is that lead, None where unknown."""

    def __init__(self, what: str, other_id: str | None) -> None:
        super().__init__(f"Another lead has this {what}. Merge the two, or correct one of them.")
        self.what = what
        self.other_id = other_id


def version_of(lead: Lead) -> str:
    """Return what changes whenever an editable field does: an edit carries what it was made of."""
    values = [str(getattr(lead, name)) for name in EDITABLE]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


@transaction.atomic
def update_lead(
    lead_id: str, *, fields: Mapping[str, Any], seen: str | None, actor_id: str | None
) -> Lead:
    """Change what is known of a lead, and remember that a person said so.

    A value from a person is overwritten by no source. Empty values are meant: they empty a field.

    Args:
        lead_id: ``lead_…``; locked until the transaction ends.
        fields: cleaned values of ``EDITABLE``; those left out stay.
        seen: ``version_of`` the lead that the person edited; None: whatever it is now.
        actor_id: who edits.

    Raises:
        StaleEdit: the lead has changed since *seen*.
        LeadTaken: another lead has this address and owner, parcel number or address key.
        EditRefused: the lead was merged into another, or a field cannot be, or not be that.
        Lead.DoesNotExist: no such lead in this tenant.
    """
    if unknown := sorted(set(fields) - set(EDITABLE)):
        raise EditRefused(f"These cannot be edited: {', '.join(unknown)}.", unknown[0])
    check_fields(fields)
    lead = Lead.objects.select_for_update(no_key=True).get(pk=lead_id)
    if lead.superseded_at is not None:
        raise EditRefused("This lead was merged into another one: edit that one.")
    if seen is not None and seen != version_of(lead):
        raise StaleEdit("Somebody changed this lead meanwhile. Look again, then repeat your edit.")
    changed = {name: value for name, value in fields.items() if getattr(lead, name) != value}
    if not changed:
        return lead
    before = {name: getattr(lead, name) for name in changed}
    now = database_now()
    said = {"source": "person", "at": now.isoformat(), "actor": actor_id}
    for name, value in changed.items():
        setattr(lead, name, value)
    lead.provenance = lead.provenance | dict.fromkeys(changed, said)
    lead.updated_at = now
    _save(lead, [*changed, "provenance", "updated_at"])
    _refuse_taken_address(lead, changed)
    payload = {"fields": sorted(changed)}
    record_event(lead.pk, kind="edited", payload=payload, actor_id=actor_id)
    note("lead.edited", actor_id=actor_id, subject=lead, before=before, after=dict(changed))
    lead.refresh_from_db()
    score_leads([lead_id])
    return lead


def check_fields(fields: Mapping[str, Any]) -> None:
    """Refuse values that no lead can have, in words.

    Raises:
        EditRefused: with the first such field.
    """
    fips, region = fields.get("county_fips") or "", fields.get("region") or ""
    if fips and not re.fullmatch(r"[0-9]{5}", fips):
        raise EditRefused("The county is five digits, such as 51059.", "county_fips")
    if region and not re.fullmatch(r"[A-Za-z]{2}", region):
        raise EditRefused("The state is two letters, such as TX.", "region")
    if not 0 <= (fields.get("age") or 0) <= OLDEST:
        raise EditRefused(f"The age is 0 to {OLDEST}.", "age")
    for name in ("property_value", "estimated_equity"):
        if abs(fields.get(name) or 0) > MOST_DOLLARS:
            raise EditRefused("That is more than any house is worth.", name)
    if (fields.get("property_value") or 0) < 0:
        raise EditRefused("A value is not below zero; equity may be.", "property_value")


def _save(lead: Lead, names: list[str]) -> None:
    try:
        with transaction.atomic():
            lead.save(update_fields=names)
    except IntegrityError as error:
        if (key := constraint_of(error)) in KEYS:
            raise LeadTaken(KEYS[key], _other(lead, key)) from error
        raise


def constraint_of(error: Exception) -> str:
    """Return the name of the constraint that refused a write, ``""`` where none is named."""
    diag = getattr(error.__cause__, "diag", None)
    return (diag.constraint_name if diag else "") or ""


def _other(lead: Lead, key: str) -> str | None:
    others = Lead.objects.filter(superseded_at=None).exclude(pk=lead.pk)
    if key == "ux_leads_mak":
        others = others.filter(mak=lead.mak)
    elif key == "ux_leads_apn":
        others = others.filter(county_fips=lead.county_fips, apn=lead.apn)
    elif key == "ux_leads_vendor":
        others = others.filter(source=lead.source, source_id=lead.source_id)
    else:
        return _same_address(lead)
    return others.values_list("pk", flat=True).first()


#: What an address key and its owner are made of.
_ADDRESS = {
    "address_line1",
    "address_line2",
    "unit",
    "city",
    "region",
    "postal_code",
    "full_name",
    "first_name",
    "last_name",
    "company",
    "owner_company",
}

_SAME = """
SELECT l.id FROM leads AS l
WHERE l.tenant_id = %s AND l.superseded_at IS NULL AND l.id <> %s AND l.addr_owner = %s
  AND l.addr_hash = compute_addr_hash(%s, %s, %s, %s, %s, %s)
LIMIT 1
"""


def _refuse_taken_address(lead: Lead, changed: Iterable[str]) -> None:
    """Refuse an edit that took an address from another lead.

    Where a machine writes, the database leaves the key empty and asks a person; here is one.
    """
    if not _ADDRESS & set(changed):
        return
    lead.refresh_from_db(fields=["addr_hash", "addr_owner"])
    if lead.addr_hash is None and (other := _same_address(lead)) is not None:
        raise LeadTaken(KEYS["ux_leads_addr"], other)


def _same_address(lead: Lead) -> str | None:
    place = (lead.address_line1, lead.city, lead.region, lead.postal_code, lead.unit)
    with connection.cursor() as cursor:
        cursor.execute(
            _SAME,
            [owner(), sql_id(lead.pk), lead.addr_owner, *place, lead.address_line2],
        )
        row = cursor.fetchone()
    return to_text("lead", row[0]) if row else None


# --- many leads -------------------------------------------------------------------------------


@transaction.atomic
def label_leads(
    lead_ids: Iterable[str], *, name: str, kind: str = "label", actor_id: str | None
) -> int:
    """Put a label, tag or flag on leads, made when it is new; return how many did not bear it.

    Raises:
        EditRefused: no name, an unknown kind, or too many leads.
    """
    ids = _bounded(lead_ids)
    label = label_named(name, kind=kind)
    added = 0
    for chunk in _chunks(ids):
        there = set(
            LeadLabel.objects.filter(label=label, lead__in=chunk).values_list("lead_id", flat=True)
        )
        fresh = [one for one in chunk if one not in there]
        LeadLabel.objects.bulk_create(
            [LeadLabel(lead_id=one, label=label) for one in fresh], ignore_conflicts=True
        )
        added += len(fresh)
    after = {"leads": len(ids), "added": added}
    note("leads.labelled", actor_id=actor_id, subject=label, after=after)
    return added


def label_named(name: str, *, kind: str = "label") -> Label:
    """Return the label with this name, made when it is new.

    Raises:
        EditRefused: there is nothing left of the name, or the kind is unknown.
    """
    name = " ".join(name.split())[:60]
    key = slugify(name)[:40]
    if not key:
        raise EditRefused("Give the label a name with letters or digits.")
    if kind not in Label.KINDS:
        raise EditRefused("Choose label, tag or flag.")
    label, _ = Label.objects.get_or_create(kind=kind, key=key, defaults={"name": name})
    return label


@transaction.atomic
def unlabel_lead(lead_id: str, *, label_id: str, actor_id: str | None) -> bool:
    """Take a label off a lead; False when it does not bear it."""
    row = LeadLabel.objects.filter(lead_id=lead_id, label_id=label_id)
    lead = Lead.objects.get(pk=lead_id)
    removed, _ = row.delete()
    if removed:
        before = {"label": label_id}
        note("lead.unlabelled", actor_id=actor_id, subject=lead, before=before)
    return bool(removed)


@transaction.atomic
def assign_leads(lead_ids: Iterable[str], *, agent_id: str | None, actor_id: str | None) -> int:
    """Give leads to an agent, or to nobody; return how many changed hands.

    Raises:
        EditRefused: no active person of this tenant, or too many leads.
    """
    ids = _bounded(lead_ids)
    agent = None
    if agent_id is not None:
        agent = Actor.objects.filter(pk=agent_id, kind="user", is_active=True).first()
        if agent is None:
            raise EditRefused("Choose a person who works here.")
    moved = 0
    for chunk in _chunks(sorted(ids)):
        rows = Lead.objects.filter(pk__in=chunk, superseded_at=None)
        locked = list(
            rows.select_for_update(no_key=True).order_by("id").values_list("pk", "assigned_agent")
        )
        others = [pk for pk, now in locked if now != agent_id]
        moved += Lead.objects.filter(pk__in=others).update(assigned_agent=agent)
    after = {"agent": agent_id, "leads": len(ids), "moved": moved}
    note("leads.assigned", actor_id=actor_id, subject=agent, after=after)
    return moved


def _bounded(lead_ids: Iterable[str]) -> list[str]:
    ids = list(dict.fromkeys(lead_ids))
    if len(ids) > MOST_AT_ONCE:
        raise EditRefused(f"At most {MOST_AT_ONCE:,} leads at once: narrow the list.")
    return ids


def _chunks(ids: list[str]) -> Iterable[list[str]]:
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
