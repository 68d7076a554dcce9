"""On-delay and off-delay, for all kinds: when something that is so, or no longer so, becomes a transition.

Theory of operation. A slot's condition is so or not so from a reading on until another reading says otherwise: a stretch. A stretch
matures when it has lasted for its delay (on-delay of one that is so, off-delay otherwise), and its transition is AT its deadline,
`since + delay`, by the readings. That it has lasted is known

* from a reading of the series at or after the deadline (after it, if that reading ends the stretch), or
* from the arrival of nothing: the reading before arrived at r with time o, and all that arrived until `r + (deadline - o)` has been
  seen. So a device whose clock is behind, or that sends what it kept, is waited for as long as it takes.

The second holds whether a tick notices it or the next reading does (which then arrived after that), so neither the cutting of
batches nor the times of ticks change what is found. Times of a slot's transitions never go back.

Must not know: rules, what the condition is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from appliance.core.arrays import F64, I8, I64, Mask
from appliance.rules.batches import ranges
from appliance.rules.table import NEVER, Table

_T = TypeVar("_T", bound=np.generic)
KEEP: Final = -1
"""A code that says nothing new: the condition stays as it is."""
NO_PAIR: Final = -1
_TIME_BITS: Final = 44
"""Spans of 550 years in ms; 19 bits above it number 500,000 slots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """Transitions of slots: those of one slot in the order of their times. All columns have the same length.

    Attributes:
        slots: Which. raised: It began; otherwise it is over.
        at_ms: The deadline. since_ms: When the condition became so, or no longer so.
        before_ms: When the slot's transition before was; of one that is over: when it had begun. 0: none.
        measure, value: What decided, of the reading at `since_ms`.
        pair: Which of the pairs that were fed that reading is; NO_PAIR of one that was fed earlier.
    """

    slots: I64
    raised: Mask
    at_ms: I64
    since_ms: I64
    before_ms: I64
    measure: F64
    value: F64
    pair: I64

    def __len__(self) -> int:
        return len(self.slots)

    def ends(self) -> Moves:
        """Of each slot the first and the last; only the last where they say the same."""
        first = np.concatenate([[True], self.slots[1:] != self.slots[:-1]])
        kept = np.concatenate([first[1:], [True]])
        starts = np.flatnonzero(first)
        kept[starts[self.raised[starts] != self.raised[kept]]] = True
        return Moves(
            slots=self.slots[kept],
            raised=self.raised[kept],
            at_ms=self.at_ms[kept],
            since_ms=self.since_ms[kept],
            before_ms=self.before_ms[kept],
            measure=self.measure[kept],
            value=self.value[kept],
            pair=self.pair[kept],
        )


class Delayed(Table):
    """Slots with a condition and two delays.

    Attributes:
        rule, series, device, group: What the slot is about; -1 for none.
        on_ms, off_ms: The delays.
        is_so, since_ms: The condition now, and since when. measure, value: What made it so.
        is_active: Whether it is raised. fired_ms: When that was last changed.
        deadline_ms: When what is pending comes due by the readings. due_ms: by arrival; NEVER: nothing is pending.
        last_observed_ms, last_received_ms: Of the reading before, while something is pending.
    """

    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        "rule": ("i8", -1),
        "series": ("i8", -1),
        "device": ("i8", -1),
        "group": ("i8", -1),
        "on_ms": ("i8", 0),
        "off_ms": ("i8", 0),
        "is_so": ("?", False),
        "since_ms": ("i8", 0),
        "measure": ("f8", np.nan),
        "value": ("f8", np.nan),
        "is_active": ("?", False),
        "fired_ms": ("i8", 0),
        "deadline_ms": ("i8", 0),
        "due_ms": ("i8", NEVER),
        "last_observed_ms": ("i8", 0),
        "last_received_ms": ("i8", 0),
    }
    rule: I64
    series: I64
    device: I64
    group: I64
    on_ms: I64
    off_ms: I64
    is_so: Mask
    since_ms: I64
    measure: F64
    value: F64
    is_active: Mask
    fired_ms: I64
    deadline_ms: I64
    due_ms: I64
    last_observed_ms: I64
    last_received_ms: I64

    def feed(
        self,
        slots: I64,
        lengths: I64,
        codes: I8,
        *,
        observed: I64,
        received: I64,
        measures: F64,
        values: F64,
    ) -> Moves | None:
        """What readings say.

        Args:
            slots, lengths: Each slot once, and how many of the pairs are its own (at least 1), one after the other.
            codes: Per pair: 1 it is so, 0 it is not so, KEEP.
            observed, received, measures, values: Per pair; a slot's pairs are in the order of their times.
        Returns:
            None: nothing moved.
        """
        starts = np.cumsum(lengths) - lengths
        news = (codes >= 0) & (codes != np.repeat(self.is_so[slots], lengths))
        pending = self.due_ms[slots] != NEVER
        if not news.any() and not pending.any():
            return None
        touched = np.flatnonzero(np.logical_or.reduceat(news, starts) | pending)
        pairs = ranges(starts[touched], lengths[touched])
        return self._walk(
            slots[touched],
            lengths[touched],
            codes[pairs],
            pairs,
            observed[pairs],
            received[pairs],
            measures[pairs],
            values[pairs],
        )

    def _walk(
        self,
        slots: I64,
        lengths: I64,
        codes: I8,
        pairs: I64,
        observed: I64,
        received: I64,
        measures: F64,
        values: F64,
    ) -> Moves | None:
        slot_count = len(slots)
        first = np.cumsum(lengths) - lengths
        owner = np.repeat(np.arange(slot_count), lengths)
        so = _filled(codes, first, owner, self.is_so[slots])
        so_before = _shifted(so, first, self.is_so[slots])
        begins = so != so_before
        # Stretches are numbered slot by slot: the one that was going on first, then those that begin here.
        stretch = owner + np.cumsum(begins)
        base = stretch[first] - begins[first]
        begun = stretch[begins]
        count = slot_count + len(begun)
        of = np.empty(count, np.int64)
        of[base], of[begun] = np.arange(slot_count), owner[begins]

        is_so = np.empty(count, np.bool_)
        is_so[base], is_so[begun] = self.is_so[slots], so[begins]
        since = np.empty(count, np.int64)
        since[base], since[begun] = self.since_ms[slots], observed[begins]
        measure, value = np.empty(count), np.empty(count)
        measure[base], measure[begun] = self.measure[slots], measures[begins]
        value[base], value[begun] = self.value[slots], values[begins]
        pair = np.full(count, NO_PAIR)
        pair[begun] = pairs[begins]
        delay = np.where(is_so, self.on_ms[slots][of], self.off_ms[slots][of])
        deadline = since + delay

        matured = delay == 0
        matured[base] = self.is_so[slots] == self.is_active[slots]
        observed_before = _shifted(observed, first, self.last_observed_ms[slots])
        received_before = _shifted(received, first, self.last_received_ms[slots])
        before = stretch - begins
        until = deadline[before]
        passed = (observed > until) | (~begins & (observed == until))
        passed |= received - received_before > np.maximum(until - observed_before, 0)
        matured[before[passed]] = True

        last_matured = np.maximum.accumulate(np.where(matured, np.arange(count), -1))
        earlier = np.concatenate([[-1], last_matured[:-1]])
        was_active = np.where(earlier >= base[of], is_so[earlier], self.is_active[slots][of])
        fires = np.flatnonzero(matured & (is_so != was_active))

        last = stretch[first + lengths - 1]
        settled = last_matured[last]
        active = np.where(settled >= base, is_so[settled], self.is_active[slots])
        moves = self._moves(slots, of[fires], is_so[fires], deadline[fires], since[fires],
                            measure[fires], value[fires], pair[fires])  # fmt: skip
        waits = ~matured[last] & (is_so[last] != active)
        self.is_so[slots] = is_so[last]
        self.since_ms[slots] = since[last]
        self.measure[slots] = measure[last]
        self.value[slots] = value[last]
        self.is_active[slots] = active
        self._wait(slots, waits, deadline[last], observed[first + lengths - 1], received[first + lengths - 1])
        return moves

    def _wait(self, slots: I64, waits: Mask, deadline: I64, observed: I64, received: I64) -> None:
        self.deadline_ms[slots] = deadline
        self.last_observed_ms[slots] = observed
        self.last_received_ms[slots] = received
        self.due_ms[slots] = np.where(waits, received + np.maximum(deadline - observed, 0), NEVER)

    def _moves(
        self,
        slots: I64,
        of: I64,
        raised: Mask,
        at: I64,
        since: I64,
        measure: F64,
        value: F64,
        pair: I64,
    ) -> Moves | None:
        """Make moves of what fires; `of` (which of the slots) ascends."""
        if not len(of):
            return None
        mine = slots[of]
        at = np.maximum(at, self.fired_ms[mine])
        low = int(at.min())
        # Within each slot times never go back: the number of the slot in the high bits keeps slots apart.
        at = (np.maximum.accumulate((of << _TIME_BITS) + (at - low)) & ((1 << _TIME_BITS) - 1)) + low
        begins = np.concatenate([[True], of[1:] != of[:-1]])
        before = np.where(begins, self.fired_ms[mine], np.concatenate([[0], at[:-1]]))
        ends = np.concatenate([begins[1:], [True]])
        self.fired_ms[mine[ends]] = at[ends]
        return Moves(
            slots=mine,
            raised=raised,
            at_ms=at,
            since_ms=since,
            before_ms=before,
            measure=measure,
            value=value,
            pair=pair,
        )

    def tick(self, horizon_ms: int) -> Moves | None:
        """What comes due when all that arrived at or before the horizon has been fed."""
        slots = np.flatnonzero(self.due_ms <= horizon_ms)
        if not len(slots):
            return None
        self.due_ms[slots] = NEVER
        self.is_active[slots] = self.is_so[slots]
        return self._moves(
            slots,
            np.arange(len(slots)),
            self.is_so[slots],
            self.deadline_ms[slots],
            self.since_ms[slots],
            self.measure[slots],
            self.value[slots],
            np.full(len(slots), NO_PAIR),
        )


def _filled(codes: I8, first: I64, owner: I64, initial: Mask) -> Mask:
    """The condition at each pair: what its code says, else what the last one before it said, else what it was."""
    said = np.maximum.accumulate(np.where(codes >= 0, np.arange(len(codes)), -1))
    return np.where(said >= first[owner], codes[said] == 1, initial[owner])


def _shifted(column: NDArray[_T], first: I64, initial: NDArray[_T]) -> NDArray[_T]:
    """Per pair what the pair before it has; of a slot's first what the slot had."""
    before = np.empty_like(column)
    before[1:] = column[:-1]
    before[first] = initial
    return before
