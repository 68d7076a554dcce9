"""When a rollout stops by itself: too many failures among the devices that have started. Pure.

Must not know: time, tables, devices, what happens then.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.management.wave_counts import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRule:
    """Stop when failures reach the larger of `count_min` and `percent` of those started, once `executed_min` have started.

    "Reach" is at least, never more than: two of two is a reason.
    """

    percent: int = 5
    count_min: int = 2
    executed_min: int = 3

    def threshold(self, started: int) -> int:
        """How many failures are too many among so many started; percents round up."""
        return max(self.count_min, -(-started * self.percent // 100))


def reason_to_stop(rule: StopRule, counts: Counts, *, accepted: int, is_first_wave: bool) -> str:
    """Why the rollout must not go on, as a sentence; "" when nothing speaks against it.

    Args:
        counts: Of all waves.
        accepted: Failures that somebody looked at and went on all the same: they are neither failures nor started any more.
        is_first_wave: In the first wave any failure is one too many.
    """
    failed, started = counts.failed - accepted, counts.started - accepted
    if failed <= 0:
        return ""
    if is_first_wave:
        return f"{_devices(failed)} failed in the first wave."
    if started >= rule.executed_min and failed >= rule.threshold(started):
        return f"{_devices(failed)} failed of {started} started; {rule.threshold(started)} are too many."
    return ""


def _devices(count: int) -> str:
    return f"{count} device{'s' * (count != 1)}"
