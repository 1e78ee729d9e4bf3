"""The bell: its popover, marking read and taking that back, muting, and what they cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone

from messaging.actions.notifications import (
    ALWAYS,
    NotInStage,
    UndoRefused,
    mark_stage_read,
    mute_end,
    mute_stage,
    undo_stage_read,
)
from messaging.models import Notification, StageMembership
from tests.messaging.pages import client_of, hints, make_thread, person, queries, url

STAGE = "initial_message"


@pytest.fixture
def client(office):
    return client_of(office.agent)


def unread(office, actor=None) -> int:
    with office.inside():
        return Notification.objects.filter(actor=actor or office.agent, read_at=None).count()


def test_the_popover_shows_who_wrote_newest_first(office, client):
    make_thread(office, "First words", name="Ada First", unread_for=office.agent)
    make_thread(office, "Second words", name="Bo Second", unread_for=office.agent)
    make_thread(office, name="Nobody Unread")

    page = client.get(url(office, f"bell/{STAGE}/")).content.decode()

    assert "2 unread" in page
    assert page.index("Bo Second") < page.index("Ada First")
    assert "Second words" in page
    assert "Nobody Unread" not in page


def test_the_popover_names_other_stages_with_something_unread(office, client):
    make_thread(office, stage="nudger", unread_for=office.agent)

    page = client.get(url(office, f"bell/{STAGE}/")).content.decode()

    assert "Nothing unread" in page
    assert "Nudger 1" in page


def test_marking_a_stage_read_leaves_other_people_and_stages_alone(office, client):
    other, _ = person(office)
    thread = make_thread(office, unread_for=office.agent)
    with office.inside():
        Notification.objects.create(actor=other, conversation=thread, stage=STAGE)
    make_thread(office, stage="nudger", unread_for=office.agent)

    answer = client.post(url(office, f"bell/{STAGE}/read/")).content.decode()

    assert "0 unread" in answer
    assert f'id="cnt-{STAGE}"' in answer
    assert "Marked 1 read" in answer
    assert (unread(office), unread(office, other)) == (1, 1)
    assert hints(office, "bell") == 1


def test_what_was_marked_read_can_be_taken_back_by_that_person_alone(office, client):
    _, other_client = person(office)
    make_thread(office, unread_for=office.agent)
    with office.inside():
        batch = mark_stage_read(actor_id=office.agent.pk, stage=STAGE)
    path = url(office, f"bell/{STAGE}/read/")

    refused = other_client.post(path, {"undo": batch.token}).content.decode()
    assert "no longer be undone" in refused
    assert unread(office) == 0

    client.post(path, {"undo": batch.token})
    assert unread(office) == 1


def test_taking_back_leaves_a_thread_that_rang_anew_as_it_is(office):
    thread = make_thread(office, unread_for=office.agent)
    with office.inside():
        batch = mark_stage_read(actor_id=office.agent.pk, stage=STAGE)
        Notification.objects.create(actor=office.agent, conversation=thread, stage=STAGE)

        assert undo_stage_read(actor_id=office.agent.pk, token=batch.token) == 0
        with pytest.raises(UndoRefused):
            undo_stage_read(actor_id=office.agent.pk, token="forged")
    assert unread(office) == 1


@pytest.mark.parametrize("choice", ["hour", "today", "always"])
def test_a_bell_is_muted_and_switched_on_again(office, client, choice):
    path = url(office, f"bell/{STAGE}/mute/")

    muted = client.post(path, {"for": choice}).content.decode()
    on = client.post(path, {"for": "off"}).content.decode()

    assert "badge--muted" in muted
    assert "Turn the bell on" in muted
    assert "badge--muted" not in on


def test_mutes_end_when_they_say():
    now = datetime(2026, 11, 20, 22, 30, tzinfo=ZoneInfo("America/New_York"))

    assert mute_end("hour", now=now) == now + timedelta(hours=1)
    assert mute_end("today", now=now) == datetime(2026, 11, 21, 5, tzinfo=UTC)
    assert mute_end("always", now=now) == ALWAYS
    assert mute_end("off", now=now) is None
    with pytest.raises(ValueError, match="week"):
        mute_end("week", now=now)


def test_an_unknown_mute_and_an_unknown_stage_are_refused(office, client):
    assert client.post(url(office, f"bell/{STAGE}/mute/"), {"for": "week"}).status_code == 400
    assert client.get(url(office, "bell/nowhere/")).status_code == 404


def test_only_those_who_work_a_stage_have_its_bell_to_mute(office):
    with office.inside():
        StageMembership.objects.filter(actor=office.agent).delete()
        with pytest.raises(NotInStage):
            mute_stage(actor_id=office.agent.pk, stage=STAGE, until=timezone.now())


def test_a_fragment_tells_a_stranger_401_and_never_redirects(office):
    answer = Client().get(url(office, f"bell/{STAGE}/"), headers={"HX-Request": "true"})

    assert answer.status_code == 401


def test_the_popover_costs_the_same_with_one_and_with_many_unread(office, client):
    make_thread(office, unread_for=office.agent)
    with queries() as few:
        client.get(url(office, f"bell/{STAGE}/"))
    for _ in range(8):
        make_thread(office, unread_for=office.agent)
    with queries() as many:
        client.get(url(office, f"bell/{STAGE}/"))

    assert len(many) == len(few)
    assert sum("FROM stages" in sql for sql in many) == 1
