"""Faults 23 to 25 and 53: what consent must survive, for lists, scopes and erased people too."""

from __future__ import annotations

import io
import threading

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from integrations.models import WebhookWork
from leads.actions import Choice, record_choice
from leads.models import Consent
from messaging.actions.erasure import erase_address
from messaging.actions.suppressions import advance, apply_list, check_file
from messaging.models import Conversation, Message, OutboundMessage, PhoneNumber, SendAttempt
from messaging.sender import claim
from tenants.ulids import to_uuid
from tests.conftest import OURS, THEIRS, drain
from tests.messaging.conftest import _carrier, carrier, queue
from tests.raw import at_once, refused, rows

__all__ = ["_carrier", "carrier", "queue"]

#: An attempt whose claim saw a choice that forbade it.
VIOLATIONS = """
    SELECT o.id FROM outbound_messages AS o JOIN send_attempts AS a
      ON a.tenant_id = o.tenant_id AND a.outbound_id = o.id
    JOIN consents AS c ON c.tenant_id = o.tenant_id AND c.channel = 'sms'
     AND c.address IN (o.to_address, address_digest(o.to_address))
    JOIN consent_events AS e ON e.tenant_id = c.tenant_id AND e.consent_id = c.id
     AND e.state = 'opted_out' AND e.at < a.started_at
    WHERE o.purpose <> 'opt_out_confirmation'
"""
ROUNDS = 60


def queued(office, queue, many):
    for n in range(many):
        queue(office, f"n{n}", theirs=f"+1202{n:07d}")
    with office.inside():
        OutboundMessage.objects.update(due_at=timezone.now())
        PhoneNumber.objects.update(tokens=1000, burst=1000)
    return [f"+1202{n:07d}" for n in range(many)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scope", ["", f"number:{OURS}"])
def test_fault_23_a_stop_of_any_scope_races_claims(committed_office, queue, scope):
    office = committed_office
    people = queued(office, queue, ROUNDS)
    barrier = threading.Barrier(2)

    def stop():
        for theirs in people:
            barrier.wait(30)
            with office.inside():
                record_choice(Choice(address=theirs, kind="opt_out", scope=scope))

    def go():
        claimed = []
        for _ in people:
            barrier.wait(30)
            claimed += claim(office.tenant.pk, most=1)
        return claimed

    _, claimed = at_once([stop, go])

    assert isinstance(claimed, list), claimed
    assert claim(office.tenant.pk, most=ROUNDS) == []
    with office.inside():
        assert rows(VIOLATIONS) == []
        assert SendAttempt.objects.count() == len(claimed)


@pytest.mark.django_db(transaction=True)
def test_fault_23_a_list_races_claims(committed_office, queue):
    office = committed_office
    people = queued(office, queue, ROUNDS)
    with office.inside():
        made = check_file(io.BytesIO("\n".join(people).encode()), name="x", source="x", reason="x")
        apply_list(made.pk, actor_id=None)

    def go():
        claimed = []
        for _ in range(ROUNDS):
            claimed += claim(office.tenant.pk, most=3)
        return claimed

    _, claimed, others = at_once([lambda: advance(office.tenant.pk), go, go])

    assert isinstance(claimed, list), claimed
    assert claim(office.tenant.pk, most=ROUNDS) == []
    with office.inside():
        assert rows(VIOLATIONS) == []
        assert SendAttempt.objects.count() == len(claimed) + len(others)
        assert not OutboundMessage.objects.filter(state="queued").exists()


@pytest.mark.django_db(transaction=True)
def test_fault_23_an_erasure_races_a_stop(committed_office):
    office = committed_office
    for turn in range(15):
        theirs = f"+1303555{turn:04d}"
        payload = office.payload("STOP", theirs=theirs)

        def erase(theirs=theirs):
            with office.inside():
                erase_address(theirs, reason="asked for it", actor_id=None)

        answers = at_once([erase, lambda payload=payload: office.post(payload).status_code])

        assert answers == [None, 202]
        with office.inside():
            digest = rows("SELECT address_digest(%s)", theirs)[0][0]
            found = Consent.objects.get(address__in=[theirs, digest])
            assert (found.address, found.state) == (digest, "opted_out")


@pytest.mark.django_db
def test_fault_25_no_door_leads_into_sending_for_the_listed_or_erased(desk, queue):
    outbound = queue(desk, "hello")
    with desk.inside():
        record_choice(Choice(address=THEIRS, kind="opt_out", scope="list:sup_1"))
        into = "UPDATE outbound_messages SET state = 'sending', attempt = 1 WHERE id = %s"
        assert refused(into, [to_uuid(outbound.pk)]) == "LD001"
        with pytest.raises(DatabaseError), transaction.atomic():
            OutboundMessage.objects.filter(pk=outbound.pk).update(state="sending", attempt=1)


@pytest.fixture
def desk(office, carrier, settings):
    settings.BASE_URL = "http://127.0.0.1:9"
    with office.inside():
        office.integration.base_url = carrier.url
        office.integration.save()
    return office


@pytest.mark.django_db
def test_fault_53_erasure_then_replay_is_a_tombstone(office):
    office.receive("my name is Zanzibar, STOP")
    with office.inside():
        erase_address(THEIRS, reason="asked for it", actor_id=office.agent.pk)
        work = WebhookWork.objects.get()
        WebhookWork.objects.create(
            event=work.event,
            received_at=work.received_at,
            lane=work.lane,
            run_no=2,
            their_number=work.their_number,
            is_inbound=True,
            tenant=office.tenant,
        )

    drain()

    with office.inside():
        assert WebhookWork.objects.get(run_no=2).outcome == "erased"
        assert Message.objects.filter(direction="in").count() == Conversation.objects.count() == 1
        assert not Message.objects.exclude(body="").exists()
        assert Consent.objects.get().state in ("opted_out", "held")
