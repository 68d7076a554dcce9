"""A rule in a sentence: what it looks for, where, and how long it waits. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from appliance.management.node_watches import WATCHES
from appliance.management.rule import RuleDefinition, RuleScope
from appliance.management.rule_conditions import (
    Anomaly,
    AnyCondition,
    Comparison,
    Connection,
    MissingFraction,
    NoData,
    NodeWatch,
    Rate,
    Repetition,
    Stuck,
    Threshold,
)
from appliance.management.units import unit_of
from ui.pages.duration_words import write_s
from ui.pages.format import plural, value_text, visible
from ui.pages.rule_kinds import KINDS

NAMED_COUNT_MAX: Final = 3
"""Names that a sentence has; of more there is a count."""
_FINDINGS: Final = dict(next(each for each in KINDS["anomaly"].fields if each.name == "what").options)
_BEYOND: Final = {"outside": "outside of", "inside": "between"}
_AWAY: Final = {"above": "above", "below": "below", "either": "away from"}


def rule_sentence(definition: RuleDefinition) -> str:
    """What the rule looks for, such as "temperature_celsius is above 80 °C for 5 min"."""
    metric = definition.metric
    unit = unit_of(metric) if metric and "*" not in metric else ""

    def number(value: float) -> str:
        return f"{value_text(float(value))} {unit}".strip()

    said = _condition(definition.condition, visible(metric) or "any metric", number)
    delay = f" for {write_s(definition.on_delay_s)}" if definition.on_delay_s else ""
    back = getattr(definition.condition, "hysteresis", 0.0)
    over = f"; over when it is {number(back)} back inside" if back else ""
    return f"{said}{delay}{over}"


def scope_words(scope: RuleScope) -> str:
    """Which devices, such as "group hall-2 and 5 devices, without pump-7"."""
    parts = [
        *(["all devices"] if scope.all else []),
        *_named("group", scope.groups),
        *_named("tag", scope.tags),
        *_named("device", scope.devices),
    ]
    said = " and ".join(parts) or "this box"
    return f"{said}, without {' and '.join(_named('device', scope.except_))}" if scope.except_ else said


def limits_of(condition: AnyCondition) -> list[float]:
    """The limits that can be drawn as lines over the metric's values."""
    match condition:
        case Threshold(limit=low, limit_high=high):
            return [low] if high is None else [low, high]
        case Repetition(limit=limit):
            return [limit]
        case _:
            return []


def _named(noun: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    if len(names) > NAMED_COUNT_MAX:
        return [plural(len(names), noun)]
    return [f"{noun}{'s' if len(names) > 1 else ''} {', '.join(map(visible, names))}"]


def _condition(condition: AnyCondition, metric: str, number: Callable[[float], str]) -> str:
    match condition:
        case Threshold(is_=word, limit=low, limit_high=high):
            limits = number(low) if high is None else f"{number(low)} and {number(high)}"
            return f"{metric} is {_BEYOND.get(word, word)} {limits}"
        case Rate(direction=direction, limit=limit, over_s=over_s):
            how = {"rising": "rises", "falling": "falls", "either": "changes"}[direction]
            return f"{metric} {how} by more than {number(limit)} a second, measured over {write_s(over_s)}"
        case Repetition(is_=word, limit=limit, count=count, within_s=within_s):
            return f"{metric} goes {word} {number(limit)} {plural(count, 'time')} within {write_s(within_s)}"
        case NoData(expected_s=expected_s, times=times):
            return f"nothing comes of {metric} for {_missing(expected_s, times)}"
        case Stuck(for_s=for_s, tolerance=tolerance):
            by = f" by more than {number(tolerance)}" if tolerance else ""
            return f"{metric} does not move{by} for {write_s(for_s)}, while readings come"
        case MissingFraction(fraction=fraction, per=per, expected_s=expected_s, times=times):
            of = "of each group" if per == "group" else "of the devices"
            return f"{fraction * 100:g} % {of}, and at least two, send nothing of {metric} for {_missing(expected_s, times)}"
        case Comparison(with_=with_, other=other, is_=word, by=by, limit=limit):
            what = (
                visible(other)
                if with_ == "metric"
                else f"the middle value of {visible(other) or 'the others'}"
            )
            more = f"{limit * 100:g} % of it" if by == "ratio" else number(limit)
            return f"{metric} is {_AWAY[word]} {what} by more than {more}"
        case Anomaly(sensitivity=sensitivity, what=what):
            found = " and ".join(_FINDINGS[each] for each in what) or "a value or its behaviour"
            return f"{metric} is unusual: {found}, at {sensitivity} sensitivity"
        case Connection(counts_offline=counts_offline):
            return "a device is lost or offline" if counts_offline else "a device is lost"
        case NodeWatch(what=what, limit=limit):
            watch = WATCHES.get(what)
            said = watch.title if watch is not None else f"{visible(what).replace('_', ' ')} of this box"
            bound = limit if limit is not None or watch is None else watch.limit
            unit = watch.unit if watch is not None else ""
            return said if bound is None else f"{said}: beyond {value_text(float(bound))} {unit}".rstrip()


def _missing(expected_s: float | None, times: float) -> str:
    if expected_s is None:
        return f"{value_text(float(times))} times as long as usual"
    return write_s(expected_s * times)
