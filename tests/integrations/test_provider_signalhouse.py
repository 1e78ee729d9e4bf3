import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.providers import Account, Delivery, OutboundText, SignatureState, providers

VECTOR = next(
    vector
    for vector in json.loads(
        (Path(__file__).parent.parent / "fixtures" / "signature_vectors.json").read_text()
    )["vectors"]
    if vector["scheme"] == "signalhouse"
)
NOW = datetime.fromtimestamp(1_795_200_000, UTC)
NEW, OLD = VECTOR["secret"], VECTOR["previous_secret"]
V1 = "X-SignalHouse-Signature-V1"
PLAIN = "X-SignalHouse-Signature"

ACCOUNT = Account(base_url="https://v2.signalhouse.example/", api_key="key-1")
TEXT = OutboundText(
    sender="+12025550100",
    recipient="+12025550142",
    body="Hi \u201cJordan\u201d",
    idempotency_key="out_1.1",
    status_callback_url="https://hooks.example.com/hooks/signalhouse/t/a/",
)


@pytest.fixture
def carrier():
    return providers["signalhouse"]()


def verify(carrier, headers, secrets):
    delivery = Delivery(body=VECTOR["raw_body"].encode(), headers=headers)
    return carrier.verify(delivery, secrets, NOW)


@pytest.mark.parametrize("secrets", [[NEW], [OLD], [NEW, OLD], [OLD, NEW]])
def test_during_rotation_either_secret_is_enough(carrier, secrets):
    assert verify(carrier, VECTOR["headers"], secrets) is SignatureState.VALID


def test_the_plain_header_serves_where_v1_is_absent(carrier):
    headers = {key: value for key, value in VECTOR["headers"].items() if key != V1}

    assert verify(carrier, headers, [OLD]) is SignatureState.VALID
    assert verify(carrier, headers, [NEW]) is SignatureState.INVALID
    outside = {**headers, PLAIN: VECTOR["signature_outside_rotation"]}
    assert verify(carrier, outside, [NEW]) is SignatureState.VALID


@pytest.mark.parametrize(
    "v1",
    [
        "",
        "N/A",
        "t=,v1=",
        "nonsense",
        "t=1795200000123",
        "v1=" + "0" * 64,
        "t=x,v1=" + "0" * 64,
        "t=1795200000123,v1=short",
        "t=1,t=2,v1=" + "0" * 64,
        ",,,",
        "=" * 1000,
    ],
)
def test_a_malformed_v1_falls_back_to_the_plain_header(carrier, v1):
    assert verify(carrier, VECTOR["headers"] | {V1: v1}, [OLD]) is SignatureState.VALID


def test_a_well_formed_but_wrong_v1_is_not_saved_by_the_plain_header(carrier):
    wrong = "t=1795200000123,v1=" + "0" * 64

    assert verify(carrier, VECTOR["headers"] | {V1: wrong}, [OLD]) is SignatureState.INVALID


def test_a_plain_header_without_its_time_is_missing(carrier):
    headers = {PLAIN: VECTOR["headers"][PLAIN]}

    assert verify(carrier, headers, [OLD]) is SignatureState.MISSING


def test_without_a_delivery_id_the_domain_key_serves(carrier):
    received = {"event": "message.received", "message_id": "m1", "text": "Yes"}
    delivered = {"event": "message.delivered", "message_id": "m1", "status": "delivered"}
    nameless = {"event": "brand.add"}
    delivery = Delivery(body=b"{}")

    assert carrier.delivery_key(delivery, received) == "message.received:m1"
    assert carrier.delivery_key(delivery, delivered) == "message.delivered:m1:delivered"
    assert carrier.delivery_key(delivery, nameless).startswith("sha256:")


def test_a_send_is_written_as_documented(carrier):
    call = carrier.build_send(TEXT, ACCOUNT)

    assert (call.method, call.url) == ("POST", "https://v2.signalhouse.example/message/sms")
    assert call.headers["Authorization"] == "Bearer key-1"
    assert call.headers["Idempotency-Key"] == "out_1.1"
    assert json.loads(call.body) == {
        "senderPhoneNumber": "12025550100",
        "recipientPhoneNumber": ["12025550142"],
        "messageBody": "Hi \u201cJordan\u201d",
        "enableShortlink": False,
        "statusCallbackUrl": "https://hooks.example.com/hooks/signalhouse/t/a/",
    }
    assert "key-1" not in repr(call)


def test_without_a_callback_none_is_asked_for(carrier):
    text = dataclasses.replace(TEXT, status_callback_url="")

    call = carrier.build_send(text, ACCOUNT)

    assert "statusCallbackUrl" not in json.loads(call.body)


ACCEPTED = {
    "requestedRecipientCount": 1,
    "enqueuedCount": 1,
    "failedCount": 0,
    "dncBlockedNumbers": [],
    "insertedMessages": [{"_id": "m1", "status": "ENQUEUED", "errorCode": None}],
}
BLOCKED = ACCEPTED | {"enqueuedCount": 0, "failedCount": 1}


@pytest.mark.parametrize(
    ("status", "body", "kind", "provider_id", "code"),
    [
        (201, ACCEPTED, "accepted", "m1", ""),
        (200, ACCEPTED, "accepted", "m1", ""),
        (201, ACCEPTED | {"insertedMessages": []}, "accepted", "", ""),
        (
            201,
            BLOCKED | {"insertedMessages": [{"_id": "m2", "status": "FAILED", "errorCode": "OUT"}]},
            "opted_out",
            "m2",
            "OUT",
        ),
        (
            201,
            BLOCKED | {"insertedMessages": [], "dncBlockedNumbers": ["12025550142"]},
            "opted_out",
            "",
            "DNC",
        ),
        (
            201,
            BLOCKED | {"insertedMessages": [], "dncBlockedNumbers": ["12025550143"]},
            "failed",
            "",
            "",
        ),
        (
            201,
            BLOCKED | {"insertedMessages": [{"_id": "m2", "errorCode": "30007"}]},
            "failed",
            "m2",
            "30007",
        ),
        (201, {}, "ambiguous", "", ""),
        (201, b"", "ambiguous", "", ""),
        (201, b"<html>", "ambiguous", "", ""),
        (204, b"", "ambiguous", "", ""),
        (302, b"", "ambiguous", "", "302"),
        (400, {"message": "Campaign C1 is not active"}, "failed", "", "400"),
        (400, {"message": "opted out", "errorCode": "OUT"}, "opted_out", "", "OUT"),
        (401, {"message": "expired"}, "failed", "", "401"),
        (403, b"", "failed", "", "403"),
        (408, b"", "ambiguous", "", "408"),
        (409, b"", "ambiguous", "", "409"),
        (429, {"message": "slow down"}, "throttled", "", "429"),
        (500, {"message": "oops"}, "ambiguous", "", "500"),
        (503, b"\xff", "ambiguous", "", "503"),
    ],
)
def test_an_answer_is_read_for_what_it_means(carrier, status, body, kind, provider_id, code):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    result = carrier.read_send(status, {}, raw, "+12025550142")

    assert (result.kind, result.provider_id, result.error_code) == (kind, provider_id, code)
    assert bool(result.error) is (kind != "accepted")


def test_the_carriers_own_words_are_kept(carrier):
    result = carrier.read_send(400, {}, b'{"message": "Campaign C1 is not active"}')

    assert result.error == "Campaign C1 is not active"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("30", 30), ("1.5", 1.5), ("99999", 3600), ("", None), ("soon", None), ("-1", None)],
)
def test_a_throttled_send_says_when_to_come_back(carrier, value, seconds):
    result = carrier.read_send(429, {"retry-AFTER": value}, b"")

    assert (result.kind, result.retry_after_s) == ("throttled", seconds)


@given(st.integers(100, 599), st.binary(max_size=60) | st.just(b'{"insertedMessages": [[]]}'))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_no_answer_at_all_raises(status, body):
    result = providers["signalhouse"]().read_send(status, {}, body)

    assert result.kind in ("throttled", "failed", "ambiguous")
