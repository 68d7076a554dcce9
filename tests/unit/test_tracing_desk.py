"""Which requests are traced."""

from __future__ import annotations

from appliance.core.clock import ManualClock
from appliance.tracing.desk import TracingDesk
from appliance.tracing.exporter import ExporterStatistics
from appliance.tracing.sampling import PerSecond

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
EXPORTED = ExporterStatistics(exported=1, dropped=2, requests=3, failures=4, failing="gone")


def desk(*, ratio: float = 0.0, per_second: int = 2, uniform: float = 0.5) -> TracingDesk:
    limit = PerSecond(per_second, ManualClock().mono_ms)
    return TracingDesk(sample_ratio=ratio, requests=limit, uniform=lambda: uniform)


def test_who_asks_decides_up_to_the_limit() -> None:
    tracing = desk(ratio=1.0)
    found = tracing.request(f"00-{TRACE}-{SPAN}-01", "a=1")
    assert (found.context.trace_id, found.parent_id, found.context.state) == (TRACE, SPAN, "a=1")
    assert found.context.is_sampled
    assert found.context.span_id != SPAN
    assert not tracing.request(f"00-{TRACE}-{SPAN}-00").context.is_sampled, "whoever asks does not want it"
    assert tracing.request(None).context.is_sampled
    assert not tracing.request(f"00-{TRACE}-{SPAN}-01").context.is_sampled, "so many in a second"
    assert tracing.statistics().refused_requests == 1


def test_otherwise_the_share_does() -> None:
    assert not desk(ratio=0.4).request(None).context.is_sampled
    assert desk(ratio=0.6).request(None).context.is_sampled
    own = desk().request("00-nonsense-01")
    assert own.parent_id == ""
    assert len(own.context.trace_id) == 32
    assert own.context.trace_id != desk().request(None).context.trace_id


def test_numbers() -> None:
    tracing = TracingDesk()
    assert tracing.statistics().exporter is None
    tracing.exporter = lambda: EXPORTED
    assert tracing.statistics().exporter == EXPORTED
