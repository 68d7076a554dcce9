"""The Unix socket and the PROXY protocol, over real sockets."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
import struct
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest
import trio

import broker.arrival
from appliance.core.errors import ConfigError
from storage.log.columns import Kind
from tests.broker_kit import CONFIG, Peer, Running, running_broker
from tests.protocol import builder

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
PROXIED = replace(CONFIG, proxy_protocol=(ipaddress.ip_network("10.0.0.0/8"), LOOPBACK))
SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")


def header(source: str, command: int = 0x21) -> bytes:
    addresses = socket.inet_aton(source) + socket.inet_aton("10.0.0.1") + struct.pack(">HH", 40_000, 1883)
    return SIGNATURE + struct.pack(">BBH", command, 0x11, len(addresses)) + addresses


def opened_addresses(running: Running) -> list[str]:
    return [msgpack.unpackb(payload)["address"] for *_, payload in running.records(Kind.SESSION_OPENED)]


class TestUnixSocket:
    async def test_our_own_programs_need_no_token(self, tmp_path: Path) -> None:
        path = tmp_path / "mqtt.sock"
        async with running_broker(tmp_path, config=replace(CONFIG, unix_path=path)) as running:
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            peer = await Peer.open_unix(path, version=5)
            running.peers.append(peer)
            await peer.connect("c", username=None)
            await peer.publish("any/topic", b"x")
            assert running.server.plane.owner_of("c") == "$local"
            device = await Peer.open_unix(path)
            running.peers.append(device)
            await device.connect("d", username="pump")
            assert running.server.plane.owner_of("d") == "pump"
            assert running.statistics()["plane"]["connections_by_transport"] == {"unix": 2}
            assert running.statistics()["listeners"]["accepted_by_transport"] == {"unix": 2}
        assert not path.exists(), "it goes with the broker"
        assert opened_addresses(running) == [f"uid-{os.getuid()}"] * 2

    async def test_other_users_need_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(broker.arrival, "peer_uid", lambda sock: 65_534)
        path = tmp_path / "mqtt.sock"
        async with running_broker(tmp_path, config=replace(CONFIG, unix_path=path)) as running:
            anonymous = await Peer.open_unix(path, version=5)
            running.peers.append(anonymous)
            assert await anonymous.refused("c", username=None) == 0x86
            peer = await Peer.open_unix(path)
            running.peers.append(peer)
            await peer.connect("d", username="pump")
        assert opened_addresses(running) == ["uid-65534"]

    async def test_a_socket_left_behind_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "mqtt.sock"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        async with running_broker(tmp_path, config=replace(CONFIG, unix_path=path)) as running:
            peer = await Peer.open_unix(path)
            running.peers.append(peer)
            await peer.connect("c", username=None)

    @pytest.mark.parametrize("case", ["listened on", "a file", "no folder", "open to everybody"])
    async def test_where_it_can_not_be(self, tmp_path: Path, case: str) -> None:
        folder = tmp_path / "sockets"
        path = folder / "mqtt.sock"
        if case != "no folder":
            folder.mkdir()
        if case == "a file":
            path.write_text("precious")
        if case == "open to everybody":
            folder.chmod(0o777)
        with socket.socket(socket.AF_UNIX) as other:
            if case == "listened on":
                other.bind(str(path))
                other.listen()
            with pytest.RaisesGroup(ConfigError, flatten_subgroups=True, allow_unwrapped=True) as refused:
                async with running_broker(tmp_path, config=replace(CONFIG, unix_path=path)):
                    pass
        assert "unix_path" in str(
            refused.value.exceptions if hasattr(refused.value, "exceptions") else refused.value
        )
        if case == "a file":
            assert path.read_text() == "precious"


class TestProxyProtocol:
    async def test_the_address_that_counts_is_the_clients(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = replace(PROXIED, connect_rate_per_address_max=2)
        async with running_broker(tmp_path, config=config) as running:
            for number in range(2):
                peer = await running.open(version=5)
                await peer.send(header("192.0.2.7"))
                await peer.connect(f"c{number}")
            third = await running.open(version=5)
            await third.send(header("192.0.2.7"))
            assert await third.refused("c3") == 0x9F
            other = await running.open(version=5)
            await other.send(
                header("192.0.2.8") + builder.connect("other", version=5, username="site", password=b"t")
            )
            assert (await other.expect(builder.CONNACK)).body[1] == 0
            wrong = await running.open(version=5)
            await wrong.send(header("192.0.2.9"))
            await wrong.refused("w", password=b"wrong")
            assert running.statistics()["listeners"]["proxied"] == 5
        assert opened_addresses(running) == ["192.0.2.7", "192.0.2.7", "192.0.2.8"]
        assert "192.0.2.9" in capsys.readouterr().out

    async def test_before_tls(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path, config=PROXIED, with_tls=True) as running:
            peer = await running.open_tls(header=header("192.0.2.7"))
            await peer.connect("c")
        assert opened_addresses(running) == ["192.0.2.7"]

    async def test_the_proxys_own_connection(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path, config=PROXIED) as running:
            peer = await running.open()
            await peer.send(header("192.0.2.7", command=0x20))
            await peer.connect("c")
            assert running.statistics()["listeners"]["proxied"] == 0
        assert opened_addresses(running) == ["127.0.0.1"]

    @pytest.mark.parametrize(
        ("data", "code", "says"),
        [
            (builder.connect("c", username="site", password=b"t"), "proxy_header_missing", "without a PROXY"),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4 5\r\n", "proxy_version_1", "version 1"),
            (header("192.0.2.7")[:13] + b"\x11\xff\xff", "proxy_header_invalid", "65535 bytes"),
        ],
    )
    async def test_what_a_proxy_must_not_send(
        self, tmp_path: Path, data: bytes, code: str, says: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async with running_broker(tmp_path, config=PROXIED) as running:
            peer = await running.open()
            await peer.send(data)
            assert await peer.packet() is None
            assert running.statistics()["listeners"]["refused_by_code"] == {code: 1}
        assert says in capsys.readouterr().out

    async def test_who_is_no_proxy_has_no_header(self, tmp_path: Path) -> None:
        config = replace(CONFIG, proxy_protocol=(ipaddress.ip_network("10.0.0.0/8"),))
        async with running_broker(tmp_path, config=config) as running:
            liar = await running.open()
            await liar.send(header("192.0.2.7") + builder.connect("c", username="site", password=b"t"))
            assert await liar.packet() is None
            await running.connect("honest")
        assert opened_addresses(running) == ["127.0.0.1"]

    async def test_a_header_that_never_ends(self, tmp_path: Path) -> None:
        config = replace(PROXIED, connect_timeout_ms=300)
        async with running_broker(tmp_path, config=config) as running, trio.open_nursery() as nursery:
            peers = [await running.open() for _ in range(10)]
            data = header("192.0.2.7")

            async def drip(peer: Peer) -> None:
                try:
                    for at in range(len(data) - 1):
                        await peer.send(data[at : at + 1])
                        await trio.sleep(0.01)
                except trio.BrokenResourceError:
                    return

            for peer in peers:
                nursery.start_soon(drip, peer)
            quick = await running.open()
            await quick.send(header("192.0.2.8"))
            await quick.connect("quick")
            await running.wait_until(
                lambda: running.statistics()["listeners"]["refused_by_code"].get("timeout") == 10
            )
            nursery.cancel_scope.cancel()
