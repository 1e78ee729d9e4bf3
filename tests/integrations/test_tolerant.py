import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.tolerant import parse_json


@pytest.mark.parametrize(
    ("raw", "payload"),
    [
        (b"{}", {}),
        (b'{"a": [1, 2.5, "x", null, true]}', {"a": [1, 2.5, "x", None, True]}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b' \n{"a": 1}\r\n', {"a": 1}),
        ('{"a": "\U0001f600"}'.encode(), {"a": "\U0001f600"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a": "\\\\u0000 \\\\ud800"}', {"a": "\\u0000 \\ud800"}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"a": 1e308, "b": -0.0, "c": 0.000}', {"a": 1e308, "b": 0.0, "c": 0.0}),
        (b'{"a": ' + b"9" * 4300 + b"}", {"a": int("9" * 4300)}),
        (b'{"a": "[[[[{{{{,,,,\\"[[[[\\\\"}', {"a": '[[[[{{{{,,,,"[[[[\\'}),
        (b'{"a": "' + b"[" * 100_000 + b'"}', {"a": "[" * 100_000}),
        (b'{"a": "' + b'\\",[' * 30_000 + b'"}', {"a": '",[' * 30_000}),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_json_both_sides_agree_on_is_clean(raw, payload):
    parsed = parse_json(raw)

    assert (parsed.state, parsed.reason) == ("clean", "")
    assert parsed.payload == parsed.storable == payload


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": "x\\u0000y"}',
        b'{"\\u0000": 1}',
        b'{"a": "\\\\\\u0000"}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\uDC00\\uD800"}',
        b'{"a": "\\ud800\\ud83d\\ude00"}',
        b'{"a": "\\ud800", "a": "hidden from Python only"}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e400}',
        b'{"a": -1e131072}',
        b'{"a": 1e1000000}',
        b'{"a": 1e-400}',
    ],
)
def test_what_only_python_reads_is_kept_for_parsing_but_not_for_the_column(raw):
    parsed = parse_json(raw)

    assert parsed.state == "unstorable"
    assert parsed.reason
    assert parsed.payload
    assert parsed.storable is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"\xef\xbb\xbf",
        b"null",
        b'"text"',
        b"12",
        b"[]",
        b'[{"a": 1}]',
        b"{'a': 1}",
        b'{"a": 1} x',
        b'{"a": 1',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "x\x00y"}',
        b"\x00",
        '{"a": 1}'.encode("utf-16"),
        b"a=1&b=2",
        b'{"a": ' + b"9" * 5_000 + b"}",
        b'{"a": ' + b"[" * 32 + b"]" * 32 + b"}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 1_000_000,
        b"}" * 1_000_000,
        b'{"a": [' + b",".join([b"{}"] * 20_000) + b"]}",
        b'"' * 200_000,
        b'\\"' * 200_000,
        b'{"a": ' + b'"\\' * 100_000,
    ],
    ids=lambda raw: repr(raw)[:40],
)
def test_everything_else_is_malformed_and_says_why(raw):
    parsed = parse_json(raw)

    assert (parsed.state, parsed.payload, parsed.storable) == ("malformed", None, None)
    assert parsed.reason


def test_depth_and_nodes_have_exact_limits():
    nested = b'{"a": ' + b"[" * 31 + b"]" * 31 + b"}"
    wide = b'{"a": [' + b",".join([b"1"] * 19_999) + b"]}"

    assert parse_json(nested).state == "clean"
    assert parse_json(nested, max_depth=31).state == "malformed"
    assert parse_json(wide).state == "clean"
    assert parse_json(wide, max_nodes=19_999).state == "malformed"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": [' + b",".join([b"{}"] * 1_000_000) + b"]}",
        b"[" * 1_000_000 + b"]" * 1_000_000,
        b'{"a": [' + b",".join([b'"x"'] * 300_000) + b"]}",
        b'{"a": "' + b"\\ud800" * 40_000 + b'"}',
    ],
    ids=lambda raw: repr(raw)[:40],
)
def test_hostile_bodies_cost_little(raw):
    started = time.process_time()

    parse_json(raw)

    assert time.process_time() - started < 0.2


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None, derandomize=True, database=None)
def test_no_bytes_at_all_raise(raw):
    parse_json(raw)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_what_is_clean_can_be_written_back(value):
    raw = json.dumps({"a": value}).encode()

    parsed = parse_json(raw)

    assert parsed.state != "malformed" or "deeper" in parsed.reason
    if parsed.state == "clean":
        again = json.dumps(parsed.payload, ensure_ascii=False, allow_nan=False)
        assert "\0" not in again.encode().decode()
