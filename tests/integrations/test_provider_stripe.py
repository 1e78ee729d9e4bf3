import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from integrations.events import BadPayload
from integrations.providers import Delivery, SignatureState, providers

VECTOR = json.loads(
    (Path(__file__).parent.parent / "fixtures" / "vectors" / "stripe.json").read_text()
)["vectors"][0]
NOW = datetime.fromtimestamp(1_795_200_000, UTC)
GOOD = VECTOR["headers"]["Stripe-Signature"].partition("v1=")[2]


@pytest.fixture
def bank():
    return providers["stripe"]()


def verify(bank, header, *, secret=VECTOR["secret"], now=NOW):
    delivery = Delivery(body=VECTOR["raw_body"].encode(), headers={"Stripe-Signature": header})
    return bank.verify(delivery, [secret], now)


def event(kind, **fields):
    return {"id": "evt_1", "type": kind, "created": 1_795_200_000, "data": {"object": fields}}


def test_a_signature_made_elsewhere_is_valid_under_the_literal_secret(bank):
    header = VECTOR["headers"]["Stripe-Signature"]

    assert verify(bank, header) is SignatureState.VALID
    assert verify(bank, header, secret="test_secret") is SignatureState.INVALID
    assert bank.sign(VECTOR["raw_body"].encode(), VECTOR["secret"], NOW, "") == VECTOR["headers"]


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_signature_counts_for_five_minutes_both_ways(bank, seconds):
    late = NOW + timedelta(seconds=seconds)

    assert verify(bank, VECTOR["headers"]["Stripe-Signature"], now=late) is SignatureState.STALE


@pytest.mark.parametrize(
    ("header", "state"),
    [
        (f"t=1795200000,v1={'0' * 64},v1={GOOD},v0=abc", SignatureState.VALID),
        (f"t=1795200000, v1={GOOD}", SignatureState.VALID),
        (f"t=1795200001,v1={GOOD}", SignatureState.INVALID),
        (f"t=1795200000,v0={GOOD}", SignatureState.INVALID),
        (f"v1={GOOD}", SignatureState.INVALID),
        (f"t=1,t=2,v1={GOOD}", SignatureState.INVALID),
        (f"t=-5,v1={GOOD}", SignatureState.INVALID),
        ("nonsense", SignatureState.INVALID),
        ("", SignatureState.MISSING),
        ("N/A", SignatureState.MISSING),
    ],
)
def test_headers_of_all_kinds(bank, header, state):
    assert verify(bank, header) is state


def test_the_event_id_makes_a_delivery_unique(bank):
    assert bank.delivery_key(Delivery(body=b"{}"), {"id": "evt_1"}) == "evt_1"
    assert bank.delivery_key(Delivery(body=b"{}"), {"id": 5}).startswith("sha256:")


def test_one_payment_has_one_id_whichever_event_tells_it(bank):
    told = [
        event("payment_intent.succeeded", id="pi_1", object="payment_intent", amount=5),
        event(
            "checkout.session.completed",
            id="cs_1",
            payment_status="paid",
            payment_intent="pi_1",
            amount_total=5,
        ),
        event("invoice.paid", id="in_1", payment_intent={"id": "pi_1"}, amount_paid=5),
        event("charge.succeeded", id="ch_1", payment_intent="pi_1", amount=5, captured=True),
    ]
    for payload in told:
        payload["data"]["object"]["currency"] = "USD"

    payments = [payment for payload in told for payment in bank.parse(payload)]

    assert [payment.external_id for payment in payments] == ["pi_1"] * 4
    assert {payment.currency for payment in payments} == {"usd"}


@pytest.mark.parametrize(
    "payload",
    [
        event("payment.completed", id="x"),
        event("payment_intent.payment_failed", id="pi_1", amount=5, currency="usd"),
        event("charge.refunded", id="ch_1", amount=5, currency="usd"),
        event("charge.succeeded", id="ch_1", amount=5, currency="usd", captured=False),
        event("checkout.session.completed", id="cs_1", payment_status="unpaid"),
        event("checkout.session.completed", id="cs_1", payment_status="paid", subscription="s"),
        event("invoice.paid", id="in_1", amount_paid=0, currency="usd"),
    ],
)
def test_what_is_no_money_or_is_told_elsewhere_says_nothing(bank, payload):
    assert bank.parse(payload) == []


@pytest.mark.parametrize(
    "change", [{"amount": None}, {"amount": -1}, {"amount": "5"}, {"amount": True}, {"currency": 5}]
)
def test_money_without_an_amount_is_refused(bank, change):
    fields = {"id": "pi_1", "object": "payment_intent", "amount": 5, "currency": "usd"} | change

    with pytest.raises(BadPayload):
        bank.parse(event("payment_intent.succeeded", **fields))
