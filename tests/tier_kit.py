"""A tier in memory that keeps the contract (tests/contracts/test_tier_engine.py), and pieces to put into it.

For tests of whoever ships to tiers: it can be switched off, made slow to answer, and made to lose what it acknowledged.
"""

from __future__ import annotations

import bisect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from operator import attrgetter
from typing import Any

import trio

from appliance.core.config_tier import TierRegionConfig
from appliance.core.errors import NotFound
from appliance.core.limits_replication import TIER_PIECE_BYTES_MAX
from replication.tier.engine import Fenced, TierAway
from replication.tier.engines.names import check_key
from replication.tier.engines.requests import EngineStatistics, Requests
from replication.tier.envelope import seal_piece
from replication.tier.pieces import Piece, PieceName
from storage.replicas.streams import Chunk, StreamId
from tests.node_kit import Node

STREAM = StreamId("0f" * 16, "telemetry")
CATALOG = StreamId("ee" * 16, "catalog")
GENESIS = b"g" * 32
_first_seq = attrgetter("first_seq")


def piece_after(
    before: PieceName | None,
    *,
    stream: StreamId = STREAM,
    epoch: int = 1,
    records: int = 10,
    frames: bytes = b"frames",
    word: str = "",
) -> Piece:
    """The piece that follows another one, or the first of an epoch; readable without a key.

    Args:
        word: Another word makes another history: the same place, another hash.
    """
    first_seq, prev_hash = (1, GENESIS) if before is None else (before.next_seq, before.hash)
    next_seq = first_seq + records
    text = f"{word}/{stream}/{epoch}/{first_seq}/{next_seq}".encode()
    chunk = Chunk(
        stream, epoch, first_seq, None, first_seq, prev_hash, next_seq, sha256(prev_hash + text).digest(), 1_000 + next_seq, frames
    )  # fmt: skip
    return seal_piece(chunk, None, 0)


def pieces_after(
    before: PieceName | None, count: int, *, stream: StreamId = STREAM, epoch: int = 1, word: str = ""
) -> list[Piece]:
    """So many pieces, each following the one before."""
    made: list[Piece] = []
    for _ in range(count):
        made.append(piece_after(made[-1].name if made else before, stream=stream, epoch=epoch, word=word))
    return made


class MemoryTier:
    """What a tier holds, for any number of engines that are connected to it.

    Attributes:
        is_away: Every call raises TierAway.
        hold: While it is set to an event, calls wait for that first.
        put_count: Calls of `put`, those that were refused among them.
    """

    def __init__(self) -> None:
        self.is_away = False
        self.hold: trio.Event | None = None
        self.put_count = 0
        self.of_epoch: dict[tuple[StreamId, int], list[PieceName]] = {}
        self.data: dict[tuple[StreamId, int, int], bytes] = {}
        self.kept_objects: dict[str, bytes] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[MemoryEngine]:
        """Connect (an `Opening`)."""
        engine = MemoryEngine(self)
        await engine.answer()
        yield engine

    def lose(self, name: PieceName) -> None:
        """Lose a piece that was acknowledged."""
        names = self.of_epoch[name.stream, name.epoch]
        names.remove(name)
        if not names:
            del self.of_epoch[name.stream, name.epoch]
        del self.data[name.stream, name.epoch, name.first_seq]


class MemoryEngine:
    """An `Engine` whose tier is in this process."""

    def __init__(self, tier: MemoryTier) -> None:
        self._tier = tier
        self.requests = Requests()

    def statistics(self) -> EngineStatistics:
        return self.requests.statistics(None)

    @property
    def piece_bytes_max(self) -> int:
        return TIER_PIECE_BYTES_MAX

    async def answer(self) -> None:
        """What each call does first."""
        await trio.lowlevel.checkpoint()
        if self._tier.hold is not None:
            await self._tier.hold.wait()
        if self._tier.is_away:
            raise TierAway("The tier is switched off.")

    async def put(self, piece: Piece, *, is_mending: bool = False) -> None:
        self._tier.put_count += 1
        self.requests.count("put")
        await self.answer()
        name = piece.name
        names = self._tier.of_epoch.setdefault((name.stream, name.epoch), [])
        at = bisect.bisect_left(names, name.first_seq, key=_first_seq)
        last = names[-1] if names else None
        if at < len(names) and names[at].first_seq == name.first_seq:
            if (names[at].prev_hash, names[at].next_seq, names[at].hash) == (
                name.prev_hash,
                name.next_seq,
                name.hash,
            ):
                return
            raise Fenced("Another piece is there.", last=last)
        if not is_mending and last is not None and not name.follows(last):
            raise Fenced("It does not follow the last piece.", last=last)
        names.insert(at, name)
        self._tier.data[name.stream, name.epoch, name.first_seq] = piece.data

    async def last(self, stream: StreamId, epoch: int) -> PieceName | None:
        self.requests.count("list")
        await self.answer()
        names = self._tier.of_epoch.get((stream, epoch))
        return names[-1] if names else None

    async def epochs(self) -> dict[StreamId, list[int]]:
        self.requests.count("list")
        await self.answer()
        found: dict[StreamId, list[int]] = {}
        for (stream, epoch), names in sorted(self._tier.of_epoch.items()):
            if names:
                found.setdefault(stream, []).append(epoch)
        return found

    async def pieces(self, stream: StreamId, epoch: int, from_seq: int = 0) -> AsyncIterator[PieceName]:
        self.requests.count("list")
        await self.answer()
        for name in list(self._tier.of_epoch.get((stream, epoch), ())):
            if name.next_seq > from_seq:
                yield name

    async def get(self, name: PieceName) -> bytes:
        self.requests.count("get")
        await self.answer()
        data = self._tier.data.get((name.stream, name.epoch, name.first_seq))
        if data is None:
            raise NotFound("That piece is not there.", code="piece_gone")
        return data

    async def remove(self, name: PieceName) -> None:
        self.requests.count("remove")
        await self.answer()
        if (name.stream, name.epoch, name.first_seq) in self._tier.data:
            (kept,) = (
                kept
                for kept in self._tier.of_epoch[name.stream, name.epoch]
                if kept.first_seq == name.first_seq
            )
            self._tier.lose(kept)

    async def put_object(self, key: str, data: bytes) -> bool:
        check_key(key)
        await self.answer()
        if key in self._tier.kept_objects:
            return False
        self._tier.kept_objects[key] = data
        return True

    async def get_object(self, key: str) -> bytes | None:
        check_key(key)
        await self.answer()
        return self._tier.kept_objects.get(key)

    async def objects(self, prefix: str = "") -> AsyncIterator[str]:
        await self.answer()
        for key in sorted(self._tier.kept_objects):
            if key.startswith(prefix):
                yield key

    async def remove_object(self, key: str) -> None:
        check_key(key)
        await self.answer()
        self._tier.kept_objects.pop(key, None)


async def region_of(node: Node, client: object) -> dict[str, Any]:
    """A node whose configuration has a region."""
    config = replace(node.services.config, tier_region=(TierRegionConfig(),))
    object.__setattr__(node.services, "config", config)
    return {}


async def in_a_fleet(node: Node, client: object) -> dict[str, Any]:
    """A node whose box belongs to a fleet."""
    (node.services.config.node.data_dir / "fleet").mkdir()
    return {}


async def region_and_fleet(node: Node, client: object) -> dict[str, Any]:
    """Both."""
    await in_a_fleet(node, client)
    return await region_of(node, client)
