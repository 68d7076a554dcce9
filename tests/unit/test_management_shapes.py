"""Dicts of values to typed columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from appliance.management.envelopes import Points
from appliance.management.mapping import TopicRouter
from appliance.management.messages import Routes
from appliance.management.readings import Reason, ValueKind
from appliance.management.shapes import Shaped, Shapes

ROUTE = TopicRouter().route(b"dm/a/telemetry")


def shaped(*values: dict[str, Any], shapes: Shapes | None = None) -> Shaped:
    count = len(values)
    index, quality = np.arange(count), np.zeros(count, np.uint8)
    points = Points(index, Routes.of([ROUTE] * count), np.full(count, 5), index, quality, list(values))
    return (shapes or Shapes()).shape([points])


def found(result: Shaped) -> list[tuple[tuple[str, ...], list[list[Any]], list[int]]]:
    return [(g.keys, [list(c) for c in g.columns], list(g.index)) for g in result.groups]


def test_one_shape_is_one_group() -> None:
    result = shaped({"a": 1, "b": True, "c": "x"}, {"a": 2.5, "b": False, "c": "y"})
    assert found(result) == [(("a", "b", "c"), [[1.0, 2.5], [1.0, 0.0], ["x", "y"]], [0, 1])]
    assert result.groups[0].kinds == (ValueKind.NUMBER, ValueKind.BOOLEAN, ValueKind.TEXT)
    assert len(result.groups[0]) == 2


def test_a_kind_that_changes_makes_groups_of_its_own() -> None:
    assert found(shaped({"a": 1}, {"a": "x"}, {"a": 2}, {"a": True})) == [
        (("a",), [[1.0, 2.0]], [0, 2]),
        (("a",), [["x"]], [1]),
        (("a",), [[1.0]], [3]),
    ]


def test_nested_and_null_become_flat_and_then_have_a_shape() -> None:
    result = shaped({"a": 1, "n": None}, {"a": {"b": 1}}, {"a": 2, "n": None}, {"n": None})
    assert found(result) == [(("a",), [[1.0, 2.0]], [0, 2]), (("a.b",), [[1.0]], [1])]
    assert result.nulls_skipped == 2
    assert result.refusals[3].reason is Reason.NO_VALUES


def test_a_value_that_does_not_fit_refuses_its_message_alone() -> None:
    result = shaped(
        {"a": 1, "t": "x"}, {"a": 10**400, "t": "x"}, {"a": 2, "t": "é" * 40_000}, {"a": 3, "t": "y"}
    )
    assert found(result) == [(("a", "t"), [[1.0, 3.0], ["x", "y"]], [0, 3])]
    assert {i: r.reason for i, r in result.refusals.items()} == {
        1: Reason.NUMBER_OUT_OF_RANGE,
        2: Reason.TEXT_TOO_LONG,
    }
    assert found(shaped({"a": 10**400})) == []


def test_a_long_text_that_fits_is_kept() -> None:
    assert found(shaped({"t": "x" * 20_000}))[0][1] == [["x" * 20_000]]


def test_names_are_checked_once_per_shape_and_the_memory_is_bounded() -> None:
    shapes = Shapes(shape_count_max=2)
    for key in "abc":
        shaped({key: 1}, shapes=shapes)
    assert shapes.shape_count == 1
    result = shaped({"": 1, "a": 1}, {"a\n": 1}, {"x" * 300: 1}, shapes=shapes)
    assert {r.reason for r in result.refusals.values()} == {Reason.BAD_METRIC_NAME}
    assert len(result.refusals) == 3


def test_no_points() -> None:
    assert found(shaped()) == []
    none, quality = np.empty(0, np.int64), np.empty(0, np.uint8)
    columns = Points(
        none,
        Routes.of([]),
        none,
        none,
        quality,
        [],
        keys=("a",),
        kinds=(ValueKind.NUMBER,),
        columns=[np.empty(0)],
    )
    assert found(Shapes().shape([columns])) == []
