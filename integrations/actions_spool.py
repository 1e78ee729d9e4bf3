"""Decisions of people about spools of web hosts."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from integrations.models import SpoolHost
from tenants.actions import note
from tenants.context import tenant_context
from tenants.models import PLATFORM_TENANT_ID, User

#: A host that was heard of within this time is not gone.
ALIVE = timedelta(minutes=1)


class HostNotRetired(Exception):
    """The host may not be retired; the text says why, and nothing was written."""


@transaction.atomic
def retire_host(host_id: UUID, *, user: User, reason: str) -> SpoolHost:
    """Give up a web host that never comes back, with whatever its spool may hold.

    Sends no longer wait for it. Should it come back all the same, it drains what it has under a
    new id.

    Args:
        host_id: of ``spool_hosts``.
        user: platform staff.
        reason: in the person's own words.

    Raises:
        HostNotRetired: no platform staff, no reason, or the host lives, or was retired before.
    """
    reason = reason.strip()
    if not (user.is_active and user.is_superuser):
        raise HostNotRetired("Only platform staff may retire a host.")
    if not reason:
        raise HostNotRetired("Say why it never comes back.")
    row = SpoolHost.objects.select_for_update().filter(pk=host_id).first()
    if row is None or row.retired_at is not None:
        raise HostNotRetired("There is no such host.")
    if SpoolHost.objects.filter(pk=host_id, heard_at__gt=Now() - ALIVE, stopped_at=None).exists():
        raise HostNotRetired("It was heard of within the last minute. Stop it instead.")
    SpoolHost.objects.filter(pk=host_id).update(
        retired_at=Now(), retired_by=user.get_username()[:150], reason=reason
    )
    with tenant_context(PLATFORM_TENANT_ID):
        note(
            "spool_host.retired",
            actor_id=None,
            subject=row,
            before={"name": row.name, "pending": row.pending},
            after={"by": user.get_username()},
            reason=reason,
        )
    row.refresh_from_db()
    return row
