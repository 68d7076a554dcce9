"""A set of packet identifiers that costs 8 KiB at most, however many a client uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

PACKET_ID_MAX: Final = 65_535
_BYTES: Final = (PACKET_ID_MAX + 1) // 8


class PacketIds:
    """Identifiers 1..65535, one bit each; nothing until the first is added."""

    __slots__ = ("_bits", "_count")

    def __init__(self) -> None:
        self._bits: bytearray | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        return self._bits is not None and bool(self._bits[number >> 3] & 1 << (number & 7))

    def __iter__(self) -> Iterator[int]:
        for at, byte in enumerate(self._bits or b""):
            if byte:
                yield from (at << 3 | bit for bit in range(8) if byte & 1 << bit)

    def add(self, number: int) -> None:
        """Add an identifier; nothing if it is there."""
        if self._bits is None:
            self._bits = bytearray(_BYTES)
        if not self._bits[number >> 3] & 1 << (number & 7):
            self._bits[number >> 3] |= 1 << (number & 7)
            self._count += 1

    def discard(self, number: int) -> bool:
        """Remove an identifier; False if it was not there."""
        if self._bits is None or not self._bits[number >> 3] & 1 << (number & 7):
            return False
        self._bits[number >> 3] &= ~(1 << (number & 7))
        self._count -= 1
        if not self._count:
            self._bits = None
        return True
