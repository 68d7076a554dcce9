"""Tracing as metrics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from appliance.tracing.desk import TracingDesk
from appliance.tracing.exporter import ExporterStatistics
from appliance.tracing.recorder import Recorder
from appliance.tracing.ring import SpanRing
from tests.unit.test_tracing_span import span
from ui.metrics_table import Collected
from ui.metrics_tracing import add_tracing

BROKER = {"traces": 5, "spans": 15, "spans_dropped": 2, "refused_offers": 7, "refused_share": 8, "wanted": 1}


def collected(tracing: TracingDesk, broker: dict[str, Any]) -> dict[tuple[str, ...], float]:
    out = Collected()
    add_tracing(out, cast("Any", SimpleNamespace(tracing=tracing, broker=SimpleNamespace(statistics=broker))))
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in out.families()
        for sample in family.samples
    }


def test_with_a_collector() -> None:
    desk = TracingDesk(Recorder(ring=SpanRing()))
    desk.exporter = lambda: ExporterStatistics(exported=3, dropped=4, requests=6, failures=1, failing="")
    desk.recorder.add([span()])
    found = collected(desk, {"tracing": BROKER})
    assert found["homeport_traces_total",] == 5
    assert found["homeport_traces_refused_total", "device"] == 7
    assert found["homeport_traces_refused_total", "share"] == 8
    assert found["homeport_traces_refused_total", "request"] == 0
    assert found["homeport_spans_dropped_total", "broker"] == 2
    assert found["homeport_spans_dropped_total", "export"] == 4
    assert found["homeport_spans_exported_total",] == 3
    assert found["homeport_spans_waiting",] == 1
    assert found["homeport_span_export_failures_total",] == 1
    assert found["homeport_span_export_requests_total",] == 6
    assert (found["homeport_spans_total",], found["homeport_traces_kept",]) == (1, 1)


def test_without_collector_and_broker() -> None:
    found = collected(TracingDesk(), {})
    assert set(found) == {
        ("homeport_traces_refused_total", "request"),
        ("homeport_traces_kept",),
        ("homeport_spans_total",),
    }
