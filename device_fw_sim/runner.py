"""The trio shell of one device: sockets, TLS and time around the sans-IO device and session.

Theory of operation: one task owns the `Device` and its `MqttSession` and does everything in order: it waits until the
next deadline of either or until something arrives, feeds it, and writes what comes out. A second task for each connection
dials and reads, into a short channel. A silent device's reader stops, so its socket fills up as a hung device's would.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from broker.mqtt.packets import Version
from device_fw_sim.broker_address import BrokerAddress
from device_fw_sim.brokers import TOPIC as BROKERS_TOPIC
from device_fw_sim.brokers import Brokers
from device_fw_sim.device import Device
from device_fw_sim.events import (
    Close,
    Command,
    Connect,
    Connected,
    ConnectionLost,
    Event,
    FallSilent,
    FetchBytes,
    Fetched,
    Moment,
    Received,
    Refused,
    Subscribe,
)
from device_fw_sim.fitting import HTTPS_PORT
from device_fw_sim.https_range import RangeGet
from device_fw_sim.limits import CONNECT_TIMEOUT_MS, RECEIVE_BYTES, STREAM_TIMEOUT_MS
from device_fw_sim.load.options import Credential
from device_fw_sim.session import MqttSession

_INBOX_COUNT = 4
_READER_TURNS = 2
"""Turns of the loop after which a reader has handed on what its socket had: it is woken in the one, and runs in the other."""
_WRITE_DEADLINE_S = 30.0
_CLOSE_DEADLINE_S = 2.0


def system_moment() -> Moment:
    """Both of the machine's clocks now; the monotonic one is trio's."""
    return Moment(mono_ms=int(trio.current_time() * 1_000), wall_ms=time.time_ns() // 1_000_000)


@dataclass(slots=True, eq=False)
class _Link:
    """One connection, on its way or up."""

    session: MqttSession
    stream: trio.abc.Stream | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    speaking: trio.Event = field(default_factory=trio.Event)


class DeviceRunner:
    """The shell of one device.

    Args:
        device: The device; nobody else feeds it while this runs.
        credential: User name and token, None for a broker that lets anybody in.
        broker: Where to connect first; others are those that the site says it has.
        context: TLS, or None.
        moment: Reads the clocks; the monotonic one must be trio's.
        https_port: Where a job's path leads, on the broker's host.
    """

    def __init__(
        self,
        device: Device,
        credential: Credential | None,
        broker: BrokerAddress,
        context: ssl.SSLContext | None,
        moment: Callable[[], Moment] = system_moment,
        https_port: int = HTTPS_PORT,
    ) -> None:
        self.device = device
        self.problem: str | None = None
        self._credential = credential
        self.brokers = Brokers(broker)
        self._context = context
        self._moment = moment
        self._https_port = https_port
        self._link: _Link | None = None
        # Bounded: a reader waits when its device is busy. An entry without a link is bytes over HTTPS, or only wakes the device up.
        self._post, self._inbox = trio.open_memory_channel[tuple[_Link | None, bytes | Fetched]](_INBOX_COUNT)
        self._fetching = trio.CancelScope()
        self._drain_wanted = False
        self._close_wanted = False
        self._delivered = trio.Event()
        self._closed = trio.Event()

    async def run(self) -> None:
        """Run the device until `close`."""
        try:
            async with trio.open_nursery() as nursery:
                draining = False
                while not self._close_wanted:
                    await self._carry_out(self.device.on_deadline(self._moment()), nursery)
                    if self._drain_wanted:
                        if not draining:
                            draining = True
                            await self._carry_out(self.device.stop(self._moment()), nursery)
                        if self.device.delivered:
                            self._delivered.set()
                    for event in await self._next_events():
                        await self._feed(event, nursery)
                await self._carry_out(self.device.close(self._moment()), nursery)
                nursery.cancel_scope.cancel()
        finally:
            self._closed.set()

    async def drain(self) -> None:
        """Take no more readings; return when everything kept is delivered."""
        self._drain_wanted = True
        self._wake()
        await self._delivered.wait()

    async def close(self) -> None:
        """Say goodbye and end `run`."""
        self._close_wanted = True
        self._wake()
        await self._closed.wait()

    def _wake(self) -> None:
        try:
            self._post.send_nowait((None, b""))
        except trio.WouldBlock:
            pass  # It is full, so the device is about to wake up anyway.

    async def _next_events(self) -> list[Event]:
        """Wait for bytes or for the next deadline, whichever comes first."""
        deadlines = [self.device.next_deadline_ms()]
        if self._link is not None:
            deadlines.append(self._link.session.next_deadline_ms())
        due_ms = min((each for each in deadlines if each is not None), default=None)
        wait_s = float("inf") if due_ms is None else max(due_ms - self._moment().mono_ms, 1) / 1_000
        link: _Link | None = None
        data: bytes | Fetched = b""
        arrived = False
        with trio.move_on_after(wait_s):
            link, data = await self._inbox.receive()
            arrived = True
        if not arrived:
            # Nothing is overdue that is on its way: among a thousand devices the reader's turn may come after the clock's.
            for _ in range(_READER_TURNS):
                await trio.lowlevel.checkpoint()
            try:
                link, data = self._inbox.receive_nowait()
                arrived = True
            except trio.WouldBlock:
                pass
        now_ms = self._moment().mono_ms
        current = self._link
        if isinstance(data, Fetched):
            return [data]
        if current is None:
            return []
        if arrived and link is current:
            return current.session.receive_bytes(data, now_ms)
        to_send, events = current.session.on_deadline(now_ms)
        if to_send and not await self._written(current, to_send):
            return [*events, ConnectionLost()]
        return events

    async def _feed(self, event: Event, nursery: trio.Nursery) -> None:
        if isinstance(event, Received) and event.topic == BROKERS_TOPIC:
            self.brokers.learn(event.payload)
            return
        if isinstance(event, ConnectionLost | Refused):
            if self._link is not None:
                if self._link.session.server_reference:
                    self.brokers.refer(self._link.session.server_reference)
                self.brokers.failed()
            await self._drop(abort=True)
        commands = self.device.receive(event, self._moment())
        if isinstance(event, Connected):
            commands.append(Subscribe(filters=(BROKERS_TOPIC,)))
        await self._carry_out(commands, nursery)

    async def _carry_out(self, commands: Sequence[Command], nursery: trio.Nursery) -> None:
        data = b""
        for command in commands:
            link = self._link
            if isinstance(command, Connect):
                self._open(command, nursery)
                continue
            if isinstance(command, FetchBytes):
                self._fetching.cancel()
                self._fetching = trio.CancelScope()
                nursery.start_soon(self._fetch, command, self._fetching)
                continue
            if link is None:
                continue
            data += link.session.send(command, self._moment().mono_ms)
            if isinstance(command, FallSilent):
                link.speaking = trio.Event()
                if not command.silent:
                    link.speaking.set()
            if isinstance(command, Close):
                if not command.abort:
                    await self._written(link, data)
                data = b""
                await self._drop(abort=command.abort)
        if data and self._link is not None and not await self._written(self._link, data):
            await self._feed(ConnectionLost(), nursery)

    def _open(self, command: Connect, nursery: trio.Nursery) -> None:
        credential = self._credential
        session = MqttSession(
            version=Version(self.brokers.current.mqtt_version),
            username=None if credential is None else credential.username,
            password=None if credential is None else credential.password,
        )
        link = self._link = _Link(session)
        link.speaking.set()
        nursery.start_soon(self._read, link, session.send(command, self._moment().mono_ms))

    async def _read(self, link: _Link, greeting: bytes) -> None:
        """Connect, then hand on what is received; b"" says that the connection is over."""
        with link.scope:
            try:
                with trio.fail_after(CONNECT_TIMEOUT_MS / 1_000):
                    link.stream = await self._dial()
                    await link.stream.send_all(greeting)
                while data := await link.stream.receive_some(RECEIVE_BYTES):
                    await link.speaking.wait()
                    await self._post.send((link, bytes(data)))
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as error:
                link.session.problem = link.session.problem or str(error) or type(error).__name__
            await link.speaking.wait()
            await self._post.send((link, b""))

    async def _fetch(self, command: FetchBytes, scope: trio.CancelScope) -> None:
        with scope:
            await self._exchange(command)

    async def _exchange(self, command: FetchBytes) -> None:
        """Get bytes over HTTPS; an empty piece at the end says that it is over, whatever ended it."""
        known = self._credential
        exchange = RangeGet(
            command.url,
            command.offset,
            host=self.brokers.current.host,
            port=self._https_port,
            login=None if known is None else (known.username, known.password),
        )
        try:
            with trio.fail_after(CONNECT_TIMEOUT_MS / 1_000):
                stream = await self._secure(
                    await trio.open_tcp_stream(exchange.host, exchange.port), exchange.host
                )
                await stream.send_all(exchange.request())
            async with stream:
                while not exchange.is_over:
                    with trio.fail_after(STREAM_TIMEOUT_MS / 1_000):
                        data = await stream.receive_some(RECEIVE_BYTES)
                    for piece in exchange.receive_bytes(bytes(data)):
                        await self._post.send((None, Fetched(data=piece, number=command.number)))
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            exchange.problem = str(error) or type(error).__name__
        self.problem = exchange.problem or self.problem
        await self._post.send((None, Fetched(data=b"", number=command.number)))

    async def _dial(self) -> trio.abc.Stream:
        broker = self.brokers.current
        plain = await trio.open_tcp_stream(broker.host, broker.port)
        plain.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
        return plain if self._context is None else await self._secure(plain, broker.host)

    async def _secure(self, plain: trio.SocketStream, host: str) -> trio.abc.Stream:
        context = self._context or self.brokers.current.https_context()
        # MQTT has a goodbye of its own, so a missing close_notify means nothing.
        secure = trio.SSLStream(plain, context, server_hostname=host, https_compatible=True)
        try:
            await secure.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(plain)
            raise
        return secure

    async def _written(self, link: _Link, data: bytes) -> bool:
        """Write to a connection; False when that failed. Nothing is written to one that isn't up yet."""
        if link.stream is None:
            return True
        try:
            with trio.fail_after(_WRITE_DEADLINE_S):
                await link.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as error:
            link.session.problem = link.session.problem or str(error) or type(error).__name__
            return False
        return True

    async def _drop(self, *, abort: bool) -> None:
        link, self._link = self._link, None
        if link is None:
            return
        self.problem = link.session.problem or self.problem
        link.scope.cancel()
        if link.stream is None:
            return
        if not abort:
            with trio.move_on_after(_CLOSE_DEADLINE_S):
                await link.stream.aclose()
        await trio.aclose_forcefully(link.stream)
