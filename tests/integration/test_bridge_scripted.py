"""A bridge in this process between a real broker and a remote that is written here, byte by byte: what no real one does on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from appliance.core.bridge_config import BridgeConfig, BridgeTopicConfig
from appliance.core.clock import SystemClock
from appliance.core.settings import Bind
from broker.bridge.bridge import Bridge
from broker.bridge.local import LocalBroker
from broker.bridge.rules import rules_of
from broker.bridge.state_file import BridgeState, read_state, write_state
from broker.link import BrokerLink
from storage.log.columns import Kind
from storage.log.reader import LogReader
from tests.broker_kit import DEADLINE_S, NODE_ID, GatedDisk, Peer, Running, running_broker, wait_until
from tests.protocol import builder

CONNACK_NEW = b"\x20\x03\x00\x00\x00"
CONNACK_KNOWN = b"\x20\x03\x01\x00\x00"
TOPICS = (
    BridgeTopicConfig(bridge="up", direction="in", topic="in/#", qos=2),
    BridgeTopicConfig(bridge="up", direction="out", topic="out/#", qos=2),
)


@dataclass
class Rig:
    running: Running
    bridge: Bridge
    disk: GatedDisk
    state_path: Path
    accepted: trio.MemoryReceiveChannel[trio.SocketStream]

    async def remote(self, connack: bytes = CONNACK_KNOWN) -> Peer:
        """The next connection of the bridge, behind CONNECT, CONNACK and SUBSCRIBE."""
        with trio.fail_after(DEADLINE_S):
            peer = Peer(await self.accepted.receive(), 5)
        await peer.expect(builder.CONNECT)
        await peer.send(connack)
        subscribe = await peer.expect(builder.SUBSCRIBE)
        await peer.send(b"\x90\x04" + subscribe.body[:2] + b"\x00\x02")
        await wait_until(lambda: self.bridge.statistics().state == "connected")
        return peer

    def brought(self) -> list[bytes]:
        """Payloads of the records that the bridge has brought."""
        return [
            payload
            for _, client, _, payload in self.running.records(Kind.SERVER_PUBLISH)
            if client == "bridge/up"
        ]


@asynccontextmanager
async def bridged(tmp_path: Path, state: BridgeState | None = None) -> AsyncIterator[Rig]:
    """A broker, a bridge, and a door at which the bridge knocks.

    Args:
        state: What the bridge remembers from a life before.
    """
    state_path = tmp_path / "cursors" / "bridge-up.json"
    if state is not None:
        write_state(state_path, state)
    socket_path, disk = tmp_path / "broker.sock", GatedDisk()
    send, accepted = trio.open_memory_channel[trio.SocketStream](8)

    async def knock(stream: trio.SocketStream) -> None:
        await send.send(stream)
        await trio.sleep_forever()

    (door,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = Bind(host="127.0.0.1", port=door.socket.getsockname()[1])
    async with (
        running_broker(tmp_path, control_path=socket_path, disk=disk) as running,
        send,
        accepted,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(trio.serve_listeners, knock, [door])
        local = LocalBroker(socket_path)
        bridge = Bridge(
            rules_of(
                BridgeConfig(name="up", address=address, tls="off"),
                TOPICS,
                node_id=NODE_ID,
                packet_bytes_max=1_000_000,
            ),
            log_of=lambda: LogReader(running.directory),
            state_path=state_path,
            local=local,
            clock=SystemClock(),
            random=lambda: 0.0,
        )
        nursery.start_soon(local.run)
        nursery.start_soon(bridge.run)
        yield Rig(running, bridge, disk, state_path, accepted)
        disk.open_gate()
        nursery.cancel_scope.cancel()


def publish(payload: bytes, *, qos: int, packet_id: int, dup: bool = False) -> bytes:
    return builder.publish("in/x", payload, qos=qos, packet_id=packet_id, dup=dup, properties=b"")


async def test_the_remote_is_acknowledged_when_our_log_has_it_on_disk(tmp_path: Path) -> None:
    async with bridged(tmp_path) as rig:
        remote = await rig.remote()
        rig.disk.shut()
        await remote.send(publish(b"one", qos=1, packet_id=7), publish(b"two", qos=2, packet_id=8))
        await wait_until(rig.disk.waiting.is_set)
        with trio.move_on_after(0.2) as silent:
            await remote.stream.receive_some(1)
        assert silent.cancelled_caught, "an acknowledgement came before the fsync"
        assert rig.bridge.statistics().received_messages == 0
        rig.disk.open_gate()
        assert (await remote.expect(builder.PUBACK)).packet_id == 7
        assert (await remote.expect(builder.PUBREC)).packet_id == 8
        assert rig.brought() == [b"one", b"two"]


async def test_a_message_that_the_log_has_is_not_taken_again_after_a_kill(tmp_path: Path) -> None:
    """Killed between the log and noting it: the log says that it is there."""
    async with bridged(tmp_path) as rig:
        remote = await rig.remote()
        before = read_state(rig.state_path)
        assert before is not None
        await remote.send(publish(b"once", qos=2, packet_id=5))
        await remote.expect(builder.PUBREC)
        seq = rig.running.server.plane.durable_next_seq
    killed = BridgeState(next_seq=1, epoch=1, begun=((5, seq - 1),), subscribed=before.subscribed)
    async with bridged(tmp_path, killed) as rig:
        remote = await rig.remote()
        await remote.send(publish(b"once", qos=2, packet_id=5, dup=True))
        assert (await remote.expect(builder.PUBREC)).packet_id == 5
        await remote.send(builder.packet(0x62, b"\x00\x05"))
        await remote.expect(builder.PUBCOMP)
        assert rig.brought() == [b"once"]


async def test_a_message_that_the_log_lacks_is_taken_though_its_identifier_was_used_before(
    tmp_path: Path,
) -> None:
    """Brokers that use the lowest free identifier use the same one for the next message at once."""
    async with bridged(tmp_path) as rig:
        remote = await rig.remote()
        await remote.send(publish(b"first", qos=2, packet_id=1))
        await remote.expect(builder.PUBREC)
        await remote.send(builder.packet(0x62, b"\x00\x01"))
        await remote.expect(builder.PUBCOMP)
        rig.disk.shut()
        await remote.send(publish(b"second", qos=2, packet_id=1))
        await wait_until(rig.disk.waiting.is_set)
        killed = read_state(rig.state_path)
        assert killed is not None
        ((packet_id, since_seq),) = killed.begun
        assert packet_id == 1
        first_seq = rig.running.server.plane.durable_next_seq - 1
        assert since_seq > first_seq, "the first message is not looked for"
        rig.disk.open_gate()
        await remote.expect(builder.PUBREC)
        behind_both = rig.running.server.plane.durable_next_seq
    gone = BridgeState(next_seq=1, epoch=1, begun=((1, behind_both),))
    async with bridged(tmp_path, gone) as rig:
        remote = await rig.remote()
        await remote.send(publish(b"third", qos=2, packet_id=1, dup=True))
        await remote.expect(builder.PUBREC)
        assert rig.brought() == [b"first", b"second", b"third"]


async def test_a_message_out_is_sent_again_under_its_identifier(tmp_path: Path) -> None:
    async with bridged(tmp_path) as rig:
        remote = await rig.remote()
        device = await rig.running.connect("d", version=5)
        await device.send(builder.publish("out/x", b"m", qos=2, packet_id=9, properties=b""))
        first = await remote.expect(builder.PUBLISH)
        message = remote.take_apart(first)
        assert (message.topic, message.payload, message.qos) == ("out/x", b"m", 2)
        remote.drop()
        with trio.fail_after(DEADLINE_S):
            remote = Peer(await rig.accepted.receive(), 5)
        await remote.expect(builder.CONNECT)
        await remote.send(CONNACK_KNOWN)
        again = await remote.expect(builder.PUBLISH)
        assert again.first & 8, "marked as sent again"
        assert remote.take_apart(again).packet_id == message.packet_id
        await remote.send(builder.packet(0x50, message.packet_id.to_bytes(2, "big")))
        assert (await remote.expect(builder.PUBREL)).packet_id == message.packet_id
        await remote.send(builder.packet(0x70, message.packet_id.to_bytes(2, "big")))
        await wait_until(lambda: rig.bridge.statistics().acknowledged_messages == 1)


async def test_nonsense_from_the_remote_ends_the_connection_and_nothing_else(tmp_path: Path) -> None:
    async with bridged(tmp_path) as rig:
        remote = await rig.remote()
        await remote.send(
            publish(b"good", qos=1, packet_id=1),
            builder.publish("not/asked/for", b"x", qos=1, packet_id=2, properties=b""),
            b"\x00\x00",
        )
        await wait_until(lambda: rig.bridge.statistics().state == "waiting")
        statistics = rig.bridge.statistics()
        assert statistics.code.startswith("bridge_")
        assert statistics.hint
        assert statistics.dropped_messages == 1
        assert rig.brought() == [b"good"]
        await rig.remote(CONNACK_NEW)


async def test_word_of_unknown_devices_goes_to_the_node_and_not_to_a_bridge(tmp_path: Path) -> None:
    async with bridged(tmp_path) as rig, trio.open_nursery() as nursery:
        await rig.remote()
        peer = await rig.running.open()
        await peer.send(builder.connect("x", username="newcomer", password=b"unknown"))
        await peer.disconnected()
        contacts: list[str] = []
        link = BrokerLink(tmp_path / "broker.sock", lambda: None, contacts.extend)
        nursery.start_soon(link.run)
        await wait_until(lambda: contacts == ["newcomer"])
        nursery.cancel_scope.cancel()
