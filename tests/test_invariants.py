"""The invariants themselves: they hold after a day's work, and each finds what would break it."""

from __future__ import annotations

import pytest

from leads.actions import arm_timer
from tests import invariants
from tests.carrier import send_due
from tests.conftest import THEIRS, drain
from tests.messaging.conftest import _carrier, carrier, queue  # noqa: F401
from tests.raw import connected

pytestmark = pytest.mark.django_db(transaction=True)

#: Sentences, run as the owner past every guard, and the promise each breaks.
BREAKS = {
    "DELETE FROM webhook_receipts": "every receipt has one event and every event its first work",
    "UPDATE webhook_receipts SET idem_key = sha256(idem_key) WHERE true;"
    " INSERT INTO webhook_receipts SELECT tenant_id, source, sha256('x'), body_hash, event"
    " FROM webhook_receipts LIMIT 1": "an event has one receipt",
    "UPDATE webhook_work SET outcome = 'x', state = 'done', is_inbound = true,"
    " processed_at = now(), event = gen_random_uuid()": "a text that was processed stands in"
    " its thread",
    "DELETE FROM lead_events WHERE kind = 'message_received'": "a text is filed with its effect",
    "DELETE FROM lead_events WHERE seq = 1": "the events of a lead are a chain without gaps",
    "UPDATE leads SET state = 'closed'": "a lead is in the state of its last event",
    "UPDATE lead_events SET from_state = 'new', to_state = 'closed' WHERE seq = 1": "every move of"
    " a lead is a move of the machine",
    "UPDATE consents SET state = 'opted_in' WHERE state = 'opted_out'": "consent is what its last"
    " event left",
    "UPDATE consents SET rev = rev + 1": "the choices about an address are a chain without gaps",
    "UPDATE send_attempts AS a SET consent_rev = (SELECT max(rev) FROM consent_events)": "nothing"
    " was claimed for who had opted out",
    "DELETE FROM send_attempts WHERE attempt = 1; UPDATE outbound_messages SET attempt = 3": "an"
    " attempt is written once, and all of them are",
    "ALTER TABLE daily_sends DROP CONSTRAINT daily_sends_cap;"
    " UPDATE daily_sends SET cap = 0": "no tenant sends more in a day than its cap",
    "UPDATE daily_sends SET sent = sent + 1": "every attempt is counted on its day",
    "ALTER TABLE phone_numbers DROP CONSTRAINT phone_numbers_cap;"
    " UPDATE phone_numbers SET daily_cap = 0": "no number sends more in a day than its cap",
    "UPDATE messages SET status = 'failed' WHERE direction = 'out'": "a thread shows what became"
    " of a text",
    "UPDATE lead_timers SET fired_at = now(), cancelled_at = NULL": "a timer that fired left its"
    " trace, and no other did",
}


@pytest.fixture
def busy(committed_office, carrier, queue):  # noqa: F811
    """An office where everything happened that an invariant speaks of."""
    office = committed_office
    with office.inside():
        office.integration.base_url = carrier.url
        office.integration.save()
    for text in ("hello", "how are you"):
        office.receive(text)
    for n in range(2):
        queue(office, f"Hi {n}")
    send_due(office)
    with office.inside():
        arm_timer(office.lead("+12025550143").pk, kind="7D", days=7)
    office.post(office.payload("STOP"))
    drain()
    send_due(office)
    return office


def test_a_days_work_leaves_every_promise_kept(busy, carrier):  # noqa: F811
    assert invariants.broken() == {}
    assert invariants.unsettled() == {}
    assert invariants.sent_more_than_once(carrier) == {}
    assert len(carrier.accepted(THEIRS)) == 3


def test_every_break_is_found(busy):
    with connected(as_owner=True) as own:
        for sentence, promise in BREAKS.items():
            own.execute("SET LOCAL session_replication_role = replica")
            own.execute(sentence.encode())
            assert promise in invariants.broken(own), sentence
            own.rollback()


def test_what_is_still_to_do_is_found(busy, queue):  # noqa: F811
    busy.post(busy.payload("hello", theirs="+12025550144"))
    queue(busy, "later", theirs="+12025550145")

    assert set(invariants.unsettled()) == {"work", "texts in flight"}
