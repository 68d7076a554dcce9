"""The data types of the wire: integers, variable byte integers, UTF-8 strings, binary data.

`Cursor` reads them from one packet's body and raises RemoteProtocolError(malformed packet) when the body
ends too early or breaks a type's rule; the `put_*` functions write them and raise LocalProtocolError. It
knows nothing of packets.

Source: MQTT 5.0 §1.5.
"""

from __future__ import annotations

from typing import Final

from broker.mqtt.constants import REMAINING_LENGTH_MAX
from broker.mqtt.reason_codes import ReasonCode
from broker.mqtt.violations import local, remote

STRING_BYTES_MAX: Final = 0xFFFF
_MALFORMED: Final = ReasonCode.MALFORMED_PACKET


class Cursor:
    """Reads one packet's body from front to back.

    Args:
        body: The bytes after the fixed header; never longer than the packet, so nothing read here can be
            longer than what has already arrived.
    """

    __slots__ = ("body", "end", "position")

    def __init__(self, body: bytes, position: int = 0, end: int | None = None) -> None:
        self.body = body
        self.position = position
        self.end = len(body) if end is None else end

    @property
    def remaining(self) -> int:
        """Bytes not yet read."""
        return self.end - self.position

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes."""
        start = self.position
        stop = start + count
        if stop > self.end:
            raise remote(f"The packet ends inside its {what}.", _MALFORMED)
        self.position = stop
        return self.body[start:stop]

    def u8(self, what: str) -> int:
        position = self.position
        if position >= self.end:
            raise remote(f"The packet ends before its {what}.", _MALFORMED)
        self.position = position + 1
        return self.body[position]

    def u16(self, what: str) -> int:
        return int.from_bytes(self.take(2, what), "big")

    def u32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "big")

    def varint(self, what: str) -> int:
        """A variable byte integer of one to four bytes in its shortest form.

        Source: MQTT 5.0 §1.5.5 [MQTT-1.5.5-1].
        """
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.u8(what)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    raise remote(f"The {what} is not in its shortest form.", _MALFORMED)
                return value
        raise remote(f"The {what} is longer than four bytes.", _MALFORMED)

    def binary(self, what: str) -> bytes:
        """Binary data with its two-byte length (MQTT 5.0 §1.5.6)."""
        return self.take(self.u16(what), what)

    def text(self, what: str) -> str:
        """A UTF-8 string with its two-byte length (MQTT 5.0 §1.5.4)."""
        return decode_text(self.take(self.u16(what), what), what)

    def finish(self) -> None:
        """Nothing may be left over."""
        if self.position != self.end:
            raise remote(f"{self.remaining} bytes are left over at the end of the packet.", _MALFORMED)


def decode_text(data: bytes, what: str) -> str:
    """UTF-8 without surrogates (Python's decoder refuses them) and without U+0000; U+FEFF stays.

    Source: MQTT 5.0 §1.5.4 [MQTT-1.5.4-1], [MQTT-1.5.4-2], [MQTT-1.5.4-3].
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise remote(f"The {what} is not UTF-8.", _MALFORMED) from None
    if "\0" in text:
        raise remote(f"The {what} contains U+0000.", _MALFORMED)
    return text


def put_uint(value: int, byte_count: int, what: str) -> bytes:
    """An unsigned integer of 1, 2 or 4 bytes, big end first."""
    if not 0 <= value < 1 << (8 * byte_count):
        raise local(f"{value} does not fit the {byte_count} bytes of the {what}.", _MALFORMED)
    return value.to_bytes(byte_count, "big")


def put_varint(value: int, what: str) -> bytes:
    """A variable byte integer, 0..268,435,455, in its shortest form (MQTT 5.0 §1.5.5)."""
    if 0 <= value < 0x80:
        return bytes((value,))
    if not 0 <= value <= REMAINING_LENGTH_MAX:
        raise local(f"{value} does not fit the {what}, a variable byte integer.", _MALFORMED)
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def put_binary(value: bytes, what: str) -> bytes:
    """Binary data of at most 65,535 bytes, after its two-byte length."""
    if len(value) > STRING_BYTES_MAX:
        raise local(f"The {what} is longer than {STRING_BYTES_MAX} bytes.", _MALFORMED)
    return len(value).to_bytes(2, "big") + value


def put_text(value: str, what: str) -> bytes:
    """A UTF-8 string of at most 65,535 bytes, after its two-byte length."""
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise local(f"The {what} contains a surrogate, which UTF-8 can't carry.", _MALFORMED) from None
    if "\0" in value:
        raise local(f"The {what} contains U+0000.", _MALFORMED)
    return put_binary(data, what)


def remaining_length(data: bytes, at: int, *, is_shortest: bool = True) -> tuple[int, int]:
    """Read a variable byte integer (MQTT 5.0 §1.5.5).

    Args:
        is_shortest: Refuse one that is longer than needed: a rule of MQTT 5 that 3.1.1 (§2.2.3) does not have.
    Returns:
        The value and where it ends; (-1, at) if the data ends before it does.
    Raises:
        RemoteProtocolError: more than four bytes, or more than needed (0x81).
    """
    value = 0
    for index in range(4):
        if at + index >= len(data):
            return -1, at
        byte = data[at + index]
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            if byte == 0 and index and is_shortest:
                raise remote("A variable byte integer is longer than needed.", _MALFORMED)
            return value, at + index + 1
    raise remote("A variable byte integer has more than four bytes.", _MALFORMED)
