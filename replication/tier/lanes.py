"""One stream on its way to one region: where the region is, what is under way, and when the next piece is due. Pure."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

from appliance.core.limits import KIB
from appliance.core.limits_replication import TIER_PIECE_BYTES_MAX
from replication.effects import Place
from storage.replicas.streams import StreamHead, StreamId

ARRIVAL_COUNT_MAX: Final = 256
ARRIVAL_STEP_MS: Final = 250
"""Growth within so long counts as one, with the earlier time."""
PIECE_BYTES_MIN: Final = 64 * KIB
PIECE_BYTES_BEGIN: Final = PIECE_BYTES_MIN
PIECE_SLOW_MS: Final = 8_000
"""A piece that took longer is too large for this line: the next one is half of it."""
PIECE_QUICK_MS: Final = 2_000
"""A cut piece that took less may be twice as large the next time."""


@dataclass(slots=True)
class Source:
    """A stream as it is held here.

    Attributes:
        is_own: Ours to ship; another's only when nobody else does.
        safe_seq: The first sequence that no node in another failure domain has.
    """

    stream: StreamId
    head: StreamHead
    is_own: bool
    safe_seq: int = 1
    _seqs: list[int] = field(default_factory=list)
    _at_ms: list[int] = field(default_factory=list)

    def grew(self, head: StreamHead, now_ms: int) -> None:
        """It is durable here up to `head`."""
        is_back = head.next_seq < self.head.next_seq
        self.head = head
        if is_back:
            self._seqs, self._at_ms = [], []
        if self._at_ms and now_ms - self._at_ms[-1] < ARRIVAL_STEP_MS:
            self._seqs[-1] = head.next_seq
            return
        if not self._seqs or head.next_seq > self._seqs[-1]:
            self._seqs.append(head.next_seq)
            self._at_ms.append(now_ms)
        if len(self._seqs) > ARRIVAL_COUNT_MAX:
            half = len(self._seqs) // 4 * 2
            # Of two neighbours the later sequence with the earlier time stays: nothing comes out younger than it is.
            self._seqs[:half] = self._seqs[1:half:2]
            self._at_ms[:half] = self._at_ms[0 : half - 1 : 2]

    def since_ms(self, next_seq: int) -> int | None:
        """When the first record from a sequence on was there; None where there is none."""
        if next_seq >= self.head.next_seq:
            return None
        at = bisect_right(self._seqs, next_seq)
        return self._at_ms[min(at, len(self._at_ms) - 1)]


@dataclass(slots=True)
class Lane:
    """See the module.

    Attributes:
        end: How far the region has the stream; None while that isn't known.
        busy: The number of the step under way; 0 while there is none.
        audit: The number of the audit under way, which holds up nothing that is new.
        told: How far somebody else said that the region has it.
        said: How far the region itself did.
        is_cut: The last piece was cut: there is a backlog, and the next one is due at once.
        fill_from: Regions from which what isn't kept here is still to be asked for; None while nothing is lacking.
        nothing_at: The head at which there was nothing to ship.
        is_parted: Another history is there.
    """

    region: str
    source: Source
    end: Place | None = None
    busy: int = 0
    audit: int = 0
    began_ms: int = 0
    told: tuple[int, int] = (0, 0)
    said: tuple[int, int] = (0, 0)
    is_cut: bool = False
    fill_from: list[str] | None = None
    nothing_at: tuple[int, int] | None = None
    is_parted: bool = False
    look_at_ms: int = 0
    audit_at_ms: int = 0
    piece_bytes: int = PIECE_BYTES_BEGIN
    gap_count: int = 0
    problem: str = ""

    @property
    def lacks(self) -> int:
        """Records that are held here and not there; those of the whole stream where nothing is known."""
        return max(
            0,
            self.source.head.next_seq - max(self.source.head.first_seq, self.end.next_seq if self.end else 0),
        )

    def lag_ms(self, now_ms: int) -> int:
        """How long the oldest record that the region lacks has been here; 0 where it lacks none."""
        since_ms = self.source.since_ms(self.end.next_seq if self.end is not None else self.said[1])
        return 0 if since_ms is None else max(0, now_ms - since_ms)

    @property
    def has_more(self) -> bool:
        """Whether there is something to ship, as far as is known."""
        head = self.source.head
        if self.end is None or self.nothing_at == head.place:
            return False
        return head.place > (self.end.epoch, self.end.next_seq) and (
            head.next_seq > self.end.next_seq or head.epoch > self.end.epoch
        )

    def due_ms(self, pace_ms: int, now_ms: int, *, safe_pace_ms: int) -> int | None:
        """When the next piece should go; None where there is nothing.

        Args:
            pace_ms, safe_pace_ms: So long what is new may wait, and what another failure domain has already.
        """
        if not self.has_more or self.end is None:
            return None
        if self.is_cut or self.fill_from is not None:
            return now_ms
        since_ms = self.source.since_ms(self.end.next_seq)
        if since_ms is None:
            return now_ms
        unsafe_ms = self.source.since_ms(max(self.end.next_seq, self.source.safe_seq))
        due_ms = since_ms + max(pace_ms, safe_pace_ms)
        return due_ms if unsafe_ms is None else min(due_ms, unsafe_ms + pace_ms)

    def late_ms(self, after_ms: int) -> int | None:
        """When another node's stream is to be shipped from here, should nobody else do it; None where the region has what is here."""
        known = max(self.told, self.said)
        head = self.source.head
        if known >= head.place or self.nothing_at == head.place:
            return None
        since_ms = self.source.since_ms(known[1])
        return None if since_ms is None else since_ms + after_ms

    def measure(self, took_ms: int, *, is_cut: bool) -> None:
        """A piece took so long: how large the next one may be."""
        if took_ms > PIECE_SLOW_MS:
            self.piece_bytes = max(PIECE_BYTES_MIN, self.piece_bytes // 2)
        elif is_cut and took_ms < PIECE_QUICK_MS:
            self.piece_bytes = min(TIER_PIECE_BYTES_MAX, self.piece_bytes * 2)
