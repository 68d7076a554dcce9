"""The hub between what happens on the node and the pages that show it.

Theory of operation. Whoever changes something calls `touch(keys)`, which only writes the hub's next sequence
number beside each key: no value is copied, nothing is queued and nothing waits, so ingest can't be held up by
a page. A page holds a `Watcher` on the keys that it shows; the watcher remembers one number, how far it has
shown. When it wakes, at most every `frame_interval_ms`, it asks which of its keys have a larger number and
renders the values as they are *then*: a slow page loses the values in between and never the last one.

Bounds: one integer per key (`HUB_KEY_COUNT_MAX` keys; older ones are forgotten and count as changed), one
integer per watcher, `HUB_WATCHER_COUNT_MAX` watchers. A page that (re)connects gets a first frame with
everything, so a gap needs no replay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import trio

from appliance.core.clock import Clock
from appliance.core.errors import LimitExceeded
from appliance.core.limits import (
    HUB_BEAT_INTERVAL_MS,
    HUB_FRAME_INTERVAL_MS,
    HUB_KEY_COUNT_MAX,
    HUB_WATCHER_COUNT_MAX,
)


class Changes(Protocol):
    """What changed since the last time (appliance.pipeline.live.Changes)."""

    @property
    def devices(self) -> frozenset[str]: ...
    @property
    def everything(self) -> bool: ...


class Subscription(Protocol):
    """Changes, merged while nobody waits."""

    async def wait(self) -> Changes: ...


class ChangeSource(Protocol):
    """Where changes come from (appliance.pipeline.live.LiveView)."""

    def subscribe(self) -> AbstractContextManager[Subscription]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What a page is to show next.

    Attributes:
        seq: The hub's sequence number, sent as the event's id.
        keys: Those of the watcher's keys that changed; empty for a heartbeat and for a watcher of everything.
        is_first: Show everything: the page is new, or has been away.
        is_beat: Nothing changed; only say that the link is alive.
    """

    seq: int
    keys: tuple[str, ...] = ()
    is_first: bool = False
    is_beat: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HubStatistics:
    seq: int
    key_count: int
    watcher_count: int
    frames_total: int
    refused_total: int


class Hub:
    """Latest change per key, for all open pages of this node. Used from one event loop."""

    def __init__(
        self,
        *,
        clock: Clock,
        source: ChangeSource | None = None,
        frame_interval_ms: int = HUB_FRAME_INTERVAL_MS,
        beat_interval_ms: int = HUB_BEAT_INTERVAL_MS,
        key_count_max: int = HUB_KEY_COUNT_MAX,
        watcher_count_max: int = HUB_WATCHER_COUNT_MAX,
    ) -> None:
        self.clock = clock
        self.frame_interval_ms = frame_interval_ms
        self.beat_interval_ms = beat_interval_ms
        self._source = source
        self._key_count_max = key_count_max
        self._watcher_count_max = watcher_count_max
        self._seq = 0
        self._seq_by_key: dict[str, int] = {}
        self._floor_seq = 0
        """A key that is not in the table counts as changed at this number."""
        self._changed = trio.Event()
        self._watcher_count = 0
        self._frames_total = 0
        self._refused_total = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the live view until cancelled."""
        assert self._source is not None, "a hub without a source is fed by touch() alone"
        with self._source.subscribe() as subscription:
            task_status.started()
            while True:
                changes = await subscription.wait()
                if changes.everything:
                    self.touch_all()
                else:
                    self.touch(changes.devices)

    @property
    def seq(self) -> int:
        return self._seq

    def touch(self, keys: Iterable[str]) -> None:
        """Say that what these keys name has changed. Never waits; O(keys)."""
        self._seq += 1
        table = self._seq_by_key
        for key in keys:
            table.pop(key, None)  # so that the table stays ordered by sequence, oldest first
            table[key] = self._seq
        while len(table) > self._key_count_max:
            oldest = next(iter(table))
            self._floor_seq = max(self._floor_seq, table.pop(oldest))
        self._wake()

    def touch_all(self) -> None:
        """Say that anything may have changed."""
        self._seq += 1
        self._floor_seq = self._seq
        self._seq_by_key.clear()
        self._wake()

    @contextmanager
    def watch(self, keys: Iterable[str] | None) -> Iterator[Watcher]:
        """Open a page's view.

        Args:
            keys: What the page shows; None for a page that shows a summary of everything.
        Raises:
            LimitExceeded: as many pages are open as the node serves.
        """
        if self._watcher_count >= self._watcher_count_max:
            self._refused_total += 1
            raise LimitExceeded(
                f"{self._watcher_count_max} pages are open already.",
                hint="Close pages that nobody looks at, then load this one again.",
                code="too_many_pages",
            )
        self._watcher_count += 1
        try:
            yield Watcher(self, None if keys is None else tuple(keys))
        finally:
            self._watcher_count -= 1

    def changed_since(self, keys: tuple[str, ...], seq: int) -> tuple[str, ...]:
        """Those of the keys that changed after `seq`."""
        table, floor = self._seq_by_key, self._floor_seq
        return tuple(key for key in keys if max(table.get(key, 0), floor) > seq)

    async def wait_changed(self) -> None:
        """Until the next touch of anything."""
        await self._changed.wait()

    def count_frame(self) -> None:
        self._frames_total += 1

    def statistics(self) -> HubStatistics:
        return HubStatistics(
            seq=self._seq,
            key_count=len(self._seq_by_key),
            watcher_count=self._watcher_count,
            frames_total=self._frames_total,
            refused_total=self._refused_total,
        )

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class Watcher:
    """One page's position. Its whole state is a sequence number and two times."""

    def __init__(self, hub: Hub, keys: tuple[str, ...] | None) -> None:
        self._hub = hub
        self._keys = keys
        self._seq = -1
        self._not_before = 0.0
        self._beat_at = 0.0

    async def next_frame(self) -> Frame:
        """Wait for the next thing to send: at once the first time, then at most one per frame interval.

        Returns a heartbeat when nothing changed for the beat interval.
        """
        hub = self._hub
        if self._seq < 0:
            await trio.lowlevel.checkpoint()
            return self._sent(Frame(seq=hub.seq, is_first=True))
        while True:
            await trio.sleep_until(self._not_before)
            if hub.seq > self._seq:
                frame = self._frame_of_changes()
                if frame is not None:
                    return self._sent(frame)
                self._seq = hub.seq  # what changed is not on this page
                self._not_before = trio.current_time() + hub.frame_interval_ms / 1_000
            if trio.current_time() >= self._beat_at:
                return self._sent(Frame(seq=hub.seq, is_beat=True))
            with trio.move_on_at(self._beat_at):
                await hub.wait_changed()

    def _frame_of_changes(self) -> Frame | None:
        if self._keys is None:
            return Frame(seq=self._hub.seq)
        keys = self._hub.changed_since(self._keys, self._seq)
        return Frame(seq=self._hub.seq, keys=keys) if keys else None

    def _sent(self, frame: Frame) -> Frame:
        now = trio.current_time()
        self._seq = frame.seq
        self._not_before = now + self._hub.frame_interval_ms / 1_000
        self._beat_at = now + self._hub.beat_interval_ms / 1_000
        self._hub.count_frame()
        return frame
