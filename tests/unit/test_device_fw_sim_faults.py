"""Planted faults: parsed, dealt out, and active when they should be."""

from __future__ import annotations

import random

import pytest

from device_fw_sim.errors import OptionsError
from device_fw_sim.faults import Fault, FaultKind, FaultPlan, FaultRequest, parse_request, plan_fleet


def test_a_fault_comes_and_goes_again() -> None:
    plan = FaultPlan([Fault(kind=FaultKind.STUCK, after_ms=100, for_ms=10, every_ms=50)])
    active = [at for at in range(0, 300, 5) if plan.active(at)]
    assert active == [100, 105, 150, 155, 200, 205, 250, 255]


def test_changes_are_known_beforehand() -> None:
    plan = FaultPlan([Fault(kind=FaultKind.STUCK, after_ms=100, for_ms=10, every_ms=50)])
    at, changes = 0, []
    for _ in range(5):
        change = plan.next_change_ms(at)
        assert change is not None
        changes.append(change)
        at = change
    assert changes == [100, 110, 150, 160, 200]


def test_a_fault_that_comes_once_is_over() -> None:
    plan = FaultPlan([Fault(kind=FaultKind.SPIKE, after_ms=0, for_ms=10)])
    assert plan.active(0) == {FaultKind.SPIKE}
    assert plan.next_change_ms(0) == 10
    assert plan.active(10) == frozenset()
    assert plan.next_change_ms(10) is None
    assert FaultPlan().next_change_ms(0) is None


def test_request_is_parsed() -> None:
    assert parse_request("clock-wrong:3") == FaultRequest(kind=FaultKind.CLOCK_WRONG, count=3)


@pytest.mark.parametrize("text", ["", "silent", "silent:", "silent:x", "silent:-1", "slient:3"])
def test_bad_request_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(OptionsError) as caught:
        parse_request(text)
    assert caught.value.hint


def test_faults_are_dealt_to_different_devices() -> None:
    requests = [FaultRequest(kind=FaultKind.SILENT, count=2), FaultRequest(kind=FaultKind.STUCK, count=3)]
    plans = plan_fleet(5, requests, random.Random(1))
    at_ms = 21_000  # Everything has begun by then, and lasts 30 s.
    kinds = [plan.active(at_ms) for plan in plans]
    assert all(len(each) == 1 for each in kinds)
    assert sum(FaultKind.SILENT in each for each in kinds) == 2


def test_an_outage_begins_for_all_in_the_same_moment() -> None:
    (plans, others) = (
        plan_fleet(5, [FaultRequest(kind=kind, count=5)], random.Random(1))
        for kind in (FaultKind.OUTAGE, FaultKind.DROP_OUT)
    )
    assert len({plan.next_change_ms(0) for plan in plans}) == 1
    assert len({plan.next_change_ms(0) for plan in others}) == 5


def test_more_faults_than_devices_is_refused() -> None:
    with pytest.raises(OptionsError):
        plan_fleet(2, [FaultRequest(kind=FaultKind.SILENT, count=3)], random.Random(1))
