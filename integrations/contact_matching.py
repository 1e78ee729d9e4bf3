"""Whose a contact of another system is: the lead it is linked to, else whom the engine finds."""

from __future__ import annotations

from dataclasses import dataclass, field

from integrations.events import ContactChanged
from integrations.models import ExternalId
from integrations.processing import Source
from leads.identity.one import meet
from leads.models import ContactPoint, Lead

#: Facts that are columns of a lead. Phone and e-mail become contact points, the rest is kept in
#: the event.
COLUMNS = (
    "first_name",
    "last_name",
    "full_name",
    "company",
    "title",
    "address_line1",
    "unit",
    "city",
    "region",
    "postal_code",
    "time_zone",
)
#: By what a contact is matched that several leads could be.
MANY = "many"


@dataclass(kw_only=True)
class Match:
    """Whose contact it is: one lead or none, and who else it might have been."""

    lead: Lead | None
    by: str = ""  # contact, MANY, or a key of the identity engine
    others: list[str] = field(default_factory=list)  # leads that share its number or address


def find_lead(link: ExternalId | None, *, phone: str = "", email: str = "") -> Match:
    """Find the one live lead of a contact: by its id, else by its number, else by its address.

    A number or an address that several leads share decides nothing.
    """
    if link is not None and link.lead is not None:
        return Match(lead=_living(link.lead), by="contact")
    others: list[str] = []
    for kind, value in (("phone", phone), ("email", email)):
        found = _leads_with(kind, value) if value else []
        if len(found) == 1:
            return Match(
                lead=found[0], by=kind, others=[one for one in others if one != found[0].pk]
            )
        others += [lead.pk for lead in found]
    return Match(lead=None, others=list(dict.fromkeys(others)))


def _living(lead: Lead) -> Lead:
    while lead.merged_into is not None:
        lead = lead.merged_into
    return lead


def _leads_with(kind: str, value: str) -> list[Lead]:
    ids = ContactPoint.objects.filter(kind=kind, normalized=value).values("lead_id")
    return list(Lead.objects.filter(pk__in=ids, superseded_at=None).order_by("id")[:10])


def match_contact(event: ContactChanged, link: ExternalId | None, source: Source) -> Match:
    """Find the lead of a contact by the rules of the identity engine; once linked, that lead."""
    if link is not None and link.lead is not None:
        return Match(lead=_living(link.lead), by="contact")
    facts = event.facts
    if event.change == "deleted":
        return find_lead(None, phone=facts.get("phone", ""), email=facts.get("email", ""))
    record: dict[str, object] = {name: facts[name] for name in COLUMNS if facts.get(name)}
    record |= {f"{kind}s": [facts[kind]] for kind in ("phone", "email") if facts.get(kind)}
    met = meet(source.provider, record)
    if met.verdict == "many":
        return Match(lead=None, by=MANY, others=list(met.others))
    lead = Lead.objects.get(pk=met.lead_id) if met.lead_id else None
    return Match(lead=lead, by=met.by, others=list(met.others))
