"""One simulated device, whole, against a scripted box on a virtual clock: connection, readings, updates, power."""

from __future__ import annotations

import json
import random
from heapq import heappop, heappush
from typing import Any

from device_fw_sim.device import Device
from device_fw_sim.events import (
    Acknowledged,
    Close,
    Command,
    Connect,
    Connected,
    ConnectionLost,
    DeviceOptions,
    Event,
    FetchBytes,
    Fetched,
    Moment,
    Publish,
    Received,
    State,
    Subscribe,
)
from device_fw_sim.faults import Fault, FaultKind, FaultPlan
from device_fw_sim.flash import Flash, MemoryFlash
from device_fw_sim.image import Behaviour, Header, Image, build
from device_fw_sim.managed import Managed, ManagedOptions
from device_fw_sim.work import AgentOptions
from tests.update_box import UpdateBox

WALL_MS = 1_800_000_000_000
HARDWARE = "sim-rev2"
FACTORY = build(Header(version="1.0.0", hw=[HARDWARE], epoch=1))


def image(
    version: str = "2.0.0", behaviour: Behaviour = Behaviour.GOOD, *, size_bytes: int = 20_000, **more: Any
) -> Image:
    return build(
        Header(version=version, hw=[HARDWARE], epoch=1, behaviour=behaviour, **more), size_bytes=size_bytes
    )


class UpdateWorld:
    """A device and its box; `run` lets time pass."""

    def __init__(
        self,
        *,
        agent: AgentOptions | None = None,
        flash: Flash | None = None,
        faults: FaultPlan | None = None,
        seed: int = 1,
    ) -> None:
        self.now_ms = 0
        self.box = UpdateBox()
        self.is_up = True
        self.gap_ms = 0
        """Between two messages of one answer."""
        self.acknowledges = True
        self.statuses: list[dict[str, Any]] = []
        self.answers: dict[str, Any] = {}
        self.shadow: list[dict[str, Any]] = []
        self.desired: dict[str, Any] = {}
        self.fetches: list[FetchBytes] = []
        self.subscribed: tuple[str, ...] = ()
        self._link = 0
        self._pending: list[tuple[int, int, int, Event]] = []
        self._told = 0
        options = agent or AgentOptions(hardware=HARDWARE, block_bytes=1_024)
        self.managed = Managed(
            ManagedOptions(device_id="pump-1", factory=FACTORY, agent=options, interval_ms=1_000),
            flash or MemoryFlash(),
        )
        self.device = Device(
            DeviceOptions(device_id="pump-1", interval_ms=1_000, hardware=HARDWARE),
            source=random.Random(seed),
            now=self.moment,
            faults=faults,
            managed=self.managed,
        )

    @property
    def moment(self) -> Moment:
        return Moment(mono_ms=self.now_ms, wall_ms=WALL_MS + self.now_ms)

    @property
    def running(self) -> dict[str, Any]:
        """`fw` of the last status."""
        found: dict[str, Any] = self.statuses[-1]["fw"]
        return found

    @property
    def phases(self) -> list[str]:
        """Phases of the reports, each run of the same ones once."""
        names = [each["phase"] for each in self.box.reports]
        return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]

    def notify(self, job_id: str) -> None:
        """Tell the device of a job, as `jobs/notify-next`."""
        payload = json.dumps({"timestamp": 1, "execution": self.box.execution(job_id)}).encode()
        self.say("jobs/notify-next", payload)

    def say(self, suffix: str, payload: bytes, *, after_ms: int = 1) -> None:
        self._later(after_ms, Received(topic=f"dm/pump-1/{suffix}", payload=payload))

    def _later(self, after_ms: int, event: Event) -> None:
        """Have it happen to the connection that there is now; in the order in which it is said, if at the same time."""
        self._told += 1
        heappush(self._pending, (self.now_ms + after_ms, self._told, self._link, event))

    def run(self, for_ms: int) -> None:
        """Let time pass."""
        until_ms = self.now_ms + for_ms
        # A fault may begin and end each millisecond.
        for _ in range(10_000 + 4 * for_ms):
            deadlines = (self.device.next_deadline_ms(), self._pending[0][0] if self._pending else None)
            due_ms = min((each for each in deadlines if each is not None), default=until_ms + 1)
            if due_ms > until_ms:
                self.now_ms = until_ms
                return
            self.now_ms = max(self.now_ms, due_ms)
            ready = []
            while self._pending and self._pending[0][0] <= self.now_ms:
                ready.append(heappop(self._pending))
            for *_, link, event in ready:
                if link == self._link or isinstance(event, Fetched):
                    self._obey(self.device.receive(event, self.moment))
            self._obey(self.device.on_deadline(self.moment))
        raise AssertionError("time does not pass")

    def run_until_settled(self, limit_ms: int = 3_600_000) -> None:
        """Until no job is open and the device is connected again."""
        end_ms = self.now_ms + limit_ms
        while self.now_ms < end_ms:
            self.run(1_000)
            if not self.box.next_execution() and self.device.state is State.ONLINE:
                return
        raise AssertionError(f"still open: {self.box.next_execution()}, {self.device.state}")

    def go_down(self) -> None:
        """The broker goes away."""
        self.is_up = False
        self._link += 1
        self._obey(self.device.receive(ConnectionLost(), self.moment))

    def _obey(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Connect():
                    self._link += 1
                    event = Connected() if self.is_up else ConnectionLost()
                    self._later(5, event)
                case Subscribe():
                    self.subscribed = command.filters
                case Publish():
                    self._published(command)
                case FetchBytes():
                    self.fetches.append(command)
                    self._serve(command)
                case Close():
                    self._link += 1
                case _:
                    pass

    def _published(self, command: Publish) -> None:
        if command.qos and self.acknowledges:
            self._later(5, Acknowledged(handle=command.handle))
        suffix = command.topic.removeprefix("dm/pump-1/")
        match suffix.split("/"):
            case ["status"]:
                self.statuses.append(json.loads(command.payload))
            case ["telemetry"]:
                pass
            case ["cmd", request_id, "resp"]:
                self.answers[request_id] = json.loads(command.payload)
            case ["shadow", "get"]:
                self.say("shadow/get/accepted", json.dumps({"state": {"desired": self.desired}}).encode())
            case ["shadow", "update"]:
                self.shadow.append(json.loads(command.payload)["state"]["reported"])
            case _:
                for number, (topic, payload) in enumerate(self.box.answer(suffix, command.payload)):
                    self.say(topic, payload, after_ms=1 + number * self.gap_ms)

    def _serve(self, fetch: FetchBytes) -> None:
        (data,) = [each.data for each in self.box.images.values() if fetch.url.endswith(each.sha256)]
        rest = data[fetch.offset :]
        for number, start in enumerate(range(0, len(rest), 700)):
            event = Fetched(data=rest[start : start + 700], number=fetch.number)
            self._later(1 + number, event)
        end = Fetched(data=b"", number=fetch.number)
        self._later(1 + len(rest) // 700 + 1, end)


def plan(kind: FaultKind, *, after_ms: int = 0, for_ms: int = 60_000) -> FaultPlan:
    return FaultPlan([Fault(kind=kind, after_ms=after_ms, for_ms=for_ms)])
