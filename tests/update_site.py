"""A site for simulations: whole simulated devices, the node's real updates, and a network between them, on one virtual clock.

Everything random comes from one seed. What a device publishes arrives after some milliseconds, or never, when its connection or the node is
gone meanwhile; the broker is a process of its own, so connections outlive the node. While it runs the site calls `check` after whatever the
node has done, has reports come twice and compares what is on disk, and sees to it that no device is let install what it runs.
"""

from __future__ import annotations

import heapq
import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from appliance.core.clock import ManualClock
from appliance.management.rollout_plan import Plan, Policy, Targets
from appliance.updates import rollout_acts
from device_fw_sim.device import Device
from device_fw_sim.events import (
    Acknowledged,
    Close,
    Command,
    Connect,
    Connected,
    DeviceOptions,
    Event,
    Moment,
    Publish,
    Received,
    Subscribe,
)
from device_fw_sim.faults import FaultPlan
from device_fw_sim.flash import BlockPool, MemoryFlash
from device_fw_sim.image import Image
from device_fw_sim.managed import Managed, ManagedOptions
from device_fw_sim.phases import Phase
from device_fw_sim.samplers import Sample
from device_fw_sim.work import AgentOptions
from storage.catalog import Catalog
from tests.acts import ACT
from tests.update_box import UpdateBox
from tests.update_node import AUTHOR, NODE_ID, NodeDied, Push, UpdateNode
from tests.update_world import FACTORY, HARDWARE

START_MS = 1_800_000_000_000
READING_COUNT = 8
READING_MS = 60_000
_LATENCY_MS_MAX = 50


class BriefSampler:
    """Some readings after each boot and then none: what is idle costs no events."""

    is_patient = False

    def __init__(self, mono_ms: int) -> None:
        self._next_ms = mono_ms
        self._left = READING_COUNT

    def next_due_ms(self) -> int | None:
        return self._next_ms if self._left else None

    def take(self, mono_ms: int, wall_ms: int) -> Sample:
        self._left -= 1
        self._next_ms = mono_ms + READING_MS
        return Sample(mono_ms, wall_ms, {"x": 1.0})

    def restarted(self, mono_ms: int) -> None:
        self._left, self._next_ms = READING_COUNT, mono_ms

    def set_interval(self, interval_ms: int) -> None:
        """Its pace is its own."""


@dataclass
class SimDevice:
    """One device with its connection."""

    device_id: str
    device: Device
    flash: MemoryFlash
    link: int = 0
    is_connected: bool = False
    is_listening: bool = False
    status: bytes = b""
    status_at_ms: int = 0
    due_ms: int | None = 0

    @property
    def installs_what_it_runs(self) -> bool:
        """Whether it is being updated to what it runs already."""
        managed = self.device.managed
        if managed is None or not managed.is_up or managed.agent.job is None:
            return False
        job = managed.agent.job
        return job.phase is Phase.INSTALLING and job.document["artifact"]["sha256"] == managed.slots.sha256


class Site:
    """Devices and node.

    Args:
        folder: For the catalog's file.
        template: A catalog that has the devices and the artifact (`make_template`).
        image: What the artifact is.
        faults: Of each device, in order.
        seed: Of everything else.
        doubles: Share of reports that arrive twice.
        node: Makes the node.
    """

    def __init__(
        self,
        folder: Path,
        template: Path,
        image: Image,
        faults: Sequence[FaultPlan],
        *,
        seed: int,
        doubles: float = 0.0,
        self_test_ms: int = 3_000,
        node: Callable[[Path, ManualClock, Push], UpdateNode] = UpdateNode,
    ) -> None:
        self.clock = ManualClock(START_MS, 0)
        self.source = random.Random(seed)
        self.image = image
        self.double_count = 0
        self.check: Callable[[], None] = lambda: None
        self.on_restart: Callable[[], None] = lambda: None
        """A new life of the node begins; and the same once it has heard again who is there."""
        self.on_restarted: Callable[[], None] = lambda: None
        self._doubles = doubles
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0
        self._box = UpdateBox()
        self._box.images[f"fw-{image.sha256[:32]}"] = image
        path = folder / "catalog.db"
        shutil.copy(template, path)
        self.node = node(path, self.clock, self._push)
        pool = BlockPool()
        self.devices = {
            f"d{index}": self._device(f"d{index}", plan, pool, self_test_ms)
            for index, plan in enumerate(faults)
        }

    # --- Time ------------------------------------------------------------------------------------------

    @property
    def moment(self) -> Moment:
        return Moment(mono_ms=self.clock.mono_ms(), wall_ms=self.clock.now_ms())

    def run(
        self, for_ms: int, until: Callable[[], bool] | None = None, *, step_count_max: int = 60_000
    ) -> bool:
        """Let time pass; returns whether `until` came true."""
        end_ms = self.clock.mono_ms() + for_ms
        for _ in range(step_count_max):
            if until is not None and until():
                return True
            due_ms = self._next_mono_ms()
            if due_ms is None or due_ms > end_ms:
                self.clock.advance(end_ms - self.clock.mono_ms())
                return until is not None and until()
            self.clock.advance(max(0, due_ms - self.clock.mono_ms()))
            self._step()
        raise AssertionError("time does not pass")

    def later(self, delay_ms: int, do: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._heap, (self.clock.mono_ms() + delay_ms, self._number, do))

    def _next_mono_ms(self) -> int | None:
        deadlines = [each.due_ms for each in self.devices.values()]
        deadlines.append(self._heap[0][0] if self._heap else None)
        node_ms = self.node.next_ms()
        if node_ms is not None:
            deadlines.append(self.clock.mono_ms() + max(0, node_ms - self.clock.now_ms()))
        return min((each for each in deadlines if each is not None), default=None)

    def _step(self) -> None:
        now_ms = self.clock.mono_ms()
        while self._heap and self._heap[0][0] <= now_ms:
            heapq.heappop(self._heap)[2]()
        for each in self.devices.values():
            if each.due_ms is not None and each.due_ms <= now_ms:
                self._obey(each, each.device.on_deadline(self.moment))
        node_ms = self.node.next_ms()
        if node_ms is not None and node_ms <= self.clock.now_ms():
            self.at_node(self.node.settle)

    # --- The node --------------------------------------------------------------------------------------

    def at_node(self, do: Callable[[], Any]) -> Any:
        """Have the node do something; when it dies of it, the next one starts, and None comes back."""
        try:
            result = do()
        except NodeDied:
            self.restart_node()
            return None
        self.check()
        return result

    def restart_node(self) -> None:
        """The node's process is gone and comes again; connections stay with the broker, which says who listens."""
        self.node.die()
        self.node.start()
        self.on_restart()
        known = [
            (each.device_id, each.status, each.status_at_ms) for each in self.devices.values() if each.status
        ]
        self.at_node(lambda: self.node.say_again(known))
        for each in self.devices.values():
            if each.is_connected:
                self.at_node(partial(self.node.online, each.device_id, True))
            if each.is_listening:
                self.at_node(partial(self.node.listening, each.device_id, True))
        self.on_restarted()

    def _push(self, device_id: str, messages: Sequence[tuple[str, bytes]]) -> int:
        each = self.devices[device_id]
        if not each.is_listening:
            return 0
        own = [message for message in messages if message[0].startswith("dm/")]
        for topic, payload in own:
            self._feed_later(each, Received(topic=topic, payload=payload))
        return len(own)

    # --- Devices ---------------------------------------------------------------------------------------

    def _device(self, device_id: str, plan: FaultPlan, pool: BlockPool, self_test_ms: int) -> SimDevice:
        flash = MemoryFlash(pool)
        agent = AgentOptions(hardware=HARDWARE, block_bytes=1_024, self_test_ms=self_test_ms)
        options = ManagedOptions(device_id=device_id, factory=FACTORY, agent=agent, interval_ms=READING_MS)
        device = Device(
            DeviceOptions(device_id=device_id, interval_ms=READING_MS, hardware=HARDWARE),
            source=random.Random(self.source.getrandbits(64)),
            now=self.moment,
            faults=plan,
            sampler=BriefSampler(self.clock.mono_ms()),
            managed=Managed(options, flash),
        )
        return SimDevice(device_id, device, flash)

    def _feed_later(self, each: SimDevice, event: Event) -> None:
        link = each.link
        self.later(self.source.randint(1, _LATENCY_MS_MAX), lambda: self._feed(each, link, event))

    def _feed(self, each: SimDevice, link: int, event: Event) -> None:
        if link != each.link:
            return
        if isinstance(event, Connected):
            each.is_connected = True
            self.node.health.online[each.device_id] = True
            self.at_node(lambda: self.node.online(each.device_id, True))
        self._obey(each, each.device.receive(event, self.moment))

    def _obey(self, each: SimDevice, commands: Sequence[Command]) -> None:
        each.due_ms = each.device.next_deadline_ms()
        assert not each.installs_what_it_runs, each.device_id
        for command in commands:
            match command:
                case Connect():
                    self._gone(each)
                    self._feed_later(each, Connected())
                case Subscribe():
                    link = each.link
                    self.later(self.source.randint(1, _LATENCY_MS_MAX), partial(self._listens, each, link))
                case Publish():
                    link = each.link
                    self.later(
                        self.source.randint(1, _LATENCY_MS_MAX),
                        partial(self._arrived, each, command, link),
                    )
                case Close(abort=abort):
                    # What is on the way arrives, after a goodbye; with the power it is gone.
                    link = each.link
                    if abort:
                        self._gone(each)
                    else:
                        self.later(2 * _LATENCY_MS_MAX, partial(self._gone, each, link))
                case _:
                    pass

    def _listens(self, each: SimDevice, link: int) -> None:
        if link == each.link:
            each.is_listening = True
            self.at_node(lambda: self.node.listening(each.device_id, True))

    def _gone(self, each: SimDevice, link: int | None = None) -> None:
        if link is not None and link != each.link:
            return
        each.link += 1
        if each.is_connected:
            each.is_connected = each.is_listening = False
            self.node.health.online[each.device_id] = False
            self.node.health.cuts.setdefault(each.device_id, []).append(self.clock.now_ms())
            self.at_node(lambda: self.node.listening(each.device_id, False))
            self.at_node(lambda: self.node.online(each.device_id, False))

    def _arrived(self, each: SimDevice, command: Publish, link: int) -> None:
        """A message is at the broker, if its connection still is."""
        if link != each.link:
            return
        if command.qos:
            self._feed_later(each, Acknowledged(handle=command.handle))
        prefix = f"dm/{each.device_id}/"
        suffix = command.topic.removeprefix(prefix)
        match suffix.split("/"):
            case ["status"]:
                each.status, each.status_at_ms = command.payload, self.clock.now_ms()
                self.at_node(lambda: self.node.status(each.device_id, command.payload, self.clock.now_ms()))
            case ["telemetry"]:
                self.node.health.readings.setdefault(each.device_id, []).append(self.clock.now_ms())
            case ["jobs", *rest]:
                for topic, payload in self._asked(each, command, is_report=rest[-1] == "update"):
                    self._feed_later(each, Received(topic=topic, payload=payload))
            case ["streams", *_]:
                for topic, payload in self._box.answer(suffix, command.payload):
                    self._feed_later(each, Received(topic=prefix + topic, payload=payload))
            case _:
                pass

    def _asked(self, each: SimDevice, command: Publish, *, is_report: bool) -> list[tuple[str, bytes]]:
        def ask() -> list[tuple[str, bytes]]:
            return self.node.asked(each.device_id, command.topic, command.payload)

        answer = self.at_node(ask)
        if answer is not None and is_report and self.source.random() < self._doubles:
            self._double(answer, ask)
        return answer or []

    def _double(self, first: list[tuple[str, bytes]], ask: Callable[[], list[tuple[str, bytes]]]) -> None:
        """The same report twice changes nothing: neither a row nor an event nor the answer."""
        before = self._rows()
        lives = self.node.lives
        again = self.at_node(ask)
        if again is None or lives != self.node.lives:
            return
        self.double_count += 1
        after = self._rows()
        assert after == before, [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
        assert [topic for topic, _ in again] == [topic for topic, _ in first], (first, again)

    def _rows(self) -> list[Any]:
        """What must not change; that an old report came is noted each time."""
        catalog = self.node.store.catalog
        found = catalog.rows(
            "SELECT execution_id, state, version, attempt, rollback_attempt_count, report_key FROM executions"
        )
        found += catalog.rows("SELECT count(*) FROM execution_events WHERE from_state <> to_state")
        return [tuple(row) for row in found]


def make_template(path: Path, device_count: int, image: Image) -> None:
    """A catalog with so many devices, as they came from the factory, and the artifact."""
    clock = ManualClock(START_MS - 60_000)
    catalog = Catalog.open(path, clock=clock, node_id=NODE_ID)
    with catalog.transaction(ACT):
        catalog.set_unsigned_policy("allow")
        for index in range(device_count):
            catalog.add_device(f"d{index}", groups=())
            catalog.execute(
                "INSERT INTO device_firmware (device_id, version, digest, hw, is_confirmed, source, reported_at_ms) "
                "VALUES (?, ?, ?, ?, 1, 'status', 1)",
                (f"d{index}", FACTORY.header.version, FACTORY.sha256, HARDWARE),
            )
        catalog.execute(
            "INSERT INTO artifacts (artifact_id, name, version, sha256, sha1, size_bytes, filename, format, hw, epoch, created_by, "
            "created_at_ms, updated_at_ms, origin, hlc) VALUES ('a1', 'sim', ?, ?, ?, ?, 'sim.bin', 'raw', ?, 1, 'x', 1, 1, ?, ?)",
            (
                image.header.version,
                image.sha256,
                "2" * 40,
                len(image.data),
                json.dumps([HARDWARE]),
                catalog.origin,
                catalog.hlc,
            ),
        )
    catalog.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    catalog.connection.close()


def begin_rollout(site: Site, plan: Plan, policy: Policy) -> None:
    """Make a rollout for every device, and start it."""
    start_rollout(site.node, list(site.devices), plan, policy)


def start_rollout(node: UpdateNode, devices: Sequence[str], plan: Plan, policy: Policy) -> None:
    """The same, at the node; a second person approves it where the site wants one."""
    draft = rollout_acts.Draft(
        name="sim", artifact_id="a1", targets=Targets(devices=tuple(devices)), plan=plan, policy=policy
    )
    now_ms = node.clock.now_ms()

    def begin(catalog: Catalog) -> None:
        rollout_acts.create(catalog, "r1", draft, AUTHOR)
        rollout = rollout_acts.submit(catalog, "r1", AUTHOR, now_ms)
        if rollout.state == "awaiting_approval":
            rollout_acts.approve(catalog, "r1", rollout_acts.Author("bert"), now_ms)
        rollout_acts.start(catalog, "r1", AUTHOR, now_ms)

    node.act(begin)
