"""Newest values, presence, and who is told."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from appliance.core.clock import ManualClock
from appliance.core.errors import LimitExceeded
from appliance.core.limits import LIVE_SUBSCRIBER_COUNT_MAX
from appliance.management.presence import DevicePresence, Presence
from appliance.management.readings import Quality, ValueKind
from appliance.pipeline import live as module
from appliance.pipeline.batch import LiveUpdate
from appliance.pipeline.live import BOX_AWAY, DeviceLive, LiveView, NewestValue
from storage.log.columns import FLAG_KEPT_COPY
from storage.telemetry.state import StoredNewest
from tests.log_kit import Record
from tests.pipeline_kit import Bench

NOW = 1_700_000_000_000


def sent(*payloads: bytes, bench: Bench | None = None, device: str = "d", at_ms: int = NOW) -> LiveUpdate:
    topic = f"dm/{device}/telemetry".encode()
    _, update = (bench or Bench()).build([Record(p, topic, at_ms, principal=device) for p in payloads])
    return update


def values(view: LiveView, device: str = "d") -> dict[str, object]:
    return {metric: newest.value for metric, newest in view.newest(device).items()}


def test_the_newest_by_the_devices_time() -> None:
    view, bench = LiveView(ManualClock()), Bench()
    view.apply(sent(b'{"ts":%d,"v":{"t":1,"on":true,"mode":"x"}}' % NOW, bench=bench))
    view.apply(sent(b'{"ts":%d,"v":{"t":2,"on":false,"mode":"y"}}' % (NOW - 5), bench=bench, at_ms=NOW + 9))
    assert values(view) == {"mode": "x", "on": True, "t": 1.0}
    view.apply(sent(b'{"ts":%d,"t":3}' % (NOW + 1), bench=bench, at_ms=NOW + 10))
    assert view.newest("d")["t"] == NewestValue("t", 3.0, NOW + 1, NOW + 10, Quality.GOOD)
    assert values(view)["on"] is True
    assert list(view.newest("nobody")) == []


def test_within_a_batch_too() -> None:
    view = LiveView(ManualClock())
    view.apply(sent(*(b'{"ts":%d,"t":%d}' % (NOW + at, at) for at in (1, 7, 3))))
    assert values(view) == {"t": 7.0}


def test_what_the_store_has_comes_first_and_is_replaced() -> None:
    view = LiveView(ManualClock())
    stored = StoredNewest("d", "t", ValueKind.NUMBER, 5.0, NOW, NOW, Quality.GOOD)
    older = StoredNewest("d", "t", ValueKind.TEXT, "five", NOW - 1, NOW, Quality.GOOD)
    view.load([stored, older], [DevicePresence("p", Presence.LOST, 3, "keep_alive", 2, "10.0.0.1")])
    assert values(view) == {"t": 5.0}
    view.apply(sent(b'{"ts":%d,"t":4}' % (NOW - 1)))
    assert values(view) == {"t": 5.0}
    view.apply(sent(b'{"ts":%d,"t":6}' % (NOW + 1)))
    assert values(view) == {"t": 6.0}
    assert view.device("p") == DeviceLive("p", Presence.LOST, 3, "keep_alive", 2, None, "10.0.0.1")
    assert set(view.devices()) == {"d", "p"}


def test_a_devices_life() -> None:
    view = LiveView(ManualClock())
    assert view.device("d") == DeviceLive("d")
    view.apply(sent(b'{"t":1}'))
    assert view.device("d") == DeviceLive(
        "d",
        last_seen_at_ms=NOW,
        last_reading_at_ms=NOW,
        watermark_at_ms=NOW,
        watermark_received_at_ms=NOW,
    )
    presence = DevicePresence("d", Presence.ONLINE, NOW - 9, "connected", NOW + 4, "a", expect_ms=30_000)
    view.apply(LiveUpdate(presences=[presence]))
    assert view.devices()["d"] == DeviceLive(
        "d", Presence.ONLINE, NOW - 9, "connected", NOW + 4, NOW, "a", NOW, NOW, 30_000
    )


def test_the_watermark_is_the_newest_time_and_its_arrival() -> None:
    view, bench = LiveView(ManualClock()), Bench()
    view.apply(sent(b'{"ts":%d,"t":1}' % (NOW - 50), bench=bench))
    view.apply(sent(b'{"ts":%d,"t":1}' % (NOW - 900), bench=bench, at_ms=NOW + 10))
    device = view.device("d")
    assert (device.watermark_at_ms, device.watermark_received_at_ms) == (NOW - 50, NOW)
    assert device.last_reading_at_ms == NOW + 10, "late readings are a sign of life all the same"


def test_a_kept_copy_makes_nothing_fresh() -> None:
    view, bench = LiveView(ManualClock()), Bench()
    topic = b"dm/d/telemetry"
    _, update = bench.build(
        [
            Record(b'{"t":1}', topic, NOW, flags=FLAG_KEPT_COPY | 1),
            Record(b'{"ts":%d,"v":{"u":1}}' % (NOW - 70_000), topic, NOW, flags=FLAG_KEPT_COPY | 1),
        ]
    )
    view.apply(update)
    assert (update.ages, update.clocks) == ([(-NOW, 0), (NOW - 70_000, 0)], [])
    assert view.device("d") == DeviceLive("d")
    found = view.newest("d")
    assert (found["t"].received_at_ms, found["t"].is_kept_copy, found["t"].counts_at_ms) == (NOW, True, None)
    assert found["u"].counts_at_ms == NOW - 70_000
    view.apply(sent(b'{"t":2}', bench=bench, at_ms=NOW + 5))
    assert view.newest("d")["t"].counts_at_ms == NOW + 5
    assert view.device("d").last_reading_at_ms == NOW + 5


def test_a_kept_copy_is_one_after_a_restart_too() -> None:
    view = LiveView(ManualClock())
    view.load([StoredNewest("d", "t", ValueKind.NUMBER, 1.0, NOW, -NOW, Quality.UNCERTAIN)], [])
    assert view.newest("d")["t"] == NewestValue("t", 1.0, NOW, NOW, Quality.UNCERTAIN, is_kept_copy=True)
    assert view.device("d") == DeviceLive("d")


def test_values_of_a_wrong_clock_are_uncertain() -> None:
    view, bench = LiveView(ManualClock()), Bench()
    view.apply(sent(b'{"ts":%d,"t":1}' % NOW, bench=bench))
    assert view.newest("d")["t"].quality is Quality.GOOD
    assert view.device("d").clock_offset_ms == 0
    view.apply(sent(b'{"ts":%d,"u":1}' % (NOW + 3_600_000), bench=bench))
    assert view.device("d").clock_offset_ms == 3_600_000
    assert view.common_clock_offset_ms() is None
    assert {value.quality for value in view.newest("d").values()} == {Quality.UNCERTAIN}


def test_a_wrong_clock_is_known_after_a_restart() -> None:
    view = LiveView(ManualClock())
    ahead = StoredNewest("d", "t", ValueKind.NUMBER, 1.0, NOW + 60_000, NOW, Quality.UNCERTAIN)
    view.load([ahead], [])
    assert view.device("d").clock_offset_ms == 60_000


def test_the_rate_is_of_the_last_ten_seconds() -> None:
    clock = ManualClock()
    view = LiveView(clock)
    assert view.message_rate == 0.0
    view.apply(LiveUpdate(messages=50))
    assert view.message_rate == 50.0  # at least a second
    clock.advance(5_000)
    view.apply(LiveUpdate(messages=50))
    assert view.message_rate == 20.0
    clock.advance(6_000)
    assert view.message_rate == 5.0


async def test_a_subscriber_gets_what_changed_since_merged() -> None:
    view = LiveView(ManualClock())
    with view.subscribe() as subscription:
        with trio.move_on_after(0.01) as scope:
            await subscription.wait()
        assert scope.cancelled_caught
        view.apply(sent(b'{"t":1}', device="a"))
        view.apply(sent(b'{"t":1}', device="b"))
        changes = await subscription.wait()
        assert (changes.devices, changes.everything) == (frozenset("ab"), False)
        view.apply(LiveUpdate(messages=0))
        with trio.move_on_after(0.01) as scope:
            await subscription.wait()
        assert scope.cancelled_caught


async def test_a_slow_subscriber_is_told_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIVE_CHANGED_COUNT_MAX", 1)
    view = LiveView(ManualClock())
    with view.subscribe() as subscription:
        for device in "abc":
            view.apply(sent(b'{"t":1}', device=device))
        changes = await subscription.wait()
        assert (changes.devices, changes.everything) == (frozenset(), True)
        view.apply(sent(b'{"t":1}', device="d"))
        assert (await subscription.wait()).devices == {"d"}


async def test_devices_of_a_box_that_is_not_heard_of_count_as_lost_until_it_or_they_are_back() -> None:
    view = LiveView(ManualClock())
    presences = [
        DevicePresence("there", Presence.ONLINE, 3, "connected", clients={"there\0n": 1}),
        DevicePresence("both", Presence.ONLINE, 3, "connected", clients={"both\0n": 1, "both": 1}),
        DevicePresence("here", Presence.ONLINE, 3, "connected", clients={"here": 1}),
        DevicePresence("asleep", Presence.SLEEPING, 3, "said sleeping", clients={"asleep\0n": 1}),
    ]
    view.load([], presences)
    with view.subscribe() as subscription:
        view.set_away({"n": 50})
        assert (await subscription.wait()).devices == {"there", "both", "asleep"}
        lost = view.device("there")
        assert (lost.presence, lost.presence_since_ms, lost.presence_reason) == (Presence.LOST, 50, BOX_AWAY)
        assert {each: live.presence for each, live in view.devices().items() if each != "there"} == {
            "both": Presence.ONLINE,
            "here": Presence.ONLINE,
            "asleep": Presence.SLEEPING,
        }
        view.set_away({"n": 50})
        with trio.move_on_after(0.01) as scope:
            await subscription.wait()
        assert scope.cancelled_caught, "nothing is new"
        view.apply(
            LiveUpdate(
                messages=0, presences=[DevicePresence("there", Presence.ONLINE, 3, clients={"there": 1})]
            )
        )
        await subscription.wait()
        assert view.device("there").presence is Presence.ONLINE, "it came here"
        view.load([], presences)
        await subscription.wait()
        assert view.device("there").presence is Presence.LOST
        view.set_away({})
        assert (await subscription.wait()).devices == {"there", "both", "asleep"}
        back = view.device("there")
        assert (back.presence, back.presence_since_ms) == (Presence.ONLINE, 3)


def test_subscribers_are_bounded() -> None:
    view = LiveView(ManualClock())
    from contextlib import ExitStack

    with ExitStack() as stack:
        for _ in range(LIVE_SUBSCRIBER_COUNT_MAX):
            stack.enter_context(view.subscribe())
        with pytest.raises(LimitExceeded), view.subscribe():
            pass
