"""CBOR to plain Python values: any bytes at all give a value or a refusal, and nothing is made before it is known to fit.

Written here because what a general decoder can also make (dates, regular expressions, shared and cyclic references, numbers of
any length) is what must not come in. Bounded by depth, by the number of items, and by each length: a piece that claims more than
is left of the payload is refused before anything is allocated for it. Of duplicate keys the last one counts, as in JSON.

Source: RFC 8949.
"""

from __future__ import annotations

from math import isfinite, ldexp
from struct import Struct
from typing import Any, Final

from appliance.core.limits import (
    CBOR_BIGNUM_BYTES_MAX,
    CBOR_DEPTH_MAX,
    CBOR_ITEM_COUNT_MAX,
    PAYLOAD_DECODE_BYTES_MAX,
)
from appliance.management.readings import Reason, Refusal

_UINT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_INDEFINITE: Final = 31
_BREAK: Final = 0xFF
_SIZES: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_FLOATS: Final = {25: Struct(">e"), 26: Struct(">f"), 27: Struct(">d")}
_CONSTANTS: Final = {20: False, 21: True, 22: None, 23: None}
_TAG_EPOCH, _TAG_POSITIVE, _TAG_NEGATIVE, _TAG_DECIMAL, _TAG_BIGFLOAT, _TAG_CBOR = 1, 2, 3, 4, 5, 55_799
_EXPONENT_MAX: Final = 2_000
"""Of a decimal fraction or bigfloat, either way: beyond it the result is 0 or no double, whatever the mantissa."""
_DETAIL_CHARACTERS_MAX: Final = 200


class _Refused(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, reason: Reason, detail: str = "") -> None:
        self.refusal = Refusal(reason, detail)


def decode_cbor(payload: bytes, *, is_senml: bool = False) -> object | Refusal:
    """Decode one payload.

    Args:
        is_senml: Whole numbers may be keys, and values may be bytes.
    Returns:
        dict, list, str, int, float, bool, None (or bytes), numbers finite; or why there is no value.
    """
    if len(payload) > PAYLOAD_DECODE_BYTES_MAX:
        return Refusal(Reason.PAYLOAD_TOO_LARGE, f"{len(payload)} bytes")
    reader = _Reader(payload, is_senml)
    try:
        value: object = reader.item(1)
        if reader.at != len(payload):
            raise _Refused(Reason.BAD_CBOR, f"{len(payload) - reader.at} bytes follow the value")
    except _Refused as refused:
        return refused.refusal
    except UnicodeDecodeError as error:
        return Refusal(Reason.BAD_UTF8, str(error)[:_DETAIL_CHARACTERS_MAX])
    return value


class _Reader:
    """One payload while it is read; `at` is the next byte."""

    __slots__ = ("_data", "_end", "_is_senml", "_left", "at")

    def __init__(self, data: bytes, is_senml: bool) -> None:
        self._data = data
        self._end = len(data)
        self._is_senml = is_senml
        self._left = CBOR_ITEM_COUNT_MAX
        self.at = 0

    def item(self, depth: int) -> Any:
        """The next item, whatever it is."""
        value = self._any(depth)
        if type(value) is bytes and not self._is_senml:
            raise _Refused(Reason.BAD_VALUE, f"{len(value)} bytes")
        return value

    def _any(self, depth: int) -> Any:
        if depth > CBOR_DEPTH_MAX:
            raise _Refused(Reason.TOO_DEEP)
        if self._left <= 0:
            raise _Refused(Reason.TOO_MANY_POINTS, f"more than {CBOR_ITEM_COUNT_MAX} values and keys")
        self._left -= 1
        if self.at >= self._end:
            raise _Refused(Reason.BAD_CBOR, "it ends too early")
        head = self._data[self.at]
        self.at += 1
        major, info = head >> 5, head & 31
        if major == _SIMPLE:
            return self._simple(info)
        if info == _INDEFINITE:
            return self._indefinite(major, depth)
        count = info if info < 24 else self._number(info)
        if major == _TEXT:
            return self._piece(count).decode("utf-8")
        if major == _UINT:
            return count
        if major == _NEGATIVE:
            return -1 - count
        if major == _MAP:
            if 2 * count > self._end - self.at:
                raise _Refused(Reason.BAD_CBOR, f"a map of {count} entries does not fit")
            return {self._key(depth): self.item(depth + 1) for _ in range(count)}
        if major == _ARRAY:
            if count > self._end - self.at:
                raise _Refused(Reason.BAD_CBOR, f"an array of {count} elements does not fit")
            return [self.item(depth + 1) for _ in range(count)]
        if major == _BYTES:
            return self._piece(count)
        return self._tagged(count, depth)

    def _number(self, info: int) -> int:
        size = _SIZES.get(info)
        if size is None:
            raise _Refused(Reason.BAD_CBOR, f"a length of kind {info} at byte {self.at - 1}")
        return int.from_bytes(self._piece(size), "big")

    def _piece(self, size: int) -> bytes:
        begin, end = self.at, self.at + size
        if end > self._end:
            raise _Refused(Reason.BAD_CBOR, f"{size} bytes wanted, {self._end - begin} are left")
        self.at = end
        return self._data[begin:end]

    def _key(self, depth: int) -> Any:
        key: Any = self._any(depth + 1)
        if type(key) is not str and not (self._is_senml and type(key) is int):
            raise _Refused(Reason.BAD_CBOR, "a key is no text")
        return key

    def _simple(self, info: int) -> float | bool | None:
        if info in _CONSTANTS:
            return _CONSTANTS[info]
        form = _FLOATS.get(info)
        if form is None:
            raise _Refused(Reason.BAD_VALUE, f"simple value {info}")
        (number,) = form.unpack(self._piece(form.size))
        return _finite(number)

    def _indefinite(self, major: int, depth: int) -> Any:
        if major == _ARRAY:
            elements: list[Any] = []
            while not self._ends():
                elements.append(self.item(depth + 1))
            return elements
        if major == _MAP:
            entries: dict[str | int, Any] = {}
            while not self._ends():
                key = self._key(depth)
                entries[key] = self.item(depth + 1)
            return entries
        if major not in (_BYTES, _TEXT):
            raise _Refused(Reason.BAD_CBOR, f"major type {major} has no indefinite length")
        kind = str if major == _TEXT else bytes
        pieces: list[Any] = []
        while not self._ends():
            if self._data[self.at] & 31 == _INDEFINITE:
                raise _Refused(Reason.BAD_CBOR, "a piece of indefinite length within another")
            piece = self._any(depth + 1)
            if type(piece) is not kind:
                raise _Refused(Reason.BAD_CBOR, "a piece of another kind")
            pieces.append(piece)
        return kind().join(pieces)

    def _ends(self) -> bool:
        """Whether what has no length ends here."""
        if self.at >= self._end:
            raise _Refused(Reason.BAD_CBOR, "it ends too early")
        if self._data[self.at] != _BREAK:
            return False
        self.at += 1
        return True

    def _tagged(self, tag: int, depth: int) -> Any:
        value = self._any(depth + 1)
        if tag in (_TAG_EPOCH, _TAG_CBOR):
            return value
        if tag in (_TAG_POSITIVE, _TAG_NEGATIVE):
            if type(value) is not bytes:
                raise _Refused(Reason.BAD_CBOR, "a bignum that is no bytes")
            if len(value) > CBOR_BIGNUM_BYTES_MAX:
                raise _Refused(Reason.NUMBER_OUT_OF_RANGE, f"a whole number of {len(value)} bytes")
            number = int.from_bytes(value, "big")
            return number if tag == _TAG_POSITIVE else -1 - number
        if tag in (_TAG_DECIMAL, _TAG_BIGFLOAT):
            return _fraction(tag, value)
        raise _Refused(Reason.BAD_CBOR, f"tag {tag} has no meaning here")


def _fraction(tag: int, value: Any) -> float:
    """m × 10^e, or m × 2^e, of [e, m]."""
    if type(value) is not list or list(map(type, value)) != [int, int]:
        raise _Refused(Reason.BAD_CBOR, "a fraction that is not two whole numbers")
    exponent, mantissa = value
    if abs(exponent) > _EXPONENT_MAX:
        raise _Refused(Reason.NUMBER_OUT_OF_RANGE, f"an exponent of {exponent}")
    try:
        if tag == _TAG_DECIMAL:
            return _finite(float(f"{mantissa}e{exponent}"))
        return _finite(ldexp(float(mantissa), exponent))
    except OverflowError:
        raise _Refused(Reason.NUMBER_OUT_OF_RANGE, f"an exponent of {exponent}") from None


def _finite(number: float) -> float:
    if not isfinite(number):
        raise _Refused(Reason.NUMBER_OUT_OF_RANGE, str(number))
    return number
