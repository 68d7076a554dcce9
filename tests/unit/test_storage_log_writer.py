"""The writer: what append promises, how segments follow each other, what a failing disk does."""

from __future__ import annotations

import errno
import multiprocessing
import random
import threading
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import LogBroken, LogFull, LogLocked, StorageError, UsageError
from appliance.core.limits import WRITE_FAILURE_APART_MS_MIN
from storage.log import LogReader, LogWriter
from storage.log.verify import verify
from tests.storage_log_kit import (
    NODE_ID,
    STREAM,
    HookedDisk,
    KitSigner,
    append_blocks,
    as_written,
    open_writer,
    read_all,
)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def segments(directory: Path) -> list[str]:
    return [name for name in names(directory) if name.endswith((".open", ".seg", ".damaged"))]


def test_a_fresh_stream_begins_at_1(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "log" / "telemetry")
    assert (writer.head.epoch, writer.head.next_seq, writer.head.segment_first_seq) == (1, 1, 1)
    writer.close()
    assert segments(tmp_path / "log" / "telemetry") == ["00000001-00000000000000000001.open"]


def test_what_was_appended_is_read_again_after_a_restart_and_goes_on(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    written = append_blocks(writer, 40)
    head = writer.head
    writer.close()
    writer = open_writer(tmp_path)
    assert writer.head == head
    written += append_blocks(writer, 40, seed=2)
    writer.wait_idle()
    blocks, refused = read_all(tmp_path)
    assert ([as_written(block) for block in blocks], refused) == (written, [])
    assert all(after.prev_hash == before.hash for before, after in pairwise(blocks))
    assert blocks[-1].hash == writer.head.hash
    writer.close()
    report = verify(tmp_path, trusted_keys=[KitSigner().key_id])
    assert report.ok, report.damaged
    assert report.record_count == report.next_seq - 1
    assert report.frame_count == 80


def test_full_segments_are_sealed_and_read_only(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    append_blocks(writer, 40)
    assert writer.wait_idle(10)
    *sealed, active = segments(tmp_path)
    assert len(sealed) >= 2
    assert active.endswith(".open")
    assert all(name.endswith(".seg") for name in sealed)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in sealed} == {0o400}
    statistics = writer.statistics()
    assert statistics.sealed_segment_count == statistics.sealed_total == len(sealed)
    assert statistics.frames_total == 40
    assert statistics.sealed_bytes == sum((tmp_path / name).stat().st_size for name in sealed)
    writer.close()
    assert "spare" not in names(tmp_path)


def test_an_old_segment_is_sealed_at_the_next_append_or_when_asked(tmp_path: Path) -> None:
    clock = ManualClock()
    writer = open_writer(tmp_path, clock=clock, seal_after_ms=1000)
    assert not writer.seal_if_due()
    clock.advance(2000)
    assert not writer.seal_if_due(), "an empty segment is never sealed"
    append_blocks(writer, 1)
    assert len(segments(tmp_path)) == 1, "nor left behind"
    assert writer.seal_if_due()
    append_blocks(writer, 1)
    clock.advance(1000)
    append_blocks(writer, 1)
    writer.close()
    assert [name.split(".")[1] for name in segments(tmp_path)] == ["seg", "seg", "open"]


def test_age_counts_across_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    writer = open_writer(tmp_path, clock=clock, seal_after_ms=1000)
    append_blocks(writer, 1)
    writer.close()
    clock.advance(1000)
    writer = open_writer(tmp_path, clock=clock, seal_after_ms=1000)
    assert writer.seal_if_due()
    writer.close()


def test_a_record_larger_than_a_segment_has_a_segment_of_its_own(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, segment_bytes=16 * 1024)
    writer.append(b"a" * 100_000, 1, 1, 1)
    writer.append(b"b", 1, 1, 1)
    writer.append(b"c" * 100_000, 1, 1, 1)
    writer.append(b"d" * 1000, 1, 1, 1)
    writer.close()
    blocks, refused = read_all(tmp_path)
    assert [len(block.body) for block in blocks] == [100_000, 1, 100_000, 1000]
    assert not refused
    assert verify(tmp_path).ok


@pytest.mark.parametrize(
    ("mode", "size", "stored_less"),
    [
        ("auto", 4096, False),
        ("auto", 5000, True),
        ("auto", 65536, True),
        ("auto", 65537, False),
        ("none", 20000, False),
        ("zstd", 400000, True),
    ],
)
def test_what_is_compressed(tmp_path: Path, mode: str, size: int, stored_less: bool) -> None:
    writer = open_writer(tmp_path, compression=mode, segment_bytes=1 << 20)
    writer.append(b"z" * size, 1, 1, 1)
    assert (writer.statistics().compressed_frames_total == 1) == stored_less
    assert (writer.head.offset < 4096 + size) == stored_less
    writer.close()
    assert read_all(tmp_path)[0][0].body == b"z" * size


def test_nothing_is_compressed_that_saves_no_page(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    append_blocks(writer, 1, body_bytes_max=1)
    writer.append(bytes(range(256)) * 16 + b"x" * 10, 1, 1, 1)  # zstd would make it smaller, by a page
    assert writer.statistics().compressed_frames_total == 1
    writer.append(random.Random(1).randbytes(5000), 1, 1, 1)
    assert writer.statistics().compressed_frames_total == 1
    writer.close()


@pytest.mark.parametrize(
    ("body", "count"), [(b"", 1), (b"x", 0), (b"x", 65536), (bytes(17 * 1024 * 1024 + 1), 1)]
)
def test_blocks_out_of_bounds_are_refused_and_change_nothing(tmp_path: Path, body: bytes, count: int) -> None:
    writer = open_writer(tmp_path)
    head = writer.head
    with pytest.raises(UsageError):
        writer.append(body, count, 1, 1)
    assert writer.head == head
    append_blocks(writer, 1)
    writer.close()
    with pytest.raises(UsageError, match="closed"):
        writer.append(b"x", 1, 1, 1)
    writer.close()


@pytest.mark.parametrize("segment_bytes", [4096, 1 << 31])
def test_segment_sizes_out_of_bounds_are_refused(tmp_path: Path, segment_bytes: int) -> None:
    with pytest.raises(UsageError):
        open_writer(tmp_path, segment_bytes=segment_bytes)


def test_a_stream_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        LogWriter.open(tmp_path, stream="", node_id=NODE_ID, signer=KitSigner(), clock=ManualClock())


def test_another_nodes_log_is_refused_and_the_lock_is_let_go(tmp_path: Path) -> None:
    open_writer(tmp_path).close()
    with pytest.raises(StorageError, match="holds stream") as caught:
        LogWriter.open(tmp_path, stream=STREAM, node_id=bytes(16), signer=KitSigner(), clock=ManualClock())
    assert caught.value.code == "log_foreign"
    open_writer(tmp_path).close()


def test_each_frame_is_written_once_then_synced_then_published(tmp_path: Path) -> None:
    disk = HookedDisk()
    writer = open_writer(tmp_path, disk=disk)
    reader = LogReader(tmp_path)
    seen: list[tuple[str, int]] = []
    disk.hook = lambda operation, name: seen.append((operation, reader.head().next_seq))
    writer.append(b"x" * 10_000, 5, 1, 1)
    seen.append(("returned", reader.head().next_seq))
    assert seen == [("pwritev", 1), ("fdatasync", 1), ("returned", 6)]
    reader.close()
    writer.close()


def test_a_short_write_is_finished(tmp_path: Path) -> None:
    disk = HookedDisk()
    writer = open_writer(tmp_path, disk=disk)
    disk.short_write_bytes = 100
    written = append_blocks(writer, 3)
    assert [call for call, _ in disk.calls].count("pwritev") == 1 + 4
    assert [as_written(block) for block in read_all(tmp_path)[0]] == written
    writer.close()


@pytest.mark.parametrize("operation", ["pwritev", "fdatasync"])
def test_a_failed_write_or_sync_ends_the_writer_for_good(tmp_path: Path, operation: str) -> None:
    disk = HookedDisk()
    writer = open_writer(tmp_path, disk=disk)
    written = append_blocks(writer, 3)
    head = writer.head

    def fail(called: str, name: str) -> None:
        if called == operation:
            raise OSError(errno.EIO, "Input/output error")

    disk.hook = fail
    with pytest.raises(LogBroken, match="Input/output error"):
        writer.append(b"lost", 1, 1, 1)
    disk.hook = lambda called, name: None
    calls = len(disk.calls)
    for _ in range(2):
        with pytest.raises(LogBroken, match="Input/output error"):
            writer.append(b"never", 1, 1, 1)
    with pytest.raises(LogBroken):
        writer.seal_if_due()
    assert len(disk.calls) == calls, "the descriptor was touched again"
    assert writer.head == head
    assert "Input/output error" in writer.statistics().broken
    assert [as_written(block) for block in read_all(tmp_path)[0]] == written
    writer.close()


@pytest.mark.parametrize("operation", ["pwritev", "fdatasync"])
@pytest.mark.parametrize("block_count", [0, 3])
def test_a_write_or_sync_that_fails_once_goes_on_in_a_new_segment(
    tmp_path: Path, operation: str, block_count: int
) -> None:
    """Never again in the segment that failed; what was acknowledged of it is proved from the disk first."""
    disk = HookedDisk()
    writer = open_writer(tmp_path, disk=disk)
    written = append_blocks(writer, block_count)
    failed = next(tmp_path.glob("*.open"))
    before = failed.read_bytes()
    fail_once(disk, operation)
    calls = len(disk.calls)
    written += append_blocks(writer, 3, seed=5)
    after = disk.calls[calls:]
    touched = [called for called, name in after if name == failed.name]
    if block_count:
        # Opened again to be read past the page cache, and nothing else.
        assert (
            touched[: 1 + (operation == "fdatasync")]
            == ["pwritev", "fdatasync"][: 1 + (operation == "fdatasync")]
        )
        assert set(touched[1 + (operation == "fdatasync") :]) <= {"open", "open_direct", "pread_direct"}
        assert "pread_direct" in touched or "open_direct" in touched
        assert failed.read_bytes()[: len(before) // 2] != b""
        assert len(list(tmp_path.glob("*.open"))) == 2
    statistics = writer.statistics()
    assert (statistics.write_failures_total, statistics.broken) == (1, "")
    assert "Input/output error" in statistics.last_write_failure
    assert [as_written(block) for block in read_all(tmp_path)[0]] == written
    writer.close()
    assert verify(tmp_path).ok
    writer = open_writer(tmp_path)
    assert writer.wait_idle(10)
    assert not writer.statistics().damaged
    written += append_blocks(writer, 2, seed=9)
    writer.close()
    assert [as_written(block) for block in read_all(tmp_path)[0]] == written
    report = verify(tmp_path)
    assert report.ok
    assert all(segment.sealed for segment in report.segments[:-1])


def fail_once(disk: HookedDisk, operation: str) -> None:
    def fail(called: str, name: str) -> None:
        if called == operation and threading.current_thread().name != "log-upkeep":
            disk.hook = lambda called, name: None
            raise OSError(errno.EIO, "Input/output error")

    disk.hook = fail


def test_a_second_failure_soon_after_ends_the_writer_and_a_late_one_does_not(tmp_path: Path) -> None:
    clock, disk = ManualClock(), HookedDisk()
    writer = open_writer(tmp_path, clock=clock, disk=disk)
    written = append_blocks(writer, 2)
    fail_once(disk, "fdatasync")
    written += append_blocks(writer, 1, seed=2)
    clock.advance(WRITE_FAILURE_APART_MS_MIN)
    fail_once(disk, "fdatasync")
    written += append_blocks(writer, 1, seed=3)
    clock.advance(WRITE_FAILURE_APART_MS_MIN - 1)
    fail_once(disk, "fdatasync")
    with pytest.raises(LogBroken, match="second failure within 600 s"):
        writer.append(b"lost", 1, 1, 1)
    writer.close()
    assert [as_written(block) for block in read_all(tmp_path)[0]] == written


def test_nothing_is_acknowledged_when_the_proof_fails(tmp_path: Path) -> None:
    """The failed sync took an acknowledged page with it: the writer ends, and says which records."""
    disk = HookedDisk()
    writer = open_writer(tmp_path, disk=disk)
    append_blocks(writer, 3)
    failed = next(tmp_path.glob("*.open"))

    def rot(called: str, name: str) -> None:
        if called == "fdatasync":
            disk.hook = lambda called, name: None
            with failed.open("r+b") as file:
                file.seek(2 * 4096)
                file.write(b"rotten")
            raise OSError(errno.EIO, "Input/output error")

    disk.hook = rot
    with pytest.raises(LogBroken, match="Acknowledged records from"):
        writer.append(b"lost", 1, 1, 1)
    assert "Acknowledged records from" in writer.statistics().broken
    writer.close()


def test_a_full_disk_refuses_and_then_goes_on_by_itself(tmp_path: Path) -> None:
    disk = HookedDisk()

    def full(called: str, name: str) -> None:
        if called == "allocate":
            raise OSError(errno.ENOSPC, "No space left on device")

    writer = open_writer(tmp_path, disk=disk)
    disk.hook = full
    written = []
    while writer.head.offset + 12_288 <= 64 * 1024:
        written += append_blocks(writer, 1, seed=writer.head.next_seq)
    for _ in range(2):
        with pytest.raises(LogFull):
            writer.append(random.Random(1).randbytes(20_000), 1, 1, 1)
    assert writer.wait_idle(10)
    assert writer.statistics().upkeep_failures_total == 1, "the spare could not be made ahead"
    disk.hook = lambda called, name: None
    written += append_blocks(writer, 20)
    writer.close()
    assert [as_written(block) for block in read_all(tmp_path)[0]] == written
    assert verify(tmp_path).ok


def test_it_opens_on_a_full_disk_and_appends_when_there_is_room(tmp_path: Path) -> None:
    disk = HookedDisk()

    def full(called: str, name: str) -> None:
        if called == "allocate":
            raise OSError(errno.ENOSPC, "No space left on device")

    disk.hook = full
    writer = open_writer(tmp_path, disk=disk)
    with pytest.raises(LogFull):
        writer.append(b"x", 1, 1, 1)
    reader = LogReader(tmp_path)
    assert reader.read(1) == []
    disk.hook = lambda called, name: None
    writer.append(b"x", 1, 1, 1)
    assert reader.read(1)[0].body == b"x"
    reader.close()
    writer.close()


@pytest.mark.parametrize("failing", ["rename", "fsync_directory", "allocate", "fdatasync"])
def test_a_disk_that_fails_while_a_segment_begins_breaks_the_writer(tmp_path: Path, failing: str) -> None:
    disk = HookedDisk()
    writer = open_writer(tmp_path, disk=disk)

    def fail(called: str, name: str) -> None:
        if called == failing and threading.current_thread().name != "log-upkeep":
            raise OSError(errno.EIO, "Input/output error")

    written = append_blocks(writer, 3)
    disk.hook = fail
    with pytest.raises(LogBroken):
        writer.append(b"x" * 70_000, 1, 1, 1)
    disk.hook = lambda called, name: None
    writer.close()
    writer = open_writer(tmp_path)
    assert [as_written(block) for block in read_all(tmp_path)[0]] == written
    assert not writer.statistics().damaged
    append_blocks(writer, 30)
    writer.close()
    assert verify(tmp_path).ok


def test_a_segment_that_could_not_be_sealed_is_sealed_at_the_next_start(tmp_path: Path) -> None:
    disk = HookedDisk()

    def fail(called: str, name: str) -> None:
        if called == "fsync" and name.endswith(".open"):
            raise OSError(errno.EIO, "Input/output error")

    writer = open_writer(tmp_path, disk=disk)
    disk.hook = fail
    append_blocks(writer, 40)
    writer.close()
    assert writer.statistics().upkeep_failures_total >= 2
    assert "Input/output error" in writer.statistics().last_upkeep_failure
    assert not [name for name in segments(tmp_path) if name.endswith(".seg")]
    writer = open_writer(tmp_path)
    assert writer.wait_idle(10)
    *sealed, _ = segments(tmp_path)
    assert all(name.endswith(".seg") for name in sealed)
    writer.close()
    assert verify(tmp_path).ok


def test_an_open_that_fails_says_so_and_lets_the_lock_go(tmp_path: Path) -> None:
    open_writer(tmp_path).close()
    disk = HookedDisk()

    def fail(called: str, name: str) -> None:
        if called == "pread_direct":
            raise OSError(errno.EIO, "Input/output error")

    disk.hook = fail
    with pytest.raises(LogBroken, match="can't be opened"):
        open_writer(tmp_path, disk=disk)
    open_writer(tmp_path).close()


def _hold(directory: Path, pipe: Connection) -> None:
    writer = open_writer(directory)
    pipe.send("open")
    pipe.recv()
    writer.close()
    pipe.send("closed")


def test_a_second_process_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    other = context.Process(target=_hold, args=(tmp_path, theirs))
    other.start()
    assert ours.poll(30)
    assert ours.recv() == "open"
    with pytest.raises(LogLocked, match="Another process") as caught:
        open_writer(tmp_path)
    assert "Stop the other" in caught.value.hint
    ours.send("close")
    assert ours.poll(30)
    assert ours.recv() == "closed"
    other.join(30)
    assert other.exitcode == 0
    open_writer(tmp_path).close()
