"""Which `(boot_id, seq)` of a device were seen already: intervals, merged and bounded.

A window holds the sequence numbers seen in one boot as disjoint, ascending intervals; the last one is kept apart as
`low..top`, because a device that counts on extends it, and that is all that happens to nearly every reading. When
there are more than DEDUP_INTERVAL_COUNT_MAX gaps the two oldest intervals become one. What was in the gap between
them can't be told from a duplicate afterwards, so a late reading from below that floor is refused as `seq_too_old`
(a dead letter that can be replayed) rather than dropped as a duplicate or stored twice.

Without any `boot_id`, neither in the message nor in a status, a restarted device counts from zero again and would
look like a duplicate of itself. Such windows remember the newest time seen: a known `seq` with a newer time is a
restart and begins the window anew; with an older or equal time it is a duplicate.

Pure: the window's owner persists what `changed` names, in the transaction that stores the readings.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Final

import numpy as np

from appliance.core.arrays import I64
from appliance.core.limits import BACKLOG_BOOT_FACTOR, DEDUP_BOOT_COUNT_MAX, DEDUP_INTERVAL_COUNT_MAX

UNNAMED_BOOT: Final = ""
_NEVER_MS: Final = -(2**63)
_USES_BITS: Final = 20
"""Windows that one batch may touch without the order in which they are dropped getting mixed up with the next batch's."""


class Verdict(IntEnum):
    NEW = 0
    DUPLICATE = 1
    TOO_OLD = 2


class Window:
    """The sequence numbers seen in one boot of one device."""

    __slots__ = ("boot_id", "device", "earlier", "floor", "low", "newest_ms", "top", "used")

    def __init__(self, device: str, boot_id: str) -> None:
        self.device = device
        self.boot_id = boot_id
        self.low = 0
        self.top = -2  # so that no sequence number continues an empty window
        self.earlier: list[tuple[int, int]] = []
        self.floor = -1
        self.newest_ms = _NEVER_MS
        self.used = 0

    @property
    def empty(self) -> bool:
        return self.top < 0

    def intervals(self) -> list[tuple[int, int]]:
        """All intervals seen, ascending, both ends included."""
        return [] if self.empty else [*self.earlier, (self.low, self.top)]

    def see(self, seq: int) -> tuple[Verdict, int]:
        """Take note of a sequence number.

        Returns:
            What it is, and how many intervals had to be merged to stay within the limit (0 or 1).
        """
        if self.empty:
            self.low = self.top = seq
            return Verdict.NEW, 0
        if seq == self.top + 1:
            self.top = seq
            return Verdict.NEW, 0
        if seq <= self.floor:
            return Verdict.TOO_OLD, 0
        if self.low <= seq <= self.top:
            return Verdict.DUPLICATE, 0
        if seq > self.top:
            self.earlier.append((self.low, self.top))
            self.low = self.top = seq
            return Verdict.NEW, self._bound()
        return self._see_earlier(seq)

    def _see_earlier(self, seq: int) -> tuple[Verdict, int]:
        """A number below the last interval: within an earlier one, touching one or two, or one of its own."""
        earlier = self.earlier
        at = bisect_right(earlier, (seq, 2**64))  # earlier[at - 1] begins at or before seq
        if at and seq <= earlier[at - 1][1]:
            return Verdict.DUPLICATE, 0
        touches_before = bool(at) and earlier[at - 1][1] == seq - 1
        after_low = earlier[at][0] if at < len(earlier) else self.low
        touches_after = after_low == seq + 1
        low = earlier[at - 1][0] if touches_before else seq
        if touches_before:
            del earlier[at - 1]
            at -= 1
        if not touches_after:
            earlier.insert(at, (low, seq))
        elif at < len(earlier):
            earlier[at] = (low, earlier[at][1])
        else:
            self.low = low
        return Verdict.NEW, self._bound()

    def see_run(self, first: int, last: int) -> bool:
        """Take note of all of first..last, if that only makes an earlier interval longer and touches no other one.

        Returns:
            False when nothing was done: take them one by one.
        """
        earlier = self.earlier
        at = bisect_right(earlier, (first, -1)) - 1
        if at < 0 or earlier[at][1] != first - 1 or first <= self.floor:
            return False
        if last + 1 >= (earlier[at + 1][0] if at + 1 < len(earlier) else self.low):
            return False
        earlier[at] = (earlier[at][0], last)
        return True

    def _bound(self) -> int:
        if len(self.earlier) < DEDUP_INTERVAL_COUNT_MAX:
            return 0
        (low, _), (_, high) = self.earlier[0], self.earlier[1]
        self.earlier[:2] = [(low, high)]
        self.floor = high
        return 1

    def restart(self) -> None:
        """Forget everything: the device began to count anew."""
        self.low, self.top, self.floor = 0, -2, -1
        self.earlier = []


class SeenSequences:
    """The windows of all devices, and what changed in them since the last time it was asked.

    Everything is changed in place while a batch is decoded; a batch is decoded once and committed until it
    succeeds, so the state in memory is at most one batch ahead of the store, and is read again from there when
    the store is opened.
    """

    def __init__(self) -> None:
        self._current: dict[str, Window] = {}
        self._windows: dict[str, dict[str, Window]] = {}
        self._uses = 0
        self._changed: set[Window] = set()
        self._dropped: list[tuple[str, str]] = []
        self._boot_count_max = DEDUP_BOOT_COUNT_MAX
        self.merged_total = 0
        self.restarts_total = 0

    def load(
        self,
        device: str,
        boot_id: str,
        intervals: Sequence[tuple[int, int]],
        *,
        current: bool,
        floor: int = -1,
        newest_ms: int = _NEVER_MS,
        used: int = 0,
    ) -> None:
        """Put back a window as the store has it; the oldest used first."""
        self._uses = max(self._uses, used - 1)
        window = self._window(device, boot_id)
        window.restart()
        if intervals:
            *window.earlier, (window.low, window.top) = intervals
        window.floor, window.newest_ms = floor, newest_ms
        if current:
            self._current[device] = window
        self._changed.discard(window)

    def current_boot_id(self, device: str) -> str:
        window = self._current.get(device)
        return UNNAMED_BOOT if window is None else window.boot_id

    def boot(self, device: str, boot_id: str) -> bool:
        """A status said which boot the device is in. True when that is another one than before."""
        before = self._current.get(device)
        if (UNNAMED_BOOT if before is None else before.boot_id) == boot_id:
            return False
        window = self._window(device, boot_id)
        self._current[device] = window
        self._changed.add(window)
        if before is not None:
            self._changed.add(before)  # it isn't the current one any more
        return True

    def window_now(self, device: str) -> Window:
        """The window of the boot the device is in, so far as it has said."""
        window = self._current.get(device)
        if window is None:
            window = self._current[device] = self._window(device, UNNAMED_BOOT)
        return window

    def windows(self, devices: Iterable[str], boot_ids: Iterable[str]) -> tuple[list[Window], I64]:
        """The windows of n readings that name their boot: each window once, and n indexes into them."""
        numbers: dict[tuple[str, str], int] = {}
        at = [numbers.setdefault(key, len(numbers)) for key in zip(devices, boot_ids, strict=True)]
        return [self._window(*key) for key in numbers], np.array(at, np.int64)

    def see_all(self, windows: Sequence[Window], at: I64, seqs: I64, observed: I64) -> dict[int, Verdict]:
        """Take note of n readings in order.

        Args:
            windows: Distinct ones. at: n indexes into them. seqs: n. observed: n, UTC ms.
        Returns:
            By position: those that are not new.
        """
        verdicts: dict[int, Verdict] = {}
        if not len(at):
            return verdicts
        # Window by window, each in the order of the readings: one window never looks at another.
        order = np.argsort(at, kind="stable")
        at, seqs, observed = at[order], seqs[order], observed[order]
        is_last = np.append(np.diff(at) != 0, True)
        ends = np.flatnonzero(is_last) + 1
        starts = np.concatenate(([0], ends[:-1]))
        goes_on = np.append((np.diff(seqs) == 1) & (np.diff(observed) >= 0), True) | is_last
        irregular = set(np.searchsorted(ends, np.flatnonzero(~goes_on), side="right").tolist())
        bounds = zip(
            starts.tolist(),
            ends.tolist(),
            at[starts].tolist(),
            seqs[starts].tolist(),
            seqs[ends - 1].tolist(),
            observed[starts].tolist(),
            observed[ends - 1].tolist(),
            strict=True,
        )
        for number, (start, end, which, first, last, first_ms, last_ms) in enumerate(bounds):
            window = windows[which]
            self._changed.add(window)
            if first == window.top + 1 and first_ms >= window.newest_ms and number not in irregular:
                window.top, window.newest_ms = last, last_ms
                continue
            # What a backlog brings lies before what came live: as quick, for a boot that has a name.
            if window.boot_id and number not in irregular and window.see_run(first, last):
                window.newest_ms = max(window.newest_ms, last_ms)
                continue
            for position, seq, ms in zip(
                order[start:end].tolist(),
                seqs[start:end].tolist(),
                observed[start:end].tolist(),
                strict=True,
            ):
                verdict = self._see(window, seq, ms)
                if verdict is not Verdict.NEW:
                    verdicts[position] = verdict
        return verdicts

    def _see(self, window: Window, seq: int, ms: int) -> Verdict:
        if seq == window.top + 1 and ms >= window.newest_ms:
            window.top = seq
            window.newest_ms = ms
            return Verdict.NEW
        verdict, merged = window.see(seq)
        if verdict is not Verdict.NEW and window.boot_id == UNNAMED_BOOT and ms > window.newest_ms:
            window.restart()
            self.restarts_total += 1
            verdict, merged = window.see(seq)
        self.merged_total += merged
        if verdict is Verdict.NEW and ms > window.newest_ms:
            window.newest_ms = ms
        return verdict

    def take_changes(self) -> tuple[list[Window], list[tuple[str, str]]]:
        """Windows changed and (device, boot id) dropped since the last call."""
        changed, dropped = list(self._changed), self._dropped
        self._changed, self._dropped = set(), []
        return changed, dropped

    def is_current(self, window: Window) -> bool:
        return self._current.get(window.device) is window

    def all(self) -> list[Window]:
        """All windows, the least recently used first."""
        return sorted((w for boots in self._windows.values() for w in boots.values()), key=lambda w: w.used)

    def keep_more(self, is_wanted: bool) -> None:
        """While two read at once, one of them days behind, a device's boots are those of both."""
        self._boot_count_max = DEDUP_BOOT_COUNT_MAX * (BACKLOG_BOOT_FACTOR if is_wanted else 1)
        for device, boots in self._windows.items():
            while len(boots) > self._boot_count_max:
                self._drop_oldest(device, boots, None)

    def read_from(self, seq: int) -> None:
        """What comes now is from this position of the log on: which boots are old is a question of that, not of now."""
        self._uses = seq << _USES_BITS

    def _window(self, device: str, boot_id: str) -> Window:
        boots = self._windows.setdefault(device, {})
        window = boots.get(boot_id)
        if window is None:
            window = boots[boot_id] = Window(device, boot_id)
            while len(boots) > self._boot_count_max:
                self._drop_oldest(device, boots, window)
        self._uses += 1
        window.used = max(window.used, self._uses)
        return window

    def _drop_oldest(self, device: str, boots: dict[str, Window], newest: Window | None) -> None:
        current = self._current.get(device)
        oldest = min(
            (w for w in boots.values() if w is not newest and w is not current), key=lambda w: w.used
        )
        del boots[oldest.boot_id]
        self._changed.discard(oldest)
        self._dropped.append((device, oldest.boot_id))

    @property
    def window_count(self) -> int:
        return sum(map(len, self._windows.values()))
