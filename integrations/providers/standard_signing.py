"""Signatures of Standard Webhooks 1.0.0, for every provider whose senders sign that way."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import datetime

from integrations.payloads import Payload
from integrations.providers.base import (
    Delivery,
    Provider,
    SignatureState,
    any_match,
    body_key,
    freshness,
    usable_key,
)

ID = "webhook-id"  # the same on every retry; signed
TIMESTAMP = "webhook-timestamp"  # of this attempt, in seconds
SIGNATURE = "webhook-signature"  # "v1,<base64>", several divided by blanks
SECRET_PREFIX = "whsec_"

SECONDS = re.compile(r"[0-9]{1,12}")


class StandardSigned(Provider):
    """A provider whose deliveries carry the three headers of Standard Webhooks."""

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> SignatureState:
        delivery_id, signed_at = delivery.header(ID), delivery.header(TIMESTAMP)
        signatures = delivery.header(SIGNATURE).split()
        if not delivery_id or not signed_at or not signatures:
            return SignatureState.MISSING
        if not SECONDS.fullmatch(signed_at):
            return SignatureState.INVALID
        given = [one.encode("utf-8", "replace") for one in signatures if one.startswith("v1,")]
        expected = [
            _signature(delivery.body, secret, delivery_id, signed_at).encode()
            for secret in secrets
            if _key(secret)
        ]
        if not any_match(expected, given):
            return SignatureState.INVALID
        return freshness(int(signed_at), now)

    def sign(
        self, body: bytes, secret: str, now: datetime, delivery_id: str, url: str = ""
    ) -> dict[str, str]:
        signed_at = str(int(now.timestamp()))
        return {
            ID: delivery_id,
            TIMESTAMP: signed_at,
            SIGNATURE: _signature(body, secret, delivery_id, signed_at),
        }

    def delivery_key(self, delivery: Delivery, payload: Payload | None) -> str:
        key = delivery.header(ID)
        return key if usable_key(key) else body_key(delivery.body)


def _key(secret: str) -> bytes:
    """Return the signing key: what follows ``whsec_`` in base64, else the text as it stands."""
    text = secret.strip().removeprefix(SECRET_PREFIX)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode()


def _signature(body: bytes, secret: str, delivery_id: str, signed_at: str) -> str:
    signed = f"{delivery_id}.{signed_at}.".encode("utf-8", "replace") + body
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
