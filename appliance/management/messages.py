"""The telemetry messages of a batch as columns: routes by number, payloads as slices of their blocks.

A payload becomes an object of its own only while its chunk is decoded, so that the objects of a batch never lie in
memory all at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from appliance.core.arrays import I64, Mask
from appliance.management.mapping import Route


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes of n messages.

    Attributes:
        table: The distinct ones, in order of first appearance; the same list for all of a batch.
        at: n indexes into `table`.
    """

    table: Sequence[Route]
    at: I64

    def __len__(self) -> int:
        return len(self.at)

    def take(self, chosen: I64 | Mask) -> Routes:
        return Routes(self.table, self.at[chosen])

    def each(self) -> list[Route]:
        """One object per message, for what looks at messages one by one."""
        return list(map(self.table.__getitem__, self.at.tolist()))

    def present(self) -> I64:
        """The indexes into `table` that occur, ascending."""
        return np.flatnonzero(np.bincount(self.at, minlength=len(self.table)))

    @staticmethod
    def of(routes: Sequence[Route]) -> Routes:
        """Numbers for routes that are given one by one."""
        numbers: dict[Route, int] = {}
        at = [numbers.setdefault(route, len(numbers)) for route in routes]
        return Routes(list(numbers), np.array(at, np.int64))


@dataclass(frozen=True, slots=True)
class Payloads:
    """Some payloads of one blob, in order.

    Attributes:
        data: The blob. offsets: Where each payload of the blob begins, and where the last one ends, ascending.
        at: Which of them, ascending; None for all.
    """

    data: bytes
    offsets: Sequence[int]
    at: I64 | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1 if self.at is None else len(self.at)

    def each(self, start: int, end: int) -> list[bytes]:
        """The payloads from `start` up to `end` as objects."""
        data, offsets = self.data, self.offsets
        if self.at is None:
            return [data[a:b] for a, b in pairwise(offsets[start : end + 1])]
        return [data[offsets[at] : offsets[at + 1]] for at in self.at[start:end].tolist()]

    @staticmethod
    def of(payloads: Sequence[bytes]) -> Payloads:
        """Payloads that are objects already."""
        offsets = np.concatenate(([0], np.cumsum([len(p) for p in payloads], dtype=np.int64)))
        return Payloads(b"".join(payloads), offsets.tolist())


@dataclass(slots=True)
class Messages:
    """n messages, in the order of the log within each part.

    Attributes:
        records: Index of each one's record in the batch. received: Time of arrival, UTC ms.
        parts: Their payloads, part after part.
        is_json_only: Whether none of them is in another format.
    """

    records: I64
    routes: Routes
    received: I64
    parts: Sequence[Payloads] = field(default_factory=list)
    is_json_only: bool = True

    def __len__(self) -> int:
        return len(self.records)

    def chunks(self, count: int) -> Iterator[tuple[int, int, Payloads, int]]:
        """(first message, one past the last, part, index in the part of the first); at most `count` messages at a time."""
        start = 0
        for part in self.parts:
            for first in range(0, len(part), count):
                size = min(count, len(part) - first)
                yield start + first, start + first + size, part, first
            start += len(part)

    def payloads(self, index: I64) -> list[bytes]:
        """The payloads of some messages."""
        starts = [0]
        for part in self.parts:
            starts.append(starts[-1] + len(part))
        found: list[bytes] = []
        for message in index.tolist():
            number = bisect_right(starts, message) - 1
            at = message - starts[number]
            found += self.parts[number].each(at, at + 1)
        return found
