"""Python buffers to something DuckDB can select from, without a row ever being a Python object.

nanoarrow wraps array('q'), bytes and the like as Arrow columns (no copy of fixed-width data); DuckDB reads any
object with `__arrow_c_stream__`. pyarrow would do the same for 170 MB.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

import nanoarrow

Buffer = Any
"""Anything with the buffer protocol: array, bytes, bytearray."""

_TYPES: Final = {
    "u8": nanoarrow.uint8(),
    "u32": nanoarrow.uint32(),
    "u64": nanoarrow.uint64(),
    "i64": nanoarrow.int64(),
    "f64": nanoarrow.float64(),
}


class ArrowTable:
    """Named columns of one length.

    May be scanned any number of times: each scan exports a stream of its own.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._types: dict[str, Any] = {}
        self._children: list[Any] = []

    def __len__(self) -> int:
        return self._count

    def add(self, name: str, type_name: str, buffer: Buffer) -> ArrowTable:
        """A fixed-width column: `type_name` is u8, u32, u64, i64 or f64, the buffer its little-endian values."""
        arrow_type = _TYPES[type_name]
        self._types[name] = arrow_type
        self._children.append(nanoarrow.c_array_from_buffers(arrow_type, self._count, [None, buffer]))
        return self

    def add_texts(self, name: str, texts: Sequence[str]) -> ArrowTable:
        """A column of text."""
        return self._add_bytes(name, nanoarrow.string(), [text.encode() for text in texts])

    def add_optional_texts(self, name: str, texts: Sequence[str | None]) -> ArrowTable:
        """A column of text or nulls."""
        return self._add_bytes(name, nanoarrow.string(), [None if t is None else t.encode() for t in texts])

    def add_binaries(self, name: str, values: Sequence[bytes | None]) -> ArrowTable:
        """A column of bytes or nulls."""
        return self._add_bytes(name, nanoarrow.binary(), values)

    def add_optional(self, name: str, values: Sequence[int | None]) -> ArrowTable:
        """A column of i64 or nulls."""
        validity = _validity([value is not None for value in values])
        buffers = [validity, array("q", (value or 0 for value in values))]
        self._types[name] = nanoarrow.int64()
        self._children.append(nanoarrow.c_array_from_buffers(nanoarrow.int64(), self._count, buffers))
        return self

    def _add_bytes(self, name: str, arrow_type: Any, values: Sequence[bytes | None]) -> ArrowTable:
        offsets = array("i", accumulate((len(value) if value else 0 for value in values), initial=0))
        validity = _validity([value is not None for value in values])
        data = b"".join(value for value in values if value)
        self._types[name] = arrow_type
        self._children.append(
            nanoarrow.c_array_from_buffers(arrow_type, self._count, [validity, offsets, data])
        )
        return self

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        whole = nanoarrow.c_array_from_buffers(
            nanoarrow.struct(self._types), self._count, [None], children=self._children
        )
        return nanoarrow.Array(whole).__arrow_c_stream__(requested_schema)


def _validity(present: Sequence[bool]) -> bytes | None:
    """Arrow's bitmap of values that are not null, least significant bit first; None when all are there."""
    if all(present):
        return None
    bitmap = bytearray((len(present) + 7) // 8)
    for position, there in enumerate(present):
        if there:
            bitmap[position >> 3] |= 1 << (position & 7)
    return bytes(bitmap)
