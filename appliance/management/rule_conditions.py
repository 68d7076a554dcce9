"""What a rule looks for: one struct for each kind, told apart by `kind` in JSON. Pure.

All times in seconds as a person writes them; how they are evaluated stands in appliance/rules. Bounds are checked by `check`
of rule.py, with a sentence for each.

Must not know: devices, tables, numpy.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all kinds have: nothing but their name."""


class Threshold(Condition, tag="threshold", frozen=True, kw_only=True):
    """A value is above, below, outside or inside limits.

    Attributes:
        limit: The limit, or the lower of two. limit_high: The higher one, of `outside` and `inside`.
        hysteresis: How far back inside the value must be until it is over.
    """

    is_: Literal["above", "below", "outside", "inside"] = msgspec.field(name="is")
    limit: float
    limit_high: float | None = None
    hysteresis: float = 0.0


class Rate(Condition, tag="rate", frozen=True, kw_only=True):
    """A value changes too fast: by more than `limit` a second, measured over `over_s`."""

    direction: Literal["rising", "falling", "either"] = "either"
    limit: float
    over_s: float = 60.0
    hysteresis: float = 0.0


class Repetition(Condition, tag="repetition", frozen=True, kw_only=True):
    """A value goes beyond a limit `count` times within `within_s`; over when that is no longer so."""

    is_: Literal["above", "below"] = msgspec.field(name="is")
    limit: float
    count: int
    within_s: float


class NoData(Condition, tag="no_data", frozen=True, kw_only=True):
    """No reading for `times` × the expected interval, by the clock.

    Attributes:
        expected_s: None: what the device's status says (`expect`), else the median of its last intervals.
    """

    expected_s: float | None = None
    times: float = 3.0


class Stuck(Condition, tag="stuck", frozen=True, kw_only=True):
    """A value has not moved by more than `tolerance` for `for_s`, while readings came."""

    for_s: float
    tolerance: float = 0.0


class MissingFraction(Condition, tag="missing_fraction", frozen=True, kw_only=True):
    """Of the devices in the scope so many, and at least two, send nothing: one alarm for all of them, or one per group.

    Attributes:
        fraction: From this share on, 0 to 1. per: `site` for the scope as a whole, `group` for each of its groups.
        expected_s, times: When one is missing, as in NoData.
    """

    fraction: float = 0.5
    per: Literal["site", "group"] = "site"
    expected_s: float | None = None
    times: float = 3.0


class Comparison(Condition, tag="comparison", frozen=True, kw_only=True):
    """A value differs from another metric of its device, or from the median of its group.

    Attributes:
        with_: `metric` or `group`. other: The metric's name; for `group` the group's id, "" for the scope as a whole.
        by: As a difference, or as a share of the other value.
    """

    with_: Literal["metric", "group"] = msgspec.field(name="with")
    other: str = ""
    is_: Literal["above", "below", "either"] = msgspec.field(name="is", default="either")
    by: Literal["difference", "ratio"] = "difference"
    limit: float
    hysteresis: float = 0.0


class Anomaly(Condition, tag="anomaly", frozen=True, kw_only=True):
    """A value, or its lasting behaviour, is unusual for its series.

    Attributes:
        sensitivity: How unusual: low asks for much, high for little.
        what: Which findings count; none for all.
    """

    sensitivity: Literal["low", "normal", "high"] = "normal"
    what: tuple[Literal["outlier", "level_shift", "drift", "variance", "drop_out"], ...] = ()


class Connection(Condition, tag="connection", frozen=True, kw_only=True):
    """A device is lost (or offline as well) for longer than the rule's on-delay."""

    counts_offline: bool = False


class NodeWatch(Condition, tag="node", frozen=True, kw_only=True):
    """Something about the node itself; `what` is one of management/node_watches.py, `limit` in its unit (None: its default)."""

    what: str
    limit: float | None = None


AnyCondition = (
    Threshold
    | Rate
    | Repetition
    | NoData
    | Stuck
    | MissingFraction
    | Comparison
    | Anomaly
    | Connection
    | NodeWatch
)
