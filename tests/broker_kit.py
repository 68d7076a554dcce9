"""A broker in this process, with a real log on disk and real sockets on loopback, and a raw client to talk to it.

The client's packets come from tests/protocol/builder.py and are cut here by hand: nothing of our codec is used.
"""

from __future__ import annotations

import socket
import ssl
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
from appliance.identity import SiteKeys, tls
from appliance.management.access import AccessPolicy, Principal, Role
from broker.access_watch import AccessSource
from broker.connection import Accepted, Connection, ConnectionLimits
from broker.identity import DeviceAuthenticator
from broker.mqtt.packets import Connack, Connect, Version, Will
from broker.server import BrokerServer, Ports
from broker.site.site_feed import SiteNodes
from broker.state.broker_state import BrokerState
from broker.state.keeper import recover
from broker.state.session import Session
from broker.tls import TlsContexts, TlsFiles
from broker.tracer import Tracer
from broker.transport import PlainTransport, Transport
from storage.log.block import Block
from storage.log.columns import Kind
from storage.log.disk import OsDisk
from storage.log.reader import LogReader
from storage.log.writer import LogWriter
from tests.broker_peer import DEADLINE_S, Message, Packet, Peer
from tests.websocket_kit import WebSocketStream

__all__ = ["DEADLINE_S", "Message", "Packet", "Peer"]
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

    def authenticate_certificate(
        self, common_name: str, proof: bytes, client_id: str, address: str
    ) -> Principal:
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

    def session(self, client_id: str) -> Session:
        """What the broker has of a client."""
        session = self.server.state.sessions.get(client_id)
        assert session is not None
        return session

    def connection(self, client_id: str) -> Connection:
        """The broker's end of a connection."""
        connection = self.session(client_id).connection
        assert connection is not None
        return connection

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
    site: SiteNodes | None = None,
    tracer: Tracer | None = None,
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
        own = tls.load_or_create(
            directory,
            SiteKeys.load_or_create(directory),
            node_name="kit",
            clock=SystemClock(),
            names=["localhost"],
            addresses=["127.0.0.1"],
        )
        certificate = own.certificate_path
        contexts = TlsContexts(TlsFiles.of(config, own.path))
    reader = LogReader(log_directory)
    checkpoint_path = directory / "checkpoint"
    server = BrokerServer(
        config,
        linger_ms=linger_ms,
        writer=writer,
        reader=reader,
        shared_reader=LogReader(log_directory),
        state=recover(checkpoint_path, reader, lambda: BrokerState.empty(config)),
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
        site=site,
        tracer=tracer,
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


SITE = Principal(name="site", kind="application", access="site")


def connection_pair(
    *,
    version: Version = Version.MQTT_3_1_1,
    client_id: str = "c",
    principal: Principal = SITE,
    will: Will | None = None,
    keep_alive_s: int = 60,
    session_expiry_s: int = 0,
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
        session_expiry_s=session_expiry_s,
        connack=Connack(),
        rest=b"",
        client_receive_maximum=limits.pop("client_receive_maximum", 65_535),
        client_packet_bytes_max=None,
        client_topic_alias_max=0,
    )
    session = Session(
        client_id,
        principal.name,
        expiry_s=session_expiry_s,
        queue_messages_max=limits.pop("queue_messages_max", 1000),
        queue_bytes_max=limits.pop("queue_bytes_max", 1_000_000),
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
            packet_timeout_ms=60_000,
        ),
        mono_ms=0,
    )
    assert not limits, limits
    session.connection = connection
    connection.attach(session)
    session.outbound.attach(
        has_properties=connection.has_properties,
        receive_maximum=accepted.client_receive_maximum,
        packet_bytes_max=None,
        topic_alias_max=0,
        next_seq=1,
    )
    connection.accepted = None
    return connection, theirs
