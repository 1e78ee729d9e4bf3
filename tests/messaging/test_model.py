"""A life of one person in any order, against a model of it that is small enough to believe.

Hypothesis chooses what happens: texts, STOP, START, doubtful words, choices by hand, replies,
claims, answers of the provider, reports doubled and out of order, timers, replays, and when the
webhooks are processed. After every step the database must say what the model says.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from integrations.models import WebhookWork
from integrations.providers import providers
from leads.actions import Choice
from leads.models import Consent, Lead, LeadTimer
from leads.states import may_move
from messaging.actions.consent import (
    ChoiceRefused,
    confirm_hold,
    opt_in,
    opt_out,
    release_hold,
)
from messaging.actions.sending import SendRefused, send_reply
from messaging.models import Conversation, Message, OutboundMessage, PhoneNumber
from messaging.outcomes import MAX_ATTEMPTS, Outcome, record_outcome
from messaging.sender import attempt_token, claim
from messaging.timers import fire_due
from tests import invariants
from tests.conftest import THEIRS, drain, make_office

pytestmark = pytest.mark.django_db

_serial = count(1)

#: What people say → how it is read. ``tests/leads/test_reading.py`` proves the reading itself.
WORDS = {
    "hello": "unclear",
    "call me": "wants_call",
    "my email is ann@example.com": "email",
    "HELP": "help",
    "STOP": "opt_out",
    "START": "opt_in",
    "please leave me alone": "hold",
}
#: Reports and answers are chosen apart here: one may say "taken" where the other said "not".
A_PROVIDER_MAY_LIE = {"a text the provider took was taken by one attempt"}

OPEN = ("sending", "unknown")
SILENT = ("touched", "retargeting")


@dataclass
class Text:
    """One text of ours, as the model sees it."""

    purpose: str = "reply"
    state: str = "queued"
    attempt: int = 0
    provider_id: str = ""


@dataclass
class Webhook:
    """A webhook that is stored; *apply* is what processing it will do."""

    kind: str
    external: str
    position: int
    payload: dict
    delivery: str
    text: str = ""  # our text's id, of a report
    attempt: int = 0
    status: str = ""
    was_opted_out: bool = False


@dataclass
class Person:
    """The model: one number, its lead, and our texts to it."""

    consent: str = "unknown"
    refused_at: int = 0  # place of the newest refusal
    state: str = "new"
    timers: set[str] = field(default_factory=set)
    texts: dict[str, Text] = field(default_factory=dict)
    filed: set[str] = field(default_factory=set)

    # --- consent ------------------------------------------------------------------------------

    def refuse(self, position: int) -> None:
        self.consent = "opted_out"
        self.refused_at = max(self.refused_at, position)

    def doubt(self, position: int) -> None:
        if self.consent != "opted_out":
            self.consent = "held"
        self.refused_at = max(self.refused_at, position)

    def agree(self, position: int) -> None:
        blocked = self.consent in ("opted_out", "held")
        if blocked and 0 < position < self.refused_at:
            return
        self.consent = "opted_in"
        if self.state == "suppressed":
            self.state = "responded"

    def silence(self) -> None:
        self.state = "suppressed"
        self.timers.clear()
        for text in self.texts.values():
            if text.state == "queued" and text.purpose != "opt_out_confirmation":
                text.state = "suppressed"

    def move(self, to: str) -> None:
        if self.state not in (to, "suppressed") and may_move(self.state, to):
            self.state = to

    # --- a webhook is processed ---------------------------------------------------------------

    def process(self, webhook: Webhook) -> str:
        """Do what processing does; return which automatic text it queues, if any."""
        if webhook.kind == "report":
            self.report(self.texts[webhook.text], webhook)
            return ""
        if webhook.external in self.filed:
            return ""
        self.filed.add(webhook.external)
        self.timers -= {"7D", "14D", "30D"}
        if webhook.kind != "opt_out":
            self.move("responded")
        return getattr(self, f"_after_{webhook.kind}", lambda webhook: "")(webhook)

    def _after_wants_call(self, webhook: Webhook) -> str:
        self.move("high_intent")
        return ""

    def _after_email(self, webhook: Webhook) -> str:
        self.move("email_captured")
        return ""

    def _after_help(self, webhook: Webhook) -> str:
        return "" if self.consent in ("opted_out", "held") else "help"

    def _after_opt_in(self, webhook: Webhook) -> str:
        self.agree(webhook.position)
        return ""

    def _after_opt_out(self, webhook: Webhook) -> str:
        if self.consent != "opted_out":  # lifted by hand since
            return ""
        self.silence()
        return "" if webhook.was_opted_out else "opt_out_confirmation"

    # --- sending ------------------------------------------------------------------------------

    def claim(self) -> None:
        for text in self.texts.values():
            if text.state != "queued":
                continue
            if text.purpose == "opt_out_confirmation" or self.consent != "opted_out":
                if text.purpose == "help" and self.consent == "held":
                    continue
                text.state, text.attempt = "sending", text.attempt + 1
            else:
                text.state = "suppressed"

    def outcome(self, text: Text, kind: str, position: int) -> None:
        """Apply the provider's answer to the text's newest attempt."""
        if text.state not in (*OPEN, "sent"):
            return
        if kind == "accepted":
            self.accept(text)
        elif kind == "failed":
            text.state = "failed"
        elif kind == "opted_out":
            text.state = "suppressed" if text.state == "sending" else "failed"
            self.refuse(position)
            self.silence()
        elif text.state == "sending":
            given_up = kind == "not_written" and text.attempt >= MAX_ATTEMPTS
            text.state = {"ambiguous": "unknown"}.get(kind, "failed" if given_up else "queued")

    def accept(self, text: Text) -> None:
        if text.state not in ("queued", *OPEN):
            return
        text.state = "sent"
        if self.state == "new" and text.purpose != "opt_out_confirmation":
            self.state = "touched"
            self.timers |= {"7D", "14D"}

    def report(self, text: Text, webhook: Webhook) -> None:
        """Apply a carrier's report: up only, and an end stays."""
        current = text.attempt == webhook.attempt
        proves = webhook.status in ("sent", "delivered", "undelivered")
        if not (current and text.state in (*OPEN, "sent")) and not (
            proves and text.state in ("queued", *OPEN)
        ):
            return
        text.provider_id = text.provider_id or webhook.external
        if webhook.status != "failed":
            self.accept(text)
        if webhook.status != "sent" and text.state in (*OPEN, "sent"):
            text.state = webhook.status

    # --- timers -------------------------------------------------------------------------------

    def fire(self, kind: str) -> None:
        self.timers.discard(kind)
        if self.state not in SILENT:
            return
        if kind == "7D" and self.state == "touched":
            self.state = "retargeting"
        elif kind == "14D":
            self.timers.add("30D")
        elif kind == "30D" and self.state == "retargeting":
            self.state = "content_nurture"


class Life(RuleBasedStateMachine):
    """The same steps on the model and, through the real doors, on the database."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Person()
        self.office = make_office(f"life-{next(_serial)}")
        self.pending: list[Webhook] = []
        self.stored: list[Webhook] = []
        self.received = 0  # webhooks in the order of their arrival
        lead = self.office.lead(THEIRS, region="NY")
        with self.office.inside():
            self.conversation = Conversation.objects.create(
                lead=lead,
                phone_number=self.office.number,
                our_number=self.office.number.number,
                their_number=THEIRS,
                stage="initial_message",
                last_inbound_at=timezone.now(),
            ).pk

    # --- webhooks arrive ----------------------------------------------------------------------

    @rule(words=st.sampled_from(sorted(WORDS)))
    def text_arrives(self, words):
        payload = self.office.payload(words)
        webhook = Webhook(
            kind=WORDS[words],
            external=payload["identifier"],
            position=0,
            payload=payload,
            delivery=f"life-{next(_serial)}",
        )
        self._take(webhook)

    @precondition(lambda self: self.stored)
    @rule(data=st.data(), another=st.booleans())
    def webhook_arrives_again(self, data, another):
        """The very same delivery, or the same text by another of the sender's webhooks."""
        old = data.draw(st.sampled_from(self.stored))
        if not another:
            answer = self._post(old)
            assert answer.status_code == 200
            return
        self._take(Webhook(**{**old.__dict__, "delivery": f"life-{next(_serial)}"}))

    @precondition(lambda self: any(t.attempt for t in self.model.texts.values()))
    @rule(data=st.data(), status=st.sampled_from(["SENT", "DELIVERED", "FAILED"]))
    def report_arrives(self, data, status):
        """By the token of its newest attempt, before or after the answer is known."""
        texts = sorted(key for key, text in self.model.texts.items() if text.attempt)
        key = data.draw(st.sampled_from(texts))
        text = self.model.texts[key]
        external = text.provider_id or f"car_{key[-12:]}"
        payload = self.office.status(external, status)
        said = providers["signalhouse"]().parse(payload)[0].status
        self._take(
            Webhook(
                kind="report",
                external=external,
                position=0,
                payload=payload,
                delivery=f"life-{next(_serial)}",
                text=key,
                attempt=text.attempt,
                status=said,
            )
        )

    def _take(self, webhook: Webhook) -> None:
        answer = self._post(webhook)
        assert answer.status_code == 202, answer.content
        self.received += 1
        webhook.position = self.received
        webhook.was_opted_out = self.model.consent == "opted_out"
        if webhook.kind == "opt_out":
            self.model.refuse(webhook.position)
        elif webhook.kind == "hold":
            self.model.doubt(webhook.position)
        self.pending.append(webhook)
        self.stored.append(webhook)

    def _post(self, webhook: Webhook):
        path = self.office.path
        if webhook.kind == "report":
            path += f"{attempt_token(webhook.text, webhook.attempt)}/"
        return self.office.post(webhook.payload, delivery=webhook.delivery, path=path)

    @precondition(lambda self: self.pending)
    @rule()
    def webhooks_are_processed(self):
        self._process()

    def _process(self) -> None:
        drain()
        pending, self.pending = self.pending, []
        for webhook in pending:
            purpose = self.model.process(webhook)
            if purpose:
                with self.office.inside():
                    newest = (
                        OutboundMessage.objects.filter(purpose=purpose)
                        .exclude(pk__in=self.model.texts)
                        .order_by("pk")
                        .first()
                    )
                assert newest is not None, f"no {purpose} was queued"
                # What a STOP of the same slice stopped again is told by the texts themselves.
                self.model.texts[newest.pk] = Text(purpose=purpose)

    @precondition(lambda self: self.stored and not self.pending)
    @rule(data=st.data())
    def event_is_replayed(self, data):
        """A replay of what was done adds nothing; a report may only repeat itself."""
        old = data.draw(st.sampled_from(self.stored))
        with self.office.inside():
            event = self._event_of(old)
            run = WebhookWork.objects.filter(event=event.event).order_by("run_no").last()
            WebhookWork.objects.create(
                event=event.event,
                received_at=event.received_at,
                lane=event.lane,
                run_no=run.run_no + 1,
                their_number=event.their_number,
                is_inbound=event.is_inbound,
                tenant=self.office.tenant,
            )
        self.received += 1
        drain()
        if old.kind == "report":
            self.model.process(old)

    def _event_of(self, webhook: Webhook) -> WebhookWork:
        event = self._post(webhook).json()["id"]  # the answer to a repeat names it
        return WebhookWork.objects.get(event=event, run_no=1)

    # --- people choose ------------------------------------------------------------------------

    @rule(what=st.sampled_from(["opt_out", "opt_in", "release", "confirm"]))
    def agent_chooses(self, what):
        model, actor = self.model, self.office.agent.pk
        was_held = model.consent == "held"
        choice = Choice(address=THEIRS, kind="opt_out", actor_id=actor, reason="said so")
        with self.office.inside():
            if what == "opt_out":
                opt_out(choice)
            elif what == "confirm":
                confirm_hold(THEIRS, actor_id=actor)
            elif what == "opt_in":
                opt_in(Choice(**{**choice.__dict__, "kind": "opt_in"}))
            elif was_held:
                release_hold(THEIRS, actor_id=actor)
            else:
                with pytest.raises(ChoiceRefused):
                    release_hold(THEIRS, actor_id=actor)
        if what in ("opt_out", "confirm"):
            model.refuse(self.received + 1)
            model.silence()
        elif what == "opt_in":
            model.agree(0)
        elif was_held:
            model.consent = "unknown"

    # --- texts go out -------------------------------------------------------------------------

    @rule(clicks=st.integers(1, 2))
    def agent_replies(self, clicks):
        key = f"click-{next(_serial):06d}"
        for _ in range(clicks):
            try:
                with self.office.inside():
                    made = send_reply(
                        self.conversation,
                        body="Hi there",
                        actor_id=self.office.agent.pk,
                        send_key=key,
                    )
            except SendRefused:
                assert self.model.consent == "opted_out"
            else:
                assert self.model.consent != "opted_out"
                self.model.texts.setdefault(made.pk, Text())

    @rule()
    def sender_claims(self):
        with self.office.inside():
            OutboundMessage.objects.filter(state="queued").update(due_at=timezone.now())
            PhoneNumber.objects.update(throttled_until=None, tokens=1000)
        claim(self.office.tenant.pk, most=50)
        self.model.claim()

    @precondition(lambda self: any(t.state in OPEN for t in self.model.texts.values()))
    @rule(
        data=st.data(),
        kind=st.sampled_from(
            ["accepted", "failed", "not_written", "throttled", "ambiguous", "opted_out"]
        ),
    )
    def provider_answers(self, data, kind):
        flying = sorted(key for key, text in self.model.texts.items() if text.state in OPEN)
        key = data.draw(st.sampled_from(flying))
        text = self.model.texts[key]
        provider_id = ""
        if kind == "accepted":
            text.provider_id = provider_id = text.provider_id or f"car_{key[-12:]}"
        with self.office.inside():
            record_outcome(
                key, text.attempt, Outcome(kind=kind, source="call", provider_id=provider_id)
            )
        self.model.outcome(text, kind, self.received + 1)

    # --- time passes --------------------------------------------------------------------------

    @precondition(lambda self: self.model.timers)
    @rule(data=st.data())
    def timer_is_due(self, data):
        kind = data.draw(st.sampled_from(sorted(self.model.timers)))
        with self.office.inside():
            LeadTimer.objects.filter(kind=kind, fired_at=None, cancelled_at=None).update(
                fire_at=datetime.now(UTC) - timedelta(seconds=1)
            )
        assert fire_due() == 1
        self.model.fire(kind)

    # --- and the database agrees --------------------------------------------------------------

    @invariant()
    def the_database_says_the_same(self):
        model = self.model
        with self.office.inside():
            consent = Consent.objects.filter(address=THEIRS).first()
            assert (consent.state if consent else "unknown") == model.consent
            assert Lead.objects.get().state == model.state
            live = LeadTimer.objects.filter(fired_at=None, cancelled_at=None)
            assert set(live.values_list("kind", flat=True)) == model.timers
            texts = dict(OutboundMessage.objects.values_list("pk", "state"))
            assert texts == {key: text.state for key, text in model.texts.items()}

    def teardown(self):
        self._process()
        self.the_database_says_the_same()
        with self.office.inside(), connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            assert Message.objects.filter(direction="in").count() == len(self.model.filed)
            assert not WebhookWork.objects.exclude(state="done").exists()
            assert set(invariants.broken(connection.connection)) <= A_PROVIDER_MAY_LIE
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def test_any_life_goes_as_the_model_says():
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=600 if os.environ.get("FAIRLEAD_FUZZ") == "long" else 40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),  # a shrunk life takes minutes; the seed repeats this one
        ),
    )
