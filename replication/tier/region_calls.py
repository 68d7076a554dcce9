"""One region, connected: the shipping machine's steps as calls of its engine, and the engine's errors as outcomes. For trio."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar

import trio

from appliance.core.errors import HomeportError, NotFound
from replication.effects import Place
from replication.tier.branch_keeping import keep_branch
from replication.tier.engine import Engine, Fenced, TierUnfit
from replication.tier.envelope import NO_NONCE, NONCE_BYTES, open_piece, seal_piece
from replication.tier.keys import TierKeys
from replication.tier.local_pieces import LocalPieces
from replication.tier.pieces import Piece, PieceName
from replication.tier.steps import (
    EMPTY,
    Failed,
    FindEnd,
    Gone,
    Nothing,
    Outcome,
    Parted,
    Refused,
    Ship,
    Shipped,
)
from replication.tier.waiting import waits
from storage.replicas.streams import SEQUENCE_MAX, Chunk, StreamHead, StreamId

CALL_S: Final = 60.0
"""For a call, and a second more for each SLOWEST_BYTES_S of what it carries; engines give up by themselves before that."""
SLOWEST_BYTES_S: Final = 2_000
"""A third of a line of 50 kbit/s."""
EPOCHS_AGAIN_S: Final = 600.0
"""How often it is looked which epochs there are: another one's new epoch is seen so late, one's own at once."""
Listed = TypeVar("Listed")
CALL_ERRORS: Final = (HomeportError, trio.TooSlowError)


class RegionCalls:
    """See the module.

    Args:
        local: What is held here.
        one_reads: Bounds the threads that use `local` to one.
        others: Other regions that are connected, by name: what isn't kept here comes from there.
    """

    def __init__(
        self,
        engine: Engine,
        local: LocalPieces,
        keys: TierKeys,
        one_reads: trio.CapacityLimiter,
        others: Callable[[str], RegionCalls | None],
    ) -> None:
        self.engine = engine
        self._local, self._keys, self._one_reads, self._others = local, keys, one_reads, others
        self._epochs: dict[StreamId, list[int]] = {}
        self._epochs_s = 0.0

    async def find(self, step: FindEnd) -> PieceName | Failed | None:
        """How far the region has a stream."""
        try:
            with waits().within(CALL_S):
                return await self.end(step.stream)
        except CALL_ERRORS as error:
            return failed(error)

    async def end(self, stream: StreamId) -> PieceName | None:
        """The last piece of the latest epoch of which there is one.

        Raises:
            TierAway, TierUnfit: as the engine does.
        """
        for epoch in reversed(await self.epochs(stream)):
            last = await self.engine.last(stream, epoch)
            if last is not None:
                return last
        return None

    async def epochs(self, stream: StreamId) -> list[int]:
        """The epochs of a stream that the region has, ascending.

        Raises:
            TierAway, TierUnfit: as the engine does.
        """
        now_s = waits().now_s()
        # That there is nothing of a stream is never said from memory: the region itself has to have answered so.
        if not self._epochs.get(stream) or now_s - self._epochs_s >= EPOCHS_AGAIN_S:
            self._epochs, self._epochs_s = await self.engine.epochs(), now_s
        return list(self._epochs.get(stream, ()))

    async def branches(self, stream: StreamId) -> list[StreamId]:
        """The second histories of a stream of which the region has anything.

        Raises:
            TierAway, TierUnfit: as the engine does.
        """
        await self.epochs(stream)
        return [each for each, epochs in self._epochs.items() if epochs and each.is_branch_of(stream)]

    async def ship(self, step: Ship) -> Outcome:
        """Put the piece that begins at a place."""
        try:
            if step.from_region:
                return await self._copy(step)
            place = EMPTY if step.skips_gap else step.place
            bytes_max = min(step.bytes_max, self.engine.piece_bytes_max)
            found = await self.cut(step.stream, place, bytes_max=bytes_max)
            if not isinstance(found, tuple):
                return found
            chunk, head = found
            kept = await keep_branch(self, place, chunk, bytes_max=bytes_max)
            if isinstance(kept, Failed):
                return kept
            piece = await self.seal(chunk)
            await self.put(piece, is_mending=step.skips_gap)
            sent_bytes = kept + len(piece.data)
            return Shipped(name=piece.name, is_cut=chunk.next_seq < head.next_seq, sent_bytes=sent_bytes)
        except Fenced as fenced:
            return Refused(last=fenced.last)
        except CALL_ERRORS as error:
            return failed(error)

    async def cut(
        self, stream: StreamId, place: Place, *, bytes_max: int, upto_seq: int = SEQUENCE_MAX
    ) -> tuple[Chunk, StreamHead] | Nothing | Gone | Parted | Failed:
        """As LocalPieces.cut, in a thread."""
        work = partial(self._local.cut, stream, place, bytes_max=bytes_max, upto_seq=upto_seq)
        return await waits().in_thread(work, self._one_reads)

    async def segment_at(self, stream: StreamId, seq: int, *, bytes_max: int) -> Chunk | Failed | None:
        """As LocalPieces.segment_at, in a thread."""
        work = partial(self._local.segment_at, stream, seq, bytes_max=bytes_max)
        return await waits().in_thread(work, self._one_reads)

    async def is_ours(self, stream: StreamId, place: Place) -> bool:
        """As LocalPieces.has, in a thread."""
        return await waits().in_thread(partial(self._local.has, stream, place), self._one_reads)

    async def first_piece(self, stream: StreamId, epoch: int, after_seq: int) -> PieceName | None:
        """The first piece of an epoch that ends after a sequence; None where there is none.

        Raises:
            TooSlowError: it did not come in time. TierAway, TierUnfit: as the engine does.
        """
        with waits().within(CALL_S):
            async with ended(self.engine.pieces(stream, epoch, after_seq)) as names:
                return await anext(names, None)

    async def opened(self, name: PieceName) -> Chunk:
        """A piece's frames.

        Raises:
            TierAway, TierUnfit: as the engine does. PieceDamaged, NotFound: it can't be opened.
        """
        data = await self.engine.get(name)
        return await waits().in_thread(
            partial(open_piece, data, self._keys.opening(name.stream), wanted=name)
        )

    def part_of(self, chunk: Chunk, first_seq: int, prev_hash: bytes) -> Chunk | None:
        """What of a chunk follows a place in it; None where that is not there. Blocks."""
        return self._local.part_of(chunk, first_seq, prev_hash, SEQUENCE_MAX)

    async def seal(self, chunk: Chunk) -> Piece:
        """The piece of a chunk, made in a thread."""
        key, generation = self._keys.sealing(chunk.stream)
        nonce = NO_NONCE if key is None else os.urandom(NONCE_BYTES)
        return await waits().in_thread(partial(seal_piece, chunk, key, generation, nonce))

    async def put(self, piece: Piece, *, is_mending: bool = False) -> None:
        """Keep a piece.

        Raises:
            TooSlowError: it took longer than on the slowest line. Fenced, TierAway, TierUnfit: as the engine does.
        """
        with waits().within(CALL_S + len(piece.data) / SLOWEST_BYTES_S):
            await self.engine.put(piece, is_mending=is_mending)
        epochs = self._epochs.setdefault(piece.name.stream, [])
        if piece.name.epoch not in epochs:
            epochs.append(piece.name.epoch)
            epochs.sort()

    async def piece_at(self, stream: StreamId, place: Place, upto_seq: int = SEQUENCE_MAX) -> Piece | None:
        """The piece that goes on from a place of the region's history; None where there is none.

        Regions' pieces end in other places: of one that holds more, the part from the place on is made a piece of its own. Where the writer began a
        later epoch at or before the place, its first piece goes on.

        Args:
            upto_seq: No frame in it begins there or later.
        Raises:
            TierAway, TierUnfit: as the engine does. PieceDamaged, NotFound: a piece can't be opened.
        """
        for epoch in await self.epochs(stream):
            if epoch < place.epoch:
                continue
            async with ended(self.engine.pieces(stream, epoch, max(0, place.next_seq))) as names:
                name = await anext(names, None)
            if name is None:
                continue
            is_later = epoch > place.epoch and name.first_seq <= place.next_seq
            is_next = (name.first_seq, name.prev_hash) == (place.next_seq, place.hash)
            if name.next_seq <= upto_seq and (place == EMPTY or is_later or is_next):
                return Piece(name=name, data=await self.engine.get(name))
            if epoch == place.epoch and name.first_seq <= place.next_seq:
                return await self._part(name, place, upto_seq)
        return None

    async def _part(self, name: PieceName, place: Place, upto_seq: int) -> Piece | None:
        chunk = self._local.part_of(await self.opened(name), place.next_seq, place.hash, upto_seq)
        return None if chunk is None else await self.seal(chunk)

    async def _copy(self, step: Ship) -> Outcome:
        other = self._others(step.from_region)
        if other is None:
            return Gone()
        try:
            with waits().within(CALL_S + self.engine.piece_bytes_max / SLOWEST_BYTES_S):
                piece = await other.piece_at(step.stream, step.place)
        except (HomeportError, trio.TooSlowError, NotFound):
            return Gone()
        if piece is None:
            return Gone()
        await self.put(piece)
        return Shipped(name=piece.name, is_cut=True, sent_bytes=len(piece.data))


@asynccontextmanager
async def ended(names: AsyncIterator[Listed]) -> AsyncIterator[AsyncIterator[Listed]]:
    """Ends an engine's listing that is left before its end."""
    try:
        yield names
    finally:
        if isinstance(names, AsyncGenerator):
            await names.aclose()


def failed(error: HomeportError | trio.TooSlowError) -> Failed:
    """What an engine's error is for the machine."""
    if isinstance(error, trio.TooSlowError):
        return Failed(reason="It did not answer in time.")
    return Failed(reason=error.message, is_unfit=isinstance(error, TierUnfit))
