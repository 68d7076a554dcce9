"""The kernel's word on the clock."""

from __future__ import annotations

import ctypes
import struct
import time
from ctypes import Array, c_char

import pytest

from appliance.core import clock_state as clock


@pytest.mark.parametrize(
    ("result", "status", "word"),
    [(0, 0, "synchronized"), (5, 0, "unsynchronized"), (0, 0x40, "unsynchronized"), (-1, 0, "unknown")],
)
def test_the_clock_is_what_the_kernel_says(result: int, status: int, word: str) -> None:
    def adjtimex(buffer: Array[c_char]) -> int:
        assert buffer.raw == bytes(clock.TIMEX_BYTES)
        struct.pack_into("i", buffer, clock.STATUS_OFFSET, status)
        return result

    assert clock.clock_state(adjtimex) == word


def test_a_program_by_another_clock_knows_nothing_of_the_kernels() -> None:
    now_ms = 1_790_000_000_000

    def adjtimex(buffer: Array[c_char]) -> int:
        struct.pack_into("l", buffer, clock.SECONDS_OFFSET, now_ms // 1_000)
        return 0

    assert clock.clock_state(adjtimex, now_ms=now_ms + 30_000) == "synchronized"
    assert clock.clock_state(adjtimex, now_ms=now_ms + 90_000) == "unknown"
    assert clock.clock_state(adjtimex, now_ms=0) == "unknown"


def test_the_kernels_time_is_where_it_is_looked_for() -> None:
    """Otherwise no clock would ever be believed to be synchronized."""
    libc = ctypes.CDLL(None)

    def adjtimex(buffer: Array[c_char]) -> int:
        assert libc.adjtimex(buffer) >= 0
        struct.pack_into("i", buffer, clock.STATUS_OFFSET, 0)
        return 0

    assert clock.clock_state(adjtimex, now_ms=time.time_ns() // 1_000_000) == "synchronized"


def test_this_machine_has_a_clock() -> None:
    assert clock.clock_state() in {"synchronized", "unsynchronized", "unknown"}
