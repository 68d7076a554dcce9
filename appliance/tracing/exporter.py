"""Sends spans to a collector: in batches, with a few attempts, and never in anybody's way.

Theory of operation. One task takes from the ring what has gathered, at most every OTLP_INTERVAL_S, and posts it. What can be tried again
(no connection, 429, 502, 503, 504) is, after growing pauses, OTLP_ATTEMPT_COUNT_MAX times; what can't, or was tried so often, is dropped and counted, and so is
what finds no room in the ring meanwhile. Who records a span notices none of it.

Must not know how to connect: `post` is an argument.
Source: OTLP 1.x specification, "OTLP/HTTP Response", "OTLP/HTTP Throttling".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from appliance.core import logs
from appliance.core.limits_tracing import (
    OTLP_ATTEMPT_COUNT_MAX,
    OTLP_BATCH_COUNT_MAX,
    OTLP_INTERVAL_S,
    OTLP_PAUSE_S_MAX,
    OTLP_TIMEOUT_S,
)
from appliance.tracing.ring import SpanRing
from appliance.tracing.span import Span

RETRYABLE: Final = frozenset({429, 502, 503, 504})
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What came of a request.

    Attributes:
        status: 0 where there was no answer. words: What was wrong, "" for nothing.
        retry_after_s: What the collector asks for. rejected: Spans of a batch that it did not take.
    """

    status: int
    words: str = ""
    retry_after_s: int | None = None
    rejected: int = 0


Post = Callable[[list[Span]], Awaitable[Posted]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterStatistics:
    """Counted since the start; `failing` is what is wrong now, "" for nothing."""

    exported: int
    dropped: int
    requests: int
    failures: int
    failing: str


class Exporter:
    """See the module's docstring.

    Args:
        post: Sends spans once. What fails is in its answer.
    """

    def __init__(self, ring: SpanRing, post: Post) -> None:
        self._ring = ring
        self._post = post
        self._exported = self._dropped = self._requests = self._failures = 0
        self._failing = ""

    async def run(self) -> None:
        """Send what has gathered. Runs until cancelled; what waits then is lost."""
        while True:
            await trio.sleep(OTLP_INTERVAL_S)
            while spans := self._ring.take(OTLP_BATCH_COUNT_MAX):
                await self.send(spans)

    async def send(self, spans: list[Span]) -> None:
        """Send a batch, or drop it."""
        pause_s = 1.0
        for left in reversed(range(OTLP_ATTEMPT_COUNT_MAX)):
            posted = Posted(status=0, words=f"No answer within {OTLP_TIMEOUT_S:.0f} s.")
            self._requests += 1
            with trio.move_on_after(OTLP_TIMEOUT_S):
                posted = await self._post(spans)
            if 200 <= posted.status < 300:
                self._exported += len(spans) - min(posted.rejected, len(spans))
                self._dropped += min(posted.rejected, len(spans))
                self._note("")
                return
            self._failures += 1
            self._note(posted.words or f"HTTP {posted.status}")
            if not left or (posted.status and posted.status not in RETRYABLE):
                break
            await trio.sleep(min(OTLP_PAUSE_S_MAX, max(pause_s, posted.retry_after_s or 0)))
            pause_s *= 2
        self._dropped += len(spans)

    def _note(self, failing: str) -> None:
        if failing and not self._failing:
            _log.warning("the collector takes no spans; they are dropped and counted", reason=failing)
        elif self._failing and not failing:
            _log.info("the collector takes spans again")
        self._failing = failing

    def statistics(self) -> ExporterStatistics:
        return ExporterStatistics(
            exported=self._exported,
            dropped=self._dropped + self._ring.dropped_total,
            requests=self._requests,
            failures=self._failures,
            failing=self._failing,
        )
