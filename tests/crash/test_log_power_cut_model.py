"""The power goes at every step of append, roll, seal, rename and recovery: every acknowledged block is there.

The model of the disk is in log_crash_model.py. Each state is written out and opened by the real recovery.
"""

from __future__ import annotations

import errno
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from storage.log import LogWriter
from storage.log.disk_level import DiskLevels, Space
from storage.log.housekeeping import KeepingRules
from storage.log.verify import verify
from tests.crash.log_crash_model import RecordingDisk, State
from tests.sampling import IS_LONG
from tests.storage_log_kit import Written, as_written, open_writer, read_all

SEGMENT_BYTES = 32 * 1024
MEMORY = Path("/dev/shm")
STATES_PER_STEP_MAX = 8 if IS_LONG else 3


def acknowledge_blocks(disk: RecordingDisk, writer: LogWriter, sizes: list[int], seed: int) -> None:
    rng = random.Random(seed)
    for size in sizes:
        first_seq = writer.head.next_seq
        body = rng.randbytes(size)
        writer.append(body, 3, first_seq, first_seq + 2)
        disk.acknowledge(Written(first_seq, 3, first_seq, first_seq + 2, body))


def appending(directory: Path) -> RecordingDisk:
    """Two segments and a bit: append, spare, roll, seal, manifest, all beside each other."""
    disk = RecordingDisk(directory)
    writer = open_writer(directory, disk=disk, segment_bytes=SEGMENT_BYTES, compression="none")
    acknowledge_blocks(disk, writer, [100, 9000, 5000, 12_000, 40_000, 3000, 7000, 200, 16_000], seed=1)
    writer.close()
    return disk


def sealing_by_age(directory: Path) -> RecordingDisk:
    """Seals that are waited for, so that nothing else is in flight."""
    clock = ManualClock()
    disk = RecordingDisk(directory)
    writer = open_writer(directory, disk=disk, segment_bytes=SEGMENT_BYTES, clock=clock, seal_after_ms=1)
    for size in (6000, 300, 14_000):
        acknowledge_blocks(disk, writer, [size], seed=size)
        clock.advance(1)
        assert writer.seal_if_due()
        assert writer.wait_idle(10)
    acknowledge_blocks(disk, writer, [300], seed=3)
    writer.close()
    return disk


class FailsToSync(RecordingDisk):
    """The n-th fdatasync of a segment says EIO: any of its pages may be on the disk, and none surely is."""

    def __init__(self, root: Path, at: int) -> None:
        super().__init__(root)
        self._left = at

    def fdatasync(self, descriptor: int) -> None:
        if self._left == 0:
            self._left = -1
            raise OSError(errno.EIO, "injected")
        self._left -= 1
        super().fdatasync(descriptor)


def failing_to_sync(directory: Path) -> RecordingDisk:
    """A frame whose fdatasync fails goes into a new segment; the old one keeps whatever became of it."""
    disk = FailsToSync(directory, at=4)  # the new segment's header is the first
    writer = open_writer(directory, disk=disk, segment_bytes=SEGMENT_BYTES, compression="none")
    acknowledge_blocks(disk, writer, [100, 5000, 300, 9000, 200, 12_000, 9000], seed=4)
    assert writer.statistics().write_failures_total == 1
    writer.close()
    return disk


@dataclass(frozen=True)
class MayGo:
    """From now on records before `next_seq` need not be there."""

    next_seq: int


class SmallDisk(RecordingDisk):
    """A file system on which the log is larger than it is to be."""

    def space(self, path: Path) -> Space:
        return Space(total_bytes=1024 * 1024, free_bytes=900 * 1024)


def removing(directory: Path) -> RecordingDisk:
    """Segments go while others are appended and sealed: list, unlink, manifest."""
    disk = SmallDisk(directory)
    writer = open_writer(directory, disk=disk, segment_bytes=SEGMENT_BYTES, compression="none")
    acknowledge_blocks(disk, writer, [9000, 16_000, 9000, 16_000, 3000, 12_000, 9000, 200], seed=5)
    assert writer.wait_idle(10)
    needed_seq = writer.head.next_seq
    disk.acknowledge(MayGo(needed_seq))
    writer.housekeeping.hold("reader", lambda: needed_seq)
    writer.keep_house(KeepingRules(levels=DiskLevels(), ballast_bytes=8192, keep_percent=4, quota_percent=0))
    acknowledge_blocks(disk, writer, [12_000, 9000, 16_000], seed=6)
    deadline = time.monotonic() + 20
    while not writer.statistics().housekeeping.removed_segments_total:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert writer.wait_idle(10)
    writer.close()
    return disk


def write_out(content: dict[str, bytes], directory: Path) -> Path:
    target = Path(tempfile.mkdtemp(dir=directory))
    for name, data in content.items():
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_bytes(data)
    return target


def check(state: State, directory: Path, *, disk: RecordingDisk | None = None) -> None:
    """Opens a state: everything acknowledged is there, nothing is called damaged, and the log goes on."""
    writer = open_writer(directory, disk=disk, segment_bytes=SEGMENT_BYTES)
    assert not writer.recovery.damaged, (state.after, writer.recovery)
    blocks, refused = read_all(directory)
    assert not refused, state.after
    got = [as_written(block) for block in blocks]
    begin = got[0].first_seq if got else 1
    assert begin <= max([1, *(item.next_seq for item in state.acknowledged if isinstance(item, MayGo))])
    promised = [item for item in state.acknowledged if isinstance(item, Written) and item.first_seq >= begin]
    assert got[: len(promised)] == promised, state.after
    assert len(got) <= len(promised) + 1, "more than the one frame in flight"
    next_seq = writer.head.next_seq
    assert next_seq == (got[-1].next_seq if got else 1)
    writer.append(b"after" * 2000, 2, 1, 1)
    writer.close()
    assert not writer.statistics().damaged, state.after
    assert not writer.statistics().upkeep_failures_total
    report = verify(directory)
    assert report.ok, (state.after, report.damaged)
    assert read_all(directory)[0][-1].first_seq == next_seq


def crash_states(disk: RecordingDisk, seed: int, at_most: int) -> Iterator[tuple[State, dict[str, bytes]]]:
    rng = random.Random(seed)
    for state in disk.states:
        for content in state.disks(rng, at_most):
            yield state, content


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: the states are written out thousands of times."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        yield Path(directory)


@pytest.mark.parametrize("scenario", [appending, sealing_by_age, failing_to_sync, removing])
def test_the_power_goes_at_any_step(quick_path: Path, scenario: Callable[[Path], RecordingDisk]) -> None:
    (quick_path / "log").mkdir()
    disk = scenario(quick_path / "log")
    count = 0
    for state, content in crash_states(disk, seed=11, at_most=STATES_PER_STEP_MAX):
        check(state, write_out(content, quick_path))
        count += 1
    assert count > (300 if IS_LONG else 100)


def test_the_power_goes_again_at_any_step_of_recovery(quick_path: Path) -> None:
    (quick_path / "log").mkdir()
    disk = appending(quick_path / "log")
    rng = random.Random(12)
    first_crashes = list(crash_states(disk, seed=12, at_most=4))
    count = 0
    for state, content in rng.sample(first_crashes, 12 if IS_LONG else 6):
        directory = write_out(content, quick_path)
        recovering = RecordingDisk(directory, content)
        writer = open_writer(directory, disk=recovering, segment_bytes=SEGMENT_BYTES)
        assert writer.wait_idle(10)
        writer.close()
        for again, second in crash_states(recovering, seed=13, at_most=4):
            again.acknowledged = state.acknowledged
            check(again, write_out(second, quick_path))
            count += 1
    assert count > (200 if IS_LONG else 100)


class ForgetfulDisk(RecordingDisk):
    """Says that it synced, and didn't."""

    def fdatasync(self, descriptor: int) -> None:
        pass

    fsync = fdatasync


def test_the_model_notices_a_missing_sync(quick_path: Path) -> None:
    """The check of the check."""
    (quick_path / "log").mkdir()
    disk = ForgetfulDisk(quick_path / "log")
    writer = open_writer(quick_path / "log", disk=disk, segment_bytes=SEGMENT_BYTES)
    acknowledge_blocks(disk, writer, [100, 9000], seed=1)
    writer.close()

    def check_all() -> None:
        for content in disk.states[-1].disks(random.Random(1), 20):
            check(disk.states[-1], write_out(content, quick_path))

    with pytest.raises(AssertionError):
        check_all()
