"""Threshold: a value is above, below, outside or inside limits.

Must not know: anything but bands.
"""

from __future__ import annotations

from appliance.management.rule_conditions import AnyCondition, Threshold
from appliance.rules.bands import Band, above, below, inside, outside
from appliance.rules.measuring import Measuring


class Thresholds(Measuring):
    """Measures the value itself."""

    def band(self, condition: AnyCondition) -> Band:
        assert isinstance(condition, Threshold)
        low, high, hysteresis = condition.limit, condition.limit_high, condition.hysteresis
        match condition.is_:
            case "above":
                return above(low, hysteresis)
            case "below":
                return below(low, hysteresis)
            case "outside":
                assert high is not None
                return outside(low, high, hysteresis)
            case "inside":
                assert high is not None
                return inside(low, high, hysteresis)
