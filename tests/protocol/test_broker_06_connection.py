"""06-connection: keep alive, ping, DISCONNECT and packets out of place, on a live broker."""

from __future__ import annotations

import time

import pytest

from . import builder as b
from .raw_client import Address, RawClient

VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])


@VERSIONS
def test_06_keep_alive_runs_out(broker: Address, version: int) -> None:
    """Closed after one and a half times the keep alive, in MQTT 5 with 0x8D.

    [MQTT5-3.1.2-22, 3.2.2-22] [MQTT3-3.1.2-24]
    """
    with RawClient(broker, version) as client:
        began = time.monotonic()
        client.connect("06-keepalive", keep_alive=1)
        client.expect_disconnect(0x8D)
        assert time.monotonic() - began > 1.4


@pytest.mark.parametrize("version", [4, 5])
def test_06_keep_alive_any_packet(broker: Address, version: int) -> None:
    """§3.1.2.10: any packet counts; a client that speaks stays."""
    with RawClient(broker, version) as client:
        client.connect("06-speaks", keep_alive=1)
        until = time.monotonic() + 2.5
        packet_id = 0
        while time.monotonic() < until:
            packet_id += 1
            client.publish("06/speaks", packet_id=packet_id)
            client.socket.settimeout(0.4)
            with pytest.raises(TimeoutError):
                client.receive()
            client.socket.settimeout(10)
        client.ping()


def test_06_server_keep_alive(broker: Address) -> None:
    """A client without keep alive is given the server's in MQTT 5 (§3.2.2.3.14). [MQTT5-3.2.2-21]"""
    with RawClient(broker, 5) as client:
        connack = client.connect("06-server", keep_alive=0)
        assert b"\x13" in connack.body[3:]
        client.ping()


@VERSIONS
def test_06_ping(broker: Address, version: int) -> None:
    """[MQTT5-3.12.4-1] [MQTT3-3.12.4-1]"""
    with RawClient(broker, version) as client:
        client.connect("06-ping")
        client.send(b.PINGREQ_PACKET * 3)
        for _ in range(3):
            client.expect(b.PINGRESP_PACKET)


@VERSIONS
def test_06_ping_malformed(broker: Address, bystander: RawClient, version: int) -> None:
    """§3.12."""
    with RawClient(broker, version) as client:
        client.connect("06-ping")
        client.send(b.packet(b.PINGREQ, b"x"))
        client.expect_disconnect(0x81)


@VERSIONS
def test_06_disconnect(broker: Address, version: int) -> None:
    """The server closes; what comes after a DISCONNECT is not looked at.

    [MQTT5-3.14.4-1, -2] [MQTT3-3.14.4-1, -2]
    """
    with RawClient(broker, version) as client, RawClient(broker, version) as other:
        other.connect("06-other")
        other.subscribe(("06/after", 0))
        client.connect("06-disconnect")
        client.send(b.disconnect(), b.publish("06/after", properties=client.no_properties))
        client.expect_closed()
        other.ping()


@pytest.mark.parametrize(
    ("case", "data", "codes"),
    [
        ("reason-code-of-servers", b.disconnect(0x8E), [0x82]),
        ("unknown-reason-code", b.disconnect(0x42), [0x82, 0x81]),
        ("foreign-property", b.disconnect(0, b.p16(0x21, 1)), [0x81, 0x82]),
        ("bytes-left-over", b.packet(b.DISCONNECT, b"\0\0x"), [0x81]),
        ("flags", b.packet(0xE1), [0x81]),
    ],
)
def test_06_disconnect_malformed(
    broker: Address, bystander: RawClient, case: str, data: bytes, codes: list[int]
) -> None:
    """The client is going anyway: a server SHOULD say why, and MUST close (§4.13).

    [MQTT5-3.14.1-1, 3.14.2-1]
    """
    with RawClient(broker, 5) as client:
        client.connect("06-malformed")
        client.send(data)
        answer = client.receive()
        assert answer is None or (answer.kind == b.DISCONNECT and answer.body[0] in codes), case
        assert answer is None or client.receive() is None


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    ("case", "data"),
    [
        ("connack", b.connack(0, 0, b"")),
        ("suback", b.suback(1, 0, properties=b"")),
        ("unsuback", b.unsuback(1, 0, properties=b"")),
        ("pingresp", b.PINGRESP_PACKET),
        ("type-0", b.packet(0x00)),
    ],
)
def test_06_packets_of_servers(
    broker: Address, bystander: RawClient, version: int, case: str, data: bytes
) -> None:
    """Table 2-1. [MQTT5-4.13.1-1] [MQTT3-4.8.0-1]"""
    with RawClient(broker, version) as client:
        client.connect("06-server-packet")
        client.send(data)
        client.expect_disconnect(0x82, 0x81)


def test_06_auth_without_authentication(broker: Address, bystander: RawClient) -> None:
    """AUTH although CONNECT named no method (§4.12). [MQTT5-4.12.0-7]"""
    with RawClient(broker, 5) as client:
        client.connect("06-auth")
        client.send(b.packet(b.AUTH, b.u8(0x18), b.props(b.ptext(0x15, "m"))))
        client.expect_disconnect(0x82)


def test_06_auth_before_5(broker: Address, bystander: RawClient) -> None:
    """3.1.1 §2.2.1: type 15 is forbidden."""
    with RawClient(broker, 4) as client:
        client.connect("06-auth")
        client.send(b.packet(b.AUTH))
        client.expect_closed()


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("first", [0x41, 0x48, 0xC1, 0xC8])
def test_06_flags(broker: Address, bystander: RawClient, version: int, first: int) -> None:
    """[MQTT5-2.1.3-1] [MQTT3-2.2.2-1, -2]"""
    with RawClient(broker, version) as client:
        client.connect("06-flags")
        client.send(b.packet(first, b.u16(1) if first < 0xC0 else b""))
        client.expect_disconnect(0x81)


@pytest.mark.parametrize("version", [4, 5])
def test_06_puback_malformed(broker: Address, bystander: RawClient, version: int) -> None:
    """§3.4."""
    for body in (b"", b"\x01", b.u16(0)):
        with RawClient(broker, version) as client:
            client.connect("06-puback")
            client.send(b.packet(b.PUBACK, body))
            client.expect_disconnect(0x81, 0x82)


def test_06_good_packets_before_a_bad_one_count(broker: Address) -> None:
    """§4.13: the error ends the connection; what was right before it was right."""
    with RawClient(broker, 5) as watcher, RawClient(broker, 5) as client:
        watcher.connect("06-watcher")
        watcher.subscribe(("06/good", 1))
        client.connect("06-mixed")
        client.send(b.publish("06/good", b"x", qos=1, packet_id=1, properties=b""), b"\x00\x00")
        assert watcher.message().payload == b"x"
        answer = client.receive()
        if answer is not None and answer.kind == b.PUBACK:
            answer = client.receive()
        assert answer is None or (answer.kind == b.DISCONNECT and answer.body[0] == 0x81)
