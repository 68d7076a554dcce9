"""Each call that changes something fails once, in turn: nothing acknowledged is lost, nothing wrong is given out."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from appliance.core.errors import LogBroken, LogFull
from storage.log.verify import verify
from tests.sampling import a_few
from tests.storage_log_kit import HookedDisk, Written, append_blocks, as_written, open_writer, read_all

SEGMENT_BYTES = 32 * 1024
APPEND_COUNT = 14
CHANGING = frozenset(
    {"pwritev", "fdatasync", "fsync", "fsync_directory", "allocate", "truncate", "rename", "unlink"}
)


class FailsOnce(HookedDisk):
    """Fails the n-th changing call, counted from 0."""

    def __init__(self, at: int, number: int) -> None:
        super().__init__()
        self._left = at
        self._number = number
        self.failed = ""
        self.hook = self._fail

    def _fail(self, operation: str, name: str) -> None:
        if operation in CHANGING and not self.failed:
            if self._left == 0:
                self.failed = f"{operation} {name}"
                raise OSError(self._number, "injected")
            self._left -= 1


def run(directory: Path, disk: FailsOnce) -> list[Written]:
    """Opens and appends until a call fails in the writer's own thread; gives what was acknowledged."""
    try:
        writer = open_writer(directory, disk=disk, segment_bytes=SEGMENT_BYTES)
    except LogBroken:
        return []
    acknowledged: list[Written] = []
    try:
        for seed in range(APPEND_COUNT):
            acknowledged += append_blocks(writer, 1, seed=seed)
            writer.wait_idle(10)
    except LogBroken as error:
        with pytest.raises(LogBroken, match="injected"):
            writer.append(b"never", 1, 1, 1)
        assert "restart" in error.hint
    except LogFull:
        for seed in range(APPEND_COUNT):  # there is room again
            acknowledged += append_blocks(writer, 1, seed=seed)
    assert writer.statistics().broken or writer.statistics().frames_total == len(acknowledged)
    writer.close()
    return acknowledged


def call_count(directory: Path, start: Path | None) -> int:
    disk = FailsOnce(-1, 0)
    if start is not None:
        shutil.copytree(start, directory)
    run(directory, disk)
    return sum(call in CHANGING for call, _ in disk.calls)


@pytest.fixture
def torn(tmp_path: Path) -> Path:
    """A log with sealed segments and a torn tail, so that recovery has work to do."""
    directory = tmp_path / "torn"
    writer = open_writer(directory, segment_bytes=SEGMENT_BYTES)
    append_blocks(writer, 9, seed=50)
    writer.wait_idle(10)
    offset = writer.head.offset
    writer.close()
    with max(directory.glob("*.open")).open("r+b") as file:
        file.seek(offset)
        file.write(b"torn" * 100)
    return directory


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("recovering", [False, True])
def test_every_call_fails_once(tmp_path: Path, torn: Path, number: int, recovering: bool) -> None:
    start = torn if recovering else None
    there = [as_written(block) for block in read_all(torn)[0]] if recovering else []
    count = call_count(tmp_path / "counting", start)
    assert count > 40
    for at in a_few(range(count), 20, of=f"{number} {recovering}"):
        directory = tmp_path / f"{at}"
        if start is not None:
            shutil.copytree(start, directory)
        disk = FailsOnce(at, number)
        acknowledged = run(directory, disk)
        assert disk.failed
        writer = open_writer(directory, segment_bytes=SEGMENT_BYTES)
        assert not writer.recovery.damaged, disk.failed
        more = append_blocks(writer, 2, seed=77)
        assert writer.wait_idle(10)
        writer.close()
        assert not writer.statistics().damaged, disk.failed
        blocks, refused = read_all(directory)
        assert not refused, disk.failed
        got = [as_written(block) for block in blocks]
        promised = there + acknowledged
        assert got[: len(promised)] == promised, disk.failed
        assert got[-2:] == more
        assert len(got) - 2 - len(promised) in (0, 1), disk.failed  # written, and then its fsync failed
        report = verify(directory)
        assert report.ok, (disk.failed, report.damaged)
        assert all(segment.sealed for segment in report.segments[:-1]), disk.failed
