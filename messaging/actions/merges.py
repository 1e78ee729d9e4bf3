"""What a merge of leads, and its end, mean for their texts."""

from __future__ import annotations

from django.db import connection

from leads.actions import cancel_timers, owner, sql_id
from leads.events import AddressSuppressed, LeadsMeet, LeadsUnmerged
from leads.models import ContactPoint
from messaging.actions.consent import leads_of
from messaging.models import Conversation, Message
from tenants.dispatch import emit
from tenants.ulids import to_text


def numbers_of(event: LeadsMeet) -> None:
    """Add the numbers of the leads' conversations to those that are to be locked."""
    theirs = Conversation.objects.filter(lead__in=event.lead_ids)
    event.addresses.update(theirs.values_list("their_number", flat=True))


def give_back(event: LeadsUnmerged) -> None:
    """Give texts and conversations that came since the merge to the lead whose number it is."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT message, is_inbound FROM texts_return(%s, %s, %s, %s)",
            [owner(), sql_id(event.survivor_id), sql_id(event.merged_id), event.since],
        )
        rows = cursor.fetchall()
    event.returned.update(to_text("msg", message) for message, _ in rows)
    if any(is_inbound for _, is_inbound in rows):
        event.heard.add(event.merged_id)
    own = Message.objects.filter(lead=event.survivor_id, direction="in")
    if own.filter(created_at__gt=event.since).exists():
        event.heard.add(event.survivor_id)


def keep_silent(event: LeadsUnmerged) -> None:
    """Opt-outs since the merge hold for whichever of the two lives by the number."""
    pair = (event.survivor_id, event.merged_id)
    points = ContactPoint.objects.filter(lead__in=pair, kind="phone")
    threads = Conversation.objects.filter(lead__in=pair)
    numbers = {
        *points.values_list("normalized", flat=True),
        *threads.values_list("their_number", flat=True),
    }
    for address, choice in _opted_out(numbers, event):
        silenced = tuple(lead for lead in leads_of(address) if lead in pair)
        for lead_id in silenced:
            event.opted_out[lead_id] = choice
            cancel_timers(lead_id, reason="opted out")
        emit(AddressSuppressed(address=address, lead_ids=silenced))


def _opted_out(numbers: set[str], event: LeadsUnmerged) -> list[tuple[str, str]]:
    """Return which of *numbers* opted out since the merge and still are, with the choice."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT ON (c.address) c.address, e.id FROM consents AS c"
            " JOIN consent_events AS e ON e.tenant_id = c.tenant_id AND e.consent_id = c.id"
            " WHERE c.tenant_id = %s AND c.channel = 'sms' AND c.scope = ''"
            "   AND c.address = ANY(%s) AND c.state = 'opted_out'"
            "   AND e.kind = 'opt_out' AND e.at > %s"
            " ORDER BY c.address, e.rev DESC",
            [owner(), sorted(numbers), event.since],
        )
        return [(address, to_text("cev", choice)) for address, choice in cursor.fetchall()]
