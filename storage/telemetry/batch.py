"""What one transaction of the store holds, as columns. Built by the pipeline, written by TelemetryStore.commit.

Everything is idempotent material: a batch is built once and may be offered to the store again after a failure,
because the transaction moves the cursor from `before` to `after` and refuses when it isn't at `before`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import numpy as np

from appliance.core.arrays import F64, I64, U8, U32
from appliance.management.dedup import Window
from appliance.management.presence import DevicePresence
from appliance.management.readings import ValueKind
from appliance.management.rule_transition import Transition

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the store has read a stream.

    Attributes:
        next_seq: First record that is not in the store.
        epoch, hash: Of the block before it; 0 and b"" before the first.
        watermark_ms: Newest time of arrival of any record in the store, UTC ms.
    """

    epoch: int = 0
    next_seq: int = 1
    hash: bytes = b""
    watermark_ms: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of records: each is in exactly one of these, `rows` apart.

    Attributes:
        readings: Messages that gave at least one row. rows: The rows.
        duplicates: Messages whose every point had been seen.
        sessions: Session records and broker starts. statuses: Presence publishes.
        unmapped: Publishes to topics that no mapping is for. others: Records of kinds that are not ours to read.
        apart: Records that another reading of the same range takes and counts.
        nulls, clocks_absurd: Values skipped, and times not believed; not records.
    """

    records: int = 0
    readings: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    sessions: int = 0
    statuses: int = 0
    unmapped: int = 0
    others: int = 0
    apart: int = 0
    rows: int = 0
    nulls: int = 0
    clocks_absurd: int = 0

    @property
    def accounted(self) -> int:
        return (
            self.readings
            + self.duplicates
            + self.dead_letters
            + self.sessions
            + self.statuses
            + self.unmapped
            + self.others
            + self.apart
        )


@dataclass(slots=True)
class NumberRows:
    """n rows of numbers and booleans."""

    series: U32
    observed: I64
    numbers: F64
    quality: U8

    def __len__(self) -> int:
        return len(self.series)


@dataclass(slots=True)
class TextRows:
    """n rows of text."""

    series: U32
    observed: I64
    texts: list[str]
    quality: U8

    def __len__(self) -> int:
        return len(self.series)


@dataclass(slots=True)
class NewestRows:
    """The newest readings of n series. Exactly one of numbers and texts is used.

    Attributes:
        received: Times of arrival, UTC ms; negated where the message may be a copy that another broker kept.
    """

    series: U32 = field(default_factory=lambda: np.empty(0, np.uint32))
    observed: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    received: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    numbers: F64 = field(default_factory=lambda: np.empty(0, np.float64))
    texts: list[str] = field(default_factory=list)
    quality: U8 = field(default_factory=lambda: np.empty(0, np.uint8))

    def __len__(self) -> int:
        return len(self.series)

    def take(self, where: I64) -> NewestRows:
        """The rows at these positions."""
        return NewestRows(
            self.series[where],
            self.observed[where],
            self.received[where],
            self.numbers[where] if len(self.numbers) else self.numbers,
            [self.texts[at] for at in where.tolist()] if self.texts else [],
            self.quality[where],
        )

    def newest(self) -> NewestRows:
        """Each series once: the newest by its time; of two with one time the one that arrived later, then the later row."""
        order = np.lexsort((self.received, self.observed, self.series))
        is_last = np.append(np.diff(self.series[order]) != 0, True)
        return self if is_last.all() else self.take(order[is_last])

    @staticmethod
    def joined(parts: Sequence[NewestRows]) -> NewestRows:
        """The rows of all parts; at least one."""
        return NewestRows(
            np.concatenate([part.series for part in parts]),
            np.concatenate([part.observed for part in parts]),
            np.concatenate([part.received for part in parts]),
            np.concatenate([part.numbers for part in parts]),
            list(chain.from_iterable(part.texts for part in parts)),
            np.concatenate([part.quality for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class NewSeries:
    """A series that has no row yet."""

    id: int
    device: str
    metric: str
    kind: ValueKind


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not become rows.

    Attributes:
        epoch, seq: Its position in the stream; the whole payload is there.
        payload: Its first bytes, or None when the batch had too many.
        payload_bytes: Its full length.
        boot_id: In which boot its device was then, "" where it has none; None in letters of older releases.
        is_noted: It was refused after its sequence number had been taken note of, which then says nothing about it any more.
    """

    epoch: int
    seq: int
    received_at_ms: int
    device: str
    topic: str
    client_id: str
    reason: str
    detail: str
    payload: bytes | None
    payload_bytes: int
    boot_id: str | None = None
    is_noted: bool = False


@dataclass(frozen=True, slots=True)
class BehindMove:
    """The batch is of records before the cursor: the reader in order moves, the cursor stays (behind.py).

    Attributes:
        presences: Of all devices, as of the batch's end; None where they are as before.
        ends: The batch ends where the cursor stands.
    """

    presences: list[DevicePresence] | None
    ends: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchCheckpoint:
    """What rules and anomalies go on from at a position of the log (watch_state.py).

    Attributes:
        cursor: The position. found_number: Transitions in the outbox behind this number may be found once more from here on.
        reader: Windows and presence there, as the reader has them. watch: The state of the watch itself.
    """

    cursor: Cursor
    found_number: int
    reader: bytes
    watch: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPart:
    """What the watch adds to a transaction."""

    transitions: Sequence[Transition] = ()
    checkpoint: WatchCheckpoint | None = None

    def __bool__(self) -> bool:
        return bool(self.transitions) or self.checkpoint is not None


@dataclass(slots=True)
class StoreBatch:
    """One transaction.

    Attributes:
        numbers, texts: Rows by table: the day (days since 1970), or None for days too old for one of their own.
        blocks: (record count, records accounted for) of each block; commit refuses unless they are equal.
    """

    before: Cursor
    after: Cursor
    counts: Counts
    blocks: Sequence[tuple[int, int]]
    numbers: dict[int | None, NumberRows] = field(default_factory=dict)
    texts: dict[int | None, TextRows] = field(default_factory=dict)
    new_series: list[NewSeries] = field(default_factory=list)
    newest_numbers: NewestRows = field(default_factory=NewestRows)
    newest_texts: NewestRows = field(default_factory=NewestRows)
    windows: list[tuple[Window, bool]] = field(default_factory=list)
    """Dedup windows that changed, and whether each is its device's current one."""
    windows_dropped: list[tuple[str, str]] = field(default_factory=list)
    presences: list[DevicePresence] = field(default_factory=list)
    behind: BehindMove | None = None
    dead_letters: list[DeadLetter] = field(default_factory=list)
    watch: WatchPart | None = None
