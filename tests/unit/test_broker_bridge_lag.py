"""broker/bridge/lag.py"""

from __future__ import annotations

from pathlib import Path

from broker.bridge.lag import LagMeter
from tests.bridge_kit import NOW_MS, Record, kit_log


def test_records_and_the_age_of_the_first(tmp_path: Path) -> None:
    with kit_log(tmp_path / "log") as log:
        log.append(Record(), Record(delay_ms=200), Record(delay_ms=300))
        meter = LagMeter(log.reader())
        assert meter.measure(2, NOW_MS + 1_000) == (2, 800)
        assert meter.measure(2, NOW_MS + 2_000) == (2, 1_800)
        assert meter.measure(3, NOW_MS) == (1, 0), "a clock that jumped back makes no negative age"
        assert meter.measure(4, NOW_MS) == (0, 0)
        assert meter.measure(99, NOW_MS) == (0, 0), "past the head: the bridge itself says what is wrong"


def test_a_log_that_cannot_be_read_has_no_age(tmp_path: Path) -> None:
    with kit_log(tmp_path / "log") as log:
        log.append(Record(), Record())
        (segment,) = log.directory.glob("*.open")
        meter = LagMeter(log.reader())
        data = bytearray(segment.read_bytes())
        data[4096 + 60] ^= 0xFF
        segment.write_bytes(data)
        assert meter.measure(1, NOW_MS) == (2, 0)
