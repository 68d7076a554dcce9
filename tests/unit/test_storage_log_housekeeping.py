"""storage/log/housekeeping.py: the log within its disk, through the writer that it belongs to."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import LogFull
from storage.log import LogWriter
from storage.log.disk_level import DiskLevel, DiskLevels, Space
from storage.log.housekeeping import FULL_INTERVAL_MS, HousekeepingStatistics, KeepingRules
from storage.log.verify import verify
from tests.storage_log_kit import PretendedDisk, append_blocks, as_written, open_writer, read_all

DEADLINE_S = 60.0
TOTAL = PretendedDisk.TOTAL_BYTES


def rules(**changes: Any) -> KeepingRules:
    return KeepingRules(
        **{"levels": DiskLevels(), "ballast_bytes": 0, "keep_percent": 0, "quota_percent": 0, **changes}
    )


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def house(writer: LogWriter) -> HousekeepingStatistics:
    return writer.statistics().housekeeping


@pytest.fixture
def disk(tmp_path: Path) -> PretendedDisk:
    return PretendedDisk(tmp_path)


def a_writer(disk: PretendedDisk, clock: ManualClock | None = None) -> LogWriter:
    writer = open_writer(disk.directory, disk=disk, clock=clock, segment_bytes=32 * 1024)
    append_blocks(writer, 40)
    assert writer.wait_idle(10)
    return writer


def test_nothing_is_looked_at_before_it_begins(disk: PretendedDisk) -> None:
    writer = a_writer(disk)
    disk.others_bytes = TOTAL
    assert writer.housekeeping.level is DiskLevel.OK
    assert not (disk.directory / "ballast").exists()
    append_blocks(writer, 1)
    writer.close()


def test_at_level_low_what_nobody_needs_is_removed(disk: PretendedDisk) -> None:
    clock = ManualClock()
    writer = a_writer(disk, clock)
    needed = [0]
    writer.housekeeping.hold("reader", lambda: needed[0])
    writer.housekeeping.hold("other", lambda: writer.head.next_seq)
    disk.others_bytes = int(TOTAL * 0.86)
    writer.keep_house(rules())
    wait_until(lambda: house(writer).disk_level == DiskLevel.LOW)
    wait_until(lambda: house(writer).needed_by == "reader")
    assert house(writer).removed_segments_total == 0
    needed[0] = writer.head.next_seq
    clock.advance(FULL_INTERVAL_MS)
    wait_until(lambda: house(writer).removed_segments_total)
    statistics = house(writer)
    assert (statistics.dropped_rule, statistics.dropped_unread_records) == ("disk_low", 0)
    assert statistics.first_seq == statistics.dropped_next_seq == read_all(disk.directory)[0][0].first_seq
    append_blocks(writer, 5)
    writer.close()
    assert verify(disk.directory).ok
    writer = open_writer(disk.directory)
    assert house(writer).dropped_records == statistics.dropped_records
    assert len(list(disk.directory.glob("*.seg"))) == writer.statistics().sealed_segment_count
    writer.close()


def test_the_quota_removes_what_somebody_needs_and_counts_it(disk: PretendedDisk) -> None:
    disk.TOTAL_BYTES = 10 * 1024 * 1024
    writer = a_writer(disk)
    writer.housekeeping.hold("reader", lambda: 0)
    writer.keep_house(rules(quota_percent=2))
    wait_until(lambda: house(writer).removed_segments_total)
    assert house(writer).dropped_rule == "quota"
    assert house(writer).dropped_unread_records == house(writer).dropped_records > 0
    assert house(writer).log_bytes <= 10 * 1024 * 1024 * 2 // 100 + 32 * 1024
    writer.close()
    assert verify(disk.directory).ok


def test_read_only_refuses_and_goes_on_by_itself(disk: PretendedDisk) -> None:
    writer = a_writer(disk)
    disk.others_bytes = int(TOTAL * 0.96)
    writer.keep_house(rules())
    with pytest.raises(LogFull, match="too full") as refused:
        writer.append(b"x", 1, 1, 1)
    assert refused.value.code == "disk_read_only"
    disk.others_bytes = int(TOTAL * 0.94)
    wait_until(lambda: house(writer).disk_used_ratio < 0.95)
    with pytest.raises(LogFull):
        writer.append(b"x", 1, 1, 1)
    disk.others_bytes = int(TOTAL * 0.5)
    wait_until(lambda: writer.housekeeping.level is DiskLevel.OK)
    append_blocks(writer, 1)
    writer.close()


class NoRoomForSegments(PretendedDisk):
    """Allocating more than is free fails, as on a real disk; `free_bytes` is what is left beside the ballast, and `taken_bytes` what
    was allocated of it and of what the ballast gave.
    """

    free_bytes: int | None = None
    taken_bytes: int = 0

    def allocate(self, descriptor: int, size: int) -> None:
        if self.free_bytes is not None:
            ballast = self.directory / "ballast"
            given_up = 1024 * 1024 - (ballast.stat().st_size if ballast.exists() else 0)
            if size > self.free_bytes + given_up - self.taken_bytes:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.taken_bytes += size
        super().allocate(descriptor, size)

    def space(self, path: Path) -> Space:
        """Neither so little that the ballast is given up by who looks, nor so much that it is taken again."""
        seen = super().space(path)
        return seen if self.free_bytes is None else replace(seen, free_bytes=1536 * 1024)


def test_a_full_disk_gives_the_ballast_to_smaller_segments(tmp_path: Path) -> None:
    disk = NoRoomForSegments(tmp_path)
    writer = open_writer(tmp_path, disk=disk, segment_bytes=2 * 1024 * 1024, compression="none")
    writer.housekeeping.hold("reader", lambda: 0)
    writer.keep_house(
        rules(
            ballast_bytes=1024 * 1024,
            levels=DiskLevels(low_percent=97, hold_percent=98, read_only_percent=100),
        )
    )
    wait_until(lambda: house(writer).ballast_bytes == 1024 * 1024)
    written = append_blocks(writer, 3)
    disk.free_bytes = 0
    while house(writer).ballast_released_total == 0:
        body = b"control" * 20_000
        head = writer.append(body, 1, 1, 1)
        assert head.next_seq < 100
    # A segment has of its space now, so it can't be taken again as long as the disk is full.
    assert house(writer).ballast_bytes == 0
    newest = max(tmp_path.glob("*.open"))
    assert newest.stat().st_size < 1024 * 1024
    assert [as_written(block) for block in read_all(tmp_path)[0]][:3] == written
    writer.close()
    assert verify(tmp_path).ok


def test_a_ballast_that_a_look_gave_up_meanwhile_counts(tmp_path: Path) -> None:
    disk = NoRoomForSegments(tmp_path)
    writer = open_writer(tmp_path, disk=disk, segment_bytes=2 * 1024 * 1024, compression="none")
    keeper = writer.housekeeping
    assert keeper.release_ballast(0) == 0
    writer.keep_house(rules(ballast_bytes=1024 * 1024))
    wait_until(lambda: house(writer).ballast_bytes == 1024 * 1024)
    disk.free_bytes = 0
    seen_total = keeper.ballast_released_total
    assert keeper.release_ballast(seen_total) == 1024 * 1024
    assert keeper.release_ballast(seen_total) == 1024 * 1024
    assert keeper.release_ballast(keeper.ballast_released_total) == 0
    writer.close()


def test_who_can_not_say_what_is_needed_needs_everything(disk: PretendedDisk) -> None:
    def fail() -> int:
        raise OSError(errno.EIO, "unreadable")

    writer = a_writer(disk)
    writer.housekeeping.hold("other", lambda: writer.head.next_seq)
    writer.housekeeping.hold("broken", fail)
    disk.others_bytes = int(TOTAL * 0.86)
    writer.keep_house(rules())
    wait_until(lambda: house(writer).failures_total)
    assert (house(writer).needed_by, house(writer).removed_segments_total) == ("broken", 0)
    assert "unreadable" in house(writer).last_failure
    disk.error = OSError(errno.EIO, "no answer")
    wait_until(lambda: "no answer" in house(writer).last_failure)
    assert writer.housekeeping.level is DiskLevel.LOW
    writer.close()
