"""Signatures of Twilio and of those compatible with it.

The scheme signs the public URL and the decoded form: each key with its values, sorted, without
anything between them. It holds no time, so what stops a replay is the receipt.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import parse_qsl

from integrations.forms import form_pairs, grouped

SIGNATURE = "X-Twilio-Signature"
#: ``key=<name>,algorithm=HMAC_SHA256`` announces the newer mode with shared keys.
SETTINGS = "X-Twilio-Webhooks-Signature-Settings"
#: Query parameter with the hex SHA-256 of a body that is no form; the URL's signature covers it.
BODY_HASH = "bodySHA256"

ALGORITHMS = {"": "sha1", "HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
PORTS = {"https": 443, "http": 80}
#: Host (an IPv6 address has colons of its own) and port, before path and query.
PLACE = re.compile(r"(?P<host>\[[^\]/?#]*\]|[^:/?#]+)(?::(?P<port>[0-9]+))?(?=[/?#]|$)")


def algorithm_of(settings: str) -> str:
    """Return the hash that a settings header announces; ``""`` for one we do not know."""
    pairs = [part.strip().partition("=")[::2] for part in settings.split(",")]
    named = [value.strip().upper() for name, value in pairs if name.strip() == "algorithm"]
    return ALGORITHMS.get(named[0] if named else "", "")


def signed_texts(url: str, body: bytes) -> Iterator[bytes]:
    """Yield what a signature of *body*, posted to *url*, may have been made over."""
    fields = _form_text(body)
    for spelling in spellings(url):
        start = _bytes(spelling)
        if _body_hash_is_right(url, body):
            yield start
        if fields is not None:
            yield start + fields


def form_signature(url: str, body: bytes, secret: str) -> str:
    """Return the signature that the vendor would send with *body*."""
    signed = next(signed_texts(url, body), b"")
    return base64_hmac(signed, secret, "sha1")


def base64_hmac(signed: bytes, secret: str, algorithm: str) -> str:
    """Return the base64 HMAC of *signed*."""
    return b64encode(hmac.new(_bytes(secret), signed, algorithm).digest()).decode()


def hex_hmac(signed: bytes, secret: str) -> str:
    """Return the hex HMAC-SHA1 of *signed*."""
    return hmac.new(_bytes(secret), signed, hashlib.sha1).hexdigest()


def spellings(url: str) -> list[str]:
    """Return *url* as called, and with and without its port: senders do not agree on it."""
    scheme, separator, rest = url.partition("://")
    place = PLACE.match(rest)
    port = PORTS.get(scheme.lower())
    if not separator or not place or not port:
        return [url]
    tail = rest[place.end() :]
    bare = f"{scheme}://{place['host']}{tail}"
    ported = f"{scheme}://{place['host']}:{place['port'] or port}{tail}"
    return list(dict.fromkeys([url, bare, ported]))


def _form_text(body: bytes) -> bytes | None:
    """Return keys and values as they are signed; None where the body is no form.

    A form without fields is none: the URL's own signature would do for it.
    """
    try:
        pairs = form_pairs(body)
    except ValueError:
        return None
    if not pairs:
        return None
    signed = "".join(
        key + value for key, values in sorted(grouped(pairs).items()) for value in sorted(values)
    )
    return signed.encode("utf-8", "surrogateescape")


def _body_hash_is_right(url: str, body: bytes) -> bool:
    query = url.partition("#")[0].partition("?")[2]
    given = [value for key, value in parse_qsl(query) if key == BODY_HASH]
    actual = hashlib.sha256(body).hexdigest()
    return len(given) == 1 and hmac.compare_digest(_bytes(given[0].lower()), actual.encode())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
