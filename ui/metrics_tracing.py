"""What is traced, and what became of the spans, as metrics."""

from __future__ import annotations

from collections.abc import Mapping

from ui.metrics_table import Collected
from ui.services import Services


def add_tracing(out: Collected, services: Services) -> None:
    """The node's numbers, and the broker's while it is known."""
    now = services.tracing.statistics()
    broker = services.broker.statistics.get("tracing")
    if isinstance(broker, Mapping):
        out.add("homeport_traces", broker.get("traces"))
        out.add("homeport_traces_refused", broker.get("refused_offers"), "device")
        out.add("homeport_traces_refused", broker.get("refused_share"), "share")
        out.add("homeport_spans_dropped", broker.get("spans_dropped"), "broker")
    out.add("homeport_traces_refused", now.refused_requests, "request")
    out.add("homeport_traces_kept", now.recorder.kept_traces)
    out.add("homeport_spans", now.recorder.spans)
    if now.exporter is not None:
        out.add("homeport_spans_dropped", now.exporter.dropped, "export")
        out.add("homeport_spans_exported", now.exporter.exported)
        out.add("homeport_spans_waiting", now.recorder.waiting)
        out.add("homeport_span_export_requests", now.exporter.requests)
        out.add("homeport_span_export_failures", now.exporter.failures)
