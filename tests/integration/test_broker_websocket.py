"""MQTT over WebSocket through the whole broker: what a client sees is what it sees over TCP."""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest
import trio

from storage.log.columns import Kind
from tests.broker_kit import CONFIG, Peer, Running, running_broker
from tests.pki_kit import Authority
from tests.protocol import builder
from tests.websocket_kit import WebSocketStream

SECURE = pytest.mark.parametrize("is_secure", [False, True], ids=["ws", "wss"])


def count(running: Running) -> int:
    return int(running.statistics()["websockets"])


@SECURE
@pytest.mark.parametrize("version", [4, 5])
async def test_publish_and_receive(tmp_path: Path, version: int, is_secure: bool) -> None:
    """[MQTT5-6.0.0-1, -4] [MQTT3-6.0.0-1, -4]"""
    async with running_broker(tmp_path, with_tls=True) as running:
        web = await running.open_websocket(version=version, is_secure=is_secure)
        await web.connect("web")
        await web.subscribe("t/#")
        plain = await running.connect("plain")
        await plain.publish("t/1", b"from TCP")
        assert (await web.message()).payload == b"from TCP"
        await web.send(builder.ack(builder.PUBACK, 1))
        large = bytes(range(256)) * 3000
        await web.send(web.publish_packet("t/2", large, packet_id=5))
        kinds = sorted([(await web.packet()).kind, (await web.packet()).kind])  # type: ignore[union-attr]
        assert kinds == [builder.PUBLISH & 0xF0, builder.PUBACK]
        name = "wss" if is_secure else "ws"
        assert running.statistics()["plane"]["connections_by_transport"] == {name: 1, "tcp": 1}
        assert running.statistics()["listeners"]["accepted_by_transport"] == {name: 1, "tcp": 1}
        await web.send(builder.disconnect())
        assert await web.disconnected() is None
        await running.wait_until(lambda: count(running) == 0)
    assert [payload for *_, payload in running.records(Kind.PUBLISH)] == [b"from TCP", large]
    addresses = [msgpack.unpackb(payload)["address"] for *_, payload in running.records(Kind.SESSION_OPENED)]
    assert addresses == ["127.0.0.1", "127.0.0.1"]


async def test_packets_across_messages(tmp_path: Path) -> None:
    """[MQTT5-6.0.0-2] [MQTT3-6.0.0-2]"""
    async with running_broker(tmp_path) as running:
        web = await running.open_websocket()
        stream = builder.connect("web", username="site", password=b"t") + builder.PINGREQ_PACKET * 3
        for at in range(0, len(stream), 5):
            await web.send(stream[at : at + 5])
        await web.expect(builder.CONNACK)
        for _ in range(3):
            await web.expect(builder.PINGRESP)


@pytest.mark.parametrize(("version", "code"), [(4, 4), (5, 0x86)])
async def test_who_is_refused_is_told(tmp_path: Path, version: int, code: int) -> None:
    async with running_broker(tmp_path) as running:
        web = await running.open_websocket(version=version)
        assert await web.refused("web", password=b"wrong") == code
        assert isinstance(web.stream, WebSocketStream)
        assert web.stream.close_code == 1000
        await running.wait_until(lambda: count(running) == 0)


async def test_a_drain_says_goodbye(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as running:
        web = await running.open_websocket(version=5)
        await web.connect("web")
        running.peers.remove(web)
        running.server.drain()
        assert await web.disconnected() == 0x8B
    web.drop()


async def test_a_will_when_the_page_is_closed(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as running:
        other = await running.connect("other")
        await other.subscribe("will", qos=0)
        web = await running.open_websocket()
        await web.connect("web", will=builder.will_fields("will", b"gone"), will_flags=0x04)
        web.drop()
        assert (await other.message()).payload == b"gone"
        await running.wait_until(lambda: count(running) == 0)


async def test_a_client_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as running:
        web = await running.open_websocket()
        await web.connect("web")
        await web.subscribe("t", qos=0)
        plain = await running.connect("plain")
        for number in range(300):
            await plain.publish("t", bytes(50_000), packet_id=number + 1)
        received = 0
        while received < 300:
            assert len((await web.message()).payload) == 50_000
            received += 1


async def test_one_that_says_something_is_not_taken_for_silent(tmp_path: Path) -> None:
    """While it shakes hands, what it sends is seen on the socket that its carrier has."""
    async with running_broker(tmp_path) as running:
        web = await running.open_websocket()
        (stranger,) = (each for each in running.server._listeners._strangers._present if each.is_carried)
        stranger.look(1)
        before = stranger.heard_bytes
        assert before > 100, "the request"
        await web.send(builder.connect("web", username="site", password=b"t")[:5])

        def heard() -> bool:
            stranger.look(2)
            return stranger.heard_bytes > before

        await running.wait_until(heard)


@SECURE
async def test_idle_ones_end_with_the_connect_timeout(tmp_path: Path, is_secure: bool) -> None:
    """Upgraded and silent, half a request, and nothing at all: each costs one place for the connect timeout."""
    config = replace(CONFIG, connect_timeout_ms=2000)
    async with running_broker(tmp_path, config=config, with_tls=True) as running:
        silent = [await running.open_websocket(is_secure=is_secure) for _ in range(5)]
        port = running.ports.wss if is_secure else running.ports.ws
        assert port is not None
        for data in (b"", b"GET /mqtt HTTP/1.1\r\nHost: a\r\n", b"\x16\x03\x01"):
            peer = await Peer.open(port)
            running.peers.append(peer)
            await peer.send(data)
        for peer in silent:
            assert await peer.packet() is None
        await running.wait_until(lambda: count(running) == 0)
        refused = running.server._listeners._refused_by_code
        await running.wait_until(lambda: sum(refused.values()) == 8)
        assert set(refused) <= {"timeout", "closed"}


async def test_pages_of_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = replace(CONFIG, ws_origins=("https://pages.example",))
    async with running_broker(tmp_path, config=config) as running:
        for origin, host, status in (
            ("https://pages.example", "192.0.2.1", 101),
            ("https://box.example:8443", "box.example:8083", 101),
            ("https://evil.example", "box.example:8083", 403),
            ("https://evil.example", "evil.example:8083", 403),
        ):
            peer = await Peer.open(running.ports.ws or 0)
            running.peers.append(peer)
            await peer.send(
                f"GET /mqtt HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                "Sec-WebSocket-Protocol: mqtt\r\n\r\n".encode()
            )
            with trio.fail_after(60):
                assert (await peer.stream.receive_some(100)).startswith(f"HTTP/1.1 {status}".encode())
        await running.wait_until(
            lambda: running.statistics()["listeners"]["refused_by_code"] == {"websocket_origin": 2}
        )
    assert "evil.example" in capsys.readouterr().out


async def test_behind_a_proxy_and_over_the_rate(tmp_path: Path) -> None:
    config = replace(
        CONFIG, proxy_protocol=(ipaddress.ip_network("127.0.0.1"),), connect_rate_per_address_max=1
    )
    header = (
        bytes.fromhex("0d0a0d0a000d0a515549540a")
        + struct.pack(">BBH", 0x21, 0x11, 12)
        + socket.inet_aton("192.0.2.7") * 2
        + bytes(4)
    )
    async with running_broker(tmp_path, config=config) as running:
        assert running.ports.ws is not None
        codes = []
        for _ in range(2):
            below = await trio.open_tcp_stream("127.0.0.1", running.ports.ws)
            await below.send_all(header)
            peer = Peer(await WebSocketStream.over(below, None, running.ports.ws), 5)
            running.peers.append(peer)
            await peer.send(builder.connect("web", version=5, username="site", password=b"t"))
            codes.append((await peer.expect(builder.CONNACK)).body[1])
        assert codes == [0, 0x9F]
    opened = [msgpack.unpackb(payload)["address"] for *_, payload in running.records(Kind.SESSION_OPENED)]
    assert opened == ["192.0.2.7"]


async def test_a_certificate_over_wss(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    authority = Authority(tmp_path / "pki")
    config = replace(CONFIG, tls_client_auth="required", tls_client_ca=authority.path)
    async with running_broker(tmp_path, config=config, with_tls=True) as running:
        web = await running.open_websocket(is_secure=True, client=authority.issue("pump"))
        await web.connect("web", username=None)
        assert running.server.plane.owner_of("web") == "pump"
        with pytest.raises(trio.BrokenResourceError) as refused:
            await running.open_websocket(is_secure=True)
        assert "CERTIFICATE_REQUIRED" in str(refused.value.__cause__)
