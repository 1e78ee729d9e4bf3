"""The spool between intake and the database: the lease, the order, the drain, the decision."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection

from integrations import intake as intake_module
from integrations import spool as door
from integrations.actions_spool import HostNotRetired, retire_host
from integrations.intake import DatabaseAway
from integrations.models import SpoolHost, WebhookEvent, WebhookReceipt, WebhookWork
from integrations.pauses import sends_paused, spools_waited_for, words
from integrations.providers import providers
from integrations.spool_drain import Keeper, end_in_order
from integrations.spool_files import SpoolBusy, unpack
from integrations.spool_lease import LEASE_S, Lease, now_s
from leads.models import Consent
from messaging.models import OutboundMessage, SendOutcome
from messaging.sender import claim, send
from tenants.context import tenant_context
from tenants.models import PLATFORM_TENANT_ID, AuditEntry
from tests.conftest import SECRET, THEIRS, drain
from tests.messaging.conftest import queue

__all__ = ["queue"]


@pytest.fixture
def spool(tmp_path, settings):
    settings.DATA_DIR = tmp_path
    settings.SPOOL = True
    made = door.open_spool()
    yield made
    door.close_spool()


@pytest.fixture
def keeper(spool):
    return Keeper(spool, name="web-1")


@pytest.fixture
def away(monkeypatch):
    """Take the database away from intake; give it back with ``undo``."""

    def gone(*args, **options):
        connection.close()
        with monkeypatch.context() as nowhere:
            nowhere.setitem(connection.settings_dict, "NAME", "no_such_database")
            try:
                connection.ensure_connection()
            finally:
                connection.close()

    monkeypatch.setattr("integrations.intake._store", gone)
    monkeypatch.setattr(providers["signalhouse"], "hold_s", 0.3)
    return monkeypatch


def here(keeper):
    return SpoolHost.objects.get(pk=keeper.files.identity())


# --- the lease --------------------------------------------------------------------------------


def test_a_lease_is_written_down_before_it_is_asked_for(spool):
    with spool.files.locked(1):
        ends = spool.lease.grant()

    assert ends is not None
    assert Lease(spool.files).ends() == ends


def test_no_lease_is_granted_while_something_waits_or_soon_may(spool):
    with spool.files.locked(1):
        spool.lease.quieten(0.2)
        assert spool.lease.grant() is None
    time.sleep(0.25)
    with spool.files.locked(1):
        assert spool.lease.grant() is not None
        spool.files.append(b"x")
        assert spool.lease.grant() is None


def test_a_lost_note_counts_as_the_longest_lease_there_could_be(spool):
    spool.files.remove("lease")

    assert 0 < spool.lease.ends() - now_s() <= LEASE_S


def test_another_boots_note_counts_for_nothing(spool, monkeypatch):
    with spool.files.locked(1):
        spool.lease.grant()
    monkeypatch.setattr("integrations.spool_lease._boot", lambda: b"x" * 16)

    assert spool.lease.ends() - now_s() > LEASE_S - 0.5


@pytest.mark.django_db(transaction=True)
def test_the_row_never_says_more_than_the_host_counts_on(keeper):
    """However late the statement: its end was chosen before."""
    keeper.beat()
    for _ in range(5):
        with keeper.files.locked(1):
            ends = keeper.spool.lease.grant()
        until = keeper._known_clock().at(ends)
        time.sleep(0.3)  # the statement is slow
        keeper._ask("SELECT spool_renew(%s, %s)", [keeper.files.identity(), until])
        time.sleep(max(0.0, ends - now_s()))

        assert sends_paused()


@pytest.mark.django_db(transaction=True)
def test_sends_wait_for_a_registered_host_and_for_no_other(keeper):
    assert not sends_paused()  # no web host at all

    keeper._register()
    assert sends_paused()
    keeper.beat()
    assert not sends_paused()
    time.sleep(LEASE_S + 0.1)
    assert sends_paused()

    assert words().startswith("Sends wait for spools: web-1 is silent")
    assert [one.host for one in spools_waited_for()] == [keeper.files.identity()]
    keeper.beat()
    assert words() == ""


@pytest.mark.django_db(transaction=True)
def test_a_host_that_ends_in_order_is_not_waited_for(keeper, spool):
    keeper.beat()
    os.close(spool._membership)  # as when its processes are gone

    assert end_in_order(spool)
    time.sleep(LEASE_S + 0.1)
    assert not sends_paused()
    assert not spool.files.has(door.REGISTERED)


@pytest.mark.django_db(transaction=True)
def test_no_host_ends_while_something_waits_or_somebody_may_add(keeper, spool):
    keeper.beat()

    assert not end_in_order(spool)  # this very process may
    assert here(keeper).stopped_at is None


# --- keeping and draining ---------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_acknowledged_delivery_waits_for_the_lease_to_end(committed_office, keeper, away):
    office = committed_office
    office.post(office.payload("before"))
    keeper.beat()

    away.setattr("integrations.spool.Spool.expect_outage", lambda *_: None)
    answer = office.post(office.payload("during", id="in_1"))

    assert answer.status_code == 202
    assert now_s() >= keeper.spool.lease.ends()
    assert sends_paused()


@pytest.mark.django_db(transaction=True)
def test_what_was_kept_is_stored_once_in_order_and_under_its_name(committed_office, keeper, away):
    office = committed_office
    keeper.beat()
    answers = [office.post(office.payload(f"text {n}", id=f"in_{n}")) for n in range(5)]
    assert {answer.status_code for answer in answers} == {202}
    count, oldest = keeper.waiting()
    assert count == 5
    assert datetime.now(UTC) - oldest < timedelta(seconds=30)
    segments = [(path, path.read_bytes()) for path in keeper.files.segments()]

    away.undo()
    keeper.beat()
    assert keeper.files.is_empty()
    for path, content in segments:  # as if it had died before it removed them
        path.write_bytes(content)
    keeper.beat()

    with office.inside():
        assert [event.pk for event in WebhookEvent.objects.order_by("id")] == [
            answer.json()["id"] for answer in answers
        ]
        assert WebhookWork.objects.count() == WebhookReceipt.objects.count() == 5
        office.integration.refresh_from_db()
        assert office.integration.last_event_at is not None
    drain()


@pytest.mark.django_db(transaction=True)
def test_behind_a_spool_new_deliveries_wait_their_turn(committed_office, keeper, away):
    office = committed_office
    keeper.beat()
    office.post(office.payload("first", id="in_1"))
    away.undo()  # the database is back, and nobody has drained yet

    began = time.monotonic()
    second = office.post(office.payload("second", id="in_2"))

    assert second.status_code == 202
    assert time.monotonic() - began < 1
    with office.inside():
        assert not WebhookEvent.objects.exists()
    keeper.beat()
    with office.inside():
        bodies = [
            event.payload["metaData"]["Message"]["messageBody"]
            for event in WebhookEvent.objects.order_by("received_at")
        ]
    assert bodies == ["first", "second"]
    assert office.post(office.payload("third", id="in_3")).status_code == 202
    with office.inside():
        assert WebhookEvent.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_damaged_records_are_set_aside_and_the_rest_is_stored(committed_office, keeper, away):
    office = committed_office
    keeper.beat()
    for n in range(3):
        office.post(office.payload(f"text {n}", id=f"in_{n}"))
    (segment,) = keeper.files.segments()
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment.write_bytes(bytes(data[: -0 or None]) + b"\xf1FL")

    away.undo()
    keeper.beat()

    with office.inside():
        assert WebhookEvent.objects.count() == 2
    kinds = sorted(path.suffix for path in keeper.files.aside.iterdir() if path.suffix != ".txt")
    assert kinds == [".damaged", ".torn"]


@pytest.mark.django_db(transaction=True)
def test_an_endpoint_retired_meanwhile_loses_nothing_that_was_accepted(
    committed_office, keeper, away
):
    office = committed_office
    keeper.beat()
    office.post(office.payload("STOP", id="in_1"))
    away.undo()
    with office.inside():
        office.endpoint.retired_at = datetime.now(UTC)
        office.endpoint.save()

    keeper.beat()

    with office.inside():
        assert WebhookEvent.objects.get().endpoint is None
        assert Consent.objects.get(address=THEIRS).state == "opted_out"


@pytest.mark.django_db(transaction=True)
def test_what_only_an_attempts_token_vouches_for_is_proved_when_it_is_stored(
    committed_office, keeper, away
):
    office = committed_office
    keeper.beat()

    def cannot_ask(*_):
        raise connection.Database.OperationalError("gone")

    away.setattr(
        "integrations.webhooks.attempt_is_ours",
        lambda *_: (_ for _ in ()).throw(OperationalError()),
    )
    body = json.dumps(office.status("m_1", "DELIVERED")).encode()
    answer = office.post(body, path=f"{office.path}{'x' * 43}/", headers={})
    assert answer.status_code == 202
    away.undo()

    keeper.beat()

    with office.inside():
        assert not WebhookEvent.objects.exists()
    (reason,) = keeper.files.aside.glob("*.txt")
    assert reason.read_text().startswith("nothing vouches for it")


@pytest.mark.django_db(transaction=True)
def test_fault_03_a_delivery_whose_commit_was_not_heard_of_is_one_event(
    committed_office, keeper, away
):
    """It was stored, and its answer was lost: it is kept as well, and found to be a duplicate."""
    office = committed_office
    keeper.beat()
    away.undo()
    away.setattr(providers["signalhouse"], "hold_s", 0.3)
    really = intake_module._store

    def unheard(arguments):
        really(arguments)
        raise OperationalError("the connection broke at COMMIT")

    away.setattr(intake_module, "_store", unheard)
    answer = office.post(office.payload("Yes", id="in_1"))
    assert answer.status_code == 202
    assert keeper.waiting()[0] == 1
    away.undo()

    keeper.beat()

    with office.inside():
        assert answer.json() == {"id": WebhookEvent.objects.get().pk}
        assert WebhookWork.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_missing_key_stops_the_drain_and_all_sends(committed_office, keeper, away, settings):
    office = committed_office
    keeper.beat()
    office.post(office.payload("STOP", id="in_1"))
    away.undo()
    before = settings.ENCRYPTION_KEYS

    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(ImproperlyConfigured):
        keeper.beat()
    time.sleep(LEASE_S)
    assert sends_paused()
    settings.ENCRYPTION_KEYS = before
    keeper.beat()

    assert not sends_paused()
    assert not list(keeper.files.aside.iterdir())


@pytest.mark.django_db(transaction=True)
def test_many_segments_are_counted_and_drained_in_order(
    committed_office, keeper, away, monkeypatch
):
    office = committed_office
    keeper.beat()
    away.setattr("integrations.spool_files.SEGMENT_BYTES", 3000)
    away.setattr("integrations.spool_drain.CLOSING_BYTES", 0)
    for n in range(12):
        assert office.post(office.payload(f"text {n:02d}", id=f"in_{n}")).status_code == 202
    assert len(keeper.files.segments()) > 3
    assert keeper.waiting()[0] == keeper.waiting()[0] == 12
    away.undo()

    keeper.beat()

    with office.inside():
        bodies = [
            event.payload["metaData"]["Message"]["messageBody"]
            for event in WebhookEvent.objects.order_by("received_at")
        ]
    assert bodies == [f"text {n:02d}" for n in range(12)]
    assert keeper.waiting() == (0, None)


@pytest.mark.django_db(transaction=True)
def test_a_spool_that_the_database_does_not_know_keeps_nothing(committed_office, spool, away):
    assert committed_office.post(committed_office.payload("x")).status_code == 503
    assert spool.files.is_empty()


@pytest.mark.django_db(transaction=True)
def test_a_full_spool_sends_the_sender_away(committed_office, keeper, away):
    keeper.beat()
    keeper.files.limit = 10

    assert committed_office.post(committed_office.payload("x")).status_code == 503


def test_nothing_in_a_record_can_be_read_without_the_keys(office, spool, settings):
    spool.files.write(door.REGISTERED, b"")
    provider = providers["signalhouse"]()
    body = json.dumps(office.payload("very private")).encode()
    headers = provider.sign(body, SECRET, datetime.now(UTC), "d-1") | {
        "Authorization": "Basic canary"
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("integrations.spool.take", _raise)
        assert office.post(body, headers=headers).status_code == 202

    (segment,) = spool.files.segments()
    raw = segment.read_bytes()
    assert b"very private" not in raw
    (found,) = unpack(raw)
    item = door.waiting(found.payload)
    assert item.intake.delivery.body == body
    assert "authorization" not in item.intake.delivery.headers


def _raise(*args, **options):
    raise DatabaseAway


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("order", ["START is overtaken", "STOP was first"])
def test_an_opt_in_out_of_a_spool_lifts_no_later_opt_out(committed_office, keeper, away, order):
    """The STOP came to another host, whose spool was empty: it was stored before the START."""
    office = committed_office
    keeper.beat()
    if order == "STOP was first":
        office.post(office.payload("STOP", id="in_1"))
    assert office.post(office.payload("START", id="in_2")).status_code == 202
    away.undo()
    if order == "START is overtaken":
        door.close_spool()
        office.post(office.payload("STOP", id="in_1"))

    keeper.beat()
    drain()

    with office.inside():
        states = list(WebhookWork.objects.order_by("seq").values_list("state", flat=True))
        consent = Consent.objects.get(address=THEIRS, scope="").state
    if order == "STOP was first":
        assert (states, consent) == (["done", "done"], "opted_in")
    else:
        assert (states, consent) == (["done", "quarantined"], "opted_out")


# --- senders ----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_nothing_is_claimed_while_a_spool_may_hold_something(committed_office, keeper, queue):
    outbound = queue(committed_office)
    keeper._register()

    assert claim(committed_office.tenant.pk, most=5) == []
    keeper.beat()
    (one,) = claim(committed_office.tenant.pk, most=5)
    time.sleep(LEASE_S + 0.1)
    send(one)

    with committed_office.inside():
        outbound = OutboundMessage.objects.get(pk=outbound.pk)
        outcome = SendOutcome.objects.get()
    assert (outbound.state, outcome.kind, outcome.source) == ("queued", "not_written", "gate")
    assert "web-1" in outcome.detail


# --- people -----------------------------------------------------------------------------------


@pytest.fixture
def staff(db):
    return get_user_model().objects.create_superuser("root", "root@example.com", "x")


@pytest.mark.django_db(transaction=True)
def test_a_host_that_never_comes_back_is_retired_with_a_reason(keeper, staff):
    keeper._register()
    SpoolHost.objects.update(heard_at=datetime.now(UTC) - timedelta(hours=1))

    row = retire_host(keeper.files.identity(), user=staff, reason="its disk burnt")

    assert not sends_paused()
    assert (row.retired_by, row.reason) == ("root", "its disk burnt")
    with tenant_context(PLATFORM_TENANT_ID):
        entry = AuditEntry.objects.get(action="spool_host.retired")
    assert (entry.reason, entry.after) == ("its disk burnt", {"by": "root"})


@pytest.mark.django_db(transaction=True)
def test_a_retired_host_that_comes_back_is_waited_for_under_a_new_id(keeper, staff):
    keeper._register()
    before = keeper.files.identity()
    SpoolHost.objects.update(heard_at=datetime.now(UTC) - timedelta(hours=1))
    retire_host(before, user=staff, reason="gone")

    keeper.beat()
    keeper.beat()

    assert keeper.files.identity() != before
    assert here(keeper).retired_at is None
    assert not sends_paused()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("problem", ["no staff", "no reason", "alive", "unknown"])
def test_who_may_not_retire_a_host(keeper, staff, committed_office, problem):
    keeper._register()
    host = keeper.files.identity()
    if problem != "alive":
        SpoolHost.objects.update(heard_at=datetime.now(UTC) - timedelta(hours=1))
    user = committed_office.agent.user if problem == "no staff" else staff

    with pytest.raises(HostNotRetired):
        retire_host(
            uuid4() if problem == "unknown" else host,
            user=user,
            reason=" " if problem == "no reason" else "gone",
        )

    assert SpoolHost.objects.get(pk=host).retired_at is None


def test_a_held_directory_is_no_reason_to_lose_the_keeper(keeper):
    with keeper.files.locked(1), pytest.raises(SpoolBusy), keeper.files.locked(0.05):
        pass
    assert keeper.is_elected()
    assert not Keeper(keeper.spool).is_elected()
