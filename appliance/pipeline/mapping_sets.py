"""The history of mappings as two threads share it: the pipeline reads by it, a change adds to it.

A new set must not hold for records that were read already, so a change holds reading up at the log's head (head_gate.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from appliance.management.mapping import DEFAULT_MAPPINGS, TopicMapping, TopicRouter
from appliance.management.mapping_history import BEGINNING, MappingHistory, MappingSet
from appliance.pipeline.head_gate import HeadGate
from storage.telemetry.letters import ReplayPart


class MappingSets:
    """See the module's docstring. From any thread."""

    def __init__(self, history: MappingHistory) -> None:
        self._history = history
        self._gate = HeadGate()
        self._lock = self._gate.lock
        self._stops: tuple[int, ...] = ()
        self._when_loaded: Callable[[list[ReplayPart]], object] = lambda _parts: None

    @staticmethod
    def always(mappings: Sequence[TopicMapping]) -> MappingSets:
        """One set, with the default mappings behind it, for all records."""
        epoch, seq = BEGINNING
        only = MappingSet(number=1, epoch=epoch, from_seq=seq, mappings=(*mappings, *DEFAULT_MAPPINGS))
        return MappingSets(MappingHistory([only]))

    @contextmanager
    def reading(self, epoch: int, seq: int) -> Iterator[tuple[TopicRouter, int | None]]:
        """While blocks from this position on are read: by which router, and the first sequence not to be read now."""
        with self._gate.reading() as held_at:
            router, until_seq = self._history.at(epoch, seq)
            stops = [stop for stop in self._stops if stop >= seq]
            ends = [end for end in (until_seq, held_at, *stops) if end is not None]
            yield router, min(ends, default=None)

    def stop_at(self, stops: Sequence[int]) -> None:
        """Where reading stops until it is told that it need not: a rebuild reads dead letters again there, as it was done first."""
        with self._lock:
            self._stops = tuple(stops)

    def when_loaded(self, hook: Callable[[list[ReplayPart]], object]) -> None:
        """Have somebody told whenever the store was opened, before anything is read: with the parts of replays that it has."""
        self._when_loaded = hook

    def loaded(self, done: list[ReplayPart]) -> None:
        """The store was opened. From the pipeline's thread."""
        self._when_loaded(done)

    def set_at(self, epoch: int, seq: int) -> MappingSet:
        """The set by which the record at a position is read."""
        with self._lock:
            return self._history.set_at(epoch, seq)

    def newest_router(self) -> TopicRouter:
        with self._lock:
            return self._history.router(self._history.newest)

    @property
    def newest(self) -> MappingSet:
        with self._lock:
            return self._history.newest

    @property
    def count(self) -> int:
        with self._lock:
            return len(self._history)

    def hold(self, read_head: Callable[[], tuple[int, int]]) -> tuple[int, int]:
        """As HeadGate.hold."""
        return self._gate.hold(read_head)

    def release(self, new: Sequence[MappingSet]) -> None:
        """Read on, by these sets as well."""

        def add() -> None:
            for each in new:
                self._history.add(each)

        self._gate.release(add)
