"""Plans: what may be in one, and that it comes out of its row as it went in."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from appliance.core.errors import UsageError
from appliance.management.gates import Gate
from appliance.management.rollout_plan import Plan, Policy, Targets
from appliance.management.stop_rule import StopRule
from appliance.management.waves import Wave
from appliance.management.windows import Window

FULL = Plan(
    waves=(Wave(2, False), Wave(100, True)),
    canaries=("d1",),
    gate=Gate(success_percent=90, soak_s=60, health=False),
    stop=StopRule(percent=10, count_min=3, executed_min=5),
    on_stop="rollback_all",
    concurrency_max=7,
    bandwidth_bytes_s=1_000_000,
    start_spread_s=0,
    window=Window.of(("sat",), "22:00", "04:00"),
    wave_deadline_s=3_600,
    deadline_s=86_400,
)


@pytest.mark.parametrize("plan", [Plan(), FULL])
def test_a_plan_comes_out_as_it_went_in(plan: Plan) -> None:
    plan.check()
    assert Plan.of_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_what_is_missing_in_a_row_is_as_usual() -> None:
    assert Plan.of_json({}) == Plan()
    assert Policy.of_json({}) == Policy()
    assert Targets.of_json({}) == Targets()


def test_targets_and_policy_come_out_as_they_went_in() -> None:
    targets = Targets(devices=("a",), groups=("g",), tags=("t",), hw=("rev2",), except_=("b",))
    targets.check()
    assert Targets.of_json(json.loads(json.dumps(targets.to_json()))) == targets
    policy = Policy(confirm_s=60, reboot_s=30, max_attempts=1, max_rollback_attempts=2)
    policy.check()
    assert Policy.of_json(json.loads(json.dumps(policy.to_json()))) == policy


@pytest.mark.parametrize(
    "change",
    [
        {"gate": Gate(success_percent=0)}, {"gate": Gate(success_percent=101)}, {"gate": Gate(soak_s=-1)},
        {"stop": StopRule(percent=0)}, {"stop": StopRule(count_min=0)}, {"stop": StopRule(executed_min=0)},
        {"concurrency_max": 0}, {"bandwidth_bytes_s": -1}, {"start_spread_s": 86_401}, {"wave_deadline_s": 1},
        {"deadline_s": 1}, {"canaries": ("d",) * 101}, {"waves": (Wave(5, True),)},
    ],
)  # fmt: skip
def test_what_no_plan_is(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        replace(Plan(), **change).check()
    assert refused.value.code in ("plan_invalid", "wave_invalid")
    assert refused.value.hint


@pytest.mark.parametrize(
    "policy", [Policy(confirm_s=1), Policy(reboot_s=0), Policy(max_attempts=11), Policy(max_rollback_attempts=0)]
)  # fmt: skip
def test_what_no_policy_is(policy: Policy) -> None:
    with pytest.raises(UsageError, match="plan can't be used"):
        policy.check()


@pytest.mark.parametrize(
    "targets",
    [Targets(), Targets(hw=("rev2",)), Targets(all=True, groups=("g",)), Targets(devices=("d",) * 1_001)],
)
def test_targets_name_somebody_and_not_too_many(targets: Targets) -> None:
    with pytest.raises(UsageError) as refused:
        targets.check()
    assert refused.value.code == "targets_invalid"
