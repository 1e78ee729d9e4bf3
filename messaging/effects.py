"""What one webhook wrote, found without an index of its own on the large tables.

Ids carry their time: rows that an event wrote were made around the moment it was processed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse

from integrations.models import WebhookEvent, WebhookWork
from leads.models import ConsentEvent, LeadEvent
from messaging.models import Message
from tenants.ulids import encode

#: Clocks of hosts may differ by this much, and a transaction may take as long.
AROUND = timedelta(minutes=2)
MOST = 50


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A row that an event wrote."""

    kind: str
    text: str
    at: datetime
    row_id: str
    url: str = ""


def effects_of(event: WebhookEvent, runs: list[WebhookWork], slug: str) -> list[Effect]:
    """Return what an event's runs wrote, in order: messages, lead events, choices of consent."""
    found: list[Effect] = []
    leads: set[str] = set()
    for run in runs:
        if run.processed_at is None:
            continue
        for message in _around(Message.objects.select_related("conversation"), "msg", run):
            if message.webhook_event != event.pk and (
                not event.correlation_id or message.correlation_id != event.correlation_id
            ):
                continue
            leads.add(message.lead_id)
            found.append(_message(message, slug))
    for fact in LeadEvent.objects.filter(
        lead__in=leads, correlation_id=event.correlation_id
    ).order_by("at", "seq")[:MOST]:
        found.append(_fact(fact, slug))
    found.extend(_choices(event, runs, slug))
    return sorted(found, key=lambda effect: effect.at)[:MOST]


def _around(rows: QuerySet[Any], prefix: str, run: WebhookWork) -> list[Any]:
    assert run.processed_at is not None  # noqa: S101  (asked by the caller)
    first, last = run.processed_at - AROUND, run.processed_at + AROUND
    within = rows.filter(id__gte=_id(prefix, first), id__lte=_id(prefix, last))
    if run.their_number:
        within = within.filter(conversation__their_number=run.their_number)
    return list(within.order_by("id")[: 20 * MOST])


def _id(prefix: str, moment: datetime) -> str:
    return f"{prefix}_{encode(int(moment.timestamp() * 1000) << 80)}"


def _message(message: Message, slug: str) -> Effect:
    direction = "Text received" if message.direction == "in" else "Text queued"
    thread = message.conversation
    return Effect(
        kind=direction,
        text=message.body[:160],
        at=message.created_at,
        row_id=message.pk,
        url=reverse("messaging:thread-page", args=[slug, thread.stage, thread.pk]),
    )


def _fact(fact: LeadEvent, slug: str) -> Effect:
    moved = fact.from_state and fact.from_state != fact.to_state
    return Effect(
        kind="Lead moved" if moved else "Lead event",
        text=f"{fact.from_state} → {fact.to_state}" if moved else fact.kind.replace("_", " "),
        at=fact.at,
        row_id=fact.lead_id,
        url=reverse("messaging:lead", args=[slug, fact.lead_id]),
    )


def _choices(event: WebhookEvent, runs: list[WebhookWork], slug: str) -> list[Effect]:
    numbers = {run.their_number for run in runs if run.their_number}
    chosen = ConsentEvent.objects.filter(
        consent__address__in=numbers, webhook_event=event.pk
    ).select_related("consent")
    return [
        Effect(
            kind="Consent",
            text=choice.get_kind_display() + (f" “{choice.keyword}”" if choice.keyword else ""),
            at=choice.at,
            row_id=choice.pk,
            url=reverse("messaging:optout", args=[slug, choice.consent.address]),
        )
        for choice in chosen[:MOST]
    ]
