"""A broker in this process, with a real log on disk and real sockets on loopback, and a raw client to talk to it.

The client's packets come from tests/protocol/builder.py and are cut here by hand: nothing of our codec is used.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trio

from appliance.core.clock import Clock, SystemClock
from appliance.core.config import BrokerConfig
from appliance.core.errors import NotAuthorized
from appliance.core.settings import Bind
from appliance.identity import tls
from appliance.management.access import AccessPolicy, Principal, Role
from broker.access_watch import AccessSource
from broker.connection import Accepted, Connection, ConnectionLimits
from broker.identity import DeviceAuthenticator
from broker.mqtt.packets import Connect, Version, Will
from broker.server import BrokerServer, Ports
from broker.state.keeper import recover
from broker.state.retained import RetainedMessages
from broker.tls import TlsContexts, TlsFiles
from broker.transport import PlainTransport, Transport
from storage.log.block import Block
from storage.log.columns import Kind
from storage.log.disk import OsDisk
from storage.log.reader import LogReader
from storage.log.writer import LogWriter
from tests.protocol import builder
from tests.websocket_kit import WebSocketStream

DEADLINE_S = 10.0
"""No single step of a test takes longer; it is there to end a hanging one."""
NODE_ID = bytes(range(16))
EVERYWHERE = Bind(host="127.0.0.1", port=0)
CONFIG = BrokerConfig(
    tcp_bind=EVERYWHERE,
    ws_bind=EVERYWHERE,
    tls_bind=None,
    connect_rate_per_address_max=100_000,
    connections_per_application_max=100_000,
)


class KitSigner:
    """Signs nothing anybody checks here."""

    key_id = b"k" * 32

    def sign(self, data: bytes) -> bytes:
        return b"s" * 64


class GatedDisk(OsDisk):
    """A disk whose fdatasync waits for a permit, or fails; `permits` None lets everything through at once.

    A test that doesn't cut the power needs no real fsync, so there is none.
    """

    def __init__(self) -> None:
        self.error: OSError | None = None
        self.write_error: OSError | None = None
        self.waiting = threading.Event()
        """Set while a block waits for its permit."""
        self._gate: threading.Semaphore | None = None

    def shut(self) -> None:
        """From now on every fdatasync waits for `permit`."""
        self._gate = threading.Semaphore(0)

    def permit(self, count: int = 1) -> None:
        assert self._gate is not None
        self._gate.release(count)

    def open_gate(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.release(1000)

    def pwritev(self, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        if self.write_error is not None:
            raise self.write_error
        return super().pwritev(descriptor, buffers, offset)

    def fdatasync(self, descriptor: int) -> None:
        gate = self._gate
        if gate is not None:
            self.waiting.set()
            gate.acquire()
            self.waiting.clear()
        if self.error is not None:
            raise self.error

    def fsync(self, descriptor: int) -> None:
        pass

    def fsync_directory(self, path: Path) -> None:
        pass


class KitAuthenticator:
    """Knows everybody: user names that begin with `site` are applications, all others devices of that name."""

    def authenticate(
        self, username: str | None, password: bytes | None, client_id: str, address: str
    ) -> Principal:
        if password == b"unknown":
            raise NotAuthorized("No such device.", code="unknown_device")
        if username is None or password == b"wrong":
            raise NotAuthorized("The token is wrong.", code="bad_credentials")
        if username.startswith("site"):
            return Principal(name=username, kind="application", access="site")
        return Principal(name=username)

    def authenticate_certificate(self, common_name: str, client_id: str, address: str) -> Principal:
        if common_name == "stranger":
            raise NotAuthorized("No such device.", code="unknown_device")
        return Principal(name=common_name)


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds, with a deadline."""
    with trio.fail_after(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - of all kinds, most of them no event's
            await trio.sleep(0.002)


@dataclass
class Running:
    """A broker that runs."""

    server: BrokerServer
    writer: LogWriter
    directory: Path
    disk: GatedDisk
    port: int
    ports: Ports
    certificate: Path | None
    peers: list[Peer] = field(default_factory=list)

    @property
    def tls_port(self) -> int | None:
        return self.ports.tls

    async def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait for something that another task does, with a deadline."""
        await wait_until(condition)

    def statistics(self) -> dict[str, Any]:
        return self.server.statistics()

    def blocks(self) -> list[Block]:
        """All that is on disk."""
        reader = LogReader(self.directory)
        blocks: list[Block] = []
        seq = reader.first_seq()
        while got := reader.read(seq):
            blocks += got
            seq = got[-1].first_seq + got[-1].record_count
        reader.close()
        return blocks

    def records(self, *kinds: Kind) -> list[tuple[Kind, str, bytes, bytes]]:
        """(kind, client id, topic, payload) of the records on disk, in order; of all kinds where none is given."""
        found = []
        for block in self.blocks():
            columns = block.columns()
            for index, kind in enumerate(columns.kinds):
                if not kinds or kind in kinds:
                    client_id, _ = columns.clients[columns.client_index[index]]
                    topic = columns.topics[columns.topic_index[index]]
                    found.append((Kind(kind), client_id, topic, columns.payload(index)))
        return found

    async def open(self, *, version: int = 4, receive_buffer_bytes: int | None = None) -> Peer:
        """A client that has not said anything yet; closed at the end."""
        peer = await Peer.open(self.port, version=version, receive_buffer_bytes=receive_buffer_bytes)
        self.peers.append(peer)
        return peer

    async def open_tls(self, *, version: int = 4, client: Path | None = None, header: bytes = b"") -> Peer:
        """The same over TLS.

        Args:
            client: The certificate to show, with its key.
            header: What goes before TLS, as a proxy sends it.
        """
        assert self.tls_port is not None
        assert self.certificate is not None
        peer = await Peer.open_tls(
            self.tls_port, self.certificate, version=version, client=client, header=header
        )
        self.peers.append(peer)
        return peer

    async def open_websocket(
        self, *, version: int = 4, client: Path | None = None, is_secure: bool = False
    ) -> Peer:
        """The same over WebSocket.

        Args:
            client: The certificate to show, with its key.
        """
        context = None
        if is_secure:
            context = ssl.create_default_context(cafile=str(self.certificate))
            if client is not None:
                context.load_cert_chain(client)
        port = self.ports.wss if is_secure else self.ports.ws
        assert port is not None
        peer = Peer(await WebSocketStream.open(port, context), version)
        self.peers.append(peer)
        return peer

    async def connect(
        self,
        client_id: str,
        *,
        username: str = "site",
        version: int = 4,
        receive_buffer_bytes: int | None = None,
        **options: Any,
    ) -> Peer:
        """A client that the broker has accepted."""
        peer = await self.open(version=version, receive_buffer_bytes=receive_buffer_bytes)
        await peer.connect(client_id, username=username, **options)
        return peer


@asynccontextmanager
async def running_broker(
    directory: Path,
    *,
    clock: Clock | None = None,
    config: BrokerConfig = CONFIG,
    linger_ms: int = 0,
    disk: GatedDisk | None = None,
    control_path: Path | None = None,
    with_tls: bool = False,
    segment_bytes: int = 4 * 1024 * 1024,
    patterns: Sequence[str] = (),
    roles: Mapping[str, Role] | None = None,
    authenticator: DeviceAuthenticator | None = None,
    access: AccessSource | None = None,
    on_revoke: Callable[[str], None] = lambda _principal: None,
) -> AsyncIterator[Running]:
    """Run a broker for as long as the block lasts, then drain it.

    What the broker's `run` raises is raised at the end of the block, in an exception group.
    """
    clock = clock or SystemClock()
    disk = disk or GatedDisk()
    log_directory = directory / "log"
    writer = LogWriter.open(
        log_directory,
        stream="telemetry",
        node_id=NODE_ID,
        signer=KitSigner(),
        clock=clock,
        disk=disk,
        segment_bytes=segment_bytes,
    )
    certificate: Path | None = None
    contexts: TlsContexts | None = None
    if with_tls:
        config = replace(config, tls_bind=EVERYWHERE, wss_bind=EVERYWHERE)
        certificate = tls.load_or_create(
            directory, node_name="kit", clock=SystemClock(), names=["localhost"], addresses=["127.0.0.1"]
        ).path
        contexts = TlsContexts(TlsFiles.of(config, certificate))
    reader = LogReader(log_directory)
    retained = RetainedMessages(
        messages_max=config.retained_messages_max, bytes_max=config.retained_bytes_max
    )
    checkpoint_path = directory / "checkpoint"
    server = BrokerServer(
        config,
        linger_ms=linger_ms,
        writer=writer,
        reader=reader,
        state=recover(checkpoint_path, reader, retained=retained),
        checkpoint_path=checkpoint_path,
        authenticator=authenticator or KitAuthenticator(),
        policy=AccessPolicy(patterns, roles),
        access=access,
        clock=clock,
        tls=contexts,
        control_path=control_path,
        version="kit",
        own_names=["box.example", "localhost"],
        on_revoke=on_revoke,
    )
    try:
        async with trio.open_nursery() as nursery:
            ports = await nursery.start(server.run)
            running = Running(server, writer, log_directory, disk, ports.tcp, ports, certificate)
            try:
                yield running
            finally:
                disk.open_gate()
                server.drain()
                for peer in running.peers:
                    peer.drop()
                nursery.cancel_scope.deadline = trio.current_time() + DEADLINE_S
        assert not nursery.cancel_scope.cancelled_caught, "the broker did not end"
    finally:
        await trio.to_thread.run_sync(writer.close)
        reader.close()


@dataclass(frozen=True)
class Packet:
    """One packet as it came."""

    first: int
    body: bytes

    @property
    def kind(self) -> int:
        return self.first & 0xF0

    @property
    def packet_id(self) -> int:
        """Of a PUBACK or SUBACK."""
        return int.from_bytes(self.body[:2], "big")


@dataclass(frozen=True)
class Message:
    """A PUBLISH taken apart."""

    topic: str
    payload: bytes
    qos: int
    packet_id: int
    properties: bytes


class Peer:
    """The other end of a connection: sends bytes, cuts what comes into packets."""

    def __init__(self, stream: trio.abc.Stream, version: int) -> None:
        self.stream = stream
        self.version = version
        self._buffer = bytearray()

    @classmethod
    async def open(cls, port: int, *, version: int = 4, receive_buffer_bytes: int | None = None) -> Peer:
        """Connect by TCP.

        Args:
            receive_buffer_bytes: Makes the kernel hold less for a client that does not read.
        """
        with trio.fail_after(DEADLINE_S):
            sock = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            if receive_buffer_bytes is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            try:
                await sock.connect(("127.0.0.1", port))
            except OSError:
                sock.close()
                raise
        return cls(trio.SocketStream(sock), version)

    @classmethod
    async def open_unix(cls, path: Path, *, version: int = 4) -> Peer:
        """Connect by a Unix socket."""
        with trio.fail_after(DEADLINE_S):
            return cls(await trio.open_unix_socket(path), version)

    @classmethod
    async def open_tls(
        cls,
        port: int,
        certificate: Path,
        *,
        version: int = 4,
        client: Path | None = None,
        header: bytes = b"",
    ) -> Peer:
        context = ssl.create_default_context(cafile=str(certificate))
        if client is not None:
            context.load_cert_chain(client)
        plain = await cls.open(port, version=version)
        stream = trio.SSLStream(plain.stream, context, server_hostname="127.0.0.1")
        try:
            await plain.send(header)
            with trio.fail_after(DEADLINE_S):
                await stream.do_handshake()
        except BaseException:
            plain.drop()
            raise
        return cls(stream, version)

    async def send(self, *packets: bytes) -> None:
        with trio.fail_after(DEADLINE_S):
            await self.stream.send_all(b"".join(packets))

    async def packet(self, timeout_s: float = DEADLINE_S) -> Packet | None:
        """The next packet; None at the end of the stream."""
        with trio.fail_after(timeout_s):
            while (packet := self._cut()) is None:
                try:
                    data = await self.stream.receive_some(262_144)
                except trio.BrokenResourceError:
                    return None
                if not data:
                    return None
                self._buffer += data
        return packet

    def _cut(self) -> Packet | None:
        length = shift = 0
        for at in range(1, min(len(self._buffer), 5)):
            length |= (self._buffer[at] & 127) << shift
            shift += 7
            if self._buffer[at] < 128:
                end = at + 1 + length
                if len(self._buffer) < end:
                    return None
                packet = Packet(self._buffer[0], bytes(self._buffer[at + 1 : end]))
                del self._buffer[:end]
                return packet
        return None

    async def expect(self, kind: int) -> Packet:
        packet = await self.packet()
        assert packet is not None, f"the stream ended where 0x{kind:02x} was expected"
        assert packet.kind == kind & 0xF0, (
            f"0x{packet.first:02x} {packet.body!r} where 0x{kind:02x} was expected"
        )
        return packet

    async def connect(self, client_id: str, *, username: str | None = "site", **options: Any) -> Packet:
        """CONNECT and a CONNACK that says yes."""
        if username is not None:
            options.setdefault("password", b"token")
        await self.send(builder.connect(client_id, version=self.version, username=username, **options))
        connack = await self.expect(builder.CONNACK)
        assert connack.body[1] == 0, f"CONNACK says 0x{connack.body[1]:02x}"
        return connack

    async def refused(self, client_id: str, *, username: str | None = "site", **options: Any) -> int:
        """CONNECT, and the reason code of a CONNACK that says no; then the stream ends."""
        if username is not None:
            options.setdefault("password", b"token")
        await self.send(builder.connect(client_id, version=self.version, username=username, **options))
        connack = await self.expect(builder.CONNACK)
        assert connack.body[1] != 0
        assert await self.packet() is None
        return connack.body[1]

    async def subscribe(self, *filters: str, qos: int = 1, options: int = 0) -> Packet:
        """SUBSCRIBE and its SUBACK."""
        no_properties = b"" if self.version == 5 else None
        await self.send(
            builder.subscribe(7, *((f, qos | options) for f in filters), properties=no_properties)
        )
        return await self.expect(builder.SUBACK)

    def publish_packet(self, topic: str, payload: bytes, *, qos: int = 1, packet_id: int = 1) -> bytes:
        return builder.publish(
            topic,
            payload,
            qos=qos,
            packet_id=packet_id if qos else None,
            properties=b"" if self.version == 5 else None,
        )

    async def publish(self, topic: str, payload: bytes, *, packet_id: int = 1) -> Packet:
        """PUBLISH at QoS 1 and its PUBACK."""
        await self.send(self.publish_packet(topic, payload, packet_id=packet_id))
        puback = await self.expect(builder.PUBACK)
        assert puback.packet_id == packet_id
        return puback

    async def message(self, timeout_s: float = DEADLINE_S) -> Message:
        """The next PUBLISH, taken apart; a QoS 1 message is not acknowledged by this."""
        packet = await self.packet(timeout_s)
        assert packet is not None, "the stream ended where a PUBLISH was expected"
        assert packet.kind == builder.PUBLISH, f"0x{packet.first:02x} where a PUBLISH was expected"
        return self.take_apart(packet)

    def take_apart(self, packet: Packet) -> Message:
        body = packet.body
        (size,) = struct.unpack_from(">H", body)
        topic, at = body[2 : 2 + size].decode(), 2 + size
        qos = packet.first >> 1 & 3
        packet_id = 0
        if qos:
            packet_id, at = int.from_bytes(body[at : at + 2], "big"), at + 2
        properties = b""
        if self.version == 5:
            length = shift = 0
            while True:
                byte, at = body[at], at + 1
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            properties, at = body[at : at + length], at + length
        return Message(topic, body[at:], qos, packet_id, properties)

    async def ping(self) -> None:
        """PINGREQ and PINGRESP: everything before has been handled."""
        await self.send(builder.PINGREQ_PACKET)
        await self.expect(builder.PINGRESP)

    async def disconnected(self) -> int | None:
        """Wait for the end of the stream; the reason code of the DISCONNECT before it, if there was one."""
        reason: int | None = None
        while (packet := await self.packet()) is not None:
            if packet.kind == builder.DISCONNECT:
                reason = packet.body[0] if packet.body else 0
        return reason

    def drop(self) -> None:
        """Go away without DISCONNECT."""
        stream = self.stream
        if isinstance(stream, WebSocketStream):
            stream = stream.below
        if isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        assert isinstance(stream, trio.SocketStream)
        stream.socket.close()


SITE = Principal(name="site", kind="application", access="site")


def connection_pair(
    *,
    version: Version = Version.MQTT_3_1_1,
    client_id: str = "c",
    principal: Principal = SITE,
    will: Will | None = None,
    keep_alive_s: int = 60,
    transport: Transport | None = None,
    **limits: int,
) -> tuple[Connection, socket.socket]:
    """A connection as the data plane has it, and the other end of its socket (blocking)."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(DEADLINE_S)
    connect = Connect(
        client_id=client_id,
        clean_start=True,
        keep_alive_s=keep_alive_s,
        username=principal.name,
        password=b"token",
        will=will,
        version=version,
    )
    accepted = Accepted(
        connect=connect,
        client_id=client_id,
        principal=principal,
        keep_alive_s=keep_alive_s,
        connack=b"",
        rest=b"",
        client_receive_maximum=limits.pop("client_receive_maximum", 65_535),
        client_packet_bytes_max=None,
    )
    connection = Connection(
        sock=ours,
        transport=transport or PlainTransport(ours),
        address="203.0.113.9",
        accepted=accepted,
        policy=AccessPolicy(),
        limits=ConnectionLimits(
            packet_bytes_max=limits.pop("packet_bytes_max", 1_000_000),
            receive_maximum=limits.pop("receive_maximum", 100),
            topic_alias_max=limits.pop("topic_alias_max", 16),
            queue_messages_max=limits.pop("queue_messages_max", 1000),
            queue_bytes_max=limits.pop("queue_bytes_max", 1_000_000),
            packet_timeout_ms=60_000,
        ),
        mono_ms=0,
    )
    assert not limits, limits
    connection.accepted = None
    return connection, theirs
