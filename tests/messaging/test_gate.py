"""The gate in the database: nothing enters ``sending`` for an opted-out number, by no door."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.events import MessageStatus
from integrations.models import WebhookWork
from leads.actions import Choice, base_consent_id, record_choice
from leads.models import ConsentEvent
from messaging.actions.consent import confirm_opt_out
from messaging.models import Conversation, Message, OutboundMessage, SendOutcome
from messaging.outcomes import apply_status
from messaging.sender import claim
from tenants.ulids import new_id, to_uuid
from tests import raw
from tests.conftest import OURS, THEIRS

pytestmark = pytest.mark.django_db

SENDING = {"state": "sending", "attempt": 1, "consent_rev": 0}


def code_of(error):
    return error.value.__cause__.sqlstate


def choose(kind, address=THEIRS, **more):
    return record_choice(Choice(address=address, kind=kind, **more))


def row_like(outbound, **values):
    """An unsaved outbox row of the same conversation, with a message of its own."""
    message = Message.objects.create(
        conversation_id=outbound.conversation_id,
        lead_id=outbound.lead_id,
        direction="out",
        sender=OURS,
        recipient=THEIRS,
        body="x",
        provider="signalhouse",
        status="queued",
    )
    fields = {
        "send_key": new_id("key"),
        "message": message,
        "conversation_id": outbound.conversation_id,
        "lead_id": outbound.lead_id,
        "consent_id": outbound.consent_id,
        "phone_number_id": outbound.phone_number_id,
        "to_address": THEIRS,
        "body": "x",
        "purpose": "reply",
        "verdict": {},
    }
    return OutboundMessage(**{**fields, **values})


# --- every door -------------------------------------------------------------------------------

DOORS = {
    "save": lambda row: (setattr(row, "state", "sending"), setattr(row, "attempt", 1),
                         setattr(row, "consent_rev", 9), row.save()),
    "update": lambda row: OutboundMessage.objects.filter(pk=row.pk).update(**SENDING),
    "update of all": lambda row: OutboundMessage.objects.update(**SENDING),
    "bulk_update": lambda row: (
        setattr(row, "state", "sending"), setattr(row, "attempt", 1),
        setattr(row, "consent_rev", 9),
        OutboundMessage.objects.bulk_update([row], ["state", "attempt", "consent_rev"]),
    ),
    "create": lambda row: row_like(row, **SENDING).save(),
    "bulk_create": lambda row: OutboundMessage.objects.bulk_create([row_like(row, **SENDING)]),
    "raw update": lambda row: connection.cursor().execute(
        "UPDATE outbound_messages SET state = 'sending', attempt = 1, consent_rev = 1"
    ),
    "raw upsert": lambda row: connection.cursor().execute(
        "INSERT INTO outbound_messages SELECT * FROM outbound_messages"
        " ON CONFLICT (id) DO UPDATE SET state = 'sending', attempt = 1, consent_rev = 1"
    ),
    "history switch": lambda row: (
        connection.cursor().execute("SET LOCAL app.history = 'on'"),
        row_like(row, **SENDING).save(),
    ),
    "another purpose": lambda row: row_like(row, purpose="help", **SENDING).save(),
    "another consent row": lambda row: row_like(
        row, consent_id=base_consent_id("+12025550188"), **SENDING
    ).save(),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_no_door_leads_to_an_opted_out_number(office, queue, door):
    outbound = queue(office)
    with office.inside():
        choose("opt_out")

        with pytest.raises(DatabaseError) as caught, transaction.atomic():
            door(outbound)

        assert code_of(caught) == "LD001"
        assert not OutboundMessage.objects.filter(state="sending").exists()


@pytest.mark.parametrize("name", ["save", "update", "create", "raw update", "raw upsert"])
def test_the_same_doors_are_open_for_others(office, queue, name):
    outbound = queue(office)
    with office.inside():
        choose("opt_in")

        DOORS[name](outbound)

        sent = OutboundMessage.objects.get(state="sending")
        assert sent.consent_rev == 1  # whatever the door claimed


def test_without_a_consent_row_nothing_is_sent(office, queue):
    outbound = queue(office)
    with office.inside():
        with pytest.raises(DatabaseError) as caught, transaction.atomic():
            row_like(outbound, to_address="+12025550188", **SENDING).save()

        assert code_of(caught) == "LD002"


def test_a_narrow_opt_out_shuts_the_gate_for_its_number(office, queue):
    outbound = queue(office)
    with office.inside():
        choose("opt_out", scope=f"number:{OURS}")
        with pytest.raises(DatabaseError) as caught, transaction.atomic():
            DOORS["update"](outbound)
        assert code_of(caught) == "LD001"


def test_a_hold_shuts_the_gate_for_automation_only(office, queue):
    outbound = queue(office)
    with office.inside():
        choose("hold")
        with pytest.raises(DatabaseError) as caught, transaction.atomic():
            row_like(outbound, is_automated=True, **SENDING).save()
        assert code_of(caught) == "LD001"

        row_like(outbound, **SENDING).save()


def test_consent_of_another_tenant_counts_for_nothing(office, other_office, queue):
    outbound = queue(office)
    with other_office.inside():
        choose("opt_out")

    assert [one.outbound_id for one in claim(office.tenant.pk, most=5)] == [outbound.pk]


# --- the one exception ------------------------------------------------------------------------


def confirming(outbound, event, **more):
    return row_like(
        outbound, purpose="opt_out_confirmation", consent_event_id=event, is_automated=True,
        **{**SENDING, **more},
    )  # fmt: skip


def refused_save(row):
    with pytest.raises(DatabaseError) as caught, transaction.atomic():
        row.save()
    cause = caught.value.__cause__
    return cause.diag.constraint_name or cause.sqlstate


def test_the_confirmation_of_an_opt_out_passes_once(office, queue):
    outbound = queue(office)
    with office.inside():
        event = choose("opt_out")

        confirming(outbound, event).save()

        assert refused_save(confirming(outbound, event)) == "ux_outbound_one_confirmation"


def test_a_confirmation_needs_an_opt_out_of_this_very_number(office, queue):
    outbound = queue(office)
    with office.inside():
        elsewhere = choose("opt_out", address="+12025550188")
        choose("opt_out")
        hold = choose("hold")

        assert refused_save(confirming(outbound, elsewhere)) == "LD001"
        assert refused_save(confirming(outbound, hold)) == "LD001"
        assert refused_save(confirming(outbound, None)) in (
            "LD001",
            "outbound_confirmation_has_cause",
        )


def test_a_confirmation_is_for_five_minutes(office, queue):
    outbound = queue(office)
    with office.inside():
        event = choose("opt_out")
        consent = ConsentEvent.objects.get(pk=event).consent_id
        # An event of six minutes ago, by the same door the demo's history uses: a plain insert.
        old = ConsentEvent.objects.create(
            consent_id=consent,
            rev=2,
            kind="opt_out",
            state="opted_out",
            source="texting",
            at=timezone.now() - timedelta(minutes=6),
        )

        assert refused_save(confirming(outbound, old.pk)) == "LD001"


def test_a_confirmation_that_waited_too_long_is_cancelled(office, queue):
    outbound = queue(office)
    with office.inside():
        event = choose("opt_out")
        consent = ConsentEvent.objects.get(pk=event).consent_id
        old = ConsentEvent.objects.create(
            consent_id=consent,
            rev=2,
            kind="opt_out",
            state="opted_out",
            source="texting",
            at=timezone.now() - timedelta(minutes=6),
        )
        late = confirming(outbound, old.pk, state="queued", attempt=0, consent_rev=None)
        late.save()

    claim(office.tenant.pk, most=5)

    with office.inside():
        late.refresh_from_db()
        assert (late.state, late.attempt) == ("cancelled", 0)


def test_a_text_does_not_become_a_confirmation(office, queue):
    outbound = queue(office)
    with office.inside():
        event = choose("opt_out")
        for change in (
            "purpose = 'opt_out_confirmation'",
            f"consent_event_id = '{to_uuid(event)}'",
            "to_address = '+12025550188'",
            "body = 'something else'",
            "send_key = 'another'",
        ):
            assert raw.refused(f"UPDATE outbound_messages SET {change}") in (
                "LD003",
                "outbound_confirmation_has_cause",
            )
        outbound.refresh_from_db()
        assert (outbound.purpose, outbound.state) == ("reply", "queued")


def test_the_confirmation_names_no_offer_and_is_queued_once(office):
    office.receive("STOP")
    with office.inside():
        event = ConsentEvent.objects.get(kind="opt_out")
        confirm_opt_out(
            Conversation.objects.select_related("lead", "phone_number__integration").get(),
            consent_event_id=event.pk,
        )

        assert OutboundMessage.objects.count() == 1


# --- states -----------------------------------------------------------------------------------

ORDER = {
    "queued": {"sending", "suppressed", "cancelled", "failed"},
    "sending": {"queued", "sent", "delivered", "undelivered", "failed", "unknown", "suppressed",
                "cancelled"},
    "unknown": {"sent", "delivered", "undelivered", "failed"},
    "sent": {"delivered", "undelivered", "failed"},
}  # fmt: skip
STATES = list(OutboundMessage.STATES)


def outbound_in(office, queue, state):
    """Bring a text into a state the way it gets there."""
    outbound = queue(office)
    with office.inside():
        for step in {"queued": [], "sending": ["sending"]}.get(state, ["sending", state]):
            OutboundMessage.objects.filter(pk=outbound.pk).update(
                state=step, attempt=1, consent_rev=0
            )
    return outbound


@pytest.mark.parametrize("here", STATES)
def test_states_of_a_text_only_move_forward(office, queue, here):
    outbound = outbound_in(office, queue, here)
    with office.inside():
        for there in STATES:
            if there == here or there in ORDER.get(here, ()):
                continue
            change = f"state = '{there}', attempt = 1, consent_rev = 0"
            assert raw.refused(f"UPDATE outbound_messages SET {change}") == "LD003", there
        outbound.refresh_from_db()
        assert outbound.state == here


@pytest.mark.parametrize(("here", "there"), [(h, t) for h in ORDER for t in sorted(ORDER[h])])
def test_every_step_forward_is_open(office, queue, here, there):
    outbound = outbound_in(office, queue, here)
    with office.inside():
        OutboundMessage.objects.update(state=there, attempt=1, consent_rev=0)

        message = Message.objects.get(pk=outbound.message_id)
        shown = "queued" if there == "sending" else there
        if there != "queued":
            assert message.status == shown


@pytest.mark.parametrize("state", [s for s in STATES if s not in ("queued", "sending")])
def test_a_text_begins_queued(office, queue, state):
    outbound = queue(office)
    with office.inside():
        row = row_like(outbound, state=state, attempt=1, consent_rev=0)
        assert refused_save(row) == "LD003"


def test_a_text_is_never_deleted(office, queue):
    queue(office)
    with office.inside():
        for table in ("outbound_messages", "messages", "send_attempts", "send_outcomes"):
            assert raw.refused(f"DELETE FROM {table}") == "42501"


@pytest.mark.parametrize(
    "change",
    [
        "body = 'x'",
        "direction = 'in', status = 'received'",
        "sender = '+1'",
        "recipient = '+1'",
        "external_id = 'other'",
        "external_id = NULL",
    ],
)
def test_a_message_keeps_what_was_said(office, queue, change):
    outbound = queue(office)
    with office.inside():
        Message.objects.filter(pk=outbound.message_id).update(external_id="one")

        assert raw.refused(f"UPDATE messages SET {change}") == "LD004"


# --- reports in any order ---------------------------------------------------------------------

REPORTS = ("accepted", "sent", "delivered", "undelivered", "failed")
FINAL = {"delivered", "undelivered", "failed"}


def sent_text(office, queue):
    outbound = queue(office)
    claim(office.tenant.pk, most=5)
    with office.inside():
        token = OutboundMessage.objects.get(pk=outbound.pk).attempts.get().token_hash
    return outbound, token


def report(status, token=None, external_id="SM1"):
    return apply_status(
        MessageStatus(
            external_id=external_id, occurred_at=timezone.now(), sender=OURS, recipient=THEIRS,
            status=status,
        ),
        provider="signalhouse",
        attempt_token_hash=token,
    )  # fmt: skip


@pytest.mark.parametrize(
    "order", sorted(set(permutations(("accepted", "sent", "delivered", "sent"))))
)
def test_reports_in_any_order_end_delivered(office, queue, order):
    outbound, token = sent_text(office, queue)
    with office.inside():
        ranks = []
        for status in order:
            report(status, token)
            ranks.append(Message.RANKS[Message.objects.get(pk=outbound.message_id).status])

        outbound.refresh_from_db()
        assert outbound.state == "delivered"
        assert ranks == sorted(ranks)
        assert SendOutcome.objects.count() == len(order)  # all of them are kept


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(REPORTS), min_size=1, max_size=7))
def test_any_reports_only_move_a_text_up_and_the_first_end_is_the_end(office, queue, order):
    outbound, token = sent_text(office, queue)
    with office.inside():
        rank, end = 0, None
        external = new_id("SM")
        for status in order:
            report(status, token, external)
            outbound.refresh_from_db()
            message = Message.objects.get(pk=outbound.message_id)
            assert message.status == outbound.state
            assert Message.RANKS[message.status] >= rank
            rank = Message.RANKS[message.status]
            end = end or (status if status in FINAL else None)

        assert outbound.state == (end or "sent")
        assert message.external_id == external
        assert outbound.message_id in report("sent", None, external)  # found by that id as well


# --- automation waits for what is unread ------------------------------------------------------


@pytest.mark.parametrize("state", ["ready", "dead", "quarantined"])
def test_automation_waits_for_unread_texts_on_any_number(office, queue, state):
    """The purpose is one that campaigns will use; a person's reply does not wait."""
    outbound = queue(office)
    office.post(office.payload("hm", ours="+12025550199"))
    with office.inside():
        WebhookWork.objects.update(state=state)
        automated = row_like(outbound, is_automated=True, purpose="first_text")
        automated.save()

    claims = claim(office.tenant.pk, most=5)

    with office.inside():
        assert [one.outbound_id for one in claims] == [outbound.pk]
        automated.refresh_from_db()
        assert automated.state == "queued"
        assert automated.due_at > timezone.now()
        WebhookWork.objects.update(state="done", processed_at=timezone.now())
        OutboundMessage.objects.filter(pk=automated.pk).update(due_at=timezone.now())
    assert len(claim(office.tenant.pk, most=5)) == 1


def test_claims_skip_a_person_who_is_being_changed(committed_office, queue):
    office = committed_office
    outbound = queue(office)
    with raw.connected(tenant=office.tenant.pk) as own:
        own.execute("SELECT FROM consents FOR UPDATE")

        assert claim(office.tenant.pk, most=5) == []

    assert [one.outbound_id for one in claim(office.tenant.pk, most=5)] == [outbound.pk]
