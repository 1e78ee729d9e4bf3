"""The sandbox carrier over real HTTP: sends, webhooks, handsets, faults, scripts, restarts."""

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from integrations.providers.base import Delivery, SignatureState
from integrations.providers.signalhouse import SignalHouse
from integrations.sandbox import scripts
from integrations.sandbox.app import Sandbox
from integrations.sandbox.server import listener, running
from integrations.sandbox.signing import signature_headers
from integrations.tolerant import parse_json

OURS = "12025550100"
LEAD = "12025550117"
KEY = {"Authorization": "Bearer key-one"}
EVENTS = ["MESSAGE_RECEIVED", "MESSAGE_SENT", "MESSAGE_DELIVERED", "MESSAGE_FAILED"]


class Hooks:
    """An endpoint that keeps every request and answers what `answers` says, then 202."""

    def __init__(self):
        self.requests = []
        self.answers = []
        self.delay = 0.0
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                raw = self.rfile.read(int(self.headers["content-length"]))
                hooks.requests.append((self.path, dict(self.headers.items()), raw))
                time.sleep(hooks.delay)
                status = hooks.answers.pop(0) if hooks.answers else 202
                try:
                    self.send_response(status)
                    self.send_header("content-length", "0")
                    self.end_headers()
                except OSError:
                    pass

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def events(self):
        return [json.loads(raw.decode("utf-8-sig"))["event"] for _, _, raw in self.requests]


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
    with running() as url, httpx.Client(base_url=url, trust_env=False, timeout=5) as client:
        yield client


def eventually(question, seconds=5.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = question()
        if answer:
            return answer
        time.sleep(0.02)
    return question()


def send(client, text="Hi there", to=LEAD, key="k1", **extra):
    headers = {**KEY, "Idempotency-Key": key} if key else KEY
    body = {"senderPhoneNumber": OURS, "recipientPhoneNumber": [to], "messageBody": text, **extra}
    return client.post("/message/sms", json=body, headers=headers)


def register(client, url, **extra):
    body = {"name": "t", "url": url, "subscribedEvents": EVENTS, "authType": "NONE", **extra}
    response = client.post("/webhook", json=body, headers=KEY)
    assert response.status_code == 201
    return response.json()


def fault(client, kind, **rule):
    assert client.post("/_control/faults", json={"kind": kind, **rule}).status_code == 201


def received(client, number=LEAD):
    texts = client.get(f"/_control/handsets/{number}").json()["texts"]
    return [text["text"] for text in texts if text["direction"] == "received"]


def is_signed(headers, raw, secret):
    stamp = headers["X-SignalHouse-Timestamp"]
    wanted = hmac.new(secret.encode(), f"{stamp}.".encode() + raw, hashlib.sha256).hexdigest()
    return headers["X-SignalHouse-Signature"] == wanted


# Sends


def test_a_send_is_accepted_and_reaches_the_handset(client):
    response = send(client)

    body = response.json()
    assert response.status_code == 201
    assert (body["requestedRecipientCount"], body["enqueuedCount"], body["failedCount"]) == (
        1,
        1,
        0,
    )
    assert body["dncBlockedNumbers"] == []
    assert body["insertedMessages"][0]["status"] == "ENQUEUED"
    assert eventually(lambda: received(client)) == ["Hi there"]


def test_the_same_idempotency_key_replays_the_first_answer_and_sends_once(client):
    first = send(client)
    second = send(client)

    assert second.json() == first.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert eventually(lambda: received(client)) == ["Hi there"]


def test_an_idempotency_key_with_another_request_is_refused(client):
    send(client)

    assert send(client, text="Something else").status_code == 409


def test_keys_of_two_accounts_do_not_meet(client):
    send(client)
    body = {"senderPhoneNumber": "13055550100", "recipientPhoneNumber": [LEAD], "messageBody": "B"}
    other = {"Authorization": "Bearer key-two", "Idempotency-Key": "k1"}

    response = client.post("/message/sms", json=body, headers=other)

    assert "idempotency-replayed" not in response.headers
    assert response.json()["enqueuedCount"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"recipientPhoneNumber": LEAD},
        {"recipientPhoneNumber": []},
        {"recipientPhoneNumber": ["+12025550117"]},
        {"senderPhoneNumber": "+12025550100"},
        {"messageBody": ""},
        {"messageBody": "x" * 1601},
    ],
)
def test_a_send_that_breaks_the_format_is_refused(client, change):
    response = send(client, key=None, **change)

    assert response.status_code == 400
    assert response.json()["message"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer expired"}, {"apiKey": "x"}])
def test_a_call_without_a_good_key_is_refused(client, headers):
    assert client.get("/notification", headers=headers).status_code == 401


def test_a_number_of_another_account_cannot_be_used(client):
    client.post("/_control/numbers", json={"numbers": [OURS], "api_key": "key-two"})

    assert send(client).status_code == 400


def test_a_blocked_number_gets_201_and_no_record(client):
    client.post("/_control/dnc", json={"number": LEAD, "api_key": "key-one"})

    body = send(client).json()

    assert body["enqueuedCount"] == 0
    assert body["dncBlockedNumbers"] == [LEAD]
    assert body["insertedMessages"] == []
    listed = client.get("/message/dnc", headers=KEY).json()["dnc"]
    assert [entry["phoneNumber"] for entry in listed] == [LEAD]


def test_a_stop_is_recorded_but_does_not_block(client):
    client.post("/_control/numbers", json={"numbers": [OURS], "api_key": "key-one"})
    client.post("/_control/inbound", json={"from": LEAD, "to": OURS, "text": "Stop!"})

    assert client.get("/message/dnc", headers=KEY).json()["dnc"][0]["optOutKeyword"] == "STOP"
    assert send(client).json()["enqueuedCount"] == 1

    client.post("/_control/inbound", json={"from": LEAD, "to": OURS, "text": "START"})
    assert client.get("/message/dnc", headers=KEY).json()["dnc"] == []


def test_texts_can_be_looked_up_by_id_by_filter_and_in_bulk(client):
    id = send(client).json()["insertedMessages"][0]["_id"]
    group = client.post("/_control/numbers", json={"numbers": [], "api_key": "key-one"}).json()

    assert client.get("/message", headers=KEY).status_code == 400
    by_id = client.get("/message", params={"id": id}, headers=KEY).json()
    by_date = client.get(
        "/message",
        params={
            "groupId": group["groupId"],
            "startDate": "2020-01-01",
            "endDate": "2099-12-31",
            "recipientPhoneNumber": LEAD,
        },
        headers=KEY,
    ).json()
    report = client.post("/message/delivery-report", json={"messageIds": [id]}, headers=KEY).json()
    assert [m["_id"] for m in by_id["messages"]] == [id]
    assert [m["_id"] for m in by_date["messages"]] == [id]
    assert [m["_id"] for m in report["messages"]] == [id]


# Webhooks


def test_status_webhooks_are_flat_signed_and_in_order(client, hooks):
    secret = register(client, f"{hooks.url}/h/")["signingSecret"]

    id = send(client).json()["insertedMessages"][0]["_id"]

    assert eventually(lambda: len(hooks.requests) == 2)
    assert sorted(hooks.events()) == ["MESSAGE_DELIVERED", "MESSAGE_SENT"]
    for path, headers, raw in hooks.requests:
        body = json.loads(raw)
        assert path == "/h/"
        assert body["identifier"] == body["metaData"]["_id"] == id
        assert body["metaData"]["status"] in ("SENT", "DELIVERED")
        assert is_signed(headers, raw, secret)
    assert (
        hooks.requests[0][1]["X-SignalHouse-Delivery-Id"]
        != (hooks.requests[1][1]["X-SignalHouse-Delivery-Id"])
    )


def test_a_status_callback_url_takes_the_place_of_the_endpoint(client, hooks):
    secret = register(client, f"{hooks.url}/hooks/tok/")["signingSecret"]

    send(client, statusCallbackUrl=f"{hooks.url}/hooks/tok/attempt-1/")

    assert eventually(lambda: len(hooks.requests) == 2)
    assert {path for path, _, _ in hooks.requests} == {"/hooks/tok/attempt-1/"}
    assert all(is_signed(headers, raw, secret) for _, headers, raw in hooks.requests)


def test_an_inbound_text_is_nested_and_reaches_endpoint_and_number_url(client, hooks):
    register(client, f"{hooks.url}/signed/")
    client.post(
        "/_control/numbers",
        json={"numbers": [OURS], "api_key": "key-one", "inbound_url": f"{hooks.url}/plain/"},
    )

    answer = client.post(
        "/_control/inbound",
        json={"from": "+1 202-555-0117", "to": OURS, "text": "Yes", "delivery_id": "d-1"},
    ).json()

    assert answer["delivery_id"] == "d-1"
    assert eventually(lambda: len(hooks.requests) == 2)
    by_path = {path: (headers, json.loads(raw)) for path, headers, raw in hooks.requests}
    message = by_path["/signed/"][1]["metaData"]["Message"]
    assert (message["senderPhoneNumber"], message["messageBody"]) == (LEAD, "Yes")
    assert by_path["/signed/"][0]["X-SignalHouse-Delivery-Id"] == "d-1"
    assert "X-SignalHouse-Signature" not in by_path["/plain/"][0]
    assert "X-SignalHouse-Delivery-Id" in by_path["/plain/"][0]


def test_an_inbound_text_can_be_delivered_many_times_at_once(client, hooks):
    register(client, hooks.url)

    client.post("/_control/inbound", json={"from": LEAD, "to": OURS, "text": "Yes", "repeat": 20})

    assert eventually(lambda: len(hooks.requests) == 20)
    assert len({headers["X-SignalHouse-Delivery-Id"] for _, headers, _ in hooks.requests}) == 1
    assert len({raw for _, _, raw in hooks.requests}) == 1


@pytest.mark.parametrize("shape", ["v2", "list", "flat", "wrapped"])
def test_inbound_texts_come_in_every_shape_seen(client, hooks, shape):
    register(client, hooks.url)

    client.post("/_control/inbound", json={"from": LEAD, "to": OURS, "text": "Yes", "shape": shape})

    assert eventually(lambda: hooks.requests)
    raw = hooks.requests[0][2]
    assert raw.startswith(b"\xef\xbb\xbf") == (shape == "wrapped")
    assert b"Yes" in raw


def test_an_inbound_text_to_an_unknown_number_is_refused(client):
    response = client.post("/_control/inbound", json={"from": LEAD, "to": OURS, "text": "Yes"})

    assert response.status_code == 404
    assert "/_control/numbers" in response.json()["message"]


def test_deliveries_are_tried_three_times_then_only_listed(client, hooks):
    register(client, hooks.url)
    hooks.answers = [503, 500, 429]

    id = client.post("/_control/inbound", json={"from": LEAD, "to": OURS, "text": "Yes"}).json()[
        "identifier"
    ]

    def state():
        log = client.get("/_control/deliveries", params={"identifier": id}).json()["deliveries"]
        return log[0] if log[0]["state"] != "pending" else None

    delivery = eventually(state)
    assert delivery["state"] == "lost"
    assert [attempt["status"] for attempt in delivery["attempts"]] == [503, 500, 429]
    stamps = [headers["X-SignalHouse-Timestamp"] for _, headers, _ in hooks.requests]
    assert len(set(stamps)) == 3
    assert len({h["X-SignalHouse-Delivery-Id"] for _, h, _ in hooks.requests}) == 1
    listed = client.get("/notification", params={"eventTypes": "MESSAGE_RECEIVED"}, headers=KEY)
    assert [event["identifier"] for event in listed.json()["notifications"]] == [id]


def test_a_4xx_is_final(client, hooks):
    register(client, hooks.url)
    hooks.answers = [401]

    client.post("/_control/inbound", json={"from": LEAD, "to": OURS, "text": "Yes"})

    assert eventually(
        lambda: client.get("/_control/deliveries").json()["deliveries"][0]["state"] == "refused"
    )
    assert len(hooks.requests) == 1


def test_a_slow_endpoint_is_given_three_seconds(client, hooks):
    register(client, hooks.url)
    hooks.delay = 3.5

    client.post("/_control/inbound", json={"from": LEAD, "to": OURS, "text": "Yes"})

    assert eventually(lambda: len(hooks.requests) == 2, seconds=6)
    attempts = client.get("/_control/deliveries").json()["deliveries"][0]["attempts"]
    assert attempts[0]["error"] is not None


def test_rotation_signs_with_both_secrets_and_keeps_the_plain_header_on_the_old(client, hooks):
    endpoint = register(client, hooks.url)

    rotated = client.post(
        f"/webhook/{endpoint['_id']}/rotate-secret", json={"graceSeconds": 60}, headers=KEY
    ).json()
    client.post("/_control/inbound", json={"from": LEAD, "to": OURS, "text": "Yes"})

    assert eventually(lambda: hooks.requests)
    _, headers, raw = hooks.requests[0]
    assert rotated["signingSecret"] != endpoint["signingSecret"]
    assert is_signed(headers, raw, endpoint["signingSecret"])
    assert headers["X-SignalHouse-Signature-V1"].count("v1=") == 2


def test_signatures_agree_with_the_vendor_s_vector():
    raw = (
        b'{"timestamp":"2026-11-20T18:40:00.123Z","event":"MESSAGE_RECEIVED","identifier":'
        b'"6740f1c2a9b3e4d5f6a7b8c9","metaData":{"Message":{"direction":"INBOUND",'
        b'"senderPhoneNumber":"12025550142","recipientPhoneNumber":"12025550100",'
        b'"messageBody":"Stop!"}}}'
    )

    headers = signature_headers(
        raw,
        timestamp_ms=1795200000123,
        secret="shwhsec_test_secret_0001",
        previous_secret="shwhsec_test_secret_0000",
    )

    old = "c79c10cd7ed0c246810ac9d9912fcd3c942f86a156abba2c4679ae87f879d3ef"
    new = "5db9a0b76a3c3eb417dd5e986b12ddefdc626504643ebdf8dbbc96ac7a0d7865"
    assert headers["X-SignalHouse-Signature"] == old
    assert headers["X-SignalHouse-Signature-V1"] == f"t=1795200000123,v1={new},v1={old}"


@pytest.mark.parametrize("shape", ["v2", "list", "flat", "wrapped"])
def test_the_provider_adapter_trusts_and_reads_what_the_sandbox_delivers(client, hooks, shape):
    endpoint = register(client, hooks.url)
    rotate = f"/webhook/{endpoint['_id']}/rotate-secret"
    secret = client.post(rotate, json={}, headers=KEY).json()["signingSecret"]

    client.post("/_control/inbound", json={"from": LEAD, "to": OURS, "text": "Yes", "shape": shape})

    assert eventually(lambda: hooks.requests)
    _, headers, raw = hooks.requests[0]
    delivery = Delivery(body=raw, headers=headers, content_type=headers["Content-Type"])
    now = datetime.now(UTC)
    for known in (secret, endpoint["signingSecret"]):
        assert SignalHouse().verify(delivery, [known], now) == SignatureState.VALID
    assert SignalHouse().verify(delivery, ["another"], now) == SignatureState.INVALID
    event = SignalHouse().parse(parse_json(raw).payload)[0]
    assert (event.sender, event.recipient, event.body) == (f"+{LEAD}", f"+{OURS}", "Yes")


# Faults


def test_a_429_says_how_long_to_wait_and_accepts_nothing(client):
    fault(client, "429", retry_after=7)

    response = send(client)

    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert send(client).status_code == 201
    assert eventually(lambda: received(client)) == ["Hi there"]


def test_a_500_after_acceptance_is_sent_once_for_all_retries(client):
    fault(client, "500_after_accept")

    assert client_send_short(client).status_code == 500

    assert_sent_once(client)


@pytest.mark.parametrize("kind", ["reset_after_accept", "hang_after_accept"])
def test_a_text_accepted_without_an_answer_is_sent_once_for_all_retries(client, kind):
    fault(client, kind)

    with pytest.raises(httpx.TransportError):
        client_send_short(client)

    assert_sent_once(client)


def assert_sent_once(client):
    again = send(client)
    assert again.status_code == 201
    assert again.headers["idempotency-replayed"] == "true"
    assert eventually(lambda: received(client)) == ["Hi there"]
    time.sleep(0.1)
    assert received(client) == ["Hi there"]


def client_send_short(client):
    body = {"senderPhoneNumber": OURS, "recipientPhoneNumber": [LEAD], "messageBody": "Hi there"}
    headers = {**KEY, "Idempotency-Key": "k1"}
    return client.post("/message/sms", json=body, headers=headers, timeout=0.5)


@pytest.mark.parametrize(
    ("kind", "error"),
    [("hang", httpx.ReadTimeout), ("reset", (httpx.ReadError, httpx.RemoteProtocolError))],
)
def test_a_text_refused_without_an_answer_is_not_sent(client, kind, error):
    fault(client, kind)

    with pytest.raises(error):
        client_send_short(client)

    assert client.get("/_control/texts").json()["texts"] == []


def test_a_dripping_answer_outlasts_a_read_timeout_but_not_a_deadline(client):
    fault(client, "drip")
    started = time.monotonic()
    body = {"senderPhoneNumber": OURS, "recipientPhoneNumber": [LEAD], "messageBody": "Hi"}

    with client.stream("POST", "/message/sms", json=body, headers=KEY, timeout=1) as response:
        chunks = response.iter_raw()
        for _ in range(6):
            next(chunks)

    assert response.status_code == 201
    assert time.monotonic() - started > 1


def test_a_send_that_is_not_accepted_still_answers_201(client):
    fault(client, "not_accepted", error_code="OUT")

    body = send(client).json()

    assert (body["enqueuedCount"], body["failedCount"]) == (0, 1)
    assert body["insertedMessages"][0]["errorCode"] == "OUT"
    assert received(client) == []


def test_an_undelivered_text_is_reported_failed_with_its_code(client, hooks):
    register(client, hooks.url)
    fault(client, "undelivered", error_code="30007")

    send(client)

    assert eventually(lambda: "MESSAGE_FAILED" in hooks.events())
    failed = next(json.loads(raw) for _, _, raw in hooks.requests if b"MESSAGE_FAILED" in raw)
    assert failed["metaData"]["errorCode"] == "30007"
    assert received(client) == []


def test_callbacks_can_be_doubled_reordered_or_left_out(client, hooks):
    register(client, hooks.url)

    fault(client, "duplicate_callbacks")
    send(client, key="a")
    assert eventually(lambda: len(hooks.requests) == 6)

    hooks.requests.clear()
    fault(client, "reorder_callbacks")
    send(client, key="b")
    assert eventually(lambda: len(hooks.requests) == 2)
    assert hooks.events() == ["MESSAGE_DELIVERED", "MESSAGE_SENT"]

    hooks.requests.clear()
    fault(client, "no_callbacks")
    send(client, key="c")
    assert eventually(lambda: len(received(client)) == 3)
    time.sleep(0.2)
    assert hooks.requests == []


def test_a_fault_hits_only_whom_it_names_and_only_so_often(client):
    fault(client, "429", match={"to": "+1 (202) 555-0117"}, count=2)

    assert send(client, to="12025550118", key="x").status_code == 201
    assert [send(client).status_code for _ in range(3)] == [429, 429, 201]
    assert client.get("/_control/faults").json()["faults"][0]["fired"] == 2
    assert client.delete("/_control/faults").json() == {"faults": []}


def test_other_calls_can_be_broken_by_path(client):
    fault(client, "500", match={"path": "/notification"})

    assert client.get("/notification", headers=KEY).status_code == 500
    assert client.get("/notification", headers=KEY).status_code == 200


def test_an_unknown_fault_names_the_known_ones(client):
    response = client.post("/_control/faults", json={"kind": "fire"})

    assert response.status_code == 400
    assert "500_after_accept" in response.json()["message"]


# Handsets, scripts, pages


def test_scripts_are_chosen_by_the_number_and_end():
    assert scripts.script_for("12025550114") == "stop"
    assert scripts.script_for("12025550199") == "unreachable"
    assert scripts.answer("12025550114", "stop", 0) == "STOP"
    assert scripts.answer("12025550114", "stop", 1) is None
    assert "jane.0112@example.com" in scripts.answer("12025550112", "details", 0, "Jane Doe")
    delays = [scripts.think_seconds(f"120255501{n:02d}", 0, 7) for n in range(99)]
    assert all(1 <= seconds <= 4 for seconds in delays)
    assert delays == [scripts.think_seconds(f"120255501{n:02d}", 0, 7) for n in range(99)]


def test_scripted_handsets_answer_once_per_text_and_never_for_ever(hooks):
    with running(Sandbox(pace=0.0)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        register(client, hooks.url)
        for round in range(6):
            send(client, key=f"q{round}", to="12025550111")
            send(client, key=f"s{round}", to="12025550114")
            time.sleep(0.15)

        texts = client.get("/_control/handsets/12025550111").json()["texts"]
        sent = [text["text"] for text in texts if text["direction"] == "sent"]
        assert sent == list(scripts.SCRIPTS["question"])
        stops = client.get("/_control/handsets/12025550114").json()
        assert (stops["sent"], stops["received"], stops["script"]) == (1, 6, "stop")


def test_unreachable_handsets_fail(client, hooks):
    register(client, hooks.url)

    send(client, to="12025550199")

    assert eventually(lambda: "MESSAGE_FAILED" in hooks.events())


def test_people_have_names_and_scripts_of_their_own(client):
    people = [{"number": LEAD, "name": "Jane Doe", "script": "call_me"}]

    assert client.post("/_control/people", json={"people": people}).status_code == 201
    assert (
        client.post(
            "/_control/people", json={"people": [{"number": LEAD, "script": "sing"}]}
        ).status_code
        == 400
    )
    handset = client.get("/_control/handsets").json()["handsets"][0]
    assert (handset["name"], handset["script"]) == ("Jane Doe", "call_me")


def test_a_person_can_text_from_the_page(client, hooks):
    register(client, hooks.url)
    client.post("/_control/people", json={"people": [{"number": LEAD, "name": "Jane <b>"}]})

    answer = client.post(
        f"/handsets/{LEAD}/send", data={"text": "Hello <script>", "to": "(202) 555-0100"}
    )

    assert (answer.status_code, answer.headers["location"]) == (303, f"/handsets/{LEAD}")
    page = client.get("/").text
    assert "Hello &lt;script&gt;" in page
    assert "Jane &lt;b&gt;" in page
    assert "style=" not in page
    assert eventually(lambda: hooks.events() == ["MESSAGE_RECEIVED"])
    assert "Hello" in client.get(f"/handsets/{LEAD}/thread").text
    assert "Jane" in client.get(f"/handsets/{LEAD}/list", params={"q": "jane"}).text
    assert client.get("/static/sandbox.css").headers["content-type"].startswith("text/css")
    assert client.get("/static/app.py").status_code == 404


def test_a_text_from_the_page_to_nobody_says_so(client):
    answer = client.post(f"/handsets/{LEAD}/send", data={"text": "Hi", "to": "2025550100"})

    assert answer.status_code == 400
    assert "Nobody owns" in answer.text


def test_unknown_paths_and_methods_are_told_apart(client):
    assert client.get("/nothing").status_code == 404
    assert client.get("/message/sms").status_code == 405
    assert client.post("/message/sms", content=b"{", headers=KEY).status_code == 400


def test_reset_forgets_everything(client):
    register(client, "http://127.0.0.1:9/")
    send(client)

    client.post("/_control/reset")

    assert client.get("/webhook", headers=KEY).json() == {"webhooks": []}
    assert client.get("/_control/handsets").json() == {"handsets": []}


# The process


def test_a_killed_sandbox_forgets_nothing_and_sends_nothing_twice(tmp_path, hooks):
    with listener("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
    journal = tmp_path / "journal.jsonl"
    command = [
        sys.executable, "manage.py", "sandbox", "--port", str(port), "--pace", "0",
        "--journal", str(journal), "--no-scripts",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, trust_env=False) as client:
        process = start(command, client)
        secret = register(client, f"{hooks.url}/h/")["signingSecret"]
        send(client)
        assert eventually(lambda: len(hooks.requests) == 2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with journal.open("ab") as file:
            file.write(b'{"kind": "half a li')

        hooks.requests.clear()
        process = start(command, client)
        again = send(client)
        client.post("/_control/inbound", json={"from": LEAD, "to": OURS, "text": "Yes"})

        assert again.headers["idempotency-replayed"] == "true"
        assert received(client) == ["Hi there"]
        assert eventually(lambda: hooks.requests)
        _, headers, raw = hooks.requests[0]
        assert is_signed(headers, raw, secret)

        process.send_signal(signal.SIGTERM)
        assert process.wait(3) in (0, -signal.SIGTERM)


def start(command, client):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def answers():
        try:
            return client.get("/_control/faults").status_code == 200
        except httpx.TransportError:
            return False

    assert eventually(answers, seconds=15)
    return process
