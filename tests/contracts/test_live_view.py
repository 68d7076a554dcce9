"""What pages expect of a live view, held by the real one and by the one that browser tests set by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import pytest
import trio
from trio.testing import MockClock

from appliance.core.clock import SystemClock
from appliance.management.presence import DevicePresence, Presence
from appliance.management.readings import Quality, ValueKind
from appliance.pipeline.live import LiveView
from storage.telemetry.state import StoredNewest
from tests.browser.node_kit import FakeLive, LiveValue
from ui.live.hub import Subscription
from ui.services import DeviceLive, NewestValue

SEEN_MS = 1_700_000_000_000


class View(Protocol):
    """The union of what pages (ui.services.LiveView) and the hub (ui.live.hub.ChangeSource) need."""

    @property
    def message_rate(self) -> float: ...
    def devices(self) -> Mapping[str, DeviceLive]: ...
    def device(self, device_id: str, /) -> DeviceLive | None: ...
    def newest(self, device_id: str, /) -> Mapping[str, NewestValue]: ...
    def subscribe(self) -> AbstractContextManager[Subscription]: ...


Fill = Callable[[View], None]


def fill_real(view: View) -> None:
    assert isinstance(view, LiveView)
    stored = StoredNewest("a", "t_celsius", ValueKind.NUMBER, 21.5, SEEN_MS, SEEN_MS + 5, Quality.GOOD)
    presence = DevicePresence("a", Presence.ONLINE, since_ms=SEEN_MS, last_seen_at_ms=SEEN_MS)
    view.load([stored], [presence])


def fill_fake(view: View) -> None:
    assert isinstance(view, FakeLive)
    view.set_device("a", presence="online", presence_since_ms=SEEN_MS)
    view.set_value(
        "a", LiveValue(metric="t_celsius", value=21.5, observed_at_ms=SEEN_MS, received_at_ms=SEEN_MS + 5)
    )


BOTH = pytest.mark.parametrize(
    ("make", "fill"),
    [
        pytest.param(lambda: LiveView(SystemClock()), fill_real, id="real"),
        pytest.param(FakeLive, fill_fake, id="fake"),
    ],
)


@BOTH
def test_a_device_that_was_never_heard_of(make: Callable[[], View], fill: Fill) -> None:
    view = make()
    assert dict(view.devices()) == {}
    device = view.device("nobody")
    assert device is None or device.presence == "never_seen"
    assert dict(view.newest("nobody")) == {}
    assert view.message_rate == 0


@BOTH
def test_a_device_that_was_heard_of(make: Callable[[], View], fill: Fill) -> None:
    view = make()
    fill(view)
    assert list(view.devices()) == ["a"]
    device = view.device("a")
    assert device is not None
    assert device == view.devices()["a"]
    assert (device.device_id, device.presence, device.presence_since_ms) == ("a", "online", SEEN_MS)
    assert device.last_seen_at_ms == SEEN_MS + 5
    assert device.last_reading_at_ms == SEEN_MS + 5
    value = view.newest("a")["t_celsius"]
    assert (value.metric, value.value, value.quality) == ("t_celsius", 21.5, 0)
    assert (value.observed_at_ms, value.received_at_ms) == (SEEN_MS, SEEN_MS + 5)


@BOTH
async def test_changes_are_told_once_and_merged(
    make: Callable[[], View], fill: Fill, autojump_clock: MockClock
) -> None:
    view = make()
    with view.subscribe() as subscription:
        fill(view)
        fill(view)
        changes = await subscription.wait()
        assert changes.devices == frozenset({"a"})
        assert not changes.everything
        with trio.move_on_after(1) as waiting:
            await subscription.wait()
        assert waiting.cancelled_caught
