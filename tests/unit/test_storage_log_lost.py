"""Records that are marked lost: signed, a gap for every reader, and copied as one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import LimitExceeded, LogDamaged
from appliance.core.limits import MIB
from storage.log import LogReader, LogWriter, OsDisk
from storage.log import lost as lost_module
from storage.log.layout import crc32c
from storage.log.lost import (
    LOST_CODE,
    LostRange,
    decode_lost,
    encode_lost,
    is_lost_signed,
    keep_lost,
    lost_of,
    read_lost,
    sign_lost,
)
from storage.log.names import parse_segment_name
from storage.log.scrub import Scrubber
from storage.log.scrub_state import read_scrub_state
from storage.log.verify import verify
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.errors import Refusal, ReplicaRefused
from storage.replicas.gaps import lost_leaves
from storage.replicas.rotten import RottenFrames, RottenLeaf, rotten_frames, rotten_parts
from tests.replica_kit import KEYS, ORIGIN, carry, next_chunk, open_replica
from tests.rot_kit import flip_frames, newest, scrub
from tests.storage_log_kit import KitSigner, QuickDisk, append_blocks, open_writer


def make(directory: Path, *, blocks: int = 30) -> LogWriter:
    writer = open_writer(directory, segment_bytes=MIB)
    append_blocks(writer, blocks, body_bytes_max=200_000)
    assert writer.wait_idle(60)
    return writer


def statement(frames: RottenFrames, **changed: object) -> LostRange:
    lost = LostRange(
        node_id=ORIGIN.node_id,
        stream=ORIGIN.name,
        epoch=frames.epoch,
        first_seq=frames.first_seq,
        next_seq=frames.next_seq,
        prev_hash=frames.prev_hash,
        end_hash=frames.end_hash,
        by="anna",
        reason="two cards died",
        at_ms=1_000,
    )
    return sign_lost(msgspec.structs.replace(lost, **changed), KitSigner())


def rotten(directory: Path) -> RottenFrames:
    scrub(directory, newest=True)
    (part,) = rotten_parts(OsDisk(), directory)
    if isinstance(part, RottenLeaf):
        (part,) = rotten_frames(OsDisk(), directory, part)
    assert isinstance(part, RottenFrames)
    return part


def read_all(directory: Path) -> tuple[list[int], list[LogDamaged]]:
    """The sequences with which readable blocks begin, and what was said of the others."""
    reader, seqs, errors = LogReader(directory), list[int](), list[LogDamaged]()
    seq, end = reader.first_seq(), reader.head().next_seq
    while seq < end:
        try:
            blocks = reader.read(seq)
        except LogDamaged as error:
            errors.append(error)
            seq = error.next_seq
            continue
        seqs += [block.first_seq for block in blocks]
        seq = blocks[-1].next_seq
    reader.close()
    return seqs, errors


@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_gap_is_gone_on_behind_by_readers_scrubs_and_copies(tmp_path: Path, is_sealed: bool) -> None:
    origin, copy = tmp_path / "origin", tmp_path / "copy"
    writer = make(origin)
    log, source = open_replica(copy), ChunkSource(origin, ORIGIN)
    flip_frames(min(origin.glob("*.seg")) if is_sealed else newest(origin), 1)
    with pytest.raises(LogDamaged):
        carry(source, log)
    stuck = log.head()
    frames = rotten(origin)
    keep_lost(OsDisk(), origin, statement(frames))
    keep_lost(OsDisk(), origin, statement(frames, reason="again"))
    assert len(read_lost(origin)) == 1, "said once"

    seqs, errors = read_all(origin)
    assert (errors[0].first_seq, errors[0].code) == (frames.first_seq, LOST_CODE)
    assert "anna" in str(errors[0])
    assert "two cards died" in str(errors[0])
    report = verify(origin, trusted_keys=KEYS)
    assert report.ok
    assert any("marked lost" in note for note in report.notes)
    scrub(origin, newest=True)
    state = read_scrub_state(origin)
    assert (state.damaged_total, state.now.lost_total) == (0, frames.next_seq - frames.first_seq)
    assert rotten_parts(OsDisk(), origin) == [], "nobody is asked for it any more"

    carry(source, log)
    assert log.head().next_seq == writer.head.next_seq > stuck.next_seq
    assert log.head().hash == writer.head.hash
    assert read_lost(copy) == read_lost(origin)
    assert read_all(copy)[0] == seqs
    assert verify(copy, trusted_keys=KEYS).ok
    # The segment is sealed at the copy as well, and what the copy gives on is the same.
    if is_sealed:
        assert log.head().sealed_seq == source.head().sealed_seq
    third = open_replica(tmp_path / "third")
    carry(ChunkSource(copy, ORIGIN), third)
    assert third.head().is_same_place(log.head())
    log.close()
    third.close()
    again = open_replica(copy)
    assert again.head().is_same_place(third.head()), "it is opened as it was"
    again.close()
    writer.close()
    source.close()


def test_a_segment_that_was_set_aside_is_sealed_around_its_gap(tmp_path: Path) -> None:
    make(tmp_path).close()
    path = newest(tmp_path)
    flip_frames(path, 1)
    writer = open_writer(tmp_path, segment_bytes=MIB)
    append_blocks(writer, 1, seed=3)
    writer.close()
    keep_lost(OsDisk(), tmp_path, statement(rotten(tmp_path)))
    writer = open_writer(tmp_path, segment_bytes=MIB)
    assert writer.wait_idle(60)
    writer.close()
    assert path.with_suffix(".seg").exists()
    assert verify(tmp_path, trusted_keys=KEYS).ok


def test_a_gap_is_refused_where_it_does_not_belong(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    writer = make(origin)
    log, source = open_replica(tmp_path / "copy"), ChunkSource(origin, ORIGIN)
    flip_frames(min(origin.glob("*.seg")), 1)
    with pytest.raises(LogDamaged):
        carry(source, log)
    frames = rotten(origin)
    keep_lost(OsDisk(), origin, statement(frames))
    chunk = next_chunk(source, log.head())
    assert chunk is not None
    assert chunk.lost is not None
    bad = [
        msgspec.structs.replace(chunk, lost=statement(frames, node_id="0" * 32)),
        msgspec.structs.replace(chunk, lost=statement(frames, end_hash=b"x" * 32)),
        msgspec.structs.replace(chunk, lost=msgspec.structs.replace(chunk.lost, by="mallory")),
        msgspec.structs.replace(chunk, lost=msgspec.structs.replace(chunk.lost, key_id=b"short")),
        msgspec.structs.replace(chunk, frames=chunk.frames[:-1]),
        msgspec.structs.replace(chunk, frames=b"x" + chunk.frames[1:]),
    ]
    before = log.head()
    for each in bad:
        with pytest.raises(ReplicaRefused) as refused:
            log.append(each)
        assert refused.value.reason == Refusal.DAMAGED
    assert log.head() == before
    assert lost_of(tmp_path / "copy") == ()
    log.append(chunk)
    assert log.append(chunk) == log.head(), "it came twice"
    log.close()
    writer.close()
    source.close()


def test_a_statement_is_its_signers(tmp_path: Path) -> None:
    made = statement(RottenFrames(1, 1, 5, 9, b"a" * 32, b"b" * 32, 0, 0))
    assert is_lost_signed(made)
    assert not is_lost_signed(msgspec.structs.replace(made, next_seq=10))
    assert not is_lost_signed(msgspec.structs.replace(made, key_id=KitSigner(b"z" * 32).key_id))
    assert decode_lost(encode_lost([made])) == (made,)


def test_a_list_that_is_damaged_is_said_and_counts_for_nothing(tmp_path: Path) -> None:
    made = statement(RottenFrames(1, 1, 5, 9, b"a" * 32, b"b" * 32, 0, 0))
    keep_lost(QuickDisk(), tmp_path, made)
    path = tmp_path / "lost"
    data = path.read_bytes()
    assert decode_lost(b"rubbish") is None
    assert decode_lost(data.replace(b"lost 1 ", b"lost 9 ")) is None
    body = b'[["x"]]\n'
    assert decode_lost(b"homeport log lost 1 %08x\n" % crc32c(0, body) + body) is None
    path.write_bytes(data[:-2])
    with pytest.raises(LogDamaged, match="list of lost records"):
        read_lost(tmp_path)
    with pytest.raises(LogDamaged):
        keep_lost(QuickDisk(), tmp_path, made)
    assert lost_of(tmp_path) == ()


def test_only_so_many_ranges_of_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_module, "LOST_COUNT_MAX", 2)
    for seq in (1, 5):
        keep_lost(
            QuickDisk(), tmp_path, statement(RottenFrames(1, 1, seq, seq + 1, b"a" * 32, b"b" * 32, 0, 0))
        )
    with pytest.raises(LimitExceeded, match="2 ranges"):
        keep_lost(QuickDisk(), tmp_path, statement(RottenFrames(1, 1, 9, 10, b"a" * 32, b"b" * 32, 0, 0)))
    assert len(read_lost(tmp_path)) == 2


def test_leaves_around_other_damage_stay_refused(tmp_path: Path) -> None:
    make(tmp_path).close()
    path = min(tmp_path.glob("*.seg"))
    flip_frames(path, 1)
    frames = rotten(tmp_path)
    keep_lost(OsDisk(), tmp_path, statement(frames))
    name = parse_segment_name(path.name)
    assert name is not None
    disk = OsDisk()
    descriptor = disk.open(path)
    assert lost_leaves(disk, tmp_path, name, descriptor, path.stat().st_size) == {0}
    disk.close(descriptor)
    flip_frames(path, 3)
    descriptor = disk.open(path)
    assert lost_leaves(disk, tmp_path, name, descriptor, path.stat().st_size) == set()
    disk.close(descriptor)
    Scrubber(tmp_path, ManualClock(), interval_ms=1000, pause=lambda seconds: None).run_pass()
    assert read_scrub_state(tmp_path).damaged_total
