"""Accepts connections, bounded in number and in rate, and hands them to the data plane after their handshake."""

from __future__ import annotations

import errno
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from appliance.core.clock import Clock
from appliance.management.access import AccessPolicy

from .connection import Connection, ConnectionLimits
from .data_plane import DataPlane
from .handshake import Handshake, Refused
from .mqtt.reason_codes import ReasonCode
from .transport import Closed

BACKLOG: Final = 4096
ACCEPTS_PER_TURN_MAX: Final = 64
ADDRESS_COUNT_MAX: Final = 4096
"""Addresses whose connect rate is remembered; the least recently seen is forgotten."""
ACCEPT_PAUSE_S: Final = 0.1
"""Without descriptors or memory left, accepting pauses; connections wait in the kernel's queue."""
TURNED_AWAY_MAX: Final = 64
"""Connections over their address's rate that are told so at once; more are just closed."""
PATIENCE_MS: Final = 2000
"""When all handshakes are taken, the oldest has had at least this long before it gives way to who waits. Without that
256 silent connections would shut everybody out for the connect timeout."""
GIVE_WAY_MS: Final = 50
"""How long who gives way may take to be gone, before the next one is asked to."""
KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))
"""A client without an MQTT keep alive whose network has gone is found after two minutes; accepted sockets inherit it."""
PASSING: Final = frozenset(
    {errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET,
     errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ETIMEDOUT, errno.ECONNRESET}
)  # fmt: skip
"""What accept says of a connection that failed before it was accepted (accept(2), "Error handling"), not of itself."""
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
IPV6_NETWORK_BYTES: Final = 8
"""Of an IPv6 address: one host has all of a /64 to connect from."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ListenerStatistics:
    accepted: int
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
        address = _network(address)
        now = self._clock.mono_ms()
        tokens, at = self._buckets.pop(address, (float(self._per_s), now))
        tokens = min(self._per_s, tokens + (now - at) * self._per_s / 1000)
        allowed = tokens >= 1
        self._buckets[address] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > ADDRESS_COUNT_MAX:
            self._buckets.popitem(last=False)
        return allowed


def _network(address: str) -> str:
    if ":" not in address:
        return address
    raw = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    return raw.hex() if raw[:12] == bytes(10) + b"\xff\xff" else raw[:IPV6_NETWORK_BYTES].hex()


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


class Listeners:
    """All doors of the broker.

    Args:
        handshakes_max: How many may be between accept and CONNACK; more wait in the kernel's queue.
        rate_per_address_max: Connects a second.
    """

    def __init__(
        self,
        plane: DataPlane,
        handshake: Handshake,
        policy: AccessPolicy,
        limits: ConnectionLimits,
        clock: Clock,
        *,
        handshakes_max: int,
        rate_per_address_max: int,
    ) -> None:
        self._plane = plane
        self._handshake = handshake
        self._policy = policy
        self._limits = limits
        self._clock = clock
        self._handshakes = trio.CapacityLimiter(handshakes_max)
        self._strangers: dict[object, tuple[int, trio.CancelScope]] = {}
        """Who has a handshake's place, oldest first: since when (monotonic ms), and how to end it."""
        self._turning_away = trio.CapacityLimiter(TURNED_AWAY_MAX)
        self._rate = ConnectRate(rate_per_address_max, clock)
        self._accepted = self._rate_limited = self._given_way = 0
        self._refused_by_code: dict[str, int] = {}

    def statistics(self) -> ListenerStatistics:
        return ListenerStatistics(
            accepted=self._accepted,
            refused_by_code=dict(self._refused_by_code),
            rate_limited=self._rate_limited,
            given_way=self._given_way,
            handshakes=self._handshakes.borrowed_tokens,
        )

    async def serve(self, listener: socket.socket, context: Callable[[], ssl.SSLContext] | None) -> None:
        """Accept until cancelled; closes the listener.

        Args:
            context: For TLS: gives the context to use for the next connection.
        """
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    await trio.lowlevel.wait_readable(listener)
                    for _ in range(ACCEPTS_PER_TURN_MAX):
                        if not await self._accept_one(listener, context, nursery):
                            break
        finally:
            listener.close()

    async def _accept_one(
        self, listener: socket.socket, context: Callable[[], ssl.SSLContext] | None, nursery: trio.Nursery
    ) -> bool:
        """Accept one connection; False if there is none for now."""
        token = object()
        await self._take_place(token)
        try:
            sock, peer = listener.accept()
        except (BlockingIOError, InterruptedError):
            self._give_place_back(token)
            return False
        except OSError as error:
            self._give_place_back(token)
            if error.errno in PASSING:
                return True
            if error.errno not in EXHAUSTED:
                raise
            log.error("no connection can be accepted for now", error=str(error), hint="Raise LimitNOFILE.")
            await trio.sleep(ACCEPT_PAUSE_S)
            return False
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = str(peer[0]) if peer else "local"
        nursery.start_soon(self._serve_one, sock, address, context() if context is not None else None, token)
        return True

    async def _serve_one(
        self, sock: socket.socket, address: str, context: ssl.SSLContext | None, token: object
    ) -> None:
        is_taken = False
        try:
            if self._rate.take(address):
                _, scope = self._strangers[token]
                with scope:
                    is_taken = await self._introduce(sock, address, context)
                if scope.cancelled_caught:
                    self._given_way += 1
            else:
                self._rate_limited += 1
                self._give_place_back(token)
                await self._turn_away(sock, address, context, ReasonCode.CONNECTION_RATE_EXCEEDED)
        finally:
            self._give_place_back(token)
            if not is_taken:
                trio.lowlevel.notify_closing(sock)
                sock.close()

    async def _take_place(self, token: object) -> None:
        """Wait for a place among the handshakes; who has had one for long gives way."""
        while True:
            wait_ms = PATIENCE_MS
            if self._handshakes.available_tokens <= 0:
                for since_mono_ms, scope in self._strangers.values():
                    if not scope.cancel_called:
                        wait_ms = since_mono_ms + PATIENCE_MS - self._clock.mono_ms()
                        if wait_ms <= 0:
                            scope.cancel()
                        break
            with trio.move_on_after(max(wait_ms, GIVE_WAY_MS) / 1000):
                await self._handshakes.acquire_on_behalf_of(token)
                self._strangers[token] = (self._clock.mono_ms(), trio.CancelScope())
                return

    def _give_place_back(self, token: object) -> None:
        if self._strangers.pop(token, None) is not None:
            self._handshakes.release_on_behalf_of(token)

    async def _introduce(self, sock: socket.socket, address: str, context: ssl.SSLContext | None) -> bool:
        try:
            transport, accepted = await self._handshake.accept(sock, address, context)
        except Refused as refused:
            self._count_refused(refused.code)
            log.info("client refused", address=address, code=refused.code, reason=str(refused))
            return False
        except Closed as closed:
            self._count_refused("closed")
            log.debug("client went away before it was accepted", address=address, reason=str(closed))
            return False
        except trio.TooSlowError:
            self._count_refused("timeout")
            log.info("client was too slow to connect", address=address)
            return False
        self._accepted += 1
        self._plane.admit(
            Connection(
                sock=sock,
                transport=transport,
                address=address,
                accepted=accepted,
                policy=self._policy,
                limits=self._limits,
                mono_ms=self._clock.mono_ms(),
            )
        )
        return True

    async def _turn_away(
        self, sock: socket.socket, address: str, context: ssl.SSLContext | None, reason: ReasonCode
    ) -> None:
        try:
            self._turning_away.acquire_nowait()
        except trio.WouldBlock:
            return
        try:
            await self._handshake.turn_away(sock, address, context, reason)
        finally:
            self._turning_away.release()

    def _count_refused(self, code: str) -> None:
        self._refused_by_code[code] = self._refused_by_code.get(code, 0) + 1
