"""When time has something to say about which execution: a heap over what the catalog's rows say. No input or output."""

from __future__ import annotations

import heapq


class Deadlines:
    """One time per key, UTC ms; setting another one replaces it."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._at)

    def set(self, key: str, at_ms: int | None) -> None:
        """Arm, or with None disarm."""
        if at_ms is None:
            self._at.pop(key, None)
        elif self._at.get(key) != at_ms:
            self._at[key] = at_ms
            heapq.heappush(self._heap, (at_ms, key))
        # What was replaced stays in the heap until its time; it is thrown out when that is most of it.
        if len(self._heap) > 2 * len(self._at) + 64:
            self._rebuild()

    def next_ms(self) -> int | None:
        """The earliest, UTC ms."""
        heap = self._heap
        while heap and self._at.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now_ms: int, count_max: int) -> list[str]:
        """Keys whose time has come, at most so many, the earliest first; they are disarmed."""
        found: list[str] = []
        while len(found) < count_max and (at_ms := self.next_ms()) is not None and at_ms <= now_ms:
            _, key = heapq.heappop(self._heap)
            del self._at[key]
            found.append(key)
        return found

    def shift(self, by_ms: int) -> None:
        """Move all of them with the wall clock."""
        self._at = {key: at_ms + by_ms for key, at_ms in self._at.items()}
        self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [(at_ms, key) for key, at_ms in self._at.items()]
        heapq.heapify(self._heap)
