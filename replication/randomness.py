"""Randomness as an argument: what the machines of this room use of random.Random, which fits it."""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Randomness(Protocol):
    """A source of random numbers that its owner seeds."""

    def random(self) -> float: ...

    def randrange(self, start: int, stop: int | None = None, /) -> int: ...

    def getrandbits(self, k: int, /) -> int: ...

    def choice(self, seq: Sequence[T], /) -> T: ...

    def sample(self, population: Sequence[T], k: int, /) -> list[T]: ...

    def shuffle(self, x: MutableSequence[T], /) -> None: ...
