from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from integrations import bulk
from integrations.explorer import PAGE
from integrations.models import WebhookEvent, WebhookWork, WorkEvent
from leads.models import Lead
from messaging.models import Message
from messaging.views.jsontree import MOST, tree_of
from pipelines.models import PipelineRun
from tests.conftest import drain
from tests.messaging.pages import client_of, person, queries, url
from tests.messaging.repair_world import kill, newest, operator, page, state_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(office):
    return operator(office)


def rows_of(text):
    return len(re.findall(r'id="row-\d+"', text))


# --- the list -----------------------------------------------------------------------------------


def test_a_row_says_what_arrived_and_what_became_of_it(office, client):
    message = office.receive("hello")
    event = newest(office)

    text = page(client, office, "webhooks/")

    assert url(office, f"webhooks/{event.pk}/") in text
    assert "signalhouse <code>MESSAGE_RECEIVED</code>" in text
    assert 'chip--green">Done<' in text
    assert f"/go/{message.pk}/" in text
    assert event.correlation_id in text
    assert re.search(r"\d\d:\d\d:\d\d E[SD]T", text)
    assert re.search(r"\d+ ms|\d\.\d s", text)


def test_statuses_have_their_rows(office, client):
    office.receive("done")
    kill(office)
    for text, state in (("held", "quarantined"), ("over", "discarded"), ("waits", "ready")):
        office.post(office.payload(text))
        with office.inside():
            WebhookWork.objects.filter(state="ready").update(state=state)

    for status, word in (
        ("done", "Done"),
        ("dead", "Failed"),
        ("quarantined", "Quarantined"),
        ("discarded", "Discarded"),
        ("ready", "Ready"),
    ):
        text = page(client, office, "webhooks/", status=status)
        assert rows_of(text) == 1, status
        assert f">{word}</span>" in text
    assert rows_of(page(client, office, "webhooks/")) == 5


def test_refused_deliveries_are_shown_as_samples(office, client):
    office.post(b'{"text": "<script>"}', headers={"webhook-id": "forged"})

    text = page(client, office, "webhooks/", status="refused")

    assert "chip--red" in text
    assert "&lt;script&gt;" in text
    assert "<script>" not in text.split("</head>")[1]


@pytest.mark.parametrize(
    ("words", "met"),
    [
        ("+1 202 555 0142", 1),
        ("(202) 555-0142", 1),
        ("2025550199", 0),
        ("NEEDLE in", 1),
        ("100%", 0),
        ("in_findme", 1),
        ("<script>", 0),
    ],
)
def test_search_finds_by_number_and_body(office, client, words, met):
    office.post(office.payload("a needle in the hay", id="in_findme"))
    office.post(office.payload("hay", theirs="+13125550177"))

    assert rows_of(page(client, office, "webhooks/", q=words)) == met


def test_search_by_ids_leads_there(office, client):
    message = office.receive("hello")
    office.receive("other", theirs="+13125550177")
    with office.inside():
        event = WebhookEvent.objects.order_by("id").first()

    answer = client.get(url(office, "webhooks/"), {"q": event.pk})
    assert answer.url == url(office, f"webhooks/{event.pk}/")
    assert rows_of(page(client, office, "webhooks/", q=event.correlation_id)) == 1
    assert rows_of(page(client, office, "webhooks/", q=message.pk)) == 1
    assert client.get(url(office, f"go/{event.pk}/")).url == url(office, f"webhooks/{event.pk}/")


def test_source_type_and_time_narrow_the_list(office, client):
    office.post(office.payload("hello"))
    office.post(office.payload("x") | {"event": "BRAND_ADD"})

    assert rows_of(page(client, office, "webhooks/", type="BRAND_ADD")) == 1
    assert rows_of(page(client, office, "webhooks/", source="twilio")) == 0
    later = (timezone.now() + timedelta(hours=1)).isoformat()
    assert rows_of(page(client, office, "webhooks/", **{"from": later})) == 0
    assert rows_of(page(client, office, "webhooks/", to=later, range="1h")) == 2


def test_pages_follow_by_key(office, client):
    for n in range(PAGE + 3):
        office.post(office.payload(f"n{n}", theirs=f"+1202{n:07d}"))
    for query in ({}, {"status": "ready"}, {"source": "signalhouse"}):
        first = page(client, office, "webhooks/", **query)
        after = re.search(r'after=([^"&]+)"', first)[1]
        second = page(client, office, "webhooks/", after=after, **query)
        assert (rows_of(first), rows_of(second)) == (PAGE, 3), query
        assert not set(re.findall(r"row-\d+", first)) & set(re.findall(r"row-\d+", second))


def test_a_filter_without_an_index_says_how_far_it_looked(office, client, monkeypatch):
    monkeypatch.setattr("integrations.explorer.SCAN", 5)
    for n in range(8):
        office.post(office.payload(f"needle {n}" if n < 2 else "hay", theirs=f"+1202{n:07d}"))

    first = page(client, office, "webhooks/", q="needle")
    assert "Looked through the newest" in first
    assert rows_of(first) == 0
    after = re.search(r'after=([^"&]+)"', first)[1]
    assert rows_of(page(client, office, "webhooks/", q="needle", after=after)) == 2


@pytest.mark.parametrize(
    "query",
    [
        {"after": "x"},
        {"after": "wh_zzz"},
        {"after": "9" * 40, "status": "dead"},
        {"status": "nonsense"},
        {"range": "1000y", "from": "9999-99-99", "to": "0001-01-01T00:00"},
        {"q": "a\x00b"},
        {"q": "corr_" + "Z" * 26},
        {"q": "corr_01ARZ3NDEKTSV4RRFFQ69G5FAV"},
        {"q": "msg_x"},
        {"q": "wh_nonsense"},
        {"q": "%_\\"},
        {"q": "٣" * 12},
        {"source": "' OR 1=1 --", "type": "\x00"},
        {"status": "refused", "after": "x"},
    ],
)
def test_ugly_queries_are_no_errors(office, client, query):
    office.post(office.payload("hello"))

    for path in ("webhooks/", "webhooks/rows/", "webhooks/matching/"):
        assert client.get(url(office, path), query).status_code == 200, path


def test_an_empty_list_says_when_the_last_event_was(office, client):
    assert "No event has ever arrived" in page(client, office, "webhooks/")
    office.post(office.payload("hello"))

    assert "Last event" in page(client, office, "webhooks/", type="NOTHING")


def test_live_updates_can_be_switched_off_and_are_off_on_older_pages(office, client):
    assert 'hx-trigger="lo:webhooks from:body"' in page(client, office, "webhooks/")
    for query in ({"live": "off"}, {"after": "wh_01ARZ3NDEKTSV4RRFFQ69G5FAV"}):
        assert 'hx-trigger="lo:webhooks' not in page(client, office, "webhooks/", **query)


def test_the_list_costs_the_same_at_any_length(office, client):
    costs = {}
    for how_many in (10, 990):
        for n in range(how_many):
            office.post(office.payload(f"{n}", theirs=f"+1202{n:07d}"))
        for query in ((), (("q", "nothing"),), (("status", "ready"),)):
            with queries() as asked:
                page(client, office, "webhooks/", **dict(query))
            costs.setdefault(query, []).append(len(asked))
            for sql in asked:
                assert "OFFSET" not in sql.upper()
                assert not re.search(r"COUNT\(\*\) (AS \S+ )?FROM \"?(webhook|messages)", sql, re.I)

    for counts in costs.values():
        assert counts[0] == counts[1] <= 10, costs


# --- one event ----------------------------------------------------------------------------------


def test_every_side_of_an_event_is_a_page(office, client):
    message = office.receive("STOP <b>now</b>")
    event = newest(office)
    at = f"webhooks/{event.pk}/"

    summary = page(client, office, at)
    assert "Signature valid" in summary
    assert event.correlation_id in summary
    payload = page(client, office, at, tab="payload")
    assert 'data-copy="metaData.Message.messageBody"' in payload
    assert "STOP &lt;b&gt;now" in payload
    assert "webhook-signature" not in page(client, office, at, tab="headers").split("<main")[0]
    assert "nothing but the work itself" in page(client, office, at, tab="attempts")
    effects = page(client, office, at, tab="effects")
    for words in ("Text received", "Text queued", "Lead moved", "Consent", "→ suppressed"):
        assert words in effects, words
    assert f"c/{message.conversation_id}/" in effects
    raw = page(client, office, at, tab="raw")
    assert "&quot;identifier&quot;" in raw
    assert "Run 1" in page(client, office, at, tab="replays")
    assert client.get(url(office, at), {"tab": "nonsense"}).status_code == 404


def test_the_raw_body_is_downloaded_byte_for_byte(office, client):
    body = b'{"event": "\xff\xfe' + b"x" * 70_000 + b'"}'
    office.post(body)
    event = newest(office)

    answer = client.get(url(office, f"webhooks/{event.pk}/raw/"))
    assert answer.content == body
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "attachment" in answer["Content-Disposition"]
    text = page(client, office, f"webhooks/{event.pk}/", tab="raw")
    assert "the first 65,536 are shown" in text
    assert "no JSON" in page(client, office, f"webhooks/{event.pk}/", tab="payload")


def test_a_large_payload_is_a_bounded_tree():
    wide = tree_of({"a": list(range(MOST * 2)), "b": 1})
    assert wide[-1].text.startswith("more than")
    deep = {}
    for _ in range(40):
        deep = {"x": deep}
    assert tree_of(deep)[0].name == "x"
    assert tree_of(None) == tree_of("text") == []


def test_failures_of_an_event_are_told_in_order(office, client):
    kill(office)
    event = newest(office)
    with office.inside():
        seq = WebhookWork.objects.get().seq
        for n in range(2):
            WorkEvent.objects.create(work=seq, what="failed", reason=f"KeyError: {n}")

    text = page(client, office, f"webhooks/{event.pk}/", tab="attempts")

    assert text.index("KeyError: 0") < text.index("KeyError: 1")
    assert "Failed, tried again later" in text


# --- acting -------------------------------------------------------------------------------------


def act(client, office, event, verb, **fields):
    return client.post(url(office, f"webhooks/{event.pk}/{verb}/"), fields)


def seq_of(office, **which):
    with office.inside():
        return WebhookWork.objects.filter(**which).latest("seq").seq


def test_a_dry_run_shows_the_difference_and_keeps_nothing(office, client):
    office.post(office.payload("hello there"))
    event = newest(office)

    answer = act(client, office, event, "dry-run")

    text = answer.content.decode()
    assert answer.status_code == 200
    assert "Dry run" in text
    for words in ("hello there", ">insert<", "conversation", "message"):
        assert words in text
    with office.inside():
        assert not Lead.objects.exists()
        assert WebhookWork.objects.get().state == "ready"


def test_a_replay_is_a_new_linked_run(office, client):
    office.receive("hello")
    event = newest(office)

    answer = act(client, office, event, "replay", work=seq_of(office), reason="ticket 4")
    drain()

    assert answer.url == url(office, f"webhooks/{event.pk}/?tab=replays")
    text = page(client, office, f"webhooks/{event.pk}/", tab="replays")
    assert "Run 2" in text
    assert "duplicate of" in text
    with office.inside():
        assert Message.objects.count() == 1
        assert WorkEvent.objects.filter(reason__contains="ticket 4").count() == 2
    act(client, office, event, "replay", work=seq_of(office, run_no=1))
    assert len(state_of(office)) == 2  # an old run is not replayed again


def test_quarantine_release_retry_and_discard_from_the_page(office, client):
    office.post(office.payload("hello"))
    event, seq = newest(office), seq_of(office)

    act(client, office, event, "decide", work=seq, what="quarantine")
    assert state_of(office) == ["ready"]  # without a reason
    act(client, office, event, "decide", work=seq, what="quarantine", reason="odd")
    assert state_of(office) == ["quarantined"]
    act(client, office, event, "decide", work=seq, what="release", reason="fine")
    assert state_of(office) == ["ready"]
    kill(office, 0)
    act(client, office, event, "retry", work=seq)
    assert state_of(office) == ["ready"]
    with office.inside():
        WebhookWork.objects.update(state="dead")
    act(client, office, event, "decide", work=seq, what="discard", reason="old")
    assert state_of(office) == ["discarded"]
    assert act(client, office, event, "decide", work=seq, what="nonsense").status_code == 404


def test_work_of_another_event_is_refused(office, other_office, client):
    office.post(office.payload("hello"))
    other_office.post(other_office.payload("theirs"))
    event = newest(office)

    for work in (seq_of(other_office), "x", "", "-1", "9" * 40):
        for verb in ("replay", "retry", "decide"):
            answer = act(client, office, event, verb, work=work, what="discard", reason="x")
            assert answer.status_code == 404, (verb, work)
    foreign = newest(other_office)
    for path in ("", "raw/"):
        assert client.get(url(office, f"webhooks/{foreign.pk}/{path}")).status_code == 404
    for verb in ("dry-run", "replay", "retry", "decide"):
        assert act(client, office, foreign, verb, work=seq_of(other_office)).status_code == 404


@pytest.mark.parametrize("role", ["agent", "observer"])
def test_only_those_who_may_replay_see_it(office, role):
    office.receive("hello")
    event = newest(office)
    _, client = person(office, role=role, name=f"{role} person")

    for path in ("webhooks/", "webhooks/rows/", f"webhooks/{event.pk}/", "webhooks/matching/"):
        assert client.get(url(office, path)).status_code == 403, path
    assert act(client, office, event, "replay", work=seq_of(office)).status_code == 403
    assert client_of(office.agent).get(url(office, f"webhooks/{event.pk}/raw/")).status_code == 403


# --- all that match -----------------------------------------------------------------------------


def preview(client, office, **query):
    text = page(client, office, "webhooks/matching/", **query)
    signed = re.search(r'name="selection" value="([^"]+)"', text)
    return text, signed and signed[1]


def test_replaying_all_acts_on_exactly_what_was_shown(office, client):
    for n in range(3):
        office.receive(f"n{n}")
    text, signed = preview(client, office, source="signalhouse")
    assert "Replay 3 events" in text
    office.receive("late")

    client.post(url(office, "webhooks/matching/"), {"selection": signed, "what": "replay"})

    with office.inside():
        assert WebhookWork.objects.filter(run_no=2).count() == 3


def test_a_changed_count_is_said_and_nothing_is_done(office, client):
    for n in range(2):
        office.receive(f"n{n}")
    _, signed = preview(client, office)
    act(client, office, newest(office), "replay", work=seq_of(office))

    answer = client.post(
        url(office, "webhooks/matching/"), {"selection": signed, "what": "replay"}, follow=True
    )

    assert "2 were shown, 1 match now" in answer.content.decode()
    with office.inside():
        assert WebhookWork.objects.filter(run_no=2).count() == 1


def test_all_that_match_are_rehearsed_first(office, client):
    office.receive("hello")
    office.post(office.payload("two"))
    with office.inside():
        WebhookWork.objects.filter(state="ready").update(state="discarded")
    _, signed = preview(client, office)

    answer = client.post(
        url(office, "webhooks/matching/"), {"selection": signed, "what": "dry-run"}
    )

    text = answer.content.decode()
    assert "writes nothing" in text  # the one that was done
    assert re.search(r"\d+ rows<", text)  # the one that was discarded
    assert state_of(office) == ["done", "discarded"]


def test_what_cannot_be_counted_is_not_offered(office, client):
    office.receive("hello")

    for query in ({"q": "hello"}, {"status": "dead"}):
        text, signed = preview(client, office, **query)
        assert signed is None
        assert 'class="notice"' in text
    assert "No finished event matches" in preview(client, office, source="twilio")[0]
    answer = client.post(url(office, "webhooks/matching/"), {"selection": "forged"}, follow=True)
    assert "too old" in answer.content.decode()


def test_many_are_replayed_in_the_background_with_progress(office, client, monkeypatch):
    monkeypatch.setattr(bulk, "AT_ONCE", 2)
    monkeypatch.setattr(bulk, "CHUNK", 2)
    for n in range(5):
        office.receive(f"n{n}")
    _, signed = preview(client, office)

    answer = client.post(url(office, "webhooks/matching/"), {"selection": signed, "what": "replay"})

    with office.inside():
        run = PipelineRun.objects.get(pipeline_name="bulk_work")
    at = f"bulk/{run.pk}/"
    assert answer.url == url(office, at)
    bulk.work_on_selections()
    text = page(client, office, at)
    assert "2 of 5 done" in text
    assert 'hx-trigger="every 2s"' in text
    client.post(url(office, at + "cancel/"))
    text = page(client, office, at + "part/")
    assert "Cancelled" in text
    assert "Resume" in text
    client.post(url(office, at + "resume/"))
    while bulk.work_on_selections():
        pass
    text = page(client, office, at)
    assert "5 of 5 done" in text
    assert "every 2s" not in text
