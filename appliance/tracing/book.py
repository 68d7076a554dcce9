"""The newest traces, in memory, so that a site without a collector can look at them. Put into and read from by any thread.

Spans of one trace come from several processes and at several times, in any order. Traces of readings are kept apart from those of requests
alone, which would push them out. What is beyond a bound is let go, the oldest trace first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance.core.limits_tracing import (
    TRACE_BOOK_COUNT_MAX,
    TRACE_BOOK_OTHER_COUNT_MAX,
    TRACE_SPAN_COUNT_MAX,
)
from appliance.tracing.span import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """All that is known of a trace, as of now.

    Attributes:
        device_ids: Whose readings are in it. spans: By their start, parents before their children where they start together.
        is_cut: It has more spans than are kept.
    """

    trace_id: str
    device_ids: tuple[str, ...]
    spans: tuple[Span, ...]
    is_cut: bool = False

    @property
    def start_us(self) -> int:
        return min(span.start_us for span in self.spans)

    @property
    def end_us(self) -> int:
        return max(span.end_us for span in self.spans)


@dataclass(slots=True)
class _Open:
    spans: dict[str, Span] = field(default_factory=dict)
    devices: dict[str, None] = field(default_factory=dict)
    is_cut: bool = False

    def add(self, span: Span) -> None:
        if span.span_id not in self.spans and len(self.spans) >= TRACE_SPAN_COUNT_MAX:
            self.is_cut = True
            return
        self.spans[span.span_id] = span
        if span.device_id:
            self.devices[span.device_id] = None

    def closed(self, trace_id: str) -> Trace:
        spans = sorted(self.spans.values(), key=lambda span: (span.start_us, -span.end_us))
        return Trace(
            trace_id=trace_id, device_ids=tuple(self.devices), spans=tuple(spans), is_cut=self.is_cut
        )


class TraceBook:
    """See the module's docstring."""

    def __init__(
        self, count_max: int = TRACE_BOOK_COUNT_MAX, other_count_max: int = TRACE_BOOK_OTHER_COUNT_MAX
    ) -> None:
        self._count_max = count_max
        self._other_count_max = other_count_max
        self._lock = threading.Lock()
        self._of_devices: OrderedDict[str, _Open] = OrderedDict()
        self._others: OrderedDict[str, _Open] = OrderedDict()

    def __len__(self) -> int:
        return len(self._of_devices) + len(self._others)

    def add(self, spans: Iterable[Span]) -> None:
        """Put spans to their traces."""
        with self._lock:
            for span in spans:
                self._add(span)

    def _add(self, span: Span) -> None:
        trace_id = span.trace_id
        found = self._of_devices.get(trace_id)
        if found is None:
            found = self._others.setdefault(trace_id, _Open())
        found.add(span)
        if found.devices and trace_id in self._others:
            self._of_devices[trace_id] = self._others.pop(trace_id)
        while len(self._of_devices) > self._count_max:
            self._of_devices.popitem(last=False)
        while len(self._others) > self._other_count_max:
            self._others.popitem(last=False)

    def trace(self, trace_id: str) -> Trace | None:
        """One trace, None for one that is not kept (any more)."""
        with self._lock:
            found = self._of_devices.get(trace_id) or self._others.get(trace_id)
            return found.closed(trace_id) if found is not None else None

    def of_device(self, device_id: str, limit: int) -> list[Trace]:
        """The newest traces with readings of a device, the newest first."""
        found: list[Trace] = []
        with self._lock:
            for trace_id, each in reversed(self._of_devices.items()):
                if device_id in each.devices:
                    found.append(each.closed(trace_id))
                    if len(found) >= limit:
                        break
        return found

    def newest(self, limit: int) -> list[Trace]:
        """The newest traces with readings, the newest first."""
        with self._lock:
            newest = list(reversed(self._of_devices.items()))[:limit]
            return [each.closed(trace_id) for trace_id, each in newest]
