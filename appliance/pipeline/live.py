"""What the pages show now: newest values and presence of all devices, in the event loop's memory.

Theory of operation. A committed batch brings the newest point of each topic and shape; the view keeps those points
as they are and makes named values only for the device that is looked at. So a batch costs a few
dictionary updates per device in it, not per reading. Newest means newest `observed_at` (of two the one that arrived later): a device
that sends an hour of old readings changes nothing here, nor does a backlog. Rebuilt from the store's tables at start.

For the event loop only. Subscribers get sets of device ids, merged while they are busy and bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import trio

from appliance.core.clock import Clock
from appliance.core.errors import LimitExceeded
from appliance.core.limits import CLOCK_SLOT_MS, LIVE_CHANGED_COUNT_MAX, LIVE_SUBSCRIBER_COUNT_MAX
from appliance.management.clock_offset import ClockOffsets, ClockSample
from appliance.management.firmware_report import FirmwareReport
from appliance.management.freshness import counts_at_ms
from appliance.management.mapping import Route
from appliance.management.presence import DevicePresence, Presence, node_of
from appliance.management.readings import Quality, Scalar, ValueKind
from appliance.pipeline.batch import LiveUpdate
from storage.telemetry.state import StoredNewest

RATE_WINDOW_MS = 10_000


@dataclass(frozen=True, slots=True)
class NewestValue:
    """The newest reading of one metric. Times are UTC ms.

    Attributes:
        quality: As stored; uncertain at best while the device's clock is judged wrong.
        is_kept_copy: It may be a copy that another broker kept: its arrival doesn't make it fresh.
    """

    metric: str
    value: Scalar
    observed_at_ms: int
    received_at_ms: int
    quality: Quality
    is_kept_copy: bool = False

    @property
    def counts_at_ms(self) -> int | None:
        """From when on it ages; None when that can't be known."""
        return counts_at_ms(self.observed_at_ms, self.received_at_ms, is_kept_copy=self.is_kept_copy)


BOX_AWAY: Final = "box_away"
"""Why a device counts as lost whose box is not heard of."""


@dataclass(frozen=True, slots=True)
class DeviceLive:
    """What is known of a device now. Times are UTC ms, None for never.

    Attributes:
        last_seen_at_ms: Any sign of life. last_reading_at_ms: Arrival of its newest reading; copies that another broker may have
            kept are none.
        watermark_at_ms: Newest time of a reading, by the device's clock; its readings up to there are searchable, but for what it
            sends late. watermark_received_at_ms: When that reading arrived.
        expect_ms: How often it says that a reading is to be expected.
        clock_offset_ms: How far its clock is ahead of ours (negative: behind), as far as that can be judged.
        firmware: What it says that it runs.
    """

    device_id: str
    presence: Presence = Presence.NEVER_SEEN
    presence_since_ms: int | None = None
    presence_reason: str = ""
    last_seen_at_ms: int | None = None
    last_reading_at_ms: int | None = None
    address: str = ""
    watermark_at_ms: int | None = None
    watermark_received_at_ms: int | None = None
    expect_ms: int | None = None
    clock_offset_ms: int | None = None
    firmware: FirmwareReport | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """Devices that changed since the last time; `everything` when there were too many to name."""

    devices: frozenset[str]
    everything: bool = False


class Subscription:
    """One subscriber's view of what changed. Merges while nobody waits."""

    def __init__(self) -> None:
        self._devices: set[str] = set()
        self._everything = False
        self._event = trio.Event()

    def _note(self, devices: Iterable[str]) -> None:
        if not self._everything:
            self._devices.update(devices)
            if len(self._devices) > LIVE_CHANGED_COUNT_MAX:
                self._devices, self._everything = set(), True
        self._event.set()

    async def wait(self) -> Changes:
        """Until something changed since the last call. The wait has no deadline: silence is no failure."""
        await self._event.wait()
        self._event = trio.Event()
        changes = Changes(frozenset(self._devices), self._everything)
        self._devices, self._everything = set(), False
        return changes


_Point = tuple[int, int, int, tuple[Any, ...]]


class _Shape:
    """The newest points of all topics that share one shape, by the route's source."""

    __slots__ = ("keys", "kinds", "points")

    def __init__(self, keys: tuple[str, ...], kinds: tuple[ValueKind, ...]) -> None:
        self.keys = keys
        self.kinds = kinds
        self.points: dict[str, _Point] = {}


class LiveView:
    """Newest values and presence of all devices."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._presences: dict[str, DevicePresence] = {}
        self._last_reading: dict[str, int] = {}
        self._watermarks: dict[str, tuple[int, int]] = {}
        self.clocks = ClockOffsets()
        self._stored: dict[str, dict[str, NewestValue]] = {}
        self._shapes: dict[tuple[tuple[str, ...], tuple[ValueKind, ...]], _Shape] = {}
        self._of_device: dict[str, list[tuple[_Shape, Route]]] = {}
        self._devices: dict[str, DeviceLive] = {}
        self._stale: set[str] = set()
        self._away: dict[str, int] = {}
        self._subscriptions: set[Subscription] = set()
        self._presence_subscriptions: set[Subscription] = set()
        self._rates: deque[tuple[int, int]] = deque()
        self._began_mono_ms: int | None = None

    def load(self, newest: Iterable[StoredNewest], presences: Iterable[DevicePresence]) -> None:
        """Begin anew with what the store has."""
        self._presences = {presence.device: presence for presence in presences}
        self._stored, self._last_reading, self._watermarks = {}, {}, {}
        self.clocks.forget()
        self._shapes, self._of_device, self._devices = {}, {}, {}
        for stored in newest:
            observed, received = stored.observed_at_ms, stored.received_at_ms
            value = NewestValue(
                stored.metric, stored.value, observed, abs(received), stored.quality, received < 0
            )
            _put_newest(self._stored.setdefault(stored.device, {}), value)
            if received < 0:
                continue
            self._note_reading(stored.device, observed, received)
            if stored.quality == Quality.GOOD or observed != received:
                slot = received // CLOCK_SLOT_MS
                self.clocks.note(
                    (ClockSample(device=stored.device, slot=slot, delay_ms=received - observed),)
                )
        self._stale = {*self._presences, *self._last_reading}
        for subscription in (*self._subscriptions, *self._presence_subscriptions):
            subscription._note(self._stale)

    def apply(self, update: LiveUpdate) -> None:
        """Take over a committed batch."""
        changed: set[str] = set()
        for last in update.last:
            key = (last.keys, last.kinds)
            shape = self._shapes.get(key)
            if shape is None:
                shape = self._shapes[key] = _Shape(*key)
            self._apply_points(shape, last.points, changed)
        for presence in update.presences:
            self._presences[presence.device] = presence
            changed.add(presence.device)
        self.clocks.note(update.clocks)
        self._stale |= changed
        if changed:
            for subscription in self._subscriptions:
                subscription._note(changed)
        if update.presences:
            for subscription in self._presence_subscriptions:
                subscription._note(presence.device for presence in update.presences)
        self._note_rate(update.messages, self._clock.mono_ms())

    def _apply_points(self, shape: _Shape, points: Mapping[Route, _Point], changed: set[str]) -> None:
        kept = shape.points
        for route, point in points.items():
            device = route.device
            before = kept.get(route.source)
            if before is None:
                self._of_device.setdefault(device, []).append((shape, route))
                kept[route.source] = point
            elif point[:2] >= before[:2]:
                kept[route.source] = point
            if point[1] >= 0:
                self._note_reading(device, point[0], point[1])
            changed.add(device)

    def _note_reading(self, device: str, observed_at_ms: int, received_at_ms: int) -> None:
        if received_at_ms > self._last_reading.get(device, 0):
            self._last_reading[device] = received_at_ms
        watermark = self._watermarks.get(device)
        if watermark is None or observed_at_ms > watermark[0]:
            self._watermarks[device] = observed_at_ms, received_at_ms

    def _note_rate(self, messages: int, now_mono_ms: int) -> None:
        if self._began_mono_ms is None:
            self._began_mono_ms = now_mono_ms
        self._rates.append((now_mono_ms, messages))
        while self._rates[0][0] < now_mono_ms - RATE_WINDOW_MS:
            self._rates.popleft()

    @property
    def message_rate(self) -> float:
        """Readings messages per second over the last ten seconds."""
        if self._began_mono_ms is None:
            return 0.0
        now_mono_ms = self._clock.mono_ms()
        span_ms = min(RATE_WINDOW_MS, max(1_000, now_mono_ms - self._began_mono_ms))
        recent = sum(messages for at, messages in self._rates if at >= now_mono_ms - RATE_WINDOW_MS)
        return recent * 1_000 / span_ms

    def devices(self) -> Mapping[str, DeviceLive]:
        """All devices that were ever heard of, applications with sessions among them; by id. Read-only, live."""
        for device_id in self._stale:
            self._devices[device_id] = self._make(device_id)
        self._stale = set()
        return MappingProxyType(self._devices)

    def device(self, device_id: str) -> DeviceLive:
        """One device; never_seen when nothing was heard of it."""
        if device_id in self._stale:
            self._stale.discard(device_id)
            self._devices[device_id] = self._make(device_id)
        found = self._devices.get(device_id)
        return DeviceLive(device_id) if found is None else found

    def nodes_of(self, device_id: str) -> frozenset[str]:
        """The nodes of the site at which a device is connected, as far as their logs are read; "" for this one."""
        presence = self._presences.get(device_id)
        return frozenset() if presence is None else frozenset(map(node_of, presence.clients))

    def set_away(self, nodes: Mapping[str, int]) -> None:
        """Nodes of the site that are not heard of, and since when (UTC ms): a device that is connected at such ones alone counts as lost meanwhile.

        Their logs can't say that its session has ended. It is as before when the node is back, or the device comes to another one.
        """
        changed = {node for node, since_ms in nodes.items() if self._away.get(node) != since_ms}
        changed |= self._away.keys() - nodes.keys()
        self._away = dict(nodes)
        found = {
            device for device in self._presences if changed and not changed.isdisjoint(self.nodes_of(device))
        }
        self._stale |= found
        for subscription in self._subscriptions if found else ():
            subscription._note(found)

    def _presence_now(self, presence: DevicePresence) -> tuple[Presence, int | None, str]:
        """What it is, since when, and why."""
        sessions = presence.clients
        if presence.presence is Presence.ONLINE and sessions and self._away:
            since_ms = [self._away.get(node_of(session)) for session in sessions]
            away_ms = [each for each in since_ms if each is not None]
            if len(away_ms) == len(sessions):
                return Presence.LOST, max(away_ms), BOX_AWAY
        return presence.presence, presence.since_ms, presence.reason

    def _make(self, device_id: str) -> DeviceLive:
        presence = self._presences.get(device_id)
        reading = self._last_reading.get(device_id)
        watermark_at_ms, watermark_received_at_ms = self._watermarks.get(device_id, (None, None))
        clock_offset_ms = self.clocks.offset_ms(device_id)
        if presence is None:
            return DeviceLive(
                device_id,
                last_seen_at_ms=reading,
                last_reading_at_ms=reading,
                watermark_at_ms=watermark_at_ms,
                watermark_received_at_ms=watermark_received_at_ms,
                clock_offset_ms=clock_offset_ms,
            )
        now, since_ms, reason = self._presence_now(presence)
        signs = [at for at in (presence.last_seen_at_ms, reading) if at is not None]
        return DeviceLive(
            device_id=device_id,
            presence=now,
            presence_since_ms=since_ms,
            presence_reason=reason,
            last_seen_at_ms=max(signs, default=None),
            last_reading_at_ms=reading,
            address=presence.address,
            watermark_at_ms=watermark_at_ms,
            watermark_received_at_ms=watermark_received_at_ms,
            expect_ms=presence.expect_ms,
            clock_offset_ms=clock_offset_ms,
            firmware=presence.firmware,
        )

    def newest(self, device_id: str) -> Mapping[str, NewestValue]:
        """The newest value of each metric of a device, by metric name."""
        found = dict(self._stored.get(device_id, ()))
        quality_min = Quality.UNCERTAIN if self.clocks.is_wrong(device_id) else Quality.GOOD
        for shape, route in self._of_device.get(device_id, ()):
            observed, received, quality, values = shape.points[route.source]
            for key, kind, raw in zip(shape.keys, shape.kinds, values, strict=True):
                name = route.metric_name(key)
                if name is not None:
                    typed = raw != 0 if kind is ValueKind.BOOLEAN else raw
                    value = NewestValue(name, typed, observed, abs(received), Quality(quality), received < 0)
                    _put_newest(found, value)
        if quality_min is not Quality.GOOD:
            found = {name: replace(v, quality=max(v.quality, quality_min)) for name, v in found.items()}
        return MappingProxyType(dict(sorted(found.items())))

    def presence_of(self, device_id: str) -> DevicePresence | None:
        """What is known of a device's presence, not to be changed; one look-up, from any thread."""
        return self._presences.get(device_id)

    def last_reading_ms(self, device_id: str) -> int | None:
        """When its newest reading arrived, UTC ms; one look-up, from any thread."""
        return self._last_reading.get(device_id)

    def common_clock_offset_ms(self) -> int | None:
        """What most devices' clocks are off by, if it is the same for all: then it is this box's clock that is wrong."""
        return self.clocks.common_offset_ms()

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Be told what changes, for as long as the context lasts.

        Raises:
            LimitExceeded: there are LIVE_SUBSCRIBER_COUNT_MAX already.
        """
        with _subscribed(self._subscriptions) as subscription:
            yield subscription

    @contextmanager
    def subscribe_presences(self) -> Iterator[Subscription]:
        """Be told whose presence or firmware was said anew, and of no readings. Raises as `subscribe`."""
        with _subscribed(self._presence_subscriptions) as subscription:
            yield subscription


@contextmanager
def _subscribed(subscriptions: set[Subscription]) -> Iterator[Subscription]:
    if len(subscriptions) >= LIVE_SUBSCRIBER_COUNT_MAX:
        raise LimitExceeded(
            f"{LIVE_SUBSCRIBER_COUNT_MAX} subscribers follow the live view already.",
            hint="Close a page; each page hub needs one subscription for all of its pages.",
        )
    subscription = Subscription()
    subscriptions.add(subscription)
    try:
        yield subscription
    finally:
        subscriptions.discard(subscription)


def _put_newest(values: dict[str, NewestValue], value: NewestValue) -> None:
    before = values.get(value.metric)
    if before is None or (value.observed_at_ms, value.received_at_ms) >= (
        before.observed_at_ms,
        before.received_at_ms,
    ):
        values[value.metric] = value
