"""What was done with a lead's person, here or elsewhere, and the words people put on leads."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from leads.models import Label, Lead, LeadActivity, LeadCard, LeadLabel
from leads.models.label import LABEL_KINDS
from tenants.actions import note
from tenants.context import database_now
from tenants.correlation import correlation_id

LONGEST_KEY = 40


class WordRefused(Exception):
    """It is no word for a lead; nothing was written."""


@transaction.atomic
def record_activity(
    lead_id: str,
    *,
    kind: str,
    external_id: str | None = None,
    at: datetime | None = None,
    **details: Any,
) -> tuple[LeadActivity, bool]:
    """Write down that something was done; tell whether it is new.

    One *external_id* is one activity of the tenant: told again, it stays as it was told first.

    Args:
        lead_id: ``lead_…``.
        kind: what, such as ``call`` or ``note``.
        external_id: of the system where it was done, with that system's name before it.
        at: when; None: now.
        details: further columns of ``LeadActivity``: card, channel, worker, subject…

    Raises:
        Lead.DoesNotExist: no such lead in this tenant.
    """
    Lead.objects.only("id").get(pk=lead_id)
    if external_id is not None:
        known = LeadActivity.objects.filter(external_id=external_id).first()
        if known is not None:
            return known, False
    card = details.pop("card_id", None)
    if card is None:
        newest = LeadCard.objects.filter(lead=lead_id).order_by("-total_score", "id")
        card = newest.values_list("pk", flat=True).first()
    made = LeadActivity(
        lead_id=lead_id,
        kind=kind[:40],
        external_id=external_id,
        card_id=card,
        at=at or database_now(),
        correlation_id=correlation_id(),
        **details,
    )
    # Two that tell it at the same moment: the second waits for the first, and finds its row.
    LeadActivity.objects.bulk_create([made], ignore_conflicts=True)
    stored = LeadActivity.objects.filter(pk=made.pk).first()
    if stored is not None:
        return stored, True
    return LeadActivity.objects.get(external_id=external_id), False


@transaction.atomic
def put_word(lead_id: str, *, kind: str, key: str, source: str, actor_id: str | None) -> bool:
    """Put a label, tag or flag on a lead, made when it is new; False when it is there already.

    Flags stand in ``leads.flags``, too: the database keeps both in step.

    Raises:
        WordRefused: it is empty, too long, or of no kind there is.
        Lead.DoesNotExist: no such lead in this tenant.
    """
    name = " ".join(key.split())
    if kind not in LABEL_KINDS:
        raise WordRefused("It is a label, a tag or a flag.")
    if not name or len(name) > LONGEST_KEY or "\0" in name:
        raise WordRefused(f"Give it a name of 1 to {LONGEST_KEY} characters.")
    lead = Lead.objects.select_for_update(no_key=True).only("id").get(pk=lead_id)
    word, _ = Label.objects.get_or_create(kind=kind, key=name.lower(), defaults={"name": name})
    _, is_new = LeadLabel.objects.get_or_create(lead=lead, label=word, defaults={"source": source})
    if is_new and actor_id is not None:
        note(f"lead.{kind}_put", actor_id=actor_id, subject=lead, after={kind: word.key})
    return is_new


@transaction.atomic
def take_word(lead_id: str, *, kind: str, key: str, actor_id: str | None) -> bool:
    """Take a label, tag or flag off a lead; False when it is not there.

    Raises:
        Lead.DoesNotExist: no such lead in this tenant.
    """
    lead = Lead.objects.select_for_update(no_key=True).only("id").get(pk=lead_id)
    rows = LeadLabel.objects.filter(lead=lead, label__kind=kind, label__key=key.strip().lower())
    taken = bool(rows.delete()[0])
    if taken and actor_id is not None:
        note(f"lead.{kind}_taken", actor_id=actor_id, subject=lead, before={kind: key})
    return taken
