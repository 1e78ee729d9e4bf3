"""What must be true whatever was killed: asked of the database, as its owner, over all tenants.

Each entry of ``INVARIANTS`` finds the rows that break one promise; none may be found, at any
moment. ``unsettled`` finds what is still to be done, for when everything should be done.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import psycopg

from tests.carrier import Carrier
from tests.raw import connected

INVARIANTS = {
    "every receipt has one event and every event its first work": """
        SELECT coalesce(r.event, e.id, w.event) FROM webhook_receipts AS r
        FULL JOIN webhook_events AS e ON e.id = r.event
        FULL JOIN (SELECT tenant_id, event FROM webhook_work WHERE run_no = 1) AS w
          ON w.tenant_id = e.tenant_id AND w.event = e.id
        WHERE r.event IS NULL OR e.id IS NULL OR w.event IS NULL
    """,
    "an event has one receipt": """
        SELECT event FROM webhook_receipts GROUP BY event HAVING count(*) > 1
    """,
    "an event is stored once": """
        SELECT id FROM webhook_events GROUP BY id HAVING count(*) > 1
    """,
    "an effect on a lead happens once per cause": """
        SELECT tenant_id, dedupe_key FROM lead_events WHERE dedupe_key IS NOT NULL
        GROUP BY tenant_id, dedupe_key HAVING count(*) > 1
    """,
    "a provider's text is one message": """
        SELECT tenant_id, provider, external_id FROM messages WHERE external_id IS NOT NULL
        GROUP BY tenant_id, provider, external_id HAVING count(*) > 1
    """,
    "a webhook counts once as a choice of one kind": """
        SELECT tenant_id, consent_id, webhook_event, kind FROM consent_events
        WHERE webhook_event IS NOT NULL
        GROUP BY tenant_id, consent_id, webhook_event, kind HAVING count(*) > 1
    """,
    "a text that was processed stands in its thread": """
        SELECT w.tenant_id, w.seq, w.outcome FROM webhook_work AS w
        WHERE w.state = 'done' AND w.is_inbound AND w.outcome NOT LIKE 'duplicate of%'
          AND NOT EXISTS (SELECT FROM messages AS m
                          WHERE m.tenant_id = w.tenant_id AND m.webhook_event = w.event)
    """,
    "a text is filed with its effect": """
        SELECT m.tenant_id, m.id FROM messages AS m
        WHERE m.direction = 'in' AND m.webhook_event IS NOT NULL AND NOT EXISTS (
            SELECT FROM lead_events AS e WHERE e.tenant_id = m.tenant_id
               AND e.dedupe_key = m.provider || ':' || m.external_id || ':received')
    """,
    "texts of a lane act in the order of their work": """
        SELECT tenant_id, lane, seq FROM (
            SELECT w.tenant_id, w.lane, w.seq, e.seq AS place,
                   lag(e.seq) OVER (PARTITION BY w.tenant_id, w.lane, e.lead_id
                                    ORDER BY w.seq) AS before
            FROM webhook_work AS w
            JOIN messages AS m ON m.tenant_id = w.tenant_id AND m.webhook_event = w.event
            JOIN lead_events AS e ON e.tenant_id = m.tenant_id
             AND e.dedupe_key = m.provider || ':' || m.external_id || ':received'
            WHERE w.run_no = 1 AND w.state = 'done') AS told
        WHERE before > place
    """,
    "a lead is in the state of its last event": """
        SELECT l.tenant_id, l.id FROM leads AS l
        LEFT JOIN LATERAL (
            SELECT e.seq, e.to_state FROM lead_events AS e
            WHERE e.tenant_id = l.tenant_id AND e.lead_id = l.id
            ORDER BY e.seq DESC LIMIT 1) AS last ON true
        WHERE last.seq IS DISTINCT FROM l.event_seq OR last.to_state <> l.state
    """,
    "the events of a lead are a chain without gaps": """
        SELECT tenant_id, lead_id, seq FROM (
            SELECT tenant_id, lead_id, seq, from_state,
                   lag(seq) OVER chain AS seq_before, lag(to_state) OVER chain AS ended
            FROM lead_events WINDOW chain AS (PARTITION BY tenant_id, lead_id ORDER BY seq)
        ) AS link
        WHERE seq <> coalesce(seq_before + 1, 0) OR from_state IS DISTINCT FROM ended
    """,
    "every move of a lead is a move of the machine": """
        SELECT tenant_id, lead_id, seq FROM lead_events AS e
        WHERE from_state <> to_state AND NOT EXISTS (
            SELECT FROM lead_transitions AS t
            WHERE t.from_state = e.from_state AND t.to_state = e.to_state)
    """,
    "consent is what its last event left": """
        SELECT c.tenant_id, c.id FROM consents AS c
        LEFT JOIN consent_events AS e
          ON e.tenant_id = c.tenant_id AND e.consent_id = c.id AND e.rev = c.rev
        WHERE c.rev > 0 AND e.state IS DISTINCT FROM c.state
    """,
    "the choices about an address are a chain without gaps": """
        SELECT c.tenant_id, c.id FROM consents AS c
        WHERE c.rev <> (SELECT count(*) FROM consent_events AS e
                        WHERE e.tenant_id = c.tenant_id AND e.consent_id = c.id)
    """,
    "nothing was claimed for who had opted out": """
        SELECT a.tenant_id, a.id FROM send_attempts AS a
        JOIN outbound_messages AS o ON o.tenant_id = a.tenant_id AND o.id = a.outbound_id
        JOIN consent_events AS e ON e.tenant_id = o.tenant_id AND e.consent_id = o.consent_id
         AND e.rev = a.consent_rev
        WHERE e.state = 'opted_out' AND o.purpose <> 'opt_out_confirmation'
    """,
    "nothing automatic was claimed for who was on hold": """
        SELECT a.tenant_id, a.id FROM send_attempts AS a
        JOIN outbound_messages AS o ON o.tenant_id = a.tenant_id AND o.id = a.outbound_id
        JOIN consent_events AS e ON e.tenant_id = o.tenant_id AND e.consent_id = o.consent_id
         AND e.rev = a.consent_rev
        WHERE e.state = 'held' AND o.is_automated AND o.purpose <> 'opt_out_confirmation'
    """,
    "an opt-out is confirmed at most once": """
        SELECT tenant_id, consent_event_id FROM outbound_messages
        WHERE purpose = 'opt_out_confirmation'
        GROUP BY tenant_id, consent_event_id HAVING count(*) > 1
    """,
    "a text is asked for once": """
        SELECT tenant_id, send_key FROM outbound_messages
        GROUP BY tenant_id, send_key HAVING count(*) > 1
    """,
    "an attempt is written once, and all of them are": """
        SELECT o.tenant_id, o.id FROM outbound_messages AS o
        WHERE o.attempt <> (SELECT count(*) FROM send_attempts AS a
                           WHERE a.tenant_id = o.tenant_id AND a.outbound_id = o.id)
    """,
    "a text the provider took was taken by one attempt": """
        SELECT a.tenant_id, a.outbound_id FROM send_outcomes AS s
        JOIN send_attempts AS a ON a.tenant_id = s.tenant_id AND a.id = s.attempt_id
        WHERE s.kind IN ('accepted', 'delivered', 'undelivered')
        GROUP BY a.tenant_id, a.outbound_id HAVING count(DISTINCT a.attempt) > 1
    """,
    "no tenant sends more in a day than its cap": """
        SELECT tenant_id, day, sent, cap FROM daily_sends WHERE sent > cap
    """,
    "every attempt is counted on its day": """
        SELECT d.tenant_id, d.day, d.sent FROM daily_sends AS d
        JOIN tenants AS t ON t.id = d.tenant_id
        WHERE d.sent <> (SELECT count(*) FROM send_attempts AS a WHERE a.tenant_id = d.tenant_id
                            AND (a.started_at AT TIME ZONE t.time_zone)::date = d.day)
    """,
    "no number sends more in a day than its cap": """
        SELECT tenant_id, id, sent_today, daily_cap FROM phone_numbers
        WHERE sent_today > daily_cap
    """,
    "a thread shows what became of a text": """
        SELECT o.tenant_id, o.id, o.state, m.status FROM outbound_messages AS o
        JOIN messages AS m ON m.tenant_id = o.tenant_id AND m.id = o.message_id
        WHERE m.status <> CASE o.state WHEN 'sending' THEN m.status ELSE o.state END
          AND o.state <> 'queued'
    """,
    "a timer that fired left its trace, and no other did": """
        SELECT t.tenant_id, t.id FROM lead_timers AS t
        WHERE (t.fired_at IS NOT NULL) <> EXISTS (
            SELECT FROM lead_events AS e WHERE e.tenant_id = t.tenant_id
               AND e.dedupe_key = ulid_text('ltm', t.id) || ':fired')
    """,
}

#: What remains to be done; a text that cannot be known any more is not among it.
UNSETTLED = {
    "work": "SELECT tenant_id, seq, lane, attempts, last_error FROM webhook_work"
    " WHERE state = 'ready'",
    "texts in flight": "SELECT tenant_id, id, state FROM outbound_messages"
    " WHERE state = 'sending' OR state = 'queued' AND due_at <= clock_timestamp()",
    "timers": "SELECT tenant_id, id FROM lead_timers WHERE fired_at IS NULL"
    " AND cancelled_at IS NULL AND fire_at <= clock_timestamp()",
}


def broken(own: psycopg.Connection[Any] | None = None) -> dict[str, list[tuple]]:
    """Return the promises that rows break, with up to ten of those rows each."""
    return _ask(INVARIANTS, own)


def unsettled(own: psycopg.Connection[Any] | None = None) -> dict[str, list[tuple]]:
    """Return what is ready to be done and not done yet."""
    return _ask(UNSETTLED, own)


def assert_sound(own: psycopg.Connection[Any] | None = None) -> None:
    """Fail with the names of the broken promises, and what breaks them."""
    assert broken(own) == {}


def sent_more_than_once(carrier: Carrier) -> dict[tuple[str, str], int]:
    """Return (recipient, body) of texts that the carrier took more than once.

    Only for tests whose every text has a body of its own.
    """
    texts = carrier.client.get("/_control/texts").json()["texts"]
    taken = Counter(
        (text["recipientPhoneNumber"], text["messageBody"])
        for text in texts
        if text["direction"] == "OUTBOUND" and text["status"] != "FAILED"
    )
    return {text: times for text, times in taken.items() if times > 1}


def _ask(questions: dict[str, str], own: psycopg.Connection[Any] | None) -> dict[str, list[tuple]]:
    if own is None:
        with connected(as_owner=True) as as_owner:
            return _ask(questions, as_owner)
    found = {name: own.execute(sql).fetchmany(10) for name, sql in questions.items()}
    return {name: rows for name, rows in found.items() if rows}
