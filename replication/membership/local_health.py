"""How well this node itself is: a node that is slow suspects others less quickly. Pure.

Source: Dadgar, Phillips, Currey, Lifeguard (2018) §IV-A, local health multiplier, at most 8.
"""

from __future__ import annotations

from typing import Final

SCORE_MAX: Final = 7


class LocalHealth:
    """A score from 0 (well) to 7; what is waited for takes score + 1 times as long."""

    def __init__(self) -> None:
        self.score = 0

    @property
    def multiplier(self) -> int:
        """1..8."""
        return self.score + 1

    def worse(self, by: int = 1) -> None:
        """Something shows that this node, rather than another, is slow or cut off."""
        self.score = min(SCORE_MAX, self.score + by)

    def better(self) -> None:
        """A probe was answered."""
        self.score = max(0, self.score - 1)
