"""The sandbox as Twilio and SignalWire over real HTTP, read by our own adapters."""

import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import httpx
import pytest

from integrations.providers import Account, Delivery, OutboundText, SignatureState, providers
from integrations.providers.twilio_lookup import build_number_lookup, read_number_lookup
from integrations.sandbox.app import Sandbox
from integrations.sandbox.server import running
from tests.integrations.test_sandbox import Hooks, eventually

OURS = "+12025550100"
LEAD = "+12025550117"
TOKEN = "token-one"
SIDS = {
    "twilio": "AC00000000000000000000000000000001",
    "signalwire": "00000000-0000-4000-8000-0000000000b0",
}
FORM = "application/x-www-form-urlencoded"
NOW = datetime.now(UTC)


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


@pytest.fixture(params=["twilio", "signalwire"])
def vendor(request):
    return request.param


def account(client, vendor="twilio", token=TOKEN, **settings):
    return Account(
        base_url=str(client.base_url), api_key=token, account_id=SIDS[vendor], settings=settings
    )


def make(client, call, timeout=5):
    return client.request(
        call.method, call.url, headers=call.headers, content=call.body, timeout=timeout
    )


def send(client, body="Hi there", *, vendor="twilio", callback="", to=LEAD, timeout=5, **given):
    text = OutboundText(
        sender=OURS, recipient=to, body=body, idempotency_key="k", status_callback_url=callback
    )
    carrier = providers[vendor]()
    answer = make(client, carrier.build_send(text, account(client, vendor, **given)), timeout)
    return carrier.read_send(answer.status_code, answer.headers, answer.content)


def register(client, url=None, vendor="twilio"):
    body = {
        "numbers": [OURS],
        "vendor": vendor,
        "account_id": SIDS[vendor],
        "api_key": TOKEN,
        "inbound_url": url,
    }
    assert client.post("/_control/numbers", json=body).status_code == 201


def fault(client, kind, **rule):
    assert client.post("/_control/faults", json={"kind": kind, **rule}).status_code == 201


def say(client, words, **options):
    body = {"from": LEAD, "to": OURS, "text": words, **options}
    return client.post("/_control/inbound", json=body).json()


def received(client):
    texts = client.get(f"/_control/handsets/{LEAD.lstrip('+')}").json()["texts"]
    return [text["text"] for text in texts if text["direction"] == "received"]


def events(hooks, vendor="twilio"):
    """What our adapter makes of the requests, each with the right signature."""
    provider, found = providers[vendor](), []
    for path, headers, raw in list(hooks.requests):
        delivery = Delivery(
            body=raw,
            url=hooks.url + path,
            headers=headers,
            content_type=headers["Content-Type"],
        )
        assert provider.verify(delivery, [TOKEN], NOW) is SignatureState.VALID
        assert provider.verify(delivery, ["another"], NOW) is SignatureState.INVALID
        found += provider.parse(provider.read(raw, delivery.content_type).payload)
    return found


# --- sends ------------------------------------------------------------------------------------


def test_a_send_is_accepted_reported_and_reaches_the_handset(client, hooks, vendor):
    result = send(client, "S\u00ed \U0001f600 & co", vendor=vendor, callback=f"{hooks.url}/cb/?a=1")

    assert result.kind == "accepted"
    assert eventually(lambda: received(client)) == ["S\u00ed \U0001f600 & co"]
    assert eventually(lambda: len(hooks.requests) == 2)
    reports = events(hooks, vendor)
    assert sorted(report.status for report in reports) == ["delivered", "sent"]
    assert {report.external_id for report in reports} == {result.provider_id}
    assert {(report.sender, report.recipient) for report in reports} == {(OURS, LEAD)}


def test_the_same_request_twice_is_two_texts(client):
    first, second = send(client), send(client)

    assert first.provider_id != second.provider_id
    assert eventually(lambda: len(received(client)) == 2)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"to": "12025550117"}, "21211"),
        ({"to": "+0"}, "21211"),
        ({"body": ""}, "21602"),
        ({"body": "x" * 1601}, "21617"),
        ({"token": "expired"}, "20003"),
    ],
)
def test_a_send_that_breaks_the_format_is_refused(client, change, code):
    result = send(client, **change)

    assert (result.kind, result.error_code) == ("failed", code)
    assert result.error


def test_the_first_token_opens_an_account_and_no_other_does(client):
    assert send(client).kind == "accepted"
    assert send(client, token="another").error_code == "20003"
    assert client.get(f"/2010-04-01/Accounts/{SIDS['twilio']}/Messages.json").status_code == 401


def test_a_number_of_another_account_cannot_be_used(client):
    register(client, vendor="signalwire")

    assert send(client).error_code == "21606"


def test_a_messaging_service_chooses_a_number(client):
    register(client)
    path = f"/2010-04-01/Accounts/{SIDS['twilio']}/Messages.json"
    form = {"To": LEAD, "MessagingServiceSid": "MG1", "Body": "Hi"}

    answer = client.post(path, data=form, auth=(SIDS["twilio"], TOKEN))

    assert (answer.status_code, answer.json()["from"]) == (201, OURS)


def test_a_stop_blocks_the_pair_until_start(client):
    register(client)

    say(client, "Stop")
    blocked = send(client)
    say(client, "START")

    assert (blocked.kind, blocked.error_code) == ("opted_out", "21610")
    assert send(client).kind == "accepted"


# --- lists ------------------------------------------------------------------------------------


def test_texts_are_listed_newest_first_by_recipient_and_day(client, vendor):
    register(client, vendor=vendor)
    say(client, "Yes")
    ids = [send(client, f"text {n}", vendor=vendor).provider_id for n in range(3)]
    send(client, "to another", vendor=vendor, to="+12025550118")
    eventually(lambda: len(received(client)) == 3)
    carrier, mine = providers[vendor](), account(client, vendor)
    wanted = OutboundText(sender=OURS, recipient=LEAD, body="", idempotency_key="")

    def look_up(since):
        answer = make(client, carrier.build_lookup(wanted, since, mine))
        return carrier.read_lookup(answer.status_code, answer.content)

    found = look_up(datetime.now(UTC) - timedelta(minutes=1))
    assert [text.provider_id for text in found] == ids[::-1]
    assert {(text.sender, text.recipient, text.status) for text in found} == {
        (OURS, LEAD, "delivered")
    }
    assert look_up(datetime.now(UTC) + timedelta(days=1)) == []


def test_a_pull_walks_all_pages_and_tells_what_webhooks_would_have(client, vendor, monkeypatch):
    monkeypatch.setattr("integrations.providers.laml_api.PAGE_SIZE", 2)
    register(client, vendor=vendor)
    inbound = say(client, "Yes \U0001f600")["identifier"]
    ids = [send(client, f"text {n}", vendor=vendor).provider_id for n in range(4)]
    eventually(lambda: len(received(client)) == 4)
    carrier, mine = providers[vendor](), account(client, vendor)
    items, cursor, pages = [], "", 0

    while pages == 0 or cursor:
        answer = make(client, carrier.build_pull(datetime.now(UTC), cursor, mine))
        page = carrier.read_pull(answer.status_code, answer.content)
        items, cursor, pages = [*items, *page.items], page.cursor, pages + 1

    assert pages == 3
    assert [item.key for item in items] == [
        *(f"{id}:delivered" for id in ids[::-1]),
        f"{inbound}:received",
    ]
    [event] = carrier.parse(carrier.read(items[-1].body, FORM).payload)
    assert (event.sender, event.recipient, event.body) == (LEAD, OURS, "Yes \U0001f600")


def test_one_text_is_shown_to_its_account_only(client):
    id = send(client).provider_id
    other = ("AC00000000000000000000000000000002", "token-two")

    def show(sid, auth):
        return client.get(f"/2010-04-01/Accounts/{auth[0]}/Messages/{sid}.json", auth=auth)

    mine = (SIDS["twilio"], TOKEN)
    assert show(id, mine).json()["sid"] == id
    assert [show(id, other).status_code, show("SM1", mine).status_code] == [404, 404]


@pytest.mark.parametrize("query", ["PageSize=0", "PageSize=1001", "Page=-1", "Page=x"])
def test_a_page_that_cannot_be_is_refused(client, query):
    path = f"/2010-04-01/Accounts/{SIDS['twilio']}/Messages.json?{query}"

    assert client.get(path, auth=(SIDS["twilio"], TOKEN)).status_code == 400


@pytest.mark.parametrize(
    ("number", "valid", "line_type"),
    [
        ("+12025550117", True, "mobile"),
        ("+12025550198", True, "landline"),
        ("+12025550197", True, "voip"),
        ("+12025550199", False, "unknown"),
        ("+123", False, "unknown"),
    ],
)
def test_numbers_are_looked_up(client, number, valid, line_type):
    mine = account(client, lookup_url=str(client.base_url))

    answer = make(client, build_number_lookup(mine, number))
    facts = read_number_lookup(answer.status_code, answer.content)

    assert (facts.valid, facts.line_type, facts.error) == (valid, line_type, "")


# --- webhooks ---------------------------------------------------------------------------------


def test_an_inbound_text_is_posted_to_the_numbers_own_url_and_signed(client, hooks, vendor):
    register(client, f"{hooks.url}/hooks/{vendor}/tok/", vendor)

    id = say(client, "100% s\u00ed & \u201cyes\u201d", media=["https://m.example/1.jpg"])[
        "identifier"
    ]

    assert eventually(lambda: hooks.requests)
    [event] = events(hooks, vendor)
    assert (event.external_id, event.sender, event.recipient) == (id, LEAD, OURS)
    assert (event.body, event.channel) == ("100% s\u00ed & \u201cyes\u201d", "mms")
    assert event.media == ("https://m.example/1.jpg",)


def test_with_advanced_opt_out_the_carrier_says_what_it_did(client, hooks):
    register(client, f"{hooks.url}/")

    say(client, "STOP", opt_out_type="STOP")

    assert eventually(lambda: hooks.requests)
    assert events(hooks)[0].carrier_keyword == "opt_out"


def test_an_inbound_text_can_be_delivered_many_times_at_once(client, hooks):
    register(client, f"{hooks.url}/")

    say(client, "Yes", repeat=5)

    assert eventually(lambda: len(hooks.requests) == 5)
    assert len({raw for _, _, raw in hooks.requests}) == 1


@pytest.mark.parametrize(
    ("fragment", "answers", "calls", "state"),
    [
        ("", [503], 1, "lost"),
        ("#rp=5xx", [503], 2, "delivered"),
        ("#rc=3&rp=all", [503, 500, 404], 4, "delivered"),
        ("#rc=0&rp=all", [503], 1, "lost"),
        ("#rp=5xx", [401], 1, "refused"),
    ],
)
def test_only_overrides_in_the_url_make_it_try_again_after_an_answer(
    client, hooks, fragment, answers, calls, state
):
    register(client, f"{hooks.url}/in/{fragment}")
    hooks.answers = list(answers)

    say(client, "Yes")

    def ended():
        return client.get("/_control/deliveries").json()["deliveries"][0]["state"] == state

    assert eventually(ended)
    assert [path for path, _, _ in hooks.requests] == ["/in/"] * calls
    assert len(events(hooks)) == calls


def test_scripted_people_answer_over_twilio(hooks):
    sandbox = Sandbox(pace=0.0, answers=True)
    with running(sandbox) as url, httpx.Client(base_url=url, trust_env=False) as client:
        register(client, f"{hooks.url}/")
        send(client, to="+12025550114")

        assert eventually(lambda: hooks.requests)
    assert events(hooks)[0].body == "STOP"


def test_a_number_of_an_unknown_vendor_or_without_account_is_refused(client):
    body = {"numbers": [OURS], "api_key": TOKEN}

    for extra in ({"vendor": "carrier-pigeon"}, {"vendor": "twilio"}):
        assert client.post("/_control/numbers", json=body | extra).status_code == 400


# --- faults -----------------------------------------------------------------------------------


def test_a_429_says_how_long_to_wait_and_accepts_nothing(client):
    fault(client, "429", retry_after=7)

    result = send(client)

    assert (result.kind, result.error_code, result.retry_after_s) == ("throttled", "20429", 7)
    assert send(client).kind == "accepted"
    assert eventually(lambda: received(client)) == ["Hi there"]


@pytest.mark.parametrize(("kind", "arrives"), [("500", False), ("500_after_accept", True)])
def test_a_500_says_nothing_about_the_text(client, kind, arrives):
    fault(client, kind)

    assert send(client).kind == "ambiguous"
    if arrives:
        assert eventually(lambda: received(client)) == ["Hi there"]
    else:
        assert client.get("/_control/texts").json()["texts"] == []


@pytest.mark.parametrize("kind", ["hang_after_accept", "reset_after_accept"])
def test_a_text_accepted_without_an_answer_is_found_in_the_list(client, kind):
    fault(client, kind)

    with pytest.raises(httpx.TransportError):
        send(client, timeout=0.5)

    assert eventually(lambda: received(client)) == ["Hi there"]
    carrier = providers["twilio"]()
    wanted = OutboundText(sender=OURS, recipient=LEAD, body="", idempotency_key="")
    call = carrier.build_lookup(wanted, datetime.now(UTC), account(client))
    answer = make(client, call)
    [found] = carrier.read_lookup(answer.status_code, answer.content)
    assert found.body == "Hi there"


@pytest.mark.parametrize("kind", ["hang", "reset"])
def test_a_text_refused_without_an_answer_is_not_sent(client, kind):
    fault(client, kind)

    with pytest.raises(httpx.TransportError):
        send(client, timeout=0.5)

    assert client.get("/_control/texts").json()["texts"] == []


def test_a_dripping_answer_outlasts_a_read_timeout(client):
    fault(client, "drip")
    path = f"/2010-04-01/Accounts/{SIDS['twilio']}/Messages.json"
    form = {"To": LEAD, "From": OURS, "Body": "Hi"}
    started = time.monotonic()

    with client.stream(
        "POST", path, data=form, auth=(SIDS["twilio"], TOKEN), timeout=1
    ) as response:
        chunks = response.iter_raw()
        for _ in range(6):
            next(chunks)

    assert (response.status_code, time.monotonic() - started > 1) == (201, True)


@pytest.mark.parametrize(
    ("kind", "rule", "result"),
    [
        ("dnc", {}, ("opted_out", "21610")),
        ("not_accepted", {}, ("failed", "21606")),
        ("not_accepted", {"error_code": "30034"}, ("failed", "30034")),
    ],
)
def test_a_send_can_be_told_no(client, kind, rule, result):
    fault(client, kind, **rule)

    answer = send(client)

    assert (answer.kind, answer.error_code) == result


def test_an_undelivered_text_is_reported_with_its_code(client, hooks):
    fault(client, "undelivered", error_code="30007")

    send(client, callback=f"{hooks.url}/")

    assert eventually(lambda: len(hooks.requests) == 2)
    report = next(event for event in events(hooks) if event.status == "undelivered")
    assert (report.error_code, bool(report.error)) == ("30007", True)
    assert received(client) == []


def test_callbacks_can_be_doubled_reordered_or_left_out(client, hooks):
    def statuses():
        return [dict(parse_qsl(raw.decode()))["MessageStatus"] for _, _, raw in hooks.requests]

    fault(client, "duplicate_callbacks")
    send(client, callback=f"{hooks.url}/")
    assert eventually(lambda: len(hooks.requests) == 4)
    assert sorted(statuses()) == ["delivered", "delivered", "sent", "sent"]

    hooks.requests.clear()
    fault(client, "reorder_callbacks")
    send(client, callback=f"{hooks.url}/")
    assert eventually(lambda: len(hooks.requests) == 2)
    assert statuses() == ["delivered", "sent"]

    hooks.requests.clear()
    fault(client, "no_callbacks")
    send(client, callback=f"{hooks.url}/")
    assert eventually(lambda: len(received(client)) == 3)
    time.sleep(0.2)
    assert hooks.requests == []


def test_lists_can_be_broken_by_path(client):
    path = f"/2010-04-01/Accounts/{SIDS['twilio']}/Messages.json"
    fault(client, "500", match={"path": path})

    answers = [client.get(path, auth=(SIDS["twilio"], TOKEN)).status_code for _ in range(2)]

    assert answers == [500, 200]


def test_texts_survive_a_restart_with_their_vendor(tmp_path, hooks):
    journal = tmp_path / "journal"
    with (
        running(Sandbox(journal=journal, pace=5.0, answers=False)) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        register(client, f"{hooks.url}/")
        id = send(client, callback=f"{hooks.url}/").provider_id
    with (
        running(Sandbox(journal=journal, pace=0.0, answers=False)) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        assert send(client, token="another").error_code == "20003"
        assert eventually(lambda: len(hooks.requests) == 2)
    assert {event.external_id for event in events(hooks)} == {id}
