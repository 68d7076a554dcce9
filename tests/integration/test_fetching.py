"""A box that lost its disk has its streams again from whoever holds them, byte for byte, also when a holder goes away meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from appliance.core.errors import Unavailable
from replication import fetching
from replication.fetching import Fetcher
from storage.log.verify import verify
from storage.replicas.replica_log import ReplicaLog
from storage.replicas.streams import StreamId
from tests.fleet_kit import until
from tests.replica_kit import open_replica, segments_of
from tests.replicator_kit import Box, QueueLinks, join, set_fleet
from tests.storage_log_kit import append_blocks


@dataclass
class Fetching:
    """A fetcher that replicators take for the box that has lost its disk."""

    node_id: str
    fetcher: Fetcher
    links: QueueLinks

    def message(self, peer: str, data: bytes) -> None:
        self.fetcher.message(peer, data)


def connect(fetching: Fetching, box: Box) -> None:
    fetching.links.up(box.replicator)
    box.links.up(fetching)  # type: ignore[arg-type]
    fetching.fetcher.link_up(box.node_id)
    box.replicator.link_up(fetching.node_id)


def disconnect(fetching: Fetching, box: Box) -> None:
    fetching.links.down(box.node_id)
    box.links.down(fetching.node_id)
    fetching.fetcher.link_down(box.node_id)
    box.replicator.link_down(fetching.node_id)


@pytest.fixture
async def boxes(tmp_path: Path) -> AsyncIterator[list[Box]]:
    """The first one's log is on the two others, and it is gone."""
    async with trio.open_nursery() as nursery:
        found = [Box(number, tmp_path, nursery) for number in (1, 2, 3)]
        set_fleet(found)
        for box in found:
            await box.start()
        for other in found[1:]:
            join(found[0], other)
        writer = found[0].open_log()
        append_blocks(writer, 120, body_bytes_max=40_000)
        assert await trio.to_thread.run_sync(writer.wait_idle, 30)
        heads = [box.replicator.gossip.head for box in found]
        stream, end = found[0].stream, writer.head.next_seq
        sealed_seq = writer.head.segment_first_seq
        await until(
            lambda: all((h(stream).next_seq, h(stream).sealed_seq) == (end, sealed_seq) for h in heads)
        )
        writer.close()
        await found[0].stop()
        for other in found[1:]:
            found[0].links.down(other.node_id)
            other.links.down(found[0].node_id)
            other.replicator.link_down(found[0].node_id)
        yield found
        nursery.cancel_scope.cancel()


def fetching_for(box: Box) -> Fetching:
    links = QueueLinks(box.node_id, box.nursery)
    return Fetching(box.node_id, Fetcher(links), links)


def open_lost(path: Path, stream: StreamId) -> ReplicaLog:
    return open_replica(path, stream=stream, keys=None)


async def test_a_lost_stream_is_had_again_byte_for_byte(boxes: list[Box], tmp_path: Path) -> None:
    one, two, _ = boxes
    fetching = fetching_for(one)
    connect(fetching, two)
    log = open_lost(tmp_path / "again", one.stream)
    seen: list[int] = []
    head = await fetching.fetcher.copy(
        one.stream, log, progress=lambda stream, done, total: seen.append(done)
    )
    log.close()
    assert seen == sorted(seen)
    assert head.next_seq - 1 == seen[-1]
    assert segments_of(tmp_path / "again") == segments_of(one.root / "log" / "telemetry")
    assert len(segments_of(tmp_path / "again")) > 3
    assert verify(tmp_path / "again").ok


async def test_another_holder_goes_on_where_one_went_away(boxes: list[Box], tmp_path: Path) -> None:
    one, two, three = boxes
    fetching = fetching_for(one)
    connect(fetching, two)
    connect(fetching, three)
    log = open_lost(tmp_path / "again", one.stream)
    gone: list[str] = []

    def progress(stream: StreamId, done: int, total: int) -> None:
        if not gone and done > total // 3:
            peer = max(fetching.links.peers())  # of equal heads the greater id is asked first
            gone.append(peer)
            disconnect(fetching, next(box for box in (two, three) if box.node_id == peer))

    await fetching.fetcher.copy(one.stream, log, progress=progress)
    log.close()
    assert gone
    assert segments_of(tmp_path / "again") == segments_of(one.root / "log" / "telemetry")


async def test_what_is_not_had_is_said(
    boxes: list[Box], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, _ = boxes
    monkeypatch.setattr(fetching, "ANSWER_S", 0.2)
    fetched = fetching_for(one)
    connect(fetched, two)
    log = open_lost(tmp_path / "again", one.stream)
    real = fetched.message

    def deaf(peer: str, data: bytes) -> None:
        if len(data) < 1000:  # heads come through, chunks don't
            real(peer, data)

    fetched.message = deaf  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="does not answer"):
        await fetched.fetcher.copy(one.stream, log)
    fetched.message = real  # type: ignore[method-assign]
    assert (await fetched.fetcher.copy(one.stream, log)).next_seq > 1
    log.close()


async def test_without_a_peer_it_says_so(boxes: list[Box]) -> None:
    fetched = fetching_for(boxes[0])
    with pytest.raises(Unavailable, match="No peer"):
        await fetched.fetcher.first_peer(0.05)
    assert await fetched.fetcher.holders(boxes[0].node_id) == {}
