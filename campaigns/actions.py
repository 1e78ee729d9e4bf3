"""Everything that changes the call queue."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from campaigns.models import CallItem
from leads.actions import owner, sql_id
from tenants.context import current_tenant_id
from tenants.models import Tenant


def priority_of(reason: str, tenant: Tenant) -> int:
    """Return the tenant's priority for a reason to call; a person's wish ranks as a wanted call."""
    return {
        "gold": tenant.gold_label_priority,
        "email": tenant.email_priority,
    }.get(reason, tenant.wants_call_priority)


def queue_call(lead_id: str, *, reason: str) -> CallItem | None:
    """Put a lead into the call queue, or raise the priority of its open item.

    Returns None where the tenant's threshold keeps it out.
    """
    tenant = Tenant.objects.get(pk=current_tenant_id())
    priority = priority_of(reason, tenant)
    if priority < tenant.call_queue_threshold:
        return None
    item_id = CallItem._meta.pk.get_default()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO call_queue (tenant_id, id, lead_id, priority, reason, status, attempts,"
            " outcome) VALUES (%s, %s, %s, %s, %s, 'pending', 0, '')"
            " ON CONFLICT (tenant_id, lead_id) WHERE status IN ('pending', 'processing')"
            " DO UPDATE SET reason = CASE WHEN excluded.priority > call_queue.priority"
            "     THEN excluded.reason ELSE call_queue.reason END,"
            " priority = greatest(call_queue.priority, excluded.priority),"
            " updated_at = clock_timestamp()",
            [owner(), sql_id(item_id), sql_id(lead_id), priority, reason],
        )
    return CallItem.objects.get(lead_id=lead_id, status__in=["pending", "processing"])


def cancel_calls(lead_ids: Sequence[str], *, outcome: str) -> int:
    """Close the open items of these leads without a call; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE call_queue SET status = 'cancelled', outcome = %s,"
            " closed_at = clock_timestamp(), updated_at = clock_timestamp()"
            " WHERE tenant_id = %s AND lead_id = ANY(%s) AND status IN ('pending', 'processing')",
            [outcome, owner(), [sql_id(lead_id) for lead_id in lead_ids]],
        )
        return cursor.rowcount
