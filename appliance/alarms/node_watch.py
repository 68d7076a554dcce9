"""The node's watches of itself: numbers every ten seconds, by the rules of kind `node`, to alarms like all others.

Theory of operation. One task asks for the numbers, compares them with the rules in force, and applies what began or ended to the catalog
(AlarmBook.apply) in a transaction, if anything did. Which alarms are active is the catalog's: after a restart one that is over is cleared,
and one that goes on is not raised again. Delays begin anew with the process. What a cloud node watches of other boxes has an alarm for each of
them, which ends when the box is gone from the fleet.

Must not know: where numbers come from, who is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import HomeportError, StorageError, Unavailable
from appliance.core.limits_alarms import NODE_WATCH_INTERVAL_MS, NODE_WATCH_RATE_MS
from appliance.management.alarm import Alarm
from appliance.management.audit import Act
from appliance.management.node_watches import WATCHES, Watched, is_wrong, sentence
from appliance.management.rule import Rule
from appliance.management.rule_conditions import NodeWatch
from appliance.management.rule_transition import AlarmKey, Transition
from storage.catalog import AsyncCatalog, Catalog

Facts = Callable[[], Awaitable[Mapping[str, float | None]]]
"""Gives the numbers by watch: totals for those that are rates; None, or nothing, for what isn't known now."""
Boxes = Callable[[], Awaitable[Mapping[str, Mapping[str, float | None]]]]
"""Gives the numbers of other boxes, by watch and box; no watch where it isn't known which boxes there are. A box's name has no space."""
_BY_NODE: Final = Act(action="alarms.node")
_log = logs.get(__name__)


class Book(Protocol):
    """What alarms are applied through (appliance.alarms.book.AlarmBook)."""

    def apply(self, catalog: Catalog, found: Sequence[Transition]) -> object: ...


@dataclass(slots=True)
class _Seen:
    """Since when a rule's number is on one side of its limit, monotonic ms; and the version that this is about."""

    version: int
    is_wrong: bool
    since_mono_ms: int


class NodeWatching:
    """From numbers to what began or ended. Pure: time is an argument."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._totals: dict[str, deque[tuple[int, float]]] = {}
        self._now = (0, 0, "")

    def step(
        self,
        rules: Sequence[Rule],
        facts: Mapping[str, float | None],
        active: frozenset[str],
        *,
        now_ms: int,
        now_mono_ms: int,
        suffix: str = "",
        boxes: Mapping[str, Mapping[str, float | None]] | None = None,
    ) -> list[Transition]:
        """Compare once.

        Args:
            rules: All that are switched on. active: Those whose alarm is active in the catalog: by rule id, and behind a space the box.
            now_ms: UTC ms. now_mono_ms: Monotonic ms.
            suffix: Behind what is watched, where several nodes share a catalog: each has an alarm of its own.
            boxes: As `Boxes` gives them.
        """
        self._now = (now_ms, now_mono_ms, suffix)
        numbers = {name: self._number(name, watched, facts, now_mono_ms) for name, watched in WATCHES.items()}
        found = []
        for rule in rules:
            condition = rule.definition.condition
            if not isinstance(condition, NodeWatch) or (watched := WATCHES.get(condition.what)) is None:
                continue
            if not watched.is_of_boxes:
                found += self._compared(rule, condition, watched, "", numbers[condition.what], active)
                continue
            of_boxes = (boxes or {}).get(condition.what)
            if of_boxes is None:
                continue
            for box, value in of_boxes.items():
                found += self._compared(rule, condition, watched, box, value, active)
            known = {_subject(rule.rule_id, box) for box in of_boxes}
            of_rule = rule.rule_id + " "
            for subject in [each for each in self._seen if each.startswith(of_rule) and each not in known]:
                del self._seen[subject]
            found += [
                Transition(
                    key=AlarmKey(
                        rule.rule_id, series=_series(condition.what, subject.removeprefix(of_rule), suffix)
                    ),
                    rule_version=rule.version,
                    is_raised=False,
                    at_ms=now_ms,
                    explanation={"text": "The box does not belong to the fleet any more."},
                )
                for subject in sorted(active)
                if subject.startswith(of_rule) and subject not in known
            ]
        return found

    def _compared(
        self,
        rule: Rule,
        condition: NodeWatch,
        watched: Watched,
        box: str,
        value: float | None,
        active: frozenset[str],
    ) -> list[Transition]:
        """What began or ended of one number."""
        now_ms, now_mono_ms, suffix = self._now
        subject = _subject(rule.rule_id, box)
        if value is None:
            self._seen.pop(subject, None)
            return []
        wrong = is_wrong(watched, condition.limit, value)
        seen = self._seen.get(subject)
        if seen is None or (seen.version, seen.is_wrong) != (rule.version, wrong):
            seen = self._seen[subject] = _Seen(rule.version, wrong, now_mono_ms)
        delay_s = rule.definition.on_delay_s if wrong else rule.definition.off_delay_s
        if wrong == (subject in active) or now_mono_ms - seen.since_mono_ms < delay_s * 1_000:
            return []
        return [
            Transition(
                key=AlarmKey(rule.rule_id, series=_series(condition.what, box, suffix)),
                rule_version=rule.version,
                is_raised=wrong,
                at_ms=now_ms,
                value=value,
                explanation={
                    "text": sentence(watched, condition.limit, value, box) if wrong else "It is over.",
                    "limit": watched.limit if condition.limit is None else condition.limit,
                    "unit": watched.unit,
                },
            )
        ]

    def _number(
        self, name: str, watched: Watched, facts: Mapping[str, float | None], now_mono_ms: int
    ) -> float | None:
        value = facts.get(name)
        if value is None or not watched.is_rate:
            return value
        totals = self._totals.setdefault(name, deque())
        if totals and value < totals[-1][1]:
            totals.clear()  # Whoever counts began anew: what it says now came since then.
            totals.append((now_mono_ms, 0.0))
        totals.append((now_mono_ms, value))
        # The last one that is an hour old stays: what the hour began with.
        while len(totals) > 1 and totals[1][0] <= now_mono_ms - NODE_WATCH_RATE_MS:
            totals.popleft()
        return value - totals[0][1]


class NodeWatcher:
    """The task; see the module's docstring.

    Args:
        suffix: As of now, "" on a box that is alone (NodeWatching.step).
        boxes: Of others; nothing where this is no cloud node.
    """

    def __init__(
        self,
        catalog: AsyncCatalog,
        book: Book,
        facts: Facts,
        *,
        clock: Clock,
        suffix: Callable[[], str] = lambda: "",
        boxes: Boxes | None = None,
    ) -> None:
        self._catalog = catalog
        self._book = book
        self._facts = facts
        self._clock = clock
        self._suffix = suffix
        self._boxes = boxes
        self._watching = NodeWatching()
        self._failing = ""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await trio.sleep(NODE_WATCH_INTERVAL_MS / 1_000)

    async def look(self) -> None:
        """Compare once, and apply what began or ended; while the catalog is away nothing is, and it is tried again."""
        try:
            facts = await self._facts()
            boxes = await self._boxes() if self._boxes is not None else None
            suffix, now_ms = self._suffix(), self._clock.now_ms()
            rules, alarms = await self._catalog.read(_in_force, pool="pipeline")
            active, over = _own(rules, alarms, suffix, now_ms)
            found = over + self._watching.step(
                rules,
                facts,
                active,
                now_ms=now_ms,
                now_mono_ms=self._clock.mono_ms(),
                suffix=suffix,
                boxes=boxes,
            )
            if found:
                await self._catalog.write(lambda catalog: self._book.apply(catalog, found), by=_BY_NODE)
        except HomeportError as error:
            if not isinstance(error, Unavailable | StorageError):
                raise
            if self._failing != error.message:
                _log.warning("the node could not look after itself", code=error.code, error=error.message)
            self._failing = error.message
        else:
            self._failing = ""


def _in_force(catalog: Catalog) -> tuple[list[Rule], tuple[Alarm, ...]]:
    """Rules of kind `node` that are switched on, and their alarms that are active, on all nodes of the site."""
    rules = [each.as_rule() for each in catalog.rules_of_kind("node")]
    return rules, catalog.active_alarms_of_rules([rule.rule_id for rule in rules])


def _own(
    rules: Sequence[Rule], alarms: Sequence[Alarm], suffix: str, now_ms: int
) -> tuple[frozenset[str], list[Transition]]:
    """Which rules' alarms of this node are active; and what ends those of before it had a site, which no node speaks for any more."""
    watched = {
        rule.rule_id: rule.definition.condition.what
        for rule in rules
        if isinstance(rule.definition.condition, NodeWatch)
    }
    subjects = {
        each.alarm_id: subject
        for each in alarms
        if (subject := _subject_of(each, watched.get(each.rule_id, ""), suffix)) is not None
    }
    active = frozenset(subjects.values())
    over = [
        Transition(
            key=AlarmKey(each.rule_id, series=each.series),
            rule_version=each.rule_version,
            is_raised=False,
            at_ms=now_ms,
            explanation={"text": "Each node of the site has its own alarm now."},
        )
        for each in alarms
        if suffix and _subject_of(each, watched.get(each.rule_id, ""), "") is not None
    ]
    return active, over


def _subject(rule_id: str, box: str) -> str:
    return f"{rule_id} {box}" if box else rule_id


def _series(what: str, box: str, suffix: str) -> str:
    return f"{what} {box}{suffix}" if box else what + suffix


def _subject_of(alarm: Alarm, what: str, suffix: str) -> str | None:
    """What an alarm of the node with this suffix is about, as `_subject`; None for another node's."""
    if what not in WATCHES or not WATCHES[what].is_of_boxes:
        return alarm.rule_id if alarm.series == what + suffix else None
    words = alarm.series.split(" ")
    if words[0] != what or words[2:] != suffix.split():
        return None
    return _subject(alarm.rule_id, words[1]) if len(words) > 1 else None
