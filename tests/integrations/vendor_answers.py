"""Recorded answers of data vendors, odd ones, and what must hold of whatever is read from them."""

from __future__ import annotations

import copy
import json
import random
from contextlib import suppress
from dataclasses import fields, is_dataclass
from decimal import Decimal
from pathlib import Path

from integrations.providers.data import MAX_CODE, MAX_ERROR, MAX_REQUEST_ID
from integrations.tolerant import parse_json
from leads.models import Contact, ContactPoint, Lead, Property
from leads.models.record import Business

FIXTURES = Path(__file__).parent.parent / "fixtures"

#: Values that no vendor documents and any may send.
ODD = [
    None, True, 0, -1, 1.5, 10**30, 1e308, float("inf"), float("nan"), "", " ", "\0", "a\0b",
    "\ud800", "x" * 5_000, "+12025550142", "9" * 400, [], [[]], {}, {"a": {"b": 1}}, [None, 5],
    "\u202etxt", "2026-13-45", "-", "1e9999", {"": ""}, ["x"], False,
]  # fmt: skip
BODIES = [
    b"", b" ", b"null", b"[]", b"{}", b'"x"', b"\xff\xfe", b"<html>no</html>", b"{" * 500,
    b'{"a":' * 3_000 + b"1" + b"}" * 3_000, b'{"n": NaN}', b'{"n": 1e99999}',
    b'{"results": null, "result": 5, "Records": {}, "person": []}',
    b'{"results": {"meta": {"results": {"resultsFound": "5"}}, "properties": [1, null]}}',
    b'{"result": {"data": [{"input": {"requestId": "lead_1"}, "persons": [null, 5, []]}]}}',
    b'{"Records": [{"RecordID": "lead_1"}], "TransmissionResults": ["GE05"]}',
    b'{"person": {"organization": {"sic_codes": [[]]}}, "request_id": 1.5}',
    b'{"email": "a@example.com", "verification_status": ["verified"], "catch_all": {}}',
]  # fmt: skip
STATUSES = [0, 100, 200, 201, 204, 301, 400, 401, 402, 403, 404, 410, 418, 422, 429, 500, 503, 599]
HEADERS = [{}, {"Retry-After": "5"}, {"retry-after": "soon"}, {"retry-after": "9" * 40}]

WIDTHS = {
    model: {f.name: f.max_length for f in model._meta.get_fields() if getattr(f, "max_length", 0)}
    for model in (Lead, Property, Business, Contact, ContactPoint)
}
MONEY = {"property_value", "estimated_equity", "annual_revenue", "value", "equity", "mortgage"}


def recorded(vendor: str, name: str) -> tuple[int, bytes]:
    """Status and body of a recorded answer."""
    answer = json.loads((FIXTURES / vendor / "api" / f"{name}.json").read_text())
    return answer["status"], json.dumps(answer["body"]).encode()


def places(value, path=()):
    """Every path into a JSON value."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield (*path, key)
        if isinstance(value[key], dict | list):
            yield from places(value[key], (*path, key))


def changed(whole, *changes):
    """A copy with values put in at paths, those that are still there."""
    mutated = copy.deepcopy(whole)
    for path, value in changes:
        place = mutated
        with suppress(TypeError, KeyError, IndexError):
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = copy.deepcopy(value)
    return json.dumps(mutated).encode()


def mutations(body: bytes, seed: int, pairs: int):
    """The body with every value replaced by every odd one, with two replaced, and cut short."""
    chance = random.Random(seed)
    whole = json.loads(body)
    paths = list(places(whole))
    for path in paths:
        for value in ODD:
            yield changed(whole, (path, value))
    for _ in range(pairs):
        first, second = chance.choice(paths), chance.choice(paths)
        yield changed(whole, (first, chance.choice(ODD)), (second, chance.choice(ODD)))
    for length in range(0, len(body), max(1, len(body) // 40)):
        yield body[:length]


def check(found) -> None:
    """Assert that whatever was read can be stored: widths, ranges, kinds, jsonb."""
    assert is_dataclass(found)
    assert found.kind in (
        "ok", "hit", "miss", "pending", "throttled", "refused", "balance", "failed", "ambiguous",
    )  # fmt: skip
    assert len(found.error) <= MAX_ERROR
    assert (found.error == "") is (found.kind in ("ok", "hit", "miss", "pending"))
    assert found.retry_after_s is None or 0 <= found.retry_after_s <= 3_600
    assert found.retry_after_s is None or found.kind in ("throttled", "pending")
    for record in getattr(found, "records", ()):
        assert 1 <= len(record.vendor_id) <= 120
        check_facts(record)
    if hasattr(found, "persons"):
        check_facts(found)
    if hasattr(found, "verdict"):
        assert len(found.code) <= MAX_CODE
        assert len(found.carrier) <= 80
        assert (found.verdict == "unknown") or found.kind in ("hit", "pending")
    assert len(getattr(found, "request_id", "")) <= MAX_REQUEST_ID
    units = getattr(found, "units", 0)
    assert units is None or 0 <= units <= 1_001
    for item in fields(found):
        if item.name == "raw":
            check_json(found.raw)


def check_facts(found) -> None:
    check_columns(found.fields, Lead)
    check_columns(found.property, Property)
    check_columns(found.business, Business)
    check_json(found.raw)
    for person in found.persons:
        for name in ("first_name", "last_name", "full_name", "title", "linkedin"):
            check_text(getattr(person, name), WIDTHS[Contact][name])
        for address in person.addresses:
            check_columns(address, Lead)
    for point in found.points:
        check_text(point.value, 320)
        assert point.value
        assert point.kind == "email" or point.value.startswith("+")
        check_text(point.carrier, WIDTHS[ContactPoint]["carrier"])
        assert point.score is None or 0 <= point.score <= 100
        assert point.person is None or point.person < len(found.persons)
        assert all(len(code) <= MAX_CODE for code in point.codes)


def check_columns(values, model) -> None:
    names = {field.name for field in model._meta.get_fields()}
    for name, value in values.items():
        assert name in names, name
        if isinstance(value, str):
            check_text(value, WIDTHS[model].get(name, 10_000))
            assert value, name
        elif name in MONEY:
            assert isinstance(value, int)
            assert abs(value) <= 10**13
        elif isinstance(value, float):
            field = model._meta.get_field(name)
            whole = field.max_digits - field.decimal_places
            assert abs(Decimal(str(value))) < 10**whole, name
        elif isinstance(value, dict):
            check_json(value)
        else:
            assert isinstance(value, bool) or 0 <= value <= 2**31 - 1, name


def check_text(value: str, width: int) -> None:
    assert isinstance(value, str)
    assert len(value) <= width, value
    assert value.isprintable()
    value.encode()  # no lone surrogate


def check_json(value) -> None:
    stored = json.dumps(value)
    assert "\\u0000" not in stored
    assert parse_json(json.dumps({"value": value}).encode()).state == "clean"
