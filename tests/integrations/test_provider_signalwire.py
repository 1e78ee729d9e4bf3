import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from integrations.providers import Account, Delivery, OutboundText, SignatureState, providers

FIXTURES = Path(__file__).parent.parent / "fixtures"
VECTORS = {
    vector["scheme"]: vector
    for vector in json.loads((FIXTURES / "signature_vectors.json").read_text())["vectors"]
}
FORM_BODY = VECTORS["twilio_form_sha1"]["raw_body"].encode()
NOW = datetime(2026, 11, 20, 18, 40, tzinfo=UTC)
PROJECT = "00000000-0000-4000-8000-0000000000b0"
ACCOUNT = Account(base_url="https://acme.signalwire.example", api_key="PT1", account_id=PROJECT)
TEXT = OutboundText(
    sender="+12025550100", recipient="+12025550142", body="Hi", idempotency_key="out_1.1"
)


@pytest.fixture
def carrier():
    return providers["signalwire"]()


@pytest.mark.parametrize("header", ["X-SignalWire-Signature", "X-Twilio-Signature"])
@pytest.mark.parametrize("scheme", ["signalwire_raw_hex_sha1", "signalwire_compat_form"])
def test_either_signature_may_come_under_either_name(carrier, header, scheme):
    vector = VECTORS[scheme]
    body = vector["raw_body"].encode() if "raw_body" in vector else FORM_BODY
    [signature] = vector["headers"].values()

    delivery = Delivery(body=body, url=vector["url"], headers={header: signature})

    assert carrier.verify(delivery, [vector["secret"]], NOW) is SignatureState.VALID
    tampered = Delivery(body=body + b"x", url=vector["url"], headers={header: signature})
    assert carrier.verify(tampered, [vector["secret"]], NOW) is SignatureState.INVALID


def test_the_hex_signature_covers_the_raw_form_too(carrier):
    url = "https://hooks.example.com/w/t/"
    signed = hmac.new(b"PSK", url.encode() + FORM_BODY, hashlib.sha1).hexdigest()
    ported = hmac.new(b"PSK", b"https://hooks.example.com:443/w/t/" + FORM_BODY, hashlib.sha1)

    for signature in (signed, ported.hexdigest()):
        headers = {"X-SignalWire-Signature": signature}
        delivery = Delivery(body=FORM_BODY, url=url, headers=headers)
        assert carrier.verify(delivery, ["other", "PSK"], NOW) is SignatureState.VALID


def test_one_right_signature_is_enough(carrier):
    headers = carrier.sign(FORM_BODY, "PSK", NOW, "", url="https://h.example/")
    headers["X-Twilio-Signature"] = base64.b64encode(b"x" * 20).decode()

    delivery = Delivery(body=FORM_BODY, url="https://h.example/", headers=headers)

    assert carrier.verify(delivery, ["PSK"], NOW) is SignatureState.VALID


def test_twilio_does_not_take_signalwires_signatures(carrier):
    vector = VECTORS["signalwire_raw_hex_sha1"]
    [signature] = vector["headers"].values()
    delivery = Delivery(
        body=vector["raw_body"].encode(),
        url=vector["url"],
        headers={"X-Twilio-Signature": signature},
    )

    state = providers["twilio"]().verify(delivery, [vector["secret"]], NOW)

    assert state is SignatureState.INVALID


def test_a_call_is_kept_under_its_own_name_and_not_acted_on(carrier):
    call = {"call": {"call_id": "c1", "call_state": "created"}}

    assert carrier.event_type(call) == "call.created"
    assert carrier.delivery_key(Delivery(body=b"{}"), call) == "c1:created"
    assert carrier.external_id(call) == "c1"
    assert carrier.parse(call) == []
    assert carrier.delivery_key(Delivery(body=b"{}"), {"call": {}}).startswith("sha256:")


def test_texts_go_to_the_space_of_the_account(carrier):
    url = f"https://acme.signalwire.example/api/laml/2010-04-01/Accounts/{PROJECT}/Messages.json"

    assert carrier.build_send(TEXT, ACCOUNT).url == url
    assert carrier.build_lookup(TEXT, NOW, ACCOUNT).url.startswith(f"{url}?To=")
    assert carrier.build_pull(NOW, "Page=1", ACCOUNT).url == f"{url}?Page=1"


def test_an_answer_is_read_as_twilios_is(carrier):
    sid = "00000000-0000-4000-8000-0000000000b7"

    taken = carrier.read_send(201, {}, json.dumps({"sid": sid, "status": "queued"}).encode())
    blocked = carrier.read_send(400, {}, b'{"code": "21610", "message": "opted out"}')

    assert (taken.kind, taken.provider_id) == ("accepted", sid)
    assert (blocked.kind, blocked.error_code) == ("opted_out", "21610")
