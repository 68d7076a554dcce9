"""What the node has of tracing: the recorder with its book, which requests are traced, the exporter's numbers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from appliance.core.ids import new_span_id, new_trace_id
from appliance.tracing.context import TraceContext, parse_traceparent
from appliance.tracing.exporter import ExporterStatistics
from appliance.tracing.recorder import Recorder, RecorderStatistics
from appliance.tracing.sampling import PerSecond

_RANDOM: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """Where a request stands in its trace.

    Attributes:
        context: The request's own place. parent_id: Of whoever asked, "" for none.
    """

    context: TraceContext
    parent_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingStatistics:
    """Counted since the start.

    Attributes:
        refused_requests: Requests whose traceparent asked for it, or whose turn it was, beyond the limit.
        exporter: None where spans go nowhere.
    """

    recorder: RecorderStatistics
    refused_requests: int
    exporter: ExporterStatistics | None


class TracingDesk:
    """See the module's docstring.

    Args:
        requests: How many requests are traced in a second, of those that ask for it and of the share together.

    Attributes:
        exporter: Its numbers; None where spans go nowhere.
    """

    def __init__(
        self,
        recorder: Recorder | None = None,
        *,
        sample_ratio: float = 0.0,
        requests: PerSecond | None = None,
        uniform: Callable[[], float] = _RANDOM.random,
    ) -> None:
        self.recorder = recorder or Recorder()
        self._sample_ratio = sample_ratio
        self._requests = requests or PerSecond(0, lambda: 0)
        self._uniform = uniform
        self.exporter: Callable[[], ExporterStatistics] | None = None

    def request(self, traceparent: str | None, state: str = "") -> RequestTrace:
        """A request's place in the trace of whoever asked, or in one of its own; whether it is sampled."""
        offer = parse_traceparent(traceparent, state) if traceparent is not None else None
        is_sampled = offer.is_sampled if offer is not None else self._uniform() < self._sample_ratio
        context = TraceContext(
            offer.trace_id if offer is not None else new_trace_id(),
            new_span_id(),
            is_sampled and self._requests.take(),
            offer.state if offer is not None else "",
        )
        return RequestTrace(context, offer.span_id if offer is not None else "")

    def statistics(self) -> TracingStatistics:
        return TracingStatistics(
            recorder=self.recorder.statistics(),
            refused_requests=self._requests.refused_total,
            exporter=self.exporter() if self.exporter is not None else None,
        )
