"""Ranges of RFC 9110 §14: one is served, several and nonsense are ignored, none of the file's bytes is an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.device_port.ranges import Unsatisfiable, byte_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None), ("bytes=0-", (0, 100)), ("bytes=0-0", (0, 1)), ("bytes=10-19", (10, 20)), ("Bytes=99-", (99, 100)),
        ("bytes=90-500", (90, 100)), ("bytes=-10", (90, 100)), ("bytes=-500", (0, 100)), (" bytes=5-6 ", (5, 7)),
        ("bytes=0-1,5-6", None), ("bytes=9-3", None), ("bytes=-", None), ("items=0-5", None), ("bytes=a-b", None), ("", None),
        ("bytes=٣-", None), ("bytes=" + "9" * 80 + "-", None),
    ],
)  # fmt: skip
def test_what_is_asked_for(header: str | None, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999-"])
def test_no_byte_of_the_file(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        byte_range(header, 100)


@given(
    st.text(max_size=70) | st.from_regex(r"bytes=[0-9]{0,22}-[0-9]{0,22}", fullmatch=True),
    st.integers(1, 10**6),
)
def test_any_header_gives_bytes_of_the_file_or_none(header: str, size: int) -> None:
    try:
        found = byte_range(header, size)
    except Unsatisfiable:
        return
    assert found is None or 0 <= found[0] < found[1] <= size
