"""Nodes that copy each other's streams, on a virtual clock: the real machine over logs in memory and a network that may do anything."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

import msgspec

from replication.effects import Append, Effect, KeepFork, NotThere, PackedChunk, Place, Read, Refused, Send
from replication.gossip.fleet_view import PeerInfo
from replication.gossip.machine import Gossip
from replication.gossip.state import NOTHING, ZERO_HASH
from replication.messages import GossipMessage, decode_message, encode_message
from storage.replicas.streams import StreamHead, StreamId


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """A frame without a file: its hash covers what it says and what it follows."""

    epoch: int
    first_seq: int
    next_seq: int
    prev_hash: bytes
    at_ms: int
    body: bytes

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(msgspec.msgpack.encode(self)).digest()


FRAMES = msgspec.msgpack.Decoder(list[Frame])


class MemoryLog:
    """One stream: as ReplicaLog and ChunkSource, without their files. An epoch is one segment."""

    def __init__(self, stream: StreamId) -> None:
        self.stream = stream
        self.frames: list[Frame] = []
        self.epoch = 0
        self.replaced: list[Frame] = []

    def write(self, records: int, at_ms: int, body: bytes = b"", epoch: int = 1) -> StreamHead:
        head = self.head()
        self.epoch = max(self.epoch, epoch)
        frame = Frame(self.epoch, head.next_seq, head.next_seq + records, head.hash, at_ms, body)
        self.frames.append(frame)
        return self.head()

    def head(self) -> StreamHead:
        if not self.frames:
            return StreamHead(self.epoch, 1, ZERO_HASH)
        last = self.frames[-1]
        return StreamHead(self.epoch, last.next_seq, last.hash, self.frames[0].first_seq, 1, last.at_ms)

    def read(self, effect: Read) -> PackedChunk | NotThere:
        if not self.frames:
            return NotThere(reason="unknown")
        place = effect.place
        if place.epoch == 0:
            return self._chunk(0, effect)
        at = next((n for n, frame in enumerate(self.frames) if frame.epoch > place.epoch), None)
        if at is not None and self.frames[at].first_seq <= place.next_seq:
            return self._chunk(at, effect)
        for n, frame in enumerate(self.frames):
            if effect.wanted == "segment" and frame.next_seq >= place.next_seq:
                start = next(m for m, other in enumerate(self.frames) if other.epoch == frame.epoch)
                return self._chunk(start, effect)
            if frame.first_seq == place.next_seq and frame.prev_hash == place.hash:
                return self._chunk(n, effect)
            if frame.next_seq == place.next_seq and frame.hash != place.hash:
                return NotThere(reason="parted", hash=frame.hash)
            if frame.first_seq < place.next_seq < frame.next_seq:
                return NotThere(reason="parted")
        return NotThere(reason="nothing")

    def append(self, chunk: PackedChunk) -> StreamHead | Refused:
        try:
            frames = FRAMES.decode(chunk.data)
        except msgspec.DecodeError:
            return Refused(reason="damaged", head=self.head())
        head = self.head()
        first = frames[0]
        if first.epoch > head.epoch and first.first_seq < head.next_seq:
            keep = [frame for frame in self.frames if frame.next_seq <= first.first_seq]
            if keep and keep[-1].hash == first.prev_hash:
                self.replaced += self.frames[len(keep) :]
                self.frames = keep
                head = self.head()
        if self.frames and first.first_seq != head.next_seq:
            return Refused(reason="gap", head=head)
        if self.frames and first.prev_hash != head.hash:
            place = Place(epoch=head.epoch, next_seq=head.next_seq, hash=head.hash)
            return Refused(reason="fork", head=head, fork_place=place, fork_hash=first.prev_hash)
        before = first.prev_hash
        for frame in frames:
            if frame.prev_hash != before:
                return Refused(reason="damaged", head=head)
            before = frame.hash
        if (frames[-1].next_seq, before) != (chunk.next_seq, chunk.hash):
            return Refused(reason="damaged", head=head)
        self.frames += frames
        self.epoch = frames[-1].epoch
        return self.head()

    def _chunk(self, at: int, effect: Read) -> PackedChunk:
        taken: list[Frame] = []
        size = 0
        for frame in self.frames[at:]:
            if taken and (size + len(frame.body) > effect.bytes_max or frame.epoch != taken[0].epoch):
                break
            taken.append(frame)
            size += len(frame.body) + 100
        return PackedChunk(
            stream=self.stream,
            epoch=taken[-1].epoch,
            first_seq=taken[0].first_seq,
            prev_hash=taken[0].prev_hash,
            next_seq=taken[-1].next_seq,
            hash=taken[-1].hash,
            last_at_ms=taken[-1].at_ms,
            data=msgspec.msgpack.encode(taken),
        )


@dataclass
class Weather:
    """What the network does to messages, which keep their order on each link but for those in disorder. Times are ms."""

    loss: float = 0.0
    twice: float = 0.0
    disorder: float = 0.0
    delay_ms: tuple[int, int] = (1, 20)


@dataclass
class MemoryNode:
    name: str
    machine: Gossip
    logs: dict[StreamId, MemoryLog] = field(default_factory=dict)
    forks: list[KeepFork] = field(default_factory=list)
    up: bool = True
    append_ms: tuple[int, int] = (1, 5)
    """What its disk takes for a chunk, ms."""

    @property
    def own(self) -> StreamId:
        return StreamId(self.name, "telemetry")


class World:
    """Nodes, links between some of them, and a clock."""

    def __init__(self, seed: int, infos: Sequence[PeerInfo], *, weather: Weather | None = None) -> None:
        self.rng = random.Random(seed)
        self.now_ms = 0
        self.infos = infos
        self.weather = weather or Weather()
        self.links: set[frozenset[str]] = set()
        self.carried_bytes = 0
        self._arrivals_ms: dict[tuple[str, str], int] = {}
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self.nodes = {
            info.node_id: MemoryNode(info.node_id, Gossip(info.node_id, random.Random(self.rng.random()), 0))
            for info in infos
        }
        for node in self.nodes.values():
            self._do(node, node.machine.set_fleet(infos, 0))

    def link(self, one: str, two: str) -> None:
        self.links.add(frozenset((one, two)))
        for a, b in ((one, two), (two, one)):
            self._do(self.nodes[a], self.nodes[a].machine.connected(b, self.now_ms))

    def cut(self, one: str, two: str) -> None:
        self.links.discard(frozenset((one, two)))
        for a, b in ((one, two), (two, one)):
            self._do(self.nodes[a], self.nodes[a].machine.disconnected(b, self.now_ms))

    def write(self, name: str, *, records: int = 1, body: bytes = b"", epoch: int = 1) -> None:
        node = self.nodes[name]
        log = node.logs.setdefault(node.own, MemoryLog(node.own))
        head = log.write(records, self.now_ms + 1, body, epoch)
        self._do(node, node.machine.holds(node.own, head, self.now_ms))

    def give(self, name: str, effects: list[Effect]) -> None:
        self._do(self.nodes[name], effects)

    def run(self, for_ms: int, *, until: Callable[[], bool] | None = None) -> bool:
        """Lets time pass; whether `until` came true."""
        end_ms = self.now_ms + for_ms
        while True:
            if until is not None and until():
                return True
            ticks = [
                at_ms for node in self.nodes.values() if (at_ms := node.machine.next_at_ms()) is not None
            ]
            soonest = min([*ticks, *([self._heap[0][0]] if self._heap else [])], default=None)
            if soonest is None or soonest > end_ms:
                self.now_ms = end_ms
                return until is not None and until()
            self.now_ms = max(self.now_ms, soonest)
            if self._heap and self._heap[0][0] <= self.now_ms:
                heapq.heappop(self._heap)[2]()
            else:
                for node in self.nodes.values():
                    at_ms = node.machine.next_at_ms()
                    if at_ms is not None and at_ms <= self.now_ms:
                        self._do(node, node.machine.tick(self.now_ms))

    def heads(self, stream: StreamId) -> dict[str, tuple[int, int, bytes]]:
        out = {}
        for name, node in self.nodes.items():
            head = node.machine.head(stream)
            out[name] = (head.epoch, head.next_seq, head.hash)
        return out

    def has_converged(self) -> bool:
        streams = {node.own for node in self.nodes.values() if node.own in node.logs}
        return all(len(set(self.heads(stream).values())) == 1 for stream in streams)

    def _do(self, node: MemoryNode, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._send(node, effect)
            elif isinstance(effect, Read):
                self._later(self.rng.randint(0, 3), self._reading(node, effect))
            elif isinstance(effect, Append):
                self._later(self.rng.randint(*node.append_ms), self._appending(node, effect))
            elif isinstance(effect, KeepFork):
                node.forks.append(effect)

    def _send(self, node: MemoryNode, effect: Send) -> None:
        data = encode_message(effect.message)
        self.carried_bytes += len(data)
        self._later(1, lambda: self._do(node, node.machine.sent(effect.peer, effect.size_bytes, self.now_ms)))
        times = 0 if self.rng.random() < self.weather.loss else 1
        times += self.rng.random() < self.weather.twice
        link = frozenset((node.name, effect.peer))
        for _ in range(times):
            way = (node.name, effect.peer)
            at_ms = max(self.now_ms + self.rng.randint(*self.weather.delay_ms), self._arrivals_ms.get(way, 0))
            if self.rng.random() >= self.weather.disorder:
                self._arrivals_ms[way] = at_ms
            else:
                at_ms += self.rng.randint(*self.weather.delay_ms)
            self._later(at_ms - self.now_ms, self._arriving(link, *way, data))

    def _arriving(self, link: frozenset[str], source: str, target: str, data: bytes) -> Callable[[], None]:
        def arrive() -> None:
            if link in self.links:
                node = self.nodes[target]
                message = decode_message(data)
                assert isinstance(message, GossipMessage)
                self._do(node, node.machine.receive(source, message, self.now_ms))

        return arrive

    def _reading(self, node: MemoryNode, effect: Read) -> Callable[[], None]:
        def read() -> None:
            log = node.logs.get(effect.stream)
            outcome = log.read(effect) if log is not None else NotThere(reason="unknown")
            self._do(node, node.machine.read(effect, outcome, self.now_ms))

        return read

    def _appending(self, node: MemoryNode, effect: Append) -> Callable[[], None]:
        def append() -> None:
            stream = effect.chunk.stream
            log = node.logs.setdefault(stream, MemoryLog(stream))
            outcome = log.append(effect.chunk)
            if isinstance(outcome, Refused) and not log.frames:
                outcome = Refused(reason=outcome.reason, head=NOTHING)
            self._do(node, node.machine.appended(effect, outcome, self.now_ms))

        return append

    def _later(self, in_ms: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now_ms + in_ms, next(self._order), action))


def fleet(size: int, *, sites: int | None = None, regions: int = 1) -> list[PeerInfo]:
    """Nodes with ids that tell them apart, spread over sites and regions."""
    return [
        PeerInfo(
            node_id=f"{n + 1:032x}",
            site_id=f"{n % (sites or size) + 1:032x}",
            region=str(n % regions),
        )
        for n in range(size)
    ]
