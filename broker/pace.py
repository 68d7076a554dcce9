"""How fast one client may send: a bucket of bytes and one of messages for each connection that has a limit.

Whoever is over it is not read from until the bucket has filled again, so TCP tells the client; nothing is dropped and
nothing refused. What it costs is paid once for each time a client is read from, never for each message.

Time is monotonic milliseconds and an argument.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

from appliance.core.limits import CLIENT_RATE_BURST_MS

from .limit_counts import Limit

if TYPE_CHECKING:
    from .connection import Connection

PUBLISH_BYTES_MIN: Final = 5
"""The smallest PUBLISH: what so many bytes can hold of them bounds the debt that one read can make."""
RECEIVE_BYTES_MIN: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a client may send in a second; 0 is as much as it likes. And how both limits are counted."""

    bytes_per_s: int = 0
    messages_per_s: int = 0
    bytes_limit: Limit = Limit.APPLICATION_BYTES_PER_S_MAX
    messages_limit: Limit = Limit.APPLICATION_MESSAGES_PER_S_MAX

    def pace(self) -> Pace | None:
        """For one connection; None where there is no limit."""
        return Pace(self) if self.bytes_per_s or self.messages_per_s else None


class Pace:
    """Both buckets of one connection, each as the moment at which it is full again (a meter by virtual time, GCRA)."""

    __slots__ = (
        "_bytes_full_at",
        "_messages_full_at",
        "_ms_per_byte",
        "_ms_per_message",
        "_rate",
        "receive_bytes",
    )

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._ms_per_byte = 1000 / rate.bytes_per_s if rate.bytes_per_s else 0.0
        self._ms_per_message = 1000 / rate.messages_per_s if rate.messages_per_s else 0.0
        self._bytes_full_at = self._messages_full_at = 0.0
        wanted = [rate.bytes_per_s] if rate.bytes_per_s else []
        if rate.messages_per_s:
            wanted.append(rate.messages_per_s * PUBLISH_BYTES_MIN)
        self.receive_bytes = max(RECEIVE_BYTES_MIN, min(wanted, default=RECEIVE_BYTES_MIN))
        """Most to be read at once: a second's worth of the smallest packets, so that no pause is long."""

    def bounded(self, receive: Callable[[int], bytes]) -> Callable[[int], bytes]:
        """A transport's `receive` that takes no more at once than this pace allows."""
        most = self.receive_bytes
        return lambda bytes_max: receive(min(bytes_max, most))

    def spend(self, size_bytes: int, message_count: int, mono_ms: int) -> tuple[float, Limit]:
        """Account for what was read.

        Returns:
            For how long nothing more should be read (ms, 0 or less for not at all), and because of which limit.
        """
        earliest = mono_ms - CLIENT_RATE_BURST_MS
        by_bytes = self._bytes_full_at = max(self._bytes_full_at, earliest) + size_bytes * self._ms_per_byte
        by_messages = self._messages_full_at = (
            max(self._messages_full_at, earliest) + message_count * self._ms_per_message
        )
        if by_bytes >= by_messages:
            return by_bytes - mono_ms, self._rate.bytes_limit
        return by_messages - mono_ms, self._rate.messages_limit


@dataclass(order=True, slots=True)
class Pause:
    """A connection that is not read from until a moment (monotonic ms); without its connection once that is closed."""

    until_mono_ms: float
    number: int
    connection: Connection | None = field(compare=False)


class Pauses:
    """Who is not read from for now, by when that ends."""

    def __init__(self) -> None:
        self._heap: list[Pause] = []
        self._numbers = count()

    def add(self, connection: Connection, until_mono_ms: float) -> Pause:
        pause = Pause(until_mono_ms, next(self._numbers), connection)
        heapq.heappush(self._heap, pause)
        return pause

    def ended(self, mono_ms: int) -> Iterator[Connection]:
        """Those whose pause is over, each once."""
        while self._heap and self._heap[0].until_mono_ms <= mono_ms:
            connection = heapq.heappop(self._heap).connection
            if connection is not None:
                yield connection

    def left_ms(self, mono_ms: int) -> float | None:
        """Until the next one ends; None if nobody pauses."""
        return max(self._heap[0].until_mono_ms - mono_ms, 0) if self._heap else None

    def __len__(self) -> int:
        return sum(pause.connection is not None for pause in self._heap)
