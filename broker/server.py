"""The broker, put together: log, data plane, listeners, control socket. One object, one lifetime."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgpack
import structlog
import trio

from appliance.core.believed_time import BelievedTime
from appliance.core.clock import Clock
from appliance.core.config import BrokerConfig
from appliance.management.access import AccessPolicy, Principal
from storage.log.head import Head
from storage.log.reader import LogReader
from storage.log.writer import LogWriter

from .access_watch import AccessSource, AccessWatch
from .administration import Administration
from .arrival import Door, Entrance
from .connection import ConnectionLimits
from .control import ControlServer
from .conversations import Conversations
from .data_plane import DataPlane
from .disk_watch import DiskWatch
from .doors import open_doors
from .fan_out import FanOut
from .handshake import Handshake, HandshakeLimits
from .held_back import Holding
from .identity import DeviceAuthenticator
from .ingest import Ingest
from .lifecycle import Lifecycle
from .limit_counts import Limit, LimitCounts
from .listener import Listeners
from .local_messages import LocalMessages
from .origins import OriginPolicy
from .pace import Rate
from .places import PlaceLimits, Places
from .process_numbers import ProcessWatch
from .questions import Questions
from .refill import Refill
from .shared_refill import SharedRefill
from .site.site_feed import SiteFeed, SiteNodes
from .slow_path import SlowPath
from .state.broker_state import BrokerState
from .state.keeper import StateKeeper
from .sys_publisher import SysPublisher
from .tls import TlsContexts
from .told import Told
from .tracer import Tracer
from .websocket import WebSockets

AUTH_THREAD_COUNT_MAX: Final = 4

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the broker listens, once it does; None for a door that is off."""

    tcp: int | None = None
    tls: int | None = None
    ws: int | None = None
    wss: int | None = None


class BrokerServer:
    """See the module's docstring.

    Args:
        writer: The telemetry log; closed by the caller after `run` has returned.
        reader, shared_reader: The same log, for sessions and for shared subscriptions; each is read in a thread of its own.
        state: As `state.keeper.recover` gave it.
        checkpoint_path: Where it is written from time to time, and when the broker has drained.
        tls: The TLS settings; None where there is no certificate.
        control_path: Of the control socket, or None for no node (tests).
        version: Homeport's, for the log's start record.
        own_names: Names and addresses of this box, whose pages may connect over WebSocket.
        access: Says what those who are connected may do now; None where that never changes (tests).
        on_revoke: Called when the node revokes a device's or an application's access, before its connections are closed.
        credentials: Numbers of what devices' credentials are read from, for the statistics.
        tracer: Chooses which messages are traced; without it those whose publishers ask for it.
        believed: How late it is as far as can be believed; begun here when None.
        site: The other nodes of the site, whose messages this node's subscribers get; None for a box that is alone.
    """

    def __init__(
        self,
        config: BrokerConfig,
        *,
        linger_ms: int,
        writer: LogWriter,
        reader: LogReader,
        shared_reader: LogReader,
        state: BrokerState,
        checkpoint_path: Path,
        authenticator: DeviceAuthenticator,
        policy: AccessPolicy,
        clock: Clock,
        tls: TlsContexts | None,
        control_path: Path | None,
        version: str,
        own_names: Iterable[str] = (),
        access: AccessSource | None = None,
        on_revoke: Callable[[str], None] = lambda _principal: None,
        credentials: Callable[[], Mapping[str, int | bool]] = dict,
        site: SiteNodes | None = None,
        tracer: Tracer | None = None,
        believed: BelievedTime | None = None,
    ) -> None:
        believed = believed or BelievedTime(clock)
        self._config = config
        self._tracer = tracer or Tracer()
        self._credentials = credentials
        self._tls, self._version = tls, version
        self._writer = writer
        router = state.sessions.router
        slow_path = SlowPath(
            router,
            policy,
            subscriptions_max=config.subscriptions_max,
            session_expiry_s_max=config.session_expiry_s_max,
        )
        limits = self._limits = LimitCounts()
        self._places = Places(
            PlaceLimits(
                in_all=config.connections_max,
                per_address=config.connections_per_address_max,
                per_device=config.connections_per_device_max,
                per_application=config.connections_per_application_max,
            )
        )
        self.local = LocalMessages(router)
        self._refill = Refill(reader, state.retained, self.local.kept, clock)
        self._shared_refill = SharedRefill(shared_reader, clock)
        lifecycle = Lifecycle(
            state.sessions,
            policy,
            sessions_per_device_max=config.connections_per_device_max,
            believed=believed,
        )
        talk = Conversations(state.sessions, lifecycle.listening, self._places, limits, clock)
        self._talk, slow_path.requests = talk, talk.requests
        self.state = state
        self.keeper = StateKeeper(checkpoint_path, state, clock, lifecycle.settled, writer, believed)
        self.plane = DataPlane(
            writer,
            clock,
            linger_ms=linger_ms,
            slow_path=slow_path,
            fan_out=FanOut(router, self._refill, self._shared_refill),
            local=self.local,
            refill=self._refill,
            shared_refill=self._shared_refill,
            lifecycle=lifecycle,
            state=state,
            places=self._places,
            limits=limits,
            server_reference=self._server_reference,
            on_committed=self._on_committed,
            next_seq=writer.head.next_seq,
            disk_level=lambda: writer.housekeeping.level,
            tracer=self._tracer,
        )
        slow_path.plane = lifecycle.plane = self.plane
        talk.attach_plane(self.plane)
        self.administration = Administration(self.plane, lifecycle)
        self._disk_watch = DiskWatch(writer, self.keeper, state.sessions)
        self._access = AccessWatch(access, lifecycle, self.plane) if access is not None else None
        self._ingest = Ingest(lambda: self.plane.held_back.holding is not Holding.NOBODY)
        self._ingest.plane = self.plane
        self._site = None
        if site is not None:
            self._site = SiteFeed(
                site,
                plane=self.plane,
                router=router,
                retained=state.retained,
                clock=clock,
                is_held=lambda: self.plane.held_back.holding is not Holding.NOBODY,
            )
        self._websockets = WebSockets(OriginPolicy(own_names, config.ws_origins))
        self._handshake = Handshake(
            authenticator,
            policy,
            HandshakeLimits(
                packet_bytes_max=config.packet_bytes_max,
                receive_maximum=config.receive_maximum,
                topic_alias_max=config.topic_alias_max,
                keep_alive_s_max=config.keep_alive_s_max,
                session_expiry_s_max=config.session_expiry_s_max,
            ),
            trio.CapacityLimiter(AUTH_THREAD_COUNT_MAX),
            self.plane.owner_of,
            self._on_unknown,
            self._full_for,
            self._has_room_for_session,
        )
        self._listeners = Listeners(
            self.plane,
            Entrance(config.proxy_protocol, self._websockets),
            self._handshake,
            policy,
            ConnectionLimits(
                packet_bytes_max=config.packet_bytes_max,
                receive_maximum=config.receive_maximum,
                topic_alias_max=config.topic_alias_max,
                packet_timeout_ms=config.packet_timeout_ms,
                device_rate=Rate(
                    bytes_per_s=config.device_bytes_per_s_max,
                    messages_per_s=config.device_messages_per_s_max,
                    bytes_limit=Limit.DEVICE_BYTES_PER_S_MAX,
                    messages_limit=Limit.DEVICE_MESSAGES_PER_S_MAX,
                ),
                application_rate=Rate(
                    bytes_per_s=config.application_bytes_per_s_max,
                    messages_per_s=config.application_messages_per_s_max,
                ),
            ),
            clock,
            connect_timeout_ms=config.connect_timeout_ms,
            handshakes_max=config.handshakes_max,
            rate_per_address_max=config.connect_rate_per_address_max,
        )
        self._on_revoke = on_revoke
        self._process = ProcessWatch(checkpoint_path)
        self._told = Told(clock)
        self._sys = SysPublisher(
            self.local,
            self.plane,
            lambda: {**self.statistics(), "pipeline": self._told.numbers()},
            clock,
            interval_s=config.sys_interval_s,
            version=version,
        )
        questions = Questions(self.plane, self.administration, state, talk.pushes, clock, self._tracer)
        self._control = None
        if control_path:
            self._control = ControlServer(
                control_path,
                self,
                questions,
                talk.requests,
                talk.listening,
                self.statistics,
                self._tracer.take_spans,
            )
            talk.attach_node(self._control)
        self._stop_listening = trio.CancelScope()

    def statistics(self) -> dict[str, Any]:
        """All counters and gauges, as a map of msgpack's types."""
        return {
            "plane": dataclasses.asdict(self.plane.statistics()),
            "connections": dataclasses.asdict(self.plane.connection_totals()),
            "listeners": dataclasses.asdict(self._listeners.statistics()),
            "retained": {
                "messages": len(self.state.retained),
                "bytes": self.state.retained.size_bytes,
                "refused": self.state.retained.refused_count,
            },
            "limits": self._limits.as_map(),
            "access": self._access.numbers() if self._access else {},
            "credentials": dict(self._credentials()),
            "sessions": dataclasses.asdict(self.state.sessions.statistics()),
            "skipped_records": self._refill.skipped_records + self._shared_refill.skipped_records,
            "checkpoint": {
                "written": self.keeper.checkpoint_count,
                "failed": self.keeper.failure_count,
            },
            "websockets": self._websockets.count,
            "tls": dataclasses.asdict(self._tls.statistics()) if self._tls is not None else {},
            **self._talk.statistics(),
            "process": dataclasses.asdict(self._process.newest),
            "ingest": {"messages": self._ingest.messages, "held_requests": self._ingest.held_count},
            "site": self._site.statistics() if self._site is not None else {},
            "held": {
                "clients": len(self.plane.held_back.parked),
                "refused_messages": self.plane.held_back.refused_messages,
                "dropped_messages": self.plane.held_back.dropped_messages,
            },
            "tracing": self._tracer.statistics(),
            "log": _plain(dataclasses.asdict(self._writer.statistics())),
        }

    async def run(self, *, task_status: trio.TaskStatus[Ports] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `drain` was called and done.

        Raises:
            ConfigError: a port can't be bound.
            ExceptionGroup: with LogBroken, the log can't be written any more; with LogFull, the disk was full to the
                end of a drain.
        """
        with ExitStack() as stack:
            stack.callback(self.plane.tear_down)
            doors = open_doors(self._config, self._tls, stack)
            async with trio.open_nursery() as nursery:
                await nursery.start(self._process.run)
                await nursery.start(self._websockets.run)
                if self._control is not None:
                    await nursery.start(self._control.serve)
                self.plane.announce_start(msgpack.packb({"version": self._version}))
                nursery.start_soon(self._refill.run, self.plane)
                nursery.start_soon(self._shared_refill.run, self.plane)
                nursery.start_soon(self._ingest.run)
                if self._site is not None:
                    nursery.start_soon(self._site.run)
                nursery.start_soon(self._talk.requests.run)
                nursery.start_soon(self.keeper.run)
                nursery.start_soon(self._disk_watch.run)
                if self._access is not None:
                    nursery.start_soon(self._access.run)
                if self._tls is not None:
                    nursery.start_soon(self._tls.watch)
                if self._config.sys_interval_s:
                    nursery.start_soon(self._sys.run)
                nursery.start_soon(self._listen, doors)
                ports = {door.name: _port(sock) for sock, door in doors if door.name != "unix"}
                task_status.started(Ports(**ports))
                await self.plane.run()
                await self._websockets.finish()
                nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await self.keeper.write(is_drained=True)

    def revoke(self, principal: str) -> int:
        """Close all connections of a device or application, which gets in no more; returns how many."""
        self._on_revoke(principal)
        self._handshake.revoked()
        return self.administration.revoke(principal)

    def lag_told(self, lag_ms: int, behind_records: int) -> None:
        """Take how far the node's store is behind; said below $SYS."""
        self._told.take(lag_ms, behind_records)

    def access_changed(self, principal: str) -> None:
        """Look at once at what a device or application may do now."""
        if self._access is not None:
            self._access.look_now(principal)

    def publish(self, principal: str, records: Sequence[object], done: Callable[[int], None]) -> None:
        """Append a bridge's messages; see `Ingest.publish`."""
        self._ingest.publish(principal, records, done)

    def settle(self, principal: str, done: Callable[[], None]) -> None:
        """Have `done` called when nothing of a bridge waits for the disk."""
        self._ingest.settle(principal, done)

    def drain(self) -> None:
        """Accept nobody more, say goodbye to all, write what was taken; `run` then returns."""
        self._stop_listening.cancel()
        self.plane.drain()

    def _server_reference(self) -> str:
        """Where clients are sent at the end: what the configuration says, else the site's other brokers."""
        return self._config.server_reference or (self._site.server_reference() if self._site else "")

    def _full_for(self, client_id: str, principal: Principal, address: str) -> Limit | None:
        """Which limit one more connection would exceed; one that takes its own place over exceeds none."""
        return self._places.refusal(principal, address, self.plane.connection_of(client_id))

    def _has_room_for_session(self, client_id: str) -> bool:
        sessions = self.state.sessions
        bound = self._config.sessions_max
        # Counting costs a look at each; where all of them together are within the bound there is no need.
        return len(sessions) < bound or sessions.durable_count < bound or sessions.get(client_id) is not None

    async def _listen(self, doors: list[tuple[socket.socket, Door]]) -> None:
        with self._stop_listening:
            async with trio.open_nursery() as nursery:
                for sock, door in doors:
                    nursery.start_soon(self._listeners.serve, sock, door)

    def _on_unknown(self, user_name: str) -> None:
        if self._control is not None:
            self._control.first_contact(user_name)

    def _on_committed(self, head: Head) -> None:
        if self._control is not None:
            self._control.log_grew(head)


def _port(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    return {
        key: item for key, item in value.items() if isinstance(item, int | float | str | bool | None | dict)
    }
