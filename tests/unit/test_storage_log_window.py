"""Reading a file through a window gives the same bytes as reading it whole."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.log.window import Window

MIB = 1 << 20


def over(data: bytes) -> Window:
    def read_at(length: int, offset: int) -> bytes:
        assert length % 4096 == offset % 4096 == 0
        return data[offset : offset + length]

    return Window(read_at, len(data))


@settings(deadline=None)
@given(ranges=st.lists(st.tuples(st.integers(0, 3 * MIB), st.integers(0, 2 * MIB)), max_size=8))
def test_any_ranges_in_any_order(ranges: list[tuple[int, int]]) -> None:
    data = random.Random(1).randbytes(2 * MIB + 5000)
    window = over(data)
    for offset, length in ranges:
        assert window.get(offset, length) == data[offset : offset + length]


def test_pages_that_begin_with_a_prefix() -> None:
    data = bytearray(3 * MIB)
    for at in (100, 8192, MIB + 4096, 2 * MIB + 7):
        data[at : at + 2] = b"HP"
    window = over(bytes(data))
    assert window.find_pages(0, b"HP") == 8192
    assert window.find_pages(8192, b"HP") == 8192
    assert window.find_pages(8193, b"HP") == MIB + 4096
    assert window.find_pages(MIB + 4097, b"HP") is None
    assert window.find_pages(9 * MIB, b"HP") is None


def test_where_content_ends() -> None:
    data = bytearray(3 * MIB)
    assert over(bytes(data)).content_end(4096) == 4096
    data[2 * MIB + 4096] = 1
    assert over(bytes(data)).content_end(4096) == 2 * MIB + 8192
    assert over(bytes(data[: 2 * MIB + 4097])).content_end(4096) == 2 * MIB + 4097
