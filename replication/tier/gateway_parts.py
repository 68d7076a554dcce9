"""Questions and answers of the tier over a link: cut into parts on one side, put together within bounds on the other.

One part of each is handed to the link at a time: the next follows when it has left, so a piece of some MiB never holds up a heartbeat, and
the link's own queue stays short. Parts of one question come in order, since they have one priority.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import trio

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import KIB
from appliance.core.limits_replication import PART_BYTES_MAX, PART_BYTES_MIN
from replication.scheduling import Priority
from replication.tier.engine import TierAway
from replication.tier.gateway_messages import GatewayMessage, TierPart, encode

SMALL_BYTES: Final = 64 * KIB
"""What is smaller is what is new, or a question that others wait for, and goes before any backlog."""
PART_S: Final = 1.0
"""A part is what the link carries in so long: a heartbeat waits for the one that has begun."""
FULL_RETRY_S: Final = 0.1
"""While the link's queue of that priority is full of other things."""


class Carrier(Protocol):
    """What links do for this (replication/link/links.py)."""

    def peers(self) -> list[str]: ...

    def send(
        self, peer: str, data: bytes, priority: Priority, on_left: Callable[[], None] | None = None
    ) -> bool: ...


class Part(Protocol):
    """A part of either kind."""

    @property
    def request(self) -> int: ...
    @property
    def total_bytes(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def data(self) -> bytes: ...


async def send_in_parts(
    links: Carrier,
    peer: str,
    request: int,
    data: bytes,
    *,
    is_answer: bool,
    priority: Priority | None = None,
    make: Callable[[int, bool, int, int, bytes], GatewayMessage] = TierPart,
) -> None:
    """Have all of it go to a peer.

    Args:
        priority: None for one that follows from the size.
        make: A part of its kind.
    Raises:
        TierAway: it isn't linked (any more).
    """
    if priority is None:
        priority = Priority.LIVE if len(data) <= SMALL_BYTES else Priority.BACKLOG
    offset, part_bytes = 0, 2 * PART_BYTES_MIN
    while offset < len(data):
        piece = data[offset : offset + part_bytes]
        part = make(request, is_answer, len(data), offset, piece)
        left = trio.Event()
        began_s = trio.current_time()
        while not links.send(peer, encode(part), priority, left.set):
            if peer not in links.peers():
                raise away(peer)
            await trio.sleep(FULL_RETRY_S)
        await left.wait()
        if peer not in links.peers():
            raise away(peer)
        offset += len(piece)
        took_s = trio.current_time() - began_s
        part_bytes = next_part_bytes(part_bytes, took_s)


def next_part_bytes(part_bytes: int, took_s: float) -> int:
    """How large the next part may be, after one that took so long: twice as large where it was quick, half where it was slow."""
    if took_s > PART_S:
        return max(PART_BYTES_MIN, part_bytes // 2)
    return min(PART_BYTES_MAX, part_bytes * 2) if took_s < PART_S / 2 else part_bytes


def away(peer: str) -> TierAway:
    """That there is no link with a cloud node, or none any more."""
    return TierAway(
        f"The cloud node {peer[:8]} is not linked.", hint="Look at the page Sites, and at the network to it."
    )


class Assembler:
    """Parts of what is coming, for one side.

    Args:
        is_welcome: Asked with the first part of each: (peer, request, total bytes); what isn't is passed over.
    """

    def __init__(self, is_welcome: Callable[[str, int, int], bool]) -> None:
        self._is_welcome = is_welcome
        self._coming: dict[tuple[str, int], bytearray] = {}
        self._totals: dict[tuple[str, int], int] = {}

    @property
    def waiting_bytes(self) -> int:
        """Of all that has begun to come."""
        return sum(self._totals.values())

    def count_of(self, peer: str) -> int:
        """How many a peer has begun to send."""
        return sum(1 for name, _ in self._totals if name == peer)

    def take(self, peer: str, part: Part) -> bytes | None:
        """A part came; the whole where it was the last.

        Raises:
            RemoteProtocolError: it doesn't go on where the one before ended.
        """
        key = (peer, part.request)
        if part.offset == 0:
            if key in self._totals or not self._is_welcome(peer, part.request, part.total_bytes):
                self._forget(key)
                return None
            self._coming[key], self._totals[key] = bytearray(), part.total_bytes
        elif key not in self._totals:
            return None  # it was not welcome
        coming = self._coming[key]
        is_next = part.offset == len(coming) and part.total_bytes == self._totals[key]
        if not is_next or not part.data or len(coming) + len(part.data) > part.total_bytes:
            self._forget(key)
            raise RemoteProtocolError(
                "Parts of what a peer says about the tier don't follow each other.",
                hint="It runs another release, or another program: look at its version.",
            )
        coming += part.data
        if len(coming) < part.total_bytes:
            return None
        self._forget(key)
        return bytes(coming)

    def left(self, peer: str) -> None:
        """A peer's link is gone, and with it what was coming."""
        for key in [key for key in self._totals if key[0] == peer]:
            self._forget(key)

    def forget(self, peer: str, request: int) -> None:
        """Nobody waits for the rest of it."""
        self._forget((peer, request))

    def _forget(self, key: tuple[str, int]) -> None:
        self._coming.pop(key, None)
        self._totals.pop(key, None)
