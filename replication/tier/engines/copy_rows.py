"""Rows as PostgreSQL's binary COPY wants them, made of columns: no object for a row. Pure.

    header · for each row: count of fields i16, and for each field its length i32 and its bytes · -1 as i16

Source: PostgreSQL's documentation, COPY, "Binary Format". Times are µs since 2000-01-01, numbers big-endian.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from appliance.core.arrays import F64, I64, U8, U32

HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER: Final = b"\xff\xff"
EPOCH_MS: Final = 946_684_800_000
"""2000-01-01, ms since 1970."""
_NUMBER: Final = np.dtype(
    [
        ("fields", ">i2"),
        ("series_length", ">i4"),
        ("series", ">i4"),
        ("at_length", ">i4"),
        ("at", ">i8"),
        ("quality_length", ">i4"),
        ("quality", ">i2"),
        ("value_length", ">i4"),
        ("value", ">f8"),
    ]
)
_TEXT: Final = np.dtype([*_NUMBER.descr[:-2], ("value_length", ">i4")])


def number_rows(series: U32, at_ms: I64, quality: U8, values: F64) -> bytes:
    """Rows of (series integer, at timestamptz, quality smallint, value double precision)."""
    rows = np.empty(len(series), _NUMBER)
    _fill(rows, series, at_ms, quality)
    rows["value_length"] = 8
    rows["value"] = values
    return HEADER + rows.tobytes() + TRAILER


def text_rows(series: U32, at_ms: I64, quality: U8, texts: list[str]) -> bytes:
    """The same with a text as the last column. What PostgreSQL can't keep, NUL and half of a surrogate pair, becomes U+FFFD."""
    encoded = [_storable(text) for text in texts]
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    rows = np.empty(len(series), _TEXT)
    _fill(rows, series, at_ms, quality)
    rows["value_length"] = lengths
    # Each row's fixed part goes to where its text begins, less its size.
    ends = np.cumsum(lengths + _TEXT.itemsize)
    whole = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
    begins = ends - lengths - _TEXT.itemsize
    fixed = begins[:, np.newaxis] + np.arange(_TEXT.itemsize)
    whole[fixed] = rows.view(np.uint8).reshape(len(rows), _TEXT.itemsize)
    is_text = np.ones(len(whole), np.bool_)
    is_text[fixed] = False
    whole[is_text] = np.frombuffer(b"".join(encoded), np.uint8)
    return HEADER + whole.tobytes() + TRAILER


def _fill(rows: np.ndarray[tuple[int], np.dtype[np.void]], series: U32, at_ms: I64, quality: U8) -> None:
    rows["fields"] = 4
    rows["series_length"] = 4
    rows["series"] = series
    rows["at_length"] = 8
    rows["at"] = (at_ms - EPOCH_MS) * 1_000
    rows["quality_length"] = 2
    rows["quality"] = quality


def _storable(text: str) -> bytes:
    return (
        text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "\ufffd").encode()
    )
