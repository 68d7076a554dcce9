"""Planted faults: which there are, and when a device has which. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from device_fw_sim.errors import OptionsError
from device_fw_sim.randomness import Randomness


class FaultKind(Enum):
    """What can be wrong with a device."""

    SILENT = "silent"
    """Keeps its TCP connection and sends nothing, not even PINGREQ: the broker has to notice by keep alive."""
    DROP_OUT = "drop-out"
    """Loses its network without a word and comes back with what it kept."""
    STUCK = "stuck"
    """Every value stays what it was."""
    SPIKE = "spike"
    """One number in ten is far outside."""
    BURST = "burst"
    """Interference on the thermometer's line: each value is too high, by sizes that are Pareto's, now and then by a huge one."""
    DEAD_SENSOR = "dead-sensor"
    """The thermometer is gone: its value is missing, all others go on."""
    STUCK_SENSOR = "stuck-sensor"
    """The thermometer stays where it was, all others go on."""
    DRIFT = "drift"
    """The thermometer goes off, slowly and for as long as the fault lasts."""
    OUTAGE = "outage"
    """As a drop-out, of all that have it in the same moment: a switch, an access point or a fuse that they share."""
    CLOCK_WRONG = "clock-wrong"
    """The device's clock lies in 1970, as after a reset without a battery."""
    GARBAGE = "garbage"
    """One payload in three is cut, not UTF-8 or not JSON."""
    RECONNECT_LOOP = "reconnect-loop"
    """Firmware that closes its connection as soon as it is there, and connects again without backing off."""
    POWER_CUT = "power-cut"
    """Its power goes once: at some time, or in some write to its flash."""
    FLASH_ERROR = "flash-error"
    """A write of the other slot, or of what is downloaded, fails."""
    WRONG_DIGEST = "wrong-digest"
    """What is downloaded is changed on the way to the flash."""
    BOOT_LOOP = "boot-loop"
    """An image on trial does not come up, whatever it is."""
    SILENT_AFTER_REBOOT = "silent-after-reboot"
    """An image on trial hangs, until the fault is over and somebody switches the device off and on."""
    SLOW_LINK = "slow-link"
    """Each request takes seconds to leave."""
    REPORT_TWICE = "report-twice"
    """Each report of a job is sent twice."""
    REPORT_OUT_OF_ORDER = "report-out-of-order"
    """Each report of a job is followed by the one before it."""
    REPORT_LATE = "report-late"
    """Each report of a job waits in the device, up to 20 s."""


FIRMWARE_FAULTS: Final = frozenset(
    {
        FaultKind.POWER_CUT,
        FaultKind.FLASH_ERROR,
        FaultKind.WRONG_DIGEST,
        FaultKind.BOOT_LOOP,
        FaultKind.SILENT_AFTER_REBOOT,
        FaultKind.SLOW_LINK,
        FaultKind.REPORT_TWICE,
        FaultKind.REPORT_OUT_OF_ORDER,
        FaultKind.REPORT_LATE,
    }
)
"""Of the update agent: a device that takes no updates can't have them."""
NETWORK_FAULTS: Final = frozenset({FaultKind.DROP_OUT, FaultKind.OUTAGE})
"""The network is gone without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of one device.

    Args:
        kind: What happens.
        after_ms: Since the device's start.
        for_ms: How long it lasts.
        every_ms: Comes again after so long, None for once.
    """

    kind: FaultKind
    after_ms: int
    for_ms: int
    every_ms: int | None = None

    def span_at(self, up_ms: int) -> tuple[bool, int | None]:
        """Whether it holds at a time, and when that changes next.

        Args:
            up_ms: Since the device's start.
        Returns:
            (holds, ms since start of the next change or None).
        """
        if up_ms < self.after_ms:
            return False, self.after_ms
        begin = self.after_ms
        if self.every_ms is not None:
            begin += (up_ms - self.after_ms) // self.every_ms * self.every_ms
        if up_ms < begin + self.for_ms:
            return True, begin + self.for_ms
        return False, None if self.every_ms is None else begin + self.every_ms


class FaultPlan:
    """All faults of one device."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = tuple(faults)

    def active(self, up_ms: int) -> frozenset[FaultKind]:
        """Kinds that hold now."""
        return frozenset(fault.kind for fault in self._faults if fault.span_at(up_ms)[0])

    def next_change_ms(self, up_ms: int) -> int | None:
        """When `active` may differ next, ms since the device's start; None for never."""
        changes = [change for fault in self._faults if (change := fault.span_at(up_ms)[1]) is not None]
        return min(changes, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRequest:
    """So many devices of a fleet with one fault.

    Args:
        kind: The fault.
        count: Devices that have it.
        after_s: None: somewhere in the first 5 to 20 s, different for each device, but for an outage.
        for_s: Length.
        every_s: Comes again; None: once.
    """

    kind: FaultKind
    count: int
    after_s: float | None = None
    for_s: float = 30.0
    every_s: float | None = 120.0


def parse_request(value: str) -> FaultRequest:
    """A request from the command line: NAME:COUNT.

    Raises:
        OptionsError: No such fault, or no count.
    """
    name, _, count = value.partition(":")
    names = [kind.value for kind in FaultKind]
    if name not in names:
        raise OptionsError(f"There is no fault {name!r}.", hint=f"Known faults: {', '.join(names)}.")
    if not count.isascii() or not count.isdigit():
        raise OptionsError(f"{value!r} names no number of devices.", hint=f"Write it like {name}:3.")
    return FaultRequest(kind=FaultKind(name), count=int(count))


def plan_fleet(device_count: int, requests: Sequence[FaultRequest], source: Randomness) -> list[FaultPlan]:
    """Deal faults out to devices, one fault to a device as long as there are devices without.

    Args:
        device_count: Devices in the fleet.
        requests: In the order in which they are dealt.
        source: Randomness for the choice and for the start times.
    Raises:
        OptionsError: A request wants more devices than there are.
    """
    dealt: list[list[Fault]] = [[] for _ in range(device_count)]
    order = list(range(device_count))
    source.shuffle(order)
    position = 0
    for request in requests:
        if request.count > device_count:
            raise OptionsError(
                f"{request.count} devices with {request.kind.value} in a fleet of {device_count}.",
                hint="Choose a smaller count or a larger fleet.",
            )
        shared_s = request.after_s
        if shared_s is None and request.kind is FaultKind.OUTAGE:
            shared_s = source.uniform(5, 20)
        for _ in range(request.count):
            after_s = source.uniform(5, 20) if shared_s is None else shared_s
            every_ms = None if request.every_s is None else round(request.every_s * 1_000)
            dealt[order[position % device_count]].append(
                Fault(
                    kind=request.kind,
                    after_ms=round(after_s * 1_000),
                    for_ms=round(request.for_s * 1_000),
                    every_ms=every_ms,
                )
            )
            position += 1
    return [FaultPlan(faults) for faults in dealt]
