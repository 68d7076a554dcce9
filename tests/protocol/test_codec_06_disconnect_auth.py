"""DISCONNECT and AUTH (MQTT 5.0 §3.14, §3.15; MQTT 3.1.1 §3.14), from raw bytes."""

from __future__ import annotations

import pytest

from broker.mqtt.packets import Auth, Disconnect
from broker.mqtt.properties import Properties, PropertyId

from . import builder as b
from .codec_driver import from_client, from_server, refuse_client, refuse_server

MALFORMED, PROTOCOL_ERROR = 0x81, 0x82
BOTH = {0x00, 0x80, 0x81, 0x82, 0x83, 0x8C, 0x90, *range(0x93, 0x9A)}
ONLY_SERVER = {0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, *range(0x9A, 0xA3)}


def test_06_disconnect_forms() -> None:
    """§3.14.2.1: reason code and properties may be left out."""
    assert from_client(b.disconnect(), 5) == Disconnect()
    assert from_client(b.disconnect(4), 5) == Disconnect(reason_code=4)
    assert from_client(b.disconnect(0, b""), 5) == Disconnect()
    assert from_client(b.disconnect(0, b.p32(0x11, 9) + b.ptext(0x1F, "bye")), 5) == Disconnect(
        properties=Properties({PropertyId.SESSION_EXPIRY_INTERVAL: 9, PropertyId.REASON_STRING: "bye"})
    )
    assert from_server(b.disconnect(0x9C, b.ptext(0x1C, "other")), 5) == Disconnect(
        reason_code=0x9C, properties=Properties({PropertyId.SERVER_REFERENCE: "other"})
    )


@pytest.mark.parametrize("code", range(256))
def test_06_disconnect_reason_codes(code: int) -> None:
    """Table 3-10; 0x8C is in Table 2-6 only."""
    data = b.disconnect(code)
    if code in BOTH or code == 4:
        from_client(data, 5)
    else:
        assert refuse_client(data, 5) == PROTOCOL_ERROR
    if code in BOTH or code in ONLY_SERVER:
        from_server(data, 5)
    else:
        assert refuse_server(data, 5) == PROTOCOL_ERROR


def test_06_disconnect_one_sided_properties() -> None:
    """No Session Expiry Interval from a server; Server Reference is a server's (§3.14.2.2.5). [MQTT5-3.14.2-2]"""
    assert refuse_server(b.disconnect(0, b.p32(0x11, 9)), 5) == PROTOCOL_ERROR
    assert refuse_client(b.disconnect(0, b.ptext(0x1C, "x")), 5) == PROTOCOL_ERROR


@pytest.mark.parametrize("version", [3, 4])
def test_06_disconnect_before_5(version: int) -> None:
    """3.1.1 §3.14: client to server, and nothing in it."""
    assert from_client(b.disconnect(), version) == Disconnect()
    assert refuse_client(b.disconnect(0), version) == MALFORMED
    assert refuse_server(b.disconnect(), version) == PROTOCOL_ERROR


def test_06_disconnect_trailing_bytes() -> None:
    assert refuse_client(b.packet(b.DISCONNECT, b"\0\0\0"), 5) == MALFORMED


def test_06_auth_forms() -> None:
    """§3.15.2."""
    properties = b.ptext(0x15, "SCRAM") + b.ptext(0x16, b"\0")
    expected = Properties({PropertyId.AUTHENTICATION_METHOD: "SCRAM", PropertyId.AUTHENTICATION_DATA: b"\0"})
    data = b.packet(b.AUTH, b.u8(0x18), b.props(properties))
    assert from_client(data, 5) == Auth(reason_code=0x18, properties=expected)
    assert from_server(data, 5) == Auth(reason_code=0x18, properties=expected)
    assert from_server(b.packet(b.AUTH), 5) == Auth()
    assert from_client(b.packet(b.AUTH, b.u8(0x19), b.props(b.ptext(0x15, "m"))), 5) == Auth(
        reason_code=0x19, properties=Properties({PropertyId.AUTHENTICATION_METHOD: "m"})
    )


def test_06_auth_reason_codes() -> None:
    """Table 3-11: success is the server's, re-authenticate the client's."""
    method = b.props(b.ptext(0x15, "m"))
    for code in range(256):
        data = b.packet(b.AUTH, b.u8(code), method)
        if code in (0x18, 0x19):
            from_client(data, 5)
        else:
            assert refuse_client(data, 5) == PROTOCOL_ERROR
        if code in (0x00, 0x18):
            from_server(data, 5)
        else:
            assert refuse_server(data, 5) == PROTOCOL_ERROR
    assert refuse_client(b.packet(b.AUTH), 5) == PROTOCOL_ERROR


def test_06_auth_without_method() -> None:
    """§3.15.2.2.2: protocol error to leave it out (but for a packet of length 0, §3.15.2.1)."""
    assert refuse_server(b.packet(b.AUTH, b"\0\0"), 5) == PROTOCOL_ERROR
    assert refuse_server(b.packet(b.AUTH, b"\x18\0"), 5) == PROTOCOL_ERROR
    assert refuse_server(b.packet(b.AUTH, b.u8(0x18), b.props(b.puser("k", "v"))), 5) == PROTOCOL_ERROR


def test_06_auth_malformed() -> None:
    """§3.15.2.1 lets reason code and properties go only together."""
    assert refuse_server(b.packet(b.AUTH, b"\x18"), 5) == MALFORMED
    assert refuse_server(b.packet(b.AUTH, b.u8(0x18), b.props(b.ptext(0x15, "m")), b"x"), 5) == MALFORMED
