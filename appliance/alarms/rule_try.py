"""A rule tried on past readings: the alarms that it would have raised. Nothing is written.

The readings of the store go through the very evaluator that the node uses, each as if it had arrived when it was measured. A warm-up before the
span lets windows and delays fill; what was over before the span began doesn't count. All readings are looked at or none: a rule that
is for more than fits is refused with what to narrow, since a sample would promise what the rule doesn't keep.

Anomalies are found by detectors that begin anew and learn from the warm-up: they know less of a series than those that have watched it for weeks.
Not to be tried are kinds whose past the store doesn't have: connections, and the node's own watches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import trio

from appliance.anomalies.detectors import AnomalyDetectors
from appliance.core.arrays import F64, I64, U8, U32
from appliance.core.errors import HomeportError, LimitExceeded, UsageError
from appliance.core.limits_rule_try import (
    RULE_TRY_ALARM_COUNT_MAX,
    RULE_TRY_EVALUATE_S,
    RULE_TRY_READ_S,
    RULE_TRY_READING_COUNT_MAX,
    RULE_TRY_SERIES_COUNT_MAX,
    RULE_TRY_SPAN_MS_MAX,
    RULE_TRY_STEP_COUNT,
    RULE_TRY_WAIT_S,
    RULE_TRY_WARM_UP_MS_MAX,
)
from appliance.management.presence import Presence
from appliance.management.readings import ValueKind
from appliance.management.rule import Rule, RuleDefinition
from appliance.management.rule_conditions import Anomaly, Comparison, Connection, NodeWatch
from appliance.management.rule_transition import AlarmKey
from appliance.management.watched import Member, Membership, PresenceChange, Released
from appliance.rules.evaluator import RuleEvaluator

UNTRIED: Final = (Connection, NodeWatch)
"""Kinds that can't be tried on readings of the past."""
_HOUR_MS: Final = 3_600_000
_RULE_ID: Final = "tried"
_HINT: Final = "Name fewer devices or one metric, or take a shorter range."


class Columns(Protocol):
    """Readings of one series (storage.telemetry.portions.ReadingColumns)."""

    @property
    def device(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def at_ms(self) -> I64: ...
    @property
    def kind(self) -> U8: ...
    @property
    def number(self) -> F64: ...
    @property
    def quality(self) -> U8: ...


class Readings(Protocol):
    """The store's readings in order of device, metric and time (storage.telemetry.TelemetryReader)."""

    def stream(
        self, devices: Sequence[str], metrics: Sequence[str], from_ms: int, to_ms: int, /
    ) -> AsyncIterator[Columns]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedAlarm:
    """One that it would have raised; `to_ms` is None where it would be active still. Times by the readings, UTC ms."""

    key: AlarmKey
    from_ms: int
    to_ms: int | None
    value: float | None
    explanation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        found = self.explanation.get("text", "")
        return found if isinstance(found, str) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TryOut:
    """What a try came to.

    Attributes:
        alarms: The newest first; at most RULE_TRY_ALARM_COUNT_MAX of `count`.
        by_device: Device id ("" for groups and the site) → how many, the most first.
        reading_count, series_count: What was looked at, the warm-up with it.
    """

    alarms: tuple[TriedAlarm, ...]
    count: int
    by_device: Mapping[str, int]
    reading_count: int
    series_count: int
    from_ms: int
    to_ms: int
    warm_up_ms: int


@dataclass(slots=True)
class _Names:
    """Series in the order in which they were read."""

    names: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    def name_of(self, series_id: int, /) -> tuple[str, str]:
        return self.names[series_id]


@dataclass(slots=True)
class _Past:
    """Readings as columns, series by series."""

    names: _Names = field(default_factory=_Names)
    parts: list[tuple[int, Columns]] = field(default_factory=list)
    count: int = 0


class RuleTries:
    """One try at a time.

    Args:
        turn: A limiter with one place, shared by all who try.
        mono_s: A clock for deadlines.
    """

    def __init__(
        self,
        readings: Readings,
        *,
        turn: trio.CapacityLimiter | None = None,
        mono_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._readings = readings
        self._mono_s = mono_s
        self._turn = turn or trio.CapacityLimiter(1)

    async def try_out(
        self,
        definition: RuleDefinition,
        series: Sequence[tuple[str, str]],
        membership: Membership,
        from_ms: int,
        to_ms: int,
        *,
        expect_ms: Mapping[str, int] | None = None,
    ) -> TryOut:
        """Try a checked definition.

        Args:
            series: Device and metric of all that the rule may be about; what of it is for others is left out by the evaluator.
            membership: Where devices belong, as of now.
            expect_ms: How often devices' statuses say that they report.
        Raises:
            UsageError: `rule_not_tried`: this kind can't be. `range_invalid`. LimitExceeded: `rule_try_too_much`, `rule_try_busy`.
            Unavailable: the store is away or slow.
        """
        if isinstance(definition.condition, UNTRIED):
            raise UsageError(
                "The store keeps no past of what this kind looks at, so it can't be tried.",
                hint="Save it, and look at what it raises.",
                code="rule_not_tried",
            )
        if not 0 < to_ms - from_ms <= RULE_TRY_SPAN_MS_MAX:
            raise UsageError(
                f"A rule is tried on at most {RULE_TRY_SPAN_MS_MAX // 86_400_000} days.",
                hint="Take a shorter range.",
                code="range_invalid",
            )
        if len(series) > RULE_TRY_SERIES_COUNT_MAX:
            raise _too_much(
                f"The rule is for {len(series)} series; {RULE_TRY_SERIES_COUNT_MAX} can be tried at once."
            )
        with trio.move_on_after(RULE_TRY_WAIT_S) as waiting:
            await self._turn.acquire()
        if waiting.cancelled_caught:
            raise LimitExceeded(
                "Somebody else is trying a rule.", hint="Try again in a moment.", code="rule_try_busy"
            )
        try:
            warm_up_ms = warm_up_of(definition)
            past = await self._read(series, from_ms - warm_up_ms, to_ms)
            stop = threading.Event()
            try:
                return await trio.to_thread.run_sync(
                    lambda: self._evaluate(
                        definition, past, membership, expect_ms or {}, (from_ms, to_ms, warm_up_ms), stop
                    ),
                    abandon_on_cancel=True,
                )
            finally:
                stop.set()
        finally:
            self._turn.release()

    async def _read(self, series: Sequence[tuple[str, str]], from_ms: int, to_ms: int) -> _Past:
        past = _Past()
        by_device: dict[str, list[str]] = {}
        for device, metric in series:
            by_device.setdefault(device, []).append(metric)
        with trio.move_on_after(RULE_TRY_READ_S) as reading:
            for device, metrics in by_device.items():
                async for columns in self._readings.stream([device], metrics, from_ms, to_ms):
                    name = (columns.device, columns.metric)
                    if not past.names.names or past.names.names[-1] != name:
                        past.names.names.append(name)
                    past.parts.append((len(past.names) - 1, columns))
                    past.count += len(columns.at_ms)
                    if past.count > RULE_TRY_READING_COUNT_MAX:
                        raise _too_much(
                            f"There are more than {RULE_TRY_READING_COUNT_MAX:,} readings in this range."
                        )
        if reading.cancelled_caught:
            raise _too_much(f"The readings could not be read within {RULE_TRY_READ_S:.0f} s.")
        return past

    def _evaluate(
        self,
        definition: RuleDefinition,
        past: _Past,
        membership: Membership,
        expect_ms: Mapping[str, int],
        span: tuple[int, int, int],
        stop: threading.Event,
    ) -> TryOut:
        """In a thread of its own."""
        from_ms, to_ms, warm_up_ms = span
        deadline_s = self._mono_s() + RULE_TRY_EVALUATE_S
        evaluator = RuleEvaluator(past.names)
        evaluator.members(membership)
        evaluator.use([Rule(rule_id=_RULE_ID, version=1, name=_RULE_ID, definition=definition)])
        detectors = AnomalyDetectors() if isinstance(definition.condition, Anomaly) else None
        begin_ms = from_ms - warm_up_ms
        devices = dict.fromkeys(device for device, _ in past.names.names)
        found = evaluator.presence(
            [
                PresenceChange(
                    device_id=each, presence=Presence.ONLINE, at_ms=begin_ms, expect_ms=expect_ms.get(each)
                )
                for each in devices
            ]
        )
        number, at_ms, values, quality = _columns(past)
        step_ms = max(1_000, (to_ms - begin_ms) // RULE_TRY_STEP_COUNT)
        for until_ms in (*range(begin_ms + step_ms, to_ms, step_ms), to_ms):
            if stop.is_set():
                raise _too_much("The try was broken off.")
            if self._mono_s() > deadline_s:
                raise _too_much(f"The rule could not be tried within {RULE_TRY_EVALUATE_S:.0f} s.")
            first, last = np.searchsorted(at_ms, [until_ms - step_ms, until_ms], "left")
            if until_ms == to_ms:
                last = len(at_ms)
            part = slice(int(first), int(last))
            order = np.lexsort((at_ms[part], number[part]))
            readings = Released(
                series=number[part][order],
                observed_at_ms=at_ms[part][order],
                received_at_ms=at_ms[part][order],
                values=values[part][order],
                quality=quality[part][order],
            )
            found += evaluator.see(readings, detectors.see(readings) if detectors is not None else None)
            if detectors is not None and len((silences := detectors.tick(until_ms)).series):
                found += evaluator.silence(silences)
            found += evaluator.tick(until_ms)
        alarms = _alarms(found, from_ms)
        by_device: dict[str, int] = {}
        for each in alarms:
            by_device[each.key.device_id] = by_device.get(each.key.device_id, 0) + 1
        return TryOut(
            alarms=tuple(alarms[:RULE_TRY_ALARM_COUNT_MAX]),
            count=len(alarms),
            by_device=dict(sorted(by_device.items(), key=lambda item: (-item[1], item[0]))),
            reading_count=past.count,
            series_count=len(past.names),
            from_ms=from_ms,
            to_ms=to_ms,
            warm_up_ms=warm_up_ms,
        )


def warm_up_of(definition: RuleDefinition) -> int:
    """How long before a span readings are looked at, ms: an hour, or twice what the rule waits and looks back; a day for what has to be learned."""
    condition = definition.condition
    if isinstance(condition, Anomaly):
        return RULE_TRY_WARM_UP_MS_MAX
    seconds = [definition.on_delay_s, definition.off_delay_s]
    seconds += [float(getattr(condition, name, 0) or 0) for name in ("over_s", "within_s", "for_s")]
    expected_s = getattr(condition, "expected_s", None)
    if expected_s:
        seconds.append(expected_s * float(getattr(condition, "times", 1)))
    return min(RULE_TRY_WARM_UP_MS_MAX, max(_HOUR_MS, round(2_000 * max(seconds))))


def metrics_wanted(definition: RuleDefinition, known: Iterable[str]) -> list[str]:
    """Which of a device's metrics a rule may look at."""
    condition = definition.condition
    also = {condition.other} if isinstance(condition, Comparison) and condition.with_ == "metric" else set()
    head, star, tail = definition.metric.partition("*")
    return [
        each
        for each in known
        if not definition.metric
        or each == definition.metric
        or each in also
        or (star and each.startswith(head) and each.endswith(tail.rpartition("*")[2]))
    ]


def devices_wanted(definition: RuleDefinition, membership: Membership) -> list[str]:
    """Ids of the devices that a rule is for, as of now."""
    scope = definition.scope

    def is_meant(device_id: str, member: Member) -> bool:
        if not member.is_watched or device_id in scope.except_:
            return False
        return (
            scope.all
            or device_id in scope.devices
            or not member.groups.isdisjoint(scope.groups)
            or not member.tags.isdisjoint(scope.tags)
        )

    return sorted(each for each, member in membership.devices.items() if is_meant(each, member))


def _columns(past: _Past) -> tuple[U32, I64, F64, U8]:
    """All numbers and booleans in the order of their times: number of the series, time, value, quality."""
    if not past.parts:
        return np.zeros(0, np.uint32), np.zeros(0, np.int64), np.zeros(0, np.float64), np.zeros(0, np.uint8)
    number = np.concatenate([np.full(len(part.at_ms), at, np.uint32) for at, part in past.parts])
    at_ms = np.concatenate([np.asarray(part.at_ms, np.int64) for _, part in past.parts])
    values = np.concatenate([np.asarray(part.number, np.float64) for _, part in past.parts])
    quality = np.concatenate([np.asarray(part.quality, np.uint8) for _, part in past.parts])
    kind = np.concatenate([np.asarray(part.kind, np.uint8) for _, part in past.parts])
    order = np.argsort(at_ms, kind="stable")
    order = order[kind[order] != ValueKind.TEXT]
    return number[order], at_ms[order], values[order], quality[order]


def _alarms(found: Sequence[Any], from_ms: int) -> list[TriedAlarm]:
    """Transitions as alarms, the newest first; those that were over before the span are left out."""
    active: dict[AlarmKey, TriedAlarm] = {}
    done: list[TriedAlarm] = []
    for each in sorted(found, key=lambda transition: transition.at_ms):
        known = active.pop(each.key, None)
        if each.is_raised:
            active[each.key] = known or TriedAlarm(
                key=each.key, from_ms=each.at_ms, to_ms=None, value=each.value, explanation=each.explanation
            )
        elif known is not None and each.at_ms >= from_ms:
            done.append(
                TriedAlarm(
                    key=each.key,
                    from_ms=known.from_ms,
                    to_ms=each.at_ms,
                    value=known.value,
                    explanation=known.explanation,
                )
            )
    return sorted([*done, *active.values()], key=lambda alarm: (-alarm.from_ms, alarm.key.device_id))


def _too_much(message: str) -> HomeportError:
    return LimitExceeded(message, hint=_HINT, code="rule_try_too_much")
