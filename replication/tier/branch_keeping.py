"""What a region lacks before a later epoch, since another body of the node put its own history there: kept as a branch. For trio.

A body that came back as it was, and wrote, begins its next epoch behind records of which a region has others. With that epoch alone there, its
head would name a place of our history, and prove what isn't there. So the records go first, and no later epoch is in a region without
what it goes on from. A restore joins the two again (source.py).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from appliance.core.errors import NotFound
from replication.effects import Place
from replication.tier.engine import Fenced
from replication.tier.envelope import PieceDamaged
from replication.tier.pieces import PieceName
from replication.tier.steps import EMPTY, Failed
from replication.tier.waiting import waits
from storage.replicas.streams import Chunk, StreamId

if TYPE_CHECKING:
    from replication.tier.region_calls import RegionCalls

BRANCH_DIGITS: Final = 8


async def keep_branch(calls: RegionCalls, place: Place, chunk: Chunk, *, bytes_max: int) -> int | Failed:
    """Have a region keep what a later epoch goes on from, before the epoch's first piece is put.

    Args:
        place: Where the region is.
        chunk: What is to be put next.
        bytes_max: Of a piece's frames.
    Returns:
        How many bytes were sent: 0 where nothing was lacking. Failed: it can't be kept, so the epoch isn't to be put.
    Raises:
        TierAway, TierUnfit, TooSlowError: as RegionCalls.put.
    """
    base = Place(epoch=place.epoch, next_seq=chunk.first_seq, hash=chunk.prev_hash)
    if (
        place == EMPTY
        or chunk.epoch <= place.epoch
        or (place.next_seq, place.hash) == (base.next_seq, base.hash)
    ):
        return 0
    common_seq = await _common_seq(calls, chunk)
    if common_seq == base.next_seq or await _is_within(calls, chunk):
        return 0
    # Named after its last record, the second choice everywhere: holders name what they keep of it after the first one that differs.
    branch = StreamId(chunk.stream.node_id, chunk.stream.name, chunk.prev_hash.hex()[:BRANCH_DIGITS])
    sent_bytes, refused_at = 0, None
    while True:
        end = await calls.end(branch)
        if end is not None and not await calls.is_ours(chunk.stream, _end_of(end)):
            return Failed(reason=f"Another history is there under the name of {branch}.", is_here=True)
        if end is not None and end.next_seq >= base.next_seq:
            return sent_bytes
        part = await _next_part(calls, chunk, common_seq if end is None else _end_of(end), bytes_max)
        if isinstance(part, Failed):
            return part
        if part is None or part.epoch >= chunk.epoch:
            return sent_bytes  # it isn't kept here any more
        piece = await calls.seal(msgspec.structs.replace(part, stream=branch))
        try:
            await calls.put(piece)
        except Fenced:
            if refused_at == end:
                return Failed(reason=f"{branch} does not fit to what is there of it.", is_here=True)
            refused_at = end  # somebody else keeps it too
        else:
            sent_bytes += len(piece.data)


async def _next_part(
    calls: RegionCalls, chunk: Chunk, begin: int | Place, bytes_max: int
) -> Chunk | Failed | None:
    """What of our records is to be kept next, from the segment that holds a sequence, or from a place on; None: it isn't kept here."""
    if isinstance(begin, int):
        return await calls.segment_at(chunk.stream, begin, bytes_max=bytes_max)
    found = await calls.cut(chunk.stream, begin, bytes_max=bytes_max, upto_seq=chunk.first_seq)
    if isinstance(found, tuple):
        return found[0]
    return found if isinstance(found, Failed) else None


async def _common_seq(calls: RegionCalls, chunk: Chunk) -> int:
    """Before which sequence the region has our records, by the ends of its pieces: 0 where it has none of them."""
    found = 0
    for epoch in await calls.epochs(chunk.stream):
        last = await calls.engine.last(chunk.stream, epoch) if epoch < chunk.epoch else None
        if last is None:
            continue
        if await calls.is_ours(chunk.stream, _end_of(last)):
            found = last.next_seq
            continue
        low, high = 0, last.next_seq
        while low < high:
            middle = (low + high) // 2
            name = await calls.first_piece(chunk.stream, epoch, middle)
            if name is not None and await calls.is_ours(chunk.stream, _end_of(name)):
                low = found = name.next_seq
            else:
                high = middle
    return found


async def _is_within(calls: RegionCalls, chunk: Chunk) -> bool:
    """Whether what it goes on from is in the middle of a piece: its writer came back with less than it had."""
    for epoch in reversed(await calls.epochs(chunk.stream)):
        name = await calls.first_piece(chunk.stream, epoch, chunk.first_seq) if epoch < chunk.epoch else None
        if name is None or name.first_seq >= chunk.first_seq:
            continue
        try:
            there = await calls.opened(name)
        except (PieceDamaged, NotFound):
            continue
        part_of = partial(calls.part_of, there, chunk.first_seq, chunk.prev_hash)
        if await waits().in_thread(part_of) is not None:
            return True
    return False


def _end_of(name: PieceName) -> Place:
    return Place(epoch=name.epoch, next_seq=name.next_seq, hash=name.hash)
