"""A rotten leaf is mended from any holder's bytes when the footer says so, as a whole or not at all."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import LogBroken, LogDamaged
from appliance.core.limits import LEAF_BYTES, MIB
from storage.log import LogReader, OsDisk
from storage.log.footer import decode_footer, encode_footer, signed_bytes, with_signature
from storage.log.rewriting import MENDED
from storage.log.scrub import Scrubber
from storage.log.segment_header import decode_segment_header, encode_segment_header
from storage.log.verify import verify
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.giving import part_of_segment
from storage.replicas.mending import mend, mend_leaf
from storage.replicas.rotten import (
    PART_COUNT_MAX,
    RottenFrames,
    RottenLeaf,
    RottenPage,
    rotten_frames,
    rotten_parts,
)
from tests.replica_kit import KEYS, ORIGIN, carry, open_replica, segments_of
from tests.rot_kit import flip_frames, flip_header, newest, whole_bytes
from tests.storage_log_kit import HookedDisk, KitSigner, append_blocks, open_writer

LEAF = RottenLeaf(1, 1, 1)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A log with a sealed segment of three leaves, and a copy of it."""
    writer = open_writer(tmp_path / "origin", segment_bytes=3 * MIB)
    append_blocks(writer, 40, body_bytes_max=300_000)
    assert writer.wait_idle(10)
    writer.close()
    source, log = ChunkSource(tmp_path / "origin", ORIGIN), open_replica(tmp_path / "copy")
    carry(source, log)
    log.close()
    source.close()
    return tmp_path / "origin", tmp_path / "copy"


def spoil(directory: Path, *offsets: int) -> Path:
    path = min(directory.glob("*.seg"))
    data = bytearray(path.read_bytes())
    for offset in offsets:
        data[offset] ^= 4
    path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(0o400)
    return path


def scrub(directory: Path) -> None:
    Scrubber(directory, ManualClock(), interval_ms=1000, pause=lambda seconds: None).run_pass()


def leaf_of(directory: Path, number: int = 1) -> bytes:
    source = ChunkSource(directory, ORIGIN)
    try:
        data = source.leaf(1, 1, number)
        assert isinstance(data, bytes)
        return data
    finally:
        source.close()


@pytest.mark.parametrize("side", [0, 1])
def test_what_a_scrub_found_is_mended_from_the_other(pair: tuple[Path, Path], side: int) -> None:
    ours, theirs = pair[side], pair[1 - side]
    spoil(ours, 100, LEAF_BYTES + 500, LEAF_BYTES + 90_000)
    disk = OsDisk()
    assert rotten_parts(disk, ours) == []
    scrub(ours)
    found = rotten_parts(disk, ours)
    assert found == [RottenLeaf(1, 1, 0), LEAF]
    for leaf in found:
        assert isinstance(leaf, RottenLeaf)
        assert mend_leaf(disk, ours, leaf, leaf_of(theirs, leaf.number)) == ""
    assert rotten_parts(disk, ours) == []
    assert segments_of(ours) == segments_of(theirs)
    assert verify(ours, trusted_keys=KEYS).ok
    assert min(ours.glob("*.seg")).stat().st_mode & 0o777 == 0o400
    assert not (ours / MENDED).exists()


def test_the_last_leaf_is_mended_and_the_footer_stays(pair: tuple[Path, Path]) -> None:
    ours, theirs = pair
    last = len(min(ours.glob("*.seg")).read_bytes()) // LEAF_BYTES
    spoil(ours, last * LEAF_BYTES + 10)
    assert mend_leaf(OsDisk(), ours, RottenLeaf(1, 1, last), leaf_of(theirs, last)) == ""
    assert segments_of(ours) == segments_of(theirs)


def test_bytes_that_were_not_sealed_are_refused(pair: tuple[Path, Path]) -> None:
    ours, theirs = pair
    path = spoil(ours, LEAF_BYTES + 500)
    before = path.read_bytes()
    good = leaf_of(theirs)
    for bad in (good[:-1], b"", good[:500] + b"x" + good[501:], leaf_of(theirs, 0)):
        assert "not the bytes of leaf 1" in mend_leaf(OsDisk(), ours, LEAF, bad)
    assert "not the bytes" in mend_leaf(OsDisk(), ours, RottenLeaf(1, 1, 99), good)
    assert "not here" in mend_leaf(OsDisk(), ours, RottenLeaf(3, 1, 1), good)
    assert path.read_bytes() == before


def test_a_rotten_footer_mends_nothing(pair: tuple[Path, Path]) -> None:
    ours, theirs = pair
    size = min(ours.glob("*.seg")).stat().st_size
    spoil(ours, LEAF_BYTES + 500, size - 2000)
    assert "footer" in mend_leaf(OsDisk(), ours, LEAF, leaf_of(theirs))


@pytest.mark.parametrize("operation", ["allocate", "pwritev", "fsync", "rename"])
def test_a_disk_that_fails_leaves_the_segment_as_it_was(pair: tuple[Path, Path], operation: str) -> None:
    ours, theirs = pair
    path = spoil(ours, LEAF_BYTES + 500)
    before, good, disk = path.read_bytes(), leaf_of(theirs), HookedDisk()

    def hook(called: str, name: str) -> None:
        if called == operation:
            raise OSError(errno.ENOSPC, "no space left on device")

    disk.hook = hook
    with pytest.raises(OSError, match="no space"):
        mend_leaf(disk, ours, LEAF, good)
    assert path.read_bytes() == before
    assert not (ours / MENDED).exists()
    (ours / MENDED).write_bytes(b"left by a crash")
    (ours / MENDED).chmod(0o400)
    assert mend_leaf(OsDisk(), ours, LEAF, good) == ""
    assert segments_of(ours) == segments_of(theirs)


def test_a_reader_has_the_records_again_once_they_are_mended(pair: tuple[Path, Path]) -> None:
    ours, theirs = pair
    spoil(ours, LEAF_BYTES + 500)
    reader, seq, refused = LogReader(ours), 1, 0
    while not refused:
        try:
            seq = reader.read(seq, bytes_max=1)[-1].next_seq
        except LogDamaged as damaged:
            refused = damaged.first_seq
    assert mend_leaf(OsDisk(), ours, LEAF, leaf_of(theirs)) == ""
    assert reader.read(refused)[0].first_seq == refused
    reader.close()


def test_only_so_many_leaves_are_wanted_at_once(pair: tuple[Path, Path]) -> None:
    assert PART_COUNT_MAX * LEAF_BYTES == 256 * MIB


def test_a_copy_without_its_header_goes_on_once_that_is_mended(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "origin", segment_bytes=3 * MIB)
    append_blocks(writer, 5)
    copy, source = tmp_path / "copy", ChunkSource(tmp_path / "origin", ORIGIN)
    log = open_replica(copy)
    carry(source, log)
    log.close()
    flip_header(newest(copy), 2)
    append_blocks(writer, 3, seed=2)
    log = open_replica(copy)
    assert newest(copy).name.endswith(".damaged")
    before = log.head()
    with pytest.raises(LogBroken, match="header"):
        carry(source, log)
    log.close()
    log = open_replica(copy)
    assert log.head().place == before.place, "nothing was lost"
    log.close()
    part = RottenPage(1, 1, "header")
    data = part_of_segment(source, (1, 1), "header")
    assert isinstance(data, bytes)
    assert "not whole" in mend(OsDisk(), copy, part, data[:-1])
    assert "another segment" in mend(OsDisk(), copy, part, page_of(data, first_seq=7))
    assert "no frame" in mend(OsDisk(), copy, part, page_of(data, salt=1))
    assert mend(OsDisk(), copy, part, data) == ""
    assert mend(OsDisk(), copy, part, data) == "", "it is there"
    log = open_replica(copy)
    assert newest(copy).name.endswith(".open")
    carry(source, log)
    log.close()
    writer.close()
    source.close()
    assert whole_bytes(copy) == whole_bytes(tmp_path / "origin")


def page_of(data: bytes, **changed: int) -> bytes:
    """A header's page of which something is said otherwise."""
    header = decode_segment_header(data)
    assert header is not None
    return encode_segment_header(replace(header, **changed))  # type: ignore[arg-type]


def test_frames_of_another_history_are_refused(pair: tuple[Path, Path]) -> None:
    ours, theirs = pair
    path = min(ours.glob("*.seg"))
    flip_frames(path, 1)
    scrub(ours)
    (leaf,) = rotten_parts(OsDisk(), ours)
    assert isinstance(leaf, RottenLeaf)
    (frames,) = rotten_frames(OsDisk(), ours, leaf)
    assert isinstance(frames, RottenFrames)
    source = ChunkSource(theirs, ORIGIN)
    place = {"next_seq": frames.first_seq, "frame_hash": frames.prev_hash, "upto_seq": frames.next_seq}
    good = part_of_segment(source, (1, 1), "frames", **place)  # type: ignore[arg-type]
    other = {**place, "frame_hash": b"x" * 32}
    assert part_of_segment(source, (1, 1), "frames", **other) is None  # type: ignore[arg-type]
    assert part_of_segment(source, (9, 1), "header") is None
    source.close()
    assert isinstance(good, bytes)
    disk, before = OsDisk(), path.read_bytes()
    assert mend(disk, ours, frames, good[:-4096])
    assert mend(disk, ours, frames, good[:200] + b"x" + good[201:])
    assert "not the records" in mend(disk, ours, replace(frames, end_hash=b"y" * 32), good)
    assert "nothing says" in mend(disk, ours, replace(frames, end_hash=b""), good)
    assert "another size" in mend(disk, ours, replace(frames, end_offset=frames.end_offset + 4096), good)
    assert path.read_bytes() == before
    assert mend(disk, ours, frames, good) == ""
    assert segments_of(ours) == segments_of(theirs)
    assert rotten_parts(disk, ours) == []


def test_a_footer_that_another_key_signed_is_refused(pair: tuple[Path, Path]) -> None:
    ours, theirs = pair
    spoil(ours, min(ours.glob("*.seg")).stat().st_size - 2000)
    scrub(ours)
    (part,) = rotten_parts(OsDisk(), ours)
    assert isinstance(part, RottenPage)
    source = ChunkSource(theirs, ORIGIN)
    data = part_of_segment(source, (1, 1), "footer")
    source.close()
    assert isinstance(data, bytes)
    footer = decode_footer(data)
    assert footer is not None
    stranger = KitSigner(b"z" * 32)
    forged = with_signature(replace(footer, leaves=(b"l" * 32, *footer.leaves[1:])), stranger.key_id, b"")
    signed = encode_footer(with_signature(forged, stranger.key_id, stranger.sign(signed_bytes(forged))))
    assert "hashes" in mend(OsDisk(), ours, part, signed)
    assert "somewhere else" in mend(OsDisk(), ours, replace(part, end_seq=part.end_seq + 1), data)
    assert "not whole" in mend(OsDisk(), ours, part, data[:-1])
    assert mend(OsDisk(), ours, part, data) == ""
    assert mend(OsDisk(), ours, part, data) == "", "it is there"
    assert segments_of(ours) == segments_of(theirs)
