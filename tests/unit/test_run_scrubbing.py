"""appliance/run/scrubbing.py: the scrubber's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from appliance.core.clock import SystemClock
from appliance.run.scrubbing import Scrubbing
from tests.storage_log_kit import append_blocks, open_writer


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_it_reads_the_log_and_ends_at_once(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, segment_bytes=32 * 1024)
    append_blocks(writer, 24)
    assert writer.wait_idle(10)
    writer.close()
    segment = min(tmp_path.glob("*.seg"))
    segment.chmod(0o600)
    content = bytearray(segment.read_bytes())
    content[5000] ^= 1
    segment.write_bytes(content)
    scrubbing = Scrubbing(tmp_path, SystemClock(), interval_ms=100)
    wait_until(lambda: scrubbing.statistics()["last_ended_at_ms"])
    assert scrubbing.statistics()["damaged_ranges"] >= 1
    assert scrubbing.statistics()["last_bytes"] > 0
    scrubbing.close()
    began = time.monotonic()
    slow = Scrubbing(tmp_path, SystemClock(), interval_ms=10**9)
    slow.close()
    assert time.monotonic() - began < 10


def test_what_fails_is_counted(tmp_path: Path) -> None:
    open_writer(tmp_path).close()
    (tmp_path / "scrub").mkdir()
    scrubbing = Scrubbing(tmp_path, SystemClock(), interval_ms=100)
    wait_until(lambda: scrubbing.statistics()["failures_total"])
    scrubbing.close()


def test_it_waits_for_a_log(tmp_path: Path) -> None:
    scrubbing = Scrubbing(tmp_path / "nothing", SystemClock(), interval_ms=100)
    scrubbing.close()
    assert scrubbing.statistics()["failures_total"] == 0
