"""Signature headers of SignalHouse v2 webhooks (vendor guidance: webhooks, signature section)."""

from __future__ import annotations

import hashlib
import hmac


def _digest(secret: str, timestamp_ms: int, raw: bytes) -> str:
    signed = str(timestamp_ms).encode() + b"." + raw
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def signature_headers(
    raw: bytes, *, timestamp_ms: int, secret: str, previous_secret: str | None
) -> dict[str, str]:
    """Headers of one attempt.

    While a rotated secret is in its grace period the plain header stays on the *previous*
    secret and the ``-V1`` header carries both, newest first.
    """
    digests = [_digest(key, timestamp_ms, raw) for key in (secret, previous_secret) if key]
    versioned = "".join(f",v1={digest}" for digest in digests)
    return {
        "X-SignalHouse-Timestamp": str(timestamp_ms),
        "X-SignalHouse-Signature": digests[-1],
        "X-SignalHouse-Signature-V1": f"t={timestamp_ms}{versioned}",
    }
