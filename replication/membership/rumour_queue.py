"""Claims that have still to be told, each a bounded number of times. Pure.

One entry for a node, the newest: a later claim of a node replaces the one before, so the queue is never longer than the
fleet. What was told least goes first (memberlist, TransmitLimitedQueue).
"""

from __future__ import annotations

from .claims import Claim


class RumourQueue:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[int, Claim]] = {}

    def __len__(self) -> int:
        return len(self._told)

    def add(self, claim: Claim) -> None:
        """Tell of a claim, and no longer of what was said of the same node before."""
        self._told[claim.node] = (0, claim)

    def forget(self, node: str) -> None:
        """Nothing more is to be told of a node."""
        self._told.pop(node, None)

    def take(self, count_max: int, times_max: int) -> list[Claim]:
        """The claims for one message, counted as told once more.

        Args:
            count_max: How many at most.
            times_max: After so many times a claim is dropped.
        """
        chosen = sorted(self._told.items(), key=lambda item: (item[1][0], item[0]))[:count_max]
        for node, (times, claim) in chosen:
            if times + 1 >= times_max:
                del self._told[node]
            else:
                self._told[node] = (times + 1, claim)
        return [claim for _, (_, claim) in chosen]
