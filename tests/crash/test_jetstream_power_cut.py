"""The power of all three JetStream servers is cut at once: what `put` had returned for is there when they are back, each byte.

With the servers' default of syncing every two minutes the same test finds most of it gone: that is why such a cluster is refused, and the proof that this can fail.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from appliance.core.errors import NotFound
from replication.tier.engine import Engine, Fenced, TierAway
from replication.tier.engines.opening import opening
from replication.tier.pieces import Piece, PieceName
from storage.replicas.streams import StreamId
from tests.crash.power import CuttableDisk, why_not
from tests.nats_kit import Cluster, Settings, credentials, nats_cluster
from tests.tier_kit import piece_after

STREAMS = tuple(StreamId(f"{number:032x}", "telemetry") for number in range(3))
PIECE_BYTES = 32 * 1024
PIECES = 150
"""Acknowledged in each round before the power is cut."""
WAIT_S = 120


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[list[CuttableDisk]]:
    if why_not():
        pytest.skip(why_not())
    with ExitStack() as stack:
        made = []
        for number in range(3):
            folder = tmp_path / f"disk{number}"
            folder.mkdir()
            made.append(CuttableDisk(folder))
            stack.callback(made[-1].unmount)
        yield made


class Writer:
    """Puts pieces of one stream, and remembers which of them are to be there."""

    def __init__(self, stream: StreamId, disks: list[CuttableDisk]) -> None:
        self.stream, self.disks = stream, disks
        self.kept: dict[PieceName, bytes] = {}
        self.last: PieceName | None = None
        self.is_cut = False

    async def write(self, engine: Engine) -> None:
        """Until the power is cut."""
        while not self.is_cut:
            piece = piece_after(self.last, stream=self.stream, frames=secrets.token_bytes(PIECE_BYTES))
            try:
                await engine.put(piece)
                for disk in self.disks:
                    disk.is_alive()
            except (TierAway, OSError):
                return
            self._note(piece)

    def _note(self, piece: Piece) -> None:
        self.kept[piece.name] = piece.data
        self.last = piece.name

    async def lost(self, engine: Engine) -> int:
        """How many of the pieces that were kept are not there; the stream goes on from where it ends now."""
        names = {name async for name in engine.pieces(self.stream, 1)}
        lost = 0
        for name, data in self.kept.items():
            try:
                lost += name not in names or await engine.get(name) != data
            except NotFound:
                lost += 1
        self.last = await engine.last(self.stream, 1)
        return lost


def kept_by(writers: list[Writer]) -> int:
    return sum(len(writer.kept) for writer in writers)


async def cut_and_come_back(
    cluster: Cluster, disks: list[CuttableDisk], writers: list[Writer], address: str
) -> int:
    """Write, cut the power of all, have them back: how many pieces that `put` had returned for are not there."""
    async with opening(address, credentials())() as engine, trio.open_nursery() as nursery:
        for writer in writers:
            writer.is_cut = False
            nursery.start_soon(writer.write, engine)
        enough = kept_by(writers) + PIECES
        with trio.fail_after(WAIT_S):
            while kept_by(writers) < enough:  # noqa: ASYNC110 - a count of what several tasks do
                await trio.sleep(0.01)
        for disk in disks:
            disk.cut()
        for writer in writers:
            writer.is_cut = True
        cluster.kill()
    for disk in disks:
        disk.unmount()
        disk.mount()
    await trio.to_thread.run_sync(cluster.start)
    with trio.fail_after(WAIT_S):
        while True:
            try:
                async with opening(address, credentials())() as engine:
                    return sum([await writer.lost(engine) for writer in writers])
            except TierAway:
                await trio.sleep(0.5)


@pytest.mark.parametrize("rounds", [1, pytest.param(8, marks=pytest.mark.long)])
async def test_nothing_that_was_acknowledged_is_lost(
    tmp_path: Path, disks: list[CuttableDisk], rounds: int
) -> None:
    writers = [Writer(stream, disks) for stream in STREAMS]
    with nats_cluster(tmp_path, disks=[disk.path / "data" for disk in disks]) as cluster:
        for _ in range(rounds):
            assert await cut_and_come_back(cluster, disks, writers, cluster.url()) == 0
        print(f"{rounds} power cuts of three servers: {kept_by(writers)} acknowledged pieces, 0 lost")


@pytest.mark.long
async def test_servers_that_acknowledge_first_lose_what_they_acknowledged(
    tmp_path: Path, disks: list[CuttableDisk]
) -> None:
    writers = [Writer(stream, disks) for stream in STREAMS]
    settings = Settings(sync="")
    with nats_cluster(tmp_path, disks=[disk.path / "data" for disk in disks], settings=settings) as cluster:
        try:
            lost = await cut_and_come_back(cluster, disks, writers, cluster.url(sync="trust"))
        except (trio.TooSlowError, Fenced):
            lost = -1
        kept = kept_by(writers)
        print(
            f"with the default sync_interval: {kept} acknowledged pieces, {lost} lost (-1: all, the stream is gone)"
        )
        assert lost
