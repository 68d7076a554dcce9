"""What stands between two waves: enough successes, a time of soaking, and devices that are as well as before. Pure.

Health compares devices with themselves: how many of those that succeeded were well before their update, and how many are now. So a
site with poor radio, or a metric that nobody keeps up, holds nothing up that was like this before. One in twenty may be worse: devices lose a
connection now and then without any update. Of fewer than twenty, none.

Must not know: where health is looked up, tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from appliance.management.wave_counts import Counts

WORSE_PERCENT_MAX: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Between a wave and the next one.

    Attributes:
        success_percent: Of those started, at least. health: Whether devices' health is compared.
    """

    success_percent: int = 95
    soak_s: int = 1_800
    health: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a device is, or was before its update.

    Attributes:
        is_fresh: Its newest reading is as young as it should be.
        is_steady: It has kept its connection for a while, or sleeps as it said.
    """

    is_fresh: bool
    is_steady: bool


def reason_to_wait_success(gate: Gate, counts: Counts, *, accepted: int) -> str:
    """Why too few succeeded, as a sentence; "" when enough did.

    Args:
        counts: Of the waves so far.
        accepted: Failures that somebody looked at; they count no more.
    """
    started = counts.started - accepted
    if started <= 0 or counts.succeeded * 100 >= gate.success_percent * started:
        return ""
    return f"{counts.succeeded} of {started} started succeeded; the gate wants {gate.success_percent} %."


def reason_to_wait_health(gate: Gate, pairs: Iterable[tuple[Health, Health]]) -> str:
    """Why the devices are worse than before, as a sentence; "" when they are not.

    Args:
        pairs: Before the update and now, of each device that succeeded and of which both are known.
    """
    if not gate.health:
        return ""
    count = fresh_before = fresh_now = steady_before = steady_now = 0
    for before, now in pairs:
        count += 1
        fresh_before += before.is_fresh
        fresh_now += now.is_fresh
        steady_before += before.is_steady
        steady_now += now.is_steady
    allowed = count * WORSE_PERCENT_MAX // 100
    if fresh_now + allowed < fresh_before:
        return f"{fresh_now} of {count} updated devices send fresh readings, {fresh_before} did before."
    if steady_now + allowed < steady_before:
        return f"{steady_now} of {count} updated devices keep their connection, {steady_before} did before."
    return ""
