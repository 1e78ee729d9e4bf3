"""Lead cards: the scored summary of a contact, with the parts that make its total."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from leads.models import (
    Business,
    Contact,
    ContactPoint,
    LeadCard,
    LeadScore,
    Ownership,
    Property,
)
from leads.scoring import rule_in_force
from tenants.context import database_now

#: Weight of each component in the total, in hundredths.
WEIGHTS = {
    "data_quality": 25,
    "reachability": 25,
    "role_score": 20,
    "property_score": 15,
    "business_score": 15,
}
ROLE_POINTS = {
    "owner": 100,
    "ceo": 95,
    "partner": 85,
    "investor": 80,
    "sales": 70,
    "executive": 65,
    "manager": 50,
    "professional": 30,
    "unknown": 10,
}
DECISION_MAKER = 15
#: A phone is worth this much by its line; a proved one is worth all.
LINE_POINTS = {"mobile": 60, "voip": 50, "unknown": 40, "landline": 10}
#: Share of phone and e-mail in how well somebody can be reached, in tenths.
PHONE_SHARE, EMAIL_SHARE = 7, 3


@dataclass(frozen=True, kw_only=True)
class Component:
    """Points of one component, 0-100, and why; None: nothing is known of it, and it adds nothing."""  # noqa: E501

    points: int | None
    why: str


def total_of(parts: dict[str, Component]) -> int:
    """Return the weighted total, 0-100; what is unknown adds nothing."""
    hundredths = sum(WEIGHTS[name] * (part.points or 0) for name, part in parts.items())
    return (hundredths + 50) // 100


@transaction.atomic
def score_card(contact_id: str) -> LeadCard:
    """Work out the card of a contact from what is stored of it and its lead; one card each.

    Args:
        contact_id: ``con_…``; its row stays locked until the transaction ends.

    Raises:
        Contact.DoesNotExist: no such contact in this tenant.
    """
    contact = Contact.objects.select_for_update(no_key=True).get(pk=contact_id)
    roles = list(Ownership.objects.filter(contact=contact, ended_at=None).order_by("id"))
    business = _first(Business, [role.business_id for role in roles], contact)
    home = _first(Property, [role.property_id for role in roles], contact)
    rule = rule_in_force()
    score = LeadScore.objects.filter(lead=contact.lead_id).first()
    parts = {
        "data_quality": Component(
            points=score.score if score else None,
            why=f"Score of the lead: {score.score}" if score else "The lead has no score yet",
        ),
        "reachability": reachability(_points(contact), now=database_now()),
        "role_score": role_points(roles, contact),
        "property_score": property_points(home, value_min=rule.value_min),
        "business_score": business_points(business),
    }
    breakdown: dict[str, Any] = {
        name: {"weight": WEIGHTS[name], "points": part.points, "why": part.why}
        for name, part in parts.items()
    }
    values = {
        **{name: part.points for name, part in parts.items()},
        "lead_id": contact.lead_id,
        "business": business,
        "property": home,
        "total_score": total_of(parts),
        "breakdown": breakdown,
        "rule_version": rule.version,
        "updated_at": Now(),
    }
    card, _ = LeadCard.objects.update_or_create(contact=contact, defaults=values)
    card.refresh_from_db()
    return card


def _first(model: Any, named: Iterable[str | None], contact: Contact) -> Any:
    """The one a role names, else the oldest live one of the lead."""
    ids = [one for one in named if one]
    rows = model.objects.filter(superseded_at=None)
    return (
        rows.filter(pk__in=ids).order_by("id").first()
        or rows.filter(lead=contact.lead_id).order_by("id").first()
    )


def _points(contact: Contact) -> list[ContactPoint]:
    """Points of the contact, and those of its lead that nobody else's are."""
    mine = Q(contact=contact) | Q(contact=None)
    return list(ContactPoint.objects.filter(mine, lead=contact.lead_id).order_by("id"))


def reachability(points: Iterable[ContactPoint], *, now: datetime) -> Component:
    """How well somebody can be reached: seven tenths the best phone, three the best e-mail."""
    phones, emails = [], []
    for point in points:
        is_fresh = point.expires_at is None or point.expires_at > now
        is_proved = point.verified_at is not None and is_fresh
        if point.kind == "email":
            emails.append(100 if is_proved else 50)
            continue
        is_barred = point.dnc or point.litigator or point.tcpa or point.wrong_number_at is not None
        usable = is_proved and point.line_type in ("mobile", "voip")
        phones.append(0 if is_barred else 100 if usable else LINE_POINTS[point.line_type])
    if not phones and not emails:
        return Component(points=None, why="No phone and no e-mail")
    phone, email = max(phones, default=0), max(emails, default=0)
    return Component(
        points=(PHONE_SHARE * phone + EMAIL_SHARE * email + 5) // 10,
        why=f"Best phone {phone}, best e-mail {email}",
    )


def role_points(roles: Iterable[Ownership], contact: Contact) -> Component:
    """Points of the best role, more for who decides; an unknown role is worth a little."""
    best, why = ROLE_POINTS["unknown"], "Role unknown"
    for role in roles:
        points = ROLE_POINTS[role.role] + (DECISION_MAKER if role.is_decision_maker else 0)
        if points > best:
            decides = ", decides" if role.is_decision_maker else ""
            best, why = points, f"{role.get_role_display()}{decides}"
    return Component(points=min(100, best), why=why)


def property_points(row: Property | None, *, value_min: int) -> Component:
    """Points of a property: known, worth something, with equity, lived in by its owner."""
    if row is None:
        return Component(points=None, why="No property")
    marks = {
        "known": 25,
        "value": 25 if (row.value or 0) >= value_min else 0,
        "equity": 25 if (row.equity or 0) > 0 else 0,
        "owner occupied": 25 if row.owner_occupied else 0,
    }
    return Component(
        points=sum(marks.values()), why=", ".join(name for name, n in marks.items() if n)
    )


def business_points(row: Business | None) -> Component:
    """Points of a business: known, with employees, revenue and age known."""
    if row is None:
        return Component(points=None, why="No business")
    marks = {
        "known": 40,
        "employees": 20 if row.employee_count else 0,
        "revenue": 20 if row.annual_revenue else 0,
        "year founded": 20 if row.year_founded else 0,
    }
    return Component(
        points=sum(marks.values()), why=", ".join(name for name, n in marks.items() if n)
    )
