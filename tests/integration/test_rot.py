"""Every place in which bytes of a log or of a copy may flip: found, never given out, and had again (the table of storage/replicas/DESIGN.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from appliance.core.clock import SystemClock
from appliance.core.errors import LogDamaged
from replication import mender
from storage.log import LogReader
from storage.log.verify import verify
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.rotten import RottenFrames, RottenPage
from storage.replicas.streams import Chunk, StreamId
from tests.fleet_kit import until
from tests.replicator_kit import Box, join, part, set_fleet
from tests.rot_kit import flip, flip_frames, flip_header, flip_padding, newest, scrub, whole_bytes
from tests.storage_log_kit import append_blocks

Spoil = Callable[[Path], None]
SEGMENT_BYTES = 1024 * 1024


def sealed(spoil: Callable[[Path], None]) -> Spoil:
    return lambda directory: spoil(min(directory.glob("*.seg")))


def unsealed(spoil: Callable[[Path], None]) -> Spoil:
    return lambda directory: spoil(newest(directory))


def flip_footer_and_frames(path: Path) -> None:
    flip(path, -2000)
    flip_frames(path, 2)


def flip_headers_and_frame(path: Path) -> None:
    flip_header(path, 2)
    flip_frames(path, 1)


def is_all_there(directory: Path) -> bool:
    """Whether every record of a stream can be read."""
    reader = LogReader(directory)
    try:
        seq, end = reader.first_seq(), reader.head().next_seq
        while seq < end:
            seq = reader.read(seq)[-1].next_seq
    except LogDamaged:
        return False
    finally:
        reader.close()
    return True


@pytest.fixture
async def boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Box, Box]]:
    """One's log has two sealed segments and one that isn't, and two has a copy of it."""
    monkeypatch.setattr(mender, "LOOK_INTERVAL_S", 0.05)
    async with trio.open_nursery() as nursery:
        one, two = Box(1, tmp_path, nursery), Box(2, tmp_path, nursery)
        set_fleet([one, two])
        for box in (one, two):
            await box.start()
        join(one, two)
        writer = one.open_log(segment_bytes=SEGMENT_BYTES)
        append_blocks(writer, 30, body_bytes_max=200_000)
        assert await trio.to_thread.run_sync(writer.wait_idle, 60)
        writer.close()
        await until(partial(is_copied, one, two), within_s=60)
        assert len(list(two.copy_of(one).glob("*.seg"))) >= 2
        assert not newest(two.copy_of(one)).name.endswith(".seg")
        yield one, two
        nursery.cancel_scope.cancel()


def is_copied(one: Box, two: Box) -> bool:
    ours, theirs = (box.replicator.gossip.head(one.stream) for box in (one, two))
    return ours.next_seq > 1 and (ours.place, ours.sealed_seq) == (theirs.place, theirs.sealed_seq)


SEALED_ROWS = [
    pytest.param(sealed(lambda path: flip_frames(path, 0, 3)), id="frames"),
    pytest.param(sealed(lambda path: flip(path, -2000)), id="footer"),
    pytest.param(sealed(lambda path: flip(path, -6)), id="end-of-the-footer"),
    pytest.param(sealed(lambda path: flip_header(path, 1)), id="a-header"),
    pytest.param(sealed(lambda path: flip_header(path, 2)), id="both-headers"),
    pytest.param(sealed(flip_footer_and_frames), id="footer-and-frames"),
]


@pytest.mark.parametrize("spoil", SEALED_ROWS)
@pytest.mark.parametrize("is_copy", [False, True])
async def test_a_sealed_segment_is_mended(boxes: tuple[Box, Box], is_copy: bool, spoil: Spoil) -> None:
    one, two = boxes
    directory = two.copy_of(one) if is_copy else one.root / "log" / "telemetry"
    good = whole_bytes(directory)
    spoil(directory)
    assert not verify(directory).ok
    await trio.to_thread.run_sync(scrub, directory)
    await until(lambda: whole_bytes(directory) == good, within_s=60)
    assert verify(directory).ok


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(unsealed(lambda path: flip_frames(path, 0)), id="first-frame"),
        pytest.param(unsealed(lambda path: flip_frames(path, 1, 2)), id="frames"),
        pytest.param(unsealed(lambda path: flip_frames(path, -1)), id="last-frame"),
        pytest.param(unsealed(lambda path: flip_padding(path, 0)), id="padding"),
        pytest.param(unsealed(lambda path: flip_header(path, 1)), id="a-header"),
        pytest.param(unsealed(lambda path: flip_header(path, 2)), id="both-headers"),
        pytest.param(unsealed(flip_headers_and_frame), id="headers-and-frame"),
    ],
)
async def test_the_newest_segment_of_a_copy_is_mended_and_gone_on_with(
    boxes: tuple[Box, Box], spoil: Spoil
) -> None:
    one, two = boxes
    copy = two.copy_of(one)
    good = whole_bytes(copy)
    spoil(copy)
    await trio.to_thread.run_sync(partial(scrub, copy, newest=True))
    await until(lambda: whole_bytes(copy) == good, within_s=60)
    writer = one.open_log(segment_bytes=SEGMENT_BYTES)
    append_blocks(writer, 12, seed=2, body_bytes_max=200_000)
    assert await trio.to_thread.run_sync(writer.wait_idle, 60)
    writer.close()
    await until(lambda: two.replicator.gossip.head(one.stream).next_seq == writer.head.next_seq, within_s=60)
    assert verify(copy).ok


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(unsealed(lambda path: flip_frames(path, 1)), id="frame"),
        pytest.param(unsealed(lambda path: flip_header(path, 2)), id="both-headers"),
    ],
)
async def test_what_an_own_log_set_aside_is_mended_and_sealed_at_the_next_start(
    boxes: tuple[Box, Box], spoil: Spoil
) -> None:
    one, two = boxes
    log = one.root / "log" / "telemetry"
    spoil(log)
    writer = one.open_log(segment_bytes=SEGMENT_BYTES)
    append_blocks(writer, 2, seed=2)
    writer.close()
    aside = min(log.glob("*.damaged"))
    await trio.to_thread.run_sync(scrub, log)
    await until(lambda: one.replicator.mender.mended_total == 1, within_s=60)
    assert is_all_there(log)
    writer = one.open_log(segment_bytes=SEGMENT_BYTES)
    assert await trio.to_thread.run_sync(writer.wait_idle, 60)
    writer.close()
    assert not aside.exists()
    assert aside.with_suffix(".seg").exists()
    await until(lambda: two.replicator.gossip.head(one.stream).next_seq == writer.head.next_seq, within_s=60)
    assert verify(log).ok
    assert verify(two.copy_of(one)).ok


async def test_what_is_rotten_everywhere_is_said_and_never_given_out(boxes: tuple[Box, Box]) -> None:
    one, two = boxes
    copy = two.copy_of(one)
    for directory in (copy, one.root / "log" / "telemetry"):
        flip_frames(newest(directory), 1)
    await trio.to_thread.run_sync(partial(scrub, copy, newest=True))
    await until(lambda: bool(two.replicator.mender.rotten), within_s=60)
    ((stream, rotten),) = two.replicator.mender.rotten
    assert stream == one.stream
    assert isinstance(rotten, RottenFrames)
    assert not is_all_there(copy)


async def test_a_footer_that_nobody_has_is_made_again_at_the_next_start(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        one = Box(1, tmp_path, nursery)
        log = one.root / "log" / "telemetry"
        writer = one.open_log(segment_bytes=SEGMENT_BYTES)
        append_blocks(writer, 30, body_bytes_max=200_000)
        assert await trio.to_thread.run_sync(writer.wait_idle, 60)
        writer.close()
        before = whole_bytes(log)
        flip(min(log.glob("*.seg")), -2000)
        scrub(log)
        await one.start()
        await until(lambda: bool(one.replicator.mender.rotten), within_s=60)
        assert isinstance(one.replicator.mender.rotten[0][1], RottenPage)
        assert is_all_there(log), "a footer holds no record"
        writer = one.open_log(segment_bytes=SEGMENT_BYTES)
        assert await trio.to_thread.run_sync(writer.wait_idle, 60)
        assert writer.statistics().sealed_total == 1
        writer.close()
        assert verify(log).ok
        assert whole_bytes(log).keys() == before.keys()
        nursery.cancel_scope.cancel()


async def test_a_footer_is_not_made_again_over_damaged_frames(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        one = Box(1, tmp_path, nursery)
        log = one.root / "log" / "telemetry"
        writer = one.open_log(segment_bytes=SEGMENT_BYTES)
        append_blocks(writer, 30, body_bytes_max=200_000)
        assert await trio.to_thread.run_sync(writer.wait_idle, 60)
        writer.close()
        path = min(log.glob("*.seg"))
        flip(path, -2000)
        flip_frames(path, 1)
        scrub(log)
        spoiled = path.read_bytes()
        writer = one.open_log(segment_bytes=SEGMENT_BYTES)
        assert await trio.to_thread.run_sync(writer.wait_idle, 60)
        assert writer.statistics().damaged_ranges >= 1
        writer.close()
        assert path.read_bytes() == spoiled
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_sealed", [False, True])
async def test_frames_that_no_peer_has_come_from_the_cloud(boxes: tuple[Box, Box], is_sealed: bool) -> None:
    one, two = boxes
    copy, log = two.copy_of(one), one.root / "log" / "telemetry"
    asked: list[int] = []

    async def regions(
        stream: StreamId, epoch: int, next_seq: int, frame_hash: bytes, upto_seq: int
    ) -> Chunk | None:
        asked.append(next_seq)
        source = ChunkSource(log, stream)
        try:
            return source.after(epoch, next_seq, frame_hash, bytes_max=1, upto_seq=upto_seq)
        finally:
            source.close()

    part(one, two)
    await two.stop()
    good = whole_bytes(copy)
    flip_frames(min(copy.glob("*.seg")) if is_sealed else newest(copy), 1, 2)
    await trio.to_thread.run_sync(partial(scrub, copy, newest=True))
    mending = mender.Mender(
        two.links, {}, two.room, clock=SystemClock(), scrub_interval_ms=0, regions=regions
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mending.run)
        await until(lambda: whole_bytes(copy) == good, within_s=60)
        await until(lambda: not mending.rotten, within_s=60)
        nursery.cancel_scope.cancel()
    assert len(asked) >= 2
    assert verify(copy).ok
