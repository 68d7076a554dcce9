"""How many messages the next batch may hold: more while behind, fewer while commits are slow.

A transaction costs some milliseconds whatever is in it, so a pipeline that is behind wants large ones; a slow disk
wants small ones, or it runs into the deadline and gets nothing done. Pure.
"""

from __future__ import annotations

from appliance.core.limits import BATCH_MESSAGES_MIN

SLOW_RATIO = 4
"""A commit that takes more than a quarter of the deadline is slow."""


class BatchSizer:
    """Halves after a slow or failed commit, grows by a quarter after a full and quick one.

    Args:
        messages_max: Upper bound (store.batch_messages_max). deadline_ms: store.commit_deadline_ms.
    """

    def __init__(self, *, messages_max: int, deadline_ms: int) -> None:
        self._max = messages_max
        self._min = min(BATCH_MESSAGES_MIN, messages_max)
        self._slow_ms = deadline_ms / SLOW_RATIO
        self._target = messages_max

    @property
    def messages(self) -> int:
        return self._target

    def committed(self, *, commit_ms: float, messages: int) -> None:
        if commit_ms > self._slow_ms:
            self.failed()
        elif messages >= self._target:
            self._target = min(self._max, self._target + self._target // 4 + 1)

    def failed(self) -> None:
        self._target = max(self._min, self._target // 2)
