"""Counters of numbers, exact whoever counts; numbers that rest, wake, and hand texts over."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from leads.models import Worker
from messaging.actions.numbers import (
    NumberRefused,
    move_text,
    rest_number,
    tend,
    wake_number,
)
from messaging.checks import resting_number, undecided_sends
from messaging.health import Counts, Limits, counts_since, day_of, limits_of, total
from messaging.models import NumberDay, OutboundMessage, PhoneNumber
from messaging.outcomes import Outcome, record_outcome
from messaging.sender import SendLoop, _tenants_with_sends, claim, send
from tenants.models import AuditEntry
from tests import raw
from tests.carrier import send_due
from tests.conftest import THEIRS
from tests.raw import at_once

pytestmark = pytest.mark.django_db


def today(office, number=None):
    with office.inside():
        number = number or office.number
        day = day_of(office.tenant)
        return counts_since(day, [number.pk]).get(number.pk, {}).get(day, Counts())


def second_number(office, number="+12025550101", **fields):
    values = {
        "worker": Worker.objects.get(key="gianna"),
        "integration": office.integration,
        "rate_per_second": 1000,
        "burst": 1000,
        "tokens": 1000,
        "daily_cap": 100,
        **fields,
    }
    return PhoneNumber.objects.create(number=number, **values)


def end(office, queue, kind, many=1, code="", body="Hi"):
    """Send texts and let the carrier report each as *kind*."""
    texts = [queue(office, f"{body} {n}") for n in range(many)]
    claim(office.tenant.pk, most=200)
    with office.inside():
        for outbound in texts:
            report = Outcome(kind=kind, source="callback", provider_id=outbound.pk, error_code=code)
            record_outcome(outbound.pk, 1, report)
    return texts


# --- counters ---------------------------------------------------------------------------------


def test_every_fact_is_counted_once_on_its_number(desk, queue):
    end(desk, queue, "delivered", 3)
    end(desk, queue, "undelivered", 1, "30007")
    end(desk, queue, "failed", 2, "30003")
    end(desk, queue, "accepted", 1)
    end(desk, queue, "ambiguous", 1)
    desk.receive("hello")
    desk.receive("STOP", theirs="+12025550199")

    counts = today(desk)

    assert counts == Counts(
        sent=5, delivered=3, undelivered=1, failed=2, refused=2, filtered=1, opt_outs=1,
        unknown=1, inbound=2, codes={"30007": 1, "30003": 2},
    )  # fmt: skip
    assert counts.tried == 7
    assert counts.lost_rate == pytest.approx(3 / 7)


def test_reports_said_twice_and_texts_delivered_twice_count_once(desk, queue):
    (outbound,) = end(desk, queue, "delivered")
    with desk.inside():
        for kind in ("accepted", "delivered", "delivered"):
            record_outcome(outbound.pk, 1, Outcome(kind=kind, source="callback"))
    payload = desk.payload("hello")
    for _ in range(2):
        desk.post(payload)
    desk.receive("hello again")

    assert (today(desk).sent, today(desk).delivered) == (1, 1)


def test_a_text_that_is_given_up_is_unknown_and_no_failure(desk, queue):
    (outbound,) = end(desk, queue, "ambiguous")
    with desk.inside():
        record_outcome(outbound.pk, 1, Outcome(kind="gave_up", source="lease"))

    assert (today(desk).unknown, today(desk).failed) == (1, 0)


def test_a_rolled_back_fact_is_not_counted(desk, queue):
    outbound = queue(desk)
    claim(desk.tenant.pk, most=5)
    with suppress(ZeroDivisionError), desk.inside():
        record_outcome(outbound.pk, 1, Outcome(kind="accepted", source="call"))
        raise ZeroDivisionError

    assert today(desk) == Counts()


@pytest.mark.django_db(transaction=True)
def test_counters_are_exact_when_many_count_at_once(committed_office, queue):
    office = committed_office
    texts = [queue(office, f"n{n}", theirs=f"+1202{n:07d}") for n in range(48)]
    claim(office.tenant.pk, most=100)

    def report(part):
        for outbound in texts[part::8]:
            with office.inside():
                kind = "delivered" if part % 2 else "failed"
                told = Outcome(kind=kind, source="callback", provider_id=outbound.pk)
                record_outcome(outbound.pk, 1, told)

    results = at_once([lambda part=part: report(part) for part in range(8)])

    assert results == [None] * 8
    counts = today(office)
    assert (counts.sent, counts.delivered, counts.failed, counts.refused) == (24, 24, 24, 24)
    with office.inside():
        assert NumberDay.objects.count() <= 16  # about as many parts as writers met


@pytest.mark.django_db(transaction=True)
def test_who_counts_waits_for_nobody(committed_office):
    office = committed_office
    office.receive("hello")
    with raw.connected(tenant=office.tenant.pk) as own:
        own.execute("SELECT FROM number_days FOR UPDATE")
        office.receive("hello again", theirs="+12025550143")

    assert today(office).inbound == 2


def test_counters_never_shrink_to_nothing(desk, queue):
    end(desk, queue, "delivered")
    with desk.inside():
        assert raw.refused("DELETE FROM number_days") == "42501"
        assert raw.refused("UPDATE number_days SET sent = -1").startswith("number_days_sent")


def test_days_add_up():
    one = Counts(sent=2, codes={"a": 1})
    two = Counts(sent=3, failed=1, codes={"a": 2, "b": 1})

    assert total([one, two]) == Counts(sent=5, failed=1, codes={"a": 3, "b": 1})
    assert total([]) == Counts()
    assert Counts().lost_rate is None


# --- rest -------------------------------------------------------------------------------------


def number_of(office):
    with office.inside():
        return PhoneNumber.objects.get(pk=office.number.pk)


def test_five_failures_in_a_row_let_a_number_rest(desk, queue):
    end(desk, queue, "failed", 4, "30003")
    assert tend(desk.tenant.pk) == 0
    end(desk, queue, "failed", 1, "30003", body="last")
    assert desk.tenant.pk in _tenants_with_sends()

    assert tend(desk.tenant.pk) == 1

    number = number_of(desk)
    assert (number.status, number.resting_reason) == ("resting", "5 texts in a row failed")
    left = number.resting_until - timezone.now()
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    with desk.inside():
        entry = AuditEntry.objects.get(action="phone_number.rested")
        assert (entry.actor_id, entry.object_id) == (None, number.pk)
    assert tend(desk.tenant.pk) == 0  # once


@pytest.mark.parametrize("between", ["delivered", "sent long ago"])
def test_a_success_in_between_keeps_it_awake(desk, queue, between):
    end(desk, queue, "failed", 3)
    end(desk, queue, "accepted" if between != "delivered" else "delivered", 1, body="well")
    if between != "delivered":
        with desk.inside():
            OutboundMessage.objects.filter(state="sent").update(
                updated_at=timezone.now() - timedelta(minutes=6)
            )
    end(desk, queue, "failed", 3, body="more")

    tend(desk.tenant.pk)

    assert number_of(desk).status == "active"


def test_a_text_still_under_way_is_no_success(desk, queue):
    end(desk, queue, "failed", 3)
    end(desk, queue, "accepted", 1, body="under way")
    end(desk, queue, "failed", 2, body="more")

    tend(desk.tenant.pk)

    assert number_of(desk).status == "resting"


@pytest.mark.parametrize(
    ("kind", "code", "setting", "words"),
    [
        ("undelivered", "30007", "filtered", "were filtered as spam"),
        ("undelivered", "30003", "failed", "failed"),
    ],
)
def test_a_rate_above_its_limit_lets_a_number_rest(desk, queue, kind, code, setting, words):
    with desk.inside():
        desk.tenant.settings = {
            "rest_min_sends": 10,
            "rest_filtered": 0.9,
            "rest_failed": 0.9,
            "rest_hours": 2,
            f"rest_{setting}": 0.2,
        }
        desk.tenant.save()
    for place in range(2):
        end(desk, queue, kind, 1, code, body=f"bad {place}")
        end(desk, queue, "delivered", 3, body=f"good {place}")
    tend(desk.tenant.pk)
    assert number_of(desk).status == "active"  # eight texts say nothing

    end(desk, queue, "delivered", 3, body="good")
    end(desk, queue, kind, 1, code, body="bad")
    tend(desk.tenant.pk)

    number = number_of(desk)
    assert number.status == "resting"
    assert number.resting_reason.endswith(f"of 12 texts today {words}, more than 20%")
    assert number.resting_until < timezone.now() + timedelta(hours=2, minutes=1)


def test_stops_let_a_number_rest(desk, queue):
    with desk.inside():
        desk.tenant.settings = {"rest_min_sends": 3, "rest_opt_outs": 0.3}
        desk.tenant.save()
    end(desk, queue, "delivered", 3)

    desk.receive("STOP", theirs="+12025550177")
    tend(desk.tenant.pk)

    assert "answered with STOP" in number_of(desk).resting_reason


def test_what_a_tenant_sets_wrongly_counts_as_not_set():
    odd = {"rest_hours": "x", "rest_failed": -1, "rest_min_sends": True, "rest_filtered": None}

    assert limits_of(SimpleNamespace(settings=odd)) == Limits()
    assert limits_of(SimpleNamespace(settings={"rest_min_sends": 7})).min_sends == 7


# --- waking -----------------------------------------------------------------------------------


def test_it_comes_back_by_itself_with_a_clean_record(desk, queue):
    end(desk, queue, "failed", 5)
    tend(desk.tenant.pk)
    with desk.inside():
        PhoneNumber.objects.update(resting_until=timezone.now() - timedelta(seconds=1))
    assert _tenants_with_sends() == [desk.tenant.pk]

    assert tend(desk.tenant.pk) == 1

    number = number_of(desk)
    assert (number.status, number.resting_reason, number.resting_until) == ("active", "", None)
    end(desk, queue, "failed", 4, body="again")
    tend(desk.tenant.pk)
    assert number_of(desk).status == "active"  # the five of before are forgiven
    assert today(desk).failed == 9  # and counted
    end(desk, queue, "failed", 1, body="fifth")
    tend(desk.tenant.pk)
    assert number_of(desk).status == "resting"


def test_a_person_rests_and_wakes_a_number(desk):
    with desk.inside():
        rest_number(desk.number.pk, reason="Carrier asked", hours=48, actor_id=desk.agent.pk)
        with pytest.raises(NumberRefused):
            rest_number(desk.number.pk, reason="Again", hours=1)
        wake_number(desk.number.pk, reason="Sorted out", actor_id=desk.agent.pk)
        with pytest.raises(NumberRefused):
            wake_number(desk.number.pk)
        entries = AuditEntry.objects.filter(actor=desk.agent).order_by("id")
        told = list(entries.values_list("action", "reason"))
    assert told == [
        ("phone_number.rested", "Carrier asked"),
        ("phone_number.woken", "Sorted out"),
    ]


def test_a_rest_needs_a_reason(desk):
    with desk.inside(), pytest.raises(NumberRefused):
        rest_number(desk.number.pk, reason=" ", hours=1)


def test_only_a_number_that_rests_has_a_reason(desk):
    with desk.inside():
        refused = raw.refused("UPDATE phone_numbers SET resting_reason = 'x'")
        assert refused == "phone_numbers_rest_has_state"
        PhoneNumber.objects.update(
            status="resting", resting_reason="x", resting_until=timezone.now()
        )
        PhoneNumber.objects.update(status="retired")
        number = PhoneNumber.objects.get()
        assert (number.resting_reason, number.resting_until) == ("", None)


# --- nothing silent ---------------------------------------------------------------------------


def test_the_last_active_number_rests_and_an_incident_is_due(desk, queue):
    end(desk, queue, "failed", 5)
    tend(desk.tenant.pk)

    with desk.inside():
        (problem,) = resting_number()
        assert (problem.severity, problem.subject) == ("critical", "+12025550100")
        assert "5 texts in a row failed" in problem.title
        second_number(desk)
        (problem,) = resting_number()
        assert problem.severity == "warning"
        wake_number(desk.number.pk)
        assert list(resting_number()) == []
        assert list(undecided_sends()) == []


# --- moving -----------------------------------------------------------------------------------


def first_text(office, queue, theirs=THEIRS, **more):
    values = {"purpose": "first_text", "is_automated": True, "actor_id": None, **more}
    outbound = queue(office, "First", theirs=theirs, **values)
    with office.inside():
        OutboundMessage.objects.filter(pk=outbound.pk).update(due_at=timezone.now())
    return outbound


def rest(office):
    with office.inside():
        rest_number(office.number.pk, reason="test", hours=24)


def test_waiting_first_texts_move_to_a_healthy_number_of_the_worker(desk, carrier, queue):
    old = first_text(desk, queue)
    with desk.inside():
        other = second_number(desk)
    rest(desk)

    assert tend(desk.tenant.pk) == 1
    assert tend(desk.tenant.pk) == 0

    with desk.inside():
        old.refresh_from_db()
        assert (old.state, old.error) == ("cancelled", "moved to +12025550101")
        new = OutboundMessage.objects.get(state="queued")
        assert (new.send_key, new.phone_number_id) == (f"moved:{old.pk}", other.pk)
        assert (new.body, new.purpose, new.lead_id) == ("First", "first_text", old.lead_id)
        assert new.conversation.our_number == "+12025550101"


def test_a_text_moves_once_whoever_moves_it(desk, queue):
    old = first_text(desk, queue)
    with desk.inside():
        second_number(desk)
    rest(desk)
    with desk.inside():
        assert move_text(old.pk) is True
        assert move_text(old.pk) is False
        assert OutboundMessage.objects.filter(state="queued").count() == 1


@pytest.mark.parametrize("what", ["reply", "history in", "history out", "claimed", "help"])
def test_what_belongs_to_a_number_waits_with_it(desk, queue, what):
    if what == "history in":
        desk.receive("hello")
    if what == "history out":
        end(desk, queue, "delivered")
    if what == "reply":
        old = queue(desk)
    elif what == "help":
        old = first_text(desk, queue, purpose="help")
    else:
        old = first_text(desk, queue)
    if what == "claimed":
        with desk.inside():
            OutboundMessage.objects.filter(pk=old.pk).update(attempt=1)
    with desk.inside():
        second_number(desk)
    rest(desk)

    assert tend(desk.tenant.pk) == 0

    with desk.inside():
        old.refresh_from_db()
        assert old.state == "queued"
    assert send_due(desk) == []


def test_texts_prefer_their_worker_then_the_account_and_room(desk, queue):
    with desk.inside():
        cathy = Worker.objects.get(key="cathy")
        full = second_number(desk, "+12025550101", daily_cap=1, sent_today=1,
                             day=day_of(desk.tenant))  # fmt: skip
        same = second_number(desk, "+12025550102", daily_cap=2)
        others = second_number(desk, "+12025550103", worker=cathy)
    for n in range(4):
        first_text(desk, queue, theirs=f"+1202555{n:04d}")
    rest(desk)

    assert tend(desk.tenant.pk) == 4

    with desk.inside():
        moved = OutboundMessage.objects.filter(state="queued")
        assert moved.filter(phone_number=same).count() == 2
        assert moved.filter(phone_number=others).count() == 2
        assert not moved.filter(phone_number=full).exists()


def test_without_a_healthy_number_everything_waits(desk, queue):
    old = first_text(desk, queue)
    rest(desk)

    assert tend(desk.tenant.pk) == 0

    with desk.inside():
        old.refresh_from_db()
        assert old.state == "queued"
        wake_number(desk.number.pk)


def test_a_text_in_flight_when_its_number_rests_waits_and_is_not_lost(desk, carrier, queue):
    outbound = queue(desk)
    (one,) = claim(desk.tenant.pk, most=5)
    rest(desk)

    send(one)

    with desk.inside():
        outbound.refresh_from_db()
        assert outbound.state == "queued"
        wake_number(desk.number.pk)
    assert carrier.accepted() == []
    send_due(desk)
    assert carrier.received() == ["Hi there"]


@pytest.mark.django_db(transaction=True)
def test_the_send_loop_tends_by_itself(committed_office, queue):
    office = committed_office
    end(office, queue, "failed", 5)
    queue(office, "waits")

    SendLoop().step()

    assert number_of(office).status == "resting"
    with office.inside():
        assert OutboundMessage.objects.get(body="waits").state == "queued"
