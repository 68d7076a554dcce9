"""What a rule's form asks for, kind by kind: only the fields that the kind has, each with its unit, what is usual, and why. Pure.

A field's name is its name in the definition's JSON (management/rule_conditions.py); a test compares the two. Must not know: requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

FieldKind = Literal["number", "whole", "duration", "percent", "choice", "many", "flag", "text"]
MetricUse = Literal["one", "any", "none"]
"""Whether the kind is about one metric (or a pattern), about any where none is named, or about none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a kind.

    Attributes:
        usual: What stands in an empty form; "" where only whoever writes the rule can know it.
        options: Value and words, of choice and many. is_optional: It may be left empty.
    """

    name: str
    label: str
    remark: str = ""
    kind: FieldKind = "number"
    usual: str = ""
    options: tuple[tuple[str, str], ...] = ()
    is_optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of rule. `says` is when to take it; `usual_on_delay` and `usual_severity` are what an empty form has."""

    key: str
    label: str
    says: str
    metric: MetricUse
    fields: tuple[Field, ...]
    usual_severity: str = "P2"
    usual_on_delay: str = "0 s"
    usual_off_delay: str = "0 s"


_DURATION: Final = "such as 90 s, 10 min, 2 h or 1 d"
_HYSTERESIS: Final = Field(
    name="hysteresis",
    label="Hysteresis",
    remark="how far back inside it must be until it is over, in the metric's unit; keeps an alarm from coming and going",
    usual="0",
)
_EXPECTED: Final = Field(
    name="expected_s",
    label="Readings are expected every",
    remark=f"{_DURATION}; empty: what the device itself says, else the usual pause between its readings",
    kind="duration",
    is_optional=True,
)
_TIMES: Final = Field(
    name="times",
    label="Missing after so many times that",
    remark="3 lets two readings be lost on the way",
    usual="3",
)

KINDS: Final[dict[str, Kind]] = {
    each.key: each
    for each in (
        Kind(
            key="threshold",
            label="Too high or too low",
            says="A value is above, below, outside or inside limits.",
            metric="one",
            fields=(
                Field(
                    name="is",
                    label="It is wrong when the value is",
                    kind="choice",
                    usual="above",
                    options=(
                        ("above", "above the limit"),
                        ("below", "below the limit"),
                        ("outside", "outside of two limits"),
                        ("inside", "between two limits"),
                    ),
                ),
                Field(
                    name="limit", label="Limit", remark="in the metric's unit; of two limits the lower one"
                ),
                Field(
                    name="limit_high",
                    label="Higher limit",
                    remark="only for outside and between",
                    is_optional=True,
                ),
                _HYSTERESIS,
            ),
        ),
        Kind(
            key="rate",
            label="Changes too fast",
            says="A value rises or falls faster than it should.",
            metric="one",
            fields=(
                Field(
                    name="direction",
                    label="It is wrong when the value is",
                    kind="choice",
                    usual="either",
                    options=(
                        ("rising", "rising too fast"),
                        ("falling", "falling too fast"),
                        ("either", "rising or falling too fast"),
                    ),
                ),
                Field(
                    name="limit",
                    label="Faster than",
                    remark="the metric's unit per second: 0.05 is 3 in a minute",
                ),
                Field(
                    name="over_s",
                    label="Measured over",
                    remark=f"{_DURATION}; longer is calmer",
                    kind="duration",
                    usual="1 min",
                ),
                _HYSTERESIS,
            ),
        ),
        Kind(
            key="repetition",
            label="Happens too often",
            says="A value goes beyond a limit again and again.",
            metric="one",
            fields=(
                Field(
                    name="is",
                    label="It counts when the value goes",
                    kind="choice",
                    usual="above",
                    options=(("above", "above the limit"), ("below", "below the limit")),
                ),
                Field(name="limit", label="Limit", remark="in the metric's unit"),
                Field(name="count", label="So many times", kind="whole", usual="3"),
                Field(
                    name="within_s",
                    label="Within",
                    remark=_DURATION,
                    kind="duration",
                    usual="1 h",
                ),
            ),
        ),
        Kind(
            key="no_data",
            label="Sends nothing",
            says="No reading comes any more. Decided by the clock, not by the next message.",
            metric="any",
            fields=(_EXPECTED, _TIMES),
        ),
        Kind(
            key="stuck",
            label="Does not move",
            says="Readings come, but the value stays the same: a sensor that froze or lost its wire.",
            metric="any",
            usual_severity="P3",
            fields=(
                Field(
                    name="for_s",
                    label="Unchanged for",
                    remark=f"{_DURATION}; longer than the value is ever quiet by itself",
                    kind="duration",
                    usual="6 h",
                ),
                Field(
                    name="tolerance",
                    label="Counts as unchanged up to",
                    remark="in the metric's unit; 0: not at all",
                    usual="0",
                ),
            ),
        ),
        Kind(
            key="missing_fraction",
            label="Many send nothing",
            says="A part of the devices is silent: one alarm for all of them, not one each.",
            metric="any",
            usual_severity="P1",
            fields=(
                Field(
                    name="fraction",
                    label="From so many on",
                    remark="% of the devices",
                    kind="percent",
                    usual="50",
                ),
                Field(
                    name="per",
                    label="Counted",
                    kind="choice",
                    usual="site",
                    options=(("site", "all of them together"), ("group", "in each group by itself")),
                ),
                _EXPECTED,
                _TIMES,
            ),
        ),
        Kind(
            key="comparison",
            label="Differs from another",
            says="A value is not where another metric, or the group it belongs to, says that it should be.",
            metric="one",
            usual_severity="P3",
            fields=(
                Field(
                    name="with",
                    label="Compared with",
                    kind="choice",
                    usual="group",
                    options=(
                        ("metric", "another metric of its device"),
                        ("group", "the middle value of the others"),
                    ),
                ),
                Field(
                    name="other",
                    label="Which one",
                    remark="the other metric's name, or a group's id; empty: all devices of this rule",
                    kind="text",
                    is_optional=True,
                ),
                Field(
                    name="is",
                    label="It is wrong when the value is",
                    kind="choice",
                    usual="either",
                    options=(
                        ("above", "above it by more"),
                        ("below", "below it by more"),
                        ("either", "away from it by more, either way"),
                    ),
                ),
                Field(
                    name="by",
                    label="More means",
                    kind="choice",
                    usual="difference",
                    options=(
                        ("difference", "a difference in the metric's unit"),
                        ("ratio", "a share of the other value"),
                    ),
                ),
                Field(name="limit", label="More than", remark="as a share, 0.1 is 10 %"),
                _HYSTERESIS,
            ),
        ),
        Kind(
            key="anomaly",
            label="Is unusual",
            says="A value or its lasting behaviour is not as it used to be. Nothing to configure; useful within minutes.",
            metric="any",
            usual_severity="P3",
            usual_on_delay="5 min",
            fields=(
                Field(
                    name="sensitivity",
                    label="Sensitivity",
                    remark="how unusual it must be",
                    kind="choice",
                    usual="normal",
                    options=(("low", "low: only what is far off"), ("normal", "normal"), ("high", "high")),
                ),
                Field(
                    name="what",
                    label="What counts",
                    remark="none ticked: all of them",
                    kind="many",
                    options=(
                        ("outlier", "single values that are far off"),
                        ("level_shift", "another level than before"),
                        ("drift", "a slow drift"),
                        ("variance", "noisier or quieter than before"),
                        ("drop_out", "readings that fail to come"),
                    ),
                    is_optional=True,
                ),
            ),
        ),
        Kind(
            key="connection",
            label="Is not connected",
            says="A device has lost its connection and does not come back.",
            metric="none",
            usual_on_delay="5 min",
            fields=(
                Field(
                    name="counts_offline",
                    label="Also when it said goodbye",
                    remark="a device that disconnects in order is offline, not lost",
                    kind="flag",
                ),
            ),
        ),
        Kind(
            key="node",
            label="This box itself",
            says="Something about the box: how far it is behind, its disk, its certificates, its clock.",
            metric="none",
            fields=(
                Field(name="what", label="What is watched", kind="text"),
                Field(
                    name="limit",
                    label="Limit",
                    remark="in the unit of what is watched; empty: as usual",
                    is_optional=True,
                ),
            ),
        ),
    )
}
