"""Readings in any order and cut, shown to rules as the engine shows them; and a short way to write rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from appliance.management.rule import Rule, RuleDefinition, RuleScope
from appliance.management.rule_conditions import AnyCondition
from appliance.management.rule_transition import AlarmKey, Transition
from appliance.management.watched import Membership, PresenceChange, Released
from appliance.rules.evaluator import RuleEvaluator

ALL = RuleScope(all=True)
START_MS = 1_700_000_000_000
"""A whole multiple of 10 s and of a minute; times of tests are counted from here."""


class Names(list[tuple[str, str]]):
    """Series by their ids."""

    def name_of(self, series_id: int, /) -> tuple[str, str]:
        return self[series_id]


def rule(
    rule_id: str,
    condition: AnyCondition,
    *,
    metric: str = "t",
    scope: RuleScope = ALL,
    version: int = 1,
    on_delay_s: float = 0.0,
    off_delay_s: float = 0.0,
) -> Rule:
    """A rule whose name is its id."""
    definition = RuleDefinition(
        severity="P2",
        scope=scope,
        metric=metric,
        condition=condition,
        on_delay_s=on_delay_s,
        off_delay_s=off_delay_s,
    )
    return Rule(rule_id=rule_id, version=version, name=rule_id, definition=definition)


@dataclass(frozen=True, kw_only=True, order=True)
class Reading:
    """One reading; times in ms from START_MS."""

    received: int
    series: int
    observed: int
    value: float
    quality: int = 0


def columns(readings: Sequence[Reading]) -> Released:
    """Readings sorted as they are shown."""
    ordered = sorted(readings, key=lambda each: (each.series, each.observed))
    return Released(
        series=np.array([each.series for each in ordered], np.uint32),
        observed_at_ms=np.array([START_MS + each.observed for each in ordered], np.int64),
        received_at_ms=np.array([START_MS + each.received for each in ordered], np.int64),
        values=np.array([each.value for each in ordered], np.float64),
        quality=np.array([each.quality for each in ordered], np.uint8),
    )


@dataclass
class Told:
    """Transitions by key, in the order in which they came: (time from START_MS, whether it was raised, explanation)."""

    by_key: dict[AlarmKey, list[tuple[int, bool, dict[str, Any]]]] = field(default_factory=dict)

    def take(self, transitions: Iterable[Transition]) -> None:
        for each in transitions:
            mine = self.by_key.setdefault(each.key, [])
            mine.append((each.at_ms - START_MS, each.is_raised, each.explanation))

    def of(
        self, rule_id: str, device: str = "", series: str = "", group: str = ""
    ) -> list[tuple[float, bool]]:
        """Seconds from the start, and whether it was raised."""
        key = AlarmKey(rule_id, device, group, series)
        return [(at / 1_000, is_raised) for at, is_raised, _ in self.by_key.get(key, [])]

    def texts(self, rule_id: str, device: str = "", series: str = "", group: str = "") -> list[str]:
        key = AlarmKey(rule_id, device, group, series)
        return [str(explanation["text"]) for _, _, explanation in self.by_key.get(key, [])]


class Site:
    """An evaluator with its series, and what it told. Times are in seconds from START_MS."""

    def __init__(
        self,
        *rules: Rule,
        series: Sequence[tuple[str, str]] = (("a", "t"),),
        members: Membership | None = None,
        lateness_ms: int = 0,
    ) -> None:
        self.names = Names(series)
        self.evaluator = RuleEvaluator(self.names, lateness_ms=lateness_ms)
        if members is not None:
            self.evaluator.members(members)
        self.evaluator.use(rules)
        self.told = Told()

    def see(self, *rows: tuple[int, float, float]) -> None:
        """(series, seconds, value), received when they were observed."""
        readings = [
            Reading(received=round(at * 1_000), series=series, observed=round(at * 1_000), value=value)
            for series, at, value in rows
        ]
        self.told.take(self.evaluator.see(columns(readings)))

    def tick(self, at_s: float) -> None:
        self.told.take(self.evaluator.tick(START_MS + round(at_s * 1_000)))

    def presence(self, *changes: PresenceChange) -> None:
        self.told.take(self.evaluator.presence(changes))


class Feeder:
    """Shows readings in the order of arrival: each series in the order of its times, what is waited for held back."""

    def __init__(
        self, evaluator: RuleEvaluator, names: Names, known: Sequence[tuple[str, str]], lateness_ms: int
    ) -> None:
        self._evaluator, self._names, self._known = evaluator, names, known
        self._lateness_ms = lateness_ms
        self._held: list[Reading] = []
        self.told = Told()

    def arrive(self, readings: Iterable[Reading]) -> None:
        self._held += readings

    def advance(self, now: int) -> None:
        """Release what has waited long enough, and everything of its series before it."""
        newest: dict[int, int] = {}
        for each in self._held:
            if each.received + self._lateness_ms <= now:
                newest[each.series] = max(newest.get(each.series, each.observed), each.observed)
        out = [each for each in self._held if each.series in newest and each.observed <= newest[each.series]]
        self._held = [each for each in self._held if each not in out]
        if out:
            top = max(each.series for each in out)
            self._names += self._known[len(self._names) : top + 1]
            self.told.take(self._evaluator.see(columns(out)))

    def tick(self, now: int) -> None:
        self.advance(now)
        self.told.take(self._evaluator.tick(START_MS + now))

    def replace(self, evaluator: RuleEvaluator) -> None:
        self._evaluator = evaluator
