"""A region of the tier: an engine modelled by what it promises, and by what engines do all the same.

It keeps replication/tier/engine.py's contract, as tests/contracts/test_tier_engine.py holds every engine to it. What breaks: it can't be reached,
or doesn't answer; a request, or an answer, is lost on the way; it loses what it acknowledged: single pieces, as an object store does, its newest ones, as
a cluster does whose power is cut before a sync, or all since some time, where it comes back as it was then.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Literal

from appliance.core.errors import NotFound
from appliance.core.limits_replication import TIER_PIECE_BYTES_MAX
from replication.tier.engine import Fenced, TierAway
from replication.tier.engines.names import check_key
from replication.tier.engines.requests import EngineStatistics, Requests
from replication.tier.pieces import Piece, PieceName
from replication.tier.waiting import waits
from storage.replicas.streams import StreamId

State = Literal["well", "refuses", "silent"]
Key = tuple[StreamId, int, int]
"""A piece's stream, epoch and first sequence."""
SILENT_S: Final = 90.0
"""Longer than whoever asks waits for an answer."""
Epoch = tuple[StreamId, int]
_first_seq = attrgetter("first_seq")


@dataclass(frozen=True, slots=True)
class Image:
    """What a region had at some time."""

    names: dict[Epoch, list[PieceName]]
    data: dict[Key, bytes]


class Region:
    """What a region has, and how it is.

    Args:
        on_kept: Hears of each piece that becomes durable here, before anybody is told.

    Attributes:
        state: Whether it answers.
        lied: Pieces that it acknowledged and lost.
        version: Another one each time that something goes.
    """

    def __init__(
        self,
        name: str,
        *,
        latency_ms: int = 0,
        piece_bytes_max: int = TIER_PIECE_BYTES_MAX,
        on_kept: Callable[[Region, Piece], None] = lambda region, piece: None,
    ) -> None:
        self.name = name
        self.state: State = "well"
        self.latency_ms = latency_ms
        self.bytes_per_s = 0
        self.lost_share = 0.0
        self.piece_bytes_max = piece_bytes_max
        self.on_kept = on_kept
        self.lied: dict[Key, PieceName] = {}
        self.version = 0
        self.names: dict[Epoch, list[PieceName]] = {}
        self.data: dict[Key, bytes] = {}
        self.kept_objects: dict[str, bytes] = {}

    def piece_at(self, stream: StreamId, epoch: int, seq: int) -> PieceName | None:
        """The piece that holds a record."""
        names = self.names.get((stream, epoch), [])
        at = bisect.bisect_right(names, seq, key=_first_seq) - 1
        return names[at] if at >= 0 and names[at].next_seq > seq else None

    def insert(self, at: int, piece: Piece) -> None:
        """A piece is there, in its place among those of its epoch."""
        name = piece.name
        self.names.setdefault((name.stream, name.epoch), []).insert(at, name)
        self.data[name.stream, name.epoch, name.first_seq] = piece.data
        self.on_kept(self, piece)

    def remove(self, name: PieceName) -> None:
        """A piece is gone."""
        self.version += 1
        names = self.names[name.stream, name.epoch]
        names.remove(name)
        if not names:
            del self.names[name.stream, name.epoch]
        del self.data[name.stream, name.epoch, name.first_seq]

    # --- What an engine does that lies -------------------------------------------------------------------------------

    def image(self) -> Image:
        """What is there now."""
        return Image({epoch: names[:] for epoch, names in self.names.items()}, dict(self.data))

    def be_as(self, image: Image) -> int:
        """It comes back as it was: what came since is gone. How many pieces that is. Objects, which are claims, stay."""
        gone = [self._named(key) for key in self.data if key not in image.data]
        for name in gone:
            self.lose(name)
        return len(gone)

    def lose(self, name: PieceName) -> None:
        """A piece that was acknowledged is gone."""
        self.remove(name)
        self.lied[name.stream, name.epoch, name.first_seq] = name

    def lose_newest(self, count: int) -> int:
        """What was put last is gone, of whatever stream."""
        gone = [self._named(key) for key in list(self.data)[-count:]]
        for name in gone:
            self.lose(name)
        return len(gone)

    def rot(self, name: PieceName) -> None:
        """A byte of one piece is another."""
        key = (name.stream, name.epoch, name.first_seq)
        self.data[key] = self.data[key][:-1] + bytes([self.data[key][-1] ^ 1])
        self.lied[key] = name

    def _named(self, key: Key) -> PieceName:
        name = self.piece_at(*key)
        assert name is not None
        return name


class Line:
    """A region as one box reaches it: an `Engine`.

    Args:
        source: Of latencies, and of what is lost on the way.

    Attributes:
        is_cut: The box doesn't get through to it.
    """

    def __init__(self, region: Region, source: random.Random) -> None:
        self.region = region
        self._source = source
        self.is_cut = False
        self._requests = Requests()

    @property
    def is_well(self) -> bool:
        return self.region.state == "well" and not self.is_cut and not self.region.lost_share

    @property
    def is_unsteady(self) -> bool:
        """It answers now and then, or late."""
        return bool(self.region.lost_share or self.region.bytes_per_s)

    @property
    def piece_bytes_max(self) -> int:
        return self.region.piece_bytes_max

    def statistics(self) -> EngineStatistics:
        return self._requests.statistics(None)

    async def put(self, piece: Piece, *, is_mending: bool = False) -> None:
        self._requests.count("put")
        await self._pass(len(piece.data))
        name = piece.name
        names = self.region.names.get((name.stream, name.epoch), [])
        at = bisect.bisect_left(names, name.first_seq, key=_first_seq)
        last = names[-1] if names else None
        if at < len(names) and names[at].first_seq == name.first_seq:
            there = names[at]
            if (there.prev_hash, there.next_seq, there.hash) != (name.prev_hash, name.next_seq, name.hash):
                await self._pass()
                raise Fenced("Another piece is there.", last=last)
        elif not is_mending and last is not None and not name.follows(last):
            await self._pass()
            raise Fenced("It does not follow the last piece.", last=last)
        else:
            self.region.insert(at, piece)
        await self._pass()

    async def last(self, stream: StreamId, epoch: int) -> PieceName | None:
        self._requests.count("list")
        await self._pass()
        names = self.region.names.get((stream, epoch))
        last = names[-1] if names else None
        await self._pass()
        return last

    async def epochs(self) -> dict[StreamId, list[int]]:
        self._requests.count("list")
        await self._pass()
        found: dict[StreamId, list[int]] = {}
        for stream, epoch in sorted(self.region.names):
            found.setdefault(stream, []).append(epoch)
        await self._pass()
        return found

    async def pieces(
        self, stream: StreamId, epoch: int, from_seq: int = 0
    ) -> AsyncGenerator[PieceName, None]:
        self._requests.count("list")
        await self._pass()
        found = [name for name in self.region.names.get((stream, epoch), ()) if name.next_seq > from_seq]
        await self._pass()
        for name in found:
            yield name

    async def get(self, name: PieceName) -> bytes:
        self._requests.count("get")
        await self._pass()
        data = self.region.data.get((name.stream, name.epoch, name.first_seq))
        await self._pass(len(data or b""))
        if data is None:
            raise NotFound("That piece is not there.", code="piece_gone")
        return data

    async def remove(self, name: PieceName) -> None:
        self._requests.count("remove")
        await self._pass()
        names = self.region.names.get((name.stream, name.epoch), [])
        kept = next((each for each in names if each.first_seq == name.first_seq), None)
        if kept is not None:
            self.region.remove(kept)
        await self._pass()

    async def put_object(self, key: str, data: bytes) -> bool:
        check_key(key)
        self._requests.count("put")
        await self._pass(len(data))
        is_new = key not in self.region.kept_objects
        self.region.kept_objects.setdefault(key, data)
        await self._pass()
        return is_new

    async def get_object(self, key: str) -> bytes | None:
        check_key(key)
        self._requests.count("get")
        await self._pass()
        data = self.region.kept_objects.get(key)
        await self._pass()
        return data

    async def objects(self, prefix: str = "") -> AsyncGenerator[str, None]:
        self._requests.count("list")
        await self._pass()
        found = sorted(key for key in self.region.kept_objects if key.startswith(prefix))
        await self._pass()
        for key in found:
            yield key

    async def remove_object(self, key: str) -> None:
        check_key(key)
        await self._pass()
        self.region.kept_objects.pop(key, None)
        await self._pass()

    async def _pass(self, size_bytes: int = 0) -> None:
        """What was asked, or its answer, goes over the line; where it is lost nobody knows what became of it."""
        region = self.region
        delay_ms = region.latency_ms + (self._source.randrange(region.latency_ms) if region.latency_ms else 0)
        if region.bytes_per_s:
            delay_ms += size_bytes * 1000 // region.bytes_per_s
        await waits().sleep(delay_ms / 1000)
        if region.state == "refuses" or self.is_cut:
            raise TierAway("The region can't be reached.", hint="Wait.")
        if region.state == "silent" or (region.lost_share and self._source.random() < region.lost_share):
            await waits().sleep(SILENT_S)
            raise TierAway("The region does not answer.", hint="Wait.")
