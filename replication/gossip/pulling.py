"""What is lacking here is asked for, by pieces, of whoever has it; what comes is put in order and appended. Pure.

One peer at a time is asked for a stream, the next piece as soon as the first part of the one before says where it ends. Bytes that were
asked for and aren't appended yet are bounded, for each peer by its window and for all together. Streams that are nearly up to date
come first, since little ends their lag. Nothing is believed of a chunk but where it says it begins and ends: it is verified when it
is appended, and what was said of it is forgotten where that fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from appliance.core.limits_replication import (
    HELD_STREAM_COUNT_MAX,
    PULL_COUNT_MAX,
    PULLS_UNDER_WAY_BYTES_MAX,
    WAITING_CHUNK_BYTES_MAX,
)
from replication.effects import Append, NotThere, PackedChunk, Place, Read, Refused, SetAside
from replication.gossip.forks import Forks
from replication.gossip.joining import Joiner
from replication.gossip.lags import Lags
from replication.gossip.parts import Assembly
from replication.gossip.pushed import PushedParts
from replication.gossip.state import NOTHING, Core, Held, PeerState, PullState, continues, has_footer, order
from replication.messages import ChunkPart, Lacking, Pull, Wanted
from replication.scheduling import Priority
from storage.replicas.streams import StreamId

PULL_IDLE_MS: Final = 30_000
"""Requests for a stream are given up when no part of any of them came for so long, ..."""
PULL_BEHIND_MS: Final = 300_000
"""... or so long, where the peer sends parts of others' meanwhile: at 50 kbit/s a frame of 512 KiB takes 84 s."""
REST_MS: Final = 60_000
"""So long a peer isn't asked for a stream of which it gave us bad bytes, or nothing."""
BUSY_REST_MS: Final = 1_000
PUSHED_LATELY_MS: Final = 10_000
"""What is being pushed to us isn't asked for too, and a writer that has just connected may begin to: on a slow link both would take
twice the time."""
BEGIN_WAIT_MS: Final = 15_000
"""A copy grows at its end only: it isn't begun in the middle of a stream before a link has stood so long, and others have had the time to connect."""
FRAMES: Final[Wanted] = "frames"
SEGMENT: Final[Wanted] = "segment"
FOOTER: Final[Wanted] = "footer"
CHAIN_COUNT_MAX: Final = 4
"""Requests for one stream under way."""


class Puller:
    """Asks for what is lacking, and puts together what comes.

    Args:
        tell_duplicate: Called when a peer pushes what is here already: it lost our word that it is.
    """

    def __init__(
        self, core: Core, forks: Forks, *, tell_duplicate: Callable[[PeerState, Held], None]
    ) -> None:
        self._core = core
        self._forks = forks
        self.pushed = PushedParts(core, tell_duplicate=tell_duplicate)
        self._joiner = Joiner(core, forks)
        self.lags = Lags(core)
        self._chains: dict[StreamId, tuple[str, list[int]]] = {}
        self._under_way_bytes = 0
        self.dropped_count = 0

    @property
    def under_way_bytes(self) -> int:
        """Asked for and not appended yet."""
        return self._under_way_bytes

    def left(self, state: PeerState) -> None:
        """A peer's link is gone, and with it all that was under way."""
        self._drop(state, list(state.pulls))
        self.lags.left(state.node_id)

    def pull(self, now_ms: int) -> None:
        """Asks for as much as may be under way."""
        while self.lags.peers and self._under_way_bytes < PULLS_UNDER_WAY_BYTES_MAX:
            best: tuple[int, PeerState, StreamId] | None = None
            for stream in list(self.lags.peers):
                state = self._source(stream, now_ms)
                if state is None:
                    continue
                lag_ms = self.lags.lag_ms(stream, state)
                if best is None or lag_ms < best[0]:
                    best = (lag_ms, state, stream)
            if best is None:
                return
            self._ask(best[1], best[2], now_ms)

    def part(self, state: PeerState, part: ChunkPart, now_ms: int) -> None:
        """A part came, asked for or pushed."""
        stream = state.aliases.get(part.stream, part.stream)
        if self._core.fleet.is_cloud and not part.request:
            return  # pushed by a release that knows no cloud nodes
        if part.request:
            chunk = self._asked_part(state, stream, part, now_ms)
        else:
            state.part_at_ms = now_ms
            chunk = self.pushed.take(state, stream, part, now_ms)
        if chunk is not None:
            self._accept(state, replace(chunk, stream=stream), part.request, now_ms)

    def lacking(self, state: PeerState, message: Lacking, now_ms: int) -> tuple[StreamId, Place] | None:
        """A peer has nothing for a request.

        Returns:
            The stream, and the place that was asked from; None: no such request is under way.
        """
        pull = state.pulls.get(message.request)
        if pull is None:
            return None
        stream = pull.stream
        self._break_chain(stream)
        rest_ms = BUSY_REST_MS if message.reason in ("busy", "nothing") else REST_MS
        state.resting[stream] = now_ms + rest_ms
        if message.reason in ("nothing", "unknown"):
            self.lags.forget(stream, state.node_id)
        return stream, pull.start

    def is_reading(self, number: int) -> bool:
        return self._joiner.is_reading(number)

    def read(self, effect: Read, outcome: PackedChunk | NotThere, now_ms: int) -> None:
        """Where the first chunk of a branch goes on from."""
        chunk, peer, request, is_joint = self._joiner.read(effect, outcome)
        state, held = self._core.peers.get(peer), self._core.held.get(chunk.stream)
        if state is None or held is None or request not in state.pulls or held.head.epoch or held.waiting:
            return
        told = state.heads.get(chunk.stream)
        if is_joint or (told is not None and 1 < told.first_seq >= chunk.first_seq):
            # What comes before that either is here, or its holder has removed it too.
            held.waiting.append((chunk, peer, request))
            held.waiting_bytes += len(chunk.data)
            self.start(held, now_ms)
            return
        self._break_chain(chunk.stream)
        if not self._joiner.go_back(chunk):
            state.resting[chunk.stream] = now_ms + REST_MS
        self.pull(now_ms)

    def appended(self, held: Held, chunk: PackedChunk, peer: str, request: int, now_ms: int) -> None:
        """A chunk is in the copy, or was refused: what it took of the windows is free again."""
        state = self._core.peers.get(peer)
        if state is not None and request in state.pulls:
            pull = state.pulls[request]
            self._finish(state, request)
            state.pull_window.end(pull.credit_bytes, now_ms - pull.asked_at_ms)
        self.lags.appended(held.stream, held.head)
        self.pushed.tell_gap(held)

    def start(self, held: Held, now_ms: int) -> None:
        """Appends the next chunk that waits."""
        if held.waiting and not held.appending and now_ms >= held.not_before_ms:
            held.appending = self._core.number()
            self._core.out.append(Append(number=held.appending, chunk=held.waiting[0][0]))

    def refuse(self, held: Held, peer: str, now_ms: int, *, is_peers_fault: bool) -> None:
        """A chunk was refused: whatever was to follow it goes too."""
        self._break_chain(held.stream)
        held.waiting.clear()
        held.waiting_bytes = 0
        state = self._core.peers.get(peer)
        if state is not None and is_peers_fault:
            state.resting[held.stream] = now_ms + REST_MS

    def refused(self, held: Held, chunk: PackedChunk, refused: Refused, now_ms: int) -> None:
        """A chunk was not taken. Where its writer began anew before what is kept here, the copy can't be gone on with."""
        is_gap = refused.reason == "gap"
        if is_gap and held.head.epoch < chunk.epoch and chunk.first_seq < held.head.first_seq:
            held.not_before_ms = now_ms + REST_MS
            self._core.out.append(SetAside(stream=held.stream))

    def tick(self, now_ms: int) -> None:
        """Gives up what doesn't come."""
        for state in self._core.peers.values():
            for request, pull in list(state.pulls.items()):
                is_here = pull.end is not None and (pull.stream, request) not in state.assemblies
                if not is_here and request in state.pulls and self._is_idle(state, pull, now_ms):
                    self._break_chain(pull.stream)
                    state.resting[pull.stream] = now_ms + BUSY_REST_MS
            self.pushed.tick(state, now_ms)
            for stream in [name for name, until_ms in state.resting.items() if until_ms <= now_ms]:
                del state.resting[stream]
        for held in self._core.held.values():
            if held.waiting:
                self.start(held, now_ms)
        self.pull(now_ms)

    def _is_idle(self, state: PeerState, pull: PullState, now_ms: int) -> bool:
        """Nothing came for a stream for long. Requests are answered one after the other: who waits behind one that comes isn't idle."""
        requests = self._chains[pull.stream][1]
        idle_ms = now_ms - max(state.pulls[request].touched_at_ms for request in requests)
        return idle_ms >= (PULL_BEHIND_MS if now_ms - state.part_at_ms < PULL_IDLE_MS else PULL_IDLE_MS)

    def _source(self, stream: StreamId, now_ms: int) -> PeerState | None:
        """The peer to ask for the next piece of a stream; None where nothing can be asked for now."""
        held = self._core.held.get(stream)
        chain = self._chains.get(stream)
        if chain is not None:
            peer, requests = chain
            state = self._core.peers[peer]
            last = state.pulls[requests[-1]]
            is_first = bool(stream.branch) and (held is None or not held.head.epoch)
            if last.end is None or last.is_footer or is_first or len(requests) >= CHAIN_COUNT_MAX:
                return None
            head = state.heads.get(stream)
            is_more = head is not None and head.place > order(last.end)
            if not last.is_live and self.lags.is_live(stream, state, now_ms):
                return None  # the tail goes by itself, when what is before it is here
            return state if is_more and self._has_room(state, stream, now_ms) else None
        writer = self._core.peers.get(stream.node_id)
        if writer is not None and not stream.branch:
            pushed_at_ms = max(writer.connected_at_ms, held.pushed_at_ms if held is not None else 0)
            if now_ms - pushed_at_ms < PUSHED_LATELY_MS:
                return None
        if held is not None:
            if held.appending or held.waiting:
                return None
            if now_ms < held.not_before_ms:
                return None
        elif len(self._core.held) >= HELD_STREAM_COUNT_MAX:
            return None
        mine = held.head if held is not None else NOTHING
        best: tuple[tuple[tuple[int, bool], int, float], PeerState] | None = None
        is_gone = False
        for name in list(self.lags.peers[stream]):
            state = self._core.peers[name]
            head = state.heads.get(stream)
            if head is None or (head.place <= mine.place and not has_footer(head, mine)):
                self.lags.forget(stream, name)
                continue
            if stream in state.resting or not self._has_room(state, stream, now_ms):
                continue
            if mine.epoch and head.first_seq > mine.next_seq:
                is_gone = is_gone or name == stream.node_id
                continue  # it has no longer what comes next
            begins = 0 if mine.epoch else head.first_seq
            if begins > 1 and not stream.branch and now_ms - state.connected_at_ms < BEGIN_WAIT_MS:
                continue  # somebody who has what comes before that may be about to connect
            rank = (
                (begins, name != stream.node_id),
                self._core.fleet.distance(name),
                self._core.rng.random(),
            )
            if best is None or rank < best[0]:
                best = (rank, state)
        if best is None and is_gone and held is not None:
            # Its writer itself has removed what comes next, and nobody who is here has it.
            held.not_before_ms = now_ms + REST_MS
            self._core.out.append(SetAside(stream=stream))
        return best[1] if best is not None else None

    def _has_room(self, state: PeerState, stream: StreamId, now_ms: int) -> bool:
        """Whether a peer may be asked. One request for a stream's tail is under way beside whatever backlogs take."""
        if len(state.pulls) >= PULL_COUNT_MAX:
            return False
        return state.pull_window.is_open or (
            stream not in self._chains and self.lags.is_live(stream, state, now_ms)
        )

    def _ask(self, state: PeerState, stream: StreamId, now_ms: int) -> None:
        held = self._core.held.get(stream)
        if held is None:
            held = self._core.held[stream] = Held(stream, NOTHING, is_own=False)
        chain = self._chains.get(stream)
        if chain is not None:
            start = state.pulls[chain[1][-1]].end
            assert start is not None
        else:
            start = held.end
        self._request(state, stream, start, now_ms)

    def _request(self, state: PeerState, stream: StreamId, start: Place, now_ms: int) -> None:
        held = self._core.held[stream]
        head = state.heads.get(stream, NOTHING)
        is_footer = stream not in self._chains and head.place <= held.head.place
        asked, wanted = start, FRAMES
        branch_place = self._forks.branch_place(stream)
        if is_footer:
            asked, wanted = (
                Place(epoch=held.head.epoch, next_seq=held.head.sealed_seq, hash=start.hash),
                FOOTER,
            )
        elif start.epoch == 0 and branch_place is not None:
            asked, wanted = branch_place, SEGMENT
        credit_bytes = state.pull_window.chunk_bytes
        request, chain = self._core.number(), self._chains.get(stream)
        # Requests that follow each other are of one kind: an answer must not overtake the one before it.
        is_live = (
            state.pulls[chain[1][-1]].is_live
            if chain is not None
            else self.lags.is_live(stream, state, now_ms)
        )
        state.pulls[request] = PullState(
            stream, start, credit_bytes, now_ms, now_ms, is_footer=is_footer, is_live=is_live
        )
        state.pull_window.begin(credit_bytes)
        self._under_way_bytes += credit_bytes
        self._chains.setdefault(stream, (state.node_id, []))[1].append(request)
        name = next((theirs for theirs, ours in state.aliases.items() if ours == stream), stream)
        message = Pull(request, name, asked.epoch, asked.next_seq, asked.hash, credit_bytes, wanted, is_live)
        self._core.send(state.node_id, message, Priority.CONTROL)

    def _asked_part(
        self, state: PeerState, stream: StreamId, part: ChunkPart, now_ms: int
    ) -> PackedChunk | None:
        pull = state.pulls.get(part.request)
        if pull is None or pull.stream != stream:
            self.dropped_count += 1
            return None
        pull.touched_at_ms = state.part_at_ms = now_ms
        key = (stream, part.request)
        assembly = state.assemblies.get(key)
        if assembly is None:
            if pull.end is not None:
                return None  # it is whole already, this part came twice
            if not self._is_answer(pull, part):
                self._break_chain(stream)
                state.resting[stream] = now_ms + REST_MS
                self.dropped_count += 1
                return None
            if part.total_bytes > pull.credit_bytes:
                more_bytes = part.total_bytes - pull.credit_bytes
                pull.credit_bytes += more_bytes
                state.pull_window.begin(more_bytes)
                self._under_way_bytes += more_bytes
            pull.end = Place(epoch=part.epoch, next_seq=part.next_seq, hash=part.hash)
            pull.last_at_ms = part.last_at_ms
            assembly = state.assemblies[key] = Assembly(part, now_ms)
        elif not assembly.is_of(part):
            self.dropped_count += 1
            return None
        chunk = assembly.add(part, now_ms)
        if chunk is not None:
            del state.assemblies[key]
        return chunk

    def _is_answer(self, pull: PullState, part: ChunkPart) -> bool:
        start = pull.start
        if pull.is_footer:
            return True
        begins = part.first_seq == start.next_seq and part.prev_hash == start.hash
        # A writer may have begun a later epoch before what an earlier one had reached.
        is_later = part.epoch > start.epoch and part.first_seq <= start.next_seq
        return (start.epoch == 0 or begins or is_later) and (part.epoch, part.next_seq) > order(start)

    def _accept(self, state: PeerState, chunk: PackedChunk, request: int, now_ms: int) -> None:
        held = self._core.held[chunk.stream]
        pull = state.pulls.get(request) if request else None
        is_footer = pull is not None and pull.is_footer
        size_bytes = len(chunk.data)
        if chunk.stream.branch and not held.end.epoch:
            if not request or not self._joiner.look_up(chunk, state.node_id, request):
                self.dropped_count += 1
                self._break_chain(chunk.stream)
            return
        has_room = not held.waiting or held.waiting_bytes + size_bytes <= WAITING_CHUNK_BYTES_MAX
        # A copy that is empty still, because the answer before got lost, must not begin with one that was to follow it.
        is_early = pull is not None and pull.start.epoch > 0 and not held.end.epoch
        if (is_footer and not held.waiting) or (has_room and not is_early and continues(held, chunk)):
            held.waiting.append((chunk, state.node_id, request))
            held.waiting_bytes += size_bytes
            self.start(held, now_ms)
            return
        self.dropped_count += 1
        if request:
            self._break_chain(chunk.stream)
        elif chunk.stream not in self._chains and (chunk.epoch, chunk.next_seq) > order(held.end):
            self.pushed.missed(state, held)

    def _break_chain(self, stream: StreamId) -> None:
        """Forgets all requests for a stream that aren't waiting to be appended; their answers are dropped when they come."""
        chain = self._chains.get(stream)
        if chain is not None:
            state = self._core.peers[chain[0]]
            self._drop(state, list(chain[1]))

    def _drop(self, state: PeerState, requests: list[int]) -> None:
        """One loss, however many requests it is of: the window is halved once."""
        if requests:
            state.pull_window.give_up(sum(state.pulls[request].credit_bytes for request in requests))
        for request in requests:
            self._finish(state, request)

    def _finish(self, state: PeerState, request: int) -> None:
        pull = state.pulls.pop(request)
        self._under_way_bytes -= pull.credit_bytes
        state.assemblies.pop((pull.stream, request), None)
        chain = self._chains.get(pull.stream)
        if chain is not None and request in chain[1]:
            chain[1].remove(request)
            if not chain[1]:
                del self._chains[pull.stream]
