"""Whether a region still has what was put there: its listing is walked, and what is gone is put again. For trio.

Pieces of an epoch follow each other without a gap, so a listing that doesn't shows what is lacking, whoever put it there and whatever was
forgotten here. One piece of each walk is opened, to see that bytes come back as they were. A walk begins where the last one ended less a
share of what is older, so that all of it is walked in WALK_COUNT walks and each of them is cheap.

The second histories of a stream that forked are walked with it: nobody writes them any more, so whoever writes the stream sees to them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from appliance.core.errors import NotFound
from appliance.core.limits_replication import TIER_PIECE_BYTES_MAX
from replication.effects import Place
from replication.randomness import Randomness
from replication.tier.engine import Fenced
from replication.tier.envelope import PieceDamaged, open_piece
from replication.tier.keys import TierKeys
from replication.tier.pieces import Piece, PieceName
from replication.tier.region_calls import CALL_ERRORS, CALL_S, RegionCalls, ended, failed
from replication.tier.steps import EMPTY, Audit, Audited, Failed
from replication.tier.waiting import waits
from storage.replicas.streams import SEQUENCE_MAX, StreamId

WALK_COUNT: Final = 30
"""Walks within which all that is old was looked at: a month, where there is one a day."""


@dataclass(slots=True)
class Walked:
    """How far a stream in a region has been walked, by epoch.

    Attributes:
        firsts: Where the epoch begins there: the first sequence, and the hash before it.
        ends: Up to where the newest were walked: the next sequence, and the hash before it.
        shares: How many shares of what is older were walked.
    """

    firsts: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    ends: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    shares: dict[int, int] = field(default_factory=dict)


class OtherRegions(Protocol):
    """Regions that may have what is kept here no longer; None for one that doesn't answer: whoever waited for it would hold up what is new."""

    def __call__(self, besides: str) -> Sequence[RegionCalls | None]: ...


class Auditor:
    """Audits of one region.

    Args:
        keys: Open the piece that is looked into.
        walked: As it was kept.
    """

    def __init__(
        self,
        region: str,
        calls: RegionCalls,
        others: OtherRegions,
        keys: TierKeys,
        rng: Randomness,
        walked: dict[StreamId, Walked],
    ) -> None:
        self._region, self._calls, self._others, self._keys, self._rng = region, calls, others, keys, rng
        self.walked = walked

    async def audit(self, step: Audit) -> Audited | Failed:
        """Walk what is due of a stream's listing."""
        walk = _Walk(self._rng)
        stream = step.stream
        try:
            await self._audit(stream, walk)
            for branch in await self._branches(stream, walk):
                await self._audit(branch, walk)
                await self._go_on(branch, walk)
            if walk.sample is not None:
                await self._look_into(walk.sample, walk)
        except CALL_ERRORS as error:
            return failed(error)
        return Audited(
            looked_count=walk.looked_count,
            mended_count=walk.mended_count,
            lost_count=walk.lost_count,
            lost_first_seq=walk.lost_first_seq,
        )

    async def _audit(self, stream: StreamId, walk: _Walk) -> None:
        state = self.walked.setdefault(stream, Walked())
        there = await self._calls.epochs(stream)
        await self._look_at_beginnings(stream, there, walk)
        for epoch in sorted({*there, *state.firsts}):
            if epoch in there:
                await self._walk(stream, epoch, state, walk)
            else:
                await self._mend(stream, _place(epoch, state.firsts[epoch]), state.ends[epoch][0], walk)

    async def _branches(self, stream: StreamId, walk: _Walk) -> list[StreamId]:
        """The second histories of a stream, of which this region or another one has or had anything, in order."""
        found = {each for each in self.walked if each.is_branch_of(stream)}
        found.update(await self._calls.branches(stream))
        for other in self._others(self._region):
            if other is None:
                continue
            try:
                found.update(await other.branches(stream))
            except CALL_ERRORS:
                continue  # what it may have is looked for with the next audit
        return sorted(found)

    async def _go_on(self, branch: StreamId, walk: _Walk) -> None:
        """Puts what follows the end of a branch here and is had here or in another region: no lane asks how far a branch is there."""
        last = await self._calls.end(branch)
        place = EMPTY if last is None else Place(epoch=last.epoch, next_seq=last.next_seq, hash=last.hash)
        while (piece := await self._piece_at(branch, place, SEQUENCE_MAX, walk)) is not None:
            if piece.name.head.place <= (place.epoch, place.next_seq):
                return
            try:
                await self._calls.put(piece)
            except Fenced:
                walk.is_unfinished = True  # somebody else does it too
                return
            walk.mended_count += 1
            place = Place(epoch=piece.name.epoch, next_seq=piece.name.next_seq, hash=piece.name.hash)

    async def _walk(self, stream: StreamId, epoch: int, state: Walked, walk: _Walk) -> None:
        if epoch in state.ends:
            begin, end = state.firsts[epoch], state.ends[epoch]
            share = state.shares.get(epoch, 0) % WALK_COUNT
            low, high = ((end[0] - begin[0]) * n // WALK_COUNT + begin[0] for n in (share, share + 1))
            after = _place(epoch, begin) if share == 0 else None
            if low < high:
                await self._walk_range(stream, epoch, low, high, after, walk)
            if not walk.is_unfinished:
                state.shares[epoch] = share + 1
        before = _place(epoch, state.ends[epoch]) if epoch in state.ends else None
        low = 0 if before is None else before.next_seq
        walked = await self._walk_range(stream, epoch, low, SEQUENCE_MAX, before, walk)
        if walked is not None and not walk.is_unfinished:
            state.firsts.setdefault(epoch, (walked[0].first_seq, walked[0].prev_hash))
            state.ends[epoch] = (walked[1].next_seq, walked[1].hash)

    async def _walk_range(
        self, stream: StreamId, epoch: int, low: int, high: int, before: Place | None, walk: _Walk
    ) -> tuple[PieceName, PieceName] | None:
        """Looks at the pieces that end after `low` and begin before `high`; gives the first and the last of them.

        Args:
            before: What the first one follows, where that is known.
        """
        first: PieceName | None = None
        last: PieceName | None = None
        async with ended(self._calls.engine.pieces(stream, epoch, low)) as names:
            while (name := await _next(names)) is not None:
                first = first or name
                walk.look(name)
                if before is not None and before.next_seq < name.first_seq:
                    await self._mend(stream, before, name.first_seq, walk)
                before, last = Place(epoch=epoch, next_seq=name.next_seq, hash=name.hash), name
                if name.first_seq >= high:
                    break
        return None if first is None or last is None else (first, last)

    async def _look_at_beginnings(self, stream: StreamId, there: Sequence[int], walk: _Walk) -> None:
        """Puts what is lacking before an epoch's first piece, which no piece there shows: it follows the epoch before, or whoever has the most.

        A box that has no more than the end of another's stream may have begun it there; and a region that lost its oldest pieces shows the next
        ones as its first.
        """
        before = await self._oldest(stream)
        for epoch in there:
            first = await self._first(self._calls, stream, epoch)
            last = await self._calls.engine.last(stream, epoch)
            if first is None or last is None:
                continue
            if before is not None and before.next_seq < first.first_seq:
                await self._mend(stream, before, first.first_seq, walk)
            before = Place(epoch=epoch, next_seq=last.next_seq, hash=last.hash)

    async def _oldest(self, stream: StreamId) -> Place | None:
        """Where the oldest begins that is kept here or in another region."""
        places: list[Place] = []
        found = await self._calls.cut(stream, EMPTY, bytes_max=1)
        if isinstance(found, tuple):
            chunk = found[0]
            places.append(Place(epoch=chunk.epoch, next_seq=chunk.first_seq, hash=chunk.prev_hash))
        for other in self._others(self._region):
            if other is None:
                continue
            try:
                epochs = await other.epochs(stream)
                name = await self._first(other, stream, epochs[0]) if epochs else None
            except CALL_ERRORS:
                continue  # what it may have is looked for with the next audit
            if name is not None:
                places.append(Place(epoch=name.epoch, next_seq=name.first_seq, hash=name.prev_hash))
        return min(places, key=lambda place: (place.epoch, place.next_seq), default=None)

    @staticmethod
    async def _first(calls: RegionCalls, stream: StreamId, epoch: int) -> PieceName | None:
        async with ended(calls.engine.pieces(stream, epoch)) as names:
            return await _next(names)

    async def _mend(self, stream: StreamId, place: Place, upto_seq: int, walk: _Walk) -> None:
        """Puts again what lies between a place and a sequence: from what is held here, else from another region."""
        while place.next_seq < upto_seq:
            piece = await self._piece_at(stream, place, upto_seq, walk)
            if piece is None and walk.is_unfinished:
                return
            if piece is not None and piece.name.first_seq >= upto_seq:
                return  # two bodies have written: what the later epoch goes on from is a branch (branch_keeping.py)
            if piece is None or piece.name.head.place <= (place.epoch, place.next_seq):
                walk.lose(place.next_seq, upto_seq - place.next_seq)
                return
            try:
                await self._calls.put(piece, is_mending=True)
            except Fenced:
                walk.is_unfinished = True  # somebody else mends it too
                return
            walk.mended_count += 1
            place = Place(epoch=piece.name.epoch, next_seq=piece.name.next_seq, hash=piece.name.hash)

    async def _piece_at(self, stream: StreamId, place: Place, upto_seq: int, walk: _Walk) -> Piece | None:
        found = await self._calls.cut(stream, place, bytes_max=TIER_PIECE_BYTES_MAX, upto_seq=upto_seq)
        if isinstance(found, tuple):
            return await self._calls.seal(found[0])
        for other in self._others(self._region):
            if other is None:
                walk.is_unfinished = True
                continue
            try:
                piece = await other.piece_at(stream, place, upto_seq)
            except CALL_ERRORS:
                # That it can't be asked now is no word against the region that is looked at: the next audit asks again.
                walk.is_unfinished = True
                continue
            if piece is not None:
                return piece
        return None

    async def _look_into(self, name: PieceName, walk: _Walk) -> None:
        """Opens one piece; one that is damaged is replaced by what is held here."""
        try:
            data = await self._calls.engine.get(name)
            await waits().in_thread(lambda: open_piece(data, self._keys.opening(name.stream), wanted=name))
        except PieceDamaged:
            place = Place(epoch=name.epoch, next_seq=name.first_seq, hash=name.prev_hash)
            piece = await self._piece_at(name.stream, place, name.next_seq, walk)
            if piece is None and walk.is_unfinished:
                return
            if piece is None or piece.name.next_seq != name.next_seq:
                walk.lose(name.first_seq, name.next_seq - name.first_seq)
                return
            await self._calls.engine.remove(name)
            await self._calls.put(piece, is_mending=True)
            walk.mended_count += 1
        except NotFound:
            return  # the next walk sees the gap, or nobody has the key: then it can't be looked into


class _Walk:
    """What one audit has come to so far; one piece of all that it saw is its sample, each with the same chance.

    Attributes:
        is_unfinished: Something is lacking that a region may have which could not be asked: it is looked at again.
    """

    def __init__(self, rng: Randomness) -> None:
        self._rng = rng
        self.looked_count = self.mended_count = self.lost_count = self.lost_first_seq = 0
        self.sample: PieceName | None = None
        self.is_unfinished = False

    def look(self, name: PieceName) -> None:
        self.looked_count += 1
        if self._rng.randrange(self.looked_count) == 0:
            self.sample = name

    def lose(self, first_seq: int, count: int) -> None:
        self.lost_first_seq = self.lost_first_seq or first_seq
        self.lost_count += count


def _place(epoch: int, at: tuple[int, bytes]) -> Place:
    return Place(epoch=epoch, next_seq=at[0], hash=at[1])


async def _next(names: AsyncIterator[PieceName]) -> PieceName | None:
    """The next of a listing, within the time of a call; None at its end.

    Raises:
        TooSlowError: it did not come in time. TierAway, TierUnfit: as the engine does.
    """
    with waits().within(CALL_S):
        return await anext(names, None)
