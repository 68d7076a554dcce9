"""How far clocks are off, from delays alone."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.core.arrays import i64
from appliance.core.limits import CLOCK_AHEAD_TOLERANCE_MS, CLOCK_BEHIND_TOLERANCE_MS
from appliance.management.clock_offset import (
    NOTHING,
    ClockOffsets,
    ClockSample,
    clock_word,
    common_offset_ms,
    is_wrong,
    lowest_delays,
)

HOUR_MS = 3_600_000


def offsets_of(*samples: tuple[int, int]) -> ClockOffsets:
    """After (slot, delay) of readings."""
    offsets = ClockOffsets()
    offsets.note(ClockSample(device="a", slot=slot, delay_ms=delay) for slot, delay in samples)
    return offsets


def test_the_lowest_of_each() -> None:
    found = lowest_delays(i64([0, 2, 0]), i64([1_000, 1_000, 2_000]), i64([900, 3_000, 1_990]), 3)
    assert found.tolist() == [10, NOTHING, -2_000]
    assert lowest_delays(i64([]), i64([]), i64([]), 0).tolist() == []
    assert found.dtype == np.int64


def test_nothing_is_known_of_a_stranger() -> None:
    assert offsets_of().offset_ms("a") is None
    assert not offsets_of().is_wrong("a")


def test_ahead_is_known_at_once() -> None:
    offsets = offsets_of((1, -HOUR_MS))
    assert offsets.offset_ms("a") == HOUR_MS
    assert offsets.wrong() == {"a": HOUR_MS}


def test_a_clock_that_was_set_right_is_right_two_slots_later() -> None:
    assert offsets_of((1, -HOUR_MS), (2, 40)).offset_ms("a") == HOUR_MS
    assert offsets_of((1, -HOUR_MS), (2, 40), (3, 50)).offset_ms("a") == -40


def test_readings_that_come_late_once_are_no_slow_clock() -> None:
    assert offsets_of((1, HOUR_MS)).offset_ms("a") is None


def test_a_device_that_catches_up_has_no_slow_clock() -> None:
    offsets = offsets_of((1, HOUR_MS), (2, HOUR_MS // 2))
    assert offsets.offset_ms("a") is None
    offsets.note([ClockSample(device="a", slot=3, delay_ms=20)])
    assert offsets.offset_ms("a") == -20
    assert not offsets.is_wrong("a")


def test_the_same_distance_twice_is_a_slow_clock() -> None:
    offsets = offsets_of((1, HOUR_MS), (9, HOUR_MS + 300))
    assert offsets.offset_ms("a") == -HOUR_MS
    assert offsets.is_wrong("a")
    offsets.note([ClockSample(device="a", slot=10, delay_ms=3 * HOUR_MS)])
    assert offsets.offset_ms("a") is None, "that it would be judged by is gone, and it comes no nearer"


def test_a_status_says_it_at_once() -> None:
    offsets = ClockOffsets()
    offsets.note([ClockSample(device="a", slot=1, delay_ms=HOUR_MS, is_status=True)])
    assert offsets.offset_ms("a") == -HOUR_MS
    offsets.forget()
    assert offsets.offset_ms("a") is None


def test_what_is_older_than_two_slots_does_not_count() -> None:
    assert offsets_of((5, 100), (6, 100), (4, -HOUR_MS)).offset_ms("a") == -100


@pytest.mark.parametrize(
    ("offset_ms", "wrong"),
    [
        (None, False),
        (0, False),
        (CLOCK_AHEAD_TOLERANCE_MS, False),
        (CLOCK_AHEAD_TOLERANCE_MS + 1, True),
        (-CLOCK_BEHIND_TOLERANCE_MS, False),
        (-CLOCK_BEHIND_TOLERANCE_MS - 1, True),
    ],
)
def test_wrong_is_beyond_the_tolerance(offset_ms: int | None, wrong: bool) -> None:
    assert is_wrong(offset_ms) is wrong


def test_what_most_devices_share_is_our_own_clock() -> None:
    assert common_offset_ms([HOUR_MS, HOUR_MS + 500, HOUR_MS - 800], 4) == HOUR_MS
    assert common_offset_ms([HOUR_MS, HOUR_MS + 500, HOUR_MS - 800], 6) is None, "half is not most"
    assert common_offset_ms([HOUR_MS, HOUR_MS], 2) is None, "two may be a coincidence"
    assert common_offset_ms([-HOUR_MS, HOUR_MS, 9 * HOUR_MS], 3) is None


def test_what_the_api_says() -> None:
    assert [clock_word(offset_ms) for offset_ms in (None, 3, HOUR_MS)] == ["unknown", "right", "wrong"]


def test_our_own_clock_among_all_devices() -> None:
    offsets = ClockOffsets()
    offsets.note(ClockSample(device=f"d{at}", slot=1, delay_ms=-HOUR_MS) for at in range(3))
    assert offsets.common_offset_ms() == HOUR_MS
    offsets.note(ClockSample(device=f"right{at}", slot=1, delay_ms=5) for at in range(3))
    assert offsets.common_offset_ms() is None
