"""Rows of source path → transform → target: what they find, and what they say when they cannot."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.mapping import (
    MAX_ALTERNATIVES,
    MAX_PATH,
    BadMapping,
    Problem,
    Row,
    check_row,
    look_up,
    map_payload,
    read_path,
)
from integrations.models import FieldMapping
from integrations.models.mapping import FIELD_TRANSFORMS
from integrations.modules import MODULES
from integrations.providers import BadPayload, providers
from integrations.transforms import TRANSFORMS

MOMENT = datetime(2026, 11, 20, 18, 40, tzinfo=UTC)
PAYLOAD = {
    "type": "sms",
    "metaData": {"Message": {"senderPhoneNumber": "2025550142", "tags": ["a", {"b": 3}]}},
    "from": "+12025550143",
    "a.b": {"c|d": "odd"},
    "blank": "  ",
    "null": None,
    "0": "zero",
}


# --- paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("type", "sms"),
        (" type ", "sms"),
        ("metaData.Message.senderPhoneNumber", "2025550142"),
        ("metaData.Message.senderPhoneNumber|from", "2025550142"),
        ("metaData.nothing|from", "+12025550143"),
        ("null | from", "+12025550143"),
        ("metaData.Message.tags[0]", "a"),
        ("metaData.Message.tags.0", "a"),
        ("metaData.Message.tags[1].b", 3),
        ("metaData.Message.tags[-1].b", 3),
        ("metaData.Message.tags[7]", None),
        ("metaData.Message.tags.b", None),
        ("type.deeper", None),
        ("0", "zero"),
        ('["a.b"]["c|d"]', "odd"),
        ('nothing|["a.b"]["c|d"]', "odd"),
        ("", None),
    ],
)
def test_a_path_finds_the_first_alternative_that_is_something(path, value):
    assert look_up(PAYLOAD, path) == value


@pytest.mark.parametrize(
    "path",
    [
        "a..b", ".a", "a.", "a|", "|a", "a||b", "a[", "a[x]", "a]b", 'a["b', "a[0", " ", "[999999]",
        "a" * (MAX_PATH + 1), "|".join("a" * (MAX_ALTERNATIVES + 1)), ".".join("a" * 33),
    ],
)  # fmt: skip
def test_what_is_no_path_is_refused_with_words(path):
    with pytest.raises(BadMapping, match=r"path|quotation"):
        read_path(path)


# --- transforms ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transform", "given", "becomes"),
    [
        ("e164", "(202) 555-0142", "+12025550142"),
        ("e164", 12025550142, "+12025550142"),
        ("e164", "72727", "72727"),
        ("digits11", "+1 202 555 0142", "12025550142"),
        ("strip_blank", "  Yes \n", "Yes"),
        ("strip_blank", 5, "5"),
        ("epoch_ms", 1795200000000, MOMENT),
        ("epoch_ms", "1795200000000", MOMENT),
        ("epoch_s", 1795200000, MOMENT),
        ("epoch_s", 1795200000.0, MOMENT),
        ("naive_utc", "2026-11-20 18:40:00", MOMENT),
        ("naive_utc", "2026-11-20T13:40:00-05:00", MOMENT),
        ("iso", "2026-11-20T18:40:00Z", MOMENT),
        ("iso", "2026-11-20T13:40:00-05:00", MOMENT),
        ("yes_no", "Yes", True),
        ("yes_no", 0, False),
        ("yes_no", True, True),
        ("yes_no", "off", False),
        ("money", "$1,234.50", 123450),
        ("money", 12, 1200),
        ("money", 12.5, 1250),
        ("money", 0.1, 10),
        ("money", "(12.00)", -1200),
        ("money", "-$0.05", -5),
        ("percent", 95.48, 9548),
        ("percent", "95.48 %", 9548),
        ("percent", "0.005", 1),
        ("percent", 5, 500),
        ("int", "1,990", 1990),
        ("int", 5.0, 5),
        ("int", "-3", -3),
        ("csv_list", " hot, seller ,,", ("hot", "seller")),
        ("csv_list", ["hot", 5, ""], ("hot", "5")),
        ("lower", " USD ", "usd"),
    ],
)
def test_a_transform_reads_what_senders_write(transform, given, becomes):
    assert TRANSFORMS[transform].read(given) == becomes


@pytest.mark.parametrize(
    ("transform", "given"),
    [
        ("e164", "12"),
        ("e164", ["+12025550142"]),
        ("digits11", "+442071838750"),
        ("strip_blank", {}),
        ("strip_blank", True),
        ("epoch_ms", "soon"),
        ("epoch_ms", 10**15),
        ("epoch_s", 1795200000000),
        ("epoch_s", -5),
        ("naive_utc", "20 November"),
        ("iso", "2026-11-20T18:40:00"),
        ("iso", "0001-01-01T00:00:00+14:00"),
        ("yes_no", "maybe"),
        ("yes_no", 2),
        ("money", "12.345"),
        ("money", "twelve"),
        ("money", ""),
        ("money", float("nan")),
        ("percent", "5 of 10"),
        ("int", "5.5"),
        ("int", True),
        ("int", 10**30),
        ("int", "."),
        ("int", "1,99"),
        ("csv_list", {"a": 1}),
        ("csv_list", [[1]]),
        ("lower", None),
    ],
)
def test_a_transform_refuses_what_it_cannot_read(transform, given):
    with pytest.raises(BadPayload):
        TRANSFORMS[transform].read(given)


def test_the_transforms_are_exactly_those_of_the_mapping_format():
    assert list(TRANSFORMS) == [
        "e164", "digits11", "strip_blank", "epoch_ms", "epoch_s", "naive_utc", "iso", "yes_no",
        "money", "percent", "int", "csv_list", "lower",
    ]  # fmt: skip


def test_the_table_takes_the_same_transforms():
    assert set(FIELD_TRANSFORMS) == {"", *TRANSFORMS}
    assert FieldMapping._meta.get_field("source_path").max_length == MAX_PATH


# --- rows ---------------------------------------------------------------------------------------

READERS = MODULES["message.received"].readers


def mapped(*rows: Row, needed=()):
    return map_payload(PAYLOAD, rows, READERS, needed)


def test_a_row_gives_its_value_and_says_where_it_stood():
    result = mapped(Row(target="sender", source="nothing|from", transform="e164"))

    assert result.values == {"sender": "+12025550143"}
    assert result.found_at == {"sender": "from"}
    assert result.problems == ()


def test_a_default_stands_in_and_passes_the_transform():
    result = mapped(Row(target="sender", source="nothing", transform="e164", default="2025550100"))

    assert (result.values, result.found_at) == ({"sender": "+12025550100"}, {"sender": ""})


def test_a_blank_text_is_nothing_once_it_is_transformed_and_a_text_when_not():
    by_transform = Row(target="body", source="blank|type", transform="strip_blank")

    assert mapped(by_transform).values == {"body": "sms"}
    assert mapped(Row(target="body", source="blank|type")).values == {"body": "  "}


def test_a_missing_optional_value_is_no_problem_and_a_required_one_says_what_is_there():
    assert mapped(Row(target="body", source="nothing")) == mapped()

    (problem,) = mapped(Row(target="body", source="metaData.Mesage.x", required=True)).problems

    assert problem == Problem(
        row=0,
        target="body",
        what="nothing found",
        where="metaData.Mesage.x",
        do="In metaData there is: Message. Correct the path, or give a default.",
        is_fatal=True,
    )


def test_a_needed_target_without_a_row_is_a_problem_of_the_mapping():
    result = mapped(Row(target="sender", source="from"), needed=("sender", "recipient"))

    assert [(p.row, p.target, p.is_fatal) for p in result.problems] == [(None, "recipient", True)]
    assert result.fatal is result.problems[0]


def test_a_value_that_does_not_fit_is_quoted_and_stops_only_what_needs_it():
    row = Row(target="occurred_at", source="type", transform="iso")

    (problem,) = mapped(row).problems

    assert "“sms” is not a time with its zone" in problem.what
    assert (problem.where, problem.is_fatal) == ("type", False)
    assert mapped(Row(target="occurred_at", source="type", required=True)).fatal


@pytest.mark.parametrize(
    "row",
    [
        Row(target="nowhere", source="type"),
        Row(target="body", source="a..b"),
        Row(target="body", source="type", transform="rot13"),
    ],
)
def test_a_row_that_cannot_be_used_is_a_problem_of_its_own(row):
    assert len(mapped(row, Row(target="media", source="nothing")).problems) == 1


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (Row(target="body"), "Give a source path or a default"),
        (Row(target="body", source="a..b"), "no path"),
        (Row(target="body", source="a", transform="rot13"), "no transform"),
        (Row(target="sender", source="a", transform="e164", default="x@y"), "default does not fit"),
        (Row(target="sender", source="a", default="12"), "default does not fit"),
    ],
)
def test_a_row_is_checked_before_it_is_saved(row, words):
    with pytest.raises(BadMapping, match=words):
        check_row(row, READERS["sender"])


# --- whatever comes -----------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**4200, 10**4200 + 1)
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from(["", " ", "\0", "\ud800", "+12025550142", "1e400", "0001-01-01", "()", "%"])
    | st.datetimes().map(str)
)
NAMES = st.sampled_from(["a", "b", "event", "type", "0", "-1", "a.b", "", "\ud800"]) | st.text(
    max_size=8
)
PAYLOADS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4)
)
PATHS = st.text(max_size=60) | st.lists(
    st.sampled_from(["a", "b", ".", "|", "[0]", "[-1]", '["a.b"]', "[", "]", '"', " ", "event"]),
    max_size=12,
).map("".join)
ROWS = st.builds(
    Row,
    target=st.sampled_from(sorted({t.name for m in MODULES.values() for t in m.targets} | {"x"})),
    source=PATHS,
    transform=st.sampled_from(["", "rot13", *TRANSFORMS]),
    default=st.text(max_size=12),
    required=st.booleans(),
)
THOROUGH = settings(max_examples=400, deadline=None, derandomize=True, database=None)


@given(PAYLOADS, st.lists(ROWS, max_size=6), st.sampled_from(sorted(MODULES)))
@THOROUGH
def test_mapping_never_raises_and_gives_only_what_can_be_stored(payload, rows, module):
    kind = MODULES[module]

    result = map_payload(payload, rows, kind.readers, kind.needed)

    for value in result.values.values():
        for text in value if isinstance(value, tuple) else (value,):
            assert isinstance(text, str | int | datetime)
            if isinstance(text, str):
                assert "\0" not in text
                text.encode()
            if isinstance(text, datetime):
                assert text.utcoffset() is not None
    for problem in result.problems:
        assert problem.what
        assert problem.do
        str(problem).encode()
    missing = set(kind.needed) - set(result.values)
    assert bool(result.fatal) >= bool(missing)


@given(PATHS)
@THOROUGH
def test_reading_a_path_raises_nothing_but_its_own_error(path):
    try:
        assert read_path(path)
    except BadMapping as error:
        str(error).encode("utf-8", "replace")


@given(PAYLOADS, st.sampled_from(sorted(TRANSFORMS)))
@THOROUGH
def test_a_transform_raises_nothing_but_its_own_error(value, transform):
    with suppress(BadPayload):
        TRANSFORMS[transform].read(value)


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "event_path": PATHS | SCALARS,
        "events": st.dictionaries(NAMES, st.sampled_from([*MODULES, "x"]), max_size=3) | SCALARS,
        "default_event": st.sampled_from([*MODULES, "x"]) | SCALARS,
        "id_path": PATHS | SCALARS,
        "mappings": SCALARS
        | st.lists(
            st.builds(
                lambda row, module: {**vars(row), "module": module},
                ROWS,
                st.sampled_from(sorted(MODULES)),
            )
            | SCALARS,
            max_size=6,
        ),
    },
)


@given(st.dictionaries(NAMES, PAYLOADS, max_size=4), SETTINGS)
@THOROUGH
def test_the_custom_provider_survives_any_settings(payload, config):
    provider = providers["custom"](config)

    explained = provider.explain(payload)

    assert len(provider.event_type(payload)) <= 200
    assert bool(explained.events) is (bool(explained.module) and not explained.refusal)
    provider.lane(payload, "key")
    with pytest.raises(BadPayload) if explained.refusal else nullcontext():
        assert provider.parse(payload) == list(explained.events)
