"""A rule tried on past readings: the alarms that it would have raised, and what is refused."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import trio

from appliance.alarms import rule_try
from appliance.alarms.rule_try import RuleTries, devices_wanted, metrics_wanted, warm_up_of
from appliance.core.arrays import F64, I64, U8
from appliance.core.errors import LimitExceeded, UsageError
from appliance.management.rule import RuleDefinition, RuleScope
from appliance.management.rule_conditions import (
    Anomaly,
    AnyCondition,
    Comparison,
    Connection,
    MissingFraction,
    NoData,
    NodeWatch,
    Stuck,
    Threshold,
)
from appliance.management.watched import Member, Membership
from ui.pages.rule_editor import UNTRIED as UNTRIED_ON_THE_PAGE

NOW_MS = 1_772_000_000_000
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
ALL = RuleScope(all=True)


@dataclass(frozen=True)
class Portion:
    """Readings of one series."""

    device: str
    metric: str
    at_ms: I64
    number: F64
    kind: U8
    quality: U8


def portion(device: str, points: Sequence[tuple[int, float]], *, kind: int = 0, metric: str = "t") -> Portion:
    size = len(points)
    return Portion(
        device,
        metric,
        np.array([at_ms for at_ms, _ in points], np.int64),
        np.array([value for _, value in points], np.float64),
        np.full(size, kind, np.uint8),
        np.zeros(size, np.uint8),
    )


@dataclass
class Past:
    """A store with these readings."""

    portions: list[Portion] = field(default_factory=list)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    pause_s: float = 0.0

    def stream(
        self, devices: Sequence[str], metrics: Sequence[str], from_ms: int, to_ms: int
    ) -> AsyncIterator[Portion]:
        self.asked.append((tuple(devices), tuple(metrics), from_ms, to_ms))
        chosen = [each for each in self.portions if each.device in devices and each.metric in metrics]
        return Portions(iter(chosen), self.pause_s)


@dataclass
class Portions:
    """As the store's own iterator: nothing is held between two portions."""

    left: Iterator[Portion]
    pause_s: float

    def __aiter__(self) -> Portions:
        return self

    async def __anext__(self) -> Portion:
        await trio.sleep(self.pause_s)
        try:
            return next(self.left)
        except StopIteration:
            raise StopAsyncIteration from None


def swing(device: str, *, hours: int = 26, peak: float = 30.0, until_ms: int = NOW_MS) -> Portion:
    """Every minute; once in 6 hours above 25 for some time."""
    times = range(until_ms - hours * HOUR_MS, until_ms, MINUTE_MS)
    return portion(device, [(at, peak * math.sin(at / (6 * HOUR_MS) * 2 * math.pi)) for at in times])


def rule(condition: AnyCondition, metric: str = "t", **more: Any) -> RuleDefinition:
    return RuleDefinition(
        **{"severity": "P2", "scope": ALL, "metric": metric, "condition": condition, **more}
    )


async def tried(past: Past, definition: RuleDefinition, *, hours: int = 24, **more: Any) -> rule_try.TryOut:
    series = list(dict.fromkeys((each.device, each.metric) for each in past.portions))
    membership = Membership(devices={device: Member() for device, _ in series})
    # The time that a trial has is not what is tested here.
    return await RuleTries(past, mono_s=lambda: 0.0).try_out(
        definition, series, membership, NOW_MS - hours * HOUR_MS, NOW_MS, **more
    )


async def test_each_time_above_the_limit_is_an_alarm() -> None:
    past = Past([swing("a"), swing("b", peak=20.0)])
    found = await tried(past, rule(Threshold(is_="above", limit=25.0)))
    assert found.count == len(found.alarms) == 4
    assert found.by_device == {"a": 4}
    assert found.series_count == 2
    assert found.reading_count == 2 * 26 * 60
    starts = [each.from_ms for each in found.alarms]
    assert starts == sorted(starts, reverse=True)
    for each in found.alarms:
        assert each.to_ms is not None
        assert 60 * MINUTE_MS < each.to_ms - each.from_ms < 80 * MINUTE_MS
        assert "25" in each.text


async def test_a_delay_leaves_short_ones_out_and_one_that_lasts_is_open() -> None:
    past = Past([swing("a")])
    assert (await tried(past, rule(Threshold(is_="above", limit=25.0), on_delay_s=2 * 3_600))).count == 0
    lasting = await tried(past, rule(Threshold(is_="above", limit=-100.0)))
    (only,) = lasting.alarms
    assert only.to_ms is None


async def test_what_was_over_before_the_span_does_not_count() -> None:
    points = [
        (NOW_MS - 26 * HOUR_MS + minute * MINUTE_MS, 30.0 if minute < 60 else 20.0)
        for minute in range(26 * 60)
    ]
    past = Past([portion("a", points)])
    found = await tried(past, rule(Threshold(is_="above", limit=25.0)))
    assert found.count == 0
    assert past.asked[0][2] == NOW_MS - 25 * HOUR_MS  # An hour to warm up.


async def test_silence_is_found_by_the_clock() -> None:
    """Nothing for the last hours, and a rule that waits three minutes: no reading says so."""
    past = Past([swing("a", hours=20, until_ms=NOW_MS - 5 * HOUR_MS)])
    (only,) = (await tried(past, rule(NoData(expected_s=60)))).alarms
    assert only.to_ms is None
    assert NOW_MS - 5 * HOUR_MS < only.from_ms < NOW_MS - 5 * HOUR_MS + 5 * MINUTE_MS
    by_status = await tried(past, rule(NoData()), expect_ms={"a": 10 * MINUTE_MS})
    assert by_status.alarms[0].from_ms > only.from_ms + 20 * MINUTE_MS


async def test_a_group_that_falls_silent_is_one_alarm() -> None:
    past = Past([swing(name, hours=20, until_ms=NOW_MS - 5 * HOUR_MS) for name in "abc"])
    (only,) = (await tried(past, rule(MissingFraction(fraction=0.5, expected_s=60)))).alarms
    assert only.key.device_id == ""


async def test_what_is_unusual_is_found_by_detectors_that_learn_from_the_warm_up() -> None:
    """A value that has stood between 20 and 21 jumps to 60 for a while."""
    jump_ms = NOW_MS - 6 * HOUR_MS
    points = [
        (at, 60.0 if jump_ms <= at < jump_ms + 30 * MINUTE_MS else 20 + (at // MINUTE_MS * 7 % 10) / 10)
        for at in range(NOW_MS - 48 * HOUR_MS, NOW_MS, MINUTE_MS)
    ]
    past = Past([portion("a", points)])
    found = await tried(past, rule(Anomaly()))
    assert past.asked[0][2] == NOW_MS - 48 * HOUR_MS
    assert any(jump_ms <= each.from_ms <= jump_ms + 10 * MINUTE_MS for each in found.alarms)
    quiet = [each for each in found.alarms if each.to_ms is not None and each.to_ms < jump_ms]
    assert quiet == []


async def test_texts_are_no_numbers() -> None:
    past = Past([portion("a", [(NOW_MS - HOUR_MS, 90.0)], kind=2)])
    assert (await tried(past, rule(Threshold(is_="above", limit=25.0)))).count == 0
    assert (await tried(Past(), rule(Threshold(is_="above", limit=25.0)))).reading_count == 0


@pytest.mark.parametrize("condition", [Connection(), NodeWatch(what="disk")])
async def test_what_the_store_has_no_past_of_is_not_tried(condition: AnyCondition) -> None:
    with pytest.raises(UsageError, match="keeps no past"):
        await tried(Past(), rule(condition))


def test_the_page_knows_which_kinds_these_are() -> None:
    kinds = {each.__struct_config__.tag for each in rule_try.UNTRIED}
    assert kinds == UNTRIED_ON_THE_PAGE


async def test_too_much_is_refused_with_what_to_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    definition = rule(Threshold(is_="above", limit=25.0))
    with pytest.raises(UsageError, match="at most 7 days"):
        await tried(Past(), definition, hours=8 * 24)
    tries, everywhere = RuleTries(Past()), [(f"d{number}", "t") for number in range(201)]
    with pytest.raises(LimitExceeded, match="for 201 series; 200") as raised:
        await tries.try_out(definition, everywhere, Membership(), NOW_MS - HOUR_MS, NOW_MS)
    assert "fewer devices" in raised.value.hint
    monkeypatch.setattr(rule_try, "RULE_TRY_READING_COUNT_MAX", 1_000)
    with pytest.raises(LimitExceeded, match="more than 1,000 readings"):
        await tried(Past([swing("a")]), definition)


async def test_a_store_that_is_slow_and_a_rule_that_is_dear_end(autojump_clock: object) -> None:
    definition = rule(Threshold(is_="above", limit=25.0))
    with pytest.raises(LimitExceeded, match="could not be read within 15 s"):
        await tried(Past([swing("a")], pause_s=60), definition)
    ticks = iter(range(0, 1_000_000, 20))
    slow = RuleTries(Past([swing("a")]), mono_s=lambda: float(next(ticks)))
    with pytest.raises(LimitExceeded, match="could not be tried within 15 s"):
        await slow.try_out(definition, [("a", "t")], Membership(), NOW_MS - DAY_MS, NOW_MS)


async def test_one_at_a_time(autojump_clock: object) -> None:
    past = Past([swing("a")], pause_s=7)
    tries, definition = RuleTries(past, mono_s=lambda: 0.0), rule(Threshold(is_="above", limit=25.0))
    refused: list[str] = []

    async def one() -> None:
        try:
            await tries.try_out(definition, [("a", "t")], Membership(), NOW_MS - DAY_MS, NOW_MS)
        except LimitExceeded as error:
            refused.append(error.code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one)
        nursery.start_soon(one)
    assert refused == ["rule_try_busy"]


def test_a_warm_up_is_as_long_as_what_the_rule_looks_back() -> None:
    assert warm_up_of(rule(Threshold(is_="above", limit=1.0))) == HOUR_MS
    assert warm_up_of(rule(Stuck(for_s=6 * 3_600))) == 12 * HOUR_MS
    assert warm_up_of(rule(NoData(expected_s=3_600, times=3))) == 6 * HOUR_MS
    assert warm_up_of(rule(Stuck(for_s=7 * 86_400))) == DAY_MS


@pytest.mark.parametrize(
    ("metric", "condition", "wanted"),
    [
        ("t", Threshold(is_="above", limit=1.0), ["t"]),
        ("", NoData(), ["t", "t2", "pump.t"]),
        ("*t", NoData(), ["t", "pump.t"]),
        ("pump.*", NoData(), ["pump.t"]),
        ("t", Comparison(with_="metric", other="t2", limit=1.0), ["t", "t2"]),
        ("t", Comparison(with_="group", other="t2", limit=1.0), ["t"]),
    ],
)
def test_only_metrics_that_a_rule_may_look_at_are_read(
    metric: str, condition: AnyCondition, wanted: list[str]
) -> None:
    assert metrics_wanted(rule(condition, metric), ["t", "t2", "pump.t"]) == wanted


def test_devices_are_those_of_the_scope_as_of_now() -> None:
    membership = Membership(
        devices={
            "a": Member(groups=frozenset({"hall"})),
            "b": Member(tags=frozenset({"old"})),
            "c": Member(),
            "d": Member(groups=frozenset({"hall"}), is_watched=False),
        }
    )
    condition = Threshold(is_="above", limit=1.0)
    for scope, wanted in (
        (RuleScope(all=True, except_=("c",)), ["a", "b"]),
        (RuleScope(groups=("hall",)), ["a"]),
        (RuleScope(tags=("old",), devices=("c",)), ["b", "c"]),
    ):
        assert devices_wanted(rule(condition, scope=scope), membership) == wanted
