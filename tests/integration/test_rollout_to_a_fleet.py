"""A fleet is updated at once: it ends, every byte is sent about once, nobody loses a connection, and no reading is lost by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.bench_rollout import AMPLIFICATION_WANTED, measure

KIB = 1024


@pytest.mark.parametrize(
    ("device_count", "image_kib", "budget_kib_s"),
    [
        # More devices than have a place at once (32 KiB/s each), and an image of several windows.
        (60, 160, 1_024),
        pytest.param(1_000, 256, 8_192, marks=pytest.mark.long),
    ],
    ids=["some", "a thousand"],
)
def test_bytes_are_sent_once(tmp_path: Path, device_count: int, image_kib: int, budget_kib_s: int) -> None:
    found = measure(tmp_path, device_count, image_kib * KIB, budget_kib_s)
    assert found["succeeded"] == device_count
    assert found["amplification"] <= AMPLIFICATION_WANTED, found
    assert found["lost"] == 0, found["lost_by_reason"]
    assert found["fleet"]["reconnects"] == device_count, "each restarts into its update, once"
    assert (found["fleet"]["failures"], found["fleet"]["dropped"]) == ([], 0)
