"""Each kind of rule against a slow and obvious reading of its definition, on random readings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.management.presence import Presence
from appliance.management.rule_conditions import (
    AnyCondition,
    Comparison,
    Connection,
    MissingFraction,
    NoData,
    Rate,
    Repetition,
    Stuck,
    Threshold,
)
from appliance.management.watched import PresenceChange
from tests.rules_kit import START_MS, Reading, Site, columns, rule
from tests.sampling import examples

END_MS: Final = 300_000
Row = tuple[int, float]
"""(ms from the start, value)."""


@st.composite
def rows(
    draw: st.DrawFn, values: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0, 4.0), count_min: int = 0
) -> list[Row]:
    at, found = draw(st.integers(0, 6)) * 500, list[Row]()
    for _ in range(draw(st.integers(count_min, 20))):
        found.append((at, draw(st.sampled_from(values))))
        at += draw(st.sampled_from([1, 1, 2, 3, 5, 8, 21])) * 500
    return found


delays = st.sampled_from([0, 500, 1_000, 2_500, 6_000])


def expected(
    times: Iterable[int], condition_at: Callable[[int], bool | None], on_ms: int, off_ms: int
) -> list[tuple[float, bool]]:
    """Look at every time at which anything can happen. `condition_at` gives None where it stays as it is."""
    base = set(times)
    found, so, active, since = list[tuple[float, bool]](), False, False, 0
    for at in sorted(base | {each + on_ms for each in base} | {each + off_ms for each in base}):
        now = condition_at(at)
        if now is not None and now is not so:
            so, since = now, at
        if so is not active and at - since >= (on_ms if so else off_ms):
            active = so
            found.append((at / 1_000, active))
    return found


def told(
    condition: AnyCondition,
    series: dict[int, list[Row]],
    on_ms: int,
    off_ms: int,
    names: tuple[tuple[str, str], ...] = (("a", "t"),),
    metric: str = "t",
) -> Site:
    site = Site(
        rule("r", condition, metric=metric, on_delay_s=on_ms / 1_000, off_delay_s=off_ms / 1_000),
        series=names,
    )
    readings = [
        Reading(received=at, series=number, observed=at, value=value)
        for number, mine in series.items()
        for at, value in mine
    ]
    site.told.take(site.evaluator.see(columns(readings)))
    site.tick(END_MS / 1_000)
    return site


THRESHOLDS: Final = (
    Threshold(is_="above", limit=2),
    Threshold(is_="above", limit=2, hysteresis=1),
    Threshold(is_="below", limit=2),
    Threshold(is_="below", limit=1, hysteresis=2),
    Threshold(is_="outside", limit=1, limit_high=3),
    Threshold(is_="outside", limit=0, limit_high=3, hysteresis=1),
    Threshold(is_="inside", limit=1, limit_high=3),
    Threshold(is_="inside", limit=2, limit_high=3, hysteresis=1),
)


def crosses(threshold: Threshold, value: float) -> bool | None:
    """So, over, or None between."""
    low, high, back = threshold.limit, threshold.limit_high, threshold.hysteresis
    match threshold.is_:
        case "above":
            return True if value > low else False if value <= low - back else None
        case "below":
            return True if value < low else False if value >= low + back else None
    assert high is not None
    if threshold.is_ == "outside":
        return True if not low <= value <= high else False if low + back <= value <= high - back else None
    return True if low <= value <= high else False if not low - back <= value <= high + back else None


@settings(max_examples=examples(40))
@given(st.sampled_from(THRESHOLDS), rows(), delays, delays)
def test_threshold(threshold: Threshold, readings: list[Row], on_ms: int, off_ms: int) -> None:
    def condition_at(now: int) -> bool | None:
        so: bool | None = None
        for at, value in readings:
            if at <= now and (said := crosses(threshold, value)) is not None:
                so = said
        return so

    site = told(threshold, {0: readings}, on_ms, off_ms)
    assert site.told.of("r", "a", "t") == expected((at for at, _ in readings), condition_at, on_ms, off_ms)


@settings(max_examples=examples(40))
@given(
    st.sampled_from(("rising", "falling", "either")),
    st.sampled_from([0.25, 0.5, 1.0]),
    st.sampled_from([1, 1.3, 2, 7.001]),
    rows((0.0, 1.0, 4.0, 9.0), 5),
    delays,
)
def test_rate(direction: str, limit: float, over_s: float, readings: list[Row], on_ms: int) -> None:
    condition = Rate(direction=direction, limit=limit, over_s=over_s)  # type: ignore[arg-type]
    over_ms = round(over_s * 1_000)
    part_ms = -(-over_ms // 8)

    def condition_at(now: int) -> bool | None:
        so: bool | None = None
        for number, (at, value) in enumerate(readings):
            if at > now:
                break
            parts = set[int]()
            anchors = list[Row]()
            for earlier in readings[:number]:
                part = (START_MS + earlier[0]) // part_ms
                if part not in parts:
                    anchors.append(earlier)
                parts.add(part)
            old_enough = [anchor for anchor in anchors if at - anchor[0] >= over_ms]
            if old_enough:
                then, level = old_enough[-1]
                rate = (value - level) / ((at - then) / 1_000)
                so = {"rising": rate, "falling": -rate, "either": abs(rate)}[direction] > limit
        return so

    site = told(condition, {0: readings}, on_ms, 0)
    assert site.told.of("r", "a", "t") == expected((at for at, _ in readings), condition_at, on_ms, 0)


@settings(max_examples=examples(40))
@given(st.sampled_from([2, 2, 3]), st.sampled_from([5, 20, 60]), rows((0.0, 4.0), 10), delays, delays)
def test_repetition(count: int, within_s: int, readings: list[Row], on_ms: int, off_ms: int) -> None:
    crossings = [
        at
        for number, (at, value) in enumerate(readings)
        if value > 2 and (number == 0 or readings[number - 1][1] <= 2)
    ]

    def condition_at(now: int) -> bool:
        return sum(now - within_s * 1_000 <= at <= now for at in crossings) >= count

    site = told(
        Repetition(is_="above", limit=2, count=count, within_s=within_s), {0: readings}, on_ms, off_ms
    )
    times = [at for at, _ in readings] + [at + within_s * 1_000 + 1 for at in crossings]
    assert site.told.of("r", "a", "t") == expected(times, condition_at, on_ms, off_ms)


@settings(max_examples=examples(40))
@given(st.sampled_from([2, 4, 16]), st.sampled_from([0.0, 1.0]), rows((1.0, 1.0, 1.0, 2.0, 3.0)), delays)
def test_stuck(for_s: int, tolerance: float, readings: list[Row], on_ms: int) -> None:
    def condition_at(now: int) -> bool | None:
        stood: float | None = None
        moved, moving, seen, so = 0, -1, 0, None
        for at, value in readings:
            if at > now:
                break
            part = (START_MS + at) // (for_s * 1_000 // 16)
            if stood is None or abs(value - stood) > tolerance or part == moving:
                stood, moved, moving, seen, so = value, at, part, 0, False
            else:
                seen += 1
                so = at - moved >= for_s * 1_000 and seen >= 3
        return so

    site = told(Stuck(for_s=for_s, tolerance=tolerance), {0: readings}, on_ms, 0)
    assert site.told.of("r", "a", "t") == expected((at for at, _ in readings), condition_at, on_ms, 0)


@settings(max_examples=examples(40))
@given(st.sampled_from([1, 2, 5]), st.sampled_from([1.0, 2.5]), rows(), delays, delays)
def test_no_data(expected_s: int, times: float, readings: list[Row], on_ms: int, off_ms: int) -> None:
    limit_ms = round(expected_s * times * 1_000)

    def condition_at(now: int) -> bool | None:
        arrived = [at for at, _ in readings if at <= now]
        return now - arrived[-1] >= limit_ms if arrived else None

    site = told(NoData(expected_s=expected_s, times=times), {0: readings}, on_ms, off_ms, metric="")
    moments = [moment for at, _ in readings for moment in (at, at + limit_ms)]
    assert site.told.of("r", "a") == expected(moments, condition_at, on_ms, off_ms)


@settings(max_examples=examples(40))
@given(st.sampled_from([0.3, 0.5, 1.0]), rows(), rows(), rows(), delays)
def test_missing_fraction(
    fraction: float, first: list[Row], second: list[Row], third: list[Row], on_ms: int
) -> None:
    series = {0: first, 1: second, 2: third}

    def condition_at(now: int) -> bool | None:
        last = [max((at for at, _ in mine if at <= now), default=None) for mine in series.values()]
        heard = [at for at in last if at is not None]
        silent = sum(now - at >= 3_000 for at in heard)
        return silent >= max(2, fraction * len(heard) - 1e-6) if heard else None

    names = (("a", "t"), ("b", "t"), ("c", "t"))
    site = told(MissingFraction(fraction=fraction, expected_s=1), series, on_ms, 0, names, metric="")
    moments = [moment for mine in series.values() for at, _ in mine for moment in (at, at + 3_000)]
    assert site.told.of("r") == expected(moments, condition_at, on_ms, 0)


def instants(series: dict[int, list[Row]]) -> list[int]:
    return sorted({-(-at // 10_000) * 10_000 for mine in series.values() for at, _ in mine})


def last_value(mine: list[Row], instant: int) -> float | None:
    return next((value for at, value in reversed(mine) if at <= instant), None)


@settings(max_examples=examples(40))
@given(st.booleans(), rows(), rows())
def test_comparison_with_a_metric(is_ratio: bool, mine: list[Row], other: list[Row]) -> None:
    series = {0: mine, 1: other}
    condition = Comparison(
        with_="metric", other="u", is_="above", by="ratio" if is_ratio else "difference", limit=0.5
    )

    def condition_at(now: int) -> bool | None:
        so: bool | None = None
        for instant in instants(series):
            value, against = last_value(mine, instant), last_value(other, instant)
            if (
                instant <= now
                and value is not None
                and against is not None
                and not (is_ratio and against == 0)
            ):
                so = (value - against) / (against if is_ratio else 1) > 0.5
        return so

    site = told(condition, series, 0, 0, (("a", "t"), ("a", "u")))
    assert site.told.of("r", "a", "t") == expected(instants(series), condition_at, 0, 0)


@settings(max_examples=examples(40))
@given(rows(), rows(), rows(), rows())
def test_comparison_with_a_group(a: list[Row], b: list[Row], c: list[Row], d: list[Row]) -> None:
    series = {0: a, 1: b, 2: c, 3: d}

    def condition_at(now: int) -> bool | None:
        so: bool | None = None
        for instant in instants(series):
            found = [last_value(mine, instant) for mine in series.values()]
            values = [value for value in found if value is not None]
            if instant <= now and found[0] is not None and len(values) >= 3:
                so = abs(found[0] - median(values)) > 1
        return so

    names = tuple((name, "t") for name in "abcd")
    site = told(Comparison(with_="group", limit=1), series, 0, 0, names)
    assert site.told.of("r", "a", "t") == expected(instants(series), condition_at, 0, 0)


@settings(max_examples=examples(40))
@given(rows((0.0, 1.0, 2.0)), st.booleans(), delays, delays)
def test_connection(changes: list[Row], counts_offline: bool, on_ms: int, off_ms: int) -> None:
    words = (Presence.ONLINE, Presence.LOST, Presence.OFFLINE)
    gone = {1.0, 2.0} if counts_offline else {1.0}

    def condition_at(now: int) -> bool | None:
        before = [value in gone for at, value in changes if at <= now]
        return before[-1] if before else None

    condition = Connection(counts_offline=counts_offline)
    site = Site(
        rule("r", condition, metric="", on_delay_s=on_ms / 1_000, off_delay_s=off_ms / 1_000), series=()
    )
    for at, value in changes:
        site.presence(PresenceChange(device_id="a", presence=words[int(value)], at_ms=START_MS + at))
    site.tick(END_MS / 1_000)
    assert site.told.of("r", "a") == expected((at for at, _ in changes), condition_at, on_ms, off_ms)
