"""The right to be forgotten, without forgetting that somebody said stop."""

from __future__ import annotations

from django.db import connection, transaction

from leads.actions import owner, sql_id
from leads.models import Redaction
from tenants.actions import note
from tenants.correlation import correlation_id
from tenants.ulids import to_text


class ErasureRefused(Exception):
    """Nothing was erased."""


@transaction.atomic
def erase_address(address: str, *, reason: str, actor_id: str | None) -> Redaction:
    """Erase a number or an e-mail address from everything this tenant has; it cannot be undone.

    What was said to and by it is blanked; ids, kinds, hashes and times stay. Its consents keep a
    keyed hash, by which every send and every STOP or START still finds them.

    Args:
        address: E.164, or a folded e-mail address.
        reason: why, kept for ever; it must not name the person.
        actor_id: who does it.

    Raises:
        ErasureRefused: no reason was given, or the address is erased already.
    """
    if not reason.strip():
        raise ErasureRefused("Say why this is erased.")
    if address.startswith("erased:"):
        raise ErasureRefused("This address is erased already.")
    if address in reason:
        raise ErasureRefused("The reason is kept: leave the address out of it.")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT erase_address(%s, %s, %s, %s, %s)",
            [owner(), address, reason.strip()[:500], sql_id(actor_id), correlation_id()],
        )
        redaction = Redaction.objects.get(pk=to_text("rdc", cursor.fetchone()[0]))
    note("address.erased", actor_id=actor_id, subject=redaction, reason=redaction.reason)
    return redaction
