"""The node's end of pushes: those that wait go to the broker together, one question at a time.

A wave that begins is a thousand devices to be told at once; a question for each would be a thousand round trips.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from appliance.core.errors import HomeportError, LimitExceeded, Unavailable
from appliance.core.limits_requests import (
    PUSH_BYTES_MAX,
    PUSH_MESSAGE_COUNT_MAX,
    PUSH_TOGETHER_COUNT_MAX,
    PUSH_WAITING_COUNT_MAX,
)


@dataclass(slots=True, eq=False)
class _Push:
    """One that waits; it is done when it has an answer."""

    fields: tuple[str, Sequence[tuple[str, bytes]]]
    size_bytes: int
    answer: int | HomeportError | None = None


class Pushing:
    """See the module's docstring.

    Args:
        ask: Asks the broker (link.BrokerLink).
    """

    def __init__(self, ask: Callable[..., Awaitable[dict[str, Any]]]) -> None:
        self._ask = ask
        self._waiting: deque[_Push] = deque()
        self._turn = trio.Lock()

    async def push(self, principal: str, messages: Sequence[tuple[str, bytes]]) -> int:
        """See `BrokerLink.push`."""
        size_bytes = sum(len(topic) + len(payload) for topic, payload in messages)
        if len(messages) > PUSH_MESSAGE_COUNT_MAX or size_bytes > PUSH_BYTES_MAX:
            raise LimitExceeded(
                f"{len(messages)} messages of {size_bytes} bytes are more than can be said to a device at once.",
                hint=f"At most {PUSH_MESSAGE_COUNT_MAX} messages and {PUSH_BYTES_MAX} bytes.",
                code="push_too_large",
            )
        if len(self._waiting) >= PUSH_WAITING_COUNT_MAX:
            raise LimitExceeded(
                "Too many devices are to be told something at the same moment.",
                hint="It is said when the device listens again, or in a moment.",
                code="pushes_waiting",
            )
        entry = _Push((principal, messages), size_bytes)
        self._waiting.append(entry)
        try:
            while entry.answer is None:
                async with self._turn:
                    if entry.answer is None:
                        await self._push_waiting()
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
        if isinstance(entry.answer, HomeportError):
            raise entry.answer
        return entry.answer

    async def _push_waiting(self) -> None:
        """Ask for the first of those that wait."""
        taken: list[_Push] = []
        left_bytes = PUSH_BYTES_MAX
        while self._waiting and len(taken) < PUSH_TOGETHER_COUNT_MAX:
            left_bytes -= self._waiting[0].size_bytes
            if left_bytes < 0 and taken:
                break
            taken.append(self._waiting.popleft())
        outcome: HomeportError = Unavailable(
            "Nobody knows whether it was said: whoever asked the broker has given up.",
            hint="Look again in a moment.",
        )
        try:
            answer = await self._ask("push", pushes=[each.fields for each in taken])
        except HomeportError as error:
            outcome = error
        else:
            for each, count in zip(taken, answer["delivered"], strict=True):
                each.answer = count
        finally:
            for each in taken:
                if each.answer is None:
                    each.answer = outcome
