"""What a saved query asks for, and its signature over all of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.pull_queries import (
    QueryRefused,
    canonical,
    criteria_of,
    fields_of,
    query_params,
    query_signature,
)


def sig(criteria, provider="batchdata"):
    return query_signature(provider, query_params(criteria))


def with_equity(least):
    return {
        "address": {"zip": ["90028"]},
        "valuation": {"equityCurrentEstimatedBalance": {"min": least}},
    }


def test_a_number_deep_inside_makes_another_query():
    assert sig(with_equity(100_000)) != sig(with_equity(999_999))


def test_order_of_keys_and_spelling_of_numbers_make_none():
    one = {"a": {"x": 1, "y": [1, 2.0]}, "b": True}
    other = {"b": True, "a": {"y": [1.0, 2], "x": 1.0}}

    assert sig(one) == sig(other)
    assert sig({"a": {"x": True}}) != sig({"a": {"x": 1}})
    assert sig({"a": {"x": "1"}}) != sig({"a": {"x": 1}})


def test_the_same_criteria_at_another_vendor_are_another_query():
    assert sig(with_equity(1)) != sig(with_equity(1), provider="other")


def test_paging_is_no_part_of_a_query_and_other_options_are():
    bare = {"query": "90028"}
    paged = {"searchCriteria": bare, "options": {"skip": 50, "take": 25}}
    sorted_ = {"searchCriteria": bare, "options": {"sort": {"order": "asc"}, "skip": 1}}

    assert sig(bare) == sig(paged)
    assert sig(bare) != sig(sorted_)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**52), 2**52) | st.text("ab\u00e9{}\"'", max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
objects = st.dictionaries(st.text("abc", min_size=1, max_size=3), json_values, min_size=1)


def told(value):
    """Return *value* so that Python sees the differences that JSON has: True is not 1."""
    return json.dumps(value, sort_keys=True)


@given(objects, objects)
def test_two_queries_have_one_signature_only_if_they_ask_the_same(one, other):
    assert (sig(one) == sig(other)) == (told(query_params(one)) == told(query_params(other)))


@given(objects)
def test_what_was_stored_as_json_signs_the_same(criteria):
    params = query_params(criteria)

    assert query_signature("v", json.loads(json.dumps(params))) == query_signature("v", params)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), 1e300, 2**64, "a\x00b", {1: 2}, object(), {"a": {"b\x00": 1}}],
)
def test_what_cannot_be_kept_is_refused(value):
    with pytest.raises(QueryRefused):
        canonical({"a": value})


FIELDS = {
    "zips": "90028 90038",
    "county": "Los Angeles",
    "state": "ca",
    "property_type": "Condominium",
    "occupied": "no",
    "min_equity": "$1,000",
    "min_value": "250000",
    "quick_lists": ["vacant", "high-equity"],
}


def test_fields_come_back_from_what_they_made():
    params = query_params(criteria_of(FIELDS, '{"demographics": {"age": {"min": 62}}}'))
    back = fields_of(params)

    assert query_params(criteria_of(back, back["raw"])) == params
    assert (back["zips"], back["state"], back["occupied"]) == ("90028 90038", "CA", "no")
    assert json.loads(back["raw"]) == {"demographics": {"age": {"min": 62}}}


@given(objects)
def test_whatever_was_saved_comes_back_through_the_form_unchanged(criteria):
    criteria = {"searchCriteria": {"query": "x", **criteria}, "options": {"sort": {"a": 1}}}
    params = query_params(criteria)
    back = fields_of(params)

    assert query_params(criteria_of(back, back["raw"])) == params


@pytest.mark.parametrize(
    "lists", [["vacant", "unheard-of"], ["owner-occupied", "not-owner-occupied"], [1], "vacant"]
)
def test_lists_that_the_form_does_not_know_stay_as_they_are(lists):
    params = query_params({"quickLists": lists, "query": "x"})
    back = fields_of(params)

    assert query_params(criteria_of(back, back["raw"])) == params


def test_what_is_written_out_wins_over_the_fields():
    made = criteria_of({"min_equity": "5"}, json.dumps(with_equity(9)))

    assert made["valuation"] == {"equityCurrentEstimatedBalance": {"min": 9}}
