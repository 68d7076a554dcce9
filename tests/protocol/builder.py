"""Builds MQTT packets byte by byte, right or wrong, without using our codec.

Deliberately naive: each function writes what it is told, so that a test can break one rule at a time. Nothing here
imports from the program; a mistake of the codec can't be repeated by its own tests.
"""

from __future__ import annotations

import struct

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE = (
    0x10,
    0x20,
    0x30,
    0x40,
    0x50,
    0x62,
    0x70,
    0x82,
)
SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = 0x90, 0xA2, 0xB0, 0xC0, 0xD0, 0xE0, 0xF0


# --- Types of the wire -------------------------------------------------------------------------------------
def u8(value: int) -> bytes:
    return struct.pack(">B", value)


def u16(value: int) -> bytes:
    return struct.pack(">H", value)


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def varint(value: int, *, byte_count: int = 0) -> bytes:
    """A variable byte integer; `byte_count` pads it beyond its shortest form."""
    out: list[int] = []
    while True:
        value, digit = divmod(value, 128)
        more = value > 0 or len(out) + 1 < byte_count
        out.append(digit | (0x80 if more else 0))
        if not more:
            return bytes(out)


def text(value: str | bytes) -> bytes:
    data = value if isinstance(value, bytes) else value.encode("utf-8")
    return u16(len(data)) + data


# --- Frames ------------------------------------------------------------------------------------------------
def packet(first_byte: int, *parts: bytes, length: int | None = None, length_bytes: int = 0) -> bytes:
    """Fixed header and body; `length` lies about the remaining length, `length_bytes` pads it."""
    body = b"".join(parts)
    return u8(first_byte) + varint(len(body) if length is None else length, byte_count=length_bytes) + body


def props(*properties: bytes) -> bytes:
    """A property length and properties."""
    body = b"".join(properties)
    return varint(len(body)) + body


def p8(identifier: int, value: int) -> bytes:
    return u8(identifier) + u8(value)


def p16(identifier: int, value: int) -> bytes:
    return u8(identifier) + u16(value)


def p32(identifier: int, value: int) -> bytes:
    return u8(identifier) + u32(value)


def pvar(identifier: int, value: int) -> bytes:
    return u8(identifier) + varint(value)


def ptext(identifier: int, value: str | bytes) -> bytes:
    return u8(identifier) + text(value)


def puser(name: str | bytes, value: str | bytes) -> bytes:
    return u8(0x26) + text(name) + text(value)


# --- Packets as clients send them ---------------------------------------------------------------------------
def connect(
    client_id: str | bytes = "t",
    *,
    version: int = 4,
    name: str = "MQTT",
    flags: int | None = None,
    clean: bool = True,
    keep_alive: int = 60,
    properties: bytes = b"",
    will: bytes = b"",
    will_flags: int = 0,
    username: str | bytes | None = None,
    password: bytes | None = None,
) -> bytes:
    """CONNECT. `properties` are those inside their length; `will` is all of the will's payload fields."""
    if flags is None:
        flags = (2 if clean else 0) | will_flags | (0x80 if username is not None else 0)
        flags |= 0x40 if password is not None else 0
    body = [text(name), u8(version), u8(flags), u16(keep_alive)]
    if version == 5:
        body.append(props(properties))
    body += [text(client_id), will]
    if username is not None:
        body.append(text(username))
    if password is not None:
        body.append(text(password))
    return packet(CONNECT, *body)


def will_fields(topic: str | bytes, payload: bytes, *, properties: bytes | None = None) -> bytes:
    """Will topic and payload, for MQTT 5 with `properties` before them."""
    head = b"" if properties is None else props(properties)
    return head + text(topic) + text(payload)


def publish(
    topic: str | bytes = "a/b",
    payload: bytes = b"m",
    *,
    qos: int = 0,
    dup: bool = False,
    retain: bool = False,
    packet_id: int | None = None,
    properties: bytes | None = None,
) -> bytes:
    """PUBLISH; `properties` None for 3.x."""
    first = PUBLISH | (8 if dup else 0) | qos << 1 | (1 if retain else 0)
    ident = b"" if packet_id is None else u16(packet_id)
    return packet(first, text(topic), ident, b"" if properties is None else props(properties), payload)


def ack(
    first_byte: int, packet_id: int, reason_code: int | None = None, properties: bytes | None = None
) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP."""
    body = [u16(packet_id)]
    if reason_code is not None:
        body.append(u8(reason_code))
    if properties is not None:
        body.append(props(properties))
    return packet(first_byte, *body)


def subscribe(packet_id: int, *filters: tuple[str | bytes, int], properties: bytes | None = None) -> bytes:
    """SUBSCRIBE; each filter comes with its options byte."""
    head = u16(packet_id) + (b"" if properties is None else props(properties))
    return packet(SUBSCRIBE, head, *(text(f) + u8(options) for f, options in filters))


def unsubscribe(packet_id: int, *filters: str | bytes, properties: bytes | None = None) -> bytes:
    head = u16(packet_id) + (b"" if properties is None else props(properties))
    return packet(UNSUBSCRIBE, head, *(text(f) for f in filters))


def disconnect(reason_code: int | None = None, properties: bytes | None = None) -> bytes:
    body = b"" if reason_code is None else u8(reason_code)
    return packet(DISCONNECT, body, b"" if properties is None else props(properties))


# --- Packets as servers send them ---------------------------------------------------------------------------
def connack(flags: int, reason_code: int, properties: bytes | None = None) -> bytes:
    return packet(CONNACK, u8(flags), u8(reason_code), b"" if properties is None else props(properties))


def suback(packet_id: int, *reason_codes: int, properties: bytes | None = None) -> bytes:
    head = u16(packet_id) + (b"" if properties is None else props(properties))
    return packet(SUBACK, head, bytes(reason_codes))


def unsuback(packet_id: int, *reason_codes: int, properties: bytes | None = None) -> bytes:
    head = u16(packet_id) + (b"" if properties is None else props(properties))
    return packet(UNSUBACK, head, bytes(reason_codes))


PINGREQ_PACKET = packet(PINGREQ)
PINGRESP_PACKET = packet(PINGRESP)
