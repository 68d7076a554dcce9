"""Who is between accept and CONNACK: bounded in number, and who of them gives way when others wait for a place.

Whoever has been silent for SILENT_MS gives way first; whoever says something has until MOVING_MS. So a place is not kept by
silent connections, and not taken from a small device that needs two seconds for its half of a TLS handshake, or from
anybody while this process itself is slow.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from typing import Final

import trio

from appliance.core.clock import Clock

SILENT_MS: Final = 2_000
"""Without that, a few hundred silent connections would shut everybody out for the connect timeout."""
MOVING_MS: Final = 6_000
"""A byte now and then keeps a place no longer than this."""
GIVE_WAY_MS: Final = 50
"""How long who gives way may take to be gone, before the next one is asked to."""
LOOK_AGAIN_MS: Final = 250
"""Whoever waits for a place looks this often whether somebody has fallen silent."""
_BYTES_RECEIVED: Final = struct.Struct("<128xQ")
"""Of struct tcp_info: 8 bytes of states, 24 numbers of 32 bits, two rates and the bytes acknowledged stand before it."""


@dataclass(slots=True, eq=False)
class Stranger:
    """One connection on its way in.

    Attributes:
        scope: Cancelled when it gives way.
        heard_mono_ms: When it was last found to have sent something more.
        is_carried: A WebSocket's carrier has the socket, and closes it.
    """

    since_mono_ms: int
    heard_mono_ms: int
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    sock: socket.socket | None = None
    heard_bytes: int = 0
    is_carried: bool = False

    def look(self, mono_ms: int) -> None:
        """Notice whether more has come than when it was looked at before."""
        received = _received_bytes(self.sock)
        if received != self.heard_bytes:
            self.heard_bytes, self.heard_mono_ms = received, mono_ms


class Strangers:
    """The places for them.

    Args:
        count_max: How many there are; more wait in the kernel's queue.
    """

    def __init__(self, count_max: int, clock: Clock) -> None:
        self._places = trio.CapacityLimiter(count_max)
        self._clock = clock
        self._present: dict[Stranger, None] = {}

    def __len__(self) -> int:
        return len(self._present)

    async def enter(self) -> Stranger:
        """Wait for a place.

        Where there is one this does not wait at all: many connections are accepted in one round of the event loop.
        """
        now = self._clock.mono_ms()
        stranger = Stranger(now, now)
        try:
            self._places.acquire_on_behalf_of_nowait(stranger)
        except trio.WouldBlock:
            await self._wait(stranger)
            stranger.since_mono_ms = stranger.heard_mono_ms = self._clock.mono_ms()
        self._present[stranger] = None
        return stranger

    def leave(self, stranger: Stranger) -> None:
        """Give the place back; once is enough."""
        if stranger in self._present:
            del self._present[stranger]
            self._places.release_on_behalf_of(stranger)

    async def _wait(self, stranger: Stranger) -> None:
        while True:
            wait_ms = GIVE_WAY_MS
            if self._places.available_tokens <= 0 and not self._send_one_away():
                wait_ms = LOOK_AGAIN_MS
            with trio.move_on_after(wait_ms / 1000):
                await self._places.acquire_on_behalf_of(stranger)
                return

    def _send_one_away(self) -> bool:
        """Have the oldest that may give way do so; False if nobody may yet, or one is on its way out already."""
        now = self._clock.mono_ms()
        moving: Stranger | None = None
        for stranger in self._present:
            if now - stranger.since_mono_ms < SILENT_MS:
                break  # They are in the order of their coming.
            if stranger.scope.cancel_called:
                continue
            stranger.look(now)
            if now - stranger.heard_mono_ms >= SILENT_MS:
                stranger.scope.cancel()
                return True
            if moving is None and now - stranger.since_mono_ms >= MOVING_MS:
                moving = stranger
        if moving is not None:
            moving.scope.cancel()
        return moving is not None


def _received_bytes(sock: socket.socket | None) -> int:
    """What a TCP connection has received so far; 0 for any other, which then counts as silent."""
    if sock is None or sock.fileno() < 0 or sock.family == socket.AF_UNIX:
        return 0
    raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.size)
    return int(_BYTES_RECEIVED.unpack(raw)[0]) if len(raw) == _BYTES_RECEIVED.size else 0
