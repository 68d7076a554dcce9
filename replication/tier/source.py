"""A region of the tier as a source of streams: for a box that has lost its own, and for a drill. For trio.

Pieces are read in order, some at the same time, opened with the site's key and appended to a log that verifies each byte. A piece that is gone or damaged ends
the stream there; or, where whoever copies hears of gaps, it goes on with the next segment that begins in a piece that can be used: frames can be
verified only with their segment's first page, so what is left of a torn segment stays in the region.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final, Protocol

import msgspec
import structlog

from appliance.core.errors import HomeportError, NotFound, Unavailable
from replication.sources import Gap, Holders, OnGap, Progress
from replication.tier.engine import Engine, TierAway
from replication.tier.envelope import PieceDamaged, open_piece
from replication.tier.keys import TierKeys
from replication.tier.pieces import PieceName
from replication.tier.region_calls import ended
from replication.tier.waiting import waits
from storage.replicas.errors import Refusal, ReplicaRefused
from storage.replicas.streams import Chunk, StreamHead, StreamId

logger = structlog.get_logger(__name__)
AHEAD_COUNT: Final = 4
"""Pieces that are fetched at the same time: 32 MiB at most."""
TRY_COUNT: Final = 5
RETRY_S: Final = 2.0
"""A region that is away is asked again so often, and after so long, for as long as nothing comes."""
CLAIM_COUNT_MAX: Final = 100
"""Epochs that are tried: more than boxes that ever were restored of one node."""


def claim_prefix(node_id: str) -> str:
    """Of the claims of a node's epochs, as objects of a region."""
    return f"claims/{node_id}/"


def claim_key(node_id: str, epoch: int) -> str:
    """Of the claim of one epoch."""
    return f"{claim_prefix(node_id)}{epoch}"


class Copy(Protocol):
    """What pieces are appended to: a `ReplicaLog` (storage/replicas/replica_log.py), which verifies each byte."""

    @property
    def is_empty(self) -> bool: ...

    def head(self) -> StreamHead: ...

    def begin(self, chunk: Chunk) -> StreamHead: ...

    def append(self, chunk: Chunk) -> StreamHead: ...

    def pass_over(self, chunk: Chunk) -> StreamHead: ...


class PartedError(Exception):
    """A later epoch goes on from another history than the one that was copied."""


class TierSource:
    """See the module.

    Args:
        region: Its name, for people.
        keys: The site's.
    """

    def __init__(self, region: str, engine: Engine, keys: TierKeys) -> None:
        self.region = region
        self._engine, self._keys = engine, keys
        self.parted: dict[StreamId, str] = {}
        """Streams of which a later epoch is there that goes on from another history than the one before it, and why it can't be appended."""

    async def nodes(self) -> list[str]:
        """Nodes of this site that have anything there: those whose pieces its key opens.

        Raises:
            TierAway, TierUnfit: as the engine does.
        """
        found = []
        for stream, epochs in sorted((await self._engine.epochs()).items()):
            if stream.branch or not epochs or stream.node_id in found:
                continue
            name = await self._engine.last(stream, epochs[-1])
            if name is not None and await self._is_ours(name):
                found.append(stream.node_id)
        return found

    async def holders(self, node_id: str) -> Holders:
        """How far the region has each of a node's streams.

        Raises:
            TierAway, TierUnfit: as the engine does.
        """
        found: dict[StreamId, dict[str, StreamHead]] = {}
        for stream, epochs in (await self._engine.epochs()).items():
            if stream.node_id != node_id:
                continue
            for epoch in reversed(epochs):
                name = await self._engine.last(stream, epoch)
                if name is not None:
                    found[stream] = {self.region: name.head}
                    break
        return found

    async def head(self, stream: StreamId) -> StreamHead | None:
        """Where a stream ends here, as its last piece says; the site's key opens that piece, or it counts for nothing. None: nothing is here.

        Raises:
            Unavailable: `stream_not_had`: the last piece is damaged. TierAway, TierUnfit: as the engine does.
        """
        epochs = (await self._engine.epochs()).get(stream)
        name = await self._engine.last(stream, epochs[-1]) if epochs else None
        if name is None:
            return None
        try:
            data = await self._engine.get(name)
            await waits().in_thread(lambda: open_piece(data, self._keys.opening(name.stream), wanted=name))
        except (PieceDamaged, NotFound) as error:
            raise Unavailable(
                f"The end of {stream} in {self.region} can't be used: {error}",
                hint="Another region or a peer may have it: restore from there.",
                code="stream_not_had",
            ) from error
        return name.head

    async def copy(
        self,
        stream: StreamId,
        log: Copy,
        *,
        until: tuple[int, int] | None = None,
        progress: Progress = lambda stream, done, total: None,
        on_gap: OnGap | None = None,
    ) -> StreamHead:
        """As Source.copy.

        Raises:
            TierAway, TierUnfit: as the engine does.
        """
        failures, before, gap = 0, log.head().place, _Gap(stream, on_gap)
        while True:
            try:
                return await self._copy(stream, log, until, progress, gap)
            except TierAway:
                # What is here stays; an hour of copying isn't lost for a moment without a network.
                failures = 1 if log.head().place > before else failures + 1
                before = log.head().place
                if failures >= TRY_COUNT:
                    raise
                await waits().sleep(RETRY_S)

    async def _copy(
        self, stream: StreamId, log: Copy, until: tuple[int, int] | None, progress: Progress, gap: _Gap
    ) -> StreamHead:
        target = (await self.holders(stream.node_id)).get(stream, {}).get(self.region)
        head = log.head()
        if target is None:
            return head
        epochs = await self._engine.epochs()
        # What seems to be lacking before a later epoch is in a branch then, and is no gap.
        is_forked = any(
            each.branch and (each.node_id, each.name) == (stream.node_id, stream.name) for each in epochs
        )
        for source, epoch in _places(epochs, stream):
            if epoch < head.epoch:
                continue
            # A later epoch may begin before the end of the one before it: with what its writer had back then.
            from_seq = max(0, head.next_seq) if epoch == head.epoch else 0
            async with aclosing(_fetched(self._engine, source, epoch, from_seq)) as pieces:
                async for name, data in pieces:
                    if (name.epoch, name.next_seq) <= head.place and not log.is_empty:
                        continue
                    append = partial(self._append, log, name, data, gap, stream, is_forked)
                    try:
                        head = await waits().in_thread(append)
                    except PartedError as parted:
                        # Two bodies of the node have shipped. What the later epoch goes on from may be there as a branch.
                        if source == stream:
                            self.parted[stream] = str(parted)
                        return head
                    progress(stream, head.next_seq - 1, target.next_seq - 1)
                    if until is not None and head.place >= until:
                        return head
        # A region may lose its last piece between two questions: it isn't known then that there was more.
        gap.ends(max(target.next_seq, head.next_seq))
        return head

    async def claim(self, node_id: str, instance: str, known_epoch: int) -> int:
        """Claims the next epoch of a node: by compare-and-set, so that no two boxes get the same. Again by the same box gives the same.

        Raises:
            Unavailable: `epoch_not_claimed`. TierAway, TierUnfit: as the engine does.
        """
        for epoch in range(known_epoch + 1, known_epoch + 1 + CLAIM_COUNT_MAX):
            key = claim_key(node_id, epoch)
            if await self._engine.put_object(key, instance.encode()):
                return epoch
            if await self._engine.get_object(key) == instance.encode():
                return epoch
        raise Unavailable(
            f"{CLAIM_COUNT_MAX} epochs of node {node_id} are claimed already.",
            hint="Something restores this node again and again: look what.",
            code="epoch_not_claimed",
        )

    async def _is_ours(self, name: PieceName) -> bool:
        try:
            data = await self._engine.get(name)
            await waits().in_thread(lambda: open_piece(data, self._keys.opening(name.stream)))
        except (PieceDamaged, NotFound):
            return False
        return True

    def _append(
        self,
        log: Copy,
        name: PieceName,
        data: bytes | NotFound,
        gap: _Gap,
        stream: StreamId,
        is_forked: bool,
    ) -> StreamHead:
        """Appends a piece, or what follows a gap; gives where the log is then.

        Raises:
            PartedError: it begins a later epoch, which goes on from another history.
            Unavailable: `stream_not_had`: it can't be, and gaps are not wanted; or another history is there, which is no gap.
        """
        head, was_open, begins = log.head(), gap.is_open, False
        try:
            if isinstance(data, NotFound):
                raise data
            chunk = open_piece(data, self._keys.opening(name.stream), wanted=name)
            begins = chunk.epoch > head.epoch and chunk.first_seq == chunk.segment_first_seq
            if stream != name.stream:
                chunk = msgspec.structs.replace(chunk, stream=stream)
            _seal_before(log, chunk)
            if log.is_empty and chunk.segment_first_seq > 1:
                after = log.begin(chunk)
            elif gap.is_open and chunk.first_seq > head.next_seq:
                after = log.pass_over(chunk)
            else:
                after = log.append(chunk)
        except (PieceDamaged, NotFound, ReplicaRefused) as error:
            refusal = error.reason if isinstance(error, ReplicaRefused) else None
            if begins and (refusal == Refusal.FORK or (refusal == Refusal.GAP and is_forked)):
                raise PartedError(str(error)) from error
            if refusal != Refusal.FORK and gap.begins(head, error):
                # What is lacking may be the pieces before this one: then it is what comes after the gap.
                is_after = refusal == Refusal.GAP and not was_open
                return self._append(log, name, data, gap, stream, is_forked) if is_after else head
            raise Unavailable(
                f"{name.stream} is had up to record {head.next_seq - 1}; what comes next in {self.region} can't be used: {error}",
                hint="Another region or a peer may have it: restore from there.",
                code="stream_not_had",
            ) from error
        gap.ends(chunk.first_seq)
        return after


class _Gap:
    """What can't be had, from where it begins to where it ends; nobody hears of it before."""

    def __init__(self, stream: StreamId, on_gap: OnGap | None) -> None:
        self._stream, self._on_gap = stream, on_gap
        self._first_seq, self._why = 0, ""

    @property
    def is_open(self) -> bool:
        return self._first_seq > 0

    def begins(self, head: StreamHead, error: HomeportError) -> bool:
        """Whether it may be passed over. Within a gap another reason changes nothing."""
        if self._on_gap is not None and not self.is_open:
            self._first_seq, self._why = max(1, head.next_seq), error.message
        return self._on_gap is not None

    def ends(self, next_seq: int) -> None:
        if self.is_open and self._on_gap is not None and next_seq > self._first_seq:
            self._on_gap(
                Gap(stream=self._stream, first_seq=self._first_seq, next_seq=next_seq, why=self._why)
            )
        self._first_seq = 0


def _seal_before(log: Copy, chunk: Chunk) -> None:
    """Seals the segment that ends where a piece begins, as its writer did. One that doesn't fit is sealed anew later, as where none is told."""
    end, head = chunk.before(), log.head()
    if end is None or log.is_empty or (head.next_seq, head.hash) != (end.next_seq, end.hash):
        return
    try:
        log.append(end)
    except ReplicaRefused as error:
        logger.warning(
            "a segment's end out of the tier does not fit", stream=str(chunk.stream), error=str(error)
        )


def _places(epochs: Mapping[StreamId, Sequence[int]], stream: StreamId) -> list[tuple[StreamId, int]]:
    """Where the pieces of a stream are, epoch after epoch. A branch that ends may go on under the stream's own name, in a later epoch."""
    own = [(stream, epoch) for epoch in epochs.get(stream, ())]
    if not stream.branch or not own:
        return own
    whole = StreamId(stream.node_id, stream.name)
    return own + [(whole, epoch) for epoch in epochs.get(whole, ()) if epoch > own[-1][1]]


async def _fetched(
    engine: Engine, stream: StreamId, epoch: int, from_seq: int
) -> AsyncGenerator[tuple[PieceName, bytes | NotFound], None]:
    """The pieces of an epoch with their bytes, in order, some fetched at the same time; the error of one that is gone."""
    async with ended(engine.pieces(stream, epoch, from_seq)) as names:
        ahead: list[PieceName] = []
        is_more = True
        while is_more or ahead:
            while is_more and len(ahead) < AHEAD_COUNT:
                name = await anext(names, None)
                is_more = name is not None
                if name is not None:
                    ahead.append(name)
            data: dict[PieceName, bytes | NotFound] = {}
            errors: list[HomeportError] = []
            await waits().together([partial(_get, engine, name, data, errors) for name in ahead])
            if errors:
                raise errors[0]
            for name in ahead:
                yield name, data[name]
            ahead = []


async def _get(
    engine: Engine, name: PieceName, data: dict[PieceName, bytes | NotFound], errors: list[HomeportError]
) -> None:
    try:
        data[name] = await engine.get(name)
    except NotFound as error:
        data[name] = error
    except HomeportError as error:  # out of the nursery as itself, not in a group
        errors.append(error)
