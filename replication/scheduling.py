"""What goes first on a link, and how much of it. Pure; the time is an argument (monotonic, ms).

A link carries small messages of four priorities. What keeps nodes together (heartbeats, membership, answers) is never held
back; what is written now goes before repair, and repair before a backlog of hours. Only repair and backlog are subject to
the link's budget: without bound they would fill it, whereas a node's live tail that doesn't fit its link has lost anyway.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Final, Generic, TypeVar

from appliance.core.limits_replication import LINK_QUEUE_BYTES_MAX, WIRE_MESSAGE_BYTES_MAX

Item = TypeVar("Item")


class Priority(IntEnum):
    """Smaller goes first."""

    CONTROL = 0
    """Heartbeats, membership, digests, what is stored, answers: small, and others wait for them."""
    LIVE = 1
    """What was written just now, to a peer that has everything before."""
    REPAIR = 2
    """A damaged leaf, a blob that somebody is waiting for."""
    BACKLOG = 3
    """What a peer missed while it was away, copies for a new holder."""


BUDGETED: Final = frozenset({Priority.REPAIR, Priority.BACKLOG})


class ByteBucket:
    """A token bucket of bytes.

    Args:
        bytes_per_s: At which it fills; 0 is no limit.
        burst_bytes: What it holds; at least one message, or a large one could never pass.
    """

    __slots__ = ("_burst_bytes", "_bytes_per_s", "_filled_at_ms", "_level")

    def __init__(
        self, bytes_per_s: int, now_ms: int, *, burst_bytes: int = 4 * WIRE_MESSAGE_BYTES_MAX
    ) -> None:
        assert bytes_per_s >= 0
        self._bytes_per_s = bytes_per_s
        self._burst_bytes = max(burst_bytes, WIRE_MESSAGE_BYTES_MAX)
        self._level = float(self._burst_bytes)
        self._filled_at_ms = now_ms

    def wait_ms(self, size_bytes: int, now_ms: int) -> int:
        """How long until so many bytes may go; 0 for now."""
        if not self._bytes_per_s:
            return 0
        self._fill(now_ms)
        missing = min(size_bytes, self._burst_bytes) - self._level
        return 0 if missing <= 0 else int(missing * 1000 / self._bytes_per_s) + 1

    def take(self, size_bytes: int, now_ms: int) -> None:
        """Count bytes that went; what is more than was there is waited for by the next."""
        if self._bytes_per_s:
            self._fill(now_ms)
            self._level -= size_bytes

    def _fill(self, now_ms: int) -> None:
        elapsed_ms = max(0, now_ms - self._filled_at_ms)
        self._level = min(self._burst_bytes, self._level + elapsed_ms * self._bytes_per_s / 1000)
        self._filled_at_ms = max(now_ms, self._filled_at_ms)


class LinkQueue(Generic[Item]):
    """What waits to go out on one link, in its order.

    Args:
        bytes_per_s: The link's budget for repair and backlog; 0 is no limit.
        bytes_max: Of each priority that may wait; what is beyond is refused, and whoever offered it tries again.
    """

    def __init__(self, now_ms: int, *, bytes_per_s: int = 0, bytes_max: int = LINK_QUEUE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bucket = ByteBucket(bytes_per_s, now_ms)
        self._queues: dict[Priority, deque[tuple[Item, int]]] = {priority: deque() for priority in Priority}
        self._bytes = dict.fromkeys(Priority, 0)
        self.refused_count = 0

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    @property
    def waiting_bytes(self) -> int:
        """Of all priorities."""
        return sum(self._bytes.values())

    def put(self, item: Item, size_bytes: int, priority: Priority) -> bool:
        """Have an item wait for its turn; False where no room is left for its priority."""
        if self._queues[priority] and self._bytes[priority] + size_bytes > self._bytes_max:
            self.refused_count += 1
            return False
        self._queues[priority].append((item, size_bytes))
        self._bytes[priority] += size_bytes
        return True

    def take(self, now_ms: int) -> Item | None:
        """What goes out now; None where nothing waits, or nothing may go yet."""
        for priority, queue in self._queues.items():
            if not queue:
                continue
            item, size_bytes = queue[0]
            if priority in BUDGETED and self._bucket.wait_ms(size_bytes, now_ms):
                return None
            queue.popleft()
            self._bytes[priority] -= size_bytes
            if priority in BUDGETED:
                self._bucket.take(size_bytes, now_ms)
            return item
        return None

    def wait_ms(self, now_ms: int) -> int | None:
        """How long until `take` gives something; None where nothing waits."""
        for priority, queue in self._queues.items():
            if queue:
                return self._bucket.wait_ms(queue[0][1], now_ms) if priority in BUDGETED else 0
        return None

    def clear(self) -> None:
        """Forget all: the link is gone, and whoever is asked anew says what it lacks."""
        for queue in self._queues.values():
            queue.clear()
        self._bytes = dict.fromkeys(Priority, 0)
