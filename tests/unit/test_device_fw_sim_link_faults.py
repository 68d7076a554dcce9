"""Reports that come twice, late or after the next one; nothing else is touched, and nothing is kept for ever."""

from __future__ import annotations

import random

from device_fw_sim.acts import Request
from device_fw_sim.faults import FaultKind
from device_fw_sim.limits import HELD_COUNT_MAX, LATE_MS_MAX, SLOW_LINK_MS_MAX
from device_fw_sim.link_faults import LinkFaults


def report(number: int) -> Request:
    return Request(topic="jobs/j1/update", payload=str(number).encode())


GET = Request(topic="streams/s/get/json", payload=b"", qos=0)


def faults() -> LinkFaults:
    return LinkFaults(random.Random(1))


def test_without_a_fault_everything_leaves_as_it_comes() -> None:
    link = faults()
    assert link.passed([report(1), GET], frozenset(), 0) == [report(1), GET]
    assert link.next_deadline_ms() is None


def test_twice() -> None:
    active = frozenset({FaultKind.REPORT_TWICE})
    assert faults().passed([report(1), GET], active, 0) == [report(1), report(1), GET]


def test_out_of_order() -> None:
    link, active = faults(), frozenset({FaultKind.REPORT_OUT_OF_ORDER})
    assert link.passed([report(1)], active, 0) == [report(1)]
    assert link.passed([report(2)], active, 0) == [report(2), report(1)]


def test_late_reports_outlive_the_connection() -> None:
    link, active = faults(), frozenset({FaultKind.REPORT_LATE})
    assert link.passed([report(1), GET], active, 0) == [GET]
    due_ms = link.next_deadline_ms()
    assert due_ms is not None
    assert 0 < due_ms <= LATE_MS_MAX
    link.connection_lost()
    assert link.passed([], frozenset(), due_ms) == [report(1)]


def test_a_slow_link_slows_everything_and_dies_with_its_connection() -> None:
    link, active = faults(), frozenset({FaultKind.SLOW_LINK})
    assert link.passed([GET], active, 0) == []
    due_ms = link.next_deadline_ms()
    assert due_ms is not None
    assert due_ms <= SLOW_LINK_MS_MAX
    link.connection_lost()
    assert link.passed([], active, due_ms) == []


def test_what_is_held_back_is_bounded() -> None:
    link, active = faults(), frozenset({FaultKind.SLOW_LINK})
    left = [link.passed([GET], active, 0) for _ in range(HELD_COUNT_MAX + 5)]
    assert sum(map(len, left)) == 5
