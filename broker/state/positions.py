"""Places in the log of messages that a session still has to get: eight bytes and a size each, not copies of messages.

In the order of their appending, which is the log's but for retained messages. Sans-IO.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

COMPACT_COUNT: Final = 1024
"""Places that were taken before memory is given back."""


class Position(NamedTuple):
    """Where a message is, and whether it goes out with RETAIN set because a subscription asked for what is retained."""

    seq: int
    is_retained: bool


class Positions:
    """See the module's docstring."""

    __slots__ = ("_entries", "_head", "_sizes", "size_bytes")

    def __init__(self, packed: bytes = b"", sizes: bytes = b"") -> None:
        self._entries = array("Q", packed)
        self._sizes = array("I", sizes)
        self._head = 0
        self.size_bytes = sum(self._sizes)
        """Topics, payloads and properties of the messages."""

    def packed(self) -> tuple[bytes, bytes]:
        """What `Positions(…)` makes the same of."""
        with memoryview(self._entries) as entries, memoryview(self._sizes) as sizes:
            return entries[self._head :].tobytes(), sizes[self._head :].tobytes()

    def __len__(self) -> int:
        return len(self._entries) - self._head

    def __iter__(self) -> Iterator[Position]:
        for at in range(self._head, len(self._entries)):
            yield Position(self._entries[at] >> 1, bool(self._entries[at] & 1))

    def append(self, seq: int, size_bytes: int, *, is_retained: bool = False) -> None:
        self._entries.append(seq << 1 | is_retained)
        self._sizes.append(size_bytes)
        self.size_bytes += size_bytes

    def first(self) -> Position | None:
        """The one whose turn it is, or None."""
        if self._head == len(self._entries):
            return None
        entry = self._entries[self._head]
        return Position(entry >> 1, bool(entry & 1))

    def drop_first(self) -> None:
        """Take the first away; there must be one."""
        self.size_bytes -= self._sizes[self._head]
        self._head += 1
        if self._head >= COMPACT_COUNT and self._head * 2 >= len(self._entries):
            del self._entries[: self._head]
            del self._sizes[: self._head]
            self._head = 0

    def remove(self, seqs: set[int]) -> None:
        """Take away those of some records, wherever they are."""
        self._keep([at for at in range(self._head, len(self._entries)) if self._entries[at] >> 1 not in seqs])

    def remove_before(self, seq: int) -> None:
        """Take away those of records before a sequence, retained ones apart."""
        entries = self._entries
        self._keep(
            [at for at in range(self._head, len(entries)) if entries[at] & 1 or entries[at] >> 1 >= seq]
        )

    def put_in_front(self, others: Positions) -> None:
        """Have another's places before one's own."""
        self._entries = others._entries[others._head :] + self._entries[self._head :]
        self._sizes = others._sizes[others._head :] + self._sizes[self._head :]
        self._head = 0
        self.size_bytes += others.size_bytes

    def _keep(self, places: list[int]) -> None:
        if len(places) == len(self):
            return
        self._entries = array("Q", (self._entries[at] for at in places))
        self._sizes = array("I", (self._sizes[at] for at in places))
        self._head = 0
        self.size_bytes = sum(self._sizes)
