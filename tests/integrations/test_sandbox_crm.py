"""The CRM and the dialer of the sandbox over real HTTP, driven by our own providers."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from integrations.providers import Account, Delivery, SignatureState, providers
from integrations.sandbox.app import Sandbox
from integrations.sandbox.crm import TEST_PUBLIC_KEY
from integrations.sandbox.server import running
from integrations.tolerant import parse_json
from integrations.transport import call
from tests.integrations.test_sandbox import Hooks, eventually

HEADERS = {"Authorization": "Bearer token-1", "Version": "2021-07-28"}
PHONE = "+12025550142"


@pytest.fixture
def hooks():
    hooks = Hooks()
    hooks.thread.start()
    yield hooks
    hooks.server.shutdown()
    hooks.server.server_close()
    hooks.thread.join()


@pytest.fixture
def client():
    with (
        running(Sandbox(pace=0.00001, answers=False)) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=5) as client,
    ):
        yield client


@pytest.fixture
def crm(client, hooks):
    client.post("/_control/ghl/hook", json={"url": f"{hooks.url}/ghl"})
    return providers["ghl"]({"public_keys": [TEST_PUBLIC_KEY]})


def account(client) -> Account:
    return Account(base_url=str(client.base_url), api_key="token-1", account_id="loc1")


def make(client, what="contacts", **fields):
    answer = client.post(f"/_control/ghl/{what}", json={"locationId": "loc1", **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def told(hooks, provider, wanted=1):
    """The bodies that arrived, each with a proof that our provider believes."""
    eventually(lambda: len(hooks.requests) >= wanted)
    for _, headers, raw in hooks.requests:
        delivery = Delivery(body=raw, headers=headers)
        state = provider.verify(delivery, ["user:pass"], datetime.now(UTC))
        assert state is SignatureState.VALID
    return [parse_json(raw).payload for _, _, raw in hooks.requests]


# --- GoHighLevel ------------------------------------------------------------------------------


def test_contacts_made_changed_and_deleted_tell_so_under_the_test_key(client, hooks, crm):
    id = make(client, firstName="Jordan", phone=PHONE)["contact"]["id"]
    told(hooks, crm, 1)
    make(client, id=id, firstName="Jo")
    told(hooks, crm, 2)
    make(client, id=id, delete=True)

    events = [crm.parse(body)[0] for body in told(hooks, crm, 3)]

    assert [event.change for event in events] == ["created", "updated", "deleted"]
    assert {event.external_id for event in events} == {id}
    assert events[1].facts["first_name"] == "Jo"
    assert crm.route(told(hooks, crm, 3)[0]) == "loc1"


def test_messages_tell_their_direction(client, hooks, crm):
    id = make(client, phone=PHONE, lose=True)["contact"]["id"]
    make(client, "messages", contactId=id, body="Yes")
    told(hooks, crm, 1)
    make(client, "messages", contactId=id, body="Hi", direction="outbound")

    events = [crm.parse(body)[0] for body in told(hooks, crm, 2)]

    assert [(event.direction, event.body) for event in events] == [("in", "Yes"), ("out", "Hi")]


def test_they_try_again_after_429_with_the_same_bytes_and_after_nothing_else(client, hooks, crm):
    hooks.answers = [429, 429]
    make(client, phone=PHONE)
    told(hooks, crm, 3)
    assert len({raw for _, _, raw in hooks.requests}) == 1

    hooks.requests.clear()
    hooks.answers = [503]
    make(client, phone=PHONE)
    deliveries = eventually(
        lambda: [
            one
            for one in client.get("/_control/deliveries").json()["deliveries"]
            if one["state"] == "lost"
        ]
    )

    assert len(deliveries[0]["attempts"]) == len(hooks.requests) == 1


def test_an_opt_out_is_noted_and_comes_back_as_a_change(client, hooks, crm):
    id = make(client, phone=PHONE, lose=True)["contact"]["id"]

    answer = call(crm.build_opt_out(PHONE, id, account(client)), deadline_s=5)

    assert crm.read_opt_out(answer.status, answer.body) == ""
    [noted] = client.get("/_control/crm/opt-outs").json()["optOuts"]
    assert noted["contactId"] == id
    [body] = told(hooks, crm)
    assert [type(event).__name__ for event in crm.parse(body)] == [
        "ContactChanged",
        "ContactOptedOut",
    ]
    kept = client.get(f"/contacts/{id}", headers=HEADERS).json()["contact"]
    assert kept["dndSettings"]["SMS"]["status"] == "active"


def test_an_opt_out_of_nobody_says_why(client, crm):
    answer = call(crm.build_opt_out(PHONE, "nobody", account(client)), deadline_s=5)

    assert crm.read_opt_out(answer.status, answer.body) == "Contact not found"


def test_what_webhooks_failed_to_tell_is_in_the_lists(client, hooks, crm):
    since = datetime.now(UTC) - timedelta(minutes=1)
    ids = [make(client, phone=PHONE, lose=True)["contact"]["id"] for _ in range(60)]
    for n in range(55):
        make(client, "messages", contactId=ids[0], body=f"n{n}", lose=True)
    make(client, locationId="loc2", lose=True)

    items, cursor, pages = [], "", 0
    while pages < 10:
        answer = call(crm.build_pull(since, cursor, account(client)), deadline_s=5)
        page = crm.read_pull(answer.status, answer.body)
        items += page.items
        cursor, pages = page.cursor, pages + 1
        if not cursor:
            break

    assert pages == 4
    assert len({item.key for item in items}) == len(items) == 115
    events = [crm.parse(json.loads(item.body))[0] for item in items]
    assert [event.external_id for event in events[:60]] == ids
    assert [event.body for event in events[60:]] == [f"n{n}" for n in range(55)]
    assert hooks.requests == []


def test_the_lists_need_a_token_a_version_and_patience(client):
    for headers in (
        {},
        {"Authorization": "Bearer expired", "Version": "v"},
        {**HEADERS, "Version": ""},
    ):
        assert client.get("/contacts/x", headers=headers).status_code == 401
    query = {"locationId": "loc1"}
    answers = [
        client.get("/conversations/search", params=query, headers=HEADERS) for _ in range(101)
    ]

    assert answers[0].headers["X-RateLimit-Remaining"] == "99"
    assert answers[0].headers["X-RateLimit-Limit-Daily"] == "200000"
    assert [answer.status_code for answer in answers].count(429) == 1


def test_a_refresh_token_works_once(client):
    app = {"client_id": "a", "client_secret": "b"}
    first = client.post(
        "/oauth/token", data={**app, "grant_type": "authorization_code", "code": "c"}
    )
    refresh = {**app, "grant_type": "refresh_token", "refresh_token": first.json()["refresh_token"]}

    second = client.post("/oauth/token", data=refresh)
    again = client.post("/oauth/token", data=refresh)

    assert (second.status_code, again.status_code) == (200, 400)
    assert second.json()["refresh_token"] != first.json()["refresh_token"]
    assert second.json()["expires_in"] == 86_399


def test_faults_on_demand_hit_the_crm_too(client, crm):
    client.post("/_control/faults", json={"kind": "500", "match": {"path": "/contacts/search"}})

    answer = call(crm.build_pull(datetime.now(UTC), "", account(client)), deadline_s=5)

    assert crm.read_pull(answer.status, answer.body) is None


# --- Aloware ----------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["user:pass", "token-1"])
def test_the_dialer_brings_its_secret_along_and_tells_once(client, hooks, secret):
    client.post("/_control/aloware/hook", json={"url": hooks.url, "secret": secret})
    hooks.answers = [503]
    event = {"event": "Recording-Saved", "body": {"id": 1, "contact_id": 7}}

    client.post("/_control/aloware/events", json=event)
    client.post("/_control/aloware/events", json={**event, "lose": True})

    eventually(
        lambda: client.get("/_control/deliveries").json()["deliveries"][0]["state"] == "lost"
    )
    [(_, headers, raw)] = hooks.requests
    dialer = providers["aloware"]()
    delivery = Delivery(body=raw, headers=headers)
    assert dialer.verify(delivery, [secret], datetime.now(UTC)) is SignatureState.VALID
    assert dialer.parse(json.loads(raw))[0].external_id == "1"


def test_forms_make_a_contact_by_its_number(client):
    form = {"api_token": "t", "phone_number": "(202) 555-0142", "first_name": "Jordan"}

    first = client.post("/api/v1/webhook/forms", json=form).json()["contact"]
    ignored = client.post("/api/v1/webhook/forms", json=form | {"first_name": "Jo"})
    forced = client.post(
        "/api/v1/webhook/forms", json=form | {"first_name": "Jo", "force_update": True}
    )

    assert first["phone_number"] == PHONE
    assert ignored.json()["contact"]["first_name"] == "Jordan"
    assert forced.json()["contact"]["first_name"] == "Jo"
    assert forced.json()["contact"]["id"] == first["id"]
    removal = {"api_token": "t", "contact_id": str(first["id"])}
    path = "/api/v1/webhook/powerdialer-remove-contact-from-lists"
    assert client.post(path, json=removal).status_code == 200
    assert client.post(path, json=removal | {"contact_id": "1"}).status_code == 404
    assert client.post("/api/v1/webhook/forms", json={"phone_number": PHONE}).status_code == 401
    assert client.post("/api/v1/webhook/forms", json={"api_token": "t"}).status_code == 422


def test_a_reset_forgets_contacts_and_hooks(client, hooks, crm):
    id = make(client, lose=True)["contact"]["id"]

    client.post("/_control/reset")

    assert client.get(f"/contacts/{id}", headers=HEADERS).status_code == 400
    assert make(client)["told"] is False
