"""Plain Python values to CBOR, as short as it can be; what cbor.py reads. Pure.

Source: RFC 8949 §3 and §4.2.1 (preferred serialization).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

_UINT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP = range(6)

Writable = int | str | bytes | Sequence["Writable"] | Mapping[str, "Writable"]


def encode_cbor(value: Writable) -> bytes:
    """One value: whole numbers of at most 64 bits, text, bytes, and arrays and maps of them."""
    # Joined once: a block of a file is copied once, however deep it lies.
    return b"".join(_pieces(value))


def _pieces(value: Writable) -> Iterator[bytes]:
    if isinstance(value, int):
        yield _head(_UINT, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
    elif isinstance(value, bytes):
        yield _head(_BYTES, len(value))
        yield value
    elif isinstance(value, str):
        text = value.encode()
        yield _head(_TEXT, len(text))
        yield text
    elif isinstance(value, Mapping):
        yield _head(_MAP, len(value))
        for key, each in value.items():
            yield from _pieces(key)
            yield from _pieces(each)
    else:
        yield _head(_ARRAY, len(value))
        for each in value:
            yield from _pieces(each)


def _head(major: int, count: int) -> bytes:
    if count < 24:
        return bytes((major << 5 | count,))
    for info, size in ((24, 1), (25, 2), (26, 4)):
        if count < 1 << 8 * size:
            return bytes((major << 5 | info,)) + count.to_bytes(size, "big")
    return bytes((major << 5 | 27,)) + count.to_bytes(8, "big")
