"""The reader: where it begins, how far it sees, what it says when it can't."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.core.errors import CursorBeyondHead, CursorExpired, LogDamaged, Unavailable
from storage.log import LogReader, OsDisk
from storage.log.disk import SharedMap
from storage.log.head import HEAD_FILE_BYTES, NOTHING_YET, Slot, read_slot
from storage.log.names import HEAD
from tests.storage_log_kit import HookedDisk, append_blocks, as_written, open_writer, read_all


class OtherBoot(OsDisk):
    """A machine that was started again since."""

    def boot_id(self) -> bytes:
        return b"another boot id!"


def test_a_log_that_is_not_there_yet_is_empty_and_is_found_later(tmp_path: Path) -> None:
    reader = LogReader(tmp_path / "log")
    assert reader.head() is NOTHING_YET
    assert reader.read(1) == []
    assert (reader.first_seq(), reader.seq_at_time(0)) == (1, 1)
    writer = open_writer(tmp_path / "log")
    written = append_blocks(writer, 1)
    assert [as_written(block) for block in reader.read(1)] == written
    reader.close()
    writer.close()


def test_a_head_that_says_the_same_is_not_checked_again_and_a_new_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = open_writer(tmp_path / "log"), LogReader(tmp_path / "log")
    append_blocks(writer, 1)
    checked: list[int] = []

    def counted(mapped: SharedMap, path: Path) -> Slot:
        checked.append(1)
        return read_slot(mapped, path)

    monkeypatch.setattr("storage.log.reader.read_slot", counted)
    assert {reader.head() for _ in range(3)} == {writer.head}
    assert len(checked) == 1
    append_blocks(writer, 1, seed=2)
    assert {reader.head() for _ in range(3)} == {writer.head}
    assert len(checked) == 2
    writer.close()
    (tmp_path / "log" / HEAD).write_bytes(bytes(HEAD_FILE_BYTES))
    with pytest.raises(LogDamaged):
        reader.head()
    reader.close()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), bytes_max=st.sampled_from([1, 5000, 60_000, 4 << 20]))
def test_any_sequence_gives_the_block_that_contains_it_and_what_follows(
    tmp_path_factory: pytest.TempPathFactory, seed: int, bytes_max: int
) -> None:
    directory = tmp_path_factory.mktemp("log")
    writer = open_writer(directory)
    written = append_blocks(writer, 30, seed=seed)
    reader = LogReader(directory)
    for block in written:
        for seq in {block.first_seq, block.next_seq - 1, (block.first_seq + block.next_seq) // 2}:
            if seq >= block.next_seq:
                continue
            got = reader.read(seq, bytes_max=bytes_max)
            at = written.index(block)
            assert [as_written(b) for b in got] == written[at : at + len(got)]
            if bytes_max == 1:
                assert len(got) == 1
    reader.close()
    writer.close()


def test_reading_on_costs_one_pread_for_many_blocks(tmp_path: Path) -> None:
    class Counting(OsDisk):
        preads = 0

        def pread(self, descriptor: int, length: int, offset: int) -> bytes:
            self.preads += 1
            return super().pread(descriptor, length, offset)

    writer = open_writer(tmp_path, segment_bytes=1 << 20)
    append_blocks(writer, 40)
    disk = Counting()
    reader = LogReader(tmp_path, disk=disk)
    first = reader.read(1, bytes_max=1)
    disk.preads = 0
    rest = reader.read(first[-1].next_seq)
    assert len(rest) == 39
    assert disk.preads <= 2
    reader.close()
    writer.close()


def test_it_follows_a_writer_over_rolls_and_seals(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    reader = LogReader(tmp_path)
    seq = 1
    got, written = [], []
    for seed in range(80):
        written += append_blocks(writer, 1, seed=seed)
        if seed % 7 == 0:
            assert writer.wait_idle(10)
        if seed % 3 == 0:
            while blocks := reader.read(seq):
                got += blocks
                seq = blocks[-1].next_seq
    assert seq == reader.head().next_seq == writer.head.next_seq or seed % 3
    got += reader.read(seq)
    assert [as_written(block) for block in got] == written
    reader.close()
    writer.close()


def test_nothing_beyond_the_published_head_is_given_out(tmp_path: Path) -> None:
    disk = HookedDisk()
    writer = open_writer(tmp_path, disk=disk)
    append_blocks(writer, 2)
    reader = LogReader(tmp_path)
    end = reader.head().next_seq
    seen: list[bool] = []

    def look(operation: str, name: str) -> None:
        if operation == "fdatasync":  # the frame is written and not yet synced
            seen.append(reader.read(end) == [] and reader.read(1)[-1].next_seq == end)

    disk.hook = look
    writer.append(b"x", 1, 1, 1)
    assert seen == [True]
    assert reader.read(end)[0].body == b"x"
    reader.close()
    writer.close()


def test_a_cursor_beyond_the_head_is_said(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    append_blocks(writer, 1)
    end = writer.head.next_seq
    reader = LogReader(tmp_path)
    assert reader.read(end) == []
    with pytest.raises(CursorBeyondHead):
        reader.read(end + 1)
    reader.close()
    early = LogReader(tmp_path, disk=OtherBoot())
    with pytest.raises(Unavailable, match="not opened by its writer") as caught:
        early.read(end + 1)
    assert caught.value.code == "log_not_recovered"
    assert early.read(1)
    early.close()
    writer.close()


def test_what_was_removed_is_said(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    append_blocks(writer, 40)
    assert writer.wait_idle(10)
    reader = LogReader(tmp_path)
    stale = LogReader(tmp_path)
    assert stale.first_seq() == 1
    oldest, second = sorted(tmp_path.glob("*.seg"))[:2]
    oldest.unlink()
    first = int(second.name[9:29])
    assert reader.first_seq() == first
    for each in (reader, stale):
        with pytest.raises(CursorExpired, match=f"oldest is {first}"):
            each.read(1)
        assert each.read(first)[0].first_seq == first
        each.close()
    writer.close()


def test_many_segments_need_few_descriptors(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, segment_bytes=16 * 1024)
    append_blocks(writer, 40)
    reader = LogReader(tmp_path)
    for seq in range(1, writer.head.next_seq):
        assert reader.read(seq, bytes_max=1)[0].first_seq <= seq
    assert len(reader._open) <= 8
    reader.close()
    writer.close()


@settings(max_examples=25, deadline=None)
@given(
    times=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 20)), min_size=1, max_size=25),
    wanted=st.integers(0, 130),
    manifest=st.booleans(),
)
def test_the_first_block_at_or_after_a_time_whatever_the_clock_did(
    tmp_path_factory: pytest.TempPathFactory, times: list[tuple[int, int]], wanted: int, manifest: bool
) -> None:
    directory = tmp_path_factory.mktemp("log")
    writer = open_writer(directory, segment_bytes=16 * 1024)
    firsts = []
    for start, length in times:
        firsts.append(writer.head.next_seq)
        writer.append(b"x" * 3000, 2, start, start + length)
    writer.wait_idle(10)
    writer.close()
    if not manifest:
        (directory / "manifest").unlink(missing_ok=True)
    expected = next(
        (f for f, (start, length) in zip(firsts, times, strict=True) if start + length >= wanted), None
    )
    reader = LogReader(directory)
    assert reader.seq_at_time(wanted) == (expected or writer.head.next_seq)
    reader.close()


def test_a_damaged_head_file_is_said_and_mended_by_the_writer(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    append_blocks(writer, 3)
    writer.close()
    (tmp_path / "head").write_bytes(b"\xff" * 4096)
    reader = LogReader(tmp_path)
    with pytest.raises(LogDamaged):
        reader.read(1)
    open_writer(tmp_path).close()
    assert len(reader.read(1)) == 3
    reader.close()
    (tmp_path / "head").write_bytes(b"")
    assert LogReader(tmp_path).head() is NOTHING_YET
    open_writer(tmp_path).close()
    assert len(read_all(tmp_path)[0]) == 3


def test_another_process_reads_what_is_being_written(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from storage.log import LogReader\n"
        "reader = LogReader(Path(sys.argv[1])); seq = 1\n"
        "for line in sys.stdin:\n"
        "    while blocks := reader.read(seq): seq = blocks[-1].next_seq\n"
        "    print(seq, flush=True)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        writer = open_writer(tmp_path)
        for seed in range(30):
            append_blocks(writer, 2, seed=seed)
            process.stdin.write("\n")
            process.stdin.flush()
            assert int(process.stdout.readline()) == writer.head.next_seq
        writer.close()
        process.stdin.close()
        assert process.wait(30) == 0
