"""What rots on one node is mended from the other: of a log from its copy, of a copy from the log; and whoever has nothing better says so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from appliance.core.clock import SystemClock
from replication import mender
from replication.messages import LeafAsk, LeafLacking, LeafPart, decode_message, encode_message
from storage.log.scrub import Scrubber
from storage.log.verify import verify
from storage.replicas.rotten import RottenFrames
from tests.fleet_kit import until
from tests.replica_kit import segments_of
from tests.replicator_kit import Box, join, set_fleet
from tests.storage_log_kit import append_blocks


@pytest.fixture
async def boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Box, Box]]:
    """One's log has a sealed segment of more than a MiB, and two has a copy of it."""
    monkeypatch.setattr(mender, "LOOK_INTERVAL_S", 0.05)
    async with trio.open_nursery() as nursery:
        one, two = Box(1, tmp_path, nursery), Box(2, tmp_path, nursery)
        set_fleet([one, two])
        for box in (one, two):
            await box.start()
        join(one, two)
        writer = one.open_log(segment_bytes=3 * 1024 * 1024)
        append_blocks(writer, 40, body_bytes_max=300_000)
        assert await trio.to_thread.run_sync(writer.wait_idle, 30)
        end, sealed_seq = writer.head.next_seq, writer.head.segment_first_seq
        writer.close()
        heads = [box.replicator.gossip.head for box in (one, two)]
        await until(
            lambda: all(
                (h(one.stream).next_seq, h(one.stream).sealed_seq) == (end, sealed_seq) for h in heads
            )
        )
        yield one, two
        nursery.cancel_scope.cancel()


def spoil(directory: Path, *offsets: int) -> None:
    """Flips bits, and has a scrub find them."""
    flip(directory, *offsets)
    Scrubber(directory, SystemClock(), interval_ms=3_600_000, pause=lambda seconds: None).run_pass()


def flip(directory: Path, *offsets: int) -> None:
    path = min(directory.glob("*.seg"))
    data = bytearray(path.read_bytes())
    for offset in offsets:
        data[offset] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(0o400)


@pytest.mark.parametrize("is_copy", [False, True])
async def test_a_rotten_leaf_is_mended_from_the_other(boxes: tuple[Box, Box], is_copy: bool) -> None:
    one, two = boxes
    log, copy = one.root / "log" / "telemetry", two.copy_of(one)
    good = segments_of(log)
    await trio.to_thread.run_sync(spoil, copy if is_copy else log, 5_000, 1024 * 1024 + 5_000)
    await until(lambda: segments_of(copy if is_copy else log) == good)
    assert verify(copy if is_copy else log).ok


async def test_where_both_are_rotten_nothing_is_mended_and_it_is_known(boxes: tuple[Box, Box]) -> None:
    one, two = boxes
    # Both before either is found, or one is mended from the other in between.
    await trio.to_thread.run_sync(flip, two.copy_of(one), 5_000)
    for directory, offsets in ((one.root / "log" / "telemetry", (5_000,)), (two.copy_of(one), ())):
        await trio.to_thread.run_sync(spoil, directory, *offsets)
    await until(lambda: one.replicator.mender.rotten and two.replicator.mender.rotten)
    ((stream, frames),) = one.replicator.mender.rotten
    assert isinstance(frames, RottenFrames)
    assert (stream, frames.segment_first_seq) == (one.stream, 1)
    assert not verify(two.copy_of(one)).ok


async def test_answers_that_nobody_asked_for_change_nothing(boxes: tuple[Box, Box]) -> None:
    one, two = boxes
    good = segments_of(two.copy_of(one))
    for message in (LeafPart(1, 10, 0, b"x" * 10), LeafLacking(1), LeafAsk(1, one.stream, 9, 9, 9)):
        two.replicator.message(one.node_id, encode_message(message))
    await until(lambda: two.replicator.mender.idle)
    assert segments_of(two.copy_of(one)) == good


async def test_a_leaf_is_given_in_parts_that_fit_a_message(boxes: tuple[Box, Box]) -> None:
    one, two = boxes
    parts: list[LeafPart] = []
    take: Callable[[str, bytes], None] = one.replicator.message

    def note(peer: str, data: bytes) -> None:
        message = decode_message(data)
        if isinstance(message, LeafPart):
            parts.append(message)
        take(peer, data)

    one.replicator.message = note  # type: ignore[method-assign]
    two.replicator.message(one.node_id, encode_message(LeafAsk(77, one.stream, 1, 1, 0)))
    two.replicator.message(one.node_id, encode_message(LeafAsk(78, one.stream, 1, 1, 1)))
    await until(lambda: sum(len(part.data) for part in parts) == 1024 * 1024)
    assert {part.request for part in parts} == {77}, "one at a time"
    path = min((one.root / "log" / "telemetry").glob("*.seg"))
    assert b"".join(part.data for part in parts) == path.read_bytes()[: 1024 * 1024]


async def test_copies_are_scrubbed_here(boxes: tuple[Box, Box]) -> None:
    one, two = boxes
    copy = two.copy_of(one)
    assert not (copy / "scrub").exists()
    mending = mender.Mender(two.links, {}, two.room, clock=SystemClock(), scrub_interval_ms=3_600_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mending.run)
        await until((copy / "scrub").exists)
        nursery.cancel_scope.cancel()
