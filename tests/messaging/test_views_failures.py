from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from integrations.models import QuarantineRule, ReconcileRun, WebhookWork, WorkEvent
from pipelines.models import DeadLetter
from tests.conftest import drain
from tests.messaging.pages import person, queries, url
from tests.messaging.repair_world import kill, operator, page, state_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(office):
    return operator(office)


def bulk(client, office, what, signed, **fields):
    return client.post(
        url(office, "failures/bulk/"), {"what": what, "selection": signed, **fields}, follow=True
    ).content.decode()


def signed_in(text, place=0):
    return re.findall(r'name="selection" value="([^"]+)"', text)[place]


# --- dead letters -------------------------------------------------------------------------------


def test_failures_are_grouped_by_cause_the_largest_first(office, client):
    kill(office, 3, "KeyError: ownerId")
    kill(office, 1, "ValueError: 17 is odd")

    text = page(client, office, "failures/")

    assert text.index("KeyError: ownerId") < text.index("ValueError: 17 is odd")
    assert "Webhook: signalhouse MESSAGE_RECEIVED" in text
    assert "Retry 3" in text
    assert "Retry 1" in text
    assert "Discard 3" in text


def test_a_group_is_retried_exactly_as_shown(office, client):
    kill(office, 2)
    text = page(client, office, "failures/")
    kill(office, 1)  # arrives while the page is open

    said = bulk(client, office, "retry", signed_in(text))

    assert "2 events were retried" in said
    assert state_of(office) == ["ready", "ready", "dead"]
    assert "2 retrying" in page(client, office, "failures/")


def test_a_changed_group_is_left_alone(office, client):
    kill(office, 2)
    text = page(client, office, "failures/")
    bulk(client, office, "retry", signed_in(text))

    said = bulk(client, office, "discard", signed_in(text), reason="x")

    assert "2 were shown, 0 match now" in said
    assert state_of(office) == ["ready", "ready"]


def test_discarding_needs_a_reason_and_keeps_it(office, client):
    kill(office, 2)
    text = page(client, office, "failures/")

    assert "Say why" in bulk(client, office, "discard", signed_in(text), reason=" ")
    assert state_of(office) == ["dead", "dead"]
    bulk(client, office, "discard", signed_in(text), reason="tests of a vendor")
    assert state_of(office) == ["discarded", "discarded"]
    assert "No failed work." in page(client, office, "failures/")
    with office.inside():
        assert set(DeadLetter.objects.values_list("reason", flat=True)) == {"tests of a vendor"}


def test_empty_pages_say_what_was_last(office, client):
    assert "Nothing has failed yet" in page(client, office, "failures/")
    kill(office)
    with office.inside():
        DeadLetter.objects.update(status="resolved", closed_at=timezone.now(), retry_after=None)
    assert "The last failure was" in page(client, office, "failures/")
    assert "Nothing is in quarantine" in page(client, office, "failures/", tab="quarantine")
    assert "No failed sync" in page(client, office, "failures/", tab="sync")


def test_the_rows_of_a_group_and_one_letter(office, client):
    (letter, *_) = kill(office, 2, "KeyError: ownerId <b>")
    with office.inside():
        seq = int(letter.ref)
        WorkEvent.objects.create(work=seq, what="failed", reason="KeyError: first try")
        event = WebhookWork.objects.get(seq=seq).event

    group = page(client, office, "failures/group/", fingerprint=letter.fingerprint)
    assert group.count("KeyError: ownerId &lt;b&gt;") >= 2
    text = page(client, office, f"failures/{letter.pk}/")
    assert "KeyError: first try" in text
    assert url(office, f"webhooks/{event}/") in text
    at = url(office, f"failures/{letter.pk}/act/")
    client.post(at, {"what": "discard"})
    assert state_of(office) == ["dead", "dead"]
    client.post(at, {"what": "retry"})
    assert state_of(office) == ["ready", "dead"]
    drain()
    text = page(client, office, f"failures/{letter.pk}/")
    assert "Resolved" in text
    assert "Retry now" not in text
    assert client.post(at, {"what": "nonsense"}).status_code == 404


def test_a_group_goes_on_page_by_page(office, client):
    letters = kill(office, 53)
    query = {"fingerprint": letters[0].fingerprint}

    first = page(client, office, "failures/group/", **query)
    after = re.search(r"after=(dlq_\w+)", first)[1]
    second = page(client, office, "failures/group/", after=after, **query)

    links = re.compile(r"failures/(dlq_\w+)/")
    assert (len(set(links.findall(first))), len(set(links.findall(second)))) == (50, 3)


def test_failures_of_other_stages_are_shown_without_buttons_that_do_nothing(office, client):
    with office.inside():
        DeadLetter.objects.create(
            stage="sync", ref="x", subject="GHL", error="429", fingerprint="f"
        )

    text = page(client, office, "failures/")

    assert "Sync: GHL" in text
    assert 'name="selection"' not in text


# --- quarantine ---------------------------------------------------------------------------------


def withhold(office, *texts, reason="a flood"):
    for text in texts:
        office.post(office.payload(text))
    with office.inside():
        WebhookWork.objects.filter(state="ready").update(state="quarantined", last_error=reason)


def test_what_is_withheld_is_released_in_its_order(office, client):
    withhold(office, "one", "two")
    text = page(client, office, "failures/", tab="quarantine")
    assert "a flood" in text
    withhold(office, "late")

    assert "Say why" in bulk(client, office, "release", signed_in(text), reason="")
    said = bulk(client, office, "release", signed_in(text), reason="all fine")

    assert "2 events were released" in said
    assert state_of(office) == ["ready", "ready", "quarantined"]


def test_causes_that_differ_in_ids_only_are_one_group(office, client):
    office.post(office.payload("a", id="in_1"), delivery="d-1")
    office.post(office.payload("b", id="in_1"), delivery="d-1")
    office.post(office.payload("c", id="in_2"), delivery="d-2")
    office.post(office.payload("d", id="in_2"), delivery="d-2")

    text = page(client, office, "failures/", tab="quarantine")

    assert text.count('name="selection"') == 1
    link = re.search(r'failures/withheld/(\?source=signalhouse&amp;cause=[^"]+)"', text)[1]
    rows = page(client, office, f"failures/withheld/{link.replace('&amp;', '&')}")
    assert rows.count("other body") >= 2


def test_a_rule_is_previewed_made_and_ended(office, client):
    office.post(office.payload("win a prize"))
    criteria = {"source": "signalhouse", "contains": "prize"}

    text = page(client, office, "failures/rule/", **criteria)
    assert "1 event of the last 7 days" in text
    assert "1 waits to be done right now" in text
    with office.inside():
        assert not QuarantineRule.objects.exists()
    refused = client.post(url(office, "failures/rule/"), criteria)
    assert refused.status_code == 422
    made = client.post(url(office, "failures/rule/"), criteria | {"reason": "a flood"})
    assert made.url == url(office, "failures/?tab=quarantine")
    drain()
    assert state_of(office) == ["quarantined"]
    with office.inside():
        rule = QuarantineRule.objects.get()
    text = page(client, office, "failures/", tab="quarantine")
    assert str(rule) in text.replace("&quot;", '"')
    client.post(url(office, f"failures/rule/{rule.pk}/end/"))
    office.post(office.payload("another prize"))
    drain()
    assert state_of(office) == ["quarantined", "done"]


def test_failed_syncs_are_listed(office, client):
    with office.inside():
        ReconcileRun.objects.create(
            integration=office.integration,
            job_name="notifications",
            status="failed",
            started_at=timezone.now(),
            finished_at=timezone.now() + timedelta(seconds=1),
            error="HTTP 503",
        )

    text = page(client, office, "failures/", tab="sync")

    assert "HTTP 503" in text
    assert "SignalHouse" in text


# --- doors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["agent", "observer"])
def test_only_those_who_may_replay_see_or_act(office, role):
    (letter,) = kill(office)
    _, client = person(office, role=role, name=f"{role} person")

    for path in ("failures/", "failures/group/", "failures/rule/", f"failures/{letter.pk}/"):
        assert client.get(url(office, path)).status_code == 403, path
    answer = client.post(url(office, f"failures/{letter.pk}/act/"), {"what": "retry"})
    assert answer.status_code == 403
    assert state_of(office) == ["dead"]


def test_foreign_rows_are_404_and_foreign_selections_nothing(office, other_office, client):
    (foreign,) = kill(other_office)
    other_client = operator(other_office)
    signed = signed_in(page(other_client, other_office, "failures/"))
    with other_office.inside():
        rule = QuarantineRule.objects.create(source="x", reason="y")

    assert client.get(url(office, f"failures/{foreign.pk}/")).status_code == 404
    assert (
        client.post(url(office, f"failures/{foreign.pk}/act/"), {"what": "retry"}).status_code
        == 404
    )
    assert client.post(url(office, f"failures/rule/{rule.pk}/end/")).status_code == 404
    assert "too old" in bulk(client, office, "discard", signed, reason="x")
    assert state_of(other_office) == ["dead"]


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("failures/", {"tab": "nonsense"}, 404),
        ("failures/group/", {"fingerprint": "x", "after": "y"}, 404),
        ("failures/group/", {}, 200),
        ("failures/withheld/", {"after": "9" * 40, "source": "\x00"}, 200),
        ("failures/withheld/", {"cause": "'; DROP TABLE"}, 200),
        ("failures/rule/", {"contains": "%\\_\x00", "sender": "**"}, 200),
        ("failures/dlq_x/", {}, 404),
        ("bulk/run_x/", {}, 404),
    ],
)
def test_ugly_queries_are_no_errors(office, client, path, query, status):
    withhold(office, "hello")

    assert client.get(url(office, path), query).status_code == status


def test_an_unknown_bulk_action_is_404(office, client):
    kill(office)
    signed = signed_in(page(client, office, "failures/"))

    for what in ("", "replay", "drop"):
        answer = client.post(url(office, "failures/bulk/"), {"what": what, "selection": signed})
        assert answer.status_code == 404


def test_the_pages_cost_the_same_at_any_length(office, client):
    costs = {}
    for how_many in (10, 990):
        letters = kill(office, how_many)
        with office.inside():
            WebhookWork.objects.filter(seq__in=[int(one.ref) for one in letters[::2]]).update(
                state="quarantined"
            )
        for path, query in (
            ("failures/", {}),
            ("failures/", {"tab": "quarantine"}),
            ("failures/group/", {"fingerprint": letters[0].fingerprint}),
            ("failures/withheld/", {"source": "signalhouse", "cause": "RuntimeError: boom"}),
        ):
            with queries() as asked:
                page(client, office, path, **query)
            costs.setdefault((path, *query), []).append(len(asked))
            assert not any("OFFSET" in sql.upper() for sql in asked)

    for counts in costs.values():
        assert counts[0] == counts[1] <= 10, costs
