"""Mends what rots in segments, of the own logs and of copies, from whoever holds the same. For trio.

Copies are scrubbed here (the own log is by the node), slowly; what any scrub found is asked of one connected peer after the other, a part
at a time (storage/replicas/rotten.py), and frames that no peer has of the cloud's regions. What is here says what a part was, so an answer that isn't that changes
nothing, whoever sent it. Asked for a part, this gives it where it is whole, one at a time for each peer, behind what is live on the link.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import StorageError, Unavailable
from appliance.core.limits import LEAF_BYTES
from appliance.core.limits_replication import LEAF_NUMBER_MAX, PART_BYTES_MIN
from replication.mender_words import UNSURE, Regions, Sender, Unsure, is_gap, nothing_of_regions
from replication.messages import (
    LeafAsk,
    LeafLacking,
    LeafMessage,
    LeafPart,
    RottenKind,
    encode_message,
)
from replication.scheduling import Priority
from storage.log.disk import OsDisk
from storage.log.layout import ZERO_HASH
from storage.log.lost import LostRange, keep_lost, lost_of
from storage.log.scrub import Scrubber
from storage.replicas.chunk_part import end_of_frames
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.giving import part_of_segment
from storage.replicas.mending import mend
from storage.replicas.room import ReplicaRoom
from storage.replicas.rotten import (
    FRAMES_BYTES_MAX,
    RottenBlemish,
    RottenFrames,
    RottenLeaf,
    RottenPart,
    rotten_frames,
    rotten_parts,
)
from storage.replicas.streams import SEQUENCE_MAX, StreamId

LOOK_INTERVAL_S: Final = 60.0
"""How often it is looked what scrubs have found: a small file for each stream, and the leaves that it names."""
ANSWER_S: Final = 300.0
"""For a leaf: 3 min of a link of 50 kbit/s that carries nothing else."""
NEVER_S: Final = 3_600.0
log = structlog.get_logger(__name__)
Result = TypeVar("Result")


class Mender:
    """See the module.

    Args:
        own: The directories of this node's own streams.
        room: All copies; only asked where they are.
        scrub_interval_ms: Within which each copy is read once; 0 for never.
        regions: Has frames from the cloud's regions; where there are none, nothing.
    """

    def __init__(
        self,
        links: Sender,
        own: Mapping[StreamId, Path],
        room: ReplicaRoom,
        *,
        clock: Clock,
        scrub_interval_ms: int,
        regions: Regions = nothing_of_regions,
    ) -> None:
        self._regions = regions
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
        self._said: LostRange | Unsure | None = None
        self._answered = trio.Event()
        self._one_asks = trio.Lock()
        self._ended = threading.Event()
        self.mended_total = 0
        self.rotten: tuple[tuple[StreamId, RottenPart], ...] = ()
        """What was found when it was looked last, and nobody could mend."""
        self.lost: tuple[tuple[StreamId, LostRange], ...] = ()
        """What of the streams here is marked lost."""

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
            self._answer, self._said = None, message.lost or (None if message.is_looked else UNSURE)
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
        left: list[tuple[StreamId, RottenPart]] = []
        lost: list[tuple[StreamId, LostRange]] = []
        for stream in [*self._own, *await trio.to_thread.run_sync(self._room.streams)]:
            directory = self._directory(stream)
            try:
                for part in await self._in_thread(partial(rotten_parts, OsDisk(), directory)):
                    left += [(stream, each) for each in await self._mend(stream, part)]
                lost += [(stream, each) for each in await self._in_thread(partial(lost_of, directory))]
            except FileNotFoundError:
                continue  # nothing was written to it yet
            except (StorageError, OSError) as error:
                log.warning("a stream can't be looked at", stream=str(stream), error=str(error))
        self.rotten, self.lost = tuple(left), tuple(lost)

    async def holder_of(self, stream: StreamId, part: RottenFrames) -> str:
        """Who that is reached has the first of these frames; "" where nobody has.

        Raises:
            Unavailable: `holders_not_asked`: some of them could not say.
        """
        unsure = []
        for peer in self._links.peers():
            data = await self._ask(
                peer, stream, part, what="frames", next_seq=part.first_seq, frame_hash=part.prev_hash
            )
            if isinstance(data, bytes) and end_of_frames(data, part.first_seq, part.prev_hash) is not None:
                return peer
            if data is UNSURE:
                unsure.append(peer)
        chunk = await self._regions(stream, part.epoch, part.first_seq, part.prev_hash, part.next_seq)
        if chunk is not None and chunk.lost is None:
            return "the cloud"
        if unsure:
            raise Unavailable(
                f"Not all boxes that are connected have said whether they have these records: {', '.join(unsure)}.",
                hint="Try again in a minute; if that doesn't help, update these boxes.",
                code="holders_not_asked",
            )
        return ""

    def marked(self, stream: StreamId, part: RottenFrames, lost: LostRange) -> None:
        """Frames are marked lost: they are missing no more."""
        self.rotten = tuple(each for each in self.rotten if each != (stream, part))
        self.lost = (*self.lost, (stream, lost))

    async def _mend(self, stream: StreamId, part: RottenPart) -> list[RottenPart]:
        """Has a part from whoever has it; a leaf as a whole, or the frames in it. Gives what is left of it.

        Raises:
            StorageError, OSError: the stream can't be read.
        """
        if isinstance(part, RottenBlemish):
            return [] if await self._put(stream, part, b"", "") else [part]
        if isinstance(part, RottenFrames):
            return [] if await self._mend_frames(stream, part) else [part]
        what = "leaf" if isinstance(part, RottenLeaf) else part.what
        for peer in self._links.peers():
            number = part.number if isinstance(part, RottenLeaf) else LEAF_NUMBER_MAX
            data = await self._ask(peer, stream, part, what=what, number=number)
            if isinstance(data, bytes) and await self._put(stream, part, data, peer):
                return []
        if isinstance(part, RottenLeaf):
            directory = self._directory(stream)
            frames = await self._in_thread(partial(rotten_frames, OsDisk(), directory, part))
            left = [each for each in frames if not await self._mend_frames(stream, each)]
            if left or part not in await self._in_thread(partial(rotten_parts, OsDisk(), directory)):
                return [*left]
        return [part]

    async def _mend_frames(self, stream: StreamId, part: RottenFrames) -> bool:
        """Puts frames together: one holder may have some of them, and another one the rest."""
        if not part.prev_hash or not part.end_hash or part.end_offset - part.offset > FRAMES_BYTES_MAX:
            return False
        pieces: list[bytes] = []
        sources: set[str] = set()
        seq, before = part.first_seq, part.prev_hash
        while seq < part.next_seq and sum(map(len, pieces)) <= FRAMES_BYTES_MAX:
            found = await self._next_frames(stream, part, seq, before)
            if found is None:
                return False
            if isinstance(found, LostRange):
                await self._in_thread(partial(keep_lost, OsDisk(), self._directory(stream), found))
                return True
            source, data, seq, before = found
            sources.add(source)
            pieces.append(data)
        return await self._put(stream, part, b"".join(pieces), ", ".join(sorted(sources)))

    async def _next_frames(
        self, stream: StreamId, part: RottenFrames, seq: int, before: bytes
    ) -> tuple[str, bytes, int, bytes] | LostRange | None:
        """Frames that go on from a place: of whom they are, their bytes, and where they end; or what says that all of them are lost."""
        told: LostRange | None = None
        for peer in self._links.peers():
            data = await self._ask(
                peer, stream, part, what="frames", next_seq=seq, frame_hash=before, upto_seq=part.next_seq
            )
            if not isinstance(data, bytes | None):
                told = data if isinstance(data, LostRange) and is_gap(data, stream, part) else told
                continue
            end = end_of_frames(data, seq, before) if data is not None else None
            if data is not None and end is not None and end[0] <= part.next_seq:
                return peer, data, *end
        chunk = await self._regions(stream, part.epoch, seq, before, part.next_seq)
        if (
            chunk is None
            or chunk.lost is not None
            or (chunk.epoch, chunk.segment_first_seq) != (part.epoch, part.segment_first_seq)
        ):
            return told
        end = end_of_frames(chunk.frames, seq, before)
        return told if end is None else ("the tier", chunk.frames, *end)

    async def _put(self, stream: StreamId, part: RottenPart, data: bytes, source: str) -> bool:
        told = {"stream": str(stream), "segment": part.segment_first_seq, "part": type(part).__name__, "source": source}  # fmt: skip
        try:
            problem = await self._in_thread(partial(mend, OsDisk(), self._directory(stream), part, data))
        except OSError as error:
            problem = str(error)
        if problem:
            log.warning("a rotten part of the log is not mended", **told, reason=problem)
            return False
        self.mended_total += 1
        log.warning("a rotten part of the log is mended", **told)
        return True

    async def _ask(
        self,
        peer: str,
        stream: StreamId,
        part: RottenPart,
        *,
        what: RottenKind,
        number: int = LEAF_NUMBER_MAX,
        next_seq: int = 0,
        frame_hash: bytes = ZERO_HASH,
        upto_seq: int = SEQUENCE_MAX,
    ) -> bytes | LostRange | Unsure | None:
        """What a peer has of a part, or says of it; None where it has looked and has nothing. One question at a time."""
        async with self._one_asks:
            return await self._ask_now(peer, stream, part, what, number, (next_seq, frame_hash, upto_seq))

    async def _ask_now(
        self,
        peer: str,
        stream: StreamId,
        part: RottenPart,
        what: RottenKind,
        number: int,
        place: tuple[int, bytes, int],  # of frames: sequence, hash before, and before which sequence
    ) -> bytes | LostRange | Unsure | None:
        self._number += 1
        self._said = UNSURE
        self._asked, self._answer, self._answered = (peer, self._number), {}, trio.Event()
        key = (part.epoch, part.segment_first_seq)
        next_seq, frame_hash, upto_seq = place
        self._say(peer, LeafAsk(self._number, stream, *key, number, what, next_seq, frame_hash, upto_seq))
        with trio.move_on_after(ANSWER_S):
            await self._answered.wait()
        answer, self._asked = self._answer, ("", 0)
        if not answer or not self._answered.is_set():
            return self._said
        return b"".join(answer[offset] for offset in sorted(answer))

    async def _serve(self, peer: str, ask: LeafAsk) -> None:
        try:
            data = await self._in_thread(partial(self._part, ask))
            if not isinstance(data, bytes):
                self._say(peer, LeafLacking(ask.request, data, is_looked=True))
                return
            # Small ones, whatever the link: parts rot rarely, and nobody waits behind one.
            for offset in range(0, len(data), PART_BYTES_MIN):
                left = trio.Event()
                part = LeafPart(ask.request, len(data), offset, data[offset : offset + PART_BYTES_MIN])
                if not self._links.send(peer, encode_message(part), Priority.REPAIR, left.set):
                    return
                await left.wait()
        finally:
            self._serving.discard(peer)

    def _part(self, ask: LeafAsk) -> bytes | LostRange | None:
        source, key = ChunkSource(self._directory(ask.stream), ask.stream), (ask.epoch, ask.segment_first_seq)
        try:
            if ask.what == "leaf":
                return source.leaf(*key, ask.number)
            return part_of_segment(
                source,
                key,
                ask.what,
                next_seq=ask.next_seq,
                frame_hash=ask.hash,
                upto_seq=ask.upto_seq,
            )
        except (StorageError, OSError):
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
                    newest=True,
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
