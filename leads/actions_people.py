"""Whom a lead is reached at: its contact points and its people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from leads.actions import add_contact_point, record_event
from leads.actions_leads import OLDEST, EditRefused
from leads.captures import normalize_email
from leads.models import Contact, ContactPoint, Lead
from tenants.actions import note
from tenants.admin.search import phone_prefix


@transaction.atomic
def add_point(
    lead_id: str,
    *,
    kind: str,
    value: str,
    line_type: str = "unknown",
    source: str = "person",
    contact_id: str | None = None,
    actor_id: str | None,
) -> tuple[ContactPoint, bool]:
    """Add a phone number or e-mail address, in any format, to a lead.

    Returns:
        The contact point, and whether it is new.

    Raises:
        EditRefused: no phone or e-mail, one that cannot be read, an unknown line type, or a lead
            that was merged into another.
        Lead.DoesNotExist: no such lead in this tenant.
    """
    folded = _read_point(kind, value)
    if line_type not in ContactPoint.LINE_TYPES:
        raise EditRefused("The line is mobile, landline, voip or unknown.", "line_type")
    lead = Lead.objects.select_for_update(no_key=True).get(pk=lead_id)
    if lead.superseded_at is not None:
        raise EditRefused("This lead was merged into another one: edit that one.")
    is_new = add_contact_point(
        lead_id,
        kind=kind,
        value=folded,
        raw=value.strip()[:320],
        source=source[:40],
        line_type=line_type if kind == "phone" else "unknown",
    )
    point = ContactPoint.objects.get(lead=lead, kind=kind, normalized=folded)
    if is_new:
        if contact_id is not None:
            point.contact = Contact.objects.get(pk=contact_id, lead=lead)
            point.save(update_fields=["contact"])
        payload = {"fields": [kind], "source": source}
        record_event(lead_id, kind="edited", payload=payload, actor_id=actor_id)
        after = {"kind": kind, "value": folded}
        note("contactpoint.added", actor_id=actor_id, subject=point, after=after)
    return point, is_new


def _read_point(kind: str, value: str) -> str:
    if kind == "phone":
        number, whole = phone_prefix(value)
        if not whole or len(number) > 16:
            words = "Write the number as 202 555 0142 or +12025550142."
            raise EditRefused(words, "value")
        return number
    if kind == "email":
        folded = normalize_email(value)
        if not folded:
            raise EditRefused("This is no e-mail address.", "value")
        return folded
    raise EditRefused("Choose phone or email.", "kind")


@transaction.atomic
def add_contact(
    lead_id: str, *, fields: Mapping[str, Any], source: str = "api", actor_id: str | None
) -> tuple[Contact, bool]:
    """Add a person to a lead; one of the same full name is that person, and stays as they are.

    Args:
        lead_id: ``lead_…``; locked until the transaction ends.
        fields: names, title, age of a ``Contact``, at least ``full_name``.
        source: who says so.
        actor_id: who did it.

    Returns:
        The contact, and whether they are new.

    Raises:
        EditRefused: no name, an age no person has, or a lead that was merged into another.
        Lead.DoesNotExist: no such lead in this tenant.
    """
    name = " ".join(str(fields.get("full_name", "")).split())
    if not name:
        raise EditRefused("Say the person's name.", "full_name")
    if not 0 <= (fields.get("age") or 0) <= OLDEST:
        raise EditRefused(f"The age is 0 to {OLDEST}.", "age")
    lead = Lead.objects.select_for_update(no_key=True).get(pk=lead_id)
    if lead.superseded_at is not None:
        raise EditRefused("This lead was merged into another one: edit that one.")
    people = Contact.objects.filter(lead=lead, superseded_at=None)
    if (known := people.filter(full_name=name).first()) is not None:
        return known, False
    highest = people.order_by("-position").values_list("position", flat=True).first() or 0
    contact = Contact.objects.create(
        **{**fields, "full_name": name}, lead=lead, source=source, position=highest + 1
    )
    note("contact.added", actor_id=actor_id, subject=contact, after={"name": name})
    return contact, True
