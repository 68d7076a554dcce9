"""What is restored out of a region is what its writer wrote, with segments that are sealed by it, whenever they were sealed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import trio

from replication.effects import Place
from replication.tier.envelope import open_piece, seal_piece
from replication.tier.keys import SiteTierKeys
from replication.tier.local_pieces import LocalPieces
from replication.tier.region_calls import RegionCalls
from replication.tier.source import TierSource
from replication.tier.steps import EMPTY, Nothing, Ship, Shipped
from storage.log import LogWriter
from storage.replicas.streams import Chunk, SealedEnd
from tests.replica_kit import ORIGIN, open_replica
from tests.storage_log_kit import append_blocks, open_writer
from tests.tier_kit import MemoryTier
from tests.unit.test_replication_tier_region_calls import end_of

KEYS = SiteTierKeys(lambda label: label.encode().ljust(32, b"."), 1)


def sealed_in(folder: Path) -> dict[str, bytes]:
    """The sealed segments of a log, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".seg"}


@dataclass
class Shipping:
    """A log whose records go into a region one by one, so that no segment is sealed when its last frame is shipped."""

    writer: LogWriter
    calls: RegionCalls
    place: Place = EMPTY

    async def ship(self, bytes_max: int = 1_000_000) -> None:
        while True:
            step = Ship(number=1, region="eu", stream=ORIGIN, place=self.place, bytes_max=bytes_max)
            outcome = await self.calls.ship(step)
            if isinstance(outcome, Nothing):
                return
            assert isinstance(outcome, Shipped)
            self.place = end_of(outcome.name)


async def shipped(folder: Path, tier: MemoryTier) -> dict[str, bytes]:
    """Ships a log as it grows; gives its sealed segments."""
    writer = open_writer(folder)
    local = LocalPieces.in_files(lambda stream: folder)
    async with tier.open() as engine:
        calls = RegionCalls(engine, local, KEYS, trio.CapacityLimiter(1), lambda name: None)
        shipping = Shipping(writer, calls)
        for number in range(40):
            append_blocks(writer, 1, seed=number)
            assert writer.wait_idle(60)
            await shipping.ship()
    local.close()
    writer.close()
    return sealed_in(folder)


async def test_segments_sealed_after_their_last_frame_was_shipped_are_restored_byte_for_byte(
    tmp_path: Path,
) -> None:
    tier = MemoryTier()
    originals = await shipped(tmp_path / "own", tier)
    pieces = [open_piece(data, KEYS.opening(ORIGIN)) for data in tier.data.values()]
    late = [piece.end_before for piece in pieces if piece.end_before is not None]
    assert len(late) >= 2
    assert not any(piece.footer for piece in pieces)  # else there is nothing to be seen here
    log = open_replica(tmp_path / "copy")
    async with tier.open() as engine:
        head = await TierSource("eu", engine, KEYS).copy(ORIGIN, log)
    assert head.next_seq == pieces[-1].next_seq
    restored = sealed_in(tmp_path / "copy")
    assert len(restored) == len(late)
    assert all(originals[name] == data for name, data in restored.items())
    log.close()


@pytest.mark.parametrize("footer", [None, b"no footer of anybody"])
async def test_pieces_without_the_end_before_or_with_one_that_does_not_fit_are_restored_all_the_same(
    tmp_path: Path, footer: bytes | None
) -> None:
    tier = MemoryTier()
    await shipped(tmp_path / "own", tier)
    for key, data in tier.data.items():
        chunk = open_piece(data, KEYS.opening(ORIGIN))
        end = chunk.end_before
        if end is not None:
            other = None if footer is None else SealedEnd(end.epoch, end.segment_first_seq, footer)
            tier.data[key] = seal_piece(msgspec.structs.replace(chunk, end_before=other), None, 0).data
    log = open_replica(tmp_path / "copy")
    async with tier.open() as engine:
        head = await TierSource("eu", engine, KEYS).copy(ORIGIN, log)
    assert head.place == max((name.epoch, name.next_seq) for name in tier.of_epoch[ORIGIN, 1])
    assert not sealed_in(tmp_path / "copy")
    log.close()


def test_a_reader_that_knows_of_no_end_before_reads_the_piece() -> None:
    end = SealedEnd(1, 1, b"footer")
    chunk = Chunk(ORIGIN, 1, 9, b"p" * 4096, 9, b"h" * 32, 12, b"i" * 32, 5, b"frames", None, None, end)
    words = msgspec.msgpack.decode(msgspec.msgpack.encode(chunk))
    assert msgspec.convert(words[:-1], Chunk) == msgspec.structs.replace(chunk, end_before=None)
    before = chunk.before()
    assert before is not None
    assert (before.epoch, before.segment_first_seq, before.next_seq, before.footer) == (1, 1, 9, b"footer")
    assert msgspec.structs.replace(chunk, end_before=None).before() is None
