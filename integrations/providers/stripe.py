"""Stripe: money that came in. Wire format: ``docs/providers/stripe.md``."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from integrations.addresses import fold_email, read_phone
from integrations.events import BadPayload, Event, PaymentSucceeded
from integrations.payloads import Payload, pick, read_identifier, read_instant, read_note
from integrations.providers.base import (
    Delivery,
    Provider,
    SignatureState,
    any_match,
    body_key,
    freshness,
    providers,
    usable_key,
)

SIGNATURE = "Stripe-Signature"  # t=<s>,v1=<hex>[,v1=<hex>][,v0=…]

SECONDS = re.compile(r"[0-9]{1,12}")
HEX = re.compile(r"[0-9a-f]{64}")
CURRENCY = re.compile(r"[a-z]{3}")

#: Kinds that tell of money, and where each writes how much.
AMOUNTS = {
    "payment_intent.succeeded": ("amount_received", "amount"),
    "checkout.session.completed": ("amount_total",),
    "checkout.session.async_payment_succeeded": ("amount_total",),
    "invoice.paid": ("amount_paid",),
    "charge.succeeded": ("amount_captured", "amount"),
}
MAX_AMOUNT = 10**14


@providers.register("stripe")
class Stripe(Provider):
    name = "stripe"
    label = "Stripe"

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> SignatureState:
        header = delivery.header(SIGNATURE)
        if not header:
            return SignatureState.MISSING
        signed_at, given = _read_header(header)
        if not given:
            return SignatureState.INVALID
        # The secret counts as it stands, "whsec_" included.
        expected = [_signature(delivery.body, one, signed_at).encode() for one in secrets if one]
        if not any_match(expected, [one.encode() for one in given]):
            return SignatureState.INVALID
        return freshness(int(signed_at), now)

    def sign(
        self, body: bytes, secret: str, now: datetime, delivery_id: str, url: str = ""
    ) -> dict[str, str]:
        signed_at = str(int(now.timestamp()))
        return {SIGNATURE: f"t={signed_at},v1={_signature(body, secret, signed_at)}"}

    def delivery_key(self, delivery: Delivery, payload: Payload | None) -> str:
        key = (payload or {}).get("id")
        return key if isinstance(key, str) and usable_key(key) else body_key(delivery.body)

    def event_type(self, payload: Payload | None) -> str:
        return read_note((payload or {}).get("type"))

    def external_id(self, payload: Payload) -> str:
        """Return the id of the payment, which all kinds of events about it share."""
        record = _object(payload)
        if _kind(payload) in AMOUNTS:
            return read_identifier(_payment_id(record) or record.get("id"), "payment id")
        return read_identifier(record.get("id"), "id")

    def parties(self, payload: Payload) -> tuple[str | None, str | None]:
        return None, None

    def parse(self, payload: Payload) -> list[Event]:
        kind = _kind(payload)
        if kind not in AMOUNTS:
            return []
        record = _object(payload)
        if not record:
            raise BadPayload("stripe: data.object is missing")
        if not _is_paid(kind, record):
            return []
        currency = read_note(record.get("currency")).lower()
        if not CURRENCY.fullmatch(currency):
            raise BadPayload("stripe: currency is missing")
        person = _person(record)
        return [
            PaymentSucceeded(
                external_id=self.external_id(payload),
                occurred_at=read_instant(payload.get("created"), "created"),
                amount_cents=_amount(pick(record, *AMOUNTS[kind])),
                currency=currency,
                email=fold_email(
                    pick(record, "receipt_email", "customer_email") or person.get("email")
                ),
                phone=read_phone(person.get("phone") or record.get("customer_phone")),
                description=read_note(record.get("description")),
            )
        ]


def _signature(body: bytes, secret: str, signed_at: str) -> str:
    return hmac.new(secret.encode(), signed_at.encode() + b"." + body, hashlib.sha256).hexdigest()


def _read_header(header: str) -> tuple[str, list[str]]:
    """Return the time and the v1 signatures; ``("", [])`` when the header is malformed."""
    pairs = [part.strip().partition("=")[::2] for part in header.split(",")]
    times = [value for name, value in pairs if name == "t"]
    signatures = [value for name, value in pairs if name == "v1" and HEX.fullmatch(value)]
    if len(times) != 1 or not SECONDS.fullmatch(times[0]):
        return "", []
    return times[0], signatures


def _kind(payload: Payload) -> str:
    kind = payload.get("type")
    if not isinstance(kind, str):
        raise BadPayload("stripe: type is missing")
    return kind.strip()


def _object(payload: Payload) -> Payload:
    data = payload.get("data")
    record = data.get("object") if isinstance(data, Mapping) else None
    return record if isinstance(record, Mapping) else {}


def _payment_id(record: Payload) -> str:
    """Return the payment intent behind an object; ``""`` when it names none."""
    if record.get("object") == "payment_intent":
        return read_note(record.get("id"))
    found = record.get("payment_intent")
    if isinstance(found, Mapping):  # expanded
        found = found.get("id")
    return read_note(found)


def _is_paid(kind: str, record: Payload) -> bool:
    """Tell whether an event is the one to go by.

    A session or an invoice that names no payment intent is told again by the intent's own event,
    with the amount; only an invoice that was paid elsewhere has none.
    """
    if kind.startswith("checkout."):
        return record.get("payment_status") == "paid" and bool(_payment_id(record))
    if kind == "invoice.paid":
        return bool(_payment_id(record)) or record.get("paid_out_of_band") is True
    return kind != "charge.succeeded" or record.get("captured") is not False


def _amount(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_AMOUNT:
        return value
    raise BadPayload("stripe: amount is missing")


def _person(record: Payload) -> Payload:
    person = pick(record, "customer_details", "billing_details")
    return person if isinstance(person, Mapping) else {}
