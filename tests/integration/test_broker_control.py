"""Broker and node over the control socket: what is told, what is asked, and each going away."""

from __future__ import annotations

import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

import broker.control
import broker.link
from appliance.core.errors import NotFound, Unavailable
from broker.control import CLIENT_COUNT_MAX
from broker.control_messages import encode_message
from broker.link import BrokerLink
from tests.broker_kit import DEADLINE_S, Running, running_broker, wait_until


@dataclass
class Linked:
    link: BrokerLink
    grew: list[None]
    contacts: list[str]


@asynccontextmanager
async def linked(path: Path) -> AsyncIterator[Linked]:
    """A node's end, which keeps trying for as long as the block lasts."""
    grew: list[None] = []
    contacts: list[str] = []
    link = BrokerLink(path, lambda: grew.append(None), contacts.extend)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        yield Linked(link, grew, contacts)
        nursery.cancel_scope.cancel()


async def until_connected(running: Running, node: Linked) -> None:
    await running.wait_until(lambda: node.link.connected)


async def test_kick_revoke_statistics_and_growth(tmp_path: Path) -> None:
    revoked: list[str] = []
    path = tmp_path / "broker.sock"
    async with (
        running_broker(tmp_path, control_path=path, on_revoke=revoked.append) as running,
        linked(path) as node,
    ):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await until_connected(running, node)
        first = await running.connect("first", username="dev1", version=5)
        second = await running.connect("second", username="dev1", version=5)
        other = await running.connect("other", username="dev2", version=5)
        await running.wait_until(lambda: bool(node.grew))
        await running.wait_until(lambda: node.link.statistics.get("plane", {}).get("connections") == 3)
        assert node.link.statistics["log"]["broken"] == ""
        assert set(node.link.statistics) == {
            "plane",
            "connections",
            "listeners",
            "process",
            "log",
            "retained",
            "sessions",
            "skipped_records",
            "checkpoint",
            "credentials",
            "tls",
            "websockets",
            "access",
            "ingest",
            "limits",
            "held",
            "requests",
            "requests_waiting",
            "pushes",
            "listening",
            "tracing",
            "site",
        }
        await node.link.kick("other")
        assert await other.disconnected() == 0x98
        with pytest.raises(NotFound):
            await node.link.kick("nobody")
        await node.link.revoke("dev1")
        assert await first.disconnected() == await second.disconnected() == 0x87
        assert revoked == ["dev1"]
    assert not node.link.connected


async def test_the_link_survives_the_broker(tmp_path: Path) -> None:
    path = tmp_path / "broker.sock"
    async with linked(path) as node:
        with pytest.raises(Unavailable):
            await node.link.kick("c")
        for _ in range(2):
            async with running_broker(tmp_path, control_path=path) as running:
                await until_connected(running, node)
                await running.wait_until(lambda: bool(node.link.statistics))
            await wait_until(lambda: not node.link.connected)
            assert node.link.statistics, "those of before, while it is away"


async def test_the_broker_survives_a_node_that_speaks_nonsense_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "broker.sock"
    async with running_broker(tmp_path, control_path=path) as running:
        for data in (b"\xff\xff\xff\xff", b"\0\0\0\1\xc1", encode_message("kick", client_id=5), b""):
            async with await trio.open_unix_socket(str(path)) as stream:
                await stream.send_all(
                    encode_message("hello", version=1) + encode_message("news", of="tomorrow") + data
                )
        deaf = [await trio.open_unix_socket(str(path)) for _ in range(CLIENT_COUNT_MAX - 2)]
        client = await running.connect("c")
        for number in range(1, 300):
            await client.publish("t", b"x", packet_id=number)
        async with linked(path) as node:
            await until_connected(running, node)
            await node.link.kick("c")
            await client.disconnected()
        for stream in deaf:
            await trio.aclose_forcefully(stream)


async def test_a_command_that_the_broker_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a frame may have gone out: the link says so, and begins a new connection."""
    monkeypatch.setattr(broker.link, "SEND_TIMEOUT_S", 0.05)
    path = tmp_path / "broker.sock"
    with trio.socket.socket(socket.AF_UNIX) as listener:
        await listener.bind(str(path))
        listener.listen(5)
        async with linked(path) as node:
            with trio.fail_after(DEADLINE_S):
                stuck, _ = await listener.accept()
                await wait_until(lambda: node.link.connected)
                with pytest.raises(Unavailable):
                    await node.link.kick("x" * 900_000)
                fresh, _ = await listener.accept()
        stuck.close()
        fresh.close()


async def test_a_broker_that_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker.link, "SILENCE_S", 0.05)
    path = tmp_path / "broker.sock"
    with trio.socket.socket(socket.AF_UNIX) as listener:
        await listener.bind(str(path))
        listener.listen(5)
        async with linked(path):
            with trio.fail_after(DEADLINE_S):
                accepted = [(await listener.accept())[0] for _ in range(2)]
        for sock in accepted:
            sock.close()


async def test_first_contacts(tmp_path: Path) -> None:
    path = tmp_path / "broker.sock"
    async with running_broker(tmp_path, control_path=path) as running:
        peer = await running.open()
        await peer.refused("c", username="unknown-1", password=b"unknown")
        async with linked(path) as node:
            await running.wait_until(lambda: node.contacts == ["unknown-1"])


async def test_strangers_are_told_of_together_and_not_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each telling is a write to the catalog: whoever connects again and again must not fill its queue and wear the disk."""
    monkeypatch.setattr(broker.control, "CONTACT_INTERVAL_MS", 60_000)
    monkeypatch.setattr(broker.control, "STATISTICS_INTERVAL_MS", 10)
    path = tmp_path / "broker.sock"
    async with running_broker(tmp_path, control_path=path) as running, linked(path) as node:
        await until_connected(running, node)

        async def come(name: str) -> None:
            peer = await running.open()
            await peer.refused("c", username=name, password=b"unknown")

        await come("first")
        await running.wait_until(lambda: node.contacts == ["first"])
        for name in "abcdefg":
            await come(name)
        control = running.server._control
        assert control is not None
        assert list(control._contacts) == list("abcdefg")
        assert node.contacts == ["first"]
