"""A virtual clock and what happens when: a heap of calls. One seed, one order, one trace.

Guarantees: time only moves to the next call; calls of one instant run in the order in which they were made; what is noted
makes up the trace's hash, so two runs that differ anywhere have different ones.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable
from typing import Final

TRACE_TAIL_COUNT: Final = 400
"""Lines that are kept of the trace, to be shown with a failure."""


class Scheduler:
    """See the module's docstring. Times are ms."""

    def __init__(self, start_ms: int = 0) -> None:
        self.now_ms = start_ms
        self.call_total = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0
        self._hash = hashlib.sha256()
        self._tail: list[str] = []
        self._pending: list[str] = []

    def at(self, at_ms: int, call: Callable[[], None]) -> None:
        """Call something at a time; one that is past means as soon as what is under way has ended."""
        self._number += 1
        heapq.heappush(self._heap, (max(at_ms, self.now_ms), self._number, call))

    def after(self, delay_ms: int, call: Callable[[], None]) -> None:
        """Call something in a while."""
        self.at(self.now_ms + delay_ms, call)

    def run_until(self, until_ms: int) -> None:
        """Let time pass up to an instant, that instant's calls included."""
        heap = self._heap
        while heap and heap[0][0] <= until_ms:
            self.now_ms, _, call = heapq.heappop(heap)
            self.call_total += 1
            call()
        self.now_ms = max(self.now_ms, until_ms)

    def note(self, what: str) -> None:
        """A line of the trace."""
        self._pending.append(f"{self.now_ms} {what}")
        if len(self._pending) >= TRACE_TAIL_COUNT:
            self._fold()

    def trace_hash(self) -> str:
        """Of all lines so far, hexadecimal."""
        self._fold()
        return self._hash.hexdigest()

    def tail(self) -> list[str]:
        """The last lines of the trace."""
        return (self._tail + self._pending)[-TRACE_TAIL_COUNT:]

    def _fold(self) -> None:
        if self._pending:
            self._hash.update("\n".join([*self._pending, ""]).encode())
            self._tail = (self._tail + self._pending)[-TRACE_TAIL_COUNT:]
            self._pending = []
