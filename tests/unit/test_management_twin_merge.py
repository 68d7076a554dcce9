"""Merging, differences and times of a twin's sections. The laws are in tests/properties/test_twins.py."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.management.twin_merge import (
    change_between,
    difference,
    merged,
    metadata,
    same,
    times_merged,
    without_nulls,
)


@pytest.mark.parametrize(
    ("section", "change", "after"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
    ],
)
def test_a_change_is_a_merge_patch(section: dict[str, Any], change: dict[str, Any], after: Any) -> None:
    """RFC 7386, appendix A, as far as both are objects."""
    before = repr((section, change))
    assert merged(section, change) == after
    assert repr((section, change)) == before


def test_times_are_of_each_value_that_was_named() -> None:
    section = {"a": 1, "b": {"c": 2, "d": 3}, "e": [1, 2]}
    times = {"a": 10, "b": {"c": 10, "d": 10}, "e": 10}
    change = {"a": 1, "b": {"c": None, "x": {"y": True}}, "e": {"f": 1}, "gone": None}
    assert times_merged(times, section, change, 20) == {
        "a": 20,
        "b": {"d": 10, "x": {"y": 20}},
        "e": {"f": 20},
    }
    assert times == {"a": 10, "b": {"c": 10, "d": 10}, "e": 10}


@pytest.mark.parametrize(
    ("desired", "reported", "delta"),
    [
        ({}, {"a": 1}, {}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3, "d": 4}}, {"a": {"c": 2}}),
        ({"a": {"b": 1}}, {"a": 5}, {"a": {"b": 1}}),
        ({"a": 5}, {"a": {"b": 1}}, {"a": 5}),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}, {}),
        ({"a": [1, 2]}, {"a": [2, 1]}, {"a": [1, 2]}),
        ({"a": True}, {"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1.0}, {}),
        ({"a": {}}, {"a": {"b": 1}}, {}),
        ({"a": {}}, {}, {"a": {}}),
    ],
)
def test_the_delta_is_what_is_desired_and_not_reported(desired: Any, reported: Any, delta: Any) -> None:
    assert difference(desired, reported) == delta


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        (False, 0, False),
        (True, True, True),
        (None, None, True),
        (None, False, False),
        ("1", 1, False),
        ([1], [True], False),
        ([1], [1, 1], False),
        ({"a": [None]}, {"a": [None]}, True),
        ({"a": 1}, {"b": 1}, False),
        ({}, [], False),
    ],
)
def test_values_are_compared_as_json_has_them(one: Any, other: Any, are_same: bool) -> None:
    assert same(one, other) is are_same
    assert same(other, one) is are_same


def test_the_change_between_two_sections_leaves_alone_what_is_the_same() -> None:
    before = {"a": 1, "b": {"c": 1, "d": 2}, "e": {"f": 1}, "g": True, "h": {"x": 1}}
    after = {"a": 1, "b": {"c": 3}, "e": 5, "g": 1, "h": {"x": 1}, "i": {}}
    assert change_between(before, after) == {"b": {"d": None, "c": 3}, "e": 5, "g": 1, "i": {}}


def test_metadata_has_a_timestamp_in_the_place_of_each_value() -> None:
    section = {"color": "red", "sequence": ["R", ["G"], {"x": 1}], "at": {"x": 1, "y": {}}, "none": []}
    times = {"color": 1, "sequence": 2, "at": {"x": 3, "y": {}}, "none": 4}
    two = {"timestamp": 2}
    assert metadata(section, times) == {
        "color": {"timestamp": 1},
        "sequence": [two, [two], {"x": two}],
        "at": {"x": {"timestamp": 3}, "y": {}},
        "none": [],
    }
    assert metadata({"at": {"x": 1}}, times) == {"at": {"x": {"timestamp": 3}}}


def test_what_a_change_deletes_is_not_there_after_it() -> None:
    assert without_nulls({"a": None, "b": {"c": None, "d": 1}, "e": [None]}) == {"b": {"d": 1}, "e": [None]}
