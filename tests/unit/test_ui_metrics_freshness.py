"""Lag as a histogram, devices by freshness, watermarks, clocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.node_kit import NOW_MS, LiveDevice, Node, PipelineNumbers, lag_of, running_node
from ui import metrics, metrics_freshness


def samples(node: Node) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = metrics.render(node.services, log_head=None).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_the_lag_is_a_cumulative_histogram(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        node.pipeline.numbers = PipelineNumbers(ingestion_lag=lag_of([50, 200, 200, 7_200_000]))
        found = samples(node)
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in found.items()
        if name == "homeport_ingestion_lag_seconds_bucket"
    }
    assert (buckets["0.1"], buckets["0.25"], buckets["3600.0"], buckets["21600.0"]) == (1, 3, 3, 4)
    assert buckets["+Inf"] == found["homeport_ingestion_lag_seconds_count", ()] == 4
    assert found["homeport_ingestion_lag_seconds_sum", ()] == pytest.approx(7_200.45)
    recent = ("homeport_ingestion_lag_recent_seconds", (("quantile", "1"),))
    assert found[recent] == 7_200.0


def device(device_id: str, age_ms: int, behind_ms: int = 0, **more: Any) -> LiveDevice:
    return LiveDevice(
        device_id=device_id,
        last_reading_at_ms=NOW_MS - age_ms,
        watermark_at_ms=NOW_MS - age_ms - behind_ms,
        **more,
    )


async def test_devices_by_freshness_watermark_and_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_node(tmp_path) as node:
        node.live.by_id = {
            each.device_id: each
            for each in (
                device("a", 1_000, 5_000, clock_offset_ms=0),
                device("slow", 100_000, expect_ms=600_000, clock_offset_ms=-3_600_000),
                device("gone", 900_000),
                LiveDevice(device_id="new", last_reading_at_ms=None),
            )
        }
        found = samples(node)
        counts = {
            dict(labels)["freshness"]: value
            for (name, labels), value in found.items()
            if name == "homeport_devices_by_freshness"
        }
        assert counts == {"fresh": 2, "late": 0, "stale": 1, "never": 1}
        assert found["homeport_watermark_age_seconds", (("among", "reporting"),)] == 100.0
        assert found["homeport_watermark_age_seconds", (("among", "any"),)] == 900.0
        assert found["homeport_device_watermark_age_seconds", (("device", "a"),)] == 6.0
        assert found["homeport_devices_clock_wrong", ()] == 1
        monkeypatch.setattr(metrics_freshness, "WATERMARK_SERIES_COUNT_MAX", 3)
        assert not any(name == "homeport_device_watermark_age_seconds" for name, _ in samples(node))
