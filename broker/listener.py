"""Accepts connections, bounded in number and in rate, and hands them to the data plane after their handshake.

One deadline over all that a stranger may take: a proxy's header, TLS, CONNECT, the look-up.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import RemoteProtocolError
from appliance.management.access import AccessPolicy

from .arrival import Arrival, Door, Entrance
from .connection import Accepted, Connection, ConnectionLimits
from .data_plane import DataPlane
from .handshake import Handshake
from .limit_counts import Limit
from .mqtt.reason_codes import ReasonCode
from .places import network_of
from .strangers import Stranger, Strangers
from .transport import Closed, Refused

BACKLOG: Final = 4096
ACCEPTS_PER_TURN_MAX: Final = 64
ADDRESS_COUNT_MAX: Final = 4096
"""Addresses whose connect rate is remembered; the least recently seen is forgotten."""
ACCEPT_PAUSE_S: Final = 0.1
"""Without descriptors or memory left, accepting pauses; connections wait in the kernel's queue."""
TURNED_AWAY_MAX: Final = 64
"""Connections over their address's rate that are told so at once; more are just closed."""
KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))
"""A client without an MQTT keep alive whose network has gone is found after two minutes; accepted sockets inherit it."""
PASSING: Final = frozenset(
    {errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET,
     errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ETIMEDOUT, errno.ECONNRESET}
)  # fmt: skip
"""What accept says of a connection that failed before it was accepted (accept(2), "Error handling"), not of itself."""
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
UNIX_MODE: Final = 0o660
"""Of a Unix socket: its owner's programs, and those of its group, who need a token."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ListenerStatistics:
    """Counters since the start; `handshakes` is how many are between accept and CONNACK now."""

    sockets: int
    accepted: int
    accepted_by_transport: dict[str, int]
    proxied: int
    refused_by_code: dict[str, int]
    rate_limited: int
    given_way: int
    handshakes: int


class ConnectRate:
    """A token bucket per address: `per_s` connects a second, as many at once.

    Source: the bucket as in RFC 2697's single-rate meter, counted in connects.
    """

    def __init__(self, per_s: int, clock: Clock) -> None:
        self._per_s = per_s
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, address: str) -> bool:
        """Whether one more connect from this address (IPv6: from its /64) is within its rate."""
        address = network_of(address)
        now = self._clock.mono_ms()
        tokens, at = self._buckets.pop(address, (float(self._per_s), now))
        tokens = min(self._per_s, tokens + (now - at) * self._per_s / 1000)
        allowed = tokens >= 1
        self._buckets[address] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > ADDRESS_COUNT_MAX:
            self._buckets.popitem(last=False)
        return allowed


def open_listener(host: str, port: int) -> socket.socket:
    """A listening TCP socket, not blocking.

    Raises:
        OSError: the address can't be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def open_unix_listener(path: Path) -> socket.socket:
    """A listening Unix socket, not blocking, in place of one that nobody listens on any more.

    Raises:
        OSError: it can't be made: somebody listens on it, something else is there, or the folder is missing, not ours
            to write, or one in which others could put their own socket in its place.
    """
    folder = os.stat(path.parent)
    if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        raise PermissionError(errno.EPERM, f"{path.parent} may be written by everybody")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Nothing else runs in between: the mask is the whole process's.
    before = os.umask(0o777 ^ UNIX_MODE)
    try:
        if path.exists():
            _remove_stale(path)
        sock.bind(str(path))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


def _remove_stale(path: Path) -> None:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise FileExistsError(errno.EEXIST, f"{path} is there and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.setblocking(False)
        if trial.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, f"somebody listens on {path}")
    path.unlink()


class Listeners:
    """All doors of the broker.

    Args:
        connect_timeout_ms: From accept to CONNACK's being due.
        handshakes_max: How many may be between accept and CONNACK; more wait in the kernel's queue.
        rate_per_address_max: Connects a second.
    """

    def __init__(
        self,
        plane: DataPlane,
        entrance: Entrance,
        handshake: Handshake,
        policy: AccessPolicy,
        limits: ConnectionLimits,
        clock: Clock,
        *,
        connect_timeout_ms: int,
        handshakes_max: int,
        rate_per_address_max: int,
    ) -> None:
        self._plane = plane
        self._entrance = entrance
        self._connect_timeout_ms = connect_timeout_ms
        self._handshake = handshake
        self._policy = policy
        self._limits = limits
        self._clock = clock
        self._strangers = Strangers(handshakes_max, clock)
        self._turning_away = trio.CapacityLimiter(TURNED_AWAY_MAX)
        self._rate = ConnectRate(rate_per_address_max, clock)
        self._accepted_by_transport: dict[str, int] = {}
        self._sockets = self._rate_limited = self._given_way = 0
        self._refused_by_code: dict[str, int] = {}

    def statistics(self) -> ListenerStatistics:
        return ListenerStatistics(
            sockets=self._sockets,
            accepted=sum(self._accepted_by_transport.values()),
            accepted_by_transport=dict(self._accepted_by_transport),
            proxied=self._entrance.proxied,
            refused_by_code=dict(self._refused_by_code),
            rate_limited=self._rate_limited,
            given_way=self._given_way,
            handshakes=len(self._strangers),
        )

    async def serve(self, listener: socket.socket, door: Door) -> None:
        """Accept until cancelled; closes the listener."""
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    await trio.lowlevel.wait_readable(listener)
                    for _ in range(ACCEPTS_PER_TURN_MAX):
                        if not await self._accept_one(listener, door, nursery):
                            break
        finally:
            listener.close()

    async def _accept_one(self, listener: socket.socket, door: Door, nursery: trio.Nursery) -> bool:
        """Accept one connection; False if there is none for now."""
        stranger = await self._strangers.enter()
        try:
            sock, peer = listener.accept()
        except (BlockingIOError, InterruptedError):
            self._strangers.leave(stranger)
            return False
        except OSError as error:
            self._strangers.leave(stranger)
            if error.errno in PASSING:
                return True
            if error.errno not in EXHAUSTED:
                raise
            log.error("no connection can be accepted for now", error=str(error), hint="Raise LimitNOFILE.")
            await trio.sleep(ACCEPT_PAUSE_S)
            return False
        self._sockets += 1
        stranger.sock = sock
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        nursery.start_soon(self._serve_one, sock, peer, door, stranger)
        return True

    async def _serve_one(self, sock: socket.socket, peer: object, door: Door, stranger: Stranger) -> None:
        is_taken = False
        try:
            with stranger.scope:
                is_taken = await self._introduce(sock, peer, door, stranger)
            if stranger.scope.cancelled_caught:
                self._given_way += 1
                self._plane.limits.reached(Limit.HANDSHAKES_MAX)
        finally:
            self._strangers.leave(stranger)
            if not is_taken and not stranger.is_carried:
                trio.lowlevel.notify_closing(sock)
                sock.close()

    async def _introduce(self, sock: socket.socket, peer: object, door: Door, stranger: Stranger) -> bool:
        """Everything from the first byte to CONNACK; whether the data plane has taken the connection."""
        address = _shown(peer)
        try:
            with trio.fail_after(self._connect_timeout_ms / 1000):
                address = await self._entrance.find_source(sock, peer)
                if not self._rate.take(address):
                    self._rate_limited += 1
                    self._plane.limits.reached(Limit.CONNECT_RATE_PER_ADDRESS_MAX)
                    self._strangers.leave(stranger)
                    await self._turn_away(sock, address, door, stranger, ReasonCode.CONNECTION_RATE_EXCEEDED)
                    return False
                stranger.is_carried = door.is_web
                arrival = await self._entrance.enter(sock, address, door)
                try:
                    accepted = await self._handshake.accept(arrival)
                except BaseException:
                    arrival.close()
                    raise
        except Refused as refused:
            self._count_refused(refused.code)
            self._plane.limits.reached_by_error(refused.code)
            log.info(
                "client refused", address=address, code=refused.code, reason=str(refused), hint=refused.hint
            )
            return False
        except Closed as closed:
            self._count_refused("closed")
            log.debug("client went away before it was accepted", address=address, reason=str(closed))
            return False
        except trio.TooSlowError:
            self._count_refused("timeout")
            self._plane.limits.reached(Limit.CONNECT_TIMEOUT_MS)
            log.info("client was too slow to connect", address=address)
            return False
        self._admit(arrival, accepted)
        return True

    def _admit(self, arrival: Arrival, accepted: Accepted) -> None:
        name = arrival.transport.name
        self._accepted_by_transport[name] = self._accepted_by_transport.get(name, 0) + 1
        self._plane.admit(
            Connection(
                sock=arrival.sock,
                transport=arrival.transport,
                address=arrival.address,
                accepted=accepted,
                policy=self._policy,
                limits=self._limits,
                mono_ms=self._clock.mono_ms(),
            )
        )

    async def _turn_away(
        self, sock: socket.socket, address: str, door: Door, stranger: Stranger, reason: ReasonCode
    ) -> None:
        try:
            self._turning_away.acquire_nowait()
        except trio.WouldBlock:
            return
        try:
            stranger.is_carried = door.is_web
            arrival = await self._entrance.enter(sock, address, door)
            try:
                await self._handshake.turn_away(arrival, reason)
            finally:
                arrival.close()
        except (Closed, Refused, RemoteProtocolError):
            return  # It went away, was told already, or spoke no MQTT.
        finally:
            self._turning_away.release()

    def _count_refused(self, code: str) -> None:
        self._refused_by_code[code] = self._refused_by_code.get(code, 0) + 1


def _shown(peer: object) -> str:
    """Of an accepted socket, as long as no more is known: an address, or nothing of a Unix socket."""
    return str(peer[0]) if isinstance(peer, tuple) else "local"
