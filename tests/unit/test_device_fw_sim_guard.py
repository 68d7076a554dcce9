"""Epoch, counters and fence only grow, over boots too."""

from __future__ import annotations

from typing import Any

import pytest

from device_fw_sim.flash import MemoryFlash
from device_fw_sim.guard import Guard, fence_key


@pytest.mark.parametrize(
    ("fence", "key"),
    [
        (7, (7, "")),
        ([7, "b"], (7, "b")),
        (["7"], (7, "")),
        ({"counter": 7, "node": "b"}, (7, "b")),
        ("7:b", (7, "b")),
        ("x", (0, "")),
        (None, (0, "")),
        ([], (0, "")),
    ],
)
def test_fences_in_each_form(fence: Any, key: tuple[int, str]) -> None:
    assert fence_key(fence)[0] == key[0]


def test_a_lower_fence_is_not_obeyed_any_more() -> None:
    flash = MemoryFlash()
    guard = Guard(flash, 1)
    assert guard.obeys(3)
    assert guard.obeys(3)
    assert guard.obeys([4, "b"])
    assert not guard.obeys(3)
    assert not Guard(flash, 1).obeys([4, "a"])
    assert Guard(flash, 1).obeys([4, "b"])


def test_the_epoch_floor_and_the_counters_are_kept() -> None:
    flash = MemoryFlash()
    guard = Guard(flash, 2)
    assert guard.epoch_floor == 2
    guard.confirmed(5, "sim", 8, "8" * 64)
    guard.confirmed(4, "sim", 7, "7" * 64)
    guard.confirmed(4, "other", None, "7" * 64)
    again = Guard(flash, 1)
    assert again.epoch_floor == 5
    assert again.counters == {"sim": (8, "8" * 64)}
