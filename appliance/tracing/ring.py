"""Spans that wait to be taken further: a bounded queue that drops and counts what has no room, and never makes anybody wait.

Put into and taken from by any thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from appliance.core.limits_tracing import SPAN_RING_COUNT_MAX
from appliance.tracing.span import Span


class SpanRing:
    """See the module's docstring. The oldest stay: the beginning of a trace says more than its end."""

    def __init__(self, count_max: int = SPAN_RING_COUNT_MAX) -> None:
        self._count_max = count_max
        self._spans: deque[Span] = deque()
        self._lock = threading.Lock()
        self._added_total = self._dropped_total = 0

    def __len__(self) -> int:
        return len(self._spans)

    @property
    def added_total(self) -> int:
        """Spans that found room."""
        return self._added_total

    @property
    def dropped_total(self) -> int:
        """Spans that found none."""
        return self._dropped_total

    def add(self, spans: Iterable[Span]) -> None:
        """Put spans into it, as far as there is room."""
        with self._lock:
            for span in spans:
                if len(self._spans) >= self._count_max:
                    self._dropped_total += 1
                else:
                    self._spans.append(span)
                    self._added_total += 1

    def take(self, count_max: int) -> list[Span]:
        """The oldest ones, which are in it no more."""
        with self._lock:
            return [self._spans.popleft() for _ in range(min(count_max, len(self._spans)))]
