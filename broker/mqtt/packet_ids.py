"""The packet identifiers under which messages of QoS 2 were taken and not released, and which messages those were.

A set that costs 8 KiB at most, however many a client uses; beside it, for the newest DIGEST_COUNT_MAX, a checksum of
topic and payload, about 100 bytes each. It tells a message that is sent again without DUP, as some clients do, from the
first message of a client that has lost its state and begins with the same identifiers again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from zlib import crc32

DIGEST_COUNT_MAX: Final = 4_096
"""More messages than a client has under way: the default Receive Maximum is 1,024, clients allow themselves some tens."""
PACKET_ID_MAX: Final = 65_535
_BYTES: Final = (PACKET_ID_MAX + 1) // 8


def message_digest(topic: bytes, payload: bytes) -> int:
    """What tells one message from another, 32 bits."""
    # With the length in between, so that bytes at the border belong to one of them.
    return crc32(payload, crc32(topic) ^ len(topic))


class PacketIds:
    """Identifiers 1..65535; nothing until the first is added."""

    __slots__ = ("_bits", "_count", "_digests")

    def __init__(self) -> None:
        self._bits: bytearray | None = None
        self._count = 0
        self._digests: dict[int, int] = {}

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        return self._bits is not None and bool(self._bits[number >> 3] & 1 << (number & 7))

    def __iter__(self) -> Iterator[int]:
        for at, byte in enumerate(self._bits or b""):
            if byte:
                yield from (at << 3 | bit for bit in range(8) if byte & 1 << bit)

    def is_of(self, number: int, digest: int) -> bool:
        """Whether an identifier is there, and stands for this message as far as is known."""
        return self._digests.get(number) == digest

    def items(self) -> Iterator[tuple[int, int | None]]:
        """Identifiers, and of which message each is where that is known."""
        return ((number, self._digests.get(number)) for number in self)

    def add(self, number: int, digest: int | None = None) -> None:
        """Add an identifier, or have the one that is there stand for another message.

        Args:
            digest: `message_digest`.
        """
        digests = self._digests
        digests.pop(number, None)
        if digest is not None:
            if len(digests) >= DIGEST_COUNT_MAX:
                del digests[next(iter(digests))]
            digests[number] = digest
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
        self._digests.pop(number, None)
        if not self._count:
            self._bits = None
        return True
