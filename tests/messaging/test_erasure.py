"""Erasure: what was said is gone, that somebody said stop is not."""

from __future__ import annotations

import json

import psycopg
import pytest
from django.db import connection

from integrations.models import WebhookEvent, WebhookWork
from leads.actions import Choice
from leads.models import Consent, ConsentEvent, ContactPoint, LeadEvent, Redaction
from messaging.actions.consent import opt_out, release_hold
from messaging.actions.erasure import ErasureRefused, erase_address
from messaging.actions.sending import SendRefused
from messaging.models import Conversation, Message, OutboundMessage
from tenants.models import AuditEntry
from tenants.ulids import to_uuid
from tests.carrier import send_due
from tests.conftest import THEIRS, drain
from tests.raw import connected, refused, rows

pytestmark = pytest.mark.django_db

WHY = "Asked by letter of 3 November"


def erase(office, address=THEIRS):
    with office.inside():
        return erase_address(address, reason=WHY, actor_id=office.agent.pk)


def everything(office):
    """All rows of the tenant as one text."""
    found = []
    with office.inside(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid"
            " AND a.attname = 'tenant_id' WHERE c.relnamespace = 'public'::regnamespace"
            " AND c.relkind IN ('r', 'p')"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} AS t")
            found += [f"{table}: {text}" for (text,) in cursor.fetchall()]
    return found


def test_nothing_that_was_said_is_left(desk, queue):
    desk.receive("my name is Zanzibar")
    queue(desk, "Hello Zanzibar")
    desk.receive("STOP texting me, says Zanzibar")

    erase(desk)

    left = [row for row in everything(desk) if "anzibar" in row]
    assert left == []
    number = [row for row in everything(desk) if "2025550142" in row]
    assert number == []


def test_ids_kinds_hashes_and_times_stay(office):
    message = office.receive("STOP")
    with office.inside():
        event = WebhookEvent.objects.get()
        before = (event.pk, event.event_type, event.received_at, event.correlation_id)
        choice = ConsentEvent.objects.get()
        receipts = rows("SELECT body_hash, event FROM webhook_receipts")

    erase(office)

    with office.inside():
        event = WebhookEvent.objects.get()
        assert (event.pk, event.event_type, event.received_at, event.correlation_id) == before
        assert (bytes(event.body), event.payload) == (b"", None)
        assert rows("SELECT body_hash, event FROM webhook_receipts") == receipts
        kept = Message.objects.get(pk=message.pk)
        assert (kept.body, kept.external_id, kept.reading) == ("", message.external_id, "opt_out")
        again = ConsentEvent.objects.get(pk=choice.pk)
        assert (again.reason, again.keyword, again.rev, again.at) == ("", "", choice.rev, choice.at)
        assert Redaction.objects.get().reason == WHY
        assert AuditEntry.objects.filter(action="address.erased").count() == 1


def test_the_person_stays_blocked_from_every_door(desk, carrier, queue):
    desk.receive("STOP")
    erase(desk)

    with pytest.raises(SendRefused, match="opted out"):
        queue(desk, "Hello again")
    with desk.inside():
        consent = Consent.objects.get()
        assert consent.address.startswith("erased:")
        assert consent.state == "opted_out"
    assert send_due(desk) == []
    assert carrier.accepted() == []


def test_a_text_queued_before_the_stop_of_an_erased_person_never_goes(desk, carrier, queue):
    desk.receive("hello")
    erase(desk)
    outbound = queue(desk, "Hello again")
    with desk.inside():
        opt_out(Choice(address=THEIRS, kind="opt_out", actor_id=desk.agent.pk, reason="phone"))
        # As if another door had missed it: the gate of the claim itself must find the hash.
        assert OutboundMessage.objects.get(pk=outbound.pk).state == "suppressed"
        assert (
            refused(
                "INSERT INTO outbound_messages SELECT (jsonb_populate_record(o, jsonb_build_object("
                "'id', ulid_new(), 'state', 'sending', 'send_key', 'x', 'attempt', 1,"
                " 'message_id', ulid_new()))).* FROM outbound_messages AS o"
            )
            == "LD001"
        )


def test_who_was_erased_and_did_not_stop_can_be_texted_again(desk, carrier, queue):
    desk.receive("hello")
    erase(desk)
    queue(desk, "Hello again")

    send_due(desk)

    assert carrier.received() == ["Hello again"]
    with desk.inside():
        assert Consent.objects.count() == 1


def test_stop_and_start_of_an_erased_person_work(office):
    office.receive("STOP")
    erase(office)

    office.receive("START")
    with office.inside():
        assert Consent.objects.get().state == "opted_in"
    office.receive("STOP")
    with office.inside():
        assert Consent.objects.get().state == "opted_out"
        assert Consent.objects.get().address.startswith("erased:")
        assert ConsentEvent.objects.count() == 3


def test_a_hold_of_an_erased_person_is_decided_by_their_number(office):
    office.receive("stop by tomorrow?")
    erase(office)
    with office.inside():
        release_hold(THEIRS, actor_id=office.agent.pk, reason="an invitation")

        assert Consent.objects.get().state == "unknown"


def test_other_people_and_tenants_are_untouched(office, other_office):
    office.receive("STOP", theirs="+12025550177")
    other_office.receive("STOP")
    before = everything(other_office)
    office.receive("hello")

    erase(office)

    assert everything(other_office) == before
    with office.inside():
        assert Message.objects.get(sender="+12025550177").body == "STOP"
        assert ConsentEvent.objects.get(consent__address="+12025550177").keyword == "stop"


@pytest.mark.parametrize("reason", ["", "  ", f"because of {THEIRS}"])
def test_an_erasure_says_why_without_naming_the_address(office, reason):
    with office.inside():
        with pytest.raises(ErasureRefused):
            erase_address(THEIRS, reason=reason, actor_id=None)
        assert not Redaction.objects.exists()


# --- the one allowed change -------------------------------------------------------------------


def redact(office, address):
    """A redaction alone, as if the erasure had stopped after it."""
    with office.inside():
        digest = rows("SELECT address_digest(%s)", address)[0][0]
        Redaction.objects.create(digest=digest, reason=WHY)
    return digest


MESSAGE = "UPDATE messages SET body = '', media = '[]', error = ''"


def test_without_a_redaction_nothing_is_blanked(office):
    office.receive("hello")
    with office.inside():
        digest = rows("SELECT address_digest(%s)", THEIRS)[0][0]

        assert refused(f"{MESSAGE}, sender = '{digest}'") == "LD004"
        assert refused(f"UPDATE consents SET address = '{digest}'") == "LD014"
        assert (
            refused("SELECT redact_history(current_setting('app.tenant_id')::uuid, %s)", [THEIRS])
            == "LD018"
        )


def test_a_redaction_allows_the_whole_blank_and_nothing_else(office):
    office.receive("hello")
    office.receive("hello", theirs="+12025550177")
    digest = redact(office, THEIRS)
    with office.inside():
        of_theirs = f" WHERE sender = '{THEIRS}'"
        other = " WHERE sender = '+12025550177'"
        for variant, where in (
            (f"{MESSAGE}, sender = '{digest}'", other),  # another row
            (f"{MESSAGE}, sender = '{digest}', recipient = 'x'", of_theirs),  # another column
            (f"{MESSAGE}, sender = 'erased:0'", of_theirs),  # another hash
            (f"UPDATE messages SET body = 'nicer', sender = '{digest}'", of_theirs),
            (f"{MESSAGE}, sender = '{digest}', direction = 'out'", of_theirs),
            ("UPDATE messages SET body = ''", of_theirs),  # half of it
        ):
            assert refused(variant + where) == "LD004", variant
        with connection.cursor() as cursor:
            cursor.execute(f"{MESSAGE}, sender = '{digest}'{of_theirs}")
            assert cursor.rowcount == 1
        # And it does not come back.
        for variant in ("body = 'hello'", f"sender = '{THEIRS}'"):
            assert refused(f"UPDATE messages SET {variant} WHERE sender = '{digest}'") == "LD004"


def test_a_redaction_covers_only_what_there_was(office):
    digest = redact(office, THEIRS)
    office.receive("hello again")
    with office.inside():
        assert refused(f"{MESSAGE}, sender = '{digest}'") == "LD004"


def test_history_is_blanked_by_that_one_change_alone(committed_office):
    office = committed_office
    office.receive("STOP")
    event = "UPDATE webhook_events SET body = '\\x', payload = NULL"
    with connected(as_owner=True) as own:
        own.execute(
            "SELECT set_config('app.tenant_id', %s, true)",
            [str(rows_id(office))],
        )
        for sentence in (
            event,
            "UPDATE consent_events SET reason = '', keyword = ''",
            "UPDATE lead_events SET payload = '{}'",
            "DELETE FROM webhook_events",
        ):
            with pytest.raises(psycopg.Error) as caught, own.transaction():
                own.execute(sentence)
            assert caught.value.sqlstate == "LD010", sentence
    erase(office)
    with connected(as_owner=True) as own:
        for sentence in (
            "UPDATE webhook_events SET body = 'x'",
            "UPDATE consent_events SET keyword = 'x'",
            "UPDATE consent_events SET rev = 9",
        ):
            with pytest.raises(psycopg.Error) as caught, own.transaction():
                own.execute(sentence)
            assert caught.value.sqlstate == "LD010", sentence


def rows_id(office):
    return to_uuid(office.tenant.pk)


def test_the_app_may_blank_history_of_no_other_tenant(office, other_office):
    other_office.receive("STOP")
    redact(other_office, THEIRS)
    with office.inside():
        assert (
            refused("SELECT redact_history(%s, %s)", [str(rows_id(other_office)), THEIRS])
            == "LD018"
        )


# --- replays ----------------------------------------------------------------------------------


def test_a_replay_of_an_erased_event_is_a_tombstone(office):
    office.receive("STOP", id="in_erased")
    erase(office)
    with office.inside():
        work = WebhookWork.objects.get()
        leads, messages = LeadEvent.objects.count(), Message.objects.count()
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
        again = WebhookWork.objects.get(run_no=2)
        assert (again.state, again.outcome) == ("done", "erased")
        assert (LeadEvent.objects.count(), Message.objects.count()) == (leads, messages)
        assert not ContactPoint.objects.filter(normalized=THEIRS).exists()
        assert not Conversation.objects.filter(their_number=THEIRS).exists()
        assert Consent.objects.get().state == "opted_out"


def test_a_redelivery_of_an_erased_event_is_a_duplicate(office):
    payload = office.payload("STOP", id="in_erased")
    office.post(payload, delivery="twice")
    drain()
    erase(office)

    answer = office.post(json.loads(json.dumps(payload)), delivery="twice")
    drain()

    assert answer.status_code == 200
    with office.inside():
        assert WebhookEvent.objects.count() == 1
        assert not Conversation.objects.filter(their_number=THEIRS).exists()
