"""A file system that is really full: what was acknowledged stays, the ballast helps, and everything comes back.

On a tmpfs of 24 MiB, which needs the right to mount.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.core.clock import SystemClock
from appliance.core.errors import LogFull
from storage.log import LogWriter, OsDisk
from storage.log.disk_level import DiskLevel, DiskLevels
from storage.log.housekeeping import KeepingRules
from storage.log.verify import verify
from tests.small_disk import small_disk
from tests.storage_log_kit import Written, append_blocks, as_written, open_writer, read_all

MIB = 1024 * 1024
SIZE_MIB = 24
RULES = KeepingRules(levels=DiskLevels(), ballast_bytes=1 * MIB, keep_percent=0, quota_percent=0)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A small file system, and on it a folder for the log."""
    with small_disk(tmp_path / "small", size_mib=SIZE_MIB) as mount:
        yield mount


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def a_writer(mount: Path) -> LogWriter:
    return open_writer(
        mount / "log", clock=SystemClock(), disk=OsDisk(), segment_bytes=1 * MIB, compression="none"
    )


def fill(mount: Path, left_bytes: int) -> Path:
    """Somebody else fills the disk."""
    path = mount / "others"
    with path.open("wb") as file:
        space = os.statvfs(mount)
        os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize - left_bytes)
    return path


def until_full(writer: LogWriter) -> list[Written]:
    """Appends until there is no room; gives what was acknowledged."""
    acknowledged: list[Written] = []
    for seed in range(10_000):
        try:
            acknowledged += append_blocks(writer, 1, seed=seed)
        except LogFull:
            return acknowledged
    raise AssertionError("the disk was never full")


def test_a_log_that_fills_its_disk_keeps_what_it_acknowledged_and_goes_on(small: Path) -> None:
    writer = a_writer(small)
    written = until_full(writer)
    assert len(written) > 100
    assert [as_written(block) for block in read_all(small / "log")[0]] == written
    writer.close()
    writer = a_writer(small)  # a restart on a full disk
    written += until_full(writer)
    sealed = sorted((small / "log").glob("*.seg"))
    assert len(sealed) > 5
    writer.housekeeping.hold("reader", lambda: writer.head.next_seq)
    writer.keep_house(RULES)
    wait_until(lambda: writer.statistics().housekeeping.removed_segments_total)
    wait_until(lambda: writer.housekeeping.level is DiskLevel.OK)
    written += append_blocks(writer, 20, seed=7)
    got = [as_written(block) for block in read_all(small / "log")[0]]
    assert written[-len(got) :] == got
    assert got[0].first_seq == writer.statistics().housekeeping.dropped_next_seq
    assert writer.statistics().housekeeping.dropped_unread_records == 0
    writer.close()
    report = verify(small / "log")
    assert report.ok, report.damaged


def test_others_fill_the_disk_and_the_ballast_lets_control_go_on(small: Path) -> None:
    writer = a_writer(small)
    writer.keep_house(RULES)
    wait_until(lambda: writer.statistics().housekeeping.ballast_bytes)
    written = append_blocks(writer, 3)
    assert writer.wait_idle(10)
    ballast = writer.statistics().housekeeping.ballast_bytes
    assert ballast == SIZE_MIB * MIB // 50 // 4096 * 4096 or ballast == SIZE_MIB * MIB // 50
    others = fill(small, 0)
    wait_until(lambda: writer.housekeeping.level is DiskLevel.READ_ONLY)
    wait_until(lambda: writer.statistics().housekeeping.ballast_bytes == 0)
    (small / "catalog").write_bytes(bytes(100_000))  # what the ballast is for
    with pytest.raises(LogFull, match="too full"):
        writer.append(b"x", 1, 1, 1)
    others.unlink()
    wait_until(lambda: writer.housekeeping.level is DiskLevel.OK)
    wait_until(lambda: writer.statistics().housekeeping.ballast_bytes == ballast)
    written += append_blocks(writer, 3, seed=4)
    writer.close()
    assert [as_written(block) for block in read_all(small / "log")[0]] == written
    assert verify(small / "log").ok


def test_a_read_only_file_system_ends_the_writer_and_loses_nothing(small: Path) -> None:
    writer = a_writer(small)
    written = append_blocks(writer, 3)
    writer.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    with pytest.raises(Exception, match="can't be opened") as refused:
        a_writer(small)
    assert getattr(refused.value, "code", "") == "log_broken"
    assert [as_written(block) for block in read_all(small / "log")[0]] == written
    subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)
    writer = a_writer(small)
    written += append_blocks(writer, 1, seed=9)
    writer.close()
    assert [as_written(block) for block in read_all(small / "log")[0]] == written
