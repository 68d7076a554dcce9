"""Numbers of the engine: what happened since it started, and how much waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.management.execution import Move, Note


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatesStatistics:
    """What the engine did since it started, and what it has before it.

    Attributes:
        moves: By event. notes: Reports that moved nothing, by why.
        reports: By what became of them: new, double, late, out_of_order, lower_fence, refused, unknown.
        firmware: What devices said that they run: new, known.
        waiting: Requests and events. deadlines: Armed. listening: Devices that could be told something now.
        batches, batches_failed: Transactions. parts_failed: What of them could not be worked out, and was left. refused_busy: Requests that found the queue full.
        pushes: By outcome: told, nobody, failed. jumps: Of the wall clock.
    """

    moves: Mapping[str, int]
    notes: Mapping[str, int]
    reports: Mapping[str, int]
    firmware: Mapping[str, int]
    pushes: Mapping[str, int]
    waiting: int
    deadlines: int
    listening: int
    batches: int
    batches_failed: int
    parts_failed: int
    refused_busy: int
    jumps: int


@dataclass(slots=True)
class Tally:
    """The same, while it is counted."""

    moves: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    reports: Counter[str] = field(default_factory=Counter)
    firmware: Counter[str] = field(default_factory=Counter)
    pushes: Counter[str] = field(default_factory=Counter)
    batches: int = 0
    batches_failed: int = 0
    parts_failed: int = 0
    refused_busy: int = 0
    jumps: int = 0

    def count_move(self, move: Move) -> None:
        (self.notes if isinstance(move.event, Note) else self.moves)[move.event.value] += 1

    def count_firmware(self, *, is_new: bool) -> None:
        self.firmware["new" if is_new else "known"] += 1
