"""What a choice stopped, kept beside it for ever."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from leads.actions import owner, sql_id

_NOTE = """
    INSERT INTO consent_effects (tenant_id, id, consent_event_id, kind, subject, at)
    SELECT %(owner)s, ulid_new(), %(cause)s, kind, subject, clock_timestamp()
    FROM (
        SELECT CASE state WHEN 'queued' THEN 'text_cancelled' ELSE 'in_flight' END AS kind,
               ulid_text('obm', id) AS subject
        FROM outbound_messages
        WHERE tenant_id = %(owner)s AND to_address = %(who)s
          AND state IN ('queued', 'sending', 'unknown') AND purpose <> 'opt_out_confirmation'
        UNION ALL
        SELECT 'timer_cancelled', ulid_text('ltm', id) FROM lead_timers
        WHERE tenant_id = %(owner)s AND lead_id = ANY(%(leads)s::uuid[])
          AND fired_at IS NULL AND cancelled_at IS NULL
        UNION ALL
        SELECT 'lead_suppressed', ulid_text('lead', id) FROM leads
        WHERE tenant_id = %(owner)s AND id = ANY(%(leads)s::uuid[]) AND state <> 'suppressed'
        UNION ALL
        SELECT 'conversation_closed', ulid_text('conv', id) FROM conversations
        WHERE tenant_id = %(owner)s AND their_number = %(who)s AND status <> 'done'
    ) AS stopped
    ON CONFLICT (tenant_id, consent_event_id, kind, subject) DO NOTHING
"""


def note_effects(cause: str, *, address: str, lead_ids: Sequence[str]) -> int:
    """Write down what is about to be stopped for *address* by the choice *cause*; return how much.

    Args:
        cause: ``cev_…`` of the opt-out; its base row is locked.
        address: whose it is.
        lead_ids: the leads it concerns.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _NOTE,
            {
                "owner": owner(),
                "cause": sql_id(cause),
                "who": address,
                "leads": [sql_id(lead_id) for lead_id in lead_ids],
            },
        )
        return int(cursor.rowcount)
