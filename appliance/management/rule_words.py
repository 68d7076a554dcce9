"""Rules and what they found, as sentences for people. Pure.

`describe` is a rule, `raised` and `cleared` are what an alarm says: a sentence made of the numbers that stand beside it in the explanation, so
that a page can draw what the sentence says.

Must not know: where the numbers come from, tables, languages other than English.
"""

from __future__ import annotations

from typing import Any, Final, assert_never

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

_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))
_NAMES_SHOWN_MAX: Final = 3
_WORDS_OF_FINDING: Final = {
    "outlier": "single values",
    "level_shift": "level shifts",
    "drift": "drift",
    "variance": "a changed spread",
    "drop_out": "drop-outs",
}


def number(value: float) -> str:
    """81.5 → "81.5", 1234567.0 → "1,234,567", 0.00012345 → "0.0001234": four digits, without false precision."""
    if abs(value) >= 1e15:
        return f"{value:.4g}"
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def duration(ms: float) -> str:
    """190_000 → "3 min 10 s", 5_400_000 → "1 h 30 min", 250 → "0.25 s": the two largest units."""
    if ms < 1_000:
        return f"{ms / 1_000:.3g} s"
    if ms < 10_000 and ms % 1_000:
        return f"{ms / 1_000:.2g} s"
    left, parts = round(ms / 1_000) * 1_000, list[str]()
    for size_ms, unit in _UNITS:
        count, left = divmod(left, size_ms)
        if count:
            parts.append(f"{count:.0f} {unit}")
        if len(parts) == 2 or (parts and not count):
            break
    return " ".join(parts)


def with_unit(value: float, metric: str) -> str:
    """A value with the unit that the metric's name says."""
    return f"{number(value)} {unit_of(metric)}".rstrip()


def describe(definition: RuleDefinition) -> str:
    """The rule as a sentence: "temperature_celsius is above 80 °C for 5 min, on all devices"."""
    condition = definition.condition
    said = _condition(condition, definition.metric)
    if definition.on_delay_s:
        said += f" for {duration(definition.on_delay_s * 1_000)}"
    if definition.off_delay_s:
        said += f"; over when it has been over for {duration(definition.off_delay_s * 1_000)}"
    return said if isinstance(condition, NodeWatch) else f"{said}, {_scope(definition.scope)}"


def _condition(condition: AnyCondition, metric: str) -> str:
    subject = metric or "any metric"
    match condition:
        case Threshold():
            return f"{subject} is {limits(condition, metric)}"
        case Rate(direction=direction, limit=limit, over_s=over_s):
            verb = {"rising": "rises", "falling": "falls", "either": "rises or falls"}[direction]
            return f"{subject} {verb} by more than {with_unit(limit, metric)} a second over {duration(over_s * 1_000)}"
        case Repetition(is_=word, limit=limit, count=count, within_s=within_s):
            return f"{subject} goes {word} {with_unit(limit, metric)} {count} times within {duration(within_s * 1_000)}"
        case NoData(expected_s=expected_s, times=times):
            return f"no reading of {metric or 'the device'} for {_expected(expected_s, times)}"
        case Stuck(for_s=for_s, tolerance=tolerance):
            by = f" by more than {with_unit(tolerance, metric)}" if tolerance else ""
            return f"{subject} has not moved{by} for {duration(for_s * 1_000)}"
        case MissingFraction(fraction=fraction, per=per, expected_s=expected_s, times=times):
            of = "the devices" if per == "site" else "a group's devices"
            what = f" {metric}" if metric else ""
            return f"{percent(fraction)} or more of {of} send no{what} reading for {_expected(expected_s, times)}"
        case Comparison():
            return f"{subject} is {_beyond(condition, metric)}"
        case Anomaly(sensitivity=sensitivity, what=what):
            found = ", ".join(_WORDS_OF_FINDING[word] for word in what) or "anything"
            return f"{subject} is unusual: {found} ({sensitivity} sensitivity)"
        case Connection(counts_offline=counts_offline):
            return "the device is lost or offline" if counts_offline else "the device is lost"
        case NodeWatch(what=what, limit=bound):
            return f"this node: {what}" + ("" if bound is None else f" beyond {number(bound)}")
        case _:  # pragma: no cover
            assert_never(condition)


def limits(condition: Threshold, metric: str) -> str:
    """ "above 80 °C", "outside -5 to 5 °C"."""
    if condition.limit_high is None:
        return f"{condition.is_} {with_unit(condition.limit, metric)}"
    return f"{condition.is_} {number(condition.limit)} to {with_unit(condition.limit_high, metric)}"


def percent(share: float) -> str:
    """0.5 → "50 %"."""
    return f"{number(share * 100)} %"


def _beyond(condition: Comparison, metric: str) -> str:
    by = percent(condition.limit) if condition.by == "ratio" else with_unit(condition.limit, metric)
    if condition.with_ == "metric":
        other = condition.other
    else:
        other = f"the median of {condition.other}" if condition.other else "the median of the others"
    if condition.is_ == "either":
        return f"more than {by} away from {other}"
    return f"more than {by} {condition.is_} {other}"


def _expected(expected_s: float | None, times: float) -> str:
    if expected_s is None:
        return f"{number(times)} times the usual interval"
    return duration(expected_s * times * 1_000)


def _scope(scope: RuleScope) -> str:
    parts = [
        f"{word}{'' if len(names) == 1 else 's'} {_list(names)}"
        for word, names in (("device", scope.devices), ("group", scope.groups), ("tag", scope.tags))
        if names
    ]
    said = "on all devices" if scope.all else "on " + " or ".join(parts)
    return f"{said} but {_list(scope.except_)}" if scope.except_ else said


def _list(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN_MAX])
    more = len(names) - _NAMES_SHOWN_MAX
    return f"{shown} and {more} more" if more > 0 else shown


def raised(
    definition: RuleDefinition,
    metric: str,
    *,
    value: float | None,
    measure: float | None,
    since_ms: int,
    at_ms: int,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """What an alarm says when it is raised.

    Args:
        metric: Of the series; "" for none.
        value: The reading that decided. measure: What was made of it: a rate, a difference, a share, a score.
        since_ms: Since when it is so. at_ms: When the alarm was raised: after the on-delay.
        facts: What else is known, by kind; it stands in the explanation as it is. `text` in it is the sentence (anomalies).
    Returns:
        `text` and the numbers: JSON types only, no NaN.
    """
    lasted_ms = at_ms - since_ms
    text = facts.get("text") or _found(definition.condition, metric, value, measure, facts)
    if lasted_ms > 0 and not isinstance(definition.condition, NoData | Stuck | MissingFraction):
        text += f" for {duration(lasted_ms)}"
    numbers = {"value": value, "measure": measure, "since_ms": since_ms, **_bounds(definition.condition)}
    return {**{name: each for name, each in numbers.items() if each is not None}, **facts, "text": text}


def _bounds(condition: AnyCondition) -> dict[str, float | None]:
    match condition:
        case Threshold(limit=limit, limit_high=limit_high):
            return {"limit": limit, "limit_high": limit_high}
        case Rate(limit=limit) | Repetition(limit=limit) | Comparison(limit=limit):
            return {"limit": limit}
        case MissingFraction(fraction=fraction):
            return {"limit": fraction}
        case Stuck(for_s=for_s):
            return {"limit": for_s}
        case _:
            return {}


def _found(
    condition: AnyCondition, metric: str, value: float | None, measure: float | None, facts: dict[str, Any]
) -> str:
    shown = "?" if value is None else with_unit(value, metric)
    much = 0.0 if measure is None else measure
    match condition:
        case Threshold():
            return f"{shown}, {limits(condition, metric)}"
        case Rate(limit=limit, over_s=over_s):
            verb = "Rises" if much > 0 else "Falls"
            return (
                f"{verb} by {with_unit(abs(much), metric)} a second over {duration(over_s * 1_000)}; "
                f"the limit is {with_unit(limit, metric)}"
            )
        case Repetition(is_=word, limit=limit, count=count, within_s=within_s):
            return f"{count} times {word} {with_unit(limit, metric)} within {duration(within_s * 1_000)}"
        case NoData():
            what = f"reading of {metric}" if metric else "reading"
            return f"No {what} for {duration(facts['silent_ms'])}; one is expected every {duration(facts['expected_ms'])}"
        case Stuck():
            return f"Stands at {shown} for {duration(much * 1_000)}, while readings came"
        case MissingFraction():
            return f"{facts['missing']} of {facts['members']} devices send nothing ({percent(much)})"
        case Comparison():
            return f"{shown}, {_difference(condition, metric, much)}"
        case Connection():
            return f"The device is {facts['presence']}"
        case Anomaly() | NodeWatch():
            return "Unusual"
        case _:  # pragma: no cover
            assert_never(condition)


def _difference(condition: Comparison, metric: str, much: float) -> str:
    by = percent(abs(much)) if condition.by == "ratio" else with_unit(abs(much), metric)
    other = condition.other if condition.with_ == "metric" else "the median of its group"
    return f"{by} {'above' if much > 0 else 'below'} {other}"


def cleared(
    definition: RuleDefinition,
    metric: str,
    *,
    value: float | None,
    measure: float | None,
    began_ms: int,
    at_ms: int,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """What an alarm says when it is over; arguments as `raised`, and when it had been raised (0: not known)."""
    match definition.condition:
        case NoData() | Connection():
            text = "Is there again"
        case MissingFraction():
            text = f"{facts['missing']} of {facts['members']} devices send nothing"
        case Stuck():
            text = "Moves again" if value is None else f"Moves again: {with_unit(value, metric)}"
        case Repetition():
            text = "Is not repeated any more"
        case _:
            text = "Is over" if value is None else f"Is over: {with_unit(value, metric)}"
    if began_ms:
        text += f", after {duration(at_ms - began_ms)}"
    numbers = {"value": value, "measure": measure, "began_ms": began_ms or None}
    return {**{name: each for name, each in numbers.items() if each is not None}, **facts, "text": text}
