"""Work that waits its turn, bounded: whoever asked waits for the answer, and may go before it comes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import trio

from appliance.core.errors import LimitExceeded

_Call = TypeVar("_Call")


@dataclass(slots=True)
class Asked(Generic[_Call]):
    """One piece of work. words: What it is, for whoever looks. is_left: Whoever asked has gone."""

    words: str
    call: _Call
    done: trio.Event = field(default_factory=trio.Event)
    answer: Any = None
    error: BaseException | None = None
    is_left: bool = False

    async def wait(self) -> Any:
        """The answer. Cancelled before its turn, the work is not done.

        Without a deadline: how long it takes is the work's own affair. Raises what the work raised.
        """
        try:
            await self.done.wait()
        except trio.Cancelled:
            self.is_left = True
            raise
        if self.error is not None:
            raise self.error
        return self.answer


class WaitingWork(ABC, Generic[_Call]):
    """Pieces of work in the order in which they came, at most `count_max`. From the event loop.

    Args:
        wake: Told when there is work.
    """

    count_max: int

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._asked: deque[Asked[_Call]] = deque()

    def __len__(self) -> int:
        return len(self._asked)

    @abstractmethod
    def refusal(self) -> LimitExceeded:
        """What whoever comes beyond the limit is told."""

    def put(self, words: str, call: _Call) -> Asked[_Call]:
        """Have something done. Raises LimitExceeded: too much waits."""
        if len(self._asked) >= self.count_max:
            raise self.refusal()
        asked = Asked(words, call)
        self._asked.append(asked)
        self._wake()
        return asked

    def take(self) -> Asked[_Call] | None:
        """The first piece that is still wanted."""
        while self._asked:
            asked = self._asked.popleft()
            if not asked.is_left:
                return asked
        return None
