"""Mends what rots in sealed segments, of the own logs and of copies, from whoever holds the same. For trio.

Copies are scrubbed here (the own log is by the node), slowly; what any scrub found is asked of one connected peer after the other, a leaf of
1 MiB at a time. The signed footer says what a leaf was, so an answer that isn't that changes nothing, whoever sent it. Asked for a leaf, this gives
it where it is what was sealed, one at a time for each peer, behind what is live on the link.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import LogDamaged, StorageError
from appliance.core.limits import LEAF_BYTES
from appliance.core.limits_replication import PART_BYTES_MIN
from replication.messages import LeafAsk, LeafLacking, LeafMessage, LeafPart, encode_message
from replication.scheduling import Priority
from storage.log.disk import OsDisk
from storage.log.scrub import Scrubber
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.mending import RottenLeaf, mend_leaf, rotten_leaves
from storage.replicas.room import ReplicaRoom
from storage.replicas.streams import StreamId

LOOK_INTERVAL_S: Final = 60.0
"""How often it is looked what scrubs have found: a small file for each stream, and the leaves that it names."""
ANSWER_S: Final = 300.0
"""For a leaf: 3 min of a link of 50 kbit/s that carries nothing else."""
NEVER_S: Final = 3_600.0
log = structlog.get_logger(__name__)
Result = TypeVar("Result")


class Sender(Protocol):
    """What links do for this (replication/link/links.py)."""

    def peers(self) -> list[str]: ...

    def send(
        self, peer: str, data: bytes, priority: Priority, on_left: Callable[[], None] | None = None
    ) -> bool: ...


class Mender:
    """See the module.

    Args:
        own: The directories of this node's own streams.
        room: All copies; only asked where they are.
        scrub_interval_ms: Within which each copy is read once; 0 for never.
    """

    def __init__(
        self,
        links: Sender,
        own: Mapping[StreamId, Path],
        room: ReplicaRoom,
        *,
        clock: Clock,
        scrub_interval_ms: int,
    ) -> None:
        self._links = links
        self._own = own
        self._room = room
        self._clock = clock
        self._scrub_interval_ms = scrub_interval_ms
        self._one_thread = trio.CapacityLimiter(1)
        self._serving: set[str] = set()
        self._nursery: trio.Nursery | None = None
        self._number = 0
        self._asked: tuple[str, int] = ("", 0)
        self._answer: dict[int, bytes] | None = None
        self._answered = trio.Event()
        self._ended = threading.Event()
        self.mended_total = 0
        self.rotten: tuple[tuple[StreamId, RottenLeaf], ...] = ()
        """What was found when it was looked last, and nobody could mend."""

    @property
    def idle(self) -> bool:
        """Nothing is being given to anybody."""
        return not self._serving

    # --- As the links' listener -------------------------------------------------------------------------------

    def receive(self, peer: str, message: LeafMessage) -> None:
        """A peer asks for a leaf, or answers."""
        if isinstance(message, LeafAsk):
            if self._nursery is None or peer in self._serving:
                self._say(peer, LeafLacking(message.request))
                return
            self._serving.add(peer)
            self._nursery.start_soon(self._serve, peer, message)
            return
        if (peer, message.request) != self._asked:
            return
        if isinstance(message, LeafLacking):
            self._answer = None
            self._answered.set()
        elif self._answer is not None and message.offset not in self._answer:
            self._answer[message.offset] = message.data
            if sum(map(len, self._answer.values())) >= message.total_bytes:
                self._answered.set()

    # --- Life -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Scrub, ask and serve until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                if self._scrub_interval_ms:
                    nursery.start_soon(self._scrub)
                while True:
                    await self._look()
                    await trio.sleep(LOOK_INTERVAL_S)
        finally:
            self._nursery = None
            self._ended.set()  # a scrub under way finishes its segment, and nobody waits for it

    async def _look(self) -> None:
        left: list[tuple[StreamId, RottenLeaf]] = []
        for stream in [*self._own, *await trio.to_thread.run_sync(self._room.streams)]:
            try:
                leaves = await self._in_thread(partial(rotten_leaves, OsDisk(), self._directory(stream)))
            except (StorageError, OSError) as error:
                log.warning("a stream can't be looked at", stream=str(stream), error=str(error))
                continue
            left += [(stream, leaf) for leaf in leaves if not await self._mend(stream, leaf)]
        self.rotten = tuple(left)

    async def _mend(self, stream: StreamId, leaf: RottenLeaf) -> bool:
        """Asks one peer after the other."""
        for peer in self._links.peers():
            data = await self._ask(peer, stream, leaf)
            if data is None:
                continue
            try:
                problem = await self._in_thread(
                    partial(mend_leaf, OsDisk(), self._directory(stream), leaf, data)
                )
            except OSError as error:
                problem = str(error)
            if not problem:
                self.mended_total += 1
                log.warning("a rotten part of the log is mended", stream=str(stream), segment=leaf.segment_first_seq, leaf=leaf.number, peer=peer)  # fmt: skip
                return True
            log.warning("a rotten part of the log is not mended", stream=str(stream), segment=leaf.segment_first_seq, leaf=leaf.number, peer=peer, reason=problem)  # fmt: skip
        return False

    async def _ask(self, peer: str, stream: StreamId, leaf: RottenLeaf) -> bytes | None:
        self._number += 1
        self._asked, self._answer, self._answered = (peer, self._number), {}, trio.Event()
        self._say(peer, LeafAsk(self._number, stream, leaf.epoch, leaf.segment_first_seq, leaf.number))
        with trio.move_on_after(ANSWER_S):
            await self._answered.wait()
        answer, self._asked = self._answer, ("", 0)
        if not answer or not self._answered.is_set():
            return None
        return b"".join(answer[offset] for offset in sorted(answer))

    async def _serve(self, peer: str, ask: LeafAsk) -> None:
        try:
            data = await self._in_thread(partial(self._leaf, ask))
            if data is None:
                self._say(peer, LeafLacking(ask.request))
                return
            # Small ones, whatever the link: leaves rot rarely, and nobody waits behind one.
            for offset in range(0, len(data), PART_BYTES_MIN):
                left = trio.Event()
                part = LeafPart(ask.request, len(data), offset, data[offset : offset + PART_BYTES_MIN])
                if not self._links.send(peer, encode_message(part), Priority.REPAIR, left.set):
                    return
                await left.wait()
        finally:
            self._serving.discard(peer)

    def _leaf(self, ask: LeafAsk) -> bytes | None:
        source = ChunkSource(self._directory(ask.stream), ask.stream)
        try:
            return source.leaf(ask.epoch, ask.segment_first_seq, ask.number)
        except (LogDamaged, OSError):
            return None
        finally:
            source.close()

    async def _scrub(self) -> None:
        """One segment of one copy after the other, each paced."""
        due_s: dict[StreamId, float] = {}
        while True:
            for stream in await trio.to_thread.run_sync(self._room.streams):
                if due_s.get(stream, 0.0) > trio.current_time():
                    continue
                scrubber = Scrubber(
                    self._directory(stream),
                    self._clock,
                    interval_ms=self._scrub_interval_ms,
                    pause=self._ended.wait,
                )
                try:
                    wait_s = await trio.to_thread.run_sync(scrubber.step, abandon_on_cancel=True)
                except OSError as error:
                    log.warning("a copy can't be scrubbed", stream=str(stream), error=str(error))
                    wait_s = LOOK_INTERVAL_S
                due_s[stream] = trio.current_time() + min(wait_s, NEVER_S)
            await trio.sleep(1)

    def _directory(self, stream: StreamId) -> Path:
        return self._own.get(stream) or self._room.directory(stream)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await trio.to_thread.run_sync(work, limiter=self._one_thread)

    def _say(self, peer: str, message: LeafMessage) -> None:
        self._links.send(peer, encode_message(message), Priority.REPAIR)


assert LEAF_BYTES > PART_BYTES_MIN
