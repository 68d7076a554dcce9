"""Bytes of the few packets a load run needs, made independently of Homeport's codec.

A measurement must not lean on the code it measures, and needs what no codec gives: packets of one fixed size at known
offsets, and the bytes of the acknowledgements laid out beforehand. Sources: MQTT 3.1.1 and 5.0, sections 3.1 to 3.9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

PINGREQ: Final = b"\xc0\x00"
DISCONNECT: Final = b"\xe0\x00"

CONNACK_TYPE: Final = 0x20
PUBACK_TYPE: Final = 0x40
PUBREC_TYPE: Final = 0x50
PUBREL_TYPE: Final = 0x62
PUBCOMP_TYPE: Final = 0x70
SUBACK_TYPE: Final = 0x90
PINGRESP_TYPE: Final = 0xD0
DISCONNECT_TYPE: Final = 0xE0

PUBACK_SHORT: Final = b"\x40\x02"
"""An acknowledgement's first two bytes when no reason code follows: all of 3.1.1, and success in 5.0."""
PUBREC_SHORT: Final = b"\x50\x02"
PUBREL_SHORT: Final = b"\x62\x02"
PUBCOMP_SHORT: Final = b"\x70\x02"


def remaining_length(length: int) -> bytes:
    """Variable byte integer (MQTT 5.0 §1.5.5)."""
    out = bytearray()
    while True:
        length, digit = divmod(length, 128)
        out.append(digit | 0x80 if length else digit)
        if not length:
            return bytes(out)


def text(value: str) -> bytes:
    """UTF-8 string with its 16-bit length (§1.5.4)."""
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def connect(
    client_id: str, username: str | None, password: str | None, version: int, keep_alive_s: int
) -> bytes:
    """CONNECT with a clean session (§3.1)."""
    flags = 0x02 | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    body = text("MQTT") + bytes((version, flags)) + keep_alive_s.to_bytes(2, "big")
    if version == 5:
        body += b"\x00"
    body += text(client_id)
    if username is not None:
        body += text(username)
    if password is not None:
        body += text(password)
    return b"\x10" + remaining_length(len(body)) + body


def publish_ring(topic: str, payloads: Sequence[bytes], qos: int, version: int) -> tuple[bytes, int]:
    """PUBLISH packets one after the other, with packet ids 1, 2, … for QoS 1 and 2.

    Args:
        topic: Topic name, sent with every packet.
        payloads: One for each packet, all of the same size.
        qos: 0, 1 or 2.
        version: 4 or 5.
    Returns:
        The bytes, and the size of one packet.
    """
    sizes = {len(payload) for payload in payloads}
    assert len(sizes) == 1, f"payloads of one ring have one size, not {sorted(sizes)}"
    topic_bytes = text(topic)
    properties = b"\x00" if version == 5 else b""
    id_bytes = 2 if qos else 0
    length = len(topic_bytes) + id_bytes + len(properties) + sizes.pop()
    head = bytes((0x30 | qos << 1,)) + remaining_length(length) + topic_bytes
    packets = [
        head + ((index + 1).to_bytes(2, "big") if qos else b"") + properties + payload
        for index, payload in enumerate(payloads)
    ]
    return b"".join(packets), len(packets[0])


def subscribe(topic_filter: str, qos: int, version: int) -> bytes:
    """SUBSCRIBE with one filter and packet id 1 (§3.8)."""
    body = b"\x00\x01" + (b"\x00" if version == 5 else b"") + text(topic_filter) + bytes((qos,))
    return b"\x82" + remaining_length(len(body)) + body


def suback_code(body: bytes) -> int:
    """Reason code of a SUBACK body for one filter: its last byte in every version (§3.9.3)."""
    return body[-1]


def unasked(first_byte: int, body: bytes) -> str:
    """What to say of a packet that a client of a load run doesn't expect."""
    if first_byte == DISCONNECT_TYPE:
        return f"the broker disconnected with reason code 0x{body[0] if body else 0:02x}"
    return f"the broker sent a packet with first byte 0x{first_byte:02x} that nobody asked for"


def ack_ring(ring_count: int, form: tuple[bytes, bytes]) -> bytes:
    """PUBACKs for packet ids 1..ring_count, twice over, so that any run of them is one slice.

    Args:
        ring_count: Packet ids in the ring.
        form: What stands before and behind the packet id: (b"@\\x02", b"") or, with reason code and properties in
            MQTT 5, for example (b"@\\x03", b"\\x10").
    """
    before, behind = form
    return b"".join(before + index.to_bytes(2, "big") + behind for index in range(1, ring_count + 1)) * 2


def split_packet(buffer: bytes, start: int) -> tuple[int, int, int] | None:
    """Bounds of the packet that begins at `start`.

    Returns:
        (first byte, start of the body, end of the packet), or None when it isn't complete yet.
    Raises:
        ValueError: The remaining length has more than four digits (§2.1.4).
    """
    length = 0
    for digit_index in range(4):
        position = start + 1 + digit_index
        if position >= len(buffer):
            return None
        digit = buffer[position]
        length |= (digit & 0x7F) << (7 * digit_index)
        if not digit & 0x80:
            end = position + 1 + length
            return None if end > len(buffer) else (buffer[start], position + 1, end)
    raise ValueError("the remaining length has more than four digits")


def connack(body: bytes, version: int) -> tuple[int, int | None]:
    """Reason code and Receive Maximum (MQTT 5 only) of a CONNACK body (§3.2)."""
    reason_code = body[1]
    if version != 5 or len(body) < 3:
        return reason_code, None
    return reason_code, _receive_maximum(body, 2)


def behind_properties(body: bytes, start: int) -> int:
    """Where the property list that begins at `start` ends (MQTT 5.0 §2.2.2).

    Raises:
        ValueError: It has no end.
    """
    length = 0
    for digit_index, digit in enumerate(body[start : start + 4]):
        length |= (digit & 0x7F) << (7 * digit_index)
        if not digit & 0x80:
            return start + digit_index + 1 + length
    raise ValueError("the length of the properties has no end")


_FIXED_SIZES: Final = {
    0x11: 4,
    0x13: 2,
    0x21: 2,
    0x22: 2,
    0x24: 1,
    0x25: 1,
    0x27: 4,
    0x28: 1,
    0x29: 1,
    0x2A: 1,
}


def _receive_maximum(body: bytes, start: int) -> int | None:
    """Value of property 0x21 in a property list, None when it isn't there (§3.2.2.3.3)."""
    length, position, shift = 0, start, 0
    while True:
        digit = body[position]
        position += 1
        length |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            break
    end = position + length
    while position < end:
        identifier = body[position]
        position += 1
        if identifier == 0x21:
            return int.from_bytes(body[position : position + 2], "big")
        if identifier in _FIXED_SIZES:
            position += _FIXED_SIZES[identifier]
        else:  # strings and binary data; a user property is a pair of strings
            for _ in range(2 if identifier == 0x26 else 1):
                position += 2 + int.from_bytes(body[position : position + 2], "big")
    return None
