"""How many live streams one may hold open: a place for each, for as long as it lasts.

A stream is one request that lasts for hours, so counting it as one a minute would say nothing; what it takes is a place
among HUB_WATCHER_COUNT_MAX and rendering twice a second. So those are what is bounded, per subject.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from appliance.core.limits import STREAM_RETRY_AFTER_S
from ui.problem import Retryable
from ui.rate_limit import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatistics:
    """Numbers since the start.

    Attributes:
        open: Now.
        most: Of one subject now.
        refused_total: Streams that were refused.
    """

    open: int
    most: int
    refused_total: int


class StreamPlaces:
    """See the module's docstring. Used from one event loop.

    Args:
        count_max: Of one subject.
    """

    def __init__(self, *, count_max: int) -> None:
        self._count_max = count_max
        self._open: dict[Subject, int] = {}
        self._refused = 0

    @contextmanager
    def hold(self, subject: Subject) -> Iterator[None]:
        """A place while the context lasts.

        Raises:
            Retryable: `too_many_streams`.
        """
        count = self._open.get(subject, 0)
        if count >= self._count_max:
            self._refused += 1
            raise Retryable(
                f"You have {count} live pages open, which is as many as one may have.",
                hint="Close some of them, then load this one again.",
                code="too_many_streams",
                retry_after_s=STREAM_RETRY_AFTER_S,
            )
        self._open[subject] = count + 1
        try:
            yield
        finally:
            self._open[subject] -= 1
            if not self._open[subject]:
                del self._open[subject]

    def statistics(self) -> StreamStatistics:
        return StreamStatistics(
            open=sum(self._open.values()),
            most=max(self._open.values(), default=0),
            refused_total=self._refused,
        )
