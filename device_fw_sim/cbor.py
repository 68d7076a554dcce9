"""As much CBOR as files over MQTT need: whole numbers, bytes, text, arrays, maps, true, false and null. Pure.

Source: RFC 8949. Lengths are definite, as the contract says.
"""

from __future__ import annotations

from typing import Any, Final

from device_fw_sim.errors import SimError

_DEPTH_MAX: Final = 8
_UINT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP = range(6)
_CONSTANTS: Final[dict[int, bool | None]] = {0xF4: False, 0xF5: True, 0xF6: None}


class CborError(SimError):
    code = "cbor_invalid"


def encode(value: Any) -> bytes:
    """A value as CBOR. Raises TypeError for what isn't listed above."""
    match value:
        case None:
            return b"\xf6"
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return _head(_UINT, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
        case bytes():
            return _head(_BYTES, len(value)) + value
        case str():
            data = value.encode()
            return _head(_TEXT, len(data)) + data
        case list() | tuple():
            return _head(_ARRAY, len(value)) + b"".join(map(encode, value))
        case dict():
            return _head(_MAP, len(value)) + b"".join(
                encode(key) + encode(each) for key, each in value.items()
            )
        case _:
            raise TypeError(f"{type(value).__name__} has no place in CBOR here")


def decode(data: bytes) -> Any:
    """The value of CBOR. Raises CborError: it is cut, too long, or of a kind that isn't listed above."""
    value, end = _item(data, 0, 0)
    if end != len(data):
        raise CborError(f"{len(data) - end} bytes follow the value.")
    return value


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes((major << 5 | number,))
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes((major << 5 | info,)) + number.to_bytes(size, "big")
    raise TypeError(f"{number} is beyond 64 bits")


def _item(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > _DEPTH_MAX:
        raise CborError("It is too deep.")
    if at >= len(data):
        raise CborError("It ends too early.")
    head = data[at]
    if head in _CONSTANTS:
        return _CONSTANTS[head], at + 1
    major, info = head >> 5, head & 31
    number, at = _number(data, at + 1, info)
    if major == _UINT:
        return number, at
    if major == _NEGATIVE:
        return -1 - number, at
    # What it claims to hold is compared with what is there before anything is made for it.
    if number > len(data) - at:
        raise CborError(f"{number} bytes or items claimed, {len(data) - at} bytes are left.")
    if major == _BYTES:
        return data[at : at + number], at + number
    if major == _TEXT:
        try:
            return data[at : at + number].decode(), at + number
        except UnicodeDecodeError as error:
            raise CborError("Text that is not UTF-8.") from error
    if major == _ARRAY:
        items: list[Any] = []
        for _ in range(number):
            item, at = _item(data, at, depth + 1)
            items.append(item)
        return items, at
    if major == _MAP:
        entries: dict[str, Any] = {}
        for _ in range(number):
            key, at = _item(data, at, depth + 1)
            if not isinstance(key, str):
                raise CborError("A key that is no text.")
            entries[key], at = _item(data, at, depth + 1)
        return entries, at
    raise CborError(f"Major type {major} is not used here.")


def _number(data: bytes, at: int, info: int) -> tuple[int, int]:
    if info < 24:
        return info, at
    if info > 27:
        raise CborError(f"A length of kind {info}.")
    size = 1 << info - 24
    if at + size > len(data):
        raise CborError("It ends too early.")
    return int.from_bytes(data[at : at + size], "big"), at + size
