"""The contract every provider adapter keeps, run against every recorded payload."""

import base64
import copy
import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations import events as canonical
from integrations.events import BadPayload, Event, effect_key
from integrations.providers import (
    Carrier,
    Delivery,
    Provider,
    SignatureState,
    provider_choices,
    providers,
)
from integrations.tolerant import parse_json

FIXTURES = Path(__file__).parent.parent / "fixtures"
RECORDED = [
    pytest.param(name, path, id=f"{name}/{path.stem}")
    for name in providers
    for path in sorted((FIXTURES / name).glob("*.json"))
]
NOW = datetime(2026, 11, 20, 18, 40, tzinfo=UTC)
HOSTILE = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"\xff\xfe",
    b'{"event": "message.received"}',
    b'{"event": {}, "type": {}, "data": [], "metaData": []}',
    b'{"event": "MESSAGE_RECEIVED", "metaData": {"Message": []}}',
    b'{"event": "SMS_RECEIVED", "data": {"from": [], "to": {}, "message": 5}}',
    b'{"type": "message.received", "data": {"from": NaN, "to": "\\u0000", "message_id": 1e400}}',
    b'{"type": "message.status", "timestamp": 1e308, "data": {"status": []}}',
    b"=",
    b"&&&",
    b"From=%ff&To=%00&MessageSid=%",
    b"MessageSid=&MessageSid=1&SmsStatus=received&From=x&To=y",
    b"MessageSid=SM1&MessageStatus=delivered&To=%ED%A0%80",
    b"&".join([b"a=1"] * 2_000),
]
URL = "https://hooks.example.com/w/tok_abc/"


def read(path: Path) -> tuple[Delivery, dict | None, list]:
    """Return a recorded delivery, its payload as its own provider reads it, and its events.

    The body is ``body`` (an object), ``raw`` (text), ``raw_base64`` or ``form`` (pairs).
    """
    fixture = json.loads(path.read_text())
    if "raw_base64" in fixture:
        body = base64.b64decode(fixture["raw_base64"])
    elif "raw" in fixture:
        body = fixture["raw"].encode()
    elif "form" in fixture:
        body = urlencode([tuple(pair) for pair in fixture["form"]]).encode()
    else:
        body = json.dumps(fixture["body"]).encode()
    content_type = fixture.get("content_type", "application/json; charset=utf-8")
    delivery = Delivery(body=body, headers=fixture["headers"], content_type=content_type, url=URL)
    payload = providers[path.parent.name]().read(body, content_type).payload
    return delivery, payload, fixture["expect"]


def provider_of(name: str, path: Path) -> Provider:
    """The provider as the recorded delivery's integration has configured it."""
    return providers[name](json.loads(path.read_text()).get("config"))


def as_recorded(event: Event) -> dict:
    fields = dataclasses.asdict(event)
    fields["occurred_at"] = event.occurred_at and event.occurred_at.isoformat()
    for name, value in fields.items():
        if isinstance(value, tuple):
            fields[name] = list(value)
    return {"event": type(event).__name__} | fields


def parse_or_refuse(provider: Provider, payload: dict) -> list[Event]:
    try:
        return provider.parse(payload)
    except BadPayload:
        return []


def exercise(provider: Provider, delivery: Delivery) -> None:
    """Call everything intake calls, with whatever the body holds."""
    payload = provider.read(delivery.body, delivery.content_type).payload
    assert provider.verify(delivery, ["a secret"], NOW) in SignatureState
    key = provider.delivery_key(delivery, payload)
    assert 1 <= len(key) <= 200
    assert key == provider.delivery_key(delivery, copy.deepcopy(payload))
    assert len(provider.event_type(payload)) <= 200
    assert provider.route(payload) is None or isinstance(provider.route(payload), str)
    lane = provider.lane(payload, key)
    assert 1 <= len(lane.text) <= 204
    if payload is not None:
        for event in parse_or_refuse(provider, payload):
            check_storable(event)


def check_storable(event: Event) -> None:
    assert isinstance(event, Event)
    assert event.occurred_at is None or event.occurred_at.utcoffset() == timedelta(0)
    stored = json.dumps(as_recorded(event))
    assert "\\u0000" not in stored
    assert parse_json(stored.encode()).state == "clean"


@pytest.mark.parametrize("name", list(providers))
def test_provider_has_recorded_payloads(name):
    assert any(param.values[0] == name for param in RECORDED)


@pytest.mark.parametrize("name", list(providers))
def test_provider_says_what_it_is(name):
    provider = providers[name]()

    assert provider.name == name
    assert (name, provider.label) in provider_choices()
    assert provider.busy_status in (429, 503)
    assert provider.accepts("application/json")
    assert provider.accepts("Application/JSON; charset=utf-8")
    assert not provider.accepts("text/html")
    assert not provider.accepts("")


@pytest.mark.parametrize(("name", "path"), RECORDED)
def test_provider_understands_what_it_was_really_sent(name, path):
    _delivery, payload, expected = read(path)
    provider = provider_of(name, path)

    events = provider.parse(payload)

    assert [as_recorded(event) for event in events] == expected
    for event in events:
        check_storable(event)
        assert isinstance(event, getattr(canonical, type(event).__name__))


@pytest.mark.parametrize(("name", "path"), RECORDED)
def test_messages_travel_in_the_lane_of_their_two_numbers(name, path):
    _delivery, payload, expected = read(path)
    lane = provider_of(name, path).lane(payload, "the-key")

    for event in expected:
        if event["event"] == "MessageReceived":
            assert (lane.ours, lane.theirs) == (event["recipient"], event["sender"])
        elif event["event"] == "MessageStatus":
            assert (lane.ours or "", lane.theirs) == (event["sender"], event["recipient"])
        elif event["event"] == "ContactOptedOut" and event["channel"] != "email":
            assert lane.theirs == event["address"]
    if lane.ours and lane.theirs:
        assert lane.text == f"{lane.ours}|{lane.theirs}"
    else:
        assert lane.text.startswith(("msg:", "key:", "crm:"))


@pytest.mark.parametrize("name", list(providers))
@pytest.mark.parametrize(("_owner", "path"), RECORDED)
def test_provider_survives_the_payloads_of_all_the_others(name, _owner, path):
    delivery, _payload, _expected = read(path)

    exercise(providers[name](), delivery)


@pytest.mark.parametrize("name", list(providers))
@pytest.mark.parametrize("body", HOSTILE)
def test_provider_survives_hostile_bodies(name, body):
    provider = providers[name]()

    for content_type in ("", *provider.content_types):
        exercise(provider, Delivery(body=body, content_type=content_type))


@pytest.mark.parametrize(("name", "path"), RECORDED)
def test_provider_survives_every_truncation(name, path):
    delivery, _payload, _expected = read(path)
    provider = provider_of(name, path)

    for length in range(0, len(delivery.body), 7):
        exercise(provider, dataclasses.replace(delivery, body=delivery.body[:length]))


@pytest.mark.parametrize(("name", "path"), RECORDED)
def test_provider_refuses_or_ignores_a_missing_field(name, path):
    _delivery, payload, expected = read(path)
    provider = provider_of(name, path)

    for mutated in without_each_field(payload):
        parse_or_refuse(provider, mutated)
        provider.lane(mutated, "the-key")
    kind = {key: payload[key] for key in KINDS if key in payload}
    if expected and kind:
        with pytest.raises(BadPayload):
            provider.parse(kind)


#: Fields that alone make a payload one of ours to read.
KINDS = ("event", "type", "eventType")
KINDS += ("MessageSid", "SmsSid", "MessageStatus", "SmsStatus", "Body")


def without_each_field(payload: dict):
    for key, value in payload.items():
        yield {name: kept for name, kept in payload.items() if name != key}
        if isinstance(value, dict):
            for mutated in without_each_field(value):
                yield {**payload, key: mutated}


ODD = st.sampled_from(
    [None, True, 0, -1, 10**30, 1e300, float("nan"), "", "\0", "\ud800", "x" * 300, [], [[]], {}]
)


@given(st.data())
@settings(max_examples=400, deadline=None, derandomize=True, database=None)
def test_provider_survives_odd_values_anywhere(data):
    name, path = data.draw(st.sampled_from([param.values for param in RECORDED]))
    _delivery, payload, _expected = read(path)
    place = payload = copy.deepcopy(payload)
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if not (isinstance(place[key], dict) and place[key] and data.draw(st.booleans())):
            break
        place = place[key]
    place[key] = data.draw(ODD)
    provider = provider_of(name, path)

    for event in parse_or_refuse(provider, payload):
        check_storable(event)
    key = provider.delivery_key(Delivery(body=b"{}"), payload)
    assert 1 <= len(key) <= 200
    provider.lane(payload, key)
    provider.event_type(payload)


GHL_PRIVATE_KEY = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
GHL_PUBLIC_KEY = (
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n"
    "-----END PUBLIC KEY-----\n"
)
#: Secret and configuration to sign and verify with, where any secret and none will not do.
SIGNING = {"ghl": (GHL_PRIVATE_KEY, {"public_keys": [GHL_PUBLIC_KEY]})}
#: What a vendor's proof does not cover; all else is the contract.
UNCOVERED = {
    "aloware": {"body", "time", "id"},
    "ghl": {"secret", "time", "id"},
    "signalwire": {"time", "id"},
    "stripe": {"id"},
    "twilio": {"time", "id"},
}


@pytest.mark.parametrize("name", list(providers))
def test_provider_trusts_what_it_signs_and_nothing_else(name):
    secret, config = SIGNING.get(name, ("s3cret", {}))
    provider = providers[name](config)
    uncovered = UNCOVERED.get(name, set())
    body = b'\xef\xbb\xbf{"a": "\xff"}'
    headers = provider.sign(body, secret, NOW, "delivery-1", url=URL)

    def verify(body=body, headers=headers, secrets=(secret,), now=NOW):
        return provider.verify(Delivery(body=body, url=URL, headers=headers), secrets, now)

    assert verify() is SignatureState.VALID
    assert verify(headers={k.upper(): v for k, v in headers.items()}) is SignatureState.VALID
    assert verify(secrets=["new", secret, "old"]) is SignatureState.VALID
    if "body" not in uncovered:
        assert verify(body=body + b" ") is SignatureState.INVALID
    if "secret" not in uncovered:
        assert verify(secrets=["other"]) is SignatureState.INVALID
        assert verify(secrets=[]) is SignatureState.INVALID
    assert verify(headers={}) is SignatureState.MISSING
    assert verify(headers=dict.fromkeys(headers, "N/A")) is SignatureState.MISSING
    assert verify(headers=dict.fromkeys(headers, " ")) is SignatureState.MISSING
    assert verify(headers=dict.fromkeys(headers, "\u2603\ud800")) is SignatureState.INVALID
    for seconds in (-300, 300):
        assert verify(now=NOW + timedelta(seconds=seconds)) is SignatureState.VALID
    for seconds in () if "time" in uncovered else (-302, 302, 10**9):
        assert verify(now=NOW + timedelta(seconds=seconds)) is SignatureState.STALE


@pytest.mark.parametrize("name", list(providers))
def test_an_empty_secret_signs_nothing(name):
    provider = providers[name]()
    headers = provider.sign(b"{}", "", NOW, "delivery-1")

    state = provider.verify(Delivery(body=b"{}", headers=headers), ["", "other"], NOW)

    assert state in (SignatureState.INVALID, SignatureState.MISSING)


VECTORS = json.loads((FIXTURES / "signature_vectors.json").read_text())["vectors"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["scheme"])
def test_signatures_made_elsewhere_are_valid(vector):
    provider = next(providers[name]() for name in providers if vector["scheme"].startswith(name))
    raw = vector.get("raw_body") or urlencode(vector["params"])
    delivery = Delivery(body=raw.encode(), url=vector.get("url", URL), headers=vector["headers"])
    signed_at = datetime.fromtimestamp(1_795_200_000, UTC)

    assert provider.verify(delivery, [vector["secret"]], signed_at) is SignatureState.VALID
    assert provider.verify(delivery, ["whsec_b3RoZXI="], signed_at) is SignatureState.INVALID
    if "time" not in UNCOVERED.get(provider.name, ()):
        late = signed_at + timedelta(seconds=301)
        assert provider.verify(delivery, [vector["secret"]], late) is SignatureState.STALE
    tampered = dataclasses.replace(delivery, body=delivery.body.replace(b"0142", b"0143") + b" ")
    assert provider.verify(tampered, [vector["secret"]], signed_at) is SignatureState.INVALID


@pytest.mark.parametrize("name", list(providers))
def test_a_redelivery_repeats_the_delivery_key(name):
    provider = providers[name]()
    secret = SIGNING.get(name, ("s3cret",))[0]
    later = NOW + timedelta(seconds=30)

    def key(payload, now=NOW, delivery_id="delivery-1"):
        headers = provider.sign(b"{}", secret, now, delivery_id)
        return provider.delivery_key(Delivery(body=b"{}", headers=headers), payload)

    assert key({}) == key({}, now=later)
    if "id" in UNCOVERED.get(name, ()):  # the id is inside the body, or there is none
        assert key({}).startswith("sha256:")
    else:
        assert (key({}), key({}, delivery_id="delivery-2")) == ("delivery-1", "delivery-2")
    assert provider.delivery_key(Delivery(body=b"not json"), None).startswith("sha256:")
    assert key(None, delivery_id="x" * 201).startswith("sha256:")


def test_an_effect_happens_once_whichever_delivery_brought_it():
    assert effect_key("signalhouse", "m1", "received") == "signalhouse:m1:received"


def test_only_carriers_send():
    assert issubclass(providers["signalhouse"], Carrier)
    assert issubclass(providers["twilio"], Carrier)
    assert issubclass(providers["signalwire"], Carrier)
    assert not issubclass(providers["standard_webhooks"], Carrier)
    assert not issubclass(providers["custom"], Carrier)
