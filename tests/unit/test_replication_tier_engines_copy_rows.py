"""Rows for COPY: each column at its place, whatever the texts are; PostgreSQL reads them in tests/integration/test_tier_postgres_readings.py."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from replication.tier.engines.copy_rows import EPOCH_MS, HEADER, TRAILER, number_rows, text_rows

ROWS = st.lists(
    st.tuples(st.integers(0, 2**31 - 1), st.integers(-(2**45), 2**45), st.integers(0, 2), st.text(max_size=20), st.floats(allow_nan=False)),
    max_size=30,
)  # fmt: skip


def parsed(data: bytes) -> list[list[bytes]]:
    """The fields of each row, as the documentation has the format."""
    assert data.startswith(HEADER)
    assert data.endswith(TRAILER)
    at, rows = len(HEADER), []
    while data[at : at + 2] != TRAILER:
        (count,) = struct.unpack_from(">h", data, at)
        at += 2
        row = []
        for _ in range(count):
            (length,) = struct.unpack_from(">i", data, at)
            row.append(data[at + 4 : at + 4 + length])
            at += 4 + length
        rows.append(row)
    assert at + 2 == len(data)
    return rows


@given(ROWS)
def test_rows_have_their_columns(rows: list[tuple[int, int, int, str, float]]) -> None:
    series = np.array([row[0] for row in rows], np.uint32)
    at_ms = np.array([row[1] for row in rows], np.int64)
    quality = np.array([row[2] for row in rows], np.uint8)
    texts = [row[3] for row in rows]
    numbers = np.array([row[4] for row in rows], np.float64)
    fixed = [
        [struct.pack(">i", row[0]), struct.pack(">q", (row[1] - EPOCH_MS) * 1_000), struct.pack(">h", row[2])]
        for row in rows
    ]
    assert parsed(number_rows(series, at_ms, quality, numbers)) == [
        [*columns, struct.pack(">d", row[4])] for columns, row in zip(fixed, rows, strict=True)
    ]
    assert parsed(text_rows(series, at_ms, quality, texts)) == [
        [*columns, row[3].replace("\x00", "\ufffd").encode("utf-8", "replace")]
        for columns, row in zip(fixed, rows, strict=True)
    ]


def test_what_postgresql_can_not_keep_is_replaced() -> None:
    one = np.array([1], np.uint32), np.array([0], np.int64), np.array([0], np.uint8)
    for text, kept in (("a\x00b", "a\ufffdb"), ("\ud83d", "\ufffd"), ("\ud83d\ude00", "😀"), ("", "")):
        assert parsed(text_rows(*one, [text]))[0][3].decode() == kept
