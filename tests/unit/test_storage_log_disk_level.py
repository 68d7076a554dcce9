"""storage/log/disk_level.py: four levels, with hysteresis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import ConfigError
from storage.log.disk_level import DiskLevel, DiskLevels, Space

LEVELS = DiskLevels()


@pytest.mark.parametrize(
    ("before", "used_percent", "after"),
    [
        (DiskLevel.OK, 84.9, DiskLevel.OK),
        (DiskLevel.OK, 85.0, DiskLevel.LOW),
        (DiskLevel.OK, 92.0, DiskLevel.HOLD),
        (DiskLevel.OK, 95.0, DiskLevel.READ_ONLY),
        (DiskLevel.READ_ONLY, 93.1, DiskLevel.READ_ONLY),
        (DiskLevel.READ_ONLY, 92.9, DiskLevel.HOLD),
        (DiskLevel.HOLD, 90.1, DiskLevel.HOLD),
        (DiskLevel.HOLD, 89.9, DiskLevel.LOW),
        (DiskLevel.LOW, 83.1, DiskLevel.LOW),
        (DiskLevel.LOW, 82.9, DiskLevel.OK),
        (DiskLevel.READ_ONLY, 10.0, DiskLevel.OK),
    ],
)
def test_levels(before: DiskLevel, used_percent: float, after: DiskLevel) -> None:
    assert LEVELS.after(before, used_percent / 100) is after


@given(st.sampled_from(DiskLevel), st.floats(0, 1))
def test_a_level_that_was_reached_is_kept_at_the_same_share(before: DiskLevel, used: float) -> None:
    once = LEVELS.after(before, used)
    assert LEVELS.after(once, used) is once


@pytest.mark.parametrize(
    ("low", "hold", "read_only"), [(92, 92, 95), (85, 96, 95), (85, 92, 101), (2, 92, 95)]
)
def test_levels_that_do_not_rise_are_refused(low: int, hold: int, read_only: int) -> None:
    with pytest.raises(ConfigError, match="don't rise"):
        DiskLevels(low_percent=low, hold_percent=hold, read_only_percent=read_only)


def test_what_is_owed_counts_as_used() -> None:
    space = Space(total_bytes=1000, free_bytes=200)
    assert space.used_ratio() == pytest.approx(0.8)
    assert space.used_ratio(100) == pytest.approx(0.9)
    assert space.used_ratio(5000) == 1.0
    assert Space(total_bytes=0, free_bytes=0).used_ratio() == 1.0
    assert LEVELS.excess_bytes(space) == 0
    assert LEVELS.excess_bytes(space, 100) == 70
    assert LEVELS.after(DiskLevel.LOW, Space(total_bytes=1000, free_bytes=171).used_ratio()) is DiskLevel.OK
