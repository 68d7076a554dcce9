"""Where the pieces of an epoch lie in a JetStream stream, as far as it is known. Pure.

Pieces of an epoch follow each other, so of two messages the later one has the later sequences, and a piece that is not known is
between two that are. Every answer is a guess to be looked at: messages are removed, and others put pieces.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from appliance.core.limits_jetstream import NATS_KNOWN_PLACE_COUNT_MAX


@dataclass(frozen=True, slots=True)
class Gap:
    """Where a piece that begins with `wanted` can only be: between two places that it is not at.

    Attributes:
        low_seq, low_first: A message before, and with what its piece begins; (0, -1) before all.
        high_seq, high_first: A message after, or a place after the last one.
    """

    wanted: int
    low_seq: int
    low_first: int
    high_seq: int
    high_first: int

    def guess(self, step: int) -> int | None:
        """A place to look at next, as if all pieces were of one size, and every other time in the middle; None where there is none left."""
        room = self.high_seq - self.low_seq
        if room <= 1:
            return None
        if step % 2:
            return self.low_seq + room // 2
        share = (self.wanted - self.low_first) * (room - 1) // max(1, self.high_first - self.low_first)
        return self.low_seq + min(max(1, share), room - 1)

    def after(self, guess: int, found_seq: int | None, found_first: int) -> Gap:
        """What is left when the first message at or after the guess was looked at, and was another piece; None: there is none."""
        if found_seq is None or found_seq >= self.high_seq:
            return Gap(self.wanted, self.low_seq, self.low_first, guess, self.high_first)
        if found_first < self.wanted:
            return Gap(self.wanted, found_seq, found_first, self.high_seq, self.high_first)
        return Gap(self.wanted, self.low_seq, self.low_first, guess, found_first)


class Places:
    """Places of one epoch, by the sequence that their piece begins with."""

    def __init__(self) -> None:
        self._firsts = array("q")
        self._seqs = array("q")

    def __len__(self) -> int:
        return len(self._firsts)

    def add(self, first: int, seq: int) -> None:
        """Remember where a piece is."""
        at = bisect_left(self._firsts, first)
        if at < len(self._firsts) and self._firsts[at] == first:
            self._seqs[at] = seq
            return
        self._firsts.insert(at, first)
        self._seqs.insert(at, seq)
        if len(self._firsts) > NATS_KNOWN_PLACE_COUNT_MAX:
            self._firsts, self._seqs = self._firsts[::2], self._seqs[::2]

    def remove(self, first: int) -> None:
        """Forget a piece."""
        at = bisect_left(self._firsts, first)
        if at < len(self._firsts) and self._firsts[at] == first:
            del self._firsts[at], self._seqs[at]

    def exact(self, first: int) -> int | None:
        """Where the piece that begins with it is; None where that isn't known."""
        at = bisect_left(self._firsts, first)
        return self._seqs[at] if at < len(self._firsts) and self._firsts[at] == first else None

    def before(self, first: int) -> int:
        """The place of a piece that begins with it or before; 0 where none is known."""
        at = bisect_right(self._firsts, first)
        return self._seqs[at - 1] if at else 0

    def gap(self, first: int, last_seq: int, last_first: int) -> Gap:
        """Where an unknown piece can be, by what is known.

        Args:
            last_seq, last_first: The epoch's last message, and with what its piece begins, after `first`.
        """
        at = bisect_left(self._firsts, first)
        low = (self._seqs[at - 1], self._firsts[at - 1]) if at else (0, -1)
        above = at + (at < len(self._firsts) and self._firsts[at] == first)
        high = (
            (self._seqs[above], self._firsts[above]) if above < len(self._firsts) else (last_seq, last_first)
        )
        return Gap(first, *low, *high)
