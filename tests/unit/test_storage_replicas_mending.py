"""A rotten leaf is mended from any holder's bytes when the footer says so, as a whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import LogDamaged
from appliance.core.limits import LEAF_BYTES, MIB
from storage.log import LogReader, OsDisk
from storage.log.rewriting import MENDED
from storage.log.scrub import Scrubber
from storage.log.verify import verify
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.mending import mend_leaf
from storage.replicas.rotten import PART_COUNT_MAX, RottenLeaf, rotten_parts
from tests.replica_kit import KEYS, ORIGIN, carry, open_replica, segments_of
from tests.storage_log_kit import HookedDisk, append_blocks, open_writer

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
        assert data is not None
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
