"""What the pages and the API rely on, held against the real rooms and against the stand-ins of tests/node_kit.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.management.presence import DevicePresence, Presence
from appliance.management.readings import Quality, ValueKind
from appliance.pipeline.live import LiveView as RealLiveView
from storage.telemetry.reader import TelemetryReader as RealTelemetryReader
from storage.telemetry.state import StoredNewest
from storage.telemetry.store import TelemetryStore
from tests.node_kit import NOW_MS, Live, LiveDevice, Telemetry, Value
from ui.services import LiveView, TelemetryReader


def _real_live() -> LiveView:
    view = RealLiveView(clock=ManualClock(now_ms=NOW_MS))
    newest = StoredNewest("d1", "t", ValueKind.NUMBER, 21.5, NOW_MS - 3_000, NOW_MS - 2_000, Quality.GOOD)
    presence = DevicePresence("d1", Presence.ONLINE, NOW_MS - 60_000, "", NOW_MS - 1_000, "10.0.0.5")
    view.load([newest], [presence])
    return view


def _fake_live() -> LiveView:
    return Live(by_id={"d1": LiveDevice(device_id="d1")}, values={"d1": {"t": Value(metric="t", value=21.5)}})


@pytest.fixture(params=[_real_live, _fake_live], ids=["real", "stand-in"])
def live(request: pytest.FixtureRequest) -> LiveView:
    make: Callable[[], LiveView] = request.param
    return make()


def test_a_device_that_is_online(live: LiveView) -> None:
    assert list(live.devices()) == ["d1"]
    device = live.device("d1")
    assert device.device_id == "d1"
    assert str(device.presence) == "online"
    assert device.presence_since_ms == NOW_MS - 60_000
    assert device.last_reading_at_ms == NOW_MS - 2_000
    assert device.address == "10.0.0.5"


def test_a_device_nobody_heard_of(live: LiveView) -> None:
    device = live.device("nobody")
    assert (str(device.presence), device.last_seen_at_ms) == ("never_seen", None)
    assert not live.newest("nobody")
    assert list(live.devices()) == ["d1"]


def test_newest_values_by_metric(live: LiveView) -> None:
    (newest,) = live.newest("d1").values()
    assert (newest.metric, newest.value, newest.quality) == ("t", 21.5, Quality.GOOD)
    assert (newest.observed_at_ms, newest.received_at_ms) == (NOW_MS - 3_000, NOW_MS - 2_000)


def test_the_rate_is_a_number(live: LiveView) -> None:
    assert live.message_rate >= 0


@pytest.fixture(params=["real", "stand-in"])
def telemetry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TelemetryReader]:
    if request.param == "stand-in":
        yield Telemetry()
        return
    store = TelemetryStore.open(tmp_path / "t.duckdb", memory_limit_mib=64, threads=1)
    yield RealTelemetryReader(store)
    store.close()


async def test_each_metric_asked_for_has_a_series_in_that_order(telemetry: TelemetryReader) -> None:
    for aggregation, interval_ms in (("raw", None), ("band", 1000)):
        found = await telemetry.query(
            "d1",
            ["b", "a"],
            0,
            10_000,
            aggregation=aggregation,  # type: ignore[arg-type]
            interval_ms=interval_ms,
            limit=10,
        )
        assert [series.metric for series in found] == ["b", "a"]
        for series in found:
            assert list(series.at_ms) == list(series.value) == list(series.min) == list(series.max) == []
            assert series.truncated is False


async def test_no_dead_letters(telemetry: TelemetryReader) -> None:
    assert list(await telemetry.dead_letters(10, None)) == []
    assert list(await telemetry.dead_letters(10, (1, 5))) == []
