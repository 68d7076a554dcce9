"""Metrics of lag, freshness, watermarks and clocks. However many devices there are, the number of series is bounded."""

from __future__ import annotations

from appliance.core.limits import WATERMARK_SERIES_COUNT_MAX
from appliance.management.clock_offset import is_wrong
from appliance.management.freshness import Freshness, freshness, stale_after_ms
from appliance.pipeline.lag import HISTOGRAM_BOUNDS_S, LagStatistics
from ui.metrics_table import Collected
from ui.services import Services

_REPORTING = (Freshness.FRESH, Freshness.LATE)


def add_freshness(out: Collected, services: Services, lag: LagStatistics) -> None:
    out.add_histogram(
        "homeport_ingestion_lag_seconds", HISTOGRAM_BOUNDS_S, lag.histogram.counts, lag.histogram.sum_s
    )
    for quantile, value_s in (("0.5", lag.p50_s), ("0.95", lag.p95_s), ("1", lag.max_s)):
        out.add("homeport_ingestion_lag_recent_seconds", value_s, quantile)
    now_ms, devices = services.clock.now_ms(), services.live.devices()
    counts = dict.fromkeys(Freshness, 0)
    oldest_ms: dict[str, int] = {}
    for device in devices.values():
        after_ms = stale_after_ms(device.expect_ms, services.stale_after_ms)
        word = freshness(device.last_reading_at_ms, now_ms, after_ms)
        counts[word] += 1
        if (at_ms := device.watermark_at_ms) is not None:
            for among in ("reporting", "any") if word in _REPORTING else ("any",):
                oldest_ms[among] = min(at_ms, oldest_ms.get(among, at_ms))
            if len(devices) <= WATERMARK_SERIES_COUNT_MAX:
                age_s = max(0, now_ms - at_ms) / 1_000
                out.add("homeport_device_watermark_age_seconds", age_s, device.device_id)
    for word, count in counts.items():
        out.add("homeport_devices_by_freshness", count, word)
    for among, at_ms in oldest_ms.items():
        out.add("homeport_watermark_age_seconds", max(0, now_ms - at_ms) / 1_000, among)
    out.add(
        "homeport_devices_clock_wrong", sum(is_wrong(device.clock_offset_ms) for device in devices.values())
    )
