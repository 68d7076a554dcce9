"""Randomness as an argument: what the pure modules use of random.Random, which fits it."""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Randomness(Protocol):
    """A source of random numbers that its owner seeds."""

    def random(self) -> float: ...

    def uniform(self, a: float, b: float, /) -> float: ...

    def gauss(self, mu: float, sigma: float, /) -> float: ...

    def randrange(self, start: int, stop: int | None = None, /) -> int: ...

    def randint(self, a: int, b: int, /) -> int: ...

    def getrandbits(self, k: int, /) -> int: ...

    def randbytes(self, n: int, /) -> bytes: ...

    def choice(self, seq: Sequence[T], /) -> T: ...

    def shuffle(self, x: MutableSequence[T], /) -> None: ...
