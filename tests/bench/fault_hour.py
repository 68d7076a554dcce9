"""Two boxes of one site, a cloud store, devices on them, and one fault after the other: what `bench availability` looks at."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.core.errors import HomeportError
from tests.bench.harness import BenchError
from tests.fleet.rig import Devices, SiteBox
from tests.processes import child_running
from tests.tier_servers import Region

GONE_S = 20.0
"""How long a box is without power, and a store away."""


@dataclass
class Counted:
    """What was seen of one kind of fault.

    Attributes:
        count: How often there was one.
        looks: Devices × looks from it until the next one.
        unserved: Of them, devices that were waiting.
        rpo_ms_max: The worst RPO that a box said meanwhile.
    """

    count: int = 0
    looks: int = 0
    unserved: int = 0
    rpo_ms_max: int = 0


class Watch:
    """Looks once a second: who waits for an acknowledgement, what the boxes say.

    Args:
        served_ms: A device is served while none of its readings waits longer.
    """

    def __init__(self, boxes: list[SiteBox], devices: Devices, *, interval_ms: int, served_ms: int) -> None:
        self.boxes = boxes
        self.devices = devices
        self.by_fault: dict[str, Counted] = {}
        self.api_looks = self.api_silent = 0
        self._waiting_max = served_ms // interval_ms
        self._next = time.monotonic()

    def until(self, end: float, fault: str) -> None:
        """Look once a second until a moment, and count it for a fault."""
        counted = self.by_fault.setdefault(fault, Counted())
        while (now := time.monotonic()) < end:
            time.sleep(max(0.0, self._next - now))
            self._next = max(self._next + 1.0, time.monotonic())
            waiting = self.devices.waiting().values()
            counted.looks += len(waiting)
            counted.unserved += sum(count > self._waiting_max for count in waiting)
            self._ask(counted)

    def _ask(self, counted: Counted) -> None:
        """Whether anybody of the site answers a person, and the RPO of those that do."""
        rpos = [rpo for box in self.boxes if (rpo := _rpo_ms(box)) is not None]
        counted.rpo_ms_max = max([counted.rpo_ms_max, *rpos])
        self.api_looks += 1
        self.api_silent += not rpos


def _rpo_ms(box: SiteBox) -> int | None:
    """None while it does not answer; 0 while its replicator is being started."""
    try:
        state = box.api().get("/api/v1/replication")["state"]
    except HomeportError:
        return None
    return (state or {}).get("rpo_ms") or 0


@dataclass
class Faults:
    """What is done to them, in an order of a seed: each kind as often as the others, and always to the box with most of the devices."""

    boxes: list[SiteBox]
    devices: Devices
    store: Region
    seed: int
    _source: random.Random = field(init=False)
    _bag: list[str] = field(default_factory=list)
    _mending: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self._source = random.Random(self.seed)
        self._kinds: dict[str, Callable[[SiteBox], float]] = {
            "node killed": lambda box: self._killed(box, "node_process"),
            "broker killed": lambda box: self._killed(box, "broker_process"),
            "replicator killed": lambda box: self._killed(box, "replicator_process"),
            "box without power": self._without_power,
            "box restarted": self._restarted,
            "store away": self._store_away,
        }

    def next(self) -> tuple[str, float]:
        """Do one; its name, and after how many seconds `mend` is to be called."""
        if not self._bag:
            self._bag = self._source.sample(list(self._kinds), len(self._kinds))
        kind = self._bag.pop()
        ports = self.devices.ports()
        return kind, self._kinds[kind](max(self.boxes, key=lambda box: ports.count(box.port)))

    def mend(self) -> None:
        """Bring back what the last one took away."""
        mending, self._mending = self._mending, None
        if mending is not None:
            mending()

    def _killed(self, box: SiteBox, program: str) -> float:
        pid = child_running(box.process.pid, program)
        if pid is None:
            raise BenchError(
                f"{box.name} has no {program}: the fault before was not over.\n{box.log_text()[-3_000:]}"
            )
        os.kill(pid, signal.SIGKILL)
        return 0.0

    def _without_power(self, box: SiteBox) -> float:
        box.kill()
        self._mending = box.start
        return GONE_S

    def _restarted(self, box: SiteBox) -> float:
        box.stop()
        self._mending = box.start
        return 0.0

    def _store_away(self, box: SiteBox) -> float:
        self.store.switch_off()
        self._mending = self.store.switch_on
        return GONE_S


def is_whole(boxes: list[SiteBox]) -> bool:
    """Whether all of them run and are linked again; the next fault waits for it, so that there is one at a time."""
    try:
        return all(list(box.links().values()) == ["up"] * (len(boxes) - 1) for box in boxes)
    except (HomeportError, AssertionError):
        return False  # one is being started
