"""How far this node's own streams are safe, and how much would be lost if it were lost now. Pure.

A frame is safe when a node in another failure domain said that it is stored there, and what that node has is our history: the
hash it names is that of our frame. `rpo_ms` is the age of the first own frame that isn't safe: 0 when all are. Times are monotonic.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from replication.effects import Place
from replication.gossip.fleet_view import DOMAINS, Domain, FleetView
from storage.replicas.streams import StreamId

BOUNDARY_COUNT_MAX: Final = 8_192
"""When which sequence was reached: beyond it every other one of the older half is forgotten, which makes ages coarser."""
KNOWN_PLACE_COUNT_MAX: Final = 8_192
"""Places of our own history whose hash is known without reading; any other is read when a holder names it."""
HISTORY_BUCKET_MS: Final = 3_600_000
HISTORY_BUCKET_COUNT: Final = 24


class Watermark:
    """Of one own stream.

    Args:
        node_id: Ours.
    """

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._next_seq = 1
        self._seqs: list[int] = []
        self._at_ms: list[int] = []
        self._known: OrderedDict[int, bytes] = OrderedDict()
        self._stored: dict[str, int] = {}
        self._safe: dict[Domain, int] = {}
        self._safe_of: FleetView | None = None

    @property
    def next_seq(self) -> int:
        """How far the own log is durable, as far as was told here."""
        return self._next_seq

    @property
    def stored(self) -> dict[str, int]:
        """The first sequence that each holder lacks, as far as proved."""
        return self._stored

    def reached(self, next_seq: int, frame_hash: bytes, at_ms: int) -> None:
        """Our own log is durable up to `next_seq`, since `at_ms`."""
        self.knows(next_seq, frame_hash)
        if next_seq <= self._next_seq:
            return
        self._next_seq = next_seq
        self._seqs.append(next_seq)
        self._at_ms.append(at_ms)
        if len(self._seqs) > BOUNDARY_COUNT_MAX:
            half = len(self._seqs) // 4 * 2
            # Of two neighbours the later sequence with the earlier time stays: ages never come out too small.
            self._seqs[:half] = self._seqs[1:half:2]
            self._at_ms[:half] = self._at_ms[0 : half - 1 : 2]

    def began_anew(self, next_seq: int) -> None:
        """Our own log ends before where it once did (it was restored): what came after is not ours any more."""
        self._next_seq = next_seq
        keep = bisect_right(self._seqs, next_seq)
        del self._seqs[keep:], self._at_ms[keep:]
        self._known = OrderedDict((seq, known) for seq, known in self._known.items() if seq <= next_seq)
        self._stored = {holder: min(seq, next_seq) for holder, seq in self._stored.items()}
        self._safe.clear()

    def knows(self, next_seq: int, frame_hash: bytes) -> None:
        """The frame before `next_seq` has this hash in our own log."""
        self._known[next_seq] = frame_hash
        if len(self._known) > KNOWN_PLACE_COUNT_MAX:
            self._known.popitem(last=False)

    def proof(self, place: Place) -> bool | None:
        """Whether a place lies on our history; None where it would have to be read."""
        if place.next_seq > self._next_seq:
            return False
        known = self._known.get(place.next_seq)
        return None if known is None else known == place.hash

    def store(self, holder: str, next_seq: int) -> bool:
        """A holder has our history up to `next_seq`: proved. Whether that is news."""
        if holder == self._node_id or next_seq <= self._stored.get(holder, 1):
            return False
        self._stored[holder] = next_seq
        self._safe.clear()
        return True

    def lose(self, holder: str, next_seq: int = 1) -> None:
        """A holder said that it has no more than this: its disk was lost, or a copy was dropped."""
        if self._stored.get(holder, 1) > next_seq:
            self._stored[holder] = next_seq
            self._safe.clear()

    def safe_seq(self, fleet: FleetView, domain: Domain) -> int:
        """The first own sequence that isn't safe from what takes away a domain. It is asked with each sample of an age, so it is kept."""
        if fleet is not self._safe_of:
            self._safe_of = fleet
            self._safe.clear()
        found = self._safe.get(domain)
        if found is None:
            found = self._safe[domain] = max(
                (
                    seq
                    for holder, seq in self._stored.items()
                    if fleet.is_apart(self._node_id, holder, domain)
                ),
                default=1,
            )
        return found

    def age_ms(self, seq: int, now_ms: int) -> int:
        """How long ago the first own frame from `seq` on was written, ms; 0 where there is none."""
        if seq >= self._next_seq:
            return 0
        at = bisect_right(self._seqs, seq)
        return max(0, now_ms - self._at_ms[at]) if at < len(self._at_ms) else 0

    def points(self, now_ms: int) -> list[tuple[int, int]]:
        """Sequences that the log had reached and how long ago, ms, oldest first: those that somebody may still lack."""
        first = bisect_right(self._seqs, min(self._stored.values(), default=1))
        ages = zip(self._seqs[first:], self._at_ms[first:], strict=True)
        return [(seq, max(0, now_ms - at_ms)) for seq, at_ms in ages]

    def restore(
        self, next_seq: int, stored: Mapping[str, int], points: Sequence[tuple[int, int]], now_ms: int
    ) -> None:
        """Goes on from what was saved; before anything else is told here.

        Args:
            points: As `points` gave them, in ages as of now.
        """
        self._next_seq = next_seq
        self._stored = {holder: min(seq, next_seq) for holder, seq in stored.items()}
        self._safe.clear()
        for seq, age_ms in sorted(points):
            if seq <= next_seq:
                self._seqs.append(seq)
                self._at_ms.append(now_ms - age_ms)

    def rpo_ms(self, fleet: FleetView, domain: Domain, now_ms: int) -> int:
        """The age of the first own frame that isn't safe; 0 when all are."""
        return self.age_ms(self.safe_seq(fleet, domain), now_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rpo:
    """What would be lost now, and at the worst moment of the last 24 h, ms."""

    now_ms: int
    worst_24h_ms: int


class RpoHistory:
    """The worst of each hour, for a day: 24 or 25 numbers for each domain."""

    def __init__(self) -> None:
        self._worst: dict[Domain, deque[tuple[int, int]]] = {domain: deque() for domain in DOMAINS}

    def add(self, domain: Domain, rpo_ms: int, now_ms: int) -> None:
        buckets = self._worst[domain]
        hour = now_ms // HISTORY_BUCKET_MS
        if buckets and buckets[-1][0] == hour:
            buckets[-1] = (hour, max(buckets[-1][1], rpo_ms))
        else:
            buckets.append((hour, rpo_ms))
        while buckets[0][0] < hour - HISTORY_BUCKET_COUNT:
            buckets.popleft()

    def hours(self, now_ms: int) -> dict[Domain, list[tuple[int, int]]]:
        """By domain, the worst of each hour and how many hours ago that was."""
        hour = now_ms // HISTORY_BUCKET_MS
        return {
            domain: [(hour - at, worst) for at, worst in buckets] for domain, buckets in self._worst.items()
        }

    def restore(self, hours: Mapping[Domain, Sequence[tuple[int, int]]], now_ms: int) -> None:
        """Goes on from what `hours` gave, in hours ago as of now."""
        hour = now_ms // HISTORY_BUCKET_MS
        for domain, buckets in hours.items():
            kept = [(hour - ago, worst) for ago, worst in buckets if 0 <= ago <= HISTORY_BUCKET_COUNT]
            self._worst[domain] = deque(sorted(kept))

    def worst_ms(self, domain: Domain) -> int:
        return max((worst for _, worst in self._worst[domain]), default=0)


@dataclass(slots=True)
class SafeBook:
    """What is known to be safe of all own streams; kept over restarts (saving.py)."""

    marks: dict[StreamId, Watermark] = field(default_factory=dict)
    history: RpoHistory = field(default_factory=RpoHistory)
