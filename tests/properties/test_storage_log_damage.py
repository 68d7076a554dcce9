"""Any flipped bit and any truncation: nothing wrong is ever given out, and no more is lost than was hit.

Invariants checked: every block a reader gives out is one that was acknowledged, byte for byte; the ranges it
refuses hold every other acknowledged block; damage in one frame costs that frame alone; a tail is cut only if no
evidence says that it was acknowledged; after recovery the log goes on and never uses an acknowledged sequence again.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from storage.log.verify import verify
from tests.sampling import examples
from tests.storage_log_kit import Written, append_blocks, as_written, open_writer, read_all

SETTINGS = settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Original:
    """A log that was written without any accident. No dataclass: hypothesis would print all of it.

    Args:
        frames: Segment name → (offset, end without padding, first_seq) of each frame.
    """

    def __init__(
        self, directory: Path, written: list[Written], frames: dict[str, list[tuple[int, int, int]]]
    ) -> None:
        self.directory = directory
        self.written = written
        self.frames = frames


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    directory = tmp_path_factory.mktemp("original")
    writer = open_writer(directory)
    written = append_blocks(writer, 34, seed=5)
    assert writer.wait_idle(10)
    frames: dict[str, list[tuple[int, int, int]]] = {}
    writer.close()
    for path in directory.glob("*-*"):
        data = path.read_bytes()
        at, found = 4096, []
        while data[at : at + 4] == b"HPFR":
            stored = int.from_bytes(data[at + 12 : at + 16], "little")
            seq = int.from_bytes(data[at + 24 : at + 32], "little")
            found.append((at, at + 136 + stored, seq))
            at += -(-(136 + stored) // 4096) * 4096
        frames[path.name] = found
    assert len(frames) >= 3
    assert sum(map(len, frames.values())) == 34
    return Original(directory, written, frames)


def copy_of(original: Original, tmp_path: Path) -> Path:
    copy = Path(tempfile.mkdtemp(dir=tmp_path))
    shutil.copytree(original.directory, copy, dirs_exist_ok=True)
    return copy


def check_reading(original: Original, directory: Path, lost: set[int]) -> None:
    """Exactly the blocks whose first sequence isn't in `lost` are given out."""
    blocks, refused = read_all(directory)
    known = {written.first_seq: written for written in original.written}
    for block in blocks:
        assert known[block.first_seq] == as_written(block)
    assert {block.first_seq for block in blocks} == set(known) - lost
    for seq in lost:
        written = known[seq]
        assert any(first <= seq and written.next_seq <= after for first, after in refused)
    assert sum(after - first for first, after in refused) == sum(known[seq].record_count for seq in lost)


def check_going_on(original: Original, directory: Path, lost: set[int], next_seq: int) -> None:
    """After recovery the log goes on at `next_seq`, and a second recovery finds the same."""
    writer = open_writer(directory)
    assert writer.head.next_seq == next_seq
    more = append_blocks(writer, 12, seed=99)
    assert writer.wait_idle(10)
    writer.close()
    head = writer.head
    writer = open_writer(directory)
    assert writer.head == head
    assert writer.wait_idle(10)
    writer.close()
    blocks, refused = read_all(directory)
    kept = [
        written
        for written in original.written
        if written.first_seq not in lost and written.first_seq < next_seq
    ]
    assert [as_written(block) for block in blocks] == kept + more
    assert bool(refused) == any(seq < next_seq for seq in lost)


def hit(original: Original, name: str, offset: int) -> set[int]:
    return {seq for start, end, seq in original.frames.get(name, []) if start <= offset < end}


@SETTINGS
@given(
    file=st.integers(0, 5),
    place=st.sampled_from(["anywhere", "frame's header", "frame's end"]),
    where=st.integers(0, 2**24),
    bit=st.integers(0, 7),
)
def test_a_flipped_bit_anywhere_costs_at_most_the_frame_it_hits(
    original: Original, tmp_path: Path, file: int, place: str, where: int, bit: int
) -> None:
    directory = copy_of(original, tmp_path)
    files = sorted(path.name for path in directory.iterdir() if path.stat().st_size)
    name = files[file % len(files)]
    path = directory / name
    content = bytearray(path.read_bytes())
    frames = original.frames.get(name, [])
    offset = where % len(content)
    if place != "anywhere" and frames:
        start, end, _ = frames[where % len(frames)]
        offset = start + where % 100 if place == "frame's header" else end - 1 - where % 8
    content[offset] ^= 1 << bit
    path.chmod(0o600)
    path.write_bytes(content)
    lost = hit(original, name, offset)
    end = original.written[-1].next_seq
    if name != "head":
        check_reading(original, directory, lost)
    report = verify(directory)
    if name not in ("head", "manifest") and not (
        name.endswith(".open") and _is_after_head(original, name, offset)
    ):
        assert not report.ok
        assert any(item.segment == name for item in report.damaged)
        assert {item.first_seq for item in report.damaged if item.next_seq > item.first_seq} == lost
    check_going_on(original, directory, lost, end)


def _is_after_head(original: Original, name: str, offset: int) -> bool:
    last = original.frames[name][-1][1] if original.frames[name] else 4096
    return offset >= -(-last // 4096) * 4096


@SETTINGS
@given(data=st.data())
def test_a_flipped_bit_in_the_last_segment_without_a_head_file(
    original: Original, tmp_path: Path, data: st.DataObject
) -> None:
    """The head file's promise is gone with it: the last frame is then a torn tail, any other is damage."""
    directory = copy_of(original, tmp_path)
    (directory / "head").unlink()
    name = sorted(original.frames)[-1]
    frames = original.frames[name]
    start, end, seq = data.draw(st.sampled_from(frames), label="frame")
    offset = data.draw(st.integers(start, end - 1), label="offset")
    content = bytearray((directory / name).read_bytes())
    content[offset] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    (directory / name).write_bytes(content)
    last = seq == frames[-1][2]
    writer = open_writer(directory)
    assert bool(writer.recovery.torn_bytes) == last
    assert bool(writer.recovery.damaged) == (not last)
    if last:
        kept = (directory / writer.recovery.torn_file).read_bytes()
        assert kept == content[start : start + len(kept)]
        assert len(kept) >= end - start
    writer.close()
    check_going_on(original, directory, {seq}, seq if last else original.written[-1].next_seq)


@SETTINGS
@example(cut=0, with_head=True)
@example(cut=0, with_head=False)
@example(cut=4096, with_head=True)
@example(cut=4096, with_head=False)
@given(cut=st.integers(0, 65_536), with_head=st.booleans())
def test_a_truncated_last_segment(original: Original, tmp_path: Path, cut: int, with_head: bool) -> None:
    directory = copy_of(original, tmp_path)
    name = sorted(original.frames)[-1]
    content = (directory / name).read_bytes()
    (directory / name).write_bytes(content[:cut])
    lost = {seq for _, end, seq in original.frames[name] if end > cut}
    if cut < 512:  # no copy of the header is whole: nothing says what the pages are
        lost = {seq for _, _, seq in original.frames[name]}
    if with_head:
        check_reading(original, directory, lost)
        next_seq = original.written[-1].next_seq
    else:
        (directory / "head").unlink()
        next_seq = min(lost, default=original.written[-1].next_seq)
    check_going_on(original, directory, lost, next_seq)


@SETTINGS
@given(data=st.data())
def test_a_truncated_sealed_segment(original: Original, tmp_path: Path, data: st.DataObject) -> None:
    directory = copy_of(original, tmp_path)
    name = data.draw(st.sampled_from(sorted(original.frames)[:-1]), label="segment")
    path = directory / name
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content) - 1), label="cut")
    path.chmod(0o600)
    path.write_bytes(content[:cut])
    lost = {seq for _, end, seq in original.frames[name] if end > cut}
    if cut < 512:
        lost = {seq for _, _, seq in original.frames[name]}
    check_reading(original, directory, lost)
    assert not verify(directory).ok
    check_going_on(original, directory, lost, original.written[-1].next_seq)


def test_a_lost_header_loses_no_record(original: Original, tmp_path: Path) -> None:
    """Both copies gone: the frames are proved by their hashes, which don't need the salt."""
    for name in sorted(original.frames):
        directory = copy_of(original, tmp_path)
        path = directory / name
        content = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(bytes(4096) + content[4096:])
        check_reading(original, directory, set())
        assert not verify(directory).ok
        check_going_on(original, directory, set(), original.written[-1].next_seq)


def test_a_missing_segment_is_a_range_that_is_refused(original: Original, tmp_path: Path) -> None:
    for name in sorted(original.frames)[1:-1]:
        directory = copy_of(original, tmp_path)
        (directory / name).unlink()
        lost = {seq for _, _, seq in original.frames[name]}
        check_reading(original, directory, lost)
        report = verify(directory)
        assert {item.first_seq for item in report.damaged} == {min(lost)}
        check_going_on(original, directory, lost, original.written[-1].next_seq)
