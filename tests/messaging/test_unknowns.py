"""Texts of which nobody knows whether they arrived: looked up, decided by people, never resent."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.db import IntegrityError
from django.db.models.functions import Now
from django.utils import timezone

from integrations.models import Integration
from leads.actions import Choice, record_choice
from leads.models import LeadEvent
from messaging.actions.unknowns import DecisionRefused, decide_unknown
from messaging.models import Message, OutboundMessage, SendAttempt, SendOutcome
from messaging.outcomes import LOOKS_S, Outcome, give_up_unknown, record_outcome
from messaging.sender import _tenants_with_sends, claim
from tenants.models import AuditEntry
from tests import raw
from tests.carrier import send_due
from tests.conftest import THEIRS
from tests.listing import use_listing

pytestmark = pytest.mark.django_db


@pytest.fixture
def listed(desk, monkeypatch):
    use_listing(desk, monkeypatch)
    return desk


def seen(office, outbound):
    with office.inside():
        return OutboundMessage.objects.select_related("message").get(pk=outbound.pk)


def learnt(office, outbound):
    with office.inside():
        rows = SendOutcome.objects.filter(attempt__outbound=outbound).order_by("id")
        return list(rows.values_list("kind", "source"))


def look_now(office):
    """The time of the next look has come; take it."""
    with office.inside():
        OutboundMessage.objects.filter(look_at__isnull=False).update(look_at=timezone.now())
    return send_due(office)


def doubt(office, carrier, queue, fault="500", body="Hi there"):
    outbound = queue(office, body)
    carrier.fault(fault)
    send_due(office)
    assert seen(office, outbound).state == "unknown"
    return outbound


def a_day_passes(office):
    with office.inside():
        OutboundMessage.objects.filter(state="unknown").update(
            claimed_at=Now() - timedelta(hours=25), retry_at=None, look_at=None
        )


# --- looking it up ----------------------------------------------------------------------------


def test_a_text_that_was_taken_is_found_in_the_providers_list(listed, carrier, queue):
    outbound = doubt(listed, carrier, queue, "500_after_accept")
    wait = seen(listed, outbound).look_at - timezone.now()
    assert timedelta(seconds=LOOKS_S[0] - 3) < wait <= timedelta(seconds=LOOKS_S[0])
    assert send_due(listed) == []  # not before its time, and never anew

    claims = look_now(listed)

    assert [(one.attempt, one.looks) for one in claims] == [(1, True)]
    row = seen(listed, outbound)
    assert row.state in ("sent", "delivered")
    assert row.provider_message_id == row.message.external_id != ""
    assert [source for _, source in learnt(listed, outbound)] == ["call", "lookup"]
    assert carrier.received() == ["Hi there"]
    with listed.inside():
        assert SendAttempt.objects.count() == 1
        assert LeadEvent.objects.filter(kind="text_sent").count() == 1


def test_three_looks_that_find_nothing_leave_it_unknown_and_send_nothing(listed, carrier, queue):
    outbound = doubt(listed, carrier, queue)

    pauses = []
    for _ in LOOKS_S:
        look_now(listed)
        if look_at := seen(listed, outbound).look_at:
            pauses.append(round((look_at - timezone.now()).total_seconds()))
    assert send_due(listed) == []

    assert pauses == [LOOKS_S[1] - LOOKS_S[0], LOOKS_S[2] - LOOKS_S[1]]
    assert learnt(listed, outbound)[1:] == [("not_found", "lookup")] * 3
    assert (seen(listed, outbound).state, carrier.accepted()) == ("unknown", [])


def test_a_find_that_is_known_as_another_text_is_not_this_one(listed, carrier, queue):
    first = queue(listed)
    send_due(listed)
    second = doubt(listed, carrier, queue)

    look_now(listed)

    assert learnt(listed, second)[-1] == ("not_found", "lookup")
    assert seen(listed, first).provider_message_id != ""
    assert seen(listed, second).state == "unknown"


def test_two_texts_alike_are_each_given_their_own_find(listed, carrier, queue):
    first = doubt(listed, carrier, queue, "500_after_accept")
    time.sleep(1.1)  # vendors write their times to the second
    second = doubt(listed, carrier, queue, "500_after_accept")

    look_now(listed)

    ids = [seen(listed, one).provider_message_id for one in (first, second)]
    texts = carrier.client.get("/_control/texts", params={"to": THEIRS}).json()["texts"]
    assert ids == [text["_id"] for text in sorted(texts, key=lambda text: text["createdAt"])]


def test_a_text_of_before_the_attempt_is_not_it(listed, carrier, queue):
    doubt(listed, carrier, queue, "500_after_accept")
    look_now(listed)
    time.sleep(1.1)
    outbound = doubt(listed, carrier, queue)

    look_now(listed)

    assert seen(listed, outbound).state == "unknown"


@pytest.mark.parametrize("body", ["Hi there!", "hi there", "Hi  there"])
def test_other_words_are_another_text(listed, carrier, queue, body):
    outbound = queue(listed, body)
    carrier.fault("500")
    carrier.client.post(
        "/message/sms",
        json={
            "senderPhoneNumber": listed.number.number.lstrip("+"),
            "recipientPhoneNumber": [THEIRS.lstrip("+")],
            "messageBody": "Hi there",
        },
        headers={"Authorization": "Bearer key"},
    )
    carrier.fault("500")
    send_due(listed)
    look_now(listed)

    assert learnt(listed, outbound)[-1] == ("not_found", "lookup")


def test_a_look_without_an_answer_is_written_down_and_not_counted(listed, carrier, queue):
    outbound = doubt(listed, carrier, queue, "500_after_accept")
    with listed.inside():
        Integration.objects.update(base_url="http://127.0.0.1:9")

    look_now(listed)

    row = seen(listed, outbound)
    assert (row.state, row.looks) == ("unknown", 0)
    assert row.look_at > timezone.now() + timedelta(minutes=9)
    assert learnt(listed, outbound)[-1] == ("look_failed", "lookup")
    with listed.inside():
        Integration.objects.update(base_url=carrier.url)
    look_now(listed)
    assert seen(listed, outbound).state in ("sent", "delivered")


def test_an_opted_out_person_is_looked_up_all_the_same(listed, carrier, queue):
    outbound = doubt(listed, carrier, queue, "500_after_accept")
    with listed.inside():
        record_choice(Choice(address=THEIRS, kind="opt_out"))

    look_now(listed)

    assert seen(listed, outbound).state in ("sent", "delivered")


def test_no_provider_id_belongs_to_two_texts(desk, carrier, queue):
    for body in ("one", "two"):
        queue(desk, body)
    with desk.inside():
        assert (
            raw.refused("UPDATE outbound_messages SET provider_message_id = 'SM1'")
            == "ux_outbound_provider_id"
        )


def test_a_find_recorded_twice_is_refused_whole(desk, carrier, queue):
    first, second = queue(desk, "one"), queue(desk, "two")
    claim(desk.tenant.pk, most=5)
    find = Outcome(kind="accepted", source="lookup", provider_id="SM1")
    with desk.inside():
        record_outcome(first.pk, 1, find)
        with pytest.raises(IntegrityError):
            record_outcome(second.pk, 1, find)
        assert SendOutcome.objects.count() == 1


# --- giving up --------------------------------------------------------------------------------


def test_after_a_day_it_fails_as_unknown_and_waits_for_a_person(desk, carrier, queue):
    outbound = doubt(desk, carrier, queue)
    assert give_up_unknown(desk.tenant.pk) == 0
    a_day_passes(desk)
    assert _tenants_with_sends() == [desk.tenant.pk]

    assert give_up_unknown(desk.tenant.pk) == 1

    row = seen(desk, outbound)
    assert (row.state, row.error, row.message.status) == ("failed", "unknown", "failed")
    assert row.gave_up_at is not None
    assert learnt(desk, outbound)[-1] == ("gave_up", "lease")
    assert give_up_unknown(desk.tenant.pk) == 0
    assert send_due(desk) == []
    assert carrier.accepted() == []


def test_a_report_that_comes_after_giving_up_is_believed(desk, carrier, queue):
    outbound = doubt(desk, carrier, queue)
    a_day_passes(desk)
    give_up_unknown(desk.tenant.pk)

    with desk.inside():
        record_outcome(
            outbound.pk, 1, Outcome(kind="delivered", source="callback", provider_id="SM1")
        )

    row = seen(desk, outbound)
    assert (row.state, row.message.status) == ("delivered", "delivered")
    assert row.decided_at is not None


def test_a_failure_told_after_giving_up_ends_the_question(desk, carrier, queue):
    outbound = doubt(desk, carrier, queue)
    a_day_passes(desk)
    give_up_unknown(desk.tenant.pk)

    with desk.inside():
        told = Outcome(kind="failed", source="callback", provider_id="SM1", error_code="30003")
        record_outcome(outbound.pk, 1, told)

    row = seen(desk, outbound)
    assert (row.state, row.error, row.decided_at is None) == ("failed", "30003", False)


# --- people -----------------------------------------------------------------------------------


def decide(office, outbound, decision, reason="The person says so."):
    with office.inside():
        return decide_unknown(
            outbound.pk, decision=decision, reason=reason, actor_id=office.agent.pk
        )


@pytest.mark.parametrize("given_up", [False, True], ids=["young", "given up"])
@pytest.mark.parametrize(("decision", "state"), [("arrived", "sent"), ("lost", "failed")])
def test_a_person_says_what_happened(desk, carrier, queue, decision, state, given_up):
    outbound = doubt(desk, carrier, queue)
    if given_up:
        a_day_passes(desk)
        give_up_unknown(desk.tenant.pk)

    decide(desk, outbound, decision)

    row = seen(desk, outbound)
    assert (row.state, row.message.status) == (state, state)
    assert (row.decided_by_id, row.retry_at, row.look_at) == (desk.agent.pk, None, None)
    assert learnt(desk, outbound)[-1][1] == "operator"
    with desk.inside():
        entry = AuditEntry.objects.get(action=f"send.{decision}")
        assert (entry.actor_id, entry.reason) == (desk.agent.pk, "The person says so.")
        assert entry.object_id == outbound.pk
    with pytest.raises(DecisionRefused):
        decide(desk, outbound, decision)


@pytest.mark.parametrize("given_up", [False, True], ids=["young", "given up"])
def test_sent_again_it_is_a_new_attempt_through_the_same_gate(desk, carrier, queue, given_up):
    outbound = doubt(desk, carrier, queue)
    if given_up:
        a_day_passes(desk)
        give_up_unknown(desk.tenant.pk)

    decide(desk, outbound, "resend")
    row = seen(desk, outbound)
    assert (row.state, row.message.status, row.resends) == ("queued", "queued", 1)
    send_due(desk)

    row = seen(desk, outbound)
    assert (row.state, row.message.status, row.attempt) == ("sent", "sent", 2)
    assert (row.resent_by_id, row.went_twice) == (desk.agent.pk, False)
    assert carrier.received() == ["Hi there"]
    with desk.inside():
        assert SendAttempt.objects.count() == 2
        assert AuditEntry.objects.get(action="send.resent").after["resends"] == 1


def test_who_opted_out_meanwhile_is_not_sent_to_again(desk, carrier, queue):
    outbound = doubt(desk, carrier, queue)
    with desk.inside():
        record_choice(Choice(address=THEIRS, kind="opt_out"))

    with pytest.raises(DecisionRefused, match="opted out"):
        decide(desk, outbound, "resend")

    with desk.inside():
        again = "UPDATE outbound_messages SET state = 'queued', resends = 1, resent_by_id = "
        again += "(SELECT id FROM actors WHERE kind = 'user')"
        assert raw.refused(again) == "LD001"
        assert not AuditEntry.objects.filter(action__startswith="send.").exists()
    assert seen(desk, outbound).state == "unknown"


@pytest.mark.parametrize("decision", ["arrived", "lost", "resend"])
def test_a_decision_needs_a_reason(desk, carrier, queue, decision):
    outbound = doubt(desk, carrier, queue)
    with pytest.raises(DecisionRefused):
        decide(desk, outbound, decision, reason="  ")
    assert seen(desk, outbound).state == "unknown"


def test_what_is_no_doubt_is_not_decided(desk, carrier, queue):
    outbound = queue(desk)
    for decision in ("arrived", "lost", "resend", "nonsense"):
        with pytest.raises(DecisionRefused):
            decide(desk, outbound, decision)
    send_due(desk)
    for decision in ("arrived", "lost", "resend"):
        with pytest.raises(DecisionRefused):
            decide(desk, outbound, decision)


# --- reports that come after a resend ---------------------------------------------------------


def report(office, outbound, attempt, kind="accepted", id="SM-old"):
    with office.inside():
        record_outcome(outbound.pk, attempt, Outcome(kind=kind, source="callback", provider_id=id))


def test_a_report_before_the_second_attempt_saves_it(desk, carrier, queue):
    outbound = doubt(desk, carrier, queue)
    decide(desk, outbound, "resend")

    report(desk, outbound, 1)
    send_due(desk)

    row = seen(desk, outbound)
    assert (row.state, row.attempt, row.went_twice) == ("sent", 1, False)
    assert carrier.accepted() == []


def test_a_report_of_the_first_after_the_second_is_shown_as_a_double(desk, carrier, queue):
    outbound = doubt(desk, carrier, queue)
    decide(desk, outbound, "resend")
    send_due(desk)

    report(desk, outbound, 1, "delivered")
    report(desk, outbound, 1, "delivered")

    row = seen(desk, outbound)
    assert (row.state, row.went_twice) == ("sent", True)
    assert row.provider_message_id != "SM-old"
    with desk.inside():
        assert LeadEvent.objects.filter(kind="text_went_twice").count() == 1


def test_a_report_of_the_first_during_the_second_is_a_double_as_soon_as_it_is_known(
    desk, carrier, queue
):
    outbound = doubt(desk, carrier, queue)
    decide(desk, outbound, "resend")
    claim(desk.tenant.pk, most=5)

    report(desk, outbound, 1)
    assert seen(desk, outbound).went_twice is False
    report(desk, outbound, 2, id="SM-new")

    row = seen(desk, outbound)
    assert (row.state, row.went_twice) == ("sent", True)


def test_a_failure_of_the_first_does_not_end_the_second(desk, carrier, queue):
    outbound = doubt(desk, carrier, queue)
    decide(desk, outbound, "resend")
    claim(desk.tenant.pk, most=5)

    report(desk, outbound, 1, "failed")

    assert seen(desk, outbound).state == "sending"


# --- what the database refuses ----------------------------------------------------------------

ACTOR = "resent_by_id = (SELECT id FROM actors WHERE kind = 'user')"


@pytest.mark.parametrize(
    "change",
    [
        "state = 'queued'",
        f"state = 'queued', {ACTOR}",
        "state = 'queued', resends = 1",
        f"state = 'queued', resends = 2, {ACTOR}",
        "resends = 1",
        ACTOR,
        "gave_up_at = clock_timestamp()",
        "segments = 7",
    ],
)
@pytest.mark.parametrize("state", ["unknown", "failed"])
def test_nothing_but_a_persons_resend_opens_a_text_again(desk, queue, state, change):
    queue(desk)
    with desk.inside():
        for step in ("sending", state):
            OutboundMessage.objects.update(state=step, attempt=1, consent_rev=0)

        assert raw.refused(f"UPDATE outbound_messages SET {change}") in (
            "LD003",
            "outbound_resent_by_somebody",
        )

        OutboundMessage.objects.update(
            state="queued", resends=1, resent_by_id=desk.agent.pk
        )  # and this one passes


def test_a_real_failure_does_not_turn_into_a_success(desk, queue):
    queue(desk)
    with desk.inside():
        for step in ("sending", "failed"):
            OutboundMessage.objects.update(state=step, attempt=1, consent_rev=0)
        for state in ("sent", "delivered", "undelivered", "unknown"):
            assert raw.refused(f"UPDATE outbound_messages SET state = '{state}'") == "LD003"


def test_a_decided_failure_does_not_turn_into_a_success(desk, carrier, queue):
    outbound = doubt(desk, carrier, queue)
    a_day_passes(desk)
    give_up_unknown(desk.tenant.pk)
    decide(desk, outbound, "lost")
    with desk.inside():
        assert raw.refused("UPDATE outbound_messages SET state = 'sent'") == "LD003"


def test_a_message_goes_back_only_with_its_outbox_row(desk, carrier, queue):
    doubt(desk, carrier, queue)
    with desk.inside():
        assert raw.refused("UPDATE messages SET status = 'queued'") == "LD004"
        assert Message.objects.get().status == "unknown"
