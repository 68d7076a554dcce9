"""Spans of alarms on charts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.management.alarm import Alarm
from appliance.management.alarms import AlarmState
from storage.catalog import Catalog
from storage.catalog.alarms import AlarmEventRow
from tests.acts import ACT
from tests.alarm_kit import MINUTE_MS, found, put_rule
from tests.node_kit import NOW_MS, running_node
from tests.people_kit import person
from ui.pages.alarm_marks import Span, mark_of, read_marks, spans_of

OVER = Alarm(
    alarm_id="a",
    rule_id="hot",
    rule_name="Hot",
    rule_version=1,
    severity="P1",
    state=AlarmState.NORMAL,
    episode_began_at_ms=100,
    raised_at_ms=100,
    cleared_at_ms=200,
    noted_at_ms=100,
    updated_at_ms=200,
)
ACTIVE = replace(OVER, state=AlarmState.ACTIVE_UNACKNOWLEDGED, cleared_at_ms=None)


def events(*pairs: tuple[str, int]) -> list[AlarmEventRow]:
    """Events with their times, in any order."""
    return [
        AlarmEventRow(
            alarm_id="a", number=number, at_ms=at_ms, noted_at_ms=at_ms, event=event, from_state="", to_state="",
            episode=1, actor="", note="", value=None, explanation={}, rule_version=1,
        )
        for number, (event, at_ms) in enumerate(pairs)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("alarm", "happened", "spans"),
    [
        (OVER, events(("raise", 100), ("clear", 200)), [(100, 200)]),
        (OVER, events(("clear", 200), ("raise", 100))[::-1], [(100, 200)]),
        (ACTIVE, events(("raise", 100), ("acknowledge", 120), ("clear", 150), ("raise", 160)), [(100, 150), (160, None)]),
        (OVER, events(("clear", 200)), [(50, 200)]),
        (OVER, events(("raise", 100), ("withdraw", 130)), [(100, 130)]),
        (OVER, events(("raise", 100)), [(100, 200)]),
        (ACTIVE, events(("acknowledge", 120)), [(100, None)]),
        (replace(ACTIVE, raised_at_ms=10), [], [(10, None)]),
        (replace(OVER, raised_at_ms=10, cleared_at_ms=60), [], [(10, 60)]),
        (replace(OVER, raised_at_ms=10, cleared_at_ms=40), [], []),
        (replace(ACTIVE, raised_at_ms=900), [], []),
        (OVER, events(("clear", 70), ("clear", 80)), [(50, 70)]),
    ],
)  # fmt: skip
def test_spans_are_what_lies_between_beginning_and_end(
    alarm: Alarm, happened: list[AlarmEventRow], spans: list[tuple[int, int | None]]
) -> None:
    assert spans_of(alarm, happened, 50, 500) == tuple(Span(*each) for each in spans)


def test_a_mark_says_in_words_what_it_draws() -> None:
    over = mark_of("P1", "Ho\u202et", Span(NOW_MS, NOW_MS + 5 * MINUTE_MS), NOW_MS, url="/x")
    assert over["text"] == "P1 Ho\\u202et: 2026-02-25 06:13 UTC, for 5 min"
    lasting = mark_of("P2", "Hot", Span(NOW_MS, None), NOW_MS + MINUTE_MS, url="/x", device_id="press-1")
    assert lasting["text"] == "P2 Hot, press-1: since 2026-02-25 06:13 UTC, 1 min so far"


async def test_charts_get_the_marks_of_their_own_series(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:

        def write(catalog: Catalog) -> None:
            catalog.add_group("hall")
            catalog.add_device("press-1", groups=("hall",))
            put_rule(catalog)
            node.services.alarms.book.apply(
                catalog,
                [
                    found("press-1", at_ms=NOW_MS - 9 * MINUTE_MS),
                    found("press-1", at_ms=NOW_MS - 5 * MINUTE_MS, is_raised=False),
                    found("press-1", series="", at_ms=NOW_MS - 4 * MINUTE_MS),
                    found("press-1", series="pressure", at_ms=NOW_MS - 3 * MINUTE_MS),
                    found("press-2", at_ms=NOW_MS - 2 * MINUTE_MS),
                ],
            )

        await node.catalog.write(write, by=ACT)

        async with person(node, "viewer") as client:
            answer = (await client.get("/devices/press-1/chart?metric=temperature&range=1h")).json()
            spans = [
                (each["from_ms"] - NOW_MS, each["to_ms"] and each["to_ms"] - NOW_MS)
                for each in answer["marks"]
            ]
            assert spans == [(-9 * MINUTE_MS, -5 * MINUTE_MS), (-4 * MINUTE_MS, None)]
            both = await node.catalog.read(
                lambda catalog: read_marks(
                    catalog,
                    ["press-1", "press-2"],
                    "temperature",
                    NOW_MS - 60 * MINUTE_MS,
                    NOW_MS,
                    now_ms=NOW_MS,
                    scope=None,
                )
            )
            assert ["press-2" in each["text"] for each in both] == [False, False, True]
            elsewhere = await node.catalog.read(
                lambda catalog: read_marks(
                    catalog,
                    ["press-1", "press-2"],
                    "temperature",
                    NOW_MS - 60 * MINUTE_MS,
                    NOW_MS,
                    now_ms=NOW_MS,
                    scope=frozenset({"hall"}),
                )
            )
            assert len(elsewhere) == 2
