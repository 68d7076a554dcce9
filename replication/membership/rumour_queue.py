"""Claims that have still to be told, each a bounded number of times. Pure.

One entry for a node, the newest: a later claim of a node replaces the one before, so the queue is never longer than the
fleet. What was told least goes first (memberlist, TransmitLimitedQueue), and of that what came first.
"""

from __future__ import annotations

from itertools import islice

from .claims import Claim


class RumourQueue:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}
        self._by_times: list[dict[str, Claim]] = []

    def __len__(self) -> int:
        return len(self._told)

    def add(self, claim: Claim) -> None:
        """Tell of a claim, and no longer of what was said of the same node before."""
        self.forget(claim.node)
        self._put(claim, 0)

    def forget(self, node: str) -> None:
        """Nothing more is to be told of a node."""
        times = self._told.pop(node, None)
        if times is not None:
            del self._by_times[times][node]

    def take(self, count_max: int, times_max: int) -> list[Claim]:
        """The claims for one message, counted as told once more. It costs as much as it gives, however many there are.

        Args:
            count_max: How many at most.
            times_max: After so many times a claim is dropped.
        """
        chosen: list[tuple[int, Claim]] = []
        for times, claims in enumerate(self._by_times):
            if len(chosen) >= count_max:
                break
            chosen += [(times, claim) for claim in islice(claims.values(), count_max - len(chosen))]
        for times, claim in chosen:
            self.forget(claim.node)
            if times + 1 < times_max:
                self._put(claim, times + 1)
        return [claim for _, claim in chosen]

    def _put(self, claim: Claim, times: int) -> None:
        while len(self._by_times) <= times:
            self._by_times.append({})
        self._told[claim.node] = times
        self._by_times[times][claim.node] = claim
