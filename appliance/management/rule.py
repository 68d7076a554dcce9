"""A rule: for which devices and metric it looks for what, how long it waits, and how bad it is. Pure.

Kept as JSON (`to_json` and `of_json` are each other's inverse); what a person wrote is checked by `check`. A version of a rule never
changes: an edit is a new version that holds from a position of the log on.

Must not know: tables, how it is evaluated.
"""

from __future__ import annotations

import math
from typing import Final, Literal, get_args

import msgspec

from appliance.core.errors import UsageError
from appliance.core.limits import METRIC_NAME_BYTES_MAX
from appliance.core.limits_alarms import (
    RULE_DELAY_S_MAX,
    RULE_NAME_LENGTH_MAX,
    RULE_REPETITION_COUNT_MAX,
    RULE_SCOPE_WORD_COUNT_MAX,
    RULE_STAR_COUNT_MAX,
    RULE_TEXT_LENGTH_MAX,
    RULE_WINDOW_S_MAX,
)
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

Severity = Literal["P1", "P2", "P3"]
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
"""P1: somebody must come now. P2: within the hour. P3: some day this week."""
_ABOUT_NO_METRIC: Final = (Connection, NodeWatch)
_CLOCKED: Final = (NoData, MissingFraction)


class RuleScope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The devices: all, or those named, in any of the groups or with any of the tags; without those of `except`."""

    all: bool = False
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    except_: tuple[str, ...] = msgspec.field(name="except", default=())


class RuleDefinition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a version of a rule says.

    Attributes:
        metric: The name, or one with `*` in place of a part; "" for kinds that are about no metric, and for any metric (anomaly, no_data, stuck).
        on_delay_s: So long it must be so until the alarm is raised. off_delay_s: So long it must be over until it is cleared.
        text: What the operator is to do; shown with the alarm.
        runbook: A page of the docs, or a URL; "" for none.
    """

    severity: Severity
    scope: RuleScope = RuleScope()
    metric: str = ""
    condition: AnyCondition
    on_delay_s: float = 0.0
    off_delay_s: float = 0.0
    text: str = ""
    runbook: str = ""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule in force.

    Attributes:
        definition: Of this version.
    """

    rule_id: str
    version: int
    name: str
    definition: RuleDefinition


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(RuleDefinition).decode


def to_json(definition: RuleDefinition) -> str:
    """Compact JSON."""
    return _encode(definition).decode()


def of_json(text: str | bytes) -> RuleDefinition:
    """A definition from its JSON, not yet checked.

    Raises:
        UsageError: `rule_invalid`: no JSON, a field that is unknown, missing or of another type; the message names it.
    """
    try:
        return _decode(text)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _invalid(
            f"The rule can't be read: {error}.", "See docs/RULES.md for what each kind has."
        ) from error


def check(name: str, definition: RuleDefinition) -> None:
    """Raises UsageError `rule_invalid`, with what is wrong and what to do."""
    if not 1 <= len(name) <= RULE_NAME_LENGTH_MAX or not name.isprintable() or name != name.strip():
        raise _invalid(
            f"A rule's name has 1 to {RULE_NAME_LENGTH_MAX} printable characters.", "Give it another name."
        )
    _check_scope(definition.scope, definition.condition)
    for what, seconds in (("on-delay", definition.on_delay_s), ("off-delay", definition.off_delay_s)):
        if not 0 <= seconds <= RULE_DELAY_S_MAX:
            raise _invalid(f"The {what} is 0 to {RULE_DELAY_S_MAX} s.", "Choose a shorter one.")
    if len(definition.text) > RULE_TEXT_LENGTH_MAX or len(definition.runbook) > RULE_TEXT_LENGTH_MAX:
        raise _invalid(
            f"Texts have at most {RULE_TEXT_LENGTH_MAX} characters.", "Put the rest into the runbook."
        )
    _check_metric(definition)
    _check_condition(definition.condition)


def _check_scope(scope: RuleScope, condition: AnyCondition) -> None:
    words = (*scope.devices, *scope.groups, *scope.tags, *scope.except_)
    if len(words) > RULE_SCOPE_WORD_COUNT_MAX:
        raise _invalid(
            f"A rule names at most {RULE_SCOPE_WORD_COUNT_MAX} devices, groups and tags.", "Use a group."
        )
    chosen = bool(scope.devices or scope.groups or scope.tags)
    if isinstance(condition, NodeWatch):
        if chosen or scope.all:
            raise _invalid("A watch of the node has no devices.", "Leave the scope empty.")
    elif chosen == scope.all:
        raise _invalid(
            "The rule must be for all devices, or for devices, groups or tags that are named.",
            "Say one of the two.",
        )


def _check_metric(definition: RuleDefinition) -> None:
    condition, metric = definition.condition, definition.metric
    other = condition.other if isinstance(condition, Comparison) else ""
    if max(len(metric.encode()), len(other.encode())) > METRIC_NAME_BYTES_MAX:
        raise _invalid(
            f"A metric's name has at most {METRIC_NAME_BYTES_MAX} bytes.", "Name one that there is."
        )
    if metric.count("*") > RULE_STAR_COUNT_MAX:
        raise _invalid(f"A metric has at most {RULE_STAR_COUNT_MAX} times *.", "Write more of its name.")
    if isinstance(condition, _ABOUT_NO_METRIC):
        if metric:
            raise _invalid("This kind is about no metric.", "Leave it empty.")
    elif not metric and not isinstance(condition, (*_CLOCKED, Stuck, Anomaly)):
        raise _invalid("The rule names no metric.", "Name one, or one with * in place of a part.")


def _check_condition(condition: AnyCondition) -> None:
    for field in condition.__struct_fields__:
        value = getattr(condition, field)
        if isinstance(value, float) and not math.isfinite(value):
            raise _invalid(f"{field.strip('_')} is not a number.", "Write one.")
    match condition:
        case Threshold(is_="outside" | "inside" as word):
            _check_band(word, condition)
        case Threshold(limit_high=high) if high is not None:
            raise _invalid("above and below have one limit.", "Leave limit_high out.")
        case Rate(limit=limit, over_s=over_s):
            _within("limit", limit, 0, math.inf)
            _within("over_s", over_s, 1, RULE_WINDOW_S_MAX)
        case Repetition(count=count, within_s=within_s):
            _within("count", count, 2, RULE_REPETITION_COUNT_MAX)
            _within("within_s", within_s, 1, RULE_WINDOW_S_MAX)
        case NoData(expected_s=expected_s, times=times) | MissingFraction(expected_s=expected_s, times=times):
            _within("times", times, 1, 100)
            if expected_s is not None:
                _within("expected_s", expected_s, 1, RULE_WINDOW_S_MAX)
        case Stuck(for_s=for_s, tolerance=tolerance):
            _within("for_s", for_s, 1, RULE_WINDOW_S_MAX)
            _within("tolerance", tolerance, 0, math.inf)
        case Comparison(with_="metric", other=""):
            raise _invalid("The comparison names no other metric.", "Set `other`.")
        case Comparison(limit=limit):
            _within("limit", limit, 0, math.inf)
        case _:
            pass
    if isinstance(condition, MissingFraction) and not 0 < condition.fraction <= 1:
        raise _invalid("fraction is more than 0 and at most 1.", "0.5 is half of the devices.")
    if isinstance(condition, Threshold | Rate | Comparison):
        _within("hysteresis", condition.hysteresis, 0, math.inf)


def _check_band(word: str, condition: Threshold) -> None:
    low, high = condition.limit, condition.limit_high
    if high is None or high <= low:
        raise _invalid(f"{word} needs two limits, the lower one first.", "Set limit and limit_high.")
    if word == "outside" and 2 * condition.hysteresis > high - low:
        raise _invalid(
            "The hysteresis is more than half of what lies between the limits: it would never be over.",
            "Choose a smaller one.",
        )


def _within(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        bounds = f"at least {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"
        raise _invalid(f"{field} is {value:g}; it is {bounds}.", "Change it.")


def _invalid(message: str, hint: str) -> UsageError:
    return UsageError(message, hint=hint, code="rule_invalid")
