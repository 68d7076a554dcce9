"""What the pipeline knows of devices, handed to the engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import trio

from appliance.core.clock import ManualClock
from appliance.management.execution import HealthSeen
from appliance.management.executions import State
from appliance.management.firmware_report import FirmwareReport
from appliance.management.presence import DevicePresence, Presence
from appliance.management.readings import Quality, ValueKind
from appliance.pipeline.batch import LiveUpdate
from appliance.pipeline.live import LiveView
from appliance.updates.device_watch import DeviceWatch, HealthWatch
from storage.telemetry.state import StoredNewest
from tests.broker_kit import wait_until
from tests.execution_kit import NEW_DIGEST, OLD_DIGEST, an_execution, firmware
from tests.updates_kit import a_running_bench


def said(
    report: FirmwareReport | None = None, presence: Presence = Presence.ONLINE, since_ms: int = 1
) -> DevicePresence:
    return DevicePresence("pump-1", presence, since_ms, firmware=report)


def reading(at_ms: int, device: str = "pump-1") -> StoredNewest:
    return StoredNewest(device, "t", ValueKind.NUMBER, 1.0, at_ms, at_ms, Quality.GOOD)


async def test_what_the_store_kept_is_told_at_the_start_and_news_after_it(tmp_path: Path) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench, trio.open_nursery() as nursery:
        live = LiveView(bench.clock)
        live.load([], [said(firmware(OLD_DIGEST, boot="A")), DevicePresence("app")])
        watch = DeviceWatch(bench.engine, live, HealthWatch(live, clock=bench.clock))
        await nursery.start(watch.run)
        await wait_until(lambda: bench.engine.statistics().firmware.get("new"))
        assert bench.engine.surroundings.is_reachable("pump-1")
        # The same in the same connection is no news, whatever its number is.
        live.apply(LiveUpdate(presences=[said(firmware(OLD_DIGEST, boot="A", seq=2))]))
        live.apply(
            LiveUpdate(presences=[said(firmware(NEW_DIGEST, boot="B", at_ms=bench.clock.now_ms() + 1))])
        )
        await wait_until(lambda: bench.engine.statistics().firmware.get("new") == 2)
        assert bench.engine.statistics().firmware == {"new": 2}
        live.apply(LiveUpdate(presences=[said(presence=Presence.LOST)]))
        await wait_until(lambda: not bench.engine.surroundings.is_reachable("pump-1"))
        nursery.cancel_scope.cancel()


async def test_of_whom_nothing_is_known_nothing_is_told(tmp_path: Path) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench:
        live = LiveView(bench.clock)
        live.load([reading(5)], [])
        watch = DeviceWatch(bench.engine, live, HealthWatch(live, clock=bench.clock))
        watch.note("pump-1")
        assert not bench.engine.surroundings.is_reachable("pump-1")


async def test_only_who_tests_is_watched(tmp_path: Path) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench:
        live = LiveView(bench.clock)
        live.load([reading(5)], [said()])
        health = HealthWatch(live, clock=bench.clock)
        watch = DeviceWatch(bench.engine, live, health)
        watch.look()
        assert health.seen("pump-1", 0).fresh_reading_count == 0
        await bench.engine.do(lambda work: work.insert(an_execution(State.TESTING)))
        watch.look()
        assert health.seen("pump-1", 0).fresh_reading_count == 1


def test_readings_and_cuts_since_the_target_runs() -> None:
    clock = ManualClock()
    live = LiveView(clock)
    health = HealthWatch(live, clock=clock)
    now_ms = clock.now_ms()
    for number in range(5):
        live.load([reading(now_ms + number)], [said(presence=Presence.LOST, since_ms=now_ms + number)])
        health.look({"pump-1"})
        health.look({"pump-1"})
    seen = health.seen("pump-1", now_ms)
    assert (seen.fresh_reading_count, seen.cut_count) == (3, 3), "no more than are asked for are kept"
    assert health.seen("pump-1", now_ms + 4).fresh_reading_count == 1
    assert not seen.is_online
    health.look(set())
    assert health.seen("pump-1", now_ms).fresh_reading_count == 0


def test_what_can_be_asked_of_a_device() -> None:
    clock = ManualClock()
    live = LiveView(clock)
    health = HealthWatch(live, clock=clock)
    assert health.seen("pump-1", 0) == HealthSeen()
    health.look({"pump-1"})
    live.load([reading(clock.now_ms())], [said()])
    assert health.seen("pump-1", 0) == HealthSeen(has_readings=True, has_session=True, is_online=True)
    clock.advance(86_400_001)
    live.load([reading(clock.now_ms() - 86_400_001)], [replace(said(), presence=Presence.NEVER_SEEN)])
    assert health.seen("pump-1", 0) == HealthSeen()
