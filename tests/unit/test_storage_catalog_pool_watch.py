"""The alarm of a pool that is nearly used up, and of who keeps a connection: raised late enough, ended, said once."""

from __future__ import annotations

from dataclasses import replace

from structlog.testing import capture_logs

from appliance.core.clock import ManualClock
from appliance.core.limits import POOL_ALARM_COUNT, POOL_LOOK_INTERVAL_MS
from storage.catalog.lending import LenderStatistics
from storage.catalog.loans import Borrower
from storage.catalog.pool_watch import PoolWatch

EMPTY = LenderStatistics(
    name="api",
    size=4,
    borrowed=0,
    waiting=0,
    borrowed_max=0,
    served_total=0,
    refused_total=0,
    timeouts_total=0,
    left_total=0,
    leaks_total=0,
    last_leak="",
    busy_ms_total=0,
    borrowers=(),
)
STUCK = Borrower(number=7, who="look (ui/auth.py:9)", held_ms=9_000, is_overdue=True, is_left=True)


class Scene:
    """A pool that is in use as much as the test says."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.pool = EMPTY
        self.watch = PoolWatch(lambda: (self.pool,), clock=self.clock)
        self.watch.look()

    def seconds(self, count: int, *, connections: float) -> None:
        for _ in range(count):
            self.clock.advance(POOL_LOOK_INTERVAL_MS)
            busy_ms = self.pool.busy_ms_total + round(connections * POOL_LOOK_INTERVAL_MS)
            self.pool = replace(self.pool, busy_ms_total=busy_ms)
            self.watch.look()


def test_there_is_an_alarm_at_80_percent_held_for_five_seconds() -> None:
    scene = Scene()
    with capture_logs() as logged:
        scene.seconds(POOL_ALARM_COUNT - 1, connections=3.2)
        assert scene.watch.alarms() == ()
        scene.seconds(1, connections=3.2)
        (alarm,) = scene.watch.alarms()
        scene.seconds(20, connections=4)
    assert (alarm.pool, alarm.utilization_ratio, alarm.is_nearly_used_up) == ("api", 0.8, True)
    assert "80 % of the catalog's connections (api) are in use" in alarm.sentence()
    assert [entry["event"] for entry in logged] == ["a pool of the catalog is nearly used up"], "once"
    assert scene.watch.alarms()[0].since_ms == 20_000
    assert scene.watch.alarms_total == 1


def test_below_80_percent_or_in_bursts_there_is_none() -> None:
    scene = Scene()
    scene.seconds(60, connections=3.1)
    for _ in range(10):
        scene.seconds(POOL_ALARM_COUNT - 1, connections=4)
        scene.seconds(1, connections=0)
    assert scene.watch.alarms() == ()
    assert scene.watch.utilization("api") == 0.0


def test_it_is_over_when_it_was_below_for_as_long() -> None:
    scene = Scene()
    scene.seconds(POOL_ALARM_COUNT, connections=4)
    with capture_logs() as logged:
        scene.seconds(POOL_ALARM_COUNT - 1, connections=1)
        assert scene.watch.alarms()
        scene.seconds(1, connections=1)
    assert scene.watch.alarms() == ()
    assert [entry["event"] for entry in logged] == ["a pool of the catalog has room again"]
    assert scene.watch.utilization("api") == 0.25


def test_who_keeps_a_connection_is_named_once_and_when_it_is_back() -> None:
    scene = Scene()
    with capture_logs() as logged:
        scene.pool = replace(scene.pool, borrowers=(STUCK,), borrowed=1)
        scene.seconds(3, connections=1)
        (alarm,) = scene.watch.alarms()
        assert not alarm.is_nearly_used_up
        assert alarm.sentence() == "look (ui/auth.py:9) has had one (api) for 9 s."
        scene.pool = replace(scene.pool, borrowers=(), borrowed=0)
        scene.seconds(1, connections=0)
    assert [(entry["event"], entry["who"]) for entry in logged] == [
        ("a connection of the catalog is kept for too long", STUCK.who),
        ("a connection that was kept for too long is back", STUCK.who),
    ]
    assert scene.watch.alarms() == ()


def test_two_looks_at_one_moment_are_one() -> None:
    scene = Scene()
    scene.watch.look()
    assert scene.watch.utilization("api") == 0.0
    assert scene.watch.utilization("none") == 0.0
