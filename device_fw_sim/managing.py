"""Between a device's connection and its `Managed`: requests and their places in the window, faults, power cuts, boots. Pure.

    what the device hands on     connected, received, acknowledged, …     -> Wanted
    what the device is to do     Wanted: publish, restart, say the status anew, another pace, fetch

A power cut in the middle of a write comes out as `Wanted.restart`, as any other end of a boot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from device_fw_sim.acts import Act, Fetch, Request, Restart, SetInterval, StatusChanged
from device_fw_sim.events import FetchBytes, Fetched, Moment, Publish
from device_fw_sim.faults import FaultKind
from device_fw_sim.flash import PowerCut
from device_fw_sim.image import Behaviour
from device_fw_sim.limits import AGENT_INFLIGHT_COUNT, POWER_CUT_WRITE_COUNT_MAX, REQUEST_QUEUE_COUNT_MAX
from device_fw_sim.link_faults import LinkFaults
from device_fw_sim.managed import Boot, Managed
from device_fw_sim.randomness import Randomness

POWER_CUT = "power_cut"


@dataclass(slots=True)
class Wanted:
    """What the device is to do now.

    Attributes:
        restart: Why, None for not. After a power cut without a goodbye.
        interval_ms: Another pace of readings.
    """

    publishes: list[Publish] = field(default_factory=list)
    fetches: list[FetchBytes] = field(default_factory=list)
    restart: str | None = None
    says_status: bool = False
    interval_ms: int | None = None


class Managing:
    """The managed side of one device.

    Args:
        managed: Its firmware.
        source: Randomness.
        started_mono_ms: Where a clock begins that was reset.
    """

    def __init__(self, managed: Managed, source: Randomness, *, started_mono_ms: int) -> None:
        self.managed = managed
        self.reset_reason = "power_on"
        self.boot_count = 0
        self._source = source
        self._started_mono_ms = started_mono_ms
        self._link = LinkFaults(source)
        self._queue: deque[Request] = deque()
        self._inflight: set[int] = set()
        self._places = AGENT_INFLIGHT_COUNT
        self._last_handle = self._fetch_number = 0
        self._active: frozenset[FaultKind] = frozenset()
        self._cut_mono_ms: int | None = None

    # --- Power -----------------------------------------------------------------------------------------

    def boot(self, boot_id: str, now: Moment) -> Boot:
        """One boot of the firmware; a power cut in it is a boot that failed."""
        self._queue.clear()
        self._inflight.clear()
        self.boot_count += 1
        self._fetch_number += 1
        spoiled = None
        if FaultKind.BOOT_LOOP in self._active:
            spoiled = Behaviour.BOOT_LOOP
        elif FaultKind.SILENT_AFTER_REBOOT in self._active:
            spoiled = Behaviour.HANG
        try:
            ended = self.managed.boot(boot_id, self._by_its_clock(now), spoiled_by=spoiled)
        except PowerCut:
            self.reset_reason = POWER_CUT
            return Boot.CRASHED
        if ended is Boot.CRASHED:
            self.reset_reason = "watchdog"
        return ended

    def follow_faults(self, active: frozenset[FaultKind], now: Moment) -> bool:
        """Which faults hold now. Returns whether the device is switched off and on by somebody."""
        begun, ended, self._active = active - self._active, self._active - active, active
        flash = self.managed.flash
        flash.is_corrupting = FaultKind.WRONG_DIGEST in active
        if FaultKind.POWER_CUT in begun:
            if self._source.random() < 0.5:
                self._cut_mono_ms = now.mono_ms + self._source.randint(0, 10_000)
            else:
                flash.cut_at(self._source.randint(1, POWER_CUT_WRITE_COUNT_MAX))
        if FaultKind.FLASH_ERROR in begun:
            flash.fail_at(self._source.randint(1, POWER_CUT_WRITE_COUNT_MAX))
        if FaultKind.SILENT_AFTER_REBOOT in ended:
            self.reset_reason = POWER_CUT
            return True
        return False

    # --- Events and time -------------------------------------------------------------------------------

    def next_deadline_ms(self) -> int | None:
        """Monotonic ms when `on_deadline` wants to be called."""
        deadlines = (self.managed.next_deadline_ms(), self._link.next_deadline_ms(), self._cut_mono_ms)
        return min((each for each in deadlines if each is not None), default=None)

    def on_deadline(self, now: Moment) -> Wanted:
        """Do what is due."""
        if self._cut_mono_ms is not None and self._cut_mono_ms <= now.mono_ms:
            self._cut_mono_ms = None
            self.reset_reason = POWER_CUT
            return Wanted(restart=POWER_CUT)
        return self._wanted(now, self.managed.on_deadline)

    def connected(self, receive_maximum: int, now: Moment) -> Wanted:
        """The broker lets it in; status and subscription are on their way."""
        self._places = max(1, min(AGENT_INFLIGHT_COUNT, receive_maximum // 3))
        return self._wanted(now, self.managed.connected)

    def disconnected(self, now: Moment) -> Wanted:
        """The connection is gone, and every request with it."""
        self._queue.clear()
        self._inflight.clear()
        self._link.connection_lost()
        return self._wanted(now, self.managed.disconnected)

    def received(self, topic: str, payload: bytes, now: Moment) -> Wanted:
        """A message for the device."""
        return self._wanted(now, lambda clock: self.managed.received(topic, payload, clock))

    def fetched(self, fetched: Fetched, now: Moment) -> Wanted:
        """Bytes over HTTPS; those of an earlier exchange, or boot, don't fit behind what is there."""
        if fetched.number != self._fetch_number:
            return Wanted()
        return self._wanted(now, lambda clock: self.managed.fetched(fetched.data, clock))

    def acknowledged(self, handle: int, now: Moment) -> Wanted:
        """The broker has a reading (handle 1 or more) or a request (below 0)."""
        if handle < 0:
            self._inflight.discard(handle)
            return self._wanted(now, lambda _clock: [])
        return self._wanted(now, self.managed.acknowledged)

    # --- Inside ----------------------------------------------------------------------------------------

    def _wanted(self, now: Moment, verb: Callable[[Moment], Sequence[Act]]) -> Wanted:
        wanted = Wanted()
        try:
            acts = verb(self._by_its_clock(now))
        except PowerCut:
            self.reset_reason = POWER_CUT
            return Wanted(restart=POWER_CUT)
        requests = []
        for act in acts:
            match act:
                case Request():
                    requests.append(act)
                case Restart():
                    wanted.restart = self.reset_reason = act.reason
                case StatusChanged():
                    wanted.says_status = True
                case SetInterval():
                    wanted.interval_ms = act.interval_ms
                case Fetch():
                    self._fetch_number += 1
                    wanted.fetches.append(
                        FetchBytes(url=act.url, offset=act.offset, number=self._fetch_number)
                    )
        self._queue.extend(self._link.passed(requests, self._active, now.mono_ms))
        while len(self._queue) > REQUEST_QUEUE_COUNT_MAX:
            self._queue.popleft()  # It is asked again when its answer doesn't come.
        wanted.publishes = self._leaving()
        return wanted

    def _by_its_clock(self, now: Moment) -> Moment:
        if FaultKind.CLOCK_WRONG not in self._active:
            return now
        return Moment(mono_ms=now.mono_ms, wall_ms=now.mono_ms - self._started_mono_ms)

    def _leaving(self) -> list[Publish]:
        leaving = []
        while self._queue and (self._queue[0].qos == 0 or len(self._inflight) < self._places):
            request = self._queue.popleft()
            self._last_handle -= 1
            if request.qos:
                self._inflight.add(self._last_handle)
            leaving.append(
                Publish(
                    handle=self._last_handle,
                    topic=self.managed.topic(request.topic),
                    payload=request.payload,
                    qos=request.qos,
                )
            )
        return leaving
