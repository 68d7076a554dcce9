"""The kernel's word on the clock."""

from __future__ import annotations

import struct
from ctypes import Array, c_char

import pytest

from ui.pages import clock_state as clock


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


def test_this_machine_has_a_clock() -> None:
    assert clock.clock_state() in {"synchronized", "unsynchronized", "unknown"}
