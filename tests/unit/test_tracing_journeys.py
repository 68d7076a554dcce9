"""Stages that add up, whatever is missing; and a trace's steps as a tree, whatever they say of each other."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.tracing.book import Trace
from appliance.tracing.journeys import journeys, milliseconds, tree
from appliance.tracing.span import DEVICE, Span

TRACE = "0af7651916cd43dd8448eb211c80319c"
RECEIVE, PROCESS = "a" * 16, "b" * 16


def span(name: str, start_us: int, end_us: int, parent: str = "", span_id: str = "") -> Span:
    attributes: dict[str, str | bool | int | float] = {}
    if name == "process":
        attributes = {
            DEVICE: "d1",
            "messaging.destination.name": "dm/d1/telemetry",
            "homeport.fate": "reading",
        }
    return Span(
        TRACE, span_id or f"{abs(hash(name)):016x}"[:16], parent, name, 1, start_us, end_us, attributes
    )


WHOLE = [
    span("receive", 1_000, 5_000, "device", RECEIVE),
    span("append log", 2_000, 4_000, RECEIVE),
    span("puback", 4_000, 5_000, RECEIVE),
    span("wait in log", 1_000, 201_000, RECEIVE),
    span("process", 201_000, 341_000, RECEIVE, PROCESS),
    span("read log", 201_000, 202_000, PROCESS),
    span("decode", 202_000, 220_000, PROCESS),
    span("evaluate rules", 220_000, 230_000, PROCESS),
    span("commit", 240_000, 341_000, PROCESS),
]


def of(spans: Sequence[Span]) -> Trace:
    return Trace(trace_id=TRACE, device_ids=("d1",), spans=tuple(spans))


def test_where_340_ms_went() -> None:
    (journey,) = journeys(of(WHOLE))
    assert [(stage.name, stage.duration_us // 1000) for stage in journey.stages] == [
        ("to disk", 3),
        ("waiting", 197),
        ("decoding", 19),
        ("rules", 10),
        ("storing", 111),
    ]
    assert (journey.duration_us, journey.arrived_us) == (340_000, 1_000)
    assert (journey.device_id, journey.topic, journey.fate) == ("d1", "dm/d1/telemetry", "reading")


@given(st.sets(st.sampled_from([each.name for each in WHOLE if each.name != "process"])))
def test_whatever_is_missing_the_stages_add_up(missing: set[str]) -> None:
    (journey,) = journeys(of([each for each in WHOLE if each.name not in missing]))
    at_us = 0
    for stage in journey.stages:
        assert (stage.start_us, stage.duration_us >= 0) == (at_us, True)
        at_us += stage.duration_us
    if "commit" not in missing:
        assert at_us == journey.duration_us


def test_a_trace_of_two_messages_has_two_journeys_and_one_of_a_request_none() -> None:
    again = [
        span("process", 900_000, 950_000, "c" * 16, "d" * 16),
        span("wait in log", 800_000, 900_000, "c" * 16, "e" * 16),
    ]
    first, second = journeys(of([*WHOLE, *again]))
    assert (first.arrived_us, first.duration_us, second.duration_us) == (800_000, 150_000, 340_000)
    assert journeys(of([span("GET", 1, 2)])) == []


def test_a_tree() -> None:
    rows = [(depth, each.name) for depth, each in tree(WHOLE)]
    assert rows == [
        (0, "receive"),
        (1, "wait in log"),
        (1, "append log"),
        (1, "puback"),
        (1, "process"),
        (2, "read log"),
        (2, "decode"),
        (2, "evaluate rules"),
        (2, "commit"),
    ]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 99)), max_size=20))
def test_each_step_is_in_the_tree_once_whatever_they_say(made: list[tuple[int, int, int]]) -> None:
    by_id = {
        own: Span(TRACE, f"{own:016x}", f"{parent:016x}", "x", 1, at_us, at_us + 1)
        for own, parent, at_us in made
    }
    spans = list(by_id.values())
    rows = tree(spans)
    assert sorted(each.span_id for _, each in rows) == sorted(each.span_id for each in spans)


@pytest.mark.parametrize(
    ("duration_us", "words"),
    [(0, "0.0 ms"), (340, "0.3 ms"), (9_999, "10.0 ms"), (340_000, "340 ms"), (3_210_000, "3.2 s")],
)
def test_durations(duration_us: int, words: str) -> None:
    assert milliseconds(duration_us) == words
