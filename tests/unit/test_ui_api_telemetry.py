"""Readings over the API: ranges, aggregation, limits, dead letters."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import pytest

from appliance.core.limits import QUERY_POINT_COUNT_MAX
from tests.acts import ACT
from tests.node_kit import NOW_MS, Letter, Points, running_node

DAY = 86_400_000


async def _ask(tmp_path: Path, query: str, points: list[Points] | None = None) -> tuple[int, Any, list[Any]]:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await node.catalog.write(lambda catalog: catalog.add_device("d1"), by=ACT)
        node.telemetry.points = points or []
        answer = await client.get(f"/api/v1/devices/d1/telemetry?{query}")
        return answer.status_code, answer.json(), node.telemetry.asked


async def test_raw_points_of_several_metrics(tmp_path: Path) -> None:
    points = [
        Points(metric="t", at_ms=(1000, 2000), value=(20.5, math.nan)),
        Points(metric="door", at_ms=(1000,), value=("open",)),
    ]
    status, answer, asked = await _ask(tmp_path, "metric=t&metric=door&metric=t&from=1000&to=3000", points)
    assert status == 200
    assert asked == [
        {
            "device": "d1",
            "metrics": ("t", "door"),
            "from_ms": 1000,
            "to_ms": 3000,
            "aggregation": "raw",
            "interval_ms": None,
            "limit": 10_000,
        }
    ]
    # JSON has no NaN: it is null, like a gap.
    assert answer["series"][0] == {
        "metric": "t",
        "at_ms": [1000, 2000],
        "value": [20.5, None],
        "min": None,
        "max": None,
        "truncated": False,
    }
    assert answer["series"][1]["value"] == ["open"]


async def test_a_band_has_lowest_and_highest(tmp_path: Path) -> None:
    points = [Points(metric="t", at_ms=(0,), value=(2.0,), min=(1.0,), max=(3.0,))]
    _, answer, asked = await _ask(tmp_path, f"metric=t&from=0&to={DAY}&aggregation=band", points)
    assert answer["series"][0]["min"] == [1.0]
    assert answer["series"][0]["max"] == [3.0]
    assert asked[0]["interval_ms"] == answer["interval_ms"] == DAY // 480


async def test_a_series_that_was_cut_says_so(tmp_path: Path) -> None:
    points = [Points(metric="t", at_ms=(1, 2), value=(1, 2), truncated=True)]
    _, answer, _ = await _ask(tmp_path, "metric=t&from=0&to=10&limit=2", points)
    assert answer["series"][0]["truncated"] is True


async def test_all_metrics_together_are_bounded(tmp_path: Path) -> None:
    _, _, asked = await _ask(tmp_path, f"metric=a&metric=b&from=0&to=10&limit={QUERY_POINT_COUNT_MAX}")
    assert asked[0]["limit"] == QUERY_POINT_COUNT_MAX // 2


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-02-25T06:13:20Z", NOW_MS),
        ("2026-02-25T07:13:20%2B01:00", NOW_MS),
        ("2026-02-25T07:13:20+01:00", NOW_MS),
        (str(NOW_MS), NOW_MS),
    ],
)
async def test_times_are_iso_with_an_offset_or_milliseconds(tmp_path: Path, text: str, ms: int) -> None:
    status, answer, _ = await _ask(tmp_path, f"metric=t&from={text}&to={NOW_MS + DAY}")
    assert (status, answer.get("from_ms")) == (200, ms), answer


async def test_the_range_ends_now_when_it_has_no_end(tmp_path: Path) -> None:
    _, answer, _ = await _ask(tmp_path, f"metric=t&from={NOW_MS - DAY}")
    assert answer["to_ms"] == NOW_MS


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("from=0", 400, "query_invalid"),
        ("metric=t", 400, "query_invalid"),
        ("metric=&from=0", 400, "query_invalid"),
        ("metric=t&from=0&aggregation=median", 400, "query_invalid"),
        ("metric=t&from=0&to=5&limit=100001", 400, "query_invalid"),
        ("&".join(f"metric=m{n}" for n in range(21)) + "&from=0&to=5", 400, "query_invalid"),
        ("metric=t&from=yesterday", 422, "time_invalid"),
        ("metric=t&from=2026-03-01T00:00:00", 422, "time_invalid"),
        ("metric=t&from=5&to=5", 422, "range_invalid"),
        ("metric=t&from=9&to=5", 422, "range_invalid"),
        (f"metric=t&from=0&to={800 * DAY}", 422, "range_invalid"),
        ("metric=t&from=0&to=5&interval_ms=1", 422, "interval_invalid"),
        (f"metric=t&from=0&to={DAY}&aggregation=mean&interval_ms=1", 422, "interval_invalid"),
        ("metric=t&from=0&to=5&aggregation=mean&interval_ms=0", 400, "query_invalid"),
    ],
)
async def test_what_can_not_be_asked_is_refused_with_a_hint(
    tmp_path: Path, query: str, status: int, code: str
) -> None:
    got, problem, asked = await _ask(tmp_path, query)
    assert (got, problem["code"]) == (status, code)
    assert problem["hint"]
    assert not asked


async def test_dead_letters_come_newest_first_in_pages(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        node.telemetry.letters = [
            Letter(epoch=2, seq=1, payload=b"\xff{"),
            Letter(epoch=1, seq=9),
            Letter(epoch=1, seq=8),
        ]
        first = (await client.get("/api/v1/dead-letters?limit=2")).json()
        assert [(one["epoch"], one["seq"]) for one in first["dead_letters"]] == [(2, 1), (1, 9)]
        assert base64.b64decode(first["dead_letters"][0]["payload"]) == b"\xff{"
        second = (await client.get(f"/api/v1/dead-letters?limit=2&before={first['next_before']}")).json()
        assert [one["seq"] for one in second["dead_letters"]] == [8]
        assert second["next_before"] is None
        assert (await client.get("/api/v1/dead-letters?before=x")).status_code == 400
