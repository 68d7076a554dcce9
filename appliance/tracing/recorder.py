"""Where a process puts its spans: into the book of the newest traces, and into the queue to a collector where there is one.

Called by any thread; never waits, never fails. Only spans of traces that were sampled are made at all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.core.ids import new_span_id
from appliance.tracing.book import TraceBook
from appliance.tracing.context import TraceContext
from appliance.tracing.ring import SpanRing
from appliance.tracing.span import Attribute, Span, SpanKind, bounded


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderStatistics:
    """Counted since the start."""

    spans: int
    kept_traces: int
    waiting: int
    dropped: int


def wall_us() -> int:
    """UTC, microseconds."""
    return time.time_ns() // 1000


class Recorder:
    """See the module's docstring.

    Args:
        ring: For the exporter; None where spans go nowhere.
    """

    def __init__(self, book: TraceBook | None = None, ring: SpanRing | None = None) -> None:
        self.book = book or TraceBook()
        self.ring = ring
        self._spans_total = 0

    def add(self, spans: Sequence[Span]) -> None:
        """Take spans of this process, or of another."""
        self._spans_total += len(spans)
        self.book.add(spans)
        if self.ring is not None:
            self.ring.add(spans)

    def record(
        self,
        parent: TraceContext,
        name: str,
        start_us: int,
        end_us: int,
        attributes: Mapping[str, Attribute],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        span_id: str = "",
        error: str = "",
    ) -> Span:
        """Make a span below a parent and take it.

        Args:
            span_id: "" makes one.
        """
        span = Span(
            parent.trace_id,
            span_id or new_span_id(),
            parent.span_id,
            name,
            kind,
            min(start_us, end_us),
            end_us,
            bounded(attributes),
            error=error,
            state=parent.state,
        )
        self.add([span])
        return span

    def statistics(self) -> RecorderStatistics:
        ring = self.ring
        return RecorderStatistics(
            spans=self._spans_total,
            kept_traces=len(self.book),
            waiting=len(ring) if ring is not None else 0,
            dropped=ring.dropped_total if ring is not None else 0,
        )
