"""Hashes of a copy's newest frames, in memory, so that a piece that is known already is told from a fork."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

RECENT_HASH_COUNT_MAX: Final = 4_096
"""Of one copy: 64 frames a second for a minute, half a megabyte."""


class RecentHashes(OrderedDict[int, bytes]):
    """By the sequence after the frame; the oldest go first."""

    def add(self, hashes: Iterable[tuple[int, bytes]]) -> None:
        for seq, frame_hash in hashes:
            self[seq] = frame_hash
        while len(self) > RECENT_HASH_COUNT_MAX:
            self.popitem(last=False)

    def cut(self, seq: int) -> None:
        """Forgets frames that end after a sequence: a later epoch replaced them."""
        while self and next(reversed(self)) > seq:
            self.popitem()
