"""What operators do to failed and withheld work: exact counts, kept order, one event per row."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from integrations import bulk, failures
from integrations.actions_work import (
    WorkRefused,
    create_rule,
    discard_work,
    end_rule,
    quarantine_work,
    release_work,
    retry_work,
)
from integrations.bulk import act_on, cancel_run, resume_run, work_on_selections
from integrations.events import BadPayload, MessageReceived
from integrations.failures import MAX_ATTEMPTS, MAX_RETRIES, fingerprint_of, retry_due
from integrations.models import QuarantineRule, WebhookWork, WorkEvent
from integrations.rules import preview
from integrations.selections import SelectionChanged, read_selection, select
from leads.models import Consent
from messaging.models import LiveEvent, Message
from pipelines.models import DeadLetter, PipelineRun
from tenants.dispatch import _handlers, on
from tenants.models import AuditEntry
from tests.conftest import drain

pytestmark = pytest.mark.django_db


@pytest.fixture
def broken_texts():
    """Texts with "boom" fail while the returned set holds "boom"; "odd" ones make no sense."""
    trouble = {"boom"}
    before = list(_handlers[MessageReceived])

    @on(MessageReceived)
    def fail(event, *, source):
        if "boom" in event.body and trouble:
            raise RuntimeError(f"no row 'x' with id {event.external_id} of 17")
        if "odd" in event.body:
            raise BadPayload("no such thing")

    yield trouble
    _handlers[MessageReceived][:] = before


def die(office, *texts, theirs="", rounds=MAX_ATTEMPTS):
    """Post texts and let them fail until they are dead."""
    for text in texts:
        office.post(office.payload(text, **({"theirs": theirs} if theirs else {})))
    for _ in range(rounds):
        with office.inside():
            WebhookWork.objects.filter(state="ready").update(available_at=timezone.now())
        drain()


def work(office, **which):
    with office.inside():
        return list(WebhookWork.objects.filter(**which).order_by("seq"))


def seqs(office, **which):
    return [item.seq for item in work(office, **which)]


def letter(office):
    with office.inside():
        return DeadLetter.objects.get()


def kinds(office, seq):
    with office.inside():
        return list(
            WorkEvent.objects.filter(work=seq).order_by("id").values_list("what", flat=True)
        )


def bodies(office):
    with office.inside():
        return list(
            Message.objects.filter(direction="in").order_by("id").values_list("body", flat=True)
        )


# --- failures and letters -----------------------------------------------------------------------


def test_every_failure_is_kept_with_its_reason(office, broken_texts):
    die(office, "boom")

    (item,) = work(office)
    assert (item.state, item.attempts) == ("dead", MAX_ATTEMPTS)
    assert kinds(office, item.seq) == ["failed"] * 4 + ["dead"]
    with office.inside():
        reasons = set(WorkEvent.objects.values_list("reason", flat=True))
        assert reasons == {item.last_error}
        assert WorkEvent.objects.exclude(correlation_id="").count() == MAX_ATTEMPTS


def test_dead_work_has_one_open_letter_that_says_when_it_is_tried_again(office, broken_texts):
    die(office, "boom")

    found = letter(office)
    assert (found.stage, found.ref, found.status) == ("webhook", str(seqs(office)[0]), "open")
    assert (found.error_class, found.subject) == ("RuntimeError", "signalhouse MESSAGE_RECEIVED")
    assert found.fingerprint == work(office)[0].fingerprint != ""
    pause = found.retry_after - timezone.now()
    assert timedelta(minutes=3.5) < pause < timedelta(minutes=6.5)


def test_errors_of_one_cause_share_a_fingerprint():
    same = [
        fingerprint_of("KeyError", "no row 'a' with id lead_01ARZ3NDEKTSV4RRFFQ69G5FAV, 12 of 17"),
        fingerprint_of("KeyError", "no row 'b' with id lead_01ARZ3NDEKTSV4RRFFQ69G5FAX, 3 of 40"),
        fingerprint_of("KeyError", 'no row "b" with id  9, 3 of 40\nDETAIL:  Key (x)=(y)'),
    ]
    assert len(set(same)) == 1
    assert fingerprint_of("ValueError", "no row 'a' with id 9, 12 of 17") != same[0]
    assert fingerprint_of("KeyError", "no column 'a' with id 9, 12 of 17") != same[0]


def test_a_due_letter_is_retried_and_its_success_closes_it(office, broken_texts):
    die(office, "boom", "after it")
    assert bodies(office) == ["after it"]
    assert retry_due() == 0  # not before its time
    broken_texts.clear()
    due(office)

    assert retry_due() == 1
    assert letter(office).status == "retrying"
    drain()

    found = letter(office)
    assert (found.status, found.retries, found.retry_after) == ("resolved", 1, None)
    assert found.closed_at is not None
    assert bodies(office) == ["after it", "boom"]
    assert kinds(office, seqs(office)[0])[-1] == "retry"


def due(office):
    with office.inside():
        DeadLetter.objects.filter(status="open").update(retry_after=timezone.now())


def test_retries_are_further_and_further_apart_and_end_after_six(office, broken_texts):
    die(office, "boom")
    pauses = []
    for _ in range(MAX_RETRIES):
        due(office)
        assert retry_due() == 1
        drain()
        found = letter(office)
        pauses.append(found.retry_after and (found.retry_after - timezone.now()).total_seconds())

    for n, pause in enumerate(pauses[:-1], 1):
        assert 300 * 2**n * 0.74 < pause < 300 * 2**n * 1.26
    assert pauses[-1] is None
    assert (letter(office).status, letter(office).retries) == ("open", MAX_RETRIES)
    assert retry_due() == 0


def test_what_makes_no_sense_is_never_retried_by_itself(office, broken_texts):
    die(office, "odd", rounds=1)

    assert (letter(office).status, letter(office).retry_after) == ("open", None)


def test_retried_work_comes_first_in_its_lane(office, broken_texts):
    die(office, "boom")
    broken_texts.clear()
    office.post(office.payload("younger"))
    with office.inside():
        retry_work(seqs(office, state="dead"), actor_id=office.agent.pk)

    drain()

    assert bodies(office) == ["boom", "younger"]


# --- actions ------------------------------------------------------------------------------------


def test_discarded_work_is_over_with_its_reason_everywhere(office, broken_texts):
    die(office, "boom")
    with office.inside():
        done = discard_work(seqs(office), actor_id=office.agent.pk, reason=" a test event ")

    assert done == 1
    (item,) = work(office)
    found = letter(office)
    assert (item.state, found.status, found.reason) == ("discarded", "discarded", "a test event")
    assert found.actor_id == office.agent.pk
    with office.inside():
        event = WorkEvent.objects.get(what="discard")
        entry = AuditEntry.objects.get(action="work.discard")
        assert (event.reason, event.actor_id) == ("a test event", office.agent.pk)
        assert (entry.after, entry.reason) == ({"count": 1, "work": [item.seq]}, "a test event")
        for act in (retry_work, discard_work, quarantine_work, release_work):
            assert act([item.seq], actor_id=None, reason="x") == 0


@pytest.mark.parametrize("act", [discard_work, quarantine_work, release_work])
@pytest.mark.parametrize("reason", ["", "   "])
def test_without_a_reason_nothing_is_done(office, act, reason):
    office.post(office.payload("hello"))
    with office.inside(), pytest.raises(WorkRefused):
        act(seqs(office), actor_id=None, reason=reason)

    assert kinds(office, seqs(office)[0]) == []


def test_quarantine_and_release_keep_the_order_of_a_lane(office):
    for text in ("one", "two", "three"):
        office.post(office.payload(text))
    first, second, _ = seqs(office)
    with office.inside():
        assert quarantine_work([first, second], actor_id=None, reason="look first") == 2
        release_work([second], actor_id=None, reason="fine")
        release_work([first], actor_id=None, reason="fine, too")

    drain()

    assert bodies(office) == ["one", "two", "three"]
    assert kinds(office, first) == ["quarantine", "release"]


def test_another_tenants_work_is_out_of_reach(office, other_office):
    other_office.post(other_office.payload("hello"))
    foreign = seqs(other_office)
    with office.inside():
        assert quarantine_work(foreign, actor_id=None, reason="x") == 0
        assert discard_work(foreign, actor_id=None, reason="x") == 0

    assert work(other_office)[0].state == "ready"


def test_open_pages_hear_of_it_once_per_batch(office):
    for n in range(5):
        office.post(office.payload(f"n{n}", theirs=f"+1202555{n:04d}"))

    drain()

    with office.inside():
        assert LiveEvent.objects.filter(tenant_id=office.tenant.pk, kind="webhook").count() == 1


# --- rules --------------------------------------------------------------------------------------


def rule(**criteria):
    return QuarantineRule(reason="a flood", **criteria)


@pytest.mark.parametrize(
    ("criteria", "met"),
    [
        ({"contains": "WIN a"}, {"win a prize"}),
        ({"contains": "100%"}, set()),
        ({"sender": "+1202555*1"}, {"hello"}),
        ({"event_type": "message_*"}, {"win a prize", "hello"}),
        ({"event_type": "MESSAGE"}, set()),
        ({"source": "signalhouse", "contains": "hello"}, {"hello"}),
        ({"source": "twilio"}, set()),
        ({"contains": "hello", "sender": "+12025550000"}, set()),
    ],
)
def test_a_rule_meets_what_its_preview_says(office, criteria, met):
    texts = ["win a prize", "hello"]
    for n, text in enumerate(texts):
        office.post(office.payload(text, theirs=f"+1202555000{n}"))
    with office.inside():
        told = preview(rule(**criteria))
        create_rule(rule(**criteria), actor_id=office.agent.pk)
    drain()

    assert (told.count, told.ready, len(told.matches)) == (len(met), len(met), len(met))
    assert set(bodies(office)) == set(texts) - met
    withheld = work(office, state="quarantined")
    assert len(withheld) == len(met)
    assert all("a flood" in item.last_error for item in withheld)


def test_a_rule_does_not_withhold_an_opt_out(office):
    with office.inside():
        create_rule(rule(contains="stop"), actor_id=None)
    office.post(office.payload("STOP"))
    drain()

    with office.inside():
        assert Consent.objects.get().state == "opted_out"
        assert WebhookWork.objects.get().state == "quarantined"


@pytest.mark.parametrize("criteria", [{}, {"sender": "*"}, {"event_type": "*", "contains": "*"}])
def test_a_rule_that_stops_everything_is_refused(office, criteria):
    with office.inside():
        with pytest.raises(WorkRefused):
            create_rule(rule(**criteria), actor_id=None)
        assert not QuarantineRule.objects.exists()


def test_what_was_released_is_not_withheld_by_its_rule_again(office):
    with office.inside():
        create_rule(rule(contains="prize"), actor_id=None)
    office.post(office.payload("a prize"))
    drain()
    with office.inside():
        release_work(seqs(office), actor_id=None, reason="a real one")
    drain()
    office.post(office.payload("another prize"))
    drain()

    assert bodies(office) == ["a prize"]


def test_an_ended_rule_withholds_nothing_more_and_keeps_what_it_has(office):
    with office.inside():
        made = create_rule(rule(contains="prize"), actor_id=None)
    office.post(office.payload("prize one"))
    drain()
    with office.inside():
        assert end_rule(made.pk, actor_id=office.agent.pk)
        assert not end_rule(made.pk, actor_id=office.agent.pk)
    office.post(office.payload("prize two"))
    drain()

    assert bodies(office) == ["prize two"]
    assert len(work(office, state="quarantined")) == 1


# --- many at once -------------------------------------------------------------------------------


def kill(office, how_many, text="boom"):
    """Make dead work with its letters, without waiting for five failures each."""
    for n in range(how_many):
        office.post(office.payload(text, theirs=f"+1202{n:07d}"))
    with office.inside():
        found = list(WebhookWork.objects.filter(state="ready"))
        WebhookWork.objects.filter(state="ready").update(state="dead", attempts=5, last_error=text)
        DeadLetter.objects.bulk_create(
            DeadLetter(
                stage="webhook", ref=str(item.seq), fingerprint=text, error_class="E", error=text
            )
            for item in found
        )


def test_late_arrivals_are_not_swept_in(office):
    kill(office, 3)
    with office.inside():
        shown = select("letters", fingerprint="boom")
    kill(office, 1)

    with office.inside():
        outcome = act_on("discard", shown, actor_id=office.agent.pk, reason="old")

    assert (shown.count, outcome.done) == (3, 3)
    assert len(work(office, state="dead")) == 1


def test_another_count_than_the_one_shown_does_nothing(office):
    kill(office, 3)
    with office.inside():
        shown = select("letters", fingerprint="boom")
        retry_work(seqs(office)[:1], actor_id=None)
        with pytest.raises(SelectionChanged, match="3 were shown, 2 match now"):
            act_on("discard", shown, actor_id=office.agent.pk, reason="old")

    assert len(work(office, state="dead")) == 2


def test_a_selection_travels_signed_and_in_its_tenant_only(office, other_office):
    kill(office, 1)
    with office.inside():
        shown = select("letters")
        assert read_selection(shown.sign()) == shown
        assert read_selection(shown.sign()[:-1]) is None
        carried = shown.sign()
    with other_office.inside():
        assert read_selection(carried) is None


def test_an_action_is_only_for_what_it_is_meant_for(office):
    kill(office, 1)
    with office.inside():
        with pytest.raises(WorkRefused):
            act_on("release", select("letters"), actor_id=office.agent.pk, reason="x")
        with pytest.raises(WorkRefused):
            act_on("discard", select("letters"), actor_id=office.agent.pk)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(bulk, "AT_ONCE", 5)
    monkeypatch.setattr(bulk, "CHUNK", 4)


def run_of(office):
    with office.inside():
        return PipelineRun.objects.get(pipeline_name="bulk_work")


def test_many_are_done_chunk_by_chunk(office, small_chunks):
    kill(office, 10)
    with office.inside():
        outcome = act_on("discard", select("letters"), actor_id=office.agent.pk, reason="old")
    assert (outcome.done, run_of(office).status) == (0, "running")
    kill(office, 2)  # late arrivals

    progress = [(work_on_selections(), run_of(office).stats["done"]) for _ in range(3)]

    assert progress == [(4, 4), (4, 8), (2, 10)]
    run = run_of(office)
    assert (run.status, run.stats["skipped"]) == ("completed", 0)
    assert work_on_selections() == 0
    assert len(work(office, state="dead")) == 2


def test_a_run_is_cancelled_and_resumed_where_it_stopped(office, small_chunks):
    kill(office, 10)
    with office.inside():
        run_id = act_on("retry", select("letters"), actor_id=office.agent.pk).run_id
    work_on_selections()
    with office.inside():
        assert cancel_run(run_id, actor_id=office.agent.pk)
        assert not cancel_run(run_id, actor_id=office.agent.pk)
        # one of the rest is settled by hand meanwhile
        discard_work(seqs(office)[5:6], actor_id=None, reason="by hand")
    assert work_on_selections() == 0
    with office.inside():
        assert resume_run(run_id, actor_id=office.agent.pk)

    while work_on_selections():
        pass

    stats = run_of(office).stats
    assert (run_of(office).status, stats["done"], stats["skipped"]) == ("completed", 9, 1)
    assert len(work(office, state="ready")) == 9


def test_a_chunk_that_fails_ends_the_run_as_failed_and_it_can_go_on(
    office, small_chunks, monkeypatch
):
    kill(office, 10)
    with office.inside():
        run_id = act_on("retry", select("letters"), actor_id=office.agent.pk).run_id
    with monkeypatch.context() as broken:
        broken.setitem(bulk.ACTIONS, "retry", lambda *_, **__: 1 / 0)
        work_on_selections()
    run = run_of(office)
    assert (run.status, run.error) == ("failed", "ZeroDivisionError: division by zero")
    assert run.stats["done"] == 0

    with office.inside():
        resume_run(run_id, actor_id=office.agent.pk)
    while work_on_selections():
        pass
    assert run_of(office).stats["done"] == 10


def test_the_numbers_of_the_rules():
    assert (bulk.AT_ONCE, bulk.CHUNK, MAX_RETRIES) == (500, 200, 6)
    assert timedelta(minutes=5) == failures.LETTER_BACKOFF


def test_open_letters_are_counted_up_to_a_cap(office, other_office):
    kill(office, 3)
    kill(other_office, 1)
    with office.inside():
        discard_work(seqs(office)[:1], actor_id=None, reason="x")
        assert (failures.open_letters(), failures.open_letters(1)) == (2, 1)
