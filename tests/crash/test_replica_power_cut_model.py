"""The power goes at every step of a copy's life: what was said to be stored is there, and the copy goes on to be the same as its origin.

The model of the disk is in log_crash_model.py.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.log.disk import OsDisk
from storage.log.new_epoch import ask
from storage.log.verify import verify
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.replica_log import ReplicaLog
from tests.crash.log_crash_model import RecordingDisk, State
from tests.replica_kit import KEYS, ORIGIN, carry, make_log, open_replica, segments_of
from tests.storage_log_kit import append_blocks, as_written, open_writer, read_all

MEMORY = Path("/dev/shm")
STATES_PER_STEP_MAX = 4


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: the states are written out thousands of times."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        yield Path(directory)


def carry_and_acknowledge(disk: RecordingDisk, source: ChunkSource, log: ReplicaLog) -> None:
    """One chunk after the other; what is appended is said to be stored."""
    while carry(source, log, bytes_max=20_000, chunks_max=1):
        disk.acknowledge(log.head())
    carry(source, log)
    disk.acknowledge(log.head())


def copying(root: Path, origin: Path) -> RecordingDisk:
    """Chunks of some frames, segments begun and sealed."""
    disk = RecordingDisk(root)
    source, log = ChunkSource(origin, ORIGIN), open_replica(root / "copy", disk=disk)
    carry_and_acknowledge(disk, source, log)
    log.close()
    source.close()
    return disk


def beginning_late(root: Path, origin: Path) -> RecordingDisk:
    """The beginning is gone where it comes from."""
    disk = RecordingDisk(root)
    source, log = ChunkSource(origin, ORIGIN), open_replica(root / "copy", disk=disk)
    chunk = source.begin(source.head().sealed_seq - 1)
    assert chunk is not None
    disk.acknowledge(log.begin(chunk))
    carry_and_acknowledge(disk, source, log)
    log.close()
    source.close()
    return disk


def dropping(root: Path, origin: Path) -> RecordingDisk:
    """The oldest segment goes while others come."""
    disk = RecordingDisk(root)
    source, log = ChunkSource(origin, ORIGIN), open_replica(root / "copy", disk=disk)
    carry_and_acknowledge(disk, source, log)
    disk.states = disk.states[-1:]
    assert log.drop_before(log.head().sealed_seq - 1, "copy_share")
    disk.acknowledge(log.head())
    log.close()
    source.close()
    return disk


def write_out(content: dict[str, bytes], root: Path) -> Path:
    target = root / "state"
    shutil.rmtree(target, ignore_errors=True)
    (target / "copy").mkdir(parents=True)
    for name, data in content.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(data)
    return target / "copy"


def check(state: State, directory: Path, origin: Path) -> None:
    """Everything that was stored is there; the rest is had again, and then both are the same."""
    log = open_replica(directory)
    stored = max((head.next_seq for head in state.acknowledged), default=1)  # type: ignore[attr-defined]
    assert log.head().next_seq >= stored, state.after
    assert not log.recovery.damaged, (state.after, log.recovery)
    assert not log.lost_count, state.after
    source = ChunkSource(origin, ORIGIN)
    blocks, refused = read_all(directory)
    assert not refused, state.after
    wanted = {block.first_seq: as_written(block) for block in read_all(origin)[0]}
    assert all(as_written(block) == wanted[block.first_seq] for block in blocks), state.after
    if log.is_empty and "begin" in state.after:
        log.close()
        return
    carry(source, log)
    assert log.head().place == source.head().place, state.after
    log.close()
    source.close()
    report = verify(directory, trusted_keys=KEYS)
    assert report.ok, (state.after, report.damaged)
    ours, theirs = segments_of(directory), segments_of(origin)
    for name in [name for name in ours if name.removesuffix("open") + "seg" in ours]:
        del ours[name]  # the model may leave both names of a renamed file
    assert ours == {name: theirs[name] for name in ours}, state.after
    assert max(ours) == max(theirs)


def states_of(disk: RecordingDisk, seed: int) -> Iterator[tuple[State, dict[str, bytes]]]:
    rng = random.Random(seed)
    for state in disk.states:
        for content in state.disks(rng, STATES_PER_STEP_MAX):
            yield state, content


@pytest.mark.parametrize("scenario", [copying, beginning_late, dropping])
def test_the_power_goes_at_any_step(
    quick_path: Path, scenario: Callable[[Path, Path], RecordingDisk]
) -> None:
    origin = quick_path / "origin"
    make_log(origin, 16, segment_bytes=32 * 1024).close()
    root = quick_path / "recorded"
    (root / "copy").mkdir(parents=True)
    disk = scenario(root, origin)
    count = 0
    for state, content in states_of(disk, seed=3):
        check(state, write_out(content, quick_path), origin)
        count += 1
    assert count > 15


def test_the_power_goes_again_while_a_copy_is_opened(quick_path: Path) -> None:
    origin = quick_path / "origin"
    make_log(origin, 12, segment_bytes=32 * 1024).close()
    root = quick_path / "recorded"
    (root / "copy").mkdir(parents=True)
    disk = copying(root, origin)
    rng = random.Random(5)
    count = 0
    for state, content in rng.sample(list(states_of(disk, seed=5)), 25):
        directory = write_out(content, quick_path)
        again = RecordingDisk(directory.parent, content)
        open_replica(directory, disk=again).close()
        for second, later in states_of(again, seed=6):
            second.acknowledged = state.acknowledged
            check(second, write_out(later, quick_path), origin)
            count += 1
    assert count > 100


def test_a_history_that_a_later_epoch_replaces_survives_any_step(quick_path: Path) -> None:
    origin, old = quick_path / "origin", quick_path / "old"
    writer = make_log(origin, 8, segment_bytes=32 * 1024)
    source = ChunkSource(origin, ORIGIN)
    aside = open_replica(old)
    carry(source, aside)
    aside.close()
    append_blocks(writer, 9, seed=4)
    assert writer.wait_idle(10)
    writer.close()
    root = quick_path / "recorded"
    disk = RecordingDisk(root)
    log = open_replica(root / "copy", disk=disk)
    carry_and_acknowledge(disk, source, log)
    lost = [as_written(block) for block in read_all(origin)[0]]
    source.close()
    ask(OsDisk(), old)  # the box is put back to an older state, and goes on
    restored = open_writer(old, segment_bytes=32 * 1024)
    append_blocks(restored, 4, seed=5)
    restored.close()
    recorded = len(disk.states)
    later = ChunkSource(old, ORIGIN)
    carry(later, log)
    assert log.head().epoch == 2
    log.close()
    disk.states = disk.states[recorded:]
    count = 0
    for state, content in states_of(disk, seed=9):
        directory = write_out(content, quick_path)
        again = open_replica(directory)
        kept = [as_written(block) for block in read_all(directory)[0]]
        if again.head().epoch == 2:
            (branch,) = directory.parent.glob("copy.fork-*")
            assert verify(branch, trusted_keys=KEYS).ok, state.after
            kept += [as_written(block) for block in read_all(branch)[0]]
        assert all(block in kept for block in lost), state.after
        carry(later, again)
        again.close()
        assert verify(directory, trusted_keys=KEYS).ok, state.after
        ours, theirs = segments_of(directory), segments_of(old)
        assert max(ours) == max(theirs)
        assert ours[max(ours)] == theirs[max(theirs)], state.after
        count += 1
    assert count > 50
    later.close()


class ForgetfulDisk(RecordingDisk):
    """Says that it synced, and didn't."""

    def fdatasync(self, descriptor: int) -> None:
        pass

    fsync = fdatasync


def test_the_model_notices_a_missing_sync(quick_path: Path) -> None:
    """The check of the check."""
    origin, root = quick_path / "origin", quick_path / "recorded"
    make_log(origin, 6).close()
    (root / "copy").mkdir(parents=True)
    disk = ForgetfulDisk(root)
    source, log = ChunkSource(origin, ORIGIN), open_replica(root / "copy", disk=disk)
    carry_and_acknowledge(disk, source, log)
    log.close()
    source.close()

    def check_all() -> None:
        for content in disk.states[-1].disks(random.Random(1), 20):
            check(disk.states[-1], write_out(content, quick_path), origin)

    with pytest.raises(AssertionError):
        check_all()
