"""Every provider's door, thrown at: mutated payloads rightly signed, odd headers, paths, methods.

Seeded: ``FAIRLEAD_SEED`` repeats a run, ``FAIRLEAD_FUZZ=long`` makes it twenty times as long.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import random
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.test import Client

from integrations import webhooks
from integrations.actions import create_endpoint
from integrations.models import Integration, WebhookEvent, WebhookReceipt, WebhookWork
from integrations.providers import providers
from tests import invariants
from tests.conftest import drain

pytestmark = pytest.mark.django_db(transaction=True)

FIXTURES = Path(__file__).parent.parent / "fixtures"
SEED = int(os.environ.get("FAIRLEAD_SEED") or random.randrange(10**6))
CASES = 4000 if os.environ.get("FAIRLEAD_FUZZ") == "long" else 800
#: When the recorded payloads say they were made: some senders' signatures are as old as these.
NOW = datetime(2026, 11, 20, 18, 41, tzinfo=UTC)
#: What a webhook may be answered; the busy status is none of it while the database is there.
DOCUMENTED = {200, 202, 400, 401, 404, 405, 410, 411, 413, 415, 429}
TAKEN = {200, 202}

VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    10**30,
    -(10**16),
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud800",
    "\U0001f4a3" * 300,
    "x" * 5000,
    "0" * 400,
    "+",
    "+1202555",
    "\u0661\u0662\u0663",
    "2026-13-45T99:99:99Z",
    "9999-12-31T23:59:59.999999999+99:99",
    "-1",
    "1e9999",
    "STOP",
    "<script>alert(1)</script>",
    "'; DROP TABLE leads; --",
    "\u202etxt.exe",
    "\x1b[31m",
    "../../etc/passwd",
    {},
    [],
    [[[]]],
    {"": ""},
    {"id": {"id": {"id": 1}}},
    ["+12025550142", None, 5],
    {"$ne": 1},
    "N/A",
    "null",
    "undefined",
]
#: Bodies that no mutation of a good one would find.
BODIES = [
    b"",
    b" ",
    b"null",
    b"0",
    b"[]",
    b"{}",
    b'"x"',
    b"\xff\xfe\x00{",
    b"\xef\xbb\xbf{}",
    b"{" * 500,
    b'{"a":' * 3000 + b"1" + b"}" * 3000,
    b"[" + b"{}," * 30_000 + b"{}]",
    b'{"n": ' + b"9" * 5000 + b"}",
    b'{"n": 1e131072}',
    b'{"n": NaN, "m": -Infinity}',
    b'{"a": "\\u0000", "b": "\\ud800"}',
    b'{"' + b"k" * 70_000 + b'": 1}',
    b"a=1&a=2&%00=%ff&=&&",
    b"a" * 300_000,
]
CONTENT_TYPES = [
    "",
    "text/plain",
    "application/json",
    "application/json; charset=utf-16",
    "application/json;",
    'APPLICATION/JSON ; x="y;z"',
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/xml",
    "*/*",
    "\u00e9",
    "a" * 3000,
]


@dataclass(frozen=True)
class Recorded:
    """A payload as it was recorded: an object or form pairs, and its headers."""

    body: Any
    content_type: str
    headers: dict[str, str]


def recorded(name: str) -> list[Recorded]:
    found = []
    for path in sorted((FIXTURES / name).glob("*.json")):
        fixture = json.loads(path.read_text())
        body = fixture.get("body") or fixture.get("form") or fixture.get("raw")
        if "raw_base64" in fixture:
            body = base64.b64decode(fixture["raw_base64"])
        kind = fixture.get("content_type", "application/json")
        if body is not None:
            found.append(Recorded(body, kind, dict(fixture.get("headers", {}))))
    return found


# --- mutations --------------------------------------------------------------------------------


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) inside a payload."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        found.append((value, key))
        if isinstance(inner, dict | list):
            found += places(inner)
    return found


def mutate(chance: random.Random, body: Any) -> Any:
    """Change a payload in one to four places."""
    body = copy.deepcopy(body)
    for _ in range(chance.randint(1, 4)):
        if not (spots := places(body)):
            return body
        holder, key = chance.choice(spots)
        match chance.randrange(6):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[str(chance.choice(VALUES))[:50]] = holder.pop(key)
            case 2:
                holder[key] = [holder[key]]
            case 3:
                holder[key] = {"value": holder[key]}
            case _:
                holder[key] = copy.deepcopy(chance.choice(VALUES))
    return body


def spoil(chance: random.Random, raw: bytes) -> bytes:
    """Change bytes."""
    at = chance.randrange(len(raw) + 1)
    match chance.randrange(6):
        case 0:
            return raw[:at]
        case 1:
            return raw[:at] + bytes([chance.randrange(256)]) + raw[at:]
        case 2:
            return raw[:at] + chance.randbytes(chance.randint(1, 20)) + raw[at + 5 :]
        case 3:
            return raw + raw
        case 4:
            return raw.decode("utf-8", "replace").encode("utf-16")
        case _:
            return b"\xef\xbb\xbf" + raw


def written(body: Any, content_type: str) -> bytes:
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode("utf-8", "replace")
    if "form" in content_type and isinstance(body, list):
        pairs = [pair for pair in body if isinstance(pair, list) and len(pair) == 2]
        flat = [(str(key), str(value)) for key, value in pairs]
        return urlencode(flat, errors="replace").encode()
    return json.dumps(body).encode()


def a_body(chance: random.Random, known: list[Recorded]) -> tuple[bytes, str, dict[str, str]]:
    one = chance.choice(known)
    roll = chance.random()
    if roll < 0.06:
        return chance.choice(BODIES), one.content_type, one.headers
    body = one.body
    if not isinstance(body, bytes | str) and roll < 0.75:
        body = mutate(chance, body)
    raw = written(body, one.content_type)
    return (spoil(chance, raw) if roll > 0.85 else raw), one.content_type, one.headers


# --- the doors --------------------------------------------------------------------------------


@dataclass
class Door:
    """One provider's webhook URL, and how its vendor would sign."""

    name: str
    path: str
    secret: str
    integration: Integration


@pytest.fixture
def door(committed_office, monkeypatch):
    monkeypatch.setattr(webhooks, "timezone", SimpleNamespace(now=lambda: NOW))
    key = Ed25519PrivateKey.generate()
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def make(name: str) -> Door:
        ours = providers[name].has_vendor_key
        secret = key.private_bytes_raw().hex() if ours else "fuzz-secret-0001"
        with committed_office.inside():
            integration = Integration.objects.create(
                provider=name,
                name=name,
                secret=secret,
                settings={"public_keys": [pem.decode()]} if ours else {},
            )
            endpoint = create_endpoint(integration)
        return Door(name, f"/hooks/{name}/{endpoint.token}/", secret, integration)

    return make


def headers_of(chance: random.Random, door: Door, raw: bytes, recorded: dict[str, str]) -> dict:
    """Sign rightly, mostly; sometimes spoil one header or add a hostile one."""
    url = f"{webhooks.settings.BASE_URL}{door.path}"
    delivery = f"fuzz-{chance.randrange(10**12)}"
    signed = providers[door.name]().sign(raw, door.secret, NOW, delivery, url)
    extra = {k: v for k, v in recorded.items() if "signature" not in k.lower()}
    headers = {**extra, **signed}
    roll = chance.random()
    if roll < 0.08 and headers:
        headers[chance.choice(sorted(headers))] = chance.choice(
            ["", "N/A", "x" * 9000, "\u00ff", "0", "v1," + "A" * 44, "t=,v1=", "\t"]
        )
    elif roll < 0.16:
        name = chance.choice(
            [
                "Content-Encoding",
                "Transfer-Encoding",
                "X-Forwarded-For",
                "Authorization",
                "Expect",
                "X-Forwarded-Host",
                "Cookie",
                "X-HTTP-Method-Override",
            ]
        )
        headers[name] = chance.choice(["gzip", "chunked", "127.0.0.1", "a" * 20_000, "", "\x7f"])
    return headers


def address_of(chance: random.Random, door: Door) -> str:
    """The right address, mostly."""
    roll = chance.random()
    if roll > 0.08:
        return door.path
    other = chance.choice([name for name in providers if name != door.name])
    return chance.choice(
        [
            door.path.rstrip("/"),
            door.path + "A" * 43 + "/",
            door.path + "%00/",
            door.path + "?x=" + "y" * 500,
            door.path.replace(door.name, other),
            door.path[:-2] + "/",
            door.path.upper(),
            f"/hooks/{door.name}/",
            f"/hooks//{door.path}",
            f"/hooks/{door.name}/..%2f..%2fadmin/",
            "/hooks/\U0001f4a3/" + "x" * 30 + "/",
        ]
    )


@pytest.mark.parametrize("name", sorted(providers))
def test_a_door_is_never_broken(door, committed_office, name):
    print(f"FAIRLEAD_SEED={SEED}")
    chance = random.Random(f"{SEED} {name}")
    client = Client(raise_request_exception=False)
    opened, known = door(name), recorded(name)
    answers: Counter[int] = Counter()
    kept: list[bytes] = []

    for _ in range(CASES):
        raw, kind, extra = a_body(chance, known)
        if chance.random() < 0.05:
            kind = chance.choice(CONTENT_TYPES)
        method = "POST" if chance.random() > 0.03 else chance.choice(["GET", "PUT", "DELETE"])
        path = address_of(chance, opened)
        answer = client.generic(
            method,
            path,
            raw,
            content_type=kind,
            headers=headers_of(chance, opened, raw, extra),
        )
        answers[answer.status_code] += 1
        assert answer.status_code in DOCUMENTED, (answer.status_code, path, kind, raw[:500])
        if answer.status_code in TAKEN:
            assert method == "POST"
            kept.append(raw)

    with committed_office.inside():
        stored = {bytes(body) for body in WebhookEvent.objects.values_list("body", flat=True)}
        receipts = WebhookReceipt.objects.count()
    assert set(kept) <= stored
    assert len(stored) <= receipts <= len(kept)
    assert sum(answers[status] for status in TAKEN) > CASES / 2, answers
    processed_or_refused_in_words(committed_office)
    invariants.assert_sound()


def processed_or_refused_in_words(office):
    """What was taken is done, or withheld because it makes no sense: no handler fell over it."""
    drain()
    with office.inside():
        fates = Counter(WebhookWork.objects.values_list("state", flat=True))
        faults = [
            error
            for error in WebhookWork.objects.exclude(last_error="").values_list(
                "last_error", flat=True
            )
            if error.partition(":")[0].endswith(("Error", "Exception", "DoesNotExist"))
        ]
    assert faults == []
    assert set(fates) <= {"done", "quarantined", "dead"}, fates
    assert fates["done"] > 0
