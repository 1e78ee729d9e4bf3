"""What contacts of other systems do to our leads. Called by ``integrations.handlers``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from django.db import connection

from integrations.contact_matching import COLUMNS, MANY, Match, match_contact
from integrations.events import ContactChanged, ContactOptedOut
from integrations.models import ExternalId
from integrations.processing import Source
from leads.actions import (
    Choice,
    add_contact_point,
    create_lead,
    owner,
    put_label,
    record_choice,
    record_event,
    sql_id,
)
from leads.identity.one import ask
from leads.identity.provenance import allowed, remember
from leads.models import ContactPoint, Lead, LeadLabel
from tenants.correlation import correlation_id
from tenants.dispatch import emit
from tenants.models import Actor

#: Labels with a meaning of their own: a tag of another system does not put them.
OUR_LABELS = {"gold"}
#: Longest key of a label.
MAX_LABEL = 40
#: Longest dedupe key of a lead event.
MAX_CAUSE = 200


def cause_of(provider: str, kind: str, *parts: str) -> str:
    """Return a dedupe key ``provider:kind:part…``; its end is hashed where it would not fit."""
    cause = ":".join([provider, kind, *parts])
    if len(cause) <= MAX_CAUSE:
        return cause
    digest = hashlib.sha256(cause.encode()).hexdigest()
    return f"{cause[: MAX_CAUSE - 65]}:{digest}"


def link_of(integration_id: str, contact_id: str) -> ExternalId | None:
    """Return what is known of a contact, None when it was never told of."""
    found = ExternalId.objects.select_related("lead").filter(
        integration_id=integration_id, kind="contact", external_id=contact_id
    )
    return found.first() if contact_id else None


def phones_of(link: ExternalId | None, lead: Lead | None) -> list[str]:
    """Return the number of a contact; where it has told none, all numbers of its lead."""
    if link is not None and link.phone:
        return [link.phone]
    if lead is None:
        return []
    points = ContactPoint.objects.filter(lead=lead, kind="phone").order_by("normalized")
    return list(points.values_list("normalized", flat=True))


# --- contacts ---------------------------------------------------------------------------------


def change_contact(event: ContactChanged, source: Source) -> str:
    """Bring the lead of a contact up to date; return what became of it, in words."""
    link = link_of(source.integration_id, event.external_id)
    match = match_contact(event, link, source)
    _silence(event, link, match.lead, source)
    if link is not None and link.deleted_at is not None:
        return "the contact is deleted there"
    if event.change == "deleted":
        return _delete(event, link, match.lead, source)
    if link is not None and _is_stale(event, link, source):
        return "older than what is known"
    if match.by == MANY:
        return _ask_whose(event, link, match, source)
    lead = match.lead or _create(event, source)
    is_new = match.lead is None
    if match.others:
        ask(lead.pk, match.others, by=match.by, surety=30 if is_new else 60, asker="crm")
    link = link or _link(event, lead, source)
    told = _update(event, lead, link, source, may_empty=not is_new and match.by == "contact")
    if is_new:
        told |= {"others": match.others} if match.others else {}
    elif match.others:
        told["others"] = match.others
    kind = "contact_created" if is_new else f"contact_{event.change}"
    _write(event, lead, link, source, kind=kind, told=told, is_news=bool(told) or is_new)
    done = (
        f"made {lead.pk}"
        if is_new
        else f"updated {lead.pk}"
        if told
        else f"nothing new for {lead.pk}"
    )
    return f"{done}; may also be {', '.join(match.others)}" if match.others else done


def _ask_whose(event: ContactChanged, link: ExternalId | None, match: Match, source: Source) -> str:
    """Keep a contact that several leads could be, until a person says whose it is."""
    link = link or _link(event, None, source)
    facts = event.facts
    ask(
        match.others[0],
        match.others[1:],
        by="phone or e-mail",
        surety=60,
        asker="crm",
        incoming={
            "source": source.provider,
            "kind": "crm",
            "fields": {name: facts[name] for name in COLUMNS if facts.get(name)},
            "points": [
                {"kind": kind, "value": facts[kind]}
                for kind in ("phone", "email")
                if facts.get(kind)
            ],
            "raw": {"contact": event.external_id, "tags": list(event.tags or ())},
        },
    )
    return f"could be {', '.join(match.others)}: a person is asked"


def _is_stale(event: ContactChanged, link: ExternalId, source: Source) -> bool:
    """Tell whether something newer is known: by the sender's clock, else by our receipts."""
    if event.is_ordered and event.occurred_at is not None:
        return link.last_remote_at is not None and event.occurred_at < link.last_remote_at
    return link.last_synced_at is not None and source.received_at < link.last_synced_at


def _silence(
    event: ContactChanged, link: ExternalId | None, lead: Lead | None, source: Source
) -> None:
    """Opt out the known numbers of a contact that must not be texted and names no number."""
    if not event.dnd.get("sms") or event.facts.get("phone"):
        return  # with a number the provider says so itself, and intake has acted on it
    for phone in phones_of(link, lead):
        emit(
            ContactOptedOut(
                external_id=event.external_id,
                occurred_at=event.occurred_at,
                address=phone,
                reason=f"{source.provider}: do not disturb",
            ),
            source=source,
        )


def _delete(
    event: ContactChanged, link: ExternalId | None, lead: Lead | None, source: Source
) -> str:
    """Note that a contact is gone. Its lead stays: it may be known from elsewhere."""
    link = link or _link(event, lead, source)
    ExternalId.objects.filter(pk=link.pk).update(
        deleted_at=event.occurred_at or source.received_at, last_synced_at=source.received_at
    )
    if lead is None:
        return "deleted before it was known"
    record_event(
        lead.pk,
        kind="contact_deleted",
        cause=cause_of(source.provider, "contact", event.external_id, "contact_deleted"),
        payload={"contact": event.external_id, "provider": source.provider},
    )
    return f"noted for {lead.pk}"


def _create(event: ContactChanged, source: Source) -> Lead:
    columns = {name: event.facts[name] for name in COLUMNS if event.facts.get(name)}
    lead = create_lead(
        phone=event.facts.get("phone", ""),
        email=event.facts.get("email", ""),
        source=source.provider,
        **columns,
    )
    agent = _agent(event.facts.get("assigned_to", ""))
    if agent is not None:
        Lead.objects.filter(pk=lead.pk).update(assigned_agent=agent)
    return lead


def _link(event: ContactChanged, lead: Lead | None, source: Source) -> ExternalId:
    link, _ = ExternalId.objects.get_or_create(
        integration_id=source.integration_id,
        kind="contact",
        external_id=event.external_id,
        defaults={"lead": lead},
    )
    return link


def _update(
    event: ContactChanged, lead: Lead, link: ExternalId, source: Source, *, may_empty: bool
) -> dict[str, Any]:
    """Return what is new for the timeline, each field as [before, after]; add points and labels."""
    told: dict[str, Any] = {}
    fields = _new_fields(event, lead, source, may_empty=may_empty)
    if fields:
        told["fields"] = {
            name: [str(before), str(after)] for name, (before, after) in fields.items()
        }
    added = [
        event.facts[kind]
        for kind in ("phone", "email")
        if event.facts.get(kind) not in (None, "", getattr(link, kind))
        and add_contact_point(lead.pk, kind=kind, value=event.facts[kind], source=source.provider)
    ]
    if added:
        told["contact_points"] = added
    told |= _retag(event, lead, link, source)
    if any(event.dnd.values()):
        told["do_not"] = sorted(channel for channel, is_on in event.dnd.items() if is_on)
    return told


def _new_fields(
    event: ContactChanged, lead: Lead, source: Source, *, may_empty: bool
) -> dict[str, tuple[Any, Any]]:
    """Return what differs from the lead and does not come from somebody who ranks higher.

    A field emptied there is emptied here only once linked.
    """
    fields: dict[str, tuple[Any, Any]] = {
        name: (getattr(lead, name), event.facts[name])
        for name in COLUMNS
        if name in event.facts
        and (event.facts[name] or may_empty)
        and getattr(lead, name) != event.facts[name]
    }
    if fields:
        may = allowed(
            lead.pk, {name: new for name, (_, new) in fields.items()}, source=source.provider
        )
        fields = {name: change for name, change in fields.items() if name in may}
    agent = _agent(event.facts.get("assigned_to", ""))
    if agent is not None and agent.pk != lead.assigned_agent_id:
        fields["assigned_agent_id"] = (lead.assigned_agent_id or "", agent.pk)
    return fields


def _agent(assigned_to: str) -> Actor | None:
    """Return the one of us whom another system names by e-mail."""
    if "@" not in assigned_to:
        return None
    return Actor.objects.filter(email__iexact=assigned_to, is_active=True).first()


def _retag(event: ContactChanged, lead: Lead, link: ExternalId, source: Source) -> dict[str, Any]:
    """Put and take labels as the contact's tags say; those that others put stay."""
    before = [str(tag) for tag in link.tags]
    after = list(event.tags) if event.tags is not None else before
    after = [tag for tag in [*after, *event.tags_added] if tag not in event.tags_removed]
    after = list(dict.fromkeys(after))
    put = [
        tag
        for tag in after
        if tag not in before
        and tag.lower() not in OUR_LABELS
        and put_label(lead.pk, key=tag[:MAX_LABEL], source=source.integration_id)
    ]
    gone = LeadLabel.objects.filter(
        lead=lead, source=source.integration_id, label__key__in=_keys(before) - _keys(after)
    )
    taken = list(gone.order_by("label__key").values_list("label__name", flat=True))
    if taken:
        gone.delete()
    link.tags = after
    told = {"tags_put": put, "tags_taken": taken}
    return {name: tags for name, tags in told.items() if tags}


def _keys(tags: Iterable[str]) -> set[str]:
    return {tag[:MAX_LABEL].lower() for tag in tags}


def _write(
    event: ContactChanged,
    lead: Lead,
    link: ExternalId,
    source: Source,
    *,
    kind: str,
    told: dict[str, Any],
    is_news: bool,
) -> None:
    """Write the lead's columns, its event and how new that is, in one call: backlogs are long."""
    at = event.occurred_at if event.is_ordered else None
    fields = {name: after for name, (_, after) in told.get("fields", {}).items()}
    if agent := fields.get("assigned_agent_id"):
        fields["assigned_agent_id"] = sql_id(agent)
    payload = {"contact": event.external_id, "provider": source.provider, **told}
    written = {
        "lead": sql_id(lead.pk),
        "link": sql_id(link.pk),
        "fields": fields,
        "kind": kind,
        "cause": cause_of(source.provider, "contact", event.external_id, kind, source.event_id),
        "payload": payload if is_news else None,
        # A clock that runs ahead must not make everything after it look old.
        "at": min(at, source.received_at).isoformat() if at else None,
        "received_at": source.received_at.isoformat(),
        "phone": event.facts.get("phone", link.phone),
        "email": event.facts.get("email", link.email),
        "tags": link.tags,
        "correlation_id": correlation_id(),
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT contact_told(%s, %s::jsonb)", [owner(), json.dumps(written)])
    if fields:
        remember(lead.pk, [name.removesuffix("_id") for name in fields], source=source.provider)


def hold_number(phone: str, *, source: Source, keyword: str, words: str) -> None:
    """Put a number on hold for words that look like a refusal, heard in another system."""
    record_choice(
        Choice(
            address=phone,
            kind="hold",
            source=source.provider,
            keyword=keyword,
            reason=words[:500],
            position=source.position,
            webhook_event=source.event_id,
        )
    )
