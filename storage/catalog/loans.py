"""A loan: one function that has, or waits for, a connection of a pool. Who it is, since when, and how it ended.

A thread can't be stopped from outside: one that a disk holds up keeps its connection, whatever became of whoever waited
for it. So the thread itself says when the loan is over, and until then the connection counts as lent, by name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from appliance.core.limits import CATALOG_GRACE_MS

_ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Borrower:
    """Somebody who has a connection now.

    Attributes:
        number: Of the loan, counted from the start.
        who: The function that runs with it, and where that stands: "look (ui/auth.py:120)".
        held_ms: For how long it has had it.
        is_overdue: Longer than it may: SQLite did not end it, so the disk, or the function itself, holds it up.
        is_left: Whoever waited for it has gone, with "unavailable".
    """

    number: int
    who: str
    held_ms: int
    is_overdue: bool
    is_left: bool


@dataclass(eq=False, slots=True)
class Loan:
    """See the module's docstring.

    Args:
        when_left: Told the result if there is one after all, when whoever waited for it has gone.
    """

    number: int
    who: str
    timeout_ms: int
    when_left: Callable[[Any], None] | None = None
    began_mono_ms: int = 0
    is_left: bool = False
    is_over: bool = False
    result: tuple[Any] | None = None
    _turn: list[None] = field(default_factory=lambda: [None])

    def claim(self) -> bool:
        """Whether this is who begins the loan, or calls it off before it has begun. From any thread; True once."""
        try:
            # list.pop is atomic.
            self._turn.pop()
        except IndexError:
            return False
        return True

    def leave(self) -> None:
        """Whoever waited has gone; in the event loop."""
        self.is_left = True
        if self.is_over:
            self._tell()

    def over(self) -> None:
        """The thread has given its connection back; in the event loop."""
        self.is_over = True
        if self.is_left:
            self._tell()

    def _tell(self) -> None:
        if self.result is not None and self.when_left is not None:
            self.when_left(self.result[0])

    def borrower(self, now_ms: int) -> Borrower:
        """Who has it, at a monotonic time."""
        held_ms = now_ms - self.began_mono_ms
        return Borrower(
            number=self.number,
            who=self.who,
            held_ms=held_ms,
            is_overdue=held_ms > self.timeout_ms + CATALOG_GRACE_MS,
            is_left=self.is_left,
        )


def place_of(fn: Callable[..., Any]) -> str:
    """A function's name and where it stands, for people: "look (ui/auth.py:120)"."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    name = getattr(fn, "__qualname__", type(fn).__qualname__).rpartition(".<locals>.")[2]
    code = getattr(fn, "__code__", None)
    if code is None:
        return name
    path = Path(code.co_filename)
    shown = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else Path(path.name)
    return f"{name} ({shown}:{code.co_firstlineno})"
