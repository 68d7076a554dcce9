"""One service's requests that wait for the node: how many, of whom, until when, and how often one may ask.

It holds counts and never sends anything; requests.py does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.core.limits_requests import RequestLimits
from appliance.management.request_refusals import Refusal
from appliance.management.request_topics import DeviceTopic

from .limit_counts import Limit

if TYPE_CHECKING:
    from .connection import Connection

RETRY_S = 5
"""After which one who asked too much may ask again."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A request that the node has been asked and has not answered."""

    connection: Connection
    topic: DeviceTopic
    asked: bytes
    correlation: bytes | None
    until_mono_ms: int


@dataclass(slots=True)
class RequestCounts:
    """Numbers since the start.

    Attributes:
        turned_away: Answered by the broker itself: too large, too many.
        unavailable: Answered by the broker itself, because the node could not.
        unheard: Answers, or messages of them, whose connection was gone or that it could not take.
        called_off: Asked by a connection that ended before there was an answer, which nobody works on any more.
    """

    taken: int = 0
    accepted: int = 0
    rejected: int = 0
    turned_away: int = 0
    unavailable: int = 0
    unheard: int = 0
    called_off: int = 0


class RequestDesk:
    """See the module's docstring."""

    def __init__(self, limits: RequestLimits) -> None:
        self.limits = limits
        self.counts = RequestCounts()
        self._waiting: dict[int, Waiting] = {}
        """In the order in which they were asked, so the first is due first."""
        self._count_of: Counter[Connection] = Counter()
        self._full_at_mono_ms: dict[Connection, int] = {}
        """When the bucket of a connection that has asked is full again; forgotten then, and when it is closed."""

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def problem(
        self, connection: Connection, size_bytes: int, now_mono_ms: int
    ) -> tuple[Limit, Refusal] | None:
        """Why a connection may not ask now; None takes one out of its bucket."""
        limits = self.limits
        if size_bytes > limits.bytes_max:
            text = f"A request has at most {limits.bytes_max} bytes, and this one has {size_bytes}."
            return Limit.REQUEST_BYTES_MAX, Refusal(code="request_too_large", message=text)
        if self._count_of[connection] >= limits.per_connection_count_max:
            text = f"{limits.per_connection_count_max} requests of this connection wait already."
            refusal = Refusal(code="requests_waiting", message=text, retry_s=RETRY_S)
            return Limit.REQUEST_PER_CONNECTION_COUNT_MAX, refusal
        full_at_ms = max(self._full_at_mono_ms.get(connection, now_mono_ms), now_mono_ms)
        if full_at_ms - now_mono_ms > (limits.burst_count_max - 1) * limits.refill_ms:
            text = "This connection asks too often."
            return Limit.REQUEST_BURST_COUNT_MAX, Refusal(
                code="requests_too_fast", message=text, retry_s=RETRY_S
            )
        self._full_at_mono_ms[connection] = full_at_ms + limits.refill_ms
        return None

    def add(self, number: int, waiting: Waiting) -> None:
        """The node was asked."""
        self._waiting[number] = waiting
        self._count_of[waiting.connection] += 1

    def pop(self, number: int) -> Waiting | None:
        """It was answered, or given up; None for one that doesn't wait here."""
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            self._count_of[waiting.connection] -= 1
            if not self._count_of[waiting.connection]:
                del self._count_of[waiting.connection]
        return waiting

    def overdue(self, now_mono_ms: int) -> Iterator[int]:
        """Numbers of those that the node should have answered by now."""
        for number, waiting in tuple(self._waiting.items()):
            if waiting.until_mono_ms > now_mono_ms:
                break
            yield number

    def left(self) -> list[int]:
        """Numbers of those whose connection has ended."""
        return [number for number, waiting in self._waiting.items() if waiting.connection.fd < 0]

    def numbers(self) -> tuple[int, ...]:
        """Of all that wait."""
        return tuple(self._waiting)

    def forget_full(self, now_mono_ms: int) -> None:
        """Forget buckets that are full, and those of closed connections."""
        self._full_at_mono_ms = {
            connection: full_at_ms
            for connection, full_at_ms in self._full_at_mono_ms.items()
            if connection.fd >= 0 and full_at_ms > now_mono_ms
        }

    @property
    def bucket_count(self) -> int:
        """Connections whose bucket is remembered."""
        return len(self._full_at_mono_ms)
