"""An encoder of CBOR that is none of ours: for tests only, in the plainest form (RFC 8949 §3)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence


def head(major: int, count: int) -> bytes:
    """The first byte of an item and its argument, as short as it can be."""
    if count < 24:
        return bytes([major << 5 | count])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if count < 256**size:
            return bytes([major << 5 | info]) + count.to_bytes(size, "big")
    raise OverflowError(count)


def encode(value: object) -> bytes:
    """A value that JSON could hold, or bytes."""
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if isinstance(value, int):
        if -(2**64) <= value < 2**64:
            return head(0, value) if value >= 0 else head(1, -1 - value)
        positive = value if value >= 0 else -1 - value
        raw = positive.to_bytes((positive.bit_length() + 7) // 8, "big")
        return head(6, 2 if value >= 0 else 3) + encode(raw)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        raw = value.encode()
        return head(3, len(raw)) + raw
    if isinstance(value, Mapping):
        return head(5, len(value)) + b"".join(encode(k) + encode(v) for k, v in value.items())
    assert isinstance(value, Sequence), value
    return head(4, len(value)) + b"".join(map(encode, value))
