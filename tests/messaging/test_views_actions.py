from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from leads.actions import Choice, record_choice
from leads.models import Consent, Lead, LeadEvent
from messaging.models import Conversation, Draft, Message, Notification, OutboundMessage
from tenants.models import AuditEntry
from tests.messaging.pages import client_of, fresh, hints, make_thread, person, queries, say, url

pytestmark = pytest.mark.django_db


def act(office, conversation, verb, client=None, **values):
    client = client or client_of(office.agent)
    return client.post(url(office, f"c/{conversation.pk}/{verb}/"), values)


def newest(office, conversation) -> str:
    with office.inside():
        return Message.objects.filter(conversation=conversation).latest("id").pk


def reply(office, conversation, body="It depends on the house.", client=None, **values):
    values = {
        "body": body,
        "send_key": "send_01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "base_message_id": newest(office, conversation),
        **values,
    }
    return act(office, conversation, values.pop("verb", "reply/part"), client, **values)


# --- replying ----------------------------------------------------------------------------------


def test_a_reply_without_a_script_redirects_back_to_the_thread(office):
    conversation = make_thread(office)

    answer = reply(office, conversation, verb="reply")

    assert answer.status_code == 302
    assert answer.url == url(office, f"inbox/initial_message/c/{conversation.pk}/")
    with office.inside():
        sent = OutboundMessage.objects.get()
    assert (sent.body, sent.purpose, sent.actor_id) == (
        "It depends on the house.",
        "reply",
        office.agent.pk,
    )


def test_a_reply_comes_back_as_a_bubble_with_a_fresh_key(office):
    conversation = make_thread(office, unread_for=office.agent)

    answer = reply(office, conversation)
    text = answer.content.decode()

    assert answer.status_code == 200
    assert "It depends on the house." in text
    assert "Sending" in text
    assert "send_01ARZ3NDEKTSV4RRFFQ69G5FAV" not in text
    assert json.loads(answer.headers["HX-Trigger"]) == {
        "lo:sent": {"conversation": conversation.pk}
    }
    with office.inside():
        assert not Notification.objects.filter(read_at=None).exists()
    after = fresh(office, conversation)
    assert after.assigned_to_id == office.agent.pk
    assert after.waiting_since is not None  # until the carrier has taken it


def test_a_double_click_is_one_message(office):
    conversation = make_thread(office)
    base = newest(office, conversation)
    client = client_of(office.agent)

    answers = [reply(office, conversation, client=client, base_message_id=base) for _ in range(3)]

    assert {answer.status_code for answer in answers} == {200}
    with office.inside():
        assert Message.objects.filter(direction="out").count() == 1


def test_of_two_agents_at_once_one_sends_and_the_other_keeps_the_text(office):
    conversation = make_thread(office)
    base = newest(office, conversation)
    _, other = person(office, name="Dana Other")
    reply(office, conversation, "first", base_message_id=base)

    answer = reply(
        office, conversation, "second", other, base_message_id=base, send_key="another-key"
    )
    text = answer.content.decode()

    assert answer.status_code == 409
    assert "Cam Agent answered meanwhile" in text
    assert "<textarea" not in text
    with office.inside():
        assert list(Message.objects.filter(direction="out").values_list("body", flat=True)) == [
            "first"
        ]


def test_who_has_not_read_the_newest_text_reads_it_first(office):
    conversation = make_thread(office)
    base = newest(office, conversation)
    with office.inside():
        say(conversation, "Never mind, sold it.")

    answer = reply(office, conversation, base_message_id=base)

    assert answer.status_code == 409
    assert "Marisol Ortega wrote again" in answer.content.decode()


def test_without_a_script_a_refused_reply_keeps_its_text(office):
    conversation = make_thread(office)
    base = newest(office, conversation)
    with office.inside():
        say(conversation, "Never mind, sold it.")

    answer = reply(office, conversation, "My long answer", verb="reply", base_message_id=base)
    text = answer.content.decode()

    assert answer.status_code == 409
    assert ">My long answer</textarea>" in text
    assert "wrote again" in text


def test_an_opted_out_number_is_refused_with_the_banner(office):
    conversation = make_thread(office)
    base = newest(office, conversation)
    with office.inside():
        record_choice(Choice(address=conversation.their_number, kind="opt_out", keyword="STOP"))

    answer = reply(office, conversation, base_message_id=base)

    assert answer.status_code == 422
    assert "data-optout-banner" in answer.content.decode()
    with office.inside():
        assert not OutboundMessage.objects.exists()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("   ", "Write something first"),
        ("Hi {{first_name}}", "first_name"),
        ("a" * 1000, "7 segments; at most 6"),
    ],
)
def test_what_cannot_be_sent_says_why(office, body, words):
    conversation = make_thread(office)

    answer = reply(office, conversation, body)

    assert answer.status_code == 422
    assert words in answer.content.decode()
    with office.inside():
        assert not OutboundMessage.objects.exists()


def test_a_reply_costs_the_same_in_a_long_thread(office):
    costs = []
    for texts in (1, 200):
        conversation = make_thread(office, unread_for=office.agent)
        with office.inside():
            for number in range(texts):
                say(conversation, f"text {number}")
        base, client = newest(office, conversation), client_of(office.agent)
        with queries() as collected:
            act(
                office,
                conversation,
                "reply/part",
                client,
                body="Yes",
                base_message_id=base,
                send_key=f"send-key-{texts}",
            )
        costs.append(len(collected))

    assert costs[0] == costs[1] <= 28


def test_an_observer_cannot_reply(office):
    conversation = make_thread(office)
    _, observer = person(office, role="observer")

    answer = reply(office, conversation, client=observer)

    assert answer.status_code == 403
    with office.inside():
        assert not OutboundMessage.objects.exists()


def test_a_form_of_another_tenant_is_a_conflict(office, other_office):
    conversation = make_thread(office)

    answer = reply(office, conversation, _tenant=other_office.tenant.pk)

    assert answer.status_code == 409
    with office.inside():
        assert not OutboundMessage.objects.exists()


# --- claiming ----------------------------------------------------------------------------------


def test_typing_claims_and_others_see_who_is_replying(office):
    conversation = make_thread(office)
    _, other = person(office)

    act(office, conversation, "claim/part")
    seen = other.get(url(office, f"c/{conversation.pk}/thread/")).content.decode()

    assert "Cam Agent is replying. Take over" in seen
    assert 'id="send"' not in seen
    assert hints(office) == 1


def test_a_renewed_claim_is_no_news(office):
    conversation = make_thread(office)

    for _ in range(3):
        act(office, conversation, "claim/part")

    assert hints(office) == 1


def test_a_claim_of_somebody_else_holds_until_it_is_taken_over(office):
    conversation = make_thread(office)
    other, client = person(office)
    base = newest(office, conversation)
    act(office, conversation, "claim")

    refused = reply(office, conversation, client=client, base_message_id=base)
    act(office, conversation, "claim/part", client)
    assert fresh(office, conversation).claimed_by_id == office.agent.pk
    act(office, conversation, "claim/part", client, take_over="1")
    sent = reply(office, conversation, client=client, base_message_id=base)

    assert (refused.status_code, sent.status_code) == (409, 200)
    assert "Cam Agent is replying" in refused.content.decode()
    with office.inside():
        taken = AuditEntry.objects.get(action="conversation.taken_over")
    assert (taken.actor_id, taken.object_id) == (other.pk, conversation.pk)


def test_a_claim_ends_by_itself_and_only_its_holder_releases_it(office):
    conversation = make_thread(office)
    other, client = person(office)
    act(office, conversation, "claim")

    act(office, conversation, "release", client)
    assert fresh(office, conversation).claimed_by_id == office.agent.pk
    with office.inside():
        Conversation.objects.filter(pk=conversation.pk).update(
            claimed_until=timezone.now() - timedelta(seconds=1)
        )
    act(office, conversation, "claim", client)
    assert fresh(office, conversation).claimed_by_id == other.pk
    act(office, conversation, "release", client)
    assert fresh(office, conversation).claimed_by_id is None


# --- done, snooze, undo ------------------------------------------------------------------------


def test_done_clears_what_waits_and_is_unread_for_everybody(office):
    other, _ = person(office)
    conversation = make_thread(office, unread_for=office.agent)
    with office.inside():
        Notification.objects.create(
            actor=other, conversation=conversation, stage=conversation.stage
        )

    answer = act(office, conversation, "done/part")

    after = fresh(office, conversation)
    assert (after.status, after.waiting_since) == ("done", None)
    with office.inside():
        assert not Notification.objects.filter(read_at=None).exists()
    assert hints(office, "bell") == 2
    assert json.loads(answer.headers["HX-Trigger"])["lo:closed"]
    assert f'id="row-{conversation.pk}" hx-swap-oob="delete"' in answer.content.decode()


@pytest.mark.parametrize(("verb", "values"), [("done", {}), ("snooze", {"until": "tomorrow"})])
def test_undo_puts_everything_back_in_its_place(office, verb, values):
    conversation = make_thread(office)
    before = fresh(office, conversation)
    client = client_of(office.agent)
    token = token_of(act(office, conversation, f"{verb}/part", client, **values))

    answer = act(office, conversation, "undo/part", client, token=token)

    after = fresh(office, conversation)
    for name in ("status", "waiting_since", "snoozed_until", "band", "last_message_at"):
        assert getattr(after, name) == getattr(before, name)
    assert f'id="row-{conversation.pk}"' in answer.content.decode()


def token_of(answer) -> str:
    return re.search(r"&quot;token&quot;: &quot;([^&]+)&quot;", answer.content.decode())[1]


def test_undo_leaves_alone_what_changed_since(office):
    conversation = make_thread(office)
    client = client_of(office.agent)
    token = token_of(act(office, conversation, "done/part", client))
    act(office, conversation, "reopen", client)
    other = make_thread(office)

    late = act(office, conversation, "undo/part", client, token=token)
    foreign = act(office, other, "undo/part", client, token=token)
    forged = act(office, other, "undo/part", client, token="x" + token)

    for answer in (late, foreign, forged):
        assert "Too late to undo" in answer.content.decode()
    assert fresh(office, other).status == "open"
    assert fresh(office, conversation).waiting_since is None


def test_snoozing_keeps_the_place_in_the_queue(office):
    conversation = make_thread(office)

    act(office, conversation, "snooze", until="1h")

    after = fresh(office, conversation)
    assert after.status == "snoozed"
    assert after.waiting_since == conversation.waiting_since
    assert timedelta(minutes=59) < after.snoozed_until - timezone.now() <= timedelta(hours=1)


def test_a_snooze_to_nowhere_is_not_found(office):
    conversation = make_thread(office)

    assert act(office, conversation, "snooze", until="someday").status_code == 404
    assert fresh(office, conversation).status == "open"


# --- moving ------------------------------------------------------------------------------------


def test_a_legal_move_is_recorded_with_who_made_it(office):
    conversation = make_thread(office)

    act(office, conversation, "state", to="responded")

    with office.inside():
        assert Lead.objects.get(pk=conversation.lead_id).state == "responded"
        assert LeadEvent.objects.latest("seq").actor_id == office.agent.pk


def test_an_illegal_move_says_so_and_changes_nothing(office):
    conversation = make_thread(office)

    answer = act(office, conversation, "state/part", to="appointment_booked")

    assert "cannot become" in answer.content.decode()
    with office.inside():
        assert Lead.objects.get(pk=conversation.lead_id).state == "new"


@pytest.mark.parametrize("to", ["suppressed", "nonsense", ""])
def test_only_known_states_can_be_moved_to_and_suppressing_is_another_thing(office, to):
    conversation = make_thread(office)

    assert act(office, conversation, "state", to=to).status_code == 404


def test_the_page_offers_only_legal_moves(office):
    conversation = make_thread(office)
    text = client_of(office.agent).get(url(office, f"c/{conversation.pk}/thread/"))

    ladder = text.content.decode().partition('id="ladder"')[2].partition("</ol>")[0]

    assert re.findall(r'name="to" value="(\w+)"', ladder) == ["touched", "responded"]


def test_moving_to_another_inbox_takes_the_unread_along(office):
    conversation = make_thread(office, unread_for=office.agent)

    text = act(office, conversation, "stage/part", stage="nudger").content.decode()

    assert f'id="row-{conversation.pk}" hx-swap-oob="delete"' in text
    assert 'id="count-waiting" hx-swap-oob="true">0<' in text
    with office.inside():
        assert Notification.objects.get(read_at=None).stage == "nudger"
    assert fresh(office, conversation).stage == "nudger"


def test_assigning_tells_the_other_person_and_nobody_else(office):
    other, _ = person(office)
    observer, _ = person(office, role="observer", name="Olive Watch")
    conversation = make_thread(office)

    act(office, conversation, "assign", to=office.agent.pk)
    with office.inside():
        assert not Notification.objects.exists()
    act(office, conversation, "assign", to=other.pk)
    refused = act(office, conversation, "assign", to=observer.pk)

    with office.inside():
        assert Notification.objects.get().actor_id == other.pk
    assert fresh(office, conversation).assigned_to_id == other.pk
    assert refused.status_code == 404
    act(office, conversation, "assign", to="")
    assert fresh(office, conversation).assigned_to_id is None


# --- suppressing -------------------------------------------------------------------------------


def test_suppressing_asks_for_a_reason_and_then_blocks_the_number(office):
    conversation = make_thread(office)
    client = client_of(office.agent)

    asked = client.get(url(office, f"c/{conversation.pk}/suppress/"))
    unsaid = act(office, conversation, "suppress", client)
    done = act(office, conversation, "suppress/part", client, reason="Asked by phone")

    assert asked.status_code == 200
    assert unsaid.status_code == 422
    assert "data-optout-banner" in done.content.decode()
    with office.inside():
        assert Consent.objects.get(address=conversation.their_number).state == "opted_out"
        assert Lead.objects.get(pk=conversation.lead_id).state == "suppressed"


@pytest.mark.parametrize(("choice", "state"), [("opt_out", "opted_out"), ("release", "unknown")])
def test_a_held_text_is_decided_by_a_person(office, choice, state):
    conversation = make_thread(office, "take me off your list")
    with office.inside():
        record_choice(Choice(address=conversation.their_number, kind="hold"))

    act(office, conversation, "consent/part", choice=choice)

    with office.inside():
        found = Consent.objects.get(address=conversation.their_number, scope="").state
    assert found == state or (choice == "release" and found != "held")


# --- whose -------------------------------------------------------------------------------------

VERBS = [
    "reply",
    "suppress",
    "consent",
    "seen",
    "unread",
    "claim",
    "release",
    "done",
    "snooze",
    "reopen",
    "undo",
    "assign",
    "state",
    "stage",
]


@pytest.mark.parametrize("verb", VERBS)
def test_a_conversation_of_another_tenant_is_not_found_and_not_touched(office, other_office, verb):
    foreign = make_thread(other_office)
    values = {
        "reason": "x",
        "choice": "opt_out",
        "until": "1h",
        "to": "responded",
        "stage": "nudger",
        "body": "hello",
        "send_key": "k",
    }

    for suffix in ("", "/part"):
        answer = act(office, foreign, verb + suffix, **values)
        assert answer.status_code == 404

    with other_office.inside():
        assert not OutboundMessage.objects.exists()
        assert not Draft.objects.exists()
        assert Conversation.objects.get().status == "open"


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"suppress"}))
def test_nothing_is_changed_by_a_link(office, verb):
    conversation = make_thread(office)

    answer = client_of(office.agent).get(url(office, f"c/{conversation.pk}/{verb}/"))

    assert answer.status_code == 405


def test_a_reply_without_a_send_key_is_refused(office):
    conversation = make_thread(office)

    answers = [
        reply(office, conversation, send_key=key) for key in ("", "k", "x" * 65, "ключ-ключ")
    ]

    assert {answer.status_code for answer in answers} == {422}
    assert "Reload" in answers[0].content.decode()
    with office.inside():
        assert not OutboundMessage.objects.exists()


def test_the_draft_of_a_reply_does_not_come_back_behind_it(office):
    conversation = make_thread(office)
    key = "send_01ARZ3NDEKTSV4RRFFQ69G5FAV"
    assert reply(office, conversation, "On my way", send_key=key).status_code == 200

    late = act(office, conversation, "draft", body="On my way", send_key=key)
    act(office, conversation, "draft", body="And then", send_key="another-key")

    assert late.status_code == 204
    with office.inside():
        assert [draft.body for draft in Draft.objects.all()] == ["And then"]
