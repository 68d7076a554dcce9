"""What goes wrong with devices ends as the alarms that one would write by hand: those, and no others.

Simulated devices, and from their messages on all that a node has: log, pipeline, store, rules and anomalies, outbox, alarm desk, with the
rules that come with Homeport. Where somebody has to know what is normal (how long a thermometer may stand still, how fast a room gets warm) the one
rule that he would write is there too. Hours pass in seconds: readings carry their times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.management.alarm import Alarm
from appliance.management.rule import RuleDefinition, RuleScope
from appliance.management.rule_conditions import Rate, Stuck
from device_fw_sim.faults import Fault, FaultKind, FaultPlan
from tests.fault_site import MINUTE_MS, START_MS, FaultSite

INTERVAL_MS = 10_000
LEARNED_MIN = 120
OVER_MIN = 40
"""So long it is watched on when the fault is over."""
SEEDS = {"hall": 3, "cellar": 6, "roof": 1, "yard": 2}
"""Devices. Nothing about these is unusual but in their first hour, in which nobody knows them yet."""
ALL = RuleScope(all=True)
THERMOMETER = "temperature_celsius"
STANDS_STILL = RuleDefinition(
    severity="P2", scope=ALL, metric=THERMOMETER, condition=Stuck(for_s=600), text="Look at its cable."
)
GETS_WARM = RuleDefinition(
    severity="P2",
    scope=ALL,
    metric=THERMOMETER,
    condition=Rate(direction="rising", limit=5.0 / 3_600, over_s=3_600, hysteresis=3.0 / 3_600),
    text="No room gets warm by five degrees in an hour.",
)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A fault, and what is to be said of it.

    Attributes:
        alarms: (severity, rule, device, series, minutes since the fault began until it is known at the latest).
    """

    kind: FaultKind
    for_min: int
    devices: Sequence[str] = ("hall",)
    rules: Mapping[str, RuleDefinition] = field(default_factory=dict)
    alarms: Sequence[tuple[str, str, str, str, int]]


SCENARIOS = {
    "burst": Scenario(
        kind=FaultKind.BURST,
        for_min=15,
        alarms=[("P3", "Something is unusual", "hall", THERMOMETER, 2)],
    ),
    "dead sensor": Scenario(
        kind=FaultKind.DEAD_SENSOR,
        for_min=60,
        alarms=[("P3", "Something is unusual", "hall", THERMOMETER, 4)],
    ),
    "stuck sensor": Scenario(
        kind=FaultKind.STUCK_SENSOR,
        for_min=60,
        rules={"A thermometer stands still": STANDS_STILL},
        alarms=[("P2", "A thermometer stands still", "hall", THERMOMETER, 12)],
    ),
    "outage of the site": Scenario(
        kind=FaultKind.OUTAGE,
        for_min=30,
        devices=tuple(SEEDS),
        alarms=[("P1", "Many devices send nothing", "", "", 1)],
    ),
    "slow drift": Scenario(
        kind=FaultKind.DRIFT,
        for_min=100,
        rules={"A room gets warm too fast": GETS_WARM},
        alarms=[("P2", "A room gets warm too fast", "hall", THERMOMETER, 90)],
    ),
}


LONG = {"dead sensor", "slow drift"}


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.long if each in LONG else ()) for each in SCENARIOS]
)
async def test_a_fault_ends_as_the_alarms_that_one_would_write_by_hand(name: str, tmp_path: Path) -> None:
    scenario = SCENARIOS[name]
    begin_ms, for_ms = LEARNED_MIN * MINUTE_MS, scenario.for_min * MINUTE_MS
    fault = Fault(kind=scenario.kind, after_ms=begin_ms, for_ms=for_ms)
    devices = {
        device: (seed, FaultPlan([fault] if device in scenario.devices else []))
        for device, seed in SEEDS.items()
    }
    async with FaultSite.opened(tmp_path, devices, scenario.rules, interval_ms=INTERVAL_MS) as site:
        await site.run(begin_ms, 10 * MINUTE_MS)
        await site.acknowledge_all()
        began = {each.alarm_id: each.raised_total for each in await site.alarms()}

        await site.run(begin_ms + for_ms, MINUTE_MS)
        stand = [each for each in await site.alarms() if _is_of_the_fault(each, began)]
        assert _written(stand) == sorted(line[:-1] for line in scenario.alarms)
        latest = {line[:-1]: line[-1] for line in scenario.alarms}
        for alarm in stand:
            assert alarm.stands_since_ms is not None
            minutes = (alarm.stands_since_ms - START_MS - begin_ms) / MINUTE_MS
            assert 0 < minutes <= latest[_line(alarm)], alarm.explanation

        await site.run(begin_ms + for_ms + OVER_MIN * MINUTE_MS, MINUTE_MS)
        ever = [each for each in await site.alarms() if _is_of_the_fault(each, began)]
        assert _written(ever) == sorted(line[:-1] for line in scenario.alarms)
        assert [each.alarm_id for each in ever if each.is_active] == []


def _is_of_the_fault(alarm: Alarm, began: Mapping[str, int]) -> bool:
    """Whether it was raised since, and somebody is told of it."""
    return alarm.raised_total > began.get(alarm.alarm_id, 0) and alarm.stands_since_ms is not None


def _line(alarm: Alarm) -> tuple[str, str, str, str]:
    return alarm.severity, alarm.rule_name, alarm.device_id, alarm.series


def _written(alarms: Sequence[Alarm]) -> list[tuple[str, str, str, str]]:
    return sorted(map(_line, alarms))
