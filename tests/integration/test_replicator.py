"""Logs of one node come to another byte for byte, while they are written, after a cut, and after a restart."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from replication.blob_work import BlobLook, BlobUnit
from storage.artifacts.blob_copies import BlobCopies, CopyWritten
from storage.artifacts.space import Room
from storage.log.verify import verify
from storage.replicas.chunk_source import ChunkSource
from tests.replica_kit import segments_of
from tests.replicator_kit import Box, join, part, set_fleet
from tests.storage_log_kit import append_blocks

WAIT_S = 30


async def until(is_so: Callable[[], bool]) -> None:
    with trio.fail_after(WAIT_S):
        while not is_so():  # noqa: ASYNC110 - two threads and another object are looked at
            await trio.sleep(0.01)


@pytest.fixture
async def boxes(tmp_path: Path) -> AsyncIterator[tuple[Box, Box]]:
    async with trio.open_nursery() as nursery:
        one, two = Box(1, tmp_path, nursery), Box(2, tmp_path, nursery)
        set_fleet([one, two])
        for box in (one, two):
            await box.start()
        yield one, two
        nursery.cancel_scope.cancel()


def is_copied(one: Box, two: Box) -> bool:
    """Whether the copy ends where the log does, and has the footers of all its sealed segments."""
    source = ChunkSource(one.root / "log" / "telemetry", one.stream)
    try:
        written, copied = source.head(), two.replicator.gossip.head(one.stream)
        return copied.is_same_place(written) and copied.sealed_seq == written.sealed_seq
    finally:
        source.close()


async def test_what_is_written_on_one_is_on_the_other_byte_for_byte(boxes: tuple[Box, Box]) -> None:
    one, two = boxes
    join(one, two)
    writer = one.open_log()
    try:
        for _ in range(20):
            append_blocks(writer, 10, seed=writer.head.next_seq)
            await trio.sleep(0.01)
        assert await trio.to_thread.run_sync(writer.wait_idle, WAIT_S)
        await until(lambda: is_copied(one, two))
    finally:
        writer.close()
    gossip = one.replicator.gossip
    await until(lambda: gossip.safe_seq(one.stream) == writer.head.next_seq)
    assert gossip.rpo_ms(10**12) == 0
    written, copied = (
        segments_of(one.root / "log" / "telemetry"),
        segments_of(two.copy_of(one)),
    )
    assert len(written) > 3
    assert copied == written
    assert verify(two.copy_of(one)).ok


async def test_a_backlog_and_a_cut_and_a_restart(boxes: tuple[Box, Box]) -> None:
    one, two = boxes
    writer = one.open_log()
    try:
        append_blocks(writer, 300, body_bytes_max=60_000)
        join(one, two)
        await until(lambda: two.replicator.gossip.head(one.stream).next_seq > 1)
        part(one, two)
        append_blocks(writer, 20, seed=2)
        await two.stop()
        await two.start()
        set_fleet([one, two])
        join(one, two)
        append_blocks(writer, 20, seed=3)
        assert await trio.to_thread.run_sync(writer.wait_idle, WAIT_S)
        await until(lambda: is_copied(one, two))
    finally:
        writer.close()
    assert segments_of(two.copy_of(one)) == segments_of(one.root / "log" / "telemetry")


class Images:
    """Images in a folder, and those that a box should have."""

    def __init__(self, root: Path, wanted: dict[bytes, int]) -> None:
        room = Room(size_bytes_max=2**30, quota_bytes=2**30, used_percent_max=100)
        self.copies = BlobCopies(root, room)
        self.wanted = wanted

    def look(self) -> BlobLook:
        held = self.copies.held()
        wanted = {blob: size for blob, size in self.wanted.items() if blob not in held}
        units = tuple(BlobUnit(kind="image", blobs={blob: size}, since_ms=0) for blob, size in held.items())
        return BlobLook(held=held, wanted=wanted, units=units)

    def read(self, blob: bytes, offset: int, bytes_max: int) -> tuple[bytes | None, int]:
        return self.copies.read(blob, offset, bytes_max)

    def write(self, blob: bytes, size_bytes: int, offset: int, data: bytes) -> CopyWritten:
        return self.copies.write(blob, size_bytes, offset, data)


async def test_an_image_of_one_box_gets_to_the_other_of_its_site(tmp_path: Path) -> None:
    image = random.Random(1).randbytes(2_500_000)
    name = hashlib.sha256(image).digest()
    async with trio.open_nursery() as nursery:
        one, two = Box(1, tmp_path, nursery, site=1), Box(2, tmp_path, nursery, site=1)
        first = Images(tmp_path / "one", {})
        assert first.write(name, len(image), 0, image) == "whole"
        second = Images(tmp_path / "two", {name: len(image)})
        one.use_blobs(first)
        two.use_blobs(second)
        set_fleet([one, two])
        for box in (one, two):
            await box.start()
        join(one, two)
        await until(lambda: second.copies.held() == {name: len(image)})
        assert second.read(name, 0, len(image))[0] == image
        await until(lambda: two.node_id in one.replicator.blobs.holders(name))
        nursery.cancel_scope.cancel()
