"""Readings as charts and tables show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.core.limits import TELEMETRY_TABLE_ROW_COUNT_MAX
from tests.node_kit import NOW_MS, Live, PipelineNumbers, Points, Value, lag_of, running_node
from ui.pages import telemetry_facts as facts
from ui.pages.telemetry_choice import Choice
from ui.telemetry_question import Source

DAY_MS = 86_400_000
PAIR = Choice(devices=("a", "b"), metrics=("t",))
BANDS = [
    Points(device="a", metric="t", at_ms=[0, 300_000], value=[1.0, 2.0], min=[0.5, 1.5], max=[1.5, 2.5], sources=("minutes",)),
    Points(device="b", metric="t", at_ms=[300_000, 1_200_000], value=[5, 6], min=[5, 6], max=[5, 6], truncated=True),
]  # fmt: skip


async def _history(tmp_path: Path, choice: Choice, points: Sequence[Points]) -> tuple[dict[str, Any], Any]:
    async with running_node(tmp_path) as node:
        node.telemetry.points = list(points)
        found = await facts.history(node.services, "t", choice, NOW_MS - DAY_MS, NOW_MS)
        return found, node.telemetry.asked[0]


async def test_a_chart_has_a_line_per_device_with_its_gaps(tmp_path: Path) -> None:
    history, asked = await _history(tmp_path, PAIR, BANDS)
    assert asked["series"] == [("a", "t"), ("b", "t")]
    assert (asked["interval_ms"], history["interval_ms"]) == (300_000, 300_000)
    assert asked["from_ms"] == (NOW_MS - DAY_MS) // 300_000 * 300_000
    assert (history["range_ms"], history["end_ms"]) == (DAY_MS, None)
    a, b = history["series"]
    assert (a["label"], a["mean"], a["min"]) == ("a", [1.0, 2.0], [0.5, 1.5])
    assert b["mean"] == [5.0, 6.0]
    assert history["note"].startswith("read in 0 ms from minutes rolled up · ")
    assert "cut off" in history["note"]


async def test_one_line_needs_no_label_and_a_fixed_range_ends_where_it_ends(tmp_path: Path) -> None:
    choice = replace(PAIR, devices=("a",), to="-1h", aggregation="mean")
    history, _ = await _history(tmp_path, choice, [Points(device="a", metric="t", at_ms=[0], value=[1])])
    (line,) = history["series"]
    assert (line["label"], line["min"], line["max"]) == ("", [None], [None])
    assert history["end_ms"] == NOW_MS


async def test_raw_readings_are_points_of_no_width(tmp_path: Path) -> None:
    points = [Points(device="a", metric="t", at_ms=[0, 1, 2], value=[True, "text", 2.5], quality=[0, 0, 0])]
    history, asked = await _history(tmp_path, replace(PAIR, aggregation="raw"), points)
    assert (asked["interval_ms"], asked["from_ms"]) == (None, NOW_MS - DAY_MS)
    assert history["interval_ms"] is None
    assert history["series"][0]["mean"] == [1.0, None, 2.5]
    assert history["note"] == "read in 0 ms"


@pytest.mark.parametrize(
    ("sources", "note"),
    [
        ((), "read in 3 ms"),
        (("readings",), "read in 3 ms from single readings"),
        (("days", "hours", "minutes"), "read in 3 ms from days, hours, minutes rolled up"),
        (
            ("hours", "readings", "archive"),
            "read in 3 ms from hours rolled up and single readings and the archive",
        ),
    ],
)
def test_where_an_answer_comes_from(sources: tuple[Source, ...], note: str) -> None:
    answer = facts.Answer(series=[Points(metric="t", sources=sources)], interval_ms=60_000, took_ms=3)
    assert facts.note_of(answer) == note
    assert facts.note_of(facts.Answer(series=[], interval_ms=None, took_ms=3)) == "read in 3 ms"


async def test_a_table_has_a_row_per_time_and_a_column_per_device(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        node.telemetry.points = BANDS
        (table, empty) = await facts.tables(node.services, PAIR, ["t", "u"], NOW_MS - DAY_MS, NOW_MS)
        assert table.columns == ("a", "b")
        assert [(row.at_ms, row.cells) for row in table.rows] == [
            (1_200_000, ("", "6 (6 to 6)")),
            (300_000, ("2 (1.5 to 2.5)", "5 (5 to 5)")),
            (0, ("1 (0.5 to 1.5)", "")),
        ]
        assert table.note.startswith("one row per 10 min · ")
        assert empty.rows == ()
        asked = node.telemetry.asked[0]
        assert (asked["to_ms"] - asked["from_ms"]) / asked["interval_ms"] <= TELEMETRY_TABLE_ROW_COUNT_MAX + 1


async def test_a_table_of_raw_readings_shows_texts_and_is_bounded(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        many = 3 * TELEMETRY_TABLE_ROW_COUNT_MAX
        node.telemetry.points = [
            Points(
                device="a", metric="t", at_ms=list(range(many)), value=["x\u202e"] * many, quality=[0] * many
            )
        ]
        (table,) = await facts.tables(node.services, replace(PAIR, aggregation="raw"), ["t"], 0, NOW_MS)
        assert len(table.rows) == 2 * TELEMETRY_TABLE_ROW_COUNT_MAX
        assert table.rows[0].at_ms == many - 1
        assert table.rows[0].cells == ("x\\u202e", "")
        assert table.note.endswith("the newest rows")


async def test_a_legend_says_what_is_now(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        node.live.values["a"] = {"t_celsius": Value(metric="t_celsius", value=21.5)}
        (figure,) = facts.figures(
            node.services, PAIR, ["t_celsius"], {"a": "/devices/a", "b": "/devices/b"}, NOW_MS
        )
        a, b = figure.lines
        assert (figure.unit, a.number, b.number) == ("°C", 0, 1)
        assert a.newest is not None
        assert (a.newest.text, a.newest.freshness) == ("21.5", "fresh")
        assert b.newest is None
        assert figure.src.startswith("/telemetry/data?device=a&device=b&metric=t_celsius")


def test_a_pipeline_that_waits_is_said_before_anybody_misses_a_reading() -> None:
    assert facts.behind(PipelineNumbers()) is None
    open_ = facts.behind(PipelineNumbers(breaker="open", behind_records=12_000, lag_s=184.0))
    assert open_ is not None
    assert open_.text == (
        "Readings are safe, not yet searchable, 12\u202f000 behind; the newest of those that are came 3 min ago."
    )
    assert open_.tone == "bad"
    assert facts.behind(PipelineNumbers(pipeline_lag=lag_of([600_000]), lag_s=0.0)) is None, (
        "it was late; it is not now"
    )
    late = facts.behind(PipelineNumbers(state="catching_up", lag_s=0.0))
    assert late is not None
    assert late.tone == "warn"
    assert late.text == "Readings are safe, not yet searchable, 7 behind."


def test_metrics_of_any_of_the_devices_that_can_be_drawn() -> None:
    live = Live(
        values={
            "a": {"on": Value(metric="on", value=True), "v_volts": Value(metric="v_volts", value=1.0)},
            "b": {"n": Value(metric="n", value=1), "mode": Value(metric="mode", value="eco")},
        }
    )
    assert facts.metrics_to_choose(live, ["a", "b"]) == ["v_volts", "n", "on"]
    assert facts.metrics_to_choose(live, []) == []


async def test_numbers_of_readings_have_no_unit(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        count = replace(PAIR, aggregation="count")
        (figure,) = facts.figures(node.services, count, ["t_celsius"], {"a": "/devices/a"}, NOW_MS)
        (table,) = await facts.tables(node.services, count, ["t_celsius"], NOW_MS - DAY_MS, NOW_MS)
        assert (figure.unit, table.unit) == ("", "")
