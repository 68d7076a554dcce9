"""Waves: what a person may write, sizes that round up, and who is in which: everybody once, the same every time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import UsageError
from appliance.management.waves import (
    DEFAULT_WAVES,
    Wave,
    assign,
    check_waves,
    sizes,
    start_delay_ms,
    that_add,
)


def waves(*texts: str) -> tuple[Wave, ...]:
    return tuple(Wave.of(text) for text in texts)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, ()), (1, (1,)), (2, (1, 1)), (5, (1, 1, 3)), (10, (1, 2, 7)), (21, (1, 1, 4, 15)), (100, (1, 4, 20, 75)),
        (101, (1, 5, 20, 75)), (1000, (1, 49, 200, 750)),
    ],
)  # fmt: skip
def test_the_default_is_one_device_then_5_25_and_100_percent_rounded_up(
    count: int, expected: tuple[int, ...]
) -> None:
    assert sizes(DEFAULT_WAVES, count) == expected


@pytest.mark.parametrize(("count", "expected"), [(0, ()), (12, ("1", "25%", "100%")), (2, ("1", "100%"))])
def test_a_wave_that_adds_nobody_is_none(count: int, expected: tuple[str, ...]) -> None:
    assert tuple(map(str, that_add(DEFAULT_WAVES, count))) == expected


def test_waves_are_written_as_they_are_read() -> None:
    assert [str(wave) for wave in waves("3", "5%", " 25 % ", "100%")] == ["3", "5%", "25%", "100%"]


@pytest.mark.parametrize("text", ["", "0", "0%", "101%", "-1", "1.5", "%", "x", "10001", "٣", "9999999"])
def test_what_is_no_wave(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        Wave.of(text)
    assert refused.value.code == "wave_invalid"


@pytest.mark.parametrize(
    "texts",
    [(), ("5%",), ("25%", "5%", "100%"), ("5", "5", "100%"), ("100%", "100%"), ("1",), ("100%", "5"), ("1%",) * 11],
)  # fmt: skip
def test_waves_go_further_each_time_and_end_with_all(texts: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="can't be used"):
        check_waves(waves(*texts))


def test_good_waves_are_taken() -> None:
    check_waves(DEFAULT_WAVES)
    check_waves(waves("100%"))
    check_waves(waves("1", "10", "2%", "50%", "100%"))


def test_canaries_come_first_and_in_their_order() -> None:
    devices = [f"d{n}" for n in range(40)]
    found = assign(devices, waves("2", "100%"), seed="r", canaries=("d7", "unknown", "d30"))
    assert {device for device, wave in found.items() if wave == 0} == {"d7", "d30"}


def test_another_rollout_begins_with_other_devices() -> None:
    devices = [f"d{n}" for n in range(40)]
    firsts = {
        next(device for device, wave in assign(devices, DEFAULT_WAVES, seed=f"r{n}").items() if wave == 0)
        for n in range(20)
    }
    assert len(firsts) > 5


@given(
    st.sets(st.text(max_size=8), max_size=60),
    st.lists(st.integers(1, 99), max_size=4, unique=True).map(sorted),
    st.text(max_size=5),
)
def test_everybody_is_in_one_wave_and_the_same_one_again(
    devices: set[str], percents: list[int], seed: str
) -> None:
    plan = (*(Wave(percent, True) for percent in percents), Wave(100, True))
    found = assign(devices, plan, seed=seed)
    assert set(found) == devices
    assert found == assign(sorted(devices), plan, seed=seed)
    counted = [list(found.values()).count(n) for n in range(len(set(found.values())))]
    assert tuple(counted) == sizes(plan, len(devices))
    assert sum(counted) == len(devices)
    reached = 0
    for wave, size in zip([w for w in plan if w.reach(len(devices))], counted, strict=False):
        reached += size
        assert reached >= wave.reach(len(devices))


@given(st.text(max_size=8), st.integers(0, 10**9))
def test_starts_are_spread(device: str, spread_ms: int) -> None:
    delay_ms = start_delay_ms("r", device, spread_ms)
    assert 0 <= delay_ms < max(1, spread_ms)
    assert delay_ms == start_delay_ms("r", device, spread_ms)
