"""Which property may stand where, how often and with which value (MQTT 5.0 §2.2.2), from raw bytes.

The table below was written from the specification's Table 2-4, not from the program's.
"""

from __future__ import annotations

import pytest

from . import builder as b
from .codec_driver import accept_from_either, refuse_from_either

MALFORMED, PROTOCOL_ERROR = 0x81, 0x82

# identifier: (a valid property, where it may stand)
TABLE: dict[int, tuple[bytes, str]] = {
    0x01: (b.p8(0x01, 1), "PUBLISH WILL"),
    0x02: (b.p32(0x02, 1), "PUBLISH WILL"),
    0x03: (b.ptext(0x03, "t"), "PUBLISH WILL"),
    0x08: (b.ptext(0x08, "t"), "PUBLISH WILL"),
    0x09: (b.ptext(0x09, b"\xff"), "PUBLISH WILL"),
    0x0B: (b.pvar(0x0B, 1), "PUBLISH SUBSCRIBE"),
    0x11: (b.p32(0x11, 1), "CONNECT CONNACK DISCONNECT"),
    0x12: (b.ptext(0x12, "t"), "CONNACK"),
    0x13: (b.p16(0x13, 1), "CONNACK"),
    0x15: (b.ptext(0x15, "t"), "CONNECT CONNACK AUTH"),
    0x16: (b.ptext(0x16, b"\xff"), "CONNECT CONNACK AUTH"),
    0x17: (b.p8(0x17, 1), "CONNECT"),
    0x18: (b.p32(0x18, 1), "WILL"),
    0x19: (b.p8(0x19, 1), "CONNECT"),
    0x1A: (b.ptext(0x1A, "t"), "CONNACK"),
    0x1C: (b.ptext(0x1C, "t"), "CONNACK DISCONNECT"),
    0x1F: (b.ptext(0x1F, "t"), "CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH"),
    0x21: (b.p16(0x21, 1), "CONNECT CONNACK"),
    0x22: (b.p16(0x22, 1), "CONNECT CONNACK"),
    0x23: (b.p16(0x23, 1), "PUBLISH"),
    0x24: (b.p8(0x24, 1), "CONNACK"),
    0x25: (b.p8(0x25, 1), "CONNACK"),
    0x26: (
        b.puser("k", "v"),
        "CONNECT CONNACK PUBLISH WILL PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK "
        "DISCONNECT AUTH",
    ),
    0x27: (b.p32(0x27, 1), "CONNECT CONNACK"),
    0x28: (b.p8(0x28, 1), "CONNACK"),
    0x29: (b.p8(0x29, 1), "CONNACK"),
    0x2A: (b.p8(0x2A, 1), "CONNACK"),
}
METHOD = b.ptext(0x15, "m")


def carry(where: str, properties: bytes) -> bytes:
    """A packet of that kind with these properties; AUTH gets the method it needs."""
    match where:
        case "CONNECT":
            return b.connect(version=5, properties=properties)
        case "WILL":
            return b.connect(version=5, will=b.will_fields("w", b"", properties=properties), will_flags=4)
        case "CONNACK":
            return b.connack(0, 0, properties)
        case "PUBLISH":
            return b.publish(properties=properties)
        case "PUBACK" | "PUBREC" | "PUBREL" | "PUBCOMP":
            return b.ack(getattr(b, where), 1, 0, properties)
        case "SUBSCRIBE":
            return b.subscribe(1, ("a", 0), properties=properties)
        case "SUBACK":
            return b.suback(1, 0, properties=properties)
        case "UNSUBSCRIBE":
            return b.unsubscribe(1, "a", properties=properties)
        case "UNSUBACK":
            return b.unsuback(1, 0, properties=properties)
        case "DISCONNECT":
            return b.disconnect(0, properties)
        case _:
            return b.packet(b.AUTH, b.u8(0x18), b.props(properties))


CARRIERS = TABLE[0x26][1].split()


@pytest.mark.parametrize("where", CARRIERS)
@pytest.mark.parametrize("identifier", TABLE)
def test_05_property_place(identifier: int, where: str) -> None:
    """§2.2.2.2: a property that is not valid for its packet type is malformed."""
    one, allowed = TABLE[identifier]
    if identifier == 0x16 or (where == "AUTH" and identifier != 0x15):
        one += METHOD if identifier != 0x16 or where in allowed.split() else b""
    if where in allowed.split():
        accept_from_either(carry(where, one))
    else:
        assert refuse_from_either(carry(where, one)) == MALFORMED


@pytest.mark.parametrize("where", CARRIERS)
@pytest.mark.parametrize("identifier", [0x00, 0x04, 0x0A, 0x14, 0x1B, 0x20, 0x2B, 0x7F])
def test_05_property_unknown(identifier: int, where: str) -> None:
    """§2.2.2.2."""
    assert refuse_from_either(carry(where, b.u8(identifier) + b"\0\0\0\0")) == MALFORMED


def test_05_property_identifier_not_shortest() -> None:
    """The identifier is a variable byte integer (§2.2.2.2), and none needs two bytes. [MQTT5-1.5.5-1]"""
    assert refuse_from_either(carry("PUBLISH", b"\x81\x00\x01")) == MALFORMED
    assert refuse_from_either(carry("PUBLISH", b"\x81\x01\x01")) == MALFORMED


@pytest.mark.parametrize(
    ("identifier", "where"),
    [
        (identifier, where)
        for identifier, (_, allowed) in TABLE.items()
        for where in allowed.split()
        if (identifier, where) != (0x0B, "PUBLISH") and identifier != 0x26
    ],
)
def test_05_property_twice(identifier: int, where: str) -> None:
    """Each property's own section: "It is a Protocol Error to include … more than once"."""
    one, _ = TABLE[identifier]
    extra = METHOD if identifier == 0x16 or (where == "AUTH" and identifier != 0x15) else b""
    assert refuse_from_either(carry(where, one + extra + one)) == PROTOCOL_ERROR


@pytest.mark.parametrize("where", CARRIERS)
def test_05_user_property_repeats(where: str) -> None:
    """§3.1.2.11.8: user properties may stand more than once, the same name too, and keep their order."""
    extra = METHOD if where == "AUTH" else b""
    packet = accept_from_either(
        carry(where, b.puser("b", "1") + b.puser("a", "2") + extra + b.puser("b", "1"))
    )
    properties = packet.will.properties if where == "WILL" else packet.properties
    assert properties.user_properties == (("b", "1"), ("a", "2"), ("b", "1"))


@pytest.mark.parametrize(
    ("identifier", "where", "good", "bad", "code"),
    [
        (0x01, "PUBLISH", [0, 1], [2, 255], PROTOCOL_ERROR),
        (0x01, "WILL", [0, 1], [2, 255], PROTOCOL_ERROR),
        (0x17, "CONNECT", [0, 1], [2, 255], PROTOCOL_ERROR),  # §3.1.2.11.7
        (0x19, "CONNECT", [0, 1], [2, 255], PROTOCOL_ERROR),  # §3.1.2.11.6
        (0x24, "CONNACK", [0, 1], [2, 255], PROTOCOL_ERROR),  # §3.2.2.3.4
        (0x25, "CONNACK", [0, 1], [2, 255], PROTOCOL_ERROR),  # §3.2.2.3.5
        (0x28, "CONNACK", [0, 1], [2, 255], PROTOCOL_ERROR),  # §3.2.2.3.11
        (0x29, "CONNACK", [0, 1], [2, 255], PROTOCOL_ERROR),  # §3.2.2.3.12
        (0x2A, "CONNACK", [0, 1], [2, 255], PROTOCOL_ERROR),  # §3.2.2.3.13
    ],
)
def test_05_property_flags(identifier: int, where: str, good: list[int], bad: list[int], code: int) -> None:
    """Properties of one byte are 0 or 1."""
    for value in good:
        accept_from_either(carry(where, b.p8(identifier, value)))
    for value in bad:
        assert refuse_from_either(carry(where, b.p8(identifier, value))) == code


@pytest.mark.parametrize("where", ["CONNECT", "CONNACK"])
def test_05_property_not_zero(where: str) -> None:
    """§3.1.2.11.3, §3.1.2.11.4, §3.2.2.3.3, §3.2.2.3.6: Receive Maximum, Maximum Packet Size."""
    assert refuse_from_either(carry(where, b.p16(0x21, 0))) == PROTOCOL_ERROR
    assert refuse_from_either(carry(where, b.p32(0x27, 0))) == PROTOCOL_ERROR
    accept_from_either(carry(where, b.p16(0x21, 65_535) + b.p32(0x27, 0xFFFF_FFFF)))


@pytest.mark.parametrize("bad", [b"\xff", b"a\0", b"\xed\xa0\x80"])
@pytest.mark.parametrize("identifier", [0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F])
def test_05_property_utf8(identifier: int, bad: bytes) -> None:
    """[MQTT5-1.5.4-1, -2]"""
    where = TABLE[identifier][1].split()[0]
    assert refuse_from_either(carry(where, b.ptext(identifier, bad))) == MALFORMED


@pytest.mark.parametrize("bad", [b"\xff", b"a\0"])
@pytest.mark.parametrize("where", CARRIERS)
def test_05_user_property_utf8(bad: bytes, where: str) -> None:
    """[MQTT5-1.5.7-1]"""
    assert refuse_from_either(carry(where, b.puser(bad, "v"))) == MALFORMED
    assert refuse_from_either(carry(where, b.puser("k", bad))) == MALFORMED


@pytest.mark.parametrize("identifier", TABLE)
def test_05_property_cut_short(identifier: int) -> None:
    """A property that its length cuts off is malformed, even when the packet goes on behind it."""
    one, allowed = TABLE[identifier]
    where = allowed.split()[0]
    for size in range(1, len(one)):
        assert refuse_from_either(carry(where, one[:size])) == MALFORMED
