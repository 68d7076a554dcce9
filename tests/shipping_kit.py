"""Regions and a stream that are numbers only, and who drives a shipping machine over them on a clock of its own."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from replication.effects import Place
from replication.tier.pieces import PieceName
from replication.tier.shipping import Shipping, ShippingOptions
from replication.tier.steps import (
    EMPTY,
    Audit,
    Audited,
    Failed,
    FindEnd,
    Gone,
    Nothing,
    Outcome,
    Refused,
    Ship,
    Shipped,
    Step,
    Tell,
)
from storage.replicas.streams import StreamHead, StreamId

STREAM = StreamId("0a" * 16, "telemetry")
RECORD_BYTES = 1_000


def hash_at(seq: int) -> bytes:
    """Of the frame before a sequence, in the one history that there is."""
    return seq.to_bytes(32, "big")


def head_at(seq: int, *, epoch: int = 1, first_seq: int = 1) -> StreamHead:
    return StreamHead(epoch, seq, hash_at(seq), first_seq=first_seq)


@dataclass
class ModelRegion:
    """A region's pieces, by the sequence with which each begins."""

    name: str
    pieces: dict[StreamId, dict[int, PieceName]] = field(default_factory=dict)
    is_away: bool = False
    latency_ms: int = 20
    bytes_per_ms: int = 100_000

    def last(self, stream: StreamId) -> PieceName | None:
        kept = self.pieces.get(stream, {})
        return kept[max(kept)] if kept else None

    def put(self, piece: PieceName, *, is_mending: bool = False) -> PieceName | None:
        """None where it is kept; else what keeps it from that."""
        kept = self.pieces.setdefault(piece.stream, {})
        last = self.last(piece.stream)
        if piece.first_seq in kept:
            return None if kept[piece.first_seq] == piece else last
        if last is not None and not piece.follows(last) and not is_mending:
            return last
        kept[piece.first_seq] = piece
        return None

    def gaps(self, stream: StreamId) -> list[tuple[int, int]]:
        """(end, beginning) of neighbours that don't follow each other."""
        kept = [self.pieces.get(stream, {})[seq] for seq in sorted(self.pieces.get(stream, {}))]
        first = [(1, kept[0].first_seq)] if kept and kept[0].first_seq > 1 else []
        return first + [(one.next_seq, two.first_seq) for one, two in pairwise(kept) if not two.follows(one)]


class Box:
    """A machine and what it holds, driven over regions.

    Args:
        schedule: Calls something later: (in ms, what).
    """

    def __init__(
        self,
        regions: Sequence[ModelRegion],
        schedule: Callable[[int, Callable[[], None]], None],
        now: Callable[[], int],
        *,
        seed: int = 1,
        options: ShippingOptions | None = None,
        is_own: bool = True,
    ) -> None:
        self.regions = {region.name: region for region in regions}
        self.machine = Shipping([region.name for region in regions], random.Random(seed), now(), options)
        self.told: dict[str, StreamHead] = {}
        self.log: list[Step] = []
        self.head = head_at(1)
        self._schedule, self._now, self._is_own = schedule, now, is_own

    def grow(self, next_seq: int, *, first_seq: int = 1, epoch: int = 1) -> None:
        self.head = head_at(next_seq, epoch=epoch, first_seq=first_seq)
        self.do(self.machine.holds(STREAM, self.head, self._now(), is_own=self._is_own))

    def tick(self) -> None:
        self.do(self.machine.tick(self._now()))

    def do(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self.log.append(step)
            match step:
                case Tell():
                    self.told[step.region] = step.head
                case FindEnd():
                    self._later(self.regions[step.region].latency_ms, step, self._find)
                case Ship():
                    self._ship(step)
                case Audit():
                    self._later(self.regions[step.region].latency_ms, step, self._audit)

    def _later(self, in_ms: int, step: Step, work: Callable[..., None]) -> None:
        self._schedule(in_ms, lambda: work(step))

    def _find(self, step: FindEnd) -> None:
        region = self.regions[step.region]
        outcome = Failed(reason="away") if region.is_away else region.last(step.stream)
        self.do(self.machine.found(step, outcome, self._now()))

    def _audit(self, step: Audit) -> None:
        region = self.regions[step.region]
        if region.is_away:
            self.do(self.machine.audited(step, Failed(reason="away"), self._now()))
            return
        mended = 0
        for begins, ends in region.gaps(step.stream):
            if begins >= self.head.first_seq:
                region.put(self._piece(begins, ends), is_mending=True)
                mended += 1
        self.do(self.machine.audited(step, Audited(looked_count=1, mended_count=mended), self._now()))

    def _ship(self, step: Ship) -> None:
        region = self.regions[step.region]
        found = self._cut(step)
        if not isinstance(found, PieceName):
            self._schedule(1, lambda: self.do(self.machine.shipped(step, found, self._now())))
            return
        took_ms = region.latency_ms + found.size_bytes // region.bytes_per_ms

        def put() -> None:
            outcome: Outcome
            if region.is_away:
                outcome = Failed(reason="away")
            elif (last := region.put(found, is_mending=step.skips_gap)) is not None:
                outcome = Refused(last=last)
            else:
                is_cut = (
                    found.next_seq < self.head.next_seq and found.size_bytes >= step.bytes_max - RECORD_BYTES
                )
                outcome = Shipped(name=found, is_cut=is_cut, sent_bytes=found.size_bytes)
            self.do(self.machine.shipped(step, outcome, self._now()))

        self._schedule(took_ms, put)

    def _cut(self, step: Ship) -> PieceName | Gone | Nothing:
        if step.from_region:
            other = self.regions[step.from_region]
            found = other.pieces.get(step.stream, {}).get(step.place.next_seq)
            return Gone() if other.is_away or found is None else found
        begins = self.head.first_seq if step.place == EMPTY or step.skips_gap else step.place.next_seq
        begins = max(begins, step.place.next_seq)
        if begins < self.head.first_seq:
            return Gone()
        if begins >= self.head.next_seq:
            return Nothing()
        return self._piece(begins, min(self.head.next_seq, begins + max(1, step.bytes_max // RECORD_BYTES)))

    def _piece(self, begins: int, ends: int) -> PieceName:
        return PieceName(
            stream=STREAM,
            epoch=self.head.epoch,
            first_seq=begins,
            prev_hash=hash_at(begins),
            next_seq=ends,
            hash=hash_at(ends),
            size_bytes=(ends - begins) * RECORD_BYTES,
            last_at_ms=0,
        )

    @property
    def end(self) -> Place:
        return Place(epoch=self.head.epoch, next_seq=self.head.next_seq, hash=self.head.hash)


class Rig:
    """A clock, regions and boxes. Times are ms."""

    def __init__(self, *names: str, seed: int = 1) -> None:
        self.now_ms = 0
        self.regions = {name: ModelRegion(name) for name in names}
        self.boxes: list[Box] = []
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0
        self._seed = seed

    def box(self, *, is_own: bool = True, options: ShippingOptions | None = None) -> Box:
        box = Box(
            list(self.regions.values()),
            self.at,
            lambda: self.now_ms,
            seed=self._seed + len(self.boxes),
            options=options,
            is_own=is_own,
        )
        self.boxes.append(box)
        return box

    def at(self, in_ms: int, what: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._heap, (self.now_ms + in_ms, self._number, what))

    def run(self, for_ms: int, *, each: Callable[[], None] | None = None) -> None:
        """Let time pass, with every machine's own timers."""
        end_ms, turns = self.now_ms + for_ms, 0
        while True:
            turns += 1
            assert turns < 500_000, "a machine is never at rest"
            times = [
                at_ms for box in self.boxes if (at_ms := box.machine.next_at_ms(self.now_ms)) is not None
            ]
            if self._heap:
                times.append(self._heap[0][0])
            next_ms = min(times, default=end_ms)
            if next_ms >= end_ms:
                self.now_ms = end_ms
                return
            self.now_ms = max(self.now_ms, next_ms)
            if self._heap and self._heap[0][0] <= self.now_ms:
                heapq.heappop(self._heap)[2]()
            else:
                for box in self.boxes:
                    box.tick()
            if each is not None:
                each()

    def load(self, box: Box, *, records: int, every_ms: int, for_ms: int) -> None:
        """A box's log grows."""
        for at_ms in range(every_ms, for_ms, every_ms):
            self.at(at_ms, lambda: box.grow(box.head.next_seq + records))


def lose(region: ModelRegion, first_seq: int) -> PieceName:
    """A region forgets a piece that it acknowledged."""
    return region.pieces[STREAM].pop(first_seq)
