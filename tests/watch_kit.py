"""A watch with an evaluator that fits on a page, over a real log and a real store, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from appliance.core.clock import Clock
from appliance.management.rule import Rule, RuleDefinition, RuleScope
from appliance.management.rule_conditions import Threshold
from appliance.management.rule_transition import AlarmKey, Transition
from appliance.management.watched import (
    Membership,
    PresenceChange,
    Released,
    Scores,
    SeriesNames,
    SilenceScores,
)
from appliance.pipeline.mapping_sets import MappingSets
from appliance.pipeline.reading import Pending, Reading
from appliance.pipeline.rule_sets import RuleSets
from appliance.pipeline.rules import LogRules
from appliance.pipeline.watch_reading import WatchReading
from appliance.pipeline.watching import Watched
from appliance.watch.watch import Watch
from storage.catalog.rules import RuleVersion
from storage.log.reader import LogReader
from storage.telemetry.database import run
from storage.telemetry.store import TelemetryStore
from storage.telemetry.watch_state import found_since
from tests.pipeline_kit import EveryDevice

NOW = 1_700_000_000_000
SILENT_MS = 30_000


class SmallEvaluator:
    """Above the limit of its newest rule, and silent for SILENT_MS of arrival: per series.

    Attributes:
        poison: A value that it can't bear.
    """

    poison = 666.0

    def __init__(self, names: SeriesNames) -> None:
        self.names = names
        self.limit, self.version = 1e9, 0
        self.above: dict[int, bool] = {}
        self.heard: dict[int, int] = {}
        self.silent: set[int] = set()
        self.ticks: list[int] = []
        self.calls: list[object] = []

    def use(self, rules: Sequence[Rule]) -> list[AlarmKey]:
        self.calls.append(("use", [rule.version for rule in rules]))
        for rule in rules:
            assert isinstance(rule.definition.condition, Threshold)
            if rule.version != self.version:
                self.above = {}
            self.limit, self.version = rule.definition.condition.limit, rule.version
        return []

    def members(self, membership: Membership) -> None:
        self.calls.append(membership)

    def see(self, points: Released, scores: Scores | None) -> list[Transition]:
        assert scores is not None
        assert len(scores.score) == len(points)
        found = []
        for series, at_ms, received, value in zip(
            points.series.tolist(),
            points.observed_at_ms.tolist(),
            points.received_at_ms.tolist(),
            points.values.tolist(),
            strict=True,
        ):
            if value == self.poison:
                raise ZeroDivisionError("poison")
            found += self._heard(series, received)
            if (value > self.limit) != self.above.get(series, False):
                self.above[series] = value > self.limit
                found.append(self._transition("above", series, at_ms, is_raised=value > self.limit))
        return found

    def _heard(self, series: int, received: int) -> list[Transition]:
        last, found = self.heard.get(series), []
        if last is not None and received > last + SILENT_MS and series not in self.silent:
            found.append(self._transition("silent", series, last + SILENT_MS, is_raised=True))
            self.silent.add(series)
        if series in self.silent:
            self.silent.remove(series)
            found.append(self._transition("silent", series, received, is_raised=False))
        self.heard[series] = max(last or 0, received)
        return found

    def silence(self, scores: SilenceScores) -> list[Transition]:
        raise AssertionError("no detector found any")

    def tick(self, now_ms: int) -> list[Transition]:
        self.ticks.append(now_ms)
        found = []
        for series, last in self.heard.items():
            # As long as it may take until a reading is shown, it is not silent.
            if series not in self.silent and now_ms - 1_000 > last + SILENT_MS:
                self.silent.add(series)
                found.append(self._transition("silent", series, last + SILENT_MS, is_raised=True))
        return found

    def _transition(self, rule: str, series: int, at_ms: int, *, is_raised: bool) -> Transition:
        device, metric = self.names.name_of(series)
        key = AlarmKey(rule_id=rule, device_id=device, series=metric)
        return Transition(key=key, rule_version=self.version, is_raised=is_raised, at_ms=at_ms)

    def broker_started(self, at_ms: int) -> None:
        self.calls.append(("broker", at_ms))
        self.heard = {series: max(last, at_ms) for series, last in self.heard.items()}

    def presence(self, changes: Sequence[PresenceChange]) -> list[Transition]:
        self.calls.append([(each.device_id, each.presence) for each in changes])
        return []

    def save(self) -> bytes:
        return msgspec.msgpack.encode((self.limit, self.version, self.above, self.heard, self.silent))

    def load(self, data: bytes) -> None:
        of = tuple[float, int, dict[int, bool], dict[int, int], set[int]]
        self.limit, self.version, self.above, self.heard, self.silent = msgspec.msgpack.decode(data, type=of)

    def statistics(self) -> str:
        return "small"


class NoDetectors:
    """Everything is as ever."""

    def see(self, points: Released) -> Scores:
        count = len(points)
        return Scores(
            score=np.zeros(count, np.float32), kind=np.zeros(count, np.uint8), explain=lambda _at: {}
        )

    def tick(self, now_ms: int) -> SilenceScores:
        return SilenceScores(
            series=np.empty(0, np.uint32),
            at_ms=np.empty(0, np.int64),
            score=np.empty(0, np.float32),
            kind=np.empty(0, np.uint8),
            explain=lambda _at: {},
        )

    def broker_started(self, at_ms: int) -> None:
        pass

    def save(self) -> bytes:
        return b"none"

    def load(self, data: bytes) -> None:
        assert data == b"none"

    def statistics(self) -> str:
        return "none"


def version(number: int, limit: float | None, from_seq: int = 1, *, rule_id: str = "r") -> RuleVersion:
    """A change of a rule: above this limit; None takes it away."""
    definition = None
    if limit is not None:
        definition = RuleDefinition(
            severity="P2",
            scope=RuleScope(all=True),
            metric="t",
            condition=Threshold(is_="above", limit=limit),
        )
    return RuleVersion(
        number=number,
        rule_id=rule_id,
        name=rule_id,
        version=number,
        epoch=0 if from_seq == 1 else 1,
        from_seq=from_seq,
        definition=definition,
        changed_by="",
        changed_at_ms=0,
    )


def small_watch(lateness_ms: int = 1_000) -> Watch:
    return Watch(lateness_ms=lateness_ms, evaluator=SmallEvaluator, detectors=NoDetectors)


class WatchedByHand:
    """A store that is filled and watched step by step. Dropping it at any moment is what SIGKILL is."""

    def __init__(
        self,
        path: Path,
        log: Path,
        clock: Clock,
        sets: RuleSets | None = None,
        make: Callable[[], Watch] = small_watch,
    ) -> None:
        self._path, self._clock, self._make = path, clock, make
        self.log = LogReader(log)
        self.sets = sets or RuleSets([version(1, 5.0)])
        self.told = 0
        self.open()

    def open(self) -> None:
        self.store = TelemetryStore.open(self._path, clock=self._clock)
        watched = Watched(watch=self._make(), rules=self.sets, when_found=self._tell)
        rules = LogRules(MappingSets.always([]))
        self.reading = Reading(self.log, self.store, rules, EveryDevice(), _call, watched, self._clock)
        self.reading.load()

    def _tell(self) -> None:
        self.told += 1

    @property
    def watch(self) -> WatchReading:
        assert self.reading.watch is not None
        return self.reading.watch

    def restart(self) -> None:
        self.store.close()
        self.open()

    def close(self) -> None:
        self.store.close()
        self.log.close()

    async def build(self, messages: int = 1_000, *, is_behind: bool = False) -> Pending | None:
        return await self.reading.prepare(messages, is_behind=is_behind)

    def commit(self, pending: Pending) -> None:
        self.store.commit(pending.batch)
        self.reading.committed(pending)
        self.watch.say_found()

    async def step(self, messages: int = 1_000) -> bool:
        pending = await self.build(messages)
        if pending is not None:
            self.commit(pending)
        return pending is not None

    async def look(self, *, is_quiet: bool = True) -> bool:
        """A turn of the watch."""
        done = await self.watch.turn(self.reading, _call, is_quiet=is_quiet)
        self.watch.say_found()
        return done

    async def to_the_end(self) -> None:
        """Everything stored, everything seen, and the clock looked at."""
        while await self.step():
            pass
        while await self.look():
            pass

    def found(self) -> list[tuple[str, str, int, bool, int]]:
        """All that is in the outbox: rule, device, at_ms, is_raised, version."""
        with self.store.reading() as connection:
            transitions = found_since(connection, 0)
        return [
            (each.key.rule_id, each.key.device_id, each.at_ms, each.is_raised, each.rule_version)
            for each in transitions
        ]

    def checkpoint_seq(self) -> int | None:
        with self.store.reading() as connection:
            rows = run(connection, "SELECT next_seq FROM watch_checkpoints")
        return rows[0][0] if rows else None


async def _call(call: Callable[[], Any]) -> Any:
    return call()
