"""A sending process dies at every joint: the handset has one text, or none that nobody knows of."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from messaging.models import OutboundMessage, SendAttempt, SendOutcome
from tests.carrier import eventually, send_due
from tests.conftest import THEIRS, drain

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.chaos]

#: Silence is noticed at once; a call may take as long as it likes.
IMPATIENT = {"FAIRLEAD_SEND_DEADLINE": "20", "FAIRLEAD_BASE_URL": "http://127.0.0.1:9"}


@pytest.fixture
def desk(committed_office, carrier, settings):
    settings.BASE_URL = IMPATIENT["FAIRLEAD_BASE_URL"]
    with committed_office.inside():
        committed_office.integration.base_url = carrier.url
        committed_office.integration.save()
    return committed_office


def seen(office, outbound):
    with office.inside():
        return OutboundMessage.objects.get(pk=outbound.pk)


def hit(carrier):
    """Tell whether the fault was met: a call is on its way."""
    return carrier.client.get("/_control/faults").json()["faults"][0]["fired"]


def time_passes(office):
    """The claim is older than any call may last, and unknowns are due to be asked about."""
    with office.inside():
        OutboundMessage.objects.filter(state="sending").update(
            claimed_at=timezone.now() - timedelta(minutes=5)
        )
        OutboundMessage.objects.filter(state="unknown").update(retry_at=timezone.now())


@pytest.mark.parametrize("fault", ["hang", "hang_after_accept"], ids=["not taken", "taken"])
def test_kill_9_during_the_call(desk, carrier, queue, run_drain, fault):
    outbound = queue(desk)
    carrier.fault(fault)
    sender = run_drain("--only", "sends", **IMPATIENT)
    assert eventually(lambda: hit(carrier), 20)
    assert seen(desk, outbound).state == "sending"

    sender.kill()
    time_passes(desk)
    send_due(desk)  # the next process is this one
    assert seen(desk, outbound).state == "unknown"
    time_passes(desk)
    send_due(desk)

    assert seen(desk, outbound).state == "sent"
    assert carrier.received() == ["Hi there"]
    with desk.inside():
        assert SendAttempt.objects.count() == 1
        kinds = SendOutcome.objects.order_by("id").values_list("kind", "source")
        assert list(kinds) == [("ambiguous", "lease"), ("accepted", "call")]


def test_a_frozen_sender_that_thaws_changes_nothing(desk, carrier, queue, run_drain):
    outbound = queue(desk)
    carrier.fault("hang_after_accept")
    sender = run_drain("--only", "sends", **{**IMPATIENT, "FAIRLEAD_SEND_DEADLINE": "1.5"})
    assert eventually(lambda: carrier.accepted(), 20)
    sender.freeze()
    time_passes(desk)
    for _ in range(2):
        send_due(desk)
        time_passes(desk)
    assert seen(desk, outbound).state == "sent"

    sender.thaw()

    with desk.inside():
        assert eventually(lambda: SendOutcome.objects.count() == 3, 20)
    assert (seen(desk, outbound).state, carrier.received()) == ("sent", ["Hi there"])


def test_kill_9_in_the_middle_of_many(desk, carrier, queue, run_drain):
    people = [f"+1202555{n:04d}" for n in range(40)]
    texts = [queue(desk, f"for {theirs}", theirs=theirs) for theirs in people]
    sender = run_drain("--only", "sends", **IMPATIENT)
    assert eventually(lambda: taken(carrier, people) > 4, 20)
    sender.kill()
    assert taken(carrier, people) < len(people), "the sender was too fast to be killed"
    for _ in range(3):
        time_passes(desk)
        send_due(desk, most=200)

    for outbound, theirs in zip(texts, people, strict=True):
        assert seen(desk, outbound).state == "sent", theirs
        assert carrier.received(theirs) == [f"for {theirs}"]


def taken(carrier, people):
    texts = carrier.client.get("/_control/texts").json()["texts"]
    wanted = {theirs.lstrip("+") for theirs in people}
    return sum(text["recipientPhoneNumber"] in wanted for text in texts)


def test_stop_while_the_sender_is_dead(desk, carrier, queue, run_drain):
    outbound = queue(desk)
    carrier.fault("hang", match={"to": THEIRS})
    sender = run_drain("--only", "sends", **IMPATIENT)
    assert eventually(lambda: hit(carrier), 20)
    sender.kill()
    desk.post(desk.payload("STOP"))

    for _ in range(2):
        time_passes(desk)
        drain()
        send_due(desk)

    assert seen(desk, outbound).state == "unknown"
    assert "Hi there" not in carrier.accepted()
    assert len(carrier.received()) == 1  # the confirmation


def test_a_call_that_hangs_holds_its_own_slot_only(desk, carrier, queue, run_drain):
    others = [f"+1202555{n:04d}" for n in range(3001, 3021)]
    stuck = queue(desk, "stuck")
    carrier.fault("hang", match={"to": THEIRS})
    for number in others:
        queue(desk, "free", number)

    run_drain("--only", "sends", **IMPATIENT)

    assert eventually(lambda: _sent(desk) == len(others), 15), "they wait for the one that hangs"
    assert seen(desk, stuck).state == "sending"


def _sent(office):
    with office.inside():
        return OutboundMessage.objects.filter(body="free", state="sent").count()
