"""The registry: scopes, lists, channels, and one lock for all of them."""

from __future__ import annotations

import hashlib
import hmac
import threading

import phonenumbers
import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from phonenumbers import geocoder

from leads.actions import Choice, base_consent_id, consent_address, lock_consents, record_choice
from leads.models import Consent, ConsentEvent, Lead
from leads.reading import READER_VERSION
from leads.zones import AREA_STATES, STATE_ZONES, candidate_zones, number_state
from messaging.actions.consent import opt_in, opt_out
from messaging.actions.erasure import erase_address
from messaging.models import Conversation, OutboundMessage
from tenants.ulids import to_uuid
from tests.conftest import OURS, THEIRS
from tests.raw import at_once, connected, refused, rows, until_somebody_waits

pytestmark = pytest.mark.django_db


def record(kind, **more):
    return record_choice(Choice(address=more.pop("address", THEIRS), kind=kind, **more))


def block(ours=OURS, *, automated=False, scopes=(), address=THEIRS):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT consent_block(current_setting('app.tenant_id')::uuid, %s, %s, %s, %s)",
            [address, ours, automated, list(scopes)],
        )
        return cursor.fetchone()[0]


# --- scopes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["brand:acme", "campaign:spring"])
def test_a_brand_or_campaign_blocks_what_falls_under_it_only(office, scope):
    with office.inside():
        record("opt_out", scope=scope)

        assert block() is None
        assert block(scopes=[scope]) == "opted_out"
        assert block(scopes=["brand:other"]) is None


def test_a_list_blocks_until_it_ends(office):
    with office.inside():
        record("opt_out", scope="list:sup_1")
        assert block() == "opted_out"

        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT consent_apply(current_setting('app.tenant_id')::uuid, jsonb_build_object("
                " 'address', %s::text, 'kind', 'opt_out', 'scope', 'list:sup_1',"
                " 'expires_at', clock_timestamp() + interval '20 milliseconds'))",
                [THEIRS],
            )
            assert block() == "opted_out"
            cursor.execute("SELECT pg_sleep(0.03)")

        assert block() is None
        assert Consent.objects.get(scope="list:sup_1").state == "opted_out"


@pytest.mark.parametrize("position", [0, 99])
def test_a_start_never_lifts_a_list(office, position):
    office.receive("hello")
    with office.inside():
        record("opt_out", scope="list:sup_1")
        record("opt_out")

        opt_in(Choice(address=THEIRS, kind="opt_in", position=position, source="texting"))
        record("opt_in", scope="list:sup_1", position=position)

        assert Consent.objects.get(scope="").state == "opted_in"
        assert block() == "opted_out"


def test_only_lists_end_by_themselves(office):
    with office.inside():
        record("opt_out")

        assert refused("UPDATE consents SET expires_at = clock_timestamp()") == "LD014"
        assert (
            refused(
                "INSERT INTO consents (tenant_id, id, channel, address, scope, state, rev,"
                " position, expires_at) VALUES (current_setting('app.tenant_id')::uuid, ulid_new(),"
                " 'sms', '+12025550188', '', 'unknown', 0, 0, clock_timestamp())"
            )
            == "consents_only_lists_end"
        )


def test_every_scope_waits_for_the_base_row(committed_office):
    office = committed_office
    with office.inside():
        base_consent_id(THEIRS)
    with connected(tenant=office.tenant.pk) as own:
        own.execute("SELECT FROM consents WHERE address = %s AND scope = '' FOR UPDATE", [THEIRS])
        for scope in ("number:x", "brand:x", "campaign:x", "list:x"):
            with office.inside():
                with connection.cursor() as cursor:
                    cursor.execute("SET LOCAL lock_timeout = '50ms'")
                with pytest.raises(DatabaseError, match="lock timeout"), transaction.atomic():
                    record("opt_out", scope=scope)


# --- channels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["call", "email"])
def test_an_opt_out_of_calls_or_mail_leaves_texts_alone(office, channel):
    office.receive("hello")
    with office.inside():
        opt_out(Choice(address=THEIRS, kind="opt_out", channel=channel, source="carrier"))

        assert block() is None
        assert Lead.objects.get().state != "suppressed"
        assert Conversation.objects.get().status == "open"
        assert Consent.objects.get(channel=channel).state == "opted_out"


def test_an_opt_out_of_texts_is_none_of_calls_and_an_opt_in_neither(office):
    office.receive("STOP")
    with office.inside():
        record("opt_out", channel="call")
        opt_in(Choice(address=THEIRS, kind="opt_in", channel="call", position=10**9))

        assert block() == "opted_out"
        assert Lead.objects.get().state == "suppressed"
        assert Consent.objects.get(channel="call").state == "opted_in"


# --- what is kept with a choice ---------------------------------------------------------------


def test_a_choice_says_which_rule_matched_and_when_it_came(office):
    office.receive("STOP")
    with office.inside():
        event = ConsentEvent.objects.get()

        assert (event.rule_version, event.keyword) == (READER_VERSION, "stop")
        assert event.received_at is not None
        assert 0 <= (event.at - event.received_at).total_seconds() < 5
        assert Consent.objects.get().source == "texting"


def test_by_hand_there_is_no_rule_and_no_receipt(office):
    with office.inside():
        opt_out(Choice(address=THEIRS, kind="opt_out", actor_id=office.agent.pk, reason="phone"))
        event = ConsentEvent.objects.get()

        assert (event.rule_version, event.received_at) == ("", None)


# --- merges -----------------------------------------------------------------------------------


def test_a_merge_of_leads_loses_no_opt_out(office):
    message = office.receive("STOP")
    survivor = office.lead("+12025550177")
    with office.inside():
        Lead.objects.filter(pk=message.lead_id).update(
            merged_into=survivor.pk, superseded_at=timezone.now()
        )
        Conversation.objects.update(lead=survivor)

        assert block() == "opted_out"
        assert Consent.objects.get(address=THEIRS, scope="").state == "opted_out"
        assert not OutboundMessage.objects.filter(state="sending").exists()


# --- erased addresses -------------------------------------------------------------------------


def test_the_app_cannot_read_the_key(office):
    with office.inside():
        assert refused("SELECT * FROM erasure_keys") == "42501"
        assert refused("UPDATE erasure_keys SET id = 1") == "42501"


def test_a_digest_is_stable_short_and_its_own_digest(office):
    with office.inside():
        (one, again, other, twice) = rows(
            "SELECT address_digest('+12025550142'), address_digest('+12025550142'),"
            " address_digest('+12025550143'), address_digest(address_digest('+12025550142'))"
        )[0]

    assert one == again == twice != other
    assert one.startswith("erased:")
    assert len(one) <= 32


def test_the_digest_is_an_hmac(committed_office):
    with connected(as_owner=True) as own:
        inner, outer = own.execute("SELECT inner_pad, outer_pad FROM erasure_keys").fetchone()
        digest = own.execute("SELECT address_digest('+12025550142')").fetchone()[0]
    key = bytes(byte ^ 0x36 for byte in inner)
    assert key == bytes(byte ^ 0x5C for byte in outer)
    assert digest[7:] == hmac.new(key, b"+12025550142", hashlib.sha256).hexdigest()[:24]


def test_erased_people_are_locked_by_their_hash(office):
    with office.inside():
        record("opt_out")
        erase_address(THEIRS, reason="asked for it", actor_id=office.agent.pk)

        lock_consents([THEIRS, "+12025550155"])

        assert consent_address(THEIRS).startswith("erased:")
        assert Consent.objects.count() == 2
        assert not Consent.objects.filter(address=THEIRS).exists()


def test_locking_makes_what_is_missing(office):
    with office.inside():
        assert not Consent.objects.exists()

        lock_consents([THEIRS, "+12025550155"])

        assert Consent.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_row_that_another_made_meanwhile_is_locked_all_the_same(committed_office):
    """Two write to somebody for the first time: the one who waited for the row then holds it."""
    office = committed_office
    held = []

    def second():
        with office.inside():
            lock_consents([THEIRS])
            with connected(tenant=office.tenant.pk) as own:
                free = own.execute("SELECT id FROM consents FOR NO KEY UPDATE SKIP LOCKED")
                held.append(free.fetchall() == [])

    with connected(tenant=office.tenant.pk) as first:
        first.execute("SELECT consent_base(%s, 'sms', %s)", [to_uuid(office.tenant.pk), THEIRS])
        waiting = threading.Thread(target=lambda: held.extend(at_once([second])))
        waiting.start()
        until_somebody_waits()
        first.commit()
    waiting.join(10)

    assert held == [True, None]


@pytest.mark.django_db(transaction=True)
def test_an_erasure_and_a_first_choice_at_once_leave_one_row(committed_office):
    office = committed_office
    for turn in range(12):
        address = f"+1202555{turn:04d}"

        def erase(address=address):
            with office.inside():
                erase_address(address, reason="asked for it", actor_id=None)

        def choose(address=address):
            with office.inside():
                record("opt_out", address=address)

        results = at_once([erase, choose])
        assert not [result for result in results if isinstance(result, BaseException)], results
        with office.inside():
            erase_digest = rows("SELECT address_digest(%s)", address)[0][0]
            known = Consent.objects.filter(address__in=[address, erase_digest])
            assert known.count() == 1
            assert known.get().address == erase_digest
            assert block(address=address) == "opted_out"
            assert to_uuid(known.get().pk)


# --- states and zones -------------------------------------------------------------------------


def test_area_codes_are_those_of_phonenumbers():
    said = {}
    for code in range(200, 1000):
        number = phonenumbers.parse(f"+1{code}2345678")
        place = geocoder.description_for_number(number, "en").split(", ")[-1]
        if place in STATE_ZONES:
            said[str(code)] = place

    assert len(said) > 60
    assert {code: AREA_STATES.get(code) for code in said} == said
    assert set(AREA_STATES.values()) == set(STATE_ZONES)
    assert len(AREA_STATES) > 350


@pytest.mark.parametrize(
    ("address", "state"),
    [("+12125550142", "NY"), ("+18505550142", "FL"), ("+18005550142", ""), ("+442071838750", "")],
)
def test_an_area_code_names_its_state(address, state):
    assert number_state(address) == state


def test_split_states_count_whole():
    # phonenumbers knows one zone of 850; Florida has two.
    assert candidate_zones("+18505550142") == {"America/New_York", "America/Chicago"}
    assert candidate_zones("+18005550142") == frozenset()
    assert candidate_zones("+18005550142", "tx") == {"America/Chicago", "America/Denver"}


def test_a_missing_base_row_is_made_whatever_the_plan_is(office):
    """A plan that began with the tenant's rows, of which there were none, made none."""
    for setting in ("enable_indexscan", "enable_bitmapscan", "enable_seqscan"):
        address = f"+1310555{len(setting):04d}"
        with office.inside(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL {setting} = off")
            lock_consents([address])
            assert Consent.objects.filter(address=address).exists(), setting
            cursor.execute(f"SET LOCAL {setting} = on")
