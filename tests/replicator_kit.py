"""Replicators with real logs and real copies, joined by links that are queues in this process."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import trio

from appliance.core.clock import SystemClock
from replication.blob_work import BlobRoom
from replication.gossip.fleet_view import PeerInfo
from replication.replicator import Replicator
from replication.scheduling import LinkQueue, Priority
from storage.log import LogWriter
from storage.replicas.room import ReplicaRoom
from storage.replicas.streams import StreamId
from tests.storage_log_kit import KitSigner, QuickDisk


class QueueLinks:
    """As replication/link/links.py, between replicators of one process."""

    def __init__(self, node_id: str, nursery: trio.Nursery) -> None:
        self.node_id = node_id
        self.carried_bytes = 0
        self._nursery = nursery
        self._links: dict[str, tuple[LinkQueue[tuple[bytes, Callable[[], None] | None]], trio.Event]] = {}
        self._targets: dict[str, Replicator] = {}

    def peers(self) -> list[str]:
        return list(self._links)

    def send(
        self, peer: str, data: bytes, priority: Priority, on_left: Callable[[], None] | None = None
    ) -> bool:
        if peer not in self._links:
            return False
        queue, woken = self._links[peer]
        if not queue.put((data, on_left), len(data), priority):
            return False
        woken.set()
        return True

    def up(self, target: Replicator) -> None:
        self._links[target.node_id] = (LinkQueue(0), trio.Event())
        self._targets[target.node_id] = target
        self._nursery.start_soon(self._carry, target)

    def down(self, peer: str) -> None:
        queue, woken = self._links.pop(peer)
        woken.set()
        while (item := queue.take(0)) is not None:
            if item[1] is not None:
                item[1]()

    async def _carry(self, target: Replicator) -> None:
        queue, woken = self._links[target.node_id]
        while self._links.get(target.node_id) == (queue, woken):
            item = queue.take(0)
            if item is None:
                await woken.wait()
                if self._links.get(target.node_id) != (queue, woken):
                    return
                woken = trio.Event()
                self._links[target.node_id] = (queue, woken)
                continue
            await trio.lowlevel.checkpoint()
            data, on_left = item
            self.carried_bytes += len(data)
            target.message(self.node_id, data)
            if on_left is not None:
                on_left()


class Box:
    """One node: its log, its copies, its replicator."""

    def __init__(self, number: int, root: Path, nursery: trio.Nursery, *, site: int | None = None) -> None:
        self.node_id = f"{number:032x}"
        self.site_id = f"{site or number:032x}"
        self.root = root / str(number)
        self.stream = StreamId(self.node_id, "telemetry")
        self.nursery = nursery
        self._blobs: BlobRoom | None = None
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._make()

    def use_blobs(self, blobs: BlobRoom) -> None:
        """Have it give and fetch images; before `start`."""
        self._blobs = blobs
        self._make()

    async def start(self) -> None:
        """Runs its replicator; another one, with what is on the disk, after `stop`."""
        if self._ended.is_set():
            self._make()
        await self.nursery.start(self._run)

    async def stop(self) -> None:
        """Ends its replicator, whatever it is doing."""
        self._scope.cancel()
        await self._ended.wait()

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        with self._scope:
            await self.replicator.run(task_status=task_status)
        self._ended.set()

    def _make(self) -> None:
        self.links = QueueLinks(self.node_id, self.nursery)
        self.room = ReplicaRoom(self.root / "replicas", clock=SystemClock(), disk=QuickDisk())
        self.replicator = Replicator(
            self.node_id,
            self.links,
            own={"telemetry": self.root / "log" / "telemetry"},
            room=self.room,
            data_dir=self.root,
            blobs=self._blobs,
            clock=SystemClock(),
            random=random.Random(self.node_id),
        )

    def open_log(self, **options: int) -> LogWriter:
        return LogWriter.open(
            self.root / "log" / "telemetry",
            stream="telemetry",
            node_id=bytes.fromhex(self.node_id),
            signer=KitSigner(),
            clock=SystemClock(),
            disk=QuickDisk(),
            segment_bytes=options.get("segment_bytes", 256 * 1024),
        )

    def copy_of(self, other: Box) -> Path:
        return self.room.directory(other.stream)


def set_fleet(boxes: list[Box]) -> None:
    infos = [PeerInfo(node_id=box.node_id, site_id=box.site_id) for box in boxes]
    for box in boxes:
        box.replicator.take_fleet(infos)


def join(one: Box, two: Box) -> None:
    one.links.up(two.replicator)
    two.links.up(one.replicator)
    one.replicator.link_up(two.node_id)
    two.replicator.link_up(one.node_id)


def part(one: Box, two: Box) -> None:
    one.links.down(two.node_id)
    two.links.down(one.node_id)
    one.replicator.link_down(two.node_id)
    two.replicator.link_down(one.node_id)
