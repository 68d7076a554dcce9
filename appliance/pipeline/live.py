"""What the pages show now: newest values and presence of all devices, in the event loop's memory.

Theory of operation. A committed batch brings the newest point of each topic and shape; the view keeps those points
as they are and makes named values only for the device that is looked at. So a batch costs a few
dictionary updates per device in it, not per reading. Newest means newest `observed_at`: a device that sends an
hour of old readings changes nothing here. Rebuilt from the store's tables at start.

For the event loop only. Subscribers get sets of device ids, merged while they are busy and bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import trio

from appliance.core.clock import Clock
from appliance.core.errors import LimitExceeded
from appliance.core.limits import LIVE_CHANGED_COUNT_MAX, LIVE_SUBSCRIBER_COUNT_MAX
from appliance.management.mapping import Route
from appliance.management.presence import DevicePresence, Presence
from appliance.management.readings import Quality, Scalar, ValueKind
from appliance.pipeline.batch import LiveUpdate
from storage.telemetry.state import StoredNewest

RATE_WINDOW_MS = 10_000


@dataclass(frozen=True, slots=True)
class NewestValue:
    """The newest reading of one metric. Times are UTC ms."""

    metric: str
    value: Scalar
    observed_at_ms: int
    received_at_ms: int
    quality: Quality


@dataclass(frozen=True, slots=True)
class DeviceLive:
    """What is known of a device now. Times are UTC ms, None for never.

    Attributes:
        last_seen_at_ms: Any sign of life. last_reading_at_ms: Arrival of its newest reading.
    """

    device_id: str
    presence: Presence = Presence.NEVER_SEEN
    presence_since_ms: int | None = None
    presence_reason: str = ""
    last_seen_at_ms: int | None = None
    last_reading_at_ms: int | None = None
    address: str = ""


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
    """The newest points of all topics that share one shape."""

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
        self._stored: dict[str, dict[str, NewestValue]] = {}
        self._shapes: dict[tuple[tuple[str, ...], tuple[ValueKind, ...]], _Shape] = {}
        self._of_device: dict[str, list[tuple[_Shape, Route]]] = {}
        self._devices: dict[str, DeviceLive] = {}
        self._stale: set[str] = set()
        self._subscriptions: set[Subscription] = set()
        self._rates: deque[tuple[int, int]] = deque()
        self._began_mono_ms: int | None = None

    def load(self, newest: Iterable[StoredNewest], presences: Iterable[DevicePresence]) -> None:
        """Begin anew with what the store has."""
        self._presences = {presence.device: presence for presence in presences}
        self._stored, self._last_reading = {}, {}
        self._shapes, self._of_device, self._devices = {}, {}, {}
        for stored in newest:
            value = NewestValue(
                stored.metric, stored.value, stored.observed_at_ms, stored.received_at_ms, stored.quality
            )
            _put_newest(self._stored.setdefault(stored.device, {}), value)
            if stored.received_at_ms > self._last_reading.get(stored.device, 0):
                self._last_reading[stored.device] = stored.received_at_ms
        self._stale = {*self._presences, *self._last_reading}
        for subscription in self._subscriptions:
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
        self._stale |= changed
        if changed:
            for subscription in self._subscriptions:
                subscription._note(changed)
        self._note_rate(update.messages, self._clock.mono_ms())

    def _apply_points(self, shape: _Shape, points: Mapping[Route, _Point], changed: set[str]) -> None:
        kept = shape.points
        last_reading = self._last_reading
        for route, point in points.items():
            device = route.device
            before = kept.get(route.topic)
            if before is None:
                self._of_device.setdefault(device, []).append((shape, route))
                kept[route.topic] = point
            elif point[0] >= before[0]:
                kept[route.topic] = point
            if point[1] > last_reading.get(device, 0):
                last_reading[device] = point[1]
            changed.add(device)

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

    def _make(self, device_id: str) -> DeviceLive:
        presence = self._presences.get(device_id)
        reading = self._last_reading.get(device_id)
        if presence is None:
            return DeviceLive(device_id, last_seen_at_ms=reading, last_reading_at_ms=reading)
        signs = [at for at in (presence.last_seen_at_ms, reading) if at is not None]
        return DeviceLive(
            device_id=device_id,
            presence=presence.presence,
            presence_since_ms=presence.since_ms,
            presence_reason=presence.reason,
            last_seen_at_ms=max(signs, default=None),
            last_reading_at_ms=reading,
            address=presence.address,
        )

    def newest(self, device_id: str) -> Mapping[str, NewestValue]:
        """The newest value of each metric of a device, by metric name."""
        found = dict(self._stored.get(device_id, ()))
        for shape, route in self._of_device.get(device_id, ()):
            observed, received, quality, values = shape.points[route.topic]
            for key, kind, value in zip(shape.keys, shape.kinds, values, strict=True):
                name = route.metric_name(key)
                if name is not None:
                    typed = value != 0 if kind is ValueKind.BOOLEAN else value
                    _put_newest(found, NewestValue(name, typed, observed, received, Quality(quality)))
        return MappingProxyType(dict(sorted(found.items())))

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Be told what changes, for as long as the context lasts.

        Raises:
            LimitExceeded: there are LIVE_SUBSCRIBER_COUNT_MAX already.
        """
        if len(self._subscriptions) >= LIVE_SUBSCRIBER_COUNT_MAX:
            raise LimitExceeded(
                f"{LIVE_SUBSCRIBER_COUNT_MAX} subscribers follow the live view already.",
                hint="Close a page; each page hub needs one subscription for all of its pages.",
            )
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)


def _put_newest(values: dict[str, NewestValue], value: NewestValue) -> None:
    before = values.get(value.metric)
    if before is None or value.observed_at_ms >= before.observed_at_ms:
        values[value.metric] = value
