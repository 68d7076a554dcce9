"""Messages fall due by the clock, the first at once, and a late one keeps the time when it was due."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from device_fw_sim.load.connection import Stage
from device_fw_sim.load.pacer import Pacer


class Publisher(SimpleNamespace):
    """What a pacer needs of a publisher: it remembers when each message was due."""

    stage = Stage.RUNNING

    def __init__(self) -> None:
        super().__init__(backlog=0, due_ns=0, due_step_ns=0.0, free=1_000, sent=[])

    def room(self) -> int:
        return int(self.free)

    def publish(self, count: int) -> None:
        self.sent += [self.due_ns + int(index * self.due_step_ns) for index in range(count)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    now_ns = [1_000]
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now_ns[0])
    return now_ns


def pacer(publishers: list[Publisher], *, burst: int = 1, messages_max: int | None = None) -> Pacer:
    """1,000 messages a second: one falls due every million nanoseconds."""
    return Pacer(cast("Any", publishers), 1_000, burst, messages_max)


def test_the_first_is_due_at_once_and_the_next_an_interval_later(clock: list[int]) -> None:
    one, two = Publisher(), Publisher()
    paced = pacer([one, two])
    assert paced.due() == [one]
    assert paced.due() == []
    clock[0] += 2_000_000
    assert paced.due() == [two, one]
    assert (one.sent, two.sent) == ([1_000, 2_001_000], [1_001_000])


def test_what_found_no_room_is_sent_later_as_of_when_it_was_due(clock: list[int]) -> None:
    one = Publisher()
    paced = pacer([one])
    one.free = 0
    paced.due()
    clock[0] += 1_000_000
    paced.due()
    assert (one.sent, one.backlog) == ([], 2)
    one.free = 10
    clock[0] += 1_000_000
    paced.due()
    assert (one.sent, one.backlog) == ([1_000, 1_001_000, 2_001_000], 0)


def test_bursts_and_the_end(clock: list[int]) -> None:
    one = Publisher()
    paced = pacer([one], burst=5, messages_max=10)
    clock[0] += 100_000_000
    paced.due()
    assert len(one.sent) == 10
