"""One message, the general way: forms, times, refusals."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.core.limits import (
    CLOCK_AHEAD_MS_MAX,
    CLOCK_AHEAD_TOLERANCE_MS,
    CLOCK_UNCHECKED_MS_MAX,
    CLOCK_WRONG_BEFORE_MS,
    EPOCH_2000_MS,
    POINT_COUNT_PER_MESSAGE_MAX,
)
from appliance.management import points
from appliance.management.points import ABSURD_MS_MAX, Point, boot_id_of, flatten, latest_ms, points_of
from appliance.management.readings import Quality, Reason, Refusal

NOW = 1_700_000_000_000


def one(document: object) -> Point:
    found = points_of(document, NOW)
    assert not isinstance(found, Refusal), found
    (point,) = found[0]
    return point


@pytest.mark.parametrize(
    ("document", "values"),
    [
        (21.5, {"": 21.5}),
        (True, {"": True}),
        ("on", {"": "on"}),
        ({"t": 1, "on": True, "mode": "eco"}, {"t": 1, "on": True, "mode": "eco"}),
        ({"a": {"b": {"c": 1}}, "l": [1, {"x": 2}], "n": None}, {"a.b.c": 1, "l.0": 1, "l.1.x": 2}),
        ({"v": {"t": 1}}, {"t": 1}),
        ({"values": {"t": 1}, "ts": NOW}, {"t": 1}),
        # A stranger's object that happens to have a v: nothing of it is lost.
        ({"v": {"t": 1}, "temp": 5}, {"v.t": 1, "temp": 5}),
        ({"v": 230, "q": 1}, {"v": 230, "q": 1}),
        ({"v": {"t": 1}, "values": {"t": 2}}, {"v.t": 1, "values.t": 2}),
    ],
)
def test_forms(document: object, values: dict[str, Any]) -> None:
    assert one(document).values == values


def test_an_array_of_points_and_the_nulls_skipped() -> None:
    found = points_of([{"ts": NOW, "v": {"a": 1, "b": None}}, {"a": 2}, {"a": None}], NOW)
    assert not isinstance(found, Refusal)
    points, nulls = found
    assert [(p.observed_at_ms, p.values) for p in points] == [(NOW, {"a": 1}), (NOW, {"a": 2})]
    assert nulls == 2


@pytest.mark.parametrize(
    ("ts", "observed", "quality", "absurd"),
    [
        (NOW - 5, NOW - 5, Quality.GOOD, None),
        (NOW + 0.75, NOW, Quality.GOOD, None),
        (None, NOW, Quality.UNCERTAIN, None),
        (EPOCH_2000_MS, EPOCH_2000_MS, Quality.GOOD, None),
        (EPOCH_2000_MS - 1, NOW, Quality.UNCERTAIN, EPOCH_2000_MS - 1),
        (NOW + CLOCK_AHEAD_TOLERANCE_MS, NOW + CLOCK_AHEAD_TOLERANCE_MS, Quality.GOOD, None),
        (NOW + CLOCK_AHEAD_TOLERANCE_MS + 1, NOW + CLOCK_AHEAD_TOLERANCE_MS + 1, Quality.UNCERTAIN, None),
        (NOW + CLOCK_AHEAD_MS_MAX, NOW + CLOCK_AHEAD_MS_MAX, Quality.UNCERTAIN, None),
        (NOW + CLOCK_AHEAD_MS_MAX + 1, NOW, Quality.UNCERTAIN, NOW + CLOCK_AHEAD_MS_MAX + 1),
        (10**40, NOW, Quality.UNCERTAIN, ABSURD_MS_MAX),
        (-(10**40), NOW, Quality.UNCERTAIN, -ABSURD_MS_MAX),
    ],
)
def test_times(ts: object, observed: int, quality: Quality, absurd: int | None) -> None:
    for document in ({"ts": ts, "v": {"t": 1}}, {"ts": ts, "t": 1}):
        point = one(document)
        assert (point.observed_at_ms, point.quality, point.absurd_ms) == (observed, quality, absurd)


IN_1970 = 5 * 86_400_000


@pytest.mark.parametrize(
    ("ts", "observed", "absurd"),
    [
        (NOW, NOW, None),
        (EPOCH_2000_MS, EPOCH_2000_MS, None),
        (CLOCK_UNCHECKED_MS_MAX, CLOCK_UNCHECKED_MS_MAX, None),
        (CLOCK_UNCHECKED_MS_MAX + 1, IN_1970, CLOCK_UNCHECKED_MS_MAX + 1),
        (IN_1970, IN_1970, IN_1970),
        (None, IN_1970, None),
    ],
)
def test_a_box_in_1970_takes_the_time_of_a_device_that_has_one(
    ts: int | None, observed: int, absurd: int | None
) -> None:
    found = points_of({"ts": ts, "v": {"t": 1}}, IN_1970)
    assert not isinstance(found, Refusal), found
    (point,) = found[0]
    assert (point.observed_at_ms, point.quality, point.absurd_ms) == (observed, Quality.UNCERTAIN, absurd)


def test_a_box_that_may_be_right_takes_a_day_ahead_and_no_more() -> None:
    assert latest_ms(CLOCK_WRONG_BEFORE_MS) == CLOCK_WRONG_BEFORE_MS + CLOCK_AHEAD_MS_MAX
    assert latest_ms(CLOCK_WRONG_BEFORE_MS - 1) == CLOCK_UNCHECKED_MS_MAX


def test_quality_is_the_devices_but_never_better_than_its_clock() -> None:
    assert one({"ts": NOW, "v": {"t": 1}, "q": "bad"}).quality is Quality.BAD
    assert one({"ts": NOW, "v": {"t": 1}, "q": "est"}).quality is Quality.UNCERTAIN
    assert one({"v": {"t": 1}, "q": "good"}).quality is Quality.UNCERTAIN
    assert one({"v": {"t": 1}, "q": "bad"}).quality is Quality.BAD


def test_seq_and_boot_id() -> None:
    point = one({"seq": 7, "boot_id": 12, "v": {"t": 1}})
    assert (point.seq, point.boot_id) == (7, "12")
    assert boot_id_of({"boot_id": "x"}) == "x"
    assert boot_id_of({"boot_id": ""}) is None
    assert boot_id_of({}) is None


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (None, Reason.NO_VALUES),
        ([], Reason.NO_VALUES),
        ({}, Reason.NO_VALUES),
        ({"a": None, "b": {}}, Reason.NO_VALUES),
        ([1], Reason.BAD_POINT),
        ([{"a": 1}, {"ts": "x", "a": 1}], Reason.BAD_TS),
        ({"ts": True, "a": 1}, Reason.BAD_TS),
        ({"v": {"a": 1}, "seq": -1}, Reason.BAD_SEQ),
        ({"v": {"a": 1}, "seq": 2**63}, Reason.BAD_SEQ),
        ({"v": {"a": 1}, "seq": True}, Reason.BAD_SEQ),
        ({"v": {"a": 1}, "seq": 1.0}, Reason.BAD_SEQ),
        ({"v": {"a": 1}, "boot_id": ""}, Reason.BAD_BOOT_ID),
        ({"v": {"a": 1}, "boot_id": 10**30}, Reason.BAD_BOOT_ID),
        ({"v": {"a": 1}, "boot_id": True}, Reason.BAD_BOOT_ID),
        ({"v": {"a": 1}, "q": "fine"}, Reason.BAD_QUALITY),
        ({"v": {"a": 1}, "q": []}, Reason.BAD_QUALITY),
        ({"": 1}, Reason.BAD_METRIC_NAME),
        ({"a\n": 1}, Reason.BAD_METRIC_NAME),
        ({"x" * 257: {"a": None}}, Reason.BAD_METRIC_NAME),
        ({"a": "x" * 70_000}, Reason.TEXT_TOO_LONG),
        ({"a": "é" * 40_000}, Reason.TEXT_TOO_LONG),
        ("x" * 70_000, Reason.TEXT_TOO_LONG),
        ({"a": 10**400}, Reason.NUMBER_OUT_OF_RANGE),
        ({"a": [1] * 1025}, Reason.TOO_MANY_METRICS),
        ({str(n): n for n in range(1025)}, Reason.TOO_MANY_METRICS),
        ([{"a": 1}] * (POINT_COUNT_PER_MESSAGE_MAX + 1), Reason.TOO_MANY_POINTS),
    ],
)
def test_refused(document: object, reason: Reason) -> None:
    found = points_of(document, NOW)
    assert isinstance(found, Refusal)
    assert found.reason is reason


def test_depth() -> None:
    def nest(levels: int) -> object:
        document: object = 1
        for _ in range(levels):
            document = {"a": document}
        return document

    assert not isinstance(points_of(nest(16), NOW), Refusal)
    refused = points_of(nest(17), NOW)
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.TOO_DEEP


def test_flatten() -> None:
    assert flatten({"a": {"b": 1}, "c": None}) == ({"a.b": 1}, 1)
    refusal = flatten({"a": None})
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.NO_VALUES


def test_the_memory_of_good_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "SHAPE_COUNT_MAX", 2)
    monkeypatch.setattr(points, "_good_names", set())
    for number in range(5):
        assert one({f"m{number}": 1}).values == {f"m{number}": 1}
        assert len(points._good_names) <= 2
